"""Products on disk: units, world coordinates, codes; whole or not at all; the same from FITS and from Zarr."""

import dataclasses
import errno
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

import jaxinv as ji
from jaxinv import io
from jaxinv.compute.store import Store
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
    io.write_product(tmp_path / "a.fits", maps)
    again = io.read_product(tmp_path / "a.fits")
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
    io.write_product(tmp_path / "a.fits", maps)
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
        again = io.read_product(tmp_path / name)
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
    io.write_product(tmp_path / "a.fits", maps)
    with fits.open(tmp_path / "a.fits") as file:
        assert file["AZIMUTH_HIGH"].header["BUNIT"] == "deg"
        assert "BUNIT" not in file["AZIMUTH_RHAT"].header
        np.testing.assert_allclose(file["AZIMUTH_LOW"].data, np.degrees(angle + 1), rtol=1e-6)
    again = io.read_product(tmp_path / "a.fits")
    assert again.units == maps.units
    np.testing.assert_allclose(again.upper["azimuth"], angle + 2, rtol=1e-6)


def test_astropy_and_sunpy_understand_the_file(tmp_path: Path) -> None:
    io.write_product(tmp_path / "a.fits", solution_map())
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
        io.write_product(target, solution_map(), overwrite=True)
    assert target.read_text() == "what was there before"
    assert list(tmp_path.iterdir()) == [target]


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    for path, message in (
        (tmp_path / "nowhere" / "a.fits", "No such file or directory"),
        (tmp_path, "it is a folder"),
    ):
        with pytest.raises(io.OutputError, match=message):
            io.write_product(path, solution_map())


def test_maps_need_no_covariance(tmp_path: Path) -> None:
    maps = solution_map()
    maps = dataclasses.replace(maps, solution=dataclasses.replace(maps.solution, covariance=None))
    io.write_product(tmp_path / "maps.fits", maps)
    again = io.read_product(tmp_path / "maps.fits")
    assert again.solution.covariance is None
    assert list(again.standard_error) == list(maps.standard_error)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    fits.PrimaryHDU(np.zeros((3, 3))).writeto(tmp_path / "a.fits")
    with pytest.raises(io.InputError, match="no product of jaxinv: it lacks the extension STATUS, PROVENANCE"):
        io.read_product(tmp_path / "a.fits")


def posterior_map() -> PosteriorMap:
    rng = np.random.default_rng(0)
    image = lambda: rng.uniform(0, 3, (NY, NX)).astype(np.float32)  # noqa: E731
    names = ("field_strength", "azimuth")
    parts = {part: {name: image() for name in names} for part in ("median", "lower", "upper", "r_hat", "ess")}
    return PosteriorMap(
        **parts,
        scalars={"chi2": image(), "p_value": image()},
        status=np.zeros((NY, NX), np.int16),
        units={"field_strength": "G", "azimuth": "rad"},
        header=solution_map().header,
        provenance={"version": "0", "options": "{sigma: [0.001], lines: [Fe I 6302.5]}"},
        profile=np.array([[-0.1, 0.0, 0.1], [0.2, 0.6, 0.2]]),
        periods={"azimuth": (0.0, np.pi)},
    )


@pytest.mark.parametrize("name", ["a.fits", "a.fits.gz", "a.zarr"])
@pytest.mark.parametrize("make", [solution_map, posterior_map])
def test_a_product_is_the_same_from_fits_and_from_zarr(tmp_path: Path, make: Callable[[], Any], name: str) -> None:
    product = make()
    io.write_product(tmp_path / name, product)
    again = ji.open(tmp_path / name)
    assert type(again) is type(product)
    arrays, expected = again.to_arrays(), product.to_arrays()
    assert arrays.keys() == expected.keys()
    for key, values in expected.items():
        np.testing.assert_allclose(arrays[key], values, rtol=1e-6, err_msg=key)
    assert (again.units, again.header, again.provenance) == (product.units, product.header, product.provenance)
    if product.profile is not None:
        np.testing.assert_array_equal(again.profile, product.profile)
        assert again.options == {"sigma": [0.001], "lines": ["Fe I 6302.5"]}
    assert repr(again) == repr(product)
    with pytest.raises((io.OutputError, io.InputError), match=r"exists already|it is a folder"):
        io.write_product(tmp_path / name, product)
    io.write_product(tmp_path / name, product, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_product_says_what_it_is_and_becomes_a_dataset() -> None:
    product = posterior_map()
    text = repr(product)
    for words in (
        "<PosteriorMap: 4 x 6 pixels",
        "HINODE 2020-01-01",
        "field_strength [G]",
        "24 converged",
        "per sample",
    ):
        assert words in text
    dataset = product.to_xarray()
    assert dict(dataset.sizes) == {"y": NY, "x": NX}
    assert {"azimuth", "azimuth_low", "azimuth_high", "azimuth_rhat", "azimuth_ess", "p_value", "status"} <= set(
        dataset
    )
    assert dataset["field_strength_low"].attrs["units"] == "G"
    assert "units" not in dataset["field_strength_ess"].attrs
    np.testing.assert_allclose(dataset["x"], 100 + 0.15 * (np.arange(NX) - 1))
    assert dataset["x"].attrs["units"] == "arcsec"
    with pytest.raises(ValueError, match="the draws were not kept"):
        product.pixel(0, 0)


def test_folders_and_files_that_are_no_product(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "a.tex").touch()
    with pytest.raises(io.InputError, match="is no store of a run"):
        ji.open(tmp_path / "thesis")
    (tmp_path / "b.zarr").mkdir()
    (tmp_path / "b.zarr" / "a.tex").touch()
    with pytest.raises(io.InputError, match="it is left alone"):
        io.write_product(tmp_path / "b.zarr", posterior_map(), overwrite=True)
    with pytest.raises(io.InputError, match="there is no file"):
        ji.open(tmp_path / "nothing.fits")
    Store(tmp_path / "run", (3,), {"input": "x"}).close()
    with pytest.raises(io.InputError, match="is a run that makes no product"):
        ji.open(tmp_path / "run")
