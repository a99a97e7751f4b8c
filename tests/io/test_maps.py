"""Maps on disk: units, world coordinates, codes; whole or not at all."""

import dataclasses
import errno
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from jaxinv import io
from jaxinv.results.posterior import PosteriorMap
from jaxinv.results.solution import Solution, SolutionMap

NY, NX = 4, 6


def solution_map() -> SolutionMap:
    rng = np.random.default_rng(0)
    image = lambda: rng.normal(size=(NY, NX)).astype(np.float32)  # noqa: E731
    parameters = {"field_strength": image(), "doppler_width": rng.normal(size=(NY, NX, 2)), "damping": image()}
    solution = Solution(
        parameters=parameters,
        standard_error={name: np.abs(parameters[name]) for name in ("field_strength", "doppler_width")},
        covariance=rng.normal(size=(NY, NX, 3, 3)),
        labels=("field_strength", "doppler_width[0]", "doppler_width[1]"),
        chi2=image(),
        iterations=np.full((NY, NX), 9),
        starts=np.ones((NY, NX), int),
        status=rng.integers(0, 5, (NY, NX)),
    )
    header = {
        "CTYPE1": "HPLN-TAN", "CTYPE2": "HPLT-TAN", "CUNIT1": "arcsec", "CUNIT2": "arcsec", "CRPIX1": 2.0,
        "CRPIX2": 1.0, "CRVAL1": 100.0, "CRVAL2": -50.0, "CDELT1": 0.15, "CDELT2": 0.16,
        "DATE-OBS": "2020-01-01T00:00:00.000", "TELESCOP": "HINODE",
    }  # fmt: skip
    units = {"field_strength": "G", "doppler_width": "Angstrom", "damping": ""}
    return SolutionMap(solution, units, header, {"version": "0", "command": "x" * 200})


def test_everything_is_read_back(tmp_path: Path) -> None:
    maps = solution_map()
    io.write_maps(tmp_path / "a.fits", maps)
    again = io.read_maps(tmp_path / "a.fits")
    for group in ("parameters", "standard_error"):
        assert list(getattr(again, group)) == list(getattr(maps, group))
        for name, values in getattr(maps, group).items():
            np.testing.assert_array_equal(getattr(again, group)[name], values)
    np.testing.assert_array_equal(again.solution.covariance, maps.solution.covariance)
    np.testing.assert_array_equal(again.status, maps.status)
    assert again.solution.labels == maps.solution.labels
    assert (again.units, again.header, again.provenance) == (maps.units, maps.header, maps.provenance)


def test_angles_leave_as_degrees_and_come_back_in_either_unit(tmp_path: Path) -> None:
    maps = solution_map()
    rng = np.random.default_rng(1)
    angles = {name: rng.uniform(0, np.pi, (NY, NX)) for name in ("inclination", "azimuth")}
    solution = dataclasses.replace(
        maps.solution,
        parameters={"field_strength": maps.parameters["field_strength"], **angles},
        standard_error={name: x / 10 for name, x in angles.items()},
        labels=("field_strength", "inclination", "azimuth"),
    )
    maps = SolutionMap(solution, {"field_strength": "G", "inclination": "rad", "azimuth": "rad"}, maps.header)
    io.write_maps(tmp_path / "a.fits", maps)
    with fits.open(tmp_path / "a.fits") as file:
        for name in ("INCLINATION", "INCLINATION_ERR", "AZIMUTH_ERR"):
            assert file[name].header["BUNIT"] == "deg"
        np.testing.assert_allclose(file["INCLINATION"].data, np.degrees(angles["inclination"]), rtol=1e-12)
        np.testing.assert_allclose(file["AZIMUTH_ERR"].data, np.degrees(angles["azimuth"]) / 10, rtol=1e-12)
        covariance = file["COVARIANCE"]
        assert [covariance.header[f"UNIT{k}"] for k in (1, 2, 3)] == ["G", "deg", "deg"]
        scale = np.array([1, 180 / np.pi, 180 / np.pi])
        expected = solution.covariance[2, 3] * np.outer(scale, scale)
        np.testing.assert_allclose(covariance.data[:, :, 2, 3], expected, rtol=1e-12)
        assert "degrees" in dict(file["PROVENANCE"].data)["angles"]
        # As an earlier version wrote it: in radians, without the units of the covariance.
        for name in ("INCLINATION", "AZIMUTH"):
            for part in (name, f"{name}_ERR"):
                file[part].data = np.radians(file[part].data)
                file[part].header["BUNIT"] = "rad"
        covariance.data = np.moveaxis(solution.covariance, (0, 1), (-2, -1))
        for k in (1, 2, 3):
            del covariance.header[f"UNIT{k}"]
        file.writeto(tmp_path / "old.fits")
    for name in ("a.fits", "old.fits"):
        again = io.read_maps(tmp_path / name)
        assert again.units == maps.units
        for group in ("parameters", "standard_error"):
            for key, values in getattr(maps, group).items():
                np.testing.assert_allclose(getattr(again, group)[key], values, rtol=1e-12)
        np.testing.assert_allclose(again.solution.covariance, solution.covariance, rtol=1e-12)


