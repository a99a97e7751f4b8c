"""Restored bursts in files, and bursts of other makers."""

import dataclasses
from pathlib import Path

import h5py
import numpy as np
import pytest
from astropy.io import fits

import jaxinv as ji
from jaxinv import io
from jaxinv.results.restoration import PatchStatus, Restoration


def restoration() -> Restoration:
    generator = np.random.default_rng(0)
    draw = lambda *shape: generator.normal(size=shape).astype(np.float32)  # noqa: E731
    return Restoration(
        object=1 + 0.1 * draw(20, 24),
        error=0.01 * draw(20, 24) ** 2,
        wavefront=draw(2, 3, 5),
        corners=np.array([[0, 0], [0, 4]]),
        patch=20,
        r0=np.array([0.1, 0.12]),
        chi2=1 + draw(2, 3) ** 2,
        residual_power=draw(2, 4) ** 2,
        relative_error=np.array([0.1, 0.2]),
        gain=1 + 0.01 * draw(2, 3),
        shifts=np.arange(12).reshape(2, 3, 2),
        status=np.array([PatchStatus.RESTORED, PatchStatus.UNEXPLAINED], np.int16),
        psf=draw(3, 20, 20) ** 2,
        best_frame=1 + 0.05 * draw(20, 24),
        sigma=np.array([0.01, 0.02, 0.01], np.float32),
        wavelength=6173.0,
        pixel_scale=0.059,
        header={"TELESCOP": "SST"},
        provenance={"version": "1", "run": "abc"},
    )


def test_a_restoration_comes_back(tmp_path: Path) -> None:
    first = restoration()
    io.write_restoration(tmp_path / "out.fits", first)
    again = io.read_restoration(tmp_path / "out.fits")
    for field in dataclasses.fields(Restoration):
        before, after = getattr(first, field.name), getattr(again, field.name)
        np.testing.assert_array_equal(after, before, err_msg=field.name)
    assert io.provenance_of(tmp_path / "out.fits")["run"] == "abc"
    assert isinstance(ji.open(tmp_path / "out.fits"), Restoration)
    with fits.open(tmp_path / "out.fits") as hdus:
        assert hdus[0].header["EXTNAME"] == "OBJECT"
        assert hdus["PATCHES"].header["STATUS1"].startswith("UNEXPLAINED")
    with pytest.raises(io.OutputError, match="exists"):
        io.write_restoration(tmp_path / "out.fits", first)
    assert first.count() == {"restored": 1, "unexplained": 1, "failed": 0, "not_done": 0, "uncertain": 0}


def test_other_objects_come_back(tmp_path: Path) -> None:
    stokes = np.random.default_rng(1).normal(size=(4, 20, 24)).astype(np.float32)
    more = {"stokes": stokes, "stokes_error": stokes**2, "narrowband": stokes[0], "narrowband_wavelength": 6173.3}
    more |= {"narrowband_error": stokes[0] ** 2, "narrowband_frame": 2 * stokes[0]}
    first = dataclasses.replace(restoration(), **more)
    io.write_restoration(tmp_path / "out.fits", first)
    again = io.read_restoration(tmp_path / "out.fits")
    for name, expected in more.items():
        np.testing.assert_array_equal(getattr(again, name), expected, err_msg=name)
    with fits.open(tmp_path / "out.fits") as hdus:
        assert [hdus["STOKES"].header[card] for card in ("CTYPE3", "CRVAL3", "CDELT3")] == ["STOKES", 1.0, 1.0]


def test_another_file_is_no_restoration(tmp_path: Path) -> None:
    fits.PrimaryHDU(np.ones((4, 4))).writeto(tmp_path / "map.fits")
    with pytest.raises(io.InputError, match="is no restored burst: it has no part ERROR, BEST_FRAME"):
        io.read_restoration(tmp_path / "map.fits")


