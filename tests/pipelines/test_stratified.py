"""A map inverted with depth by the command: known truth, files, figures; and what is wrong in one line."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from astropy.io import fits

from jaxinv import io, plot, spectra
from jaxinv.cli import main
from jaxinv.observation import StokesCube
from jaxinv.pipelines import InvertConfig, PosteriorRun, SampleConfig, fitted_profiles, plan_calibration, prepare
from jaxinv.pipelines.options import OptionError
from jaxinv.results.posterior import PosteriorStatus
from jaxinv.results.solution import Status

GRID = np.linspace(1.0, -3.5, 19)
WAVELENGTH = 6302.0 + 0.03 * np.arange(34)
SHAPE, DEAD = (2, 4), (1, 3)
OPTIONS = {
    "model": "lte", "lines": ("Fe I 6302.5",), "nodes": {"temperature": (1, 3), "field_strength": (1, 2)},
    "log_tau": (1.0, -3.5, 19.0), "fixed": {"microturbulence": 0.8}, "sigma": (1e-3,), "wavelength_shift": 0.0,
    "continuum": 1.0, "starts": 1,
}  # fmt: skip
WORDS = [
    *("--model", "lte", "--lines", "Fe I 6302.5", "--nodes", "temperature=1:3", "field_strength=1:2"),
    *("--log-tau", "1.0", "-3.5", "19", "--fixed", "microturbulence=0.8", "--sigma", "1e-3"),
    *("--wavelength-shift", "0", "--continuum", "1", "--starts", "1"),
]


def truth() -> tuple[spectra.Nodes, dict[str, np.ndarray]]:
    model = spectra.LTE("Fe I 6302.5", WAVELENGTH, GRID, hydrostatic=True)
    one = dict.fromkeys(("velocity", "inclination", "azimuth", "microturbulence"), 1)
    nodes = spectra.Nodes(model, {"temperature": 3, "field_strength": 2, **one})
    rng = np.random.default_rng(0)
    reference = nodes.at_nodes(nodes.reference)["temperature"]
    return nodes, {
        "temperature": reference + rng.uniform(-300, 300, (*SHAPE, 1)) + rng.normal(0, 80, (*SHAPE, 3)),
        "field_strength": rng.uniform(500, 2000, (*SHAPE, 1)) * [1.1, 0.8], "velocity": rng.uniform(-1, 1, SHAPE),
        "inclination": rng.uniform(0.4, 2.7, SHAPE), "azimuth": rng.uniform(0, 3, SHAPE),
        "microturbulence": np.full(SHAPE, 0.8),
    }  # fmt: skip


@pytest.fixture(scope="module")
def cube() -> StokesCube:
    nodes, p = truth()
    flat = {name: jnp.asarray(x.reshape(8, *x.shape[2:]), jnp.float32) for name, x in p.items()}
    light = np.asarray(jax.lax.map(nodes, flat)).reshape(*SHAPE, 4, -1)
    light = light + 1e-3 * np.random.default_rng(1).normal(size=light.shape)
    light[DEAD] = np.nan
    header = {f"{card}{k}": x for k in (1, 2) for card, x in (("CRPIX", 1.0), ("CRVAL", 0.0), ("CDELT", 0.3))}
    return StokesCube(light, WAVELENGTH, header={"CTYPE1": "HPLN-TAN", "CTYPE2": "HPLT-TAN", **header})


@pytest.fixture(scope="module")
def inverted(cube: StokesCube, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command wrote."""
    folder = tmp_path_factory.mktemp("lte")
    io.write_stokes(folder / "cube.fits", cube)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxinv.cli._configure_jax", lambda: None)
        assert main(["invert", str(folder / "cube.fits"), "-o", str(folder / "maps.fits"), *WORDS]) == 0
    return folder / "maps.fits"


