"""`jaxinv deconvolve`, `tomography` and `massmap`, from files to files."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

import jaxinv as ji
from jaxinv import imaging
from jaxinv.cli import main

RNG = np.random.default_rng(0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An image with world coordinates, its PSF, projections, a catalogue."""
    y, x = np.mgrid[:24, :24]
    image = 50 + 100 * np.exp(-((x - 10) ** 2 + (y - 14) ** 2) / 8.0) + RNG.normal(size=(24, 24))
    header = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 10.0, "CRVAL2": 20.0, "CRPIX1": 12.0})
    header.update({"CRPIX2": 12.0, "CDELT1": -1e-4, "CDELT2": 1e-4, "TELESCOP": "HST", "BUNIT": "electron"})
    fits.writeto(tmp_path / "image.fits", np.float32(image), header)
    fits.writeto(tmp_path / "psf.fits", np.exp(-((x[:5, :5] - 2) ** 2 + (y[:5, :5] - 2) ** 2) / 2.0))
    radon = imaging.Radon(16, np.arange(0, 180, 15.0))
    sinogram = np.asarray(radon(np.float32(imaging.shepp_logan(16)))) + 0.05 * RNG.normal(size=(12, 16))
    fits.writeto(tmp_path / "sinogram.fits", np.float32(np.stack([sinogram, 2 * sinogram])))
    np.savetxt(tmp_path / "angles.txt", radon.angles)
    galaxies = {name: RNG.uniform(0, 10, 900) for name in ("x", "y")} | {
        name: RNG.normal(0, 0.2, 900) for name in ("e1", "e2")
    }
    Table(galaxies).write(tmp_path / "galaxies.csv")
    Table(galaxies).write(tmp_path / "galaxies.fits")
    return tmp_path


def test_an_image_is_sharpened_into_a_file(folder, capsys):
    words = ("deconvolve", "image.fits", "--psf", "psf.fits", "-o", "out.fits", "--noise", "1", "--strength", "0.5")
    assert main([str(folder / w) if w.endswith(".fits") else w for w in words]) == 0
    said = capsys.readouterr().out
    assert "1 reconstructed" in said
    found = ji.open(folder / "out.fits")
    assert found.image.shape == (24, 24)
    assert found.header["CRVAL1"] == 10
    assert found.header["TELESCOP"] == "HST"
    assert found.unit == fits.getheader(folder / "out.fits", 0)["BUNIT"] == "electron"
    assert found.provenance["options"]
    assert found.strength[0] == 0.5
    assert (folder / "out.png").stat().st_size > 5000
    # The same command finds its work done; another one is refused.
    assert main([str(folder / w) if w.endswith(".fits") else w for w in words]) == 0
    assert "already" in capsys.readouterr().out
    assert main([str(folder / w) if w.endswith(".fits") else w for w in (*words[:-1], "0.7")]) == 2
    assert "exists already" in capsys.readouterr().err
    # What was written is read as it was.
    ji.io.write_reconstruction(folder / "again.fits", found)
    again = ji.open(folder / "again.fits")
    np.testing.assert_array_equal(again.images, found.images)
    np.testing.assert_array_equal(again.residuals, found.residuals)
    assert dict(again.header) == dict(found.header)


def test_slices_are_reconstructed_into_a_file(folder, capsys):
    words = ["tomography", str(folder / "sinogram.fits"), "--method", "fbp", "-o", str(folder / "out.fits")]
    assert main([*words, "--angles", str(folder / "angles.txt"), "--draws", "4", "--noise", "0.05"]) == 0
    assert "2 reconstructed" in capsys.readouterr().out
    found = ji.open(folder / "out.fits")
    assert found.images.shape == found.error.shape == (2, 16, 16)
    np.testing.assert_allclose(found.images[1], 2 * found.images[0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["galaxies.csv", "galaxies.fits"])
def test_a_catalogue_is_mapped_into_a_file(folder, capsys, name):
    words = ["massmap", str(folder / name), "--method", "kaiser-squires", "--draws", "4", "--smoothing", "2"]
    assert main([*words, "--pixel-scale", "1", "-o", str(folder / "out.fits")]) == 0
    assert "highest over its error" in capsys.readouterr().out
    with fits.open(folder / "out.fits") as hdus:
        assert [hdu.name for hdu in hdus][:4] == ["CONVERGENCE", "ERROR", "B_MODE", "COVERAGE"]
        assert hdus["COVERAGE"].data.sum() == 900
    found = ji.open(folder / "out.fits")
    assert found.quantity == "convergence"
    assert set(found.more) == {"b_mode", "coverage"}


def test_an_interrupted_run_goes_on(folder, monkeypatch, capsys):
    from jaxinv.pipelines.reconstruction import Recipe

    made, calls = Recipe.made, []

    def cut(self, values, sigma, index=0):
        calls.append(index)
        if index == 1 and len(calls) == 2:
            raise KeyboardInterrupt
        return made(self, values, sigma, index)

    monkeypatch.setattr(Recipe, "made", cut)
    words = ["tomography", str(folder / "sinogram.fits"), "--method", "fbp", "-o", str(folder / "out.fits")]
    words += ["--span", "180", "--draws", "0", "--noise", "1"]
    assert main(words) == 130
    assert "1 of 2 images are kept" in capsys.readouterr().err
    assert main(words) == 0
    assert "resuming    1 of 2" in capsys.readouterr().out
    assert calls == [0, 1, 1]
    assert not (folder / "out.fits.partial").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("deconvolve image.fits --psf none.fits -o out.fits", "there is no file"),
        ("deconvolve image.fits --psf image.fits -o out.fits --method wavelet", "'wavelet'"),
        ("deconvolve image.fits --psf psf.fits -o image.fits", "is read by this command"),
        ("deconvolve image.fits --psf psf.fits -o out.fits --mask hidden.fits", "the mask hides every pixel"),
        ("deconvolve torn.fits --psf psf.fits -o out.fits", "torn.fits"),
        ("deconvolve image.fits --psf psf.fits -o out.fits --strenght 2", "strenght"),
        ("deconvolve galaxies.fits --psf psf.fits -o out.fits", "holds no image of two dimensions"),
        ("tomography sinogram.fits -o out.fits", "give the angles"),
        ("tomography sinogram.fits --angles radians.txt -o out.fits", "look like radians"),
        ("tomography sinogram.fits --angles image.fits -o out.fits", "576 angles for 12 projections"),
        ("massmap image.fits -o out.fits", "holds no shear"),
        ("massmap galaxies.csv --columns shear1=kappa -o out.fits", "no column 'kappa'"),
        ("massmap galaxies.csv --columns kappa -o out.fits", "expected name=value"),
        ("massmap angles.txt -o out.fits", "no column for"),
        ("massmap nothing.csv -o out.fits", "there is no file"),
    ],
)
def test_bad_input_gets_one_line_and_writes_nothing(folder, capsys, words, message):
    fits.writeto(folder / "hidden.fits", np.ones((24, 24)))
    (folder / "torn.fits").write_bytes((folder / "image.fits").read_bytes()[:4000])
    np.savetxt(folder / "radians.txt", np.linspace(0, np.pi, 12))
    before = {path.name: path.stat().st_mtime for path in folder.iterdir()}
    asked = [str(folder / word) if word.endswith((".fits", ".txt", ".csv")) else word for word in words.split()]
    assert main(asked) == 2
    said = capsys.readouterr().err
    assert message in said
    assert len(said.splitlines()) == 1
    assert {path.name: path.stat().st_mtime for path in folder.iterdir()} == before
