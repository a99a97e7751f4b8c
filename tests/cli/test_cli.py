"""The command: options, the whole way on small files, every bad input in one line, interruption and resumption."""

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

import jaxinv as ji
from jaxinv import io, spectra
from jaxinv.cli import main
from jaxinv.compute.store import Store
from jaxinv.observation import StokesCube
from jaxinv.pipelines import simulate_observation, sunspot_parameters
from tests.models import cut_after

SIGMA = ["--sigma", "2e-3", "1e-3", "1e-3", "1e-3"]


@pytest.fixture(scope="module")
def cube() -> StokesCube:
    return simulate_observation(sunspot_parameters((8, 8), seed=2))


@pytest.fixture
def folder(tmp_path: Path, cube: StokesCube, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with `cube.fits`, from which commands are run."""
    io.write_stokes(tmp_path / "cube.fits", cube)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("jaxinv.cli._configure_jax", lambda: None)
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line with which a command was refused."""
    assert main(list(arguments)) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("jaxinv: ")
    return lines[0]


def test_help_and_lines_start_no_heavy_library() -> None:
    code = (
        "import sys; from jaxinv.cli import main\n"
        "assert main(sys.argv[1:]) == 0\n"
        "heavy = [m for m in ('jax', 'astropy', 'matplotlib', 'numpyro') if m in sys.modules]\n"
        "sys.exit(','.join(heavy) or 0)"
    )
    for arguments in (["--help"], ["invert", "--help"], ["lines"]):
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert len(done.stdout) > 500


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (["invert"], "parameter OBS requires an argument. (see `jaxinv invert --help`)"),
        (["invert", "cube.fits"], "parameter --output requires an argument"),
        (["invert", "a.fits", "-o", "b.fits", "--psf-fhwm", "0.1"], "--psf-fhwm. Did you mean --psf-fwhm?"),
        (["invert", "a.fits", "-o", "b.fits", "--xyzzy"], "Unknown option: --xyzzy"),
        (["inver", "a.fits"], 'Did you mean "invert"?'),
    ],
)
def test_a_wrong_line_is_refused(line: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert expected in refused(capsys, *line)


def test_help_begins_with_what_most_need(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["invert", "--help"]) == 0
    shown = capsys.readouterr().out
    words = (
        "--lines TEXT",
        "--sigma NUMBER",
        "--psf-fwhm NUMBER",
        "─ noise ─",
        "--weights",
        "--seed",
        "--overwrite",
        "--workers",
    )
    places = [shown.index(word) for word in ("Usage: jaxinv invert", "-o maps.fits", "what most", *words)]
    assert places == sorted(places)
    assert main([]) == 0
    assert "do the posteriors of an observation hold the truth?" in capsys.readouterr().out


def test_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lines", "Fe I 630.25 nm"]) == 0
    assert "6302.4931" in capsys.readouterr().out
    assert main(["lines", "--between", "5889", "5896"]) == 0
    assert "Na D1" in capsys.readouterr().out
    assert "no Xx I lines" in refused(capsys, "lines", "Xx I 5000")
    assert "no known line" in refused(capsys, "lines", "--between", "1", "2")


def test_invert_writes_maps_and_a_picture(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["invert", "cube.fits", "-o", "maps.fits", *SIGMA]) == 0
    said = capsys.readouterr().out
    for words in ("8 x 8 pixels", "Fe I 6301.5, Fe I 6302.5", "converged", "per sample", "maps.fits and maps.png"):
        assert words in said
    maps = io.read_product(folder / "maps.fits")
    assert maps.provenance["command"].startswith("jaxinv invert cube.fits -o maps.fits --sigma")
    assert len(maps.provenance["input_sha256"]) == 64
    assert (folder / "maps.png").stat().st_size > 10000
    assert sorted(path.name for path in folder.iterdir()) == ["cube.fits", "maps.fits", "maps.png"]
    assert "exists already" in refused(capsys, "invert", "cube.fits", "-o", "maps.fits")


def test_yaml_and_flags(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "a.yaml").write_text(
        "lines: [Fe I 6302.5]\nsigma: [2.0e-3, 1e-3, 1e-3, 1.0e-3]\nfixed: {damping: 0.3}\n"
        "bounds: {field_strength: [0, 3500]}\nexclude: [[6301.0, 6301.2]]\nstarts: 2\ntelluric: true\n"
    )
    assert main(["invert", "cube.fits", "-o", "a.fits", "--config", "a.yaml", "--starts", "1", "--quiet"]) == 0
    maps = io.read_product(folder / "a.fits")
    assert maps.provenance["lines"] == "Fe I 6302.5"
    assert np.all(maps.solution.starts == 1)
    assert np.all(maps.parameters["damping"] == np.float32(0.3))
    assert "damping" not in maps.standard_error
    assert maps.parameters["field_strength"].max() <= 3500
    flags = ["--lines", "Fe I 6302.5", *SIGMA, "--fixed", "damping=0.3", "--bounds", "field_strength=0:3500"]
    flags += ["--exclude", "6301.0:6301.2", "--starts", "1", "--telluric", "--quiet"]
    assert main(["invert", "cube.fits", "-o", "b.fits", *flags]) == 0
    np.testing.assert_array_equal(io.read_product(folder / "b.fits").chi2, maps.chi2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sigmas: 1e-3", "no option 'sigmas'; did you mean 'sigma'?"),
        ("sigma: much", "'sigma' takes a finite number; found 'much'"),
        ("starts: 2.5", "'starts' takes a whole number"),
        ("telluric: perhaps", "takes true or false"),
        ("fixed: [1, 2]", "takes name: value pairs"),
        ("exclude: [[1, 2, 3]]", "takes 2 values together"),
        ("starts: 1\nstarts: 2", "'starts' stands twice"),
        ("- 1\n- 2", "must hold options"),
        ("lines: [", "not valid YAML in line"),
        ("? [1, 2]\n: 3", "there is no option (1, 2)"),
        ("starts: 0", "'starts' takes 1 or more"),
    ],
)
def test_configurations_that_are_wrong(
    folder: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    (folder / "a.yaml").write_text(text)
    line = refused(capsys, "invert", "cube.fits", "-o", "maps.fits", "--config", "a.yaml")
    assert message in line


def spoil(folder: Path, cube: StokesCube, kind: str) -> list[str]:
    """Arguments of an inversion that cannot be done."""
    values = np.array(cube.values)
    command = ["invert", "bad.fits", "-o", "maps.fits"]
    if kind == "truncated":
        (folder / "bad.fits").write_bytes((folder / "cube.fits").read_bytes()[:100_000])
    elif kind == "no STOKES axis":
        with fits.open(folder / "cube.fits") as file:
            del file[0].header["CTYPE3"], file["WAVELENGTH"]
            file.writeto(folder / "bad.fits")
    elif kind == "all NaN":
        io.write_stokes(folder / "bad.fits", StokesCube(values * np.nan, cube.wavelength))
    elif kind in ("dark", "negative"):
        values[:, :, 0] = 0 if kind == "dark" else -1
        io.write_stokes(folder / "bad.fits", StokesCube(values, cube.wavelength))
    elif kind == "wrong unit":
        with fits.open(folder / "cube.fits") as file:
            del file["WAVELENGTH"]
            file[0].header["CUNIT4"] = "m"
            file.writeto(folder / "bad.fits")
    elif kind == "missing":
        pass
    else:
        os.link(folder / "cube.fits", folder / "bad.fits")
    extra = {
        "line not covered": ["--lines", "Fe I 6173.3"],
        "unknown line": ["--lines", "Fe I 6303.9"],
        "no cavity map": ["--cavity-map", "none.fits"],
        "no profile": ["--psf-file", "none.psf"],
        "unknown parameter": ["--fixed", "dampin=1"],
        "malformed pair": ["--fixed", "damping"],
    }
    output = ["nowhere/maps.fits"] if kind == "no folder" else command[3:]
    return command[:3] + output + extra.get(kind, [])


BAD = {
    "truncated": "is truncated",
    "no STOKES axis": "no STOKES axis",
    "all NaN": "all are NaN",
    "dark": "zero or negative",
    "negative": "zero or negative",
    "wrong unit": "check CUNIT",
    "missing": "there is no file bad.fits",
    "line not covered": "do not cover Fe I 6173.3",
    "unknown line": "the table has no line 'Fe I 6303.9'; the nearest are",
    "no folder": "cannot write nowhere/maps.fits",
    "no cavity map": "there is no file none.fits",
    "no profile": "there is no file none.psf",
    "unknown parameter": "did you mean 'damping'?",
    "malformed pair": "expected name=value",
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_refused_in_one_line_and_nothing_is_written(
    folder: Path, cube: StokesCube, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    arguments = spoil(folder, cube, kind)
    before = sorted(folder.iterdir())
    assert BAD[kind] in refused(capsys, *arguments)
    assert sorted(folder.iterdir()) == before


def test_a_full_disk(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert main(["invert", "cube.fits", "-o", "maps.fits", *SIGMA, "--quiet"]) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert not (folder / "maps.fits").exists()


def test_a_disk_that_is_full_while_the_fits_is_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["invert", "cube.fits", "-o", "maps.fits", *SIGMA, "--quiet", "--chunk-size", "8"]
    assert main([*arguments[:3], "first.fits", *arguments[4:], "--no-quicklook"]) == 0  # compiles
    (folder / "first.fits").unlink()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, before[1]))
    try:
        line = refused(capsys, *arguments)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "cannot write maps.fits: File too large" in line
    assert {path.name for path in folder.iterdir()} == {"cube.fits", "maps.fits.partial"}
    assert main(arguments) == 0
    assert {path.name for path in folder.iterdir()} == {"cube.fits", "maps.fits", "maps.png"}


def test_an_observation_is_never_overwritten(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (folder / "cube.fits").read_bytes()
    os.link(folder / "cube.fits", folder / "linked.fits")
    (folder / "soft.fits").symlink_to("cube.fits")
    for name in ("cube.fits", "./cube.fits", "linked.fits", "soft.fits"):
        for command in ("invert", "sample"):
            line = refused(capsys, command, "cube.fits", "-o", name, "--overwrite", *SIGMA)
            assert "is read by this command, and would be destroyed" in line
    (folder / "slits").mkdir()
    slit = fits.PrimaryHDU(np.zeros((4, 3, 112), np.int16))
    slit.header.update({"INSTRUME": "SOT/SP", "DATE_OBS": "2007-02-27T00:20:10"})
    slit.writeto(folder / "slits" / "slit.fits")
    line = refused(capsys, "invert", "slits", "-o", "slits/slit.fits", "--overwrite")
    assert "is read by this command, and would be destroyed" in line
    (folder / "a.yaml").write_text("sigma: 1.0e-3\n")
    for output in (["-o", "maps.fits", "--quicklook", "cube.fits"], ["-o", "maps.fits", "--config", "maps.fits"]):
        assert main(["invert", "cube.fits", *output, "--overwrite"]) == 2
    assert main(["invert", "cube.fits", "-o", "maps.fits", "--psf-file", "maps.fits", "--overwrite"]) == 2
    assert main(["synthesize", "cube.fits", "-o", "cube.fits", "--overwrite"]) == 2
    assert main(["synthesize", "--like", "cube.fits", "-o", "cube.fits", "--overwrite"]) == 2
    assert (folder / "cube.fits").read_bytes() == before


def test_a_picture_that_fails_is_a_note(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with fits.open(folder / "cube.fits", mode="update") as hdus:
        hdus[0].header["TELESCOP"] = r"$\frac{$"
    assert main(["invert", "cube.fits", "-o", "a.fits", *SIGMA]) == 0
    assert (folder / "a.png").exists()
    assert capsys.readouterr().err.count("note") == 0

    def fails(*_: object) -> None:
        raise RuntimeError("no ink\nleft")

    monkeypatch.setattr("jaxinv.plot.quicklook", fails)
    assert main(["invert", "cube.fits", "-o", "b.fits", *SIGMA, "--quiet"]) == 0
    assert "note: no picture was made (no ink left); the result is whole" in capsys.readouterr().err
    assert {path.name for path in folder.iterdir()} == {"cube.fits", "a.fits", "a.png", "b.fits"}
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    # The same command finds the maps done, and makes what is missing.
    assert main(["invert", "cube.fits", "-o", "b.fits", *SIGMA]) == 0
    assert "b.fits holds the result of this command already" in capsys.readouterr().out
    assert (folder / "b.png").exists()
    assert "exists already" in refused(capsys, "invert", "cube.fits", "-o", "b.fits", *SIGMA, "--starts", "2")


def test_dead_pixels_are_flagged_and_the_map_goes_on(
    folder: Path, cube: StokesCube, capsys: pytest.CaptureFixture[str]
) -> None:
    values = np.array(cube.values)
    values[1, 2] = np.nan
    io.write_stokes(folder / "holes.fits", StokesCube(values, cube.wavelength))
    assert main(["invert", "holes.fits", "-o", "maps.fits", *SIGMA]) == 0
    assert "1 no data" in capsys.readouterr().out
    assert io.read_product(folder / "maps.fits").status[1, 2] == 3


def test_an_interrupted_run_resumes_to_the_same_bits(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["invert", "cube.fits", *SIGMA, "--chunk-size", "16", "--no-quicklook", "-o"]
    with monkeypatch.context() as patch:
        cut_after(2, patch)
        assert main([*arguments, "a.fits"]) == 130
    assert "32 of 64 pixels are kept in a.fits.partial; the same command goes on" in capsys.readouterr().err
    assert "another options" in refused(capsys, *arguments, "a.fits", "--seed", "5")
    capsys.readouterr()
    assert main([*arguments, "a.fits"]) == 0
    assert "32 of 64 pixels are done already" in capsys.readouterr().out
    assert not (folder / "a.fits.partial").exists()
    assert main([*arguments, "b.fits", "--quiet"]) == 0
    with fits.open("a.fits") as one, fits.open("b.fits") as other:
        for left, right in zip(one[1:-1], other[1:-1], strict=True):
            assert left.data.tobytes() == right.data.tobytes(), left.name


def test_a_result_is_repeated_from_its_file_alone(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    offset = np.linspace(-0.05, 0.05, 11)
    profile = np.column_stack([1000 * offset, np.exp(-((offset / 0.015) ** 2))])
    np.savetxt(folder / "profile.psf", profile)
    flags = [
        "--starts",
        "1",
        "--bounds",
        "field_strength=0:3000",
        "--fixed",
        "damping=0.3",
        "--psf-file",
        "profile.psf",
    ]
    assert main(["invert", "cube.fits", "-o", "first.fits", *SIGMA, *flags, "--quiet", "--no-quicklook"]) == 0
    (folder / "profile.psf").unlink()  # the result has it
    for source, name in (("first.fits", "second.zarr"), ("second.zarr", "third.fits")):
        assert main(["invert", "cube.fits", "-o", name, "--config", source, "--quiet", "--no-quicklook"]) == 0
    products = [ji.open(name) for name in ("first.fits", "second.zarr", "third.fits")]
    assert products[0].options["bounds"] == {"field_strength": [0.0, 3000.0]}
    np.testing.assert_allclose(products[2].profile[0], offset)
    for product in products[1:]:
        assert product.options == products[0].options
        for name, values in products[0].to_arrays().items():
            np.testing.assert_allclose(product.to_arrays()[name], values, rtol=1e-6, err_msg=name)
    assert main(["synthesize", "second.zarr", "-o", "spectra.fits", "--like", "cube.fits", "--quiet"]) == 0
    assert io.read_stokes("spectra.fits").map_shape == (8, 8)
    for path in (folder / "second.zarr", folder / "third.fits"):
        assert path.exists()
    assert not list(folder.glob("*.partial"))
    again = ["invert", "cube.fits", "-o", "second.zarr", "--config", "first.fits", "--no-quicklook"]
    assert main(again) == 0
    assert "second.zarr holds the result of this command already" in capsys.readouterr().out
    assert "second.zarr exists already" in refused(capsys, *again, "--starts", "2")
    with monkeypatch.context() as patch:  # a run that goes on can be looked into
        cut_after(1, patch)
        assert main([*again[:3], "cut.fits", *again[4:], "--chunk-size", "16"]) == 130
    part = ji.open("cut.fits.partial")
    assert part.count()["not_computed"] == part.chi2.size - 16
    found, expected = (product.parameters["velocity"].ravel()[:16] for product in (part, products[0]))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_restart_discards_an_unfinished_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(folder / "a.fits.partial", (3,), {"input": "other"})
    store.write(0, 3, {"chi2": np.zeros(3)})
    store.close()
    assert "another input" in refused(capsys, "invert", "cube.fits", "-o", "a.fits", *SIGMA)
    assert main(["invert", "cube.fits", "-o", "a.fits", *SIGMA, "--restart", "--quiet"]) == 0
    assert not (folder / "a.fits.partial").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--fixed", "azimuth=-90"], "gives azimuth the value -90; it lies from 0 to 180 degrees"),
        (["--fixed", "inclination=181"], "from 0 to 180 degrees"),
        (["--bounds", "inclination=0:190"], "gives inclination the value 0:190"),
        (["--bounds", "field_strength=-100:100"], "it lies from 0 to inf G"),
        (["--fixed", "damping=-0.1"], "gives damping the value -0.1"),
    ],
)
def test_values_that_cannot_be_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    assert message in refused(capsys, "invert", "cube.fits", "-o", "maps.fits", *flags)
    if flags[0] == "--fixed":
        assert message in refused(capsys, "synthesize", "-o", "one.fits", "--parameters", flags[1])


def test_options_state_angles_in_degrees(folder: Path) -> None:
    flags = ["--fixed", "inclination=45", "--bounds", "azimuth=0:90", "--no-quicklook", "--quiet"]
    assert main(["invert", "cube.fits", "-o", "maps.fits", *SIGMA, "--starts", "1", *flags]) == 0
    maps = io.read_product(folder / "maps.fits")
    np.testing.assert_allclose(maps.parameters["inclination"], np.pi / 4, rtol=1e-6)
    assert np.nanmax(maps.parameters["azimuth"]) <= np.pi / 2 + 1e-6
    one, other = (["synthesize", "-o", f"{k}.fits", "--parameters", f"inclination={k}"] for k in (60, 120))
    assert main(one) == main(other) == 0
    v = [io.read_stokes(folder / f"{k}.fits").values[:][0, 0, 3] for k in (60, 120)]
    np.testing.assert_allclose(v[0], -v[1], atol=1e-6)


def test_synthesize_one_pixel_and_maps(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["synthesize", "-o", "one.fits", "--plot", "one.png", "--parameters", "field_strength=2000"]) == 0
    one = io.read_stokes(folder / "one.fits")
    assert one.values.shape == (1, 1, 4, 112)
    assert np.abs(one.values[:][0, 0, 3]).max() > 0.1
    Path("one.png").unlink()
    assert main(["synthesize", "-o", "one.fits", "--plot", "one.png", "--parameters", "field_strength=2000"]) == 0
    assert Path("one.png").exists()  # all that was left to do
    assert main(["synthesize", "-o", "two.fits", "--config", "one.fits"]) == 0
    np.testing.assert_array_equal(io.read_stokes("two.fits").values[:], one.values[:])
    assert main(["invert", "cube.fits", "-o", "maps.fits", *SIGMA, "--wavelength-shift", "0", "--continuum", "1"]) == 0
    assert main(["synthesize", "maps.fits", "-o", "again.fits", "--like", "cube.fits"]) == 0
    again, observed = io.read_stokes(folder / "again.fits"), io.read_stokes(folder / "cube.fits")
    assert np.std(again.values[:] - observed.values[:]) < 3e-3
    capsys.readouterr()
    assert "no parameter 'field'" in refused(capsys, "synthesize", "-o", "x.fits", "--parameters", "field=1")
    assert "do not cover" in refused(capsys, "synthesize", "-o", "x.fits", "--wavelength", "5000", "5001", "9")
    assert "first last number" in refused(capsys, "synthesize", "-o", "x.fits", "--wavelength", "5000")


def test_demo_prints_errors_against_the_truth(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "-o", "spot", "--size", "16"]) == 0
    table = capsys.readouterr().out.partition("against the truth")[2].splitlines()
    assert len(table) == 11
    scatter = [float(row.split()[-1]) for row in table[2:]]
    assert np.median(scatter) == pytest.approx(1, abs=0.25)
    written = {path.name for path in (folder / "spot").iterdir()}
    assert written == {
        "observation.fits", "truth.fits", "maps.fits", "maps.png", "comparison.png", "profiles.png"
    }  # fmt: skip


def test_a_mistake_in_the_command_shows_where_with_debug(folder: Path) -> None:
    with pytest.raises(io.InputError):
        main(["invert", "none.fits", "-o", "maps.fits", "--debug"])


@pytest.mark.slow
def test_a_real_slit_from_a_shell(reference_data: Path, tmp_path: Path) -> None:
    slit = reference_data / "spectra/hinode/SP4D20070227_002010.0C.fits"
    command = [sys.executable, "-m", "jaxinv", "invert", str(slit), "-o", "maps.fits"]
    done = subprocess.run(
        [*command, "--sigma", "5e-3", "1e-3", "1e-3", "1e-3"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "px/s" in done.stderr
    maps = io.read_product(tmp_path / "maps.fits")
    assert np.median(maps.chi2) <= 2.18
    assert maps.header["CTYPE2"] == "HPLT-TAN"


def test_parameters_outside_their_physical_range_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["synthesize", "-o", "spectra.fits", "--parameters"]
    assert "doppler_width the value 0; it lies from 0.0001 to inf" in refused(capsys, *line, "doppler_width=0")
    assert "inclination the value 200; it lies from 0 to 180 degrees" in refused(capsys, *line, "inclination=200")
    assert main(["invert", "cube.fits", "-o", "maps.fits", "--no-quicklook", "--quiet", *SIGMA]) == 0
    with fits.open("maps.fits", mode="update") as file:
        file["DOPPLER_WIDTH"].data[1, 2] = 0
    expected = "doppler_width is 0 Angstrom in 1 of 64 pixels; it lies from 0.0001 to inf Angstrom"
    assert expected in refused(capsys, "synthesize", "maps.fits", "-o", "spectra.fits")
    assert not (folder / "spectra.fits").exists()


@pytest.mark.slow
def test_crisp_wavelengths_and_cavity_map(
    folder: Path, reference_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A map that says nothing of its axes, at 30 wavelengths without a continuum, every pixel shifted by its etalon."""
    part = reference_data / "spectra/crisp"
    offset = fits.getdata(part / "crisp.6301_6302.2019-05-10_wave.fits")
    cavity = fits.getdata(part / "crisp.6301_6302.2019-05-10_cmap.fits")[40:56, 100:124].astype(np.float32)
    wavelength = 6302.4931 + offset
    truth = sunspot_parameters(cavity.shape, seed=3)
    model = spectra.MilneEddington(["Fe I 6301.5", "Fe I 6302.5"], wavelength)
    seen = simulate_observation({**truth, "wavelength_offset": cavity}, model, wavelength)
    fits.writeto("crisp.fits", np.moveaxis(seen.values, (2, 3), (1, 0)))
    fits.writeto("offsets.fits", offset)
    fits.writeto("cavity.fits", cavity)
    line = ["invert", "crisp.fits", "-o", "maps.fits", "--wavelengths", "offsets.fits", "--cavity-map", "cavity.fits"]
    assert "offsets: say from what wavelength" in refused(capsys, *line)
    options = ["--wavelength-reference", "6302.4931", "--wavelength-shift", "0", "--no-quicklook"]
    assert main([*line, *options]) == 0
    assert "lines       Fe I 6301.5, Fe I 6302.5" in capsys.readouterr().out
    maps = io.read_product("maps.fits")
    measured = np.array(maps.provenance["sigma_measured"].split(), float)
    assert np.all((measured > 0.9e-3) & (measured < 2.5e-3))  # some of it is the map's structure, for lack of continuum
    strong = (truth["field_strength"] > 500) & (maps.status == 0)
    away = (maps.parameters["velocity"] - truth["velocity"])[strong]
    assert np.median(np.abs(away)) < 0.01
    assert np.std(away / maps.standard_error["velocity"][strong]) < 1.3
    assert np.median(np.abs(maps.parameters["field_strength"] - truth["field_strength"])[strong]) < 10
    assert np.mean(np.abs(cavity)) * 3e5 / 6302 > 0.05  # km/s, had it been left out