def test_the_truth_is_found(inverted: Path) -> None:
    maps = io.read_product(inverted)
    nodes, p = truth()
    flat = {name: jnp.asarray(x.reshape(8, *x.shape[2:])) for name, x in p.items()}
    deep = {name: np.asarray(x).reshape(*SHAPE, -1) for name, x in jax.vmap(nodes.stratification)(flat).items()}
    np.testing.assert_allclose(maps.depth, GRID)
    assert maps.status[DEAD] == Status.NO_DATA
    assert np.isnan(maps.parameters["temperature"][DEAD]).all()
    good = np.ones(SHAPE, bool)
    good[DEAD] = False
    assert np.all(maps.status[good] == Status.CONVERGED)
    assert np.all(maps.chi2[good] < 1.3)
    sensitive = (GRID > -2.6) & (GRID < 0.3)
    for name, most in (("temperature", 50.0), ("field_strength", 50.0)):
        off = (maps.parameters[name] - deep[name])[good][:, sensitive]
        assert np.median(np.abs(off)) < most
        assert np.sqrt(np.mean((off / maps.standard_error[name][good][:, sensitive]) ** 2)) < 1.6
    np.testing.assert_allclose(maps.parameters["electron_pressure"][good], deep["electron_pressure"][good], rtol=0.1)
    assert np.all(np.diff(maps.parameters["height"][good], axis=-1) > 0)
    assert "microturbulence" not in maps.standard_error
    assert np.median(np.abs(maps.parameters["velocity"] - p["velocity"])[good]) < 0.02


def test_posteriors_have_the_axis_of_depths(cube: StokesCube, tmp_path: Path) -> None:
    config = SampleConfig(**OPTIONS, method="importance", draws=200, proposals=1000)
    run = PosteriorRun(prepare(cube, config), keep_draws=True)
    maps = run.into(run.store(tmp_path / "draws.zarr"), progress=False)
    good = maps.status == PosteriorStatus.CONVERGED
    assert not good[DEAD]
    assert good.sum() >= 6
    assert maps.median["temperature"].shape == (*SHAPE, 19)
    assert maps.r_hat["temperature"].shape == maps.ess["field_strength"].shape == SHAPE
    nodes, p = truth()
    deep = np.asarray(nodes.between("temperature", p["temperature"]))
    pull = (deep - maps.median["temperature"]) / maps.spread["temperature"]
    assert np.sqrt(np.mean(pull[good][:, (GRID > -2.6) & (GRID < 0.3)] ** 2)) < 1.6
    assert maps.pixel(0, 0).draws["temperature"].shape == (1, 800, 3)
    io.write_product(tmp_path / "posterior.fits", maps)
    again = io.read_product(tmp_path / "posterior.fits")
    np.testing.assert_allclose(again.lower["temperature"], maps.lower["temperature"])
    np.testing.assert_allclose(again.at(GRID[4]).upper["velocity"], maps.upper["velocity"])
    assert again.stratification(0, 1)["temperature"].shape == (19,)
    figure = plot.stratifications(again, [(0, 0), DEAD])
    assert len(figure.axes) == 2
    assert figure.axes[0].get_legend().get_texts()[1].get_text() == "y 1, x 3 (no data)"
    assert plot.quicklook(again).axes


def test_posteriors_with_depth_are_not_calibrated(cube: StokesCube) -> None:
    """Its fits would start with all nodes at once, and end in false minima."""
    with pytest.raises(OptionError, match="milne-eddington where posteriors are calibrated"):
        plan_calibration(prepare(cube, SampleConfig(**OPTIONS)), 10)


def test_files_have_the_axis_of_depths(inverted: Path, tmp_path: Path) -> None:
    header = fits.getheader(inverted, "TEMPERATURE")
    assert [header[f"NAXIS{k}"] for k in (1, 2, 3)] == [4, 2, 19]
    assert (header["CTYPE3"], header["CRVAL3"], header["CDELT3"]) == ("LOGTAU", 1.0, -0.25)
    assert fits.getheader(inverted, "VELOCITY")["NAXIS"] == 2
    maps = io.read_product(inverted)
    io.write_product(tmp_path / "again.zarr", maps)
    again = io.read_product(tmp_path / "again.zarr")
    np.testing.assert_array_equal(again.parameters["temperature"], maps.parameters["temperature"])
    np.testing.assert_array_equal(again.depth, GRID)
    assert maps.to_xarray()["temperature"].dims == ("y", "x", "log_tau")
    assert "19, log tau 1 to -3.5" in repr(maps)
    pixel = maps.stratification(1, 2)
    io.write_sir_model(tmp_path / "a.mod", pixel)
    back = io.read_sir_model(tmp_path / "a.mod").stratification
    np.testing.assert_allclose(back["temperature"], pixel["temperature"], atol=0.1)
    np.testing.assert_allclose(back["velocity"], pixel["velocity"], atol=1e-3)