def test_a_folder_of_frames(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).uniform(size=(3, 8, 10)).astype(np.float32)
    for k, frame in enumerate(frames):
        hdu = fits.PrimaryHDU(frame)
        hdu.header.update({"WAVELNTH": 617.3, "WAVEUNIT": "nm", "CDELT1": -0.059 / 3600, "CUNIT1": "deg"})
        hdu.writeto(tmp_path / f"frame{k}.fits")
    burst = io.read_burst(tmp_path)
    np.testing.assert_array_equal(burst.frames, frames)
    assert burst.wavelength == pytest.approx(6173)
    assert burst.pixel_scale == pytest.approx(0.059)
    fits.PrimaryHDU(frames[0, :4]).writeto(tmp_path / "last.fits")
    with pytest.raises(io.InputError, match=r"frames of unequal size: frame0.fits has \(8, 10\) pixels, last.fits has"):
        io.read_burst(tmp_path)


def test_a_plain_cube(tmp_path: Path) -> None:
    frames = np.ones((3, 8, 10), np.float32)
    fits.PrimaryHDU(frames).writeto(tmp_path / "cube.fits")
    with pytest.raises(io.InputError, match="does not say its wavelength"):
        io.read_burst(tmp_path / "cube.fits")
    with pytest.raises(io.InputError, match="does not say its pixel scale"):
        io.read_burst(tmp_path / "cube.fits", wavelength=6173.0)
    fits.PrimaryHDU(frames[None]).writeto(tmp_path / "four.fits")
    with pytest.raises(io.InputError, match=r"its first image has 4 axes, expected three \(frame, y, x\)"):
        io.read_burst(tmp_path / "four.fits")
    burst = io.read_burst(tmp_path / "cube.fits", wavelength=6173.0, pixel_scale=0.059)
    assert (burst.wavelength, burst.pixel_scale, burst.frames.shape) == (6173.0, 0.059, (3, 8, 10))
    fits.PrimaryHDU(frames[0]).writeto(tmp_path / "image.fits")
    assert io.read_burst(tmp_path / "image.fits", wavelength=6173.0, pixel_scale=0.059).n_frames == 1
    (tmp_path / "empty").mkdir()
    with pytest.raises(io.InputError, match="is a folder without FITS or HDF5 files"):
        io.read_burst(tmp_path / "empty")


def test_hdf5(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).uniform(size=(3, 8, 10)).astype(np.float32)
    path = tmp_path / "burst.h5"
    with h5py.File(path, "w") as file:
        file.attrs.update({"WAVELNTH": 617.3, "WAVEUNIT": "nm", "TELESCOP": "SST"})
        file["raw/frames"] = frames
        file["raw/frames"].attrs.update({"CDELT1": np.array([0.059]), "CUNIT1": b"arcsec"})
        file["time"] = np.arange(3.0)
    burst = io.read_burst(path)
    np.testing.assert_array_equal(burst.frames, frames)
    assert (burst.wavelength, burst.pixel_scale) == (pytest.approx(6173), pytest.approx(0.059))
    assert burst.header == {"TELESCOP": "SST"}
    with h5py.File(path, "a") as file:
        file["dark"] = np.zeros((2, 8, 10))
        file["names"] = ["a", "b"]
    with pytest.raises(io.InputError, match="several datasets with 3 axes, dark, raw/frames: say which"):
        io.read_burst(path)
    assert io.read_burst(path, dataset="/raw/frames").n_frames == 3
    with pytest.raises(io.InputError, match=r"has no dataset 'raw'; it has dark, names, raw/frames, time"):
        io.read_burst(path, dataset="raw")
    with pytest.raises(io.InputError, match="expected numbers"):
        io.read_burst(path, dataset="names")
    (tmp_path / "short.h5").write_bytes(path.read_bytes()[:700])
    with pytest.raises(io.InputError, match="cannot be read as HDF5"):
        io.read_burst(tmp_path / "short.h5")
    with pytest.raises(io.InputError, match="there is no file"):
        io.read_burst(tmp_path / "none.h5")
