"""`jaxinv simulate-burst`: bursts on disk with the truth that made them, every bad input in one line, resumption."""

from collections.abc import Iterator
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from astropy.io import fits

from jaxinv import io, optics
from jaxinv.cli import main
from jaxinv.observation import FrameBurst
from jaxinv.pipelines import burst as pipeline
from tests.models import cut_after

SMALL = ["--frames", "3", "--n-pixels", "32", "--d-over-r0", "3", "--modes", "10", "--basis", "zernike", "--quiet"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with an image and stars, from which commands are run."""
    image = np.random.default_rng(0).uniform(50, 150, (200, 220)).astype(np.float32)
    fits.PrimaryHDU(image).writeto(tmp_path / "image.fits")
    fits.PrimaryHDU(np.where(image > 140, np.nan, image)).writeto(tmp_path / "holes.fits")
    fits.PrimaryHDU(image - 100).writeto(tmp_path / "negative.fits")
    fits.PrimaryHDU(image[:20, :20]).writeto(tmp_path / "tiny.fits")
    whole = (tmp_path / "image.fits").read_bytes()
    (tmp_path / "cut.fits").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "stars.txt").write_text("# x y flux\n0 0 1\n0.5 -0.3 0.5\n")
    fits.PrimaryHDU(np.linspace(0.5, 1.5, 64) * np.ones((64, 1))).writeto(tmp_path / "flat.fits")
    (tmp_path / "two.txt").write_text("0 0\n1 1\n")
    (tmp_path / "burst.yaml").write_text("telescope: SST\nr0: 30 cm\nwavelength: 617.3 nm\nframes: 2\n")
    (tmp_path / "wrong.yaml").write_text("telescop: SST\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("jaxinv.cli._configure_jax", lambda: None)
    return tmp_path


def remade(burst: FrameBurst) -> np.ndarray:
    """The frames without noise, from the truth in a file."""
    ny, nx = burst.frames.shape[1:]
    stage = optics.ExtendedObject(burst.truth["object"].shape, (ny, nx))
    return np.asarray(stage({"object": burst.truth["object"]}, jnp.asarray(burst.truth["psf"])))


def test_the_truth_in_a_file_makes_its_frames(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["simulate-burst", "-o", "burst.fits", "--object", "image.fits", "--plot", "burst.png", *SMALL]
    assert main(arguments) == 0
    burst = io.read_burst("burst.fits")
    assert burst.frames.shape == (3, 32, 32)
    assert (burst.wavelength, burst.pixel_scale) == (6173.0, 0.059)
    left = burst.frames - remade(burst)
    assert left.std() == pytest.approx(0.005, rel=0.05)
    truth = burst.truth
    model = optics.PointSpread(optics.find_telescope("SST"), 6173.0, 0.059, truth["psf"].shape[-1], optics.Zernike(10))
    np.testing.assert_allclose(model.spread(truth["phase"]), truth["psf"], atol=1e-6)
    np.testing.assert_allclose(truth["modes"], model.basis, atol=1e-6)
    np.testing.assert_allclose(model.coefficients(truth["phase"]), truth["wavefront"], atol=1e-5)
    assert truth["object"].mean() == pytest.approx(1.0, abs=1e-5)
    with fits.open("burst.fits") as hdus:
        assert hdus[0].header["CDELT1"] == 0.059
        assert hdus["PHASE"].header["BUNIT"] == "rad"
        provenance = dict(zip(hdus["PROVENANCE"].data["key"], hdus["PROVENANCE"].data["value"], strict=True))
    assert "d_over_r0: 3.0" in provenance["options"]
    assert provenance["input"] == "image.fits"
    assert provenance["command"].startswith("jaxinv simulate-burst")
    assert Path("burst.png").stat().st_size > 10_000
    # The same command has nothing left to do; another one does not write over it.
    before = Path("burst.fits").read_bytes()
    Path("burst.png").unlink()
    assert main(arguments) == 0
    assert Path("burst.png").exists()
    assert Path("burst.fits").read_bytes() == before
    capsys.readouterr()
    assert main([*arguments, "--seed", "1"]) == 2
    assert "burst.fits exists" in capsys.readouterr().err
    assert main(["simulate-burst", "-o", "again.fits", "--object", "image.fits", "--config", "burst.fits"]) == 0
    np.testing.assert_array_equal(io.read_burst("again.fits").frames, burst.frames)


def test_granules_stars_and_layers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate-burst", "-o", "a.fits", "--config", "burst.yaml", "--n-pixels", "32", "--modes", "10"]) == 0
    assert "SST: 0.97 m; 6173 angstrom" in capsys.readouterr().out
    burst = io.read_burst("a.fits")
    assert burst.n_frames == 2
    assert burst.header["TELESCOP"] == "SST"
    assert 0.05 < burst.truth["object"].std() < 0.3
    stars = ["--stars", "stars.txt", "--telescope", "NOT", "--wavelength", "800 nm", "--pixel-scale", "30 mas"]
    camera = ["--photons", "1e4", "--read-noise", "2", "--dark", "10", "--saturation", "500"]
    camera += ["--flat", "flat.fits"]
    small = ["64" if word == "32" else word for word in SMALL]
    assert main(["simulate-burst", "-o", "s.fits", *stars, *camera, *small]) == 0
    burst = io.read_burst("s.fits")
    np.testing.assert_array_equal(burst.truth["stars"], [[0, 0, 1], [0.5, -0.3, 0.5]])
    assert set(np.unique(burst.truth["saturated"])) == {0.0, 1.0}
    flat = fits.getdata("flat.fits")
    full = burst.truth["saturated"] == 1
    np.testing.assert_allclose((burst.frames * flat * 1e4 + 10)[full], 500, rtol=1e-5)
    assert (burst.frames * flat * 1e4 + 10)[~full].max() < 500
    high = ["--layers", "0:0.6:10:0", "8000:0.4:20:5", "--interval", "0.01", "--nodes", "2", "--outer-scale", "20"]
    more = ["--jitter", "0.02", "--integrate", "--corrected", "2", "--left", "0.1", "--exposure", "0.005"]
    assert main(["simulate-burst", "-o", "n.fits", *high, *more, *SMALL]) == 0
    assert io.read_burst("n.fits").truth["psf"].shape[1:3] == (2, 2)


def test_an_image_on_other_pixels_is_averaged() -> None:
    assert main(["simulate-burst", "-o", "o.fits", "--object", "image.fits", "--object-scale", "0.0295", *SMALL]) == 0
    image = fits.getdata("image.fits")
    seen = io.read_burst("o.fits").truth["object"]
    expected = image.reshape(100, 2, 110, 2).mean(axis=(1, 3))
    y, x = ((a - b) // 2 for a, b in zip(expected.shape, seen.shape, strict=True))
    expected = expected[y : y + seen.shape[0], x : x + seen.shape[1]]
    np.testing.assert_allclose(seen, expected / expected.mean(), rtol=1e-5)


def test_an_interrupted_run_goes_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate-burst", "-o", "whole.fits", *SMALL]) == 0
    monkeypatch.setattr(pipeline, "_TOGETHER", 1)  # frame by frame
    with monkeypatch.context() as patch:
        cut_after(1, patch)
        assert main(["simulate-burst", "-o", "burst.fits", *SMALL]) == 130
    assert "1 of 3 frames are kept in burst.fits.partial; the same command goes on" in capsys.readouterr().err
    assert main(["simulate-burst", "-o", "burst.fits", *[word for word in SMALL if word != "--quiet"]]) == 0
    assert "1 of 3 frames are done already" in capsys.readouterr().out
    np.testing.assert_allclose(io.read_burst("burst.fits").frames, io.read_burst("whole.fits").frames, atol=1e-5)
    assert not Path("burst.fits.partial").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--telescope", "GREGORY"], "no telescope 'GREGORY' is known; did you mean 'GREGOR'?"),
        (["--r0", "-0.1"], "r0 is a positive number of metres; found -0.1"),
        (["--r0", "10 kg"], "'r0' takes a number of m, or one with a unit, '10 cm'; found '10 kg'"),
        (["--r0", "0.1", "--d-over-r0", "5"], "'d_over_r0' takes a number where r0 is not given"),
        (["--pixel-scale", "0.2"], "coarser than Nyquist's for 0.97 m at 6173 angstrom: take 0.06563 arcsec or less"),
        (["--pixel-scale", "0.005", "--psf-pixels", "64"], "the pupil is 3 pixels wide, at least 8 are needed"),
        (["--wavelength", "617.3"], "the wavelength is given in angstrom, from 1000 to 10^7; found 617.3"),
        (["--diameter", "0"], "a telescope's diameter is given in metres"),
        (["--layers", "0:1"], "takes more values together"),
        (["--jitter", "1 kg"], "'jitter' takes a number of arcsec"),
        (["--jitter", "-0.1"], "the jitter's rms is a positive number"),
        (["--corrected", "5000"], "too few for 5000 modes"),
        (
            ["--nodes", "400", "--psf-pixels", "64"],
            "the nodes are 2 or more in each direction, and no more than pixels",
        ),
        (["--frames", "0"], "--frames takes 1 or more"),
        (["--obscuration", "0.3"], "'obscuration' takes a number where diameter is given"),
        (["--left", "0.5"], "'left' takes a fraction where modes are corrected"),
        (["--corrected", "2", "--left", "2"], "--left takes 1 or less"),
        (["--saturation", "100"], "'photons' takes a number, with which"),
        (["--basis", "fourier"], "--basis takes one of karhunen-loeve, zernike"),
        (["--modes", "5000"], "take at most"),
        (["--object", "missing.fits"], "there is no file missing.fits"),
        (["--object", "cut.fits"], "cut.fits is truncated"),
        (["--object", "holes.fits"], "pixels that are not finite: fill them"),
        (["--object", "negative.fits"], "the object is an intensity, not below 0"),
        (["--object", "tiny.fits"], "the object is 20 pixels of 0.059 arcsec across, a frame 128"),
        (["--object", "stars.txt"], "stars.txt is not a FITS file"),
        (["--object", "image.fits", "--object-scale", "0"], "'object_scale' takes a positive number"),
        (["--object", "image.fits", "--stars", "stars.txt"], "an object or stars: give one of the two"),
        (["--object", "image.fits", "--psf-pixels", "400"], "the object is 200 pixels across, the option 'psf_pixels'"),
        (["--flat", "flat.fits"], "a flat field goes with photons"),
        (["--flat", "flat.fits", "--photons", "100"], "the flat field has the shape (64, 64), a frame (128, 128)"),
        (["--stars", "two.txt"], "two.txt must have three columns"),
        (["--stars", "stars.txt", "--nodes", "3"], "stars are seen by one PSF"),
        (["--config", "wrong.yaml"], "there is no option 'telescop'; did you mean 'telescope'?"),
        (["--plot", "burst.xyz"], "cannot write a picture as 'burst.xyz'"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path.name for path in Path().iterdir()}
    assert main(["simulate-burst", "-o", "out.fits", "--quiet", *arguments]) == 2
    lines = [line for line in capsys.readouterr().err.strip().splitlines() if "note:" not in line]
    assert len(lines) == 1
    assert expected in lines[0]
    assert {path.name for path in Path().iterdir()} == before


def test_an_object_is_never_overwritten(capsys: pytest.CaptureFixture[str]) -> None:
    before = Path("image.fits").read_bytes()
    assert main(["simulate-burst", "-o", "image.fits", "--object", "image.fits", "--overwrite", *SMALL]) == 2
    assert "is read by this command" in capsys.readouterr().err
    assert Path("image.fits").read_bytes() == before


def test_files_that_are_no_bursts(folder: Path) -> None:
    fits.PrimaryHDU(np.zeros((1, 2, 8, 8), np.float32)).writeto("four.fits")
    with pytest.raises(io.InputError, match="its first image has 4 axes, expected three"):
        io.read_burst("four.fits")
    fits.PrimaryHDU(np.zeros((2, 8, 8), np.float32)).writeto("plain.fits")
    with pytest.raises(io.InputError, match="does not say its wavelength"):
        io.read_burst("plain.fits")
    with pytest.raises(ValueError, match=r"a burst is \(n_frames, ny, nx\)"):
        FrameBurst(np.zeros((8, 8)), 6173.0, 0.059)
    with pytest.raises(ValueError, match="pixel scale of a burst is a positive number"):
        FrameBurst(np.zeros((2, 8, 8)), 6173.0, 0.0)


def test_a_real_image(reference_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = str(reference_data / "mfbd" / "real" / "dkist_photosphere.fits")
    assert main(["simulate-burst", "-o", "d.fits", "--object", image, "--object-scale", "0.059", *SMALL]) == 0
    assert "changed since their DATASUM" in capsys.readouterr().err
    burst = io.read_burst("d.fits")
    assert (burst.frames - remade(burst)).std() == pytest.approx(0.005, rel=0.05)