def test_maps_at_one_depth(inverted: Path) -> None:
    maps = io.read_product(inverted)
    flat = maps.at(-1.1)
    assert flat.depth is None
    expected = 0.6 * maps.parameters["temperature"][..., 8] + 0.4 * maps.parameters["temperature"][..., 9]
    np.testing.assert_allclose(flat.parameters["temperature"], expected, rtol=1e-6)
    np.testing.assert_array_equal(flat.parameters["velocity"], maps.parameters["velocity"])
    assert flat.standard_error["temperature"].shape == SHAPE
    with pytest.raises(ValueError, match="asked for -4"):
        maps.at(-4)
    with pytest.raises(ValueError, match="no depth"):
        flat.at(-1)
    with pytest.raises(ValueError, match="no depth"):
        flat.stratification(0, 0)


def test_figures(inverted: Path, cube: StokesCube) -> None:
    maps = io.read_product(inverted)
    assert inverted.with_suffix(".png").exists()
    figure = plot.stratifications(maps, [(0, 1), (1, 2)])
    assert [axis.get_ylabel() for axis in figure.axes] == ["temperature [K]", "field strength [G]"]
    assert "log tau -1" in plot.quicklook(maps).get_suptitle()
    for bad, said in (([(0, 9)], "not in the map"), ([], "from 1 to")):
        with pytest.raises(ValueError, match=said):
            plot.stratifications(maps, bad)
    with pytest.raises(ValueError, match="with depth"):
        plot.stratifications(maps.at(-1), [(0, 0)])
    ready = prepare(cube, InvertConfig(**OPTIONS))
    observed, fitted = fitted_profiles(ready, maps, [(0, 1), (1, 2)])
    chi2 = np.mean(((observed - fitted) / 1e-3) ** 2, axis=(1, 2))
    np.testing.assert_allclose(chi2, [maps.chi2[0, 1], maps.chi2[1, 2]], rtol=1e-3)
    response = {name: np.zeros((4, 34, 19)) for name in ("temperature", "velocity")}
    assert len(plot.responses(response, WAVELENGTH, GRID).axes) == 16
    with pytest.raises(ValueError, match="have the shape"):
        plot.responses({"temperature": np.zeros(3)}, WAVELENGTH, GRID)


def test_options_that_do_not_go_together() -> None:
    for bad, said in (
        ({"method": "learned"}, "'method' goes with the model milne-eddington"),
        ({"effective_triplet": True}, "'effective_triplet'"),
        ({"nodes": {"temperature": (0,)}}, "1 or more"),
        ({"log_tau": (1.0, -3.0)}, "depths"),
    ):
        with pytest.raises(OptionError, match=said):
            InvertConfig(**{**OPTIONS, **bad})


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--model", "lte", "--nodes", "temprature=3"], "'temperature'"),
        (["--model", "lte", "--atmosphere", "FALX"], "FAL-C"),
        (["--model", "lte", "--atmosphere-file", "none.mod"], "no file"),
        (["--atmosphere-file", "none.mod"], "goes with the model lte"),
        (["--model", "lte", "--log-tau", "0", "-1", "20"], "has to span"),
    ],
)
def test_bad_words(
    words: list[str], said: str, inverted: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(inverted.parent)
    monkeypatch.setattr("jaxinv.cli._configure_jax", lambda: None)
    common = ["--sigma", "1e-3", "--lines", "Fe I 6302.5", "--wavelength-shift", "0"]
    assert main(["invert", "cube.fits", "-o", "other.fits", *common, *words]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len([line for line in lines if line.startswith("jaxinv: ")]) == 1
    assert said in lines[-1]
    assert not Path("other.fits").exists()


def test_profiles_of_sir_are_read_by_the_command(tmp_path: Path) -> None:
    from jaxinv.cli.invert import InvertOptions
    from jaxinv.cli.observed import observe

    (tmp_path / "LINEAS").write_text("201=FE 1  6302.4936  1.0  3.686  -1.131  5P 1.0- 5D 0.0  0.239  2.38e-14\n")
    (tmp_path / "a.per").write_text("\n".join(f"201 {x} {1 - 0.6 * np.exp(-((x / 80) ** 2))} 0 0 0"
                                              for x in range(-500, 501, 25)))  # fmt: skip
    options = InvertOptions(sir_lines=str(tmp_path / "LINEAS"), sigma=1e-3, model="lte")
    seen = observe([str(tmp_path / "a.per")], options, None, [])
    config = seen.changed(options.pipeline)
    assert (config.continuum, config.wavelength_shift) == (1.0, 0.0)
    ready = seen.prepare(config, lambda text: None)
    assert ready.lines[0].log_gf == -1.131
    assert isinstance(ready.problem.forward, spectra.Nodes)
    with pytest.raises(io.InputError, match="--sir-lines"):
        observe([str(tmp_path / "a.per")], InvertOptions(model="lte"), None, [])