def test_posteriors_leave_as_degrees_too(tmp_path: Path) -> None:
    angle = np.random.default_rng(0).uniform(0, 3, (NY, NX)).astype(np.float32)
    parts = {part: {"azimuth": angle + k} for k, part in enumerate(("median", "lower", "upper"))}
    good = {"r_hat": {"azimuth": np.ones_like(angle)}, "ess": {"azimuth": np.ones_like(angle)}}
    maps = PosteriorMap(**parts, **good, scalars={}, status=np.zeros((NY, NX), np.int16), units={"azimuth": "rad"})
    io.write_posteriors(tmp_path / "a.fits", maps)
    with fits.open(tmp_path / "a.fits") as file:
        assert file["AZIMUTH_HIGH"].header["BUNIT"] == "deg"
        assert "BUNIT" not in file["AZIMUTH_RHAT"].header
        np.testing.assert_allclose(file["AZIMUTH_LOW"].data, np.degrees(angle + 1), rtol=1e-6)
    again = io.read_posteriors(tmp_path / "a.fits")
    assert again.units == maps.units
    np.testing.assert_allclose(again.upper["azimuth"], angle + 2, rtol=1e-6)


def test_astropy_and_sunpy_understand_the_file(tmp_path: Path) -> None:
    io.write_maps(tmp_path / "a.fits", solution_map())
    with fits.open(tmp_path / "a.fits") as file:
        file.verify("exception")
        header = file["FIELD_STRENGTH"].header
        assert header["BUNIT"] == "G"
        assert file["FIELD_STRENGTH_ERR"].header["BUNIT"] == "G"
        assert file["DOPPLER_WIDTH"].data.shape == (2, NY, NX)
        assert file["STATUS"].header["STATUS3"].startswith("NO_DATA: ")
        assert file["COVARIANCE"].header["PAR2"] == "doppler_width[0]"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a date that it adds
            corner = WCS(header).pixel_to_world_values(1, 0)
        np.testing.assert_allclose(np.array(corner) * 3600 % 1296000, [100, 1296000 - 50], atol=1e-6)
        data = file["FIELD_STRENGTH"].data
    sunpy_map = pytest.importorskip("sunpy.map", reason="sunpy is in the development extra")
    with pytest.warns(Warning, match="metadata"):
        seen, centre = (lambda seen: (seen, seen.center))(sunpy_map.Map(data, header))
    assert seen.unit == "G"
    assert seen.coordinate_system.axis1 == "HPLN-TAN"
    assert centre.Tx.value == pytest.approx(100 + 0.15 * 1.5, abs=1e-3)


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a.fits"
    target.write_text("what was there before")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(io.OutputError, match=r"cannot write .*a\.fits: No space left on device"):
        io.write_maps(target, solution_map(), overwrite=True)
    assert target.read_text() == "what was there before"
    assert list(tmp_path.iterdir()) == [target]


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    for path, message in (
        (tmp_path / "nowhere" / "a.fits", "No such file or directory"),
        (tmp_path, "it is a folder"),
    ):
        with pytest.raises(io.OutputError, match=message):
            io.write_maps(path, solution_map())


def test_maps_need_no_covariance(tmp_path: Path) -> None:
    maps = solution_map()
    maps = dataclasses.replace(maps, solution=dataclasses.replace(maps.solution, covariance=None))
    io.write_maps(tmp_path / "maps.fits", maps)
    again = io.read_maps(tmp_path / "maps.fits")
    assert again.solution.covariance is None
    assert list(again.standard_error) == list(maps.standard_error)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    fits.PrimaryHDU(np.zeros((3, 3))).writeto(tmp_path / "a.fits")
    with pytest.raises(io.InputError, match="no file of maps: it lacks the extension CHI2"):
        io.read_maps(tmp_path / "a.fits")
