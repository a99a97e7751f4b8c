"""`sample_maps`, its files, its figures and its commands on a small simulated observation."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

import jaxinv as ji
from jaxinv import io, plot
from jaxinv.cli import main
from jaxinv.compute.store import Store
from jaxinv.pipelines import PosteriorRun, SampleConfig, prepare, simulate_observation, sunspot_parameters
from jaxinv.pipelines.learned import WEIGHTS
from jaxinv.pipelines.posterior import posterior_predictive
from tests.models import cut_after

QUICK = ["--method", "auto", "--warmup", "50", "--draws", "40", "--max-doublings", "0", "--chunk-size", "5"]
AUTO = ["--method", "auto"]
FAST = SampleConfig(warmup=50, draws=40, max_doublings=0, chunk_size=5)


@pytest.fixture(scope="module")
def cube():
    cube = simulate_observation(sunspot_parameters((8, 8), seed=2))
    return dataclasses.replace(cube, values=np.asarray(cube.values)[:3, :4])


@pytest.fixture
def folder(cube, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    io.write_stokes(tmp_path / "cube.fits", cube)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("jaxinv.cli._configure_jax", lambda: None)
    return tmp_path


@pytest.mark.slow
def test_a_killed_run_resumes_with_the_same_draws(cube, monkeypatch: pytest.MonkeyPatch) -> None:
    cube = dataclasses.replace(cube, values=cube.values[:2])
    run = PosteriorRun(prepare(cube, FAST), keep_draws=True)
    whole, store = run.store(), run.store()
    maps = run.into(whole)
    with monkeypatch.context() as patch:
        cut_after(1, patch)
        with pytest.raises(KeyboardInterrupt):
            run.into(store)
    assert store.todo(99) == [(5, 8)]
    again = run.into(store)
    for name, values in maps.median.items():
        np.testing.assert_array_equal(again.median[name], values)
    assert whole["posterior/velocity"].shape == (2, 4, 4, 40)
    for name, values in whole.arrays().items():
        np.testing.assert_array_equal(store[name], values)
    figure = plot.maps(maps, errors=True)
    assert len(figure.axes) == 9  # a narrow map is shown as curves
    ready = prepare(cube, dataclasses.replace(FAST, method="laplace"))
    observed, replicates, posterior = posterior_predictive(ready, (1, 2), n=30)
    assert replicates.shape == (30, *observed.shape)
    plot.bands(observed, replicates, ready.wavelength, sigma=ready.sigma)
    plot.trace(posterior, index=(0,))


@pytest.mark.slow
def test_the_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["sample", "cube.fits", "-o", "out.fits", "--store", "draws.zarr", "--thin", "4", *QUICK]
    assert main(line) == 0
    text = capsys.readouterr().out
    assert " weighted" in text
    assert "Pareto k < 0.7" in text
    assert "12 pixels" in text or "3 x 4 pixels" in text
    maps = io.read_product("out.fits")
    assert maps.status.shape == (3, 4)
    assert maps.units["field_strength"] == "G"
    assert np.all(maps.lower["field_strength"] <= maps.median["field_strength"])
    assert np.all(maps.upper["velocity"] >= maps.median["velocity"])
    weighted = maps.scalars["route"] == ji.PosteriorRoute.WEIGHTED
    assert weighted.sum() >= 6
    assert np.all(maps.scalars["pareto_k"][weighted] < 0.7)
    assert np.all(maps.ess["velocity"][weighted] <= 160)
    with fits.open("out.fits") as hdus:
        assert hdus["ROUTE"].header["ROUTE2"].startswith("WEIGHTED")
    assert "input_sha256" in maps.provenance
    assert (folder / "out.png").stat().st_size > 10000
    assert not (folder / "out.fits.partial").exists()
    xarray = pytest.importorskip("xarray")
    draws = xarray.open_zarr(folder / "draws.zarr", group="posterior", consolidated=False)
    assert dict(draws.sizes) == {"y": 3, "x": 4, "chain": 4, "draw": 10}
    assert draws["field_strength"].attrs["units"] == "G"
    median = np.median(draws["velocity"].values.reshape(3, 4, -1), axis=-1)
    np.testing.assert_allclose(median, maps.median["velocity"], atol=0.02)
    assert main(line) == 0  # is its own result
    assert "out.fits holds the result of this command already" in capsys.readouterr().out
    assert main([*line, "--seed", "1"]) == 2
    assert "out.fits exists already" in capsys.readouterr().err
    again = [*line[:3], "again.fits", *line[4:]]
    assert main(again) == 2
    assert "draws.zarr exists already" in capsys.readouterr().err
    assert main([*line, "--overwrite"]) == 0


@pytest.mark.slow
def test_the_calibrate_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["calibrate", "cube.fits", "-o", "cal.png", "-n", "20", "--method", "laplace", "--quiet"]
    assert main([*line, "--bounds", "field_strength=0:3000", "velocity=-3:3"]) == 0
    assert "field_strength" in capsys.readouterr().out
    assert (folder / "cal.png").stat().st_size > 10000
    assert main([*line[:3], "cal2.png", "-n", "3", "--quiet"]) == 2
    assert "20 simulated objects or more" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--method", "gibbs"], "--method takes one of auto, hmc, nuts, laplace, svi, importance; found 'gibbs'"),
        (["--draws", "3"], "--draws takes 25 or more"),
        (["--method", "auto", "--draws", "40", "--chains", "2"], "'draws' takes 50 or more with 2 chains"),
        (["--thin", "0"], "--thin takes 1 or more"),
        (["--target-accept", "1.2"], "--target-accept takes a number below 1"),
        (["--memory", "0"], "--memory takes a number above 0"),
        (["--memory", "inf"], "--memory takes a finite number"),
        (["--sigma", "inf"], "--sigma takes a finite number"),
        (["--bounds", "velocity=-inf:inf"], "--bounds velocity takes a finite number"),
        (["--seed", "-1"], "--seed takes 0 or more"),
        (["--relative-strengths", "-1", "2"], "--relative-strengths takes a number above 0"),
        (["--quicklook", "map.xyz"], "its ending must be one of"),
        (["-o", "other.fits"], "-o specified multiple times"),
        (["--region", "0", "90", "0", "2"], "does not lie in the map"),
    ],
)
def test_options_that_are_wrong(
    folder: Path, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    assert main(["sample", "cube.fits", "-o", "out.fits", *flags]) == 2
    assert message in capsys.readouterr().err
    assert not (folder / "out.fits").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--network", "none", *AUTO], "none holds no trained network"),
        (["--network", str(WEIGHTS / "hinode_6301_6302"), *AUTO], "holds a trained Unrolled; expected a Flow"),
        (["--network", "damaged", *AUTO], "weights.npz is damaged"),
        (
            ["--network", str(WEIGHTS / "hinode_posterior"), "--fixed", "damping=0.2", *AUTO],
            "was trained to infer azimuth, damping",
        ),
        (
            ["--network", str(WEIGHTS / "hinode_posterior"), "--bounds", "field_strength=500:3000", *AUTO],
            "in 9 coordinates; with these bounds they have 10",
        ),
        (["--network", "none", "--method", "hmc"], "the option 'network' goes with the method auto; found hmc"),
    ],
)
@pytest.mark.parametrize("command", ["sample", "calibrate"])
def test_a_density_that_does_not_fit(
    folder: Path, capsys: pytest.CaptureFixture[str], command: str, flags: list[str], message: str
) -> None:
    shutil.copytree(WEIGHTS / "hinode_posterior", folder / "damaged")
    (folder / "damaged" / "weights.npz").write_bytes(b"no weights")
    output = {"sample": "out.fits", "calibrate": "out.png"}[command]
    assert main([command, "cube.fits", "-o", output, *flags]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert not (folder / output).exists()


def test_a_store_that_is_none_is_left_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "precious").mkdir()
    (folder / "precious" / "thesis.tex").write_text("x")
    line = ["sample", "cube.fits", "-o", "out.fits", "--store", "precious"]
    assert main([*line, "--overwrite"]) == 2
    assert "precious is no store of a run: it is left alone" in capsys.readouterr().err
    assert (folder / "precious" / "thesis.tex").exists()


def test_nothing_is_lost_by_a_command_that_is_wrong(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("draws.zarr", "out.fits.partial"):
        store = Store(name, (3,), {"input": "another"})
        store.write(0, 2, {"x": np.zeros(2)})
        store.close()
    line = ["-o", "out.fits", "--store", "draws.zarr", "--overwrite", "--restart"]
    assert main(["sample", "cub.fits", *line]) == 2
    assert main(["sample", "cube.fits", *line, "--lines", "Foo"]) == 2
    assert "cannot read 'Foo' as a line" in capsys.readouterr().err
    for name in ("draws.zarr", "out.fits.partial"):
        assert Store.open(name).n_done == 2
    assert main(["sample", "cube.fits", "-o", "new.fits", "--store", "draws.zarr"]) == 2
    assert "draws.zarr exists already" in capsys.readouterr().err


@pytest.mark.slow
def test_draws_that_are_gone_are_missed(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = ["sample", "cube.fits", "-o", "out.fits", "--store", "draws.zarr", "--method", "laplace", "--quiet"]
    line += ["--draws", "25", "--chunk-size", "6"]
    with monkeypatch.context() as patch:
        cut_after(1, patch)
        assert main(line) == 130
    assert "6 of 12 pixels are kept in out.fits.partial" in capsys.readouterr().err
    assert main(line) == 0
    assert io.read_product("out.fits").count()["converged"] == 12
    assert Store.open("draws.zarr").n_done == 12
    # Killed after the file was written and before the draws came to their place.
    (folder / "draws.zarr").rename(folder / "out.fits.partial")
    assert main(line) == 0
    assert Store.open("draws.zarr").n_done == 12
    (folder / "draws.zarr").rename(folder / "elsewhere")
    assert main(line) == 2
    assert "out.fits is finished, but draws.zarr is gone: pass --overwrite" in capsys.readouterr().err
