"""Stokes cubes in and out: FITS in any axis order through its world coordinates, Hinode/SP slits, arrays in memory."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxinv.io import hinode, spinor
from jaxinv.io.errors import InputError
from jaxinv.io.fits import ImageRows, image_of, is_compressed, number_of, open_fits, spatial_cards, write_fits
from jaxinv.io.images import provenance_table, read_provenance
from jaxinv.observation import StokesCube
from jaxinv.spectra.refraction import vacuum_to_air

_ROLES = ("y", "x", "stokes", "wavelength")
_GIVE = "give the wavelengths (--wavelengths FILE on the command line, `wavelength=` in Python)"
_LENGTHS = {"angstrom": 1.0, "nm": 10.0, "um": 1e4, "micron": 1e4, "mm": 1e7, "cm": 1e8, "m": 1e10}


def read_stokes(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    axes: str | None = None,
    wavelength: Any = None,
) -> StokesCube:
    """Read a Stokes cube lazily: the values stay on disk until their rows are asked for.

    Args:
        path: a Hinode/SP level-1 slit; a folder or a list of such slits; or a FITS file with an axis `STOKES` and an
            axis `WAVE` (vacuum, converted to air) or `AWAV` (air) in angstrom, nm, um or m, also as a table (`-TAB`) or
            as a one-dimensional extension `WAVELENGTH`; or profiles with SPINOR's cards.
        axes: the roles of the axes in NumPy order, e.g. `"y x stokes wavelength"`, where the header does not say.
            Axes of length 1 may be called `-`.
        wavelength: `(n_wavelength,)` in angstrom or an astropy quantity, where the file does not say, or in place of
            what it says (`jaxinv.io.read_wavelengths` reads a file of them).

    Raises:
        InputError: the file is missing, truncated or not FITS, or its axes or wavelengths cannot be made out.
        KeyError, ValueError: never for the file's content; always an InputError.
    """
    if isinstance(path, str | os.PathLike):
        path = Path(path)
        if path.is_dir():
            files = sorted(p for p in path.iterdir() if p.suffix.lower() in (".fits", ".fit", ".fts"))
            if not files:
                raise InputError(f"the folder {path} holds no FITS file (.fits, .fit, .fts)")
            return _at(wavelength, hinode.read_slits(files))
        paths = [path]
    else:
        paths = [Path(p) for p in path]
        if not paths:
            raise InputError("no file was named")
    if len(paths) > 1:
        return _at(wavelength, hinode.read_slits(paths))
    hdus = open_fits(paths[0])
    if axes is None and hinode.is_slit(hdus[0].header):
        hdus.close()
        return _at(wavelength, hinode.read_slits(paths))
    return _read_cube(paths[0], hdus, axes, wavelength)


def stokes_cube(
    values: Any,
    wavelength: Any,
    *,
    axes: str = "y x stokes wavelength",
    unit: str | None = None,
    mask: Any = None,
    header: Mapping[str, Any] | None = None,
) -> StokesCube:
    """A Stokes cube from arrays in memory.

    Args:
        values: an array or an astropy quantity; `(4, n_wavelength)` and `(n, 4, n_wavelength)` become `(1, 1, ...)` and
            `(n, 1, ...)` unless `axes` says otherwise.
        wavelength: `(n_wavelength,)` in angstrom, or an astropy quantity of length.
        axes: the roles of the axes of `values`, in order.
        unit: FITS unit; a quantity's own by default.
        mask: `True` where valid, broadcastable to `values`.
        header: FITS cards of the spatial axes, as in `StokesCube`.

    Raises:
        InputError: shapes, axes or units do not fit; says what was found.
    """
    if unit is None:
        unit = str(getattr(values, "unit", "") or "")
    own = getattr(values, "mask", None) if isinstance(values, np.ma.MaskedArray) else None
    if own is not None and np.any(own):
        valid = ~np.broadcast_to(own, np.shape(values))
        mask = valid if mask is None else np.logical_and(np.broadcast_to(mask, np.shape(values)), valid)
    array = np.asarray(getattr(values, "value", values))
    samples = _angstrom(wavelength)
    if axes == "y x stokes wavelength" and array.ndim < 4:
        axes = " ".join(_ROLES[4 - array.ndim :]) if array.ndim != 3 else "y stokes wavelength"
    order = _parse_axes(axes, array.shape)
    array = _arranged(array, order)
    if array.shape[2] != 4:
        raise InputError(f"the Stokes axis must have the length 4 (I, Q, U, V); found {array.shape[2]}: check `axes`")
    if samples.shape != array.shape[3:]:
        raise InputError(f"{array.shape[3]} samples and {samples.shape} wavelengths do not match: check `axes`")
    valid = (
        None if mask is None else _arranged(np.broadcast_to(mask, np.shape(getattr(values, "value", values))), order)
    )
    if samples[0] > samples[-1]:
        samples, array = samples[::-1], array[..., ::-1]
        valid = None if valid is None else valid[..., ::-1]
    try:
        return StokesCube(array, samples, unit=unit, mask=valid, header=dict(header or {}))
    except ValueError as error:
        raise InputError(str(error)) from None


def write_stokes(path: str | os.PathLike[str], cube: StokesCube, *, overwrite: bool = False) -> None:
    """Write a Stokes cube with world coordinates; `read_stokes` gets the same back.

    The axes are x, y, STOKES, AWAV; the wavelengths of every sample also stand in the extension WAVELENGTH, and what
    made a synthesized cube in the table PROVENANCE.

    Raises:
        OutputError: the file exists, or cannot be written.
    """
    from astropy.io import fits

    values = np.moveaxis(np.asarray(cube.values[:], np.float32), (0, 1, 2, 3), (2, 3, 1, 0))
    primary = fits.PrimaryHDU(np.ascontiguousarray(values))
    header = primary.header
    for key, value in cube.header.items():
        header[key] = value
    step = float(np.mean(np.diff(cube.wavelength))) if len(cube.wavelength) > 1 else 1.0
    for axis, cards in ((3, ("STOKES", "", 1.0, 1.0, 1.0)), (4, ("AWAV", "Angstrom", 1.0, cube.wavelength[0], step))):
        for key, value in zip(("CTYPE", "CUNIT", "CRPIX", "CRVAL", "CDELT"), cards, strict=True):
            if value != "":
                header[f"{key}{axis}"] = value
    if cube.unit:
        header["BUNIT"] = cube.unit
    table = fits.ImageHDU(np.asarray(cube.wavelength, np.float64), name="WAVELENGTH")
    table.header["BUNIT"] = "Angstrom"
    made = [provenance_table(cube.provenance)] if cube.provenance else []
    write_fits(path, fits.HDUList([primary, table, *made]), overwrite=overwrite)


def _at(wavelength: Any, cube: StokesCube) -> StokesCube:
    """A cube at other wavelengths than its files say, if there are any."""
    if wavelength is None:
        return cube
    samples = _angstrom(wavelength)
    try:
        return dataclasses.replace(cube, wavelength=samples)
    except ValueError as error:
        raise InputError(f"the wavelengths that were given do not fit: {error}") from None


def _read_cube(path: Path, hdus: Any, axes: str | None, wavelength: Any) -> StokesCube:
    hdu = next((h for h in hdus if h.header.get("NAXIS", 0) >= 2 and getattr(h, "is_image", False)), None)
    if hdu is None:
        raise InputError(f"{path} has no image of two or more axes; found {[h.name for h in hdus]}")
    header, image = hdu.header, image_of(path, hdu)
    given = None if wavelength is None else _angstrom(wavelength)
    stated = given if given is not None else _stated_wavelengths(path, hdus, header)
    if axes is None and spinor.is_profile(header, image.shape):
        axes = spinor.AXES
    order = _parse_axes(axes, image.shape) if axes else _axes_of(path, header, image.shape, stated)
    n_wavelength = image.shape[order[3]] if order[3] >= 0 else 1
    if given is None and stated is not None and len(stated) == n_wavelength:
        given = stated
    if given is None:
        given = _wcs_wavelength(path, hdus, header, image.ndim - order[3], n_wavelength)
    if len(given) != n_wavelength:
        raise InputError(f"{path} has {n_wavelength} samples along the wavelength; {len(given)} wavelengths were given")
    stokes = _stokes_order(path, header, image.ndim - order[2], image.shape[order[2]])
    reverse = len(given) > 1 and given[0] > given[-1]
    given = given[::-1] if reverse else given
    if not np.all((given > 900) & (given < 5e5)):
        raise InputError(
            f"{path}: the wavelengths come out from {given[0]:.6g} to {given[-1]:.6g} angstrom, which cannot be: "
            f"check CUNIT of the wavelength axis, or {_GIVE}"
        )
    numbers = [image.ndim - axis if axis >= 0 else None for axis in order]
    start = None if is_compressed(path) else hdus.fileinfo(hdus.index(hdu))["datLoc"]
    try:
        return StokesCube(
            ImageRows(path, image, header, order, stokes, reverse=reverse, start=start),
            given,
            unit=str(header.get("BUNIT", "")),
            header=spatial_cards(header, numbers[1], numbers[0], hdus),
            source=(str(path),),
            provenance=read_provenance(hdus),
        )
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None


def _axes_of(path: Path, header: Any, shape: tuple[int, ...], extension: np.ndarray | None) -> tuple[int, ...]:
    """The NumPy axes that are y, x, stokes, wavelength, from CTYPE, or from lengths where no CTYPE tells."""
    ndim = len(shape)
    types = [str(header.get(f"CTYPE{ndim - axis}", "")).upper().strip() for axis in range(ndim)]
    stokes = [axis for axis, name in enumerate(types) if name == "STOKES"]
    spectral = [axis for axis, name in enumerate(types) if name[:4] in ("WAVE", "AWAV")]
    found = ", ".join(name or "(none)" for name in types[::-1])
    if not stokes:
        fours = [axis for axis, n in enumerate(shape) if n == 4]
        if len(fours) != 1 or extension is None:
            raise InputError(
                f"{path} has no STOKES axis; its CTYPEs are {found} for the sizes {shape[::-1]}: name the roles, "
                f"--axes 'y x stokes wavelength', and, where the file does not say them, {_GIVE}"
            )
        stokes = fours
    if not spectral:
        alike = [] if extension is None else [a for a, n in enumerate(shape) if n == len(extension) and a not in stokes]
        if len(alike) != 1:
            raise InputError(
                f"{path} has no wavelength axis (WAVE or AWAV); its CTYPEs are {found} for the sizes {shape[::-1]}: "
                f"name the roles, --axes 'y x stokes wavelength', and {_GIVE}"
            )
        spectral = alike
    if len(stokes) > 1 or len(spectral) > 1:
        raise InputError(f"{path} has more than one STOKES or wavelength axis: its CTYPEs are {found}")
    rest = [axis for axis in range(ndim) if axis not in (stokes[0], spectral[0])]
    space = [a for a in rest if shape[a] > 1 or types[a][:2] in ("HP", "SO")]
    space = space if len(space) <= 2 else [a for a in space if shape[a] > 1]
    if len(space) > 2:
        sizes = ", ".join(f"{types[a] or 'axis'} {shape[a]}" for a in space)
        raise InputError(
            f"{path} has more than two axes beside STOKES and wavelength ({sizes}): select one time or scan"
        )
    if len(space) == 2 and types[space[0]].startswith(("HPLN", "SOLARX", "SOLAR-X")):
        space = space[::-1]
    if len(space) == 1:
        space = [-1, space[0]] if types[space[0]].startswith(("HPLN", "SOLARX", "SOLAR-X")) else [space[0], -1]
    return (*([-1] * (2 - len(space)) + space), stokes[0], spectral[0])


def _parse_axes(axes: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    roles = axes.replace(",", " ").lower().split()
    named = [role for role in roles if role != "-"]
    if len(roles) != len(shape) or len(set(named)) != len(named) or not set(named) <= set(_ROLES):
        raise InputError(
            f"`axes` must name the {len(shape)} axes of the sizes {shape} with y, x, stokes, wavelength or -; "
            f"found {axes!r}"
        )
    if not {"stokes", "wavelength"} <= set(named):
        raise InputError(f"`axes` must name a stokes and a wavelength axis; found {axes!r}")
    for role, n in zip(roles, shape, strict=True):
        if role == "-" and n != 1:
            raise InputError(f"an axis called - must have the length 1; found {n} in {shape}")
    return tuple(roles.index(role) if role in roles else -1 for role in _ROLES)


def _arranged(array: np.ndarray, order: Sequence[int]) -> np.ndarray:
    """The array with the axes y, x, stokes, wavelength."""
    present = [axis for axis in order if axis >= 0]
    dropped = tuple(axis for axis in range(array.ndim) if axis not in present)
    array = np.moveaxis(array, present, range(array.ndim - len(present), array.ndim))
    array = array.reshape(array.shape[len(dropped) :])
    for position, axis in enumerate(order):
        if axis < 0:
            array = np.expand_dims(array, position)
    return array


def _stokes_order(path: Path, header: Any, number: int, n: int) -> list[int]:
    """Where I, Q, U and V stand along the Stokes axis (FITS: 1, 2, 3, 4)."""
    if str(header.get(f"CTYPE{number}", "")).upper().strip() != "STOKES":
        return spinor.stokes_order(header) or [0, 1, 2, 3]
    start, step, place = (number_of(path, header, f"{key}{number}", 1) for key in ("CRVAL", "CDELT", "CRPIX"))
    codes = [round(start + (k + 1 - place) * step) for k in range(n)]
    missing = [name for name, code in zip("IQUV", (1, 2, 3, 4), strict=True) if code not in codes]
    if missing:
        raise InputError(f"{path} lacks Stokes {', '.join(missing)}: its STOKES axis holds the codes {codes}")
    return [codes.index(code) for code in (1, 2, 3, 4)]


def _stated_wavelengths(path: Path, hdus: Any, header: Any) -> np.ndarray | None:
    """Wavelengths [angstrom] by SPINOR's cards, or of an extension of one axis that is called WAVE... or LAMBDA...."""
    if (found := spinor.wavelengths(path, header)) is not None:
        return found
    for hdu in hdus[1:]:
        if hdu.name.upper().startswith(("WAVE", "LAMBDA")) and hdu.header.get("NAXIS") == 1:
            unit = str(hdu.header.get("BUNIT") or hdu.header.get("UNIT") or "Angstrom").strip()
            if unit.lower() not in _LENGTHS:
                raise InputError(f"{path}: the wavelengths in {hdu.name} are in {unit!r}, not angstrom, nm, um or m")
            return np.asarray(image_of(path, hdu), np.float64) * _LENGTHS[unit.lower()]
    return None


def _wcs_wavelength(path: Path, hdus: Any, header: Any, number: int, n: int) -> np.ndarray:
    """Air wavelengths [angstrom] along FITS axis `number`, by its world coordinates."""
    from astropy.wcs import WCS

    kind = str(header.get(f"CTYPE{number}", "")).upper()[:4]
    if kind not in ("WAVE", "AWAV"):
        raise InputError(f"{path} does not say its wavelengths: {_GIVE}, or set CTYPE{number} to AWAV or WAVE")
    unit = str(header.get(f"CUNIT{number}", "")).strip()
    if unit and unit.lower() not in _LENGTHS:
        raise InputError(f"{path}: CUNIT{number} of the wavelength is {unit!r}, not Angstrom, nm, um or m")
    try:
        # The library returns metres whatever the header's unit.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # notes on dates and units that it put right
            world = WCS(header, fobj=hdus).sub([number])
        metres = np.asarray(world.wcs_pix2world(np.arange(n)[:, None], 0))[:, 0]
    except Exception as error:
        raise InputError(f"{path}: the wavelength axis cannot be understood ({str(error).splitlines()[0]})") from None
    wavelength = metres * 1e10
    return vacuum_to_air(wavelength) if kind == "WAVE" else wavelength


def _angstrom(wavelength: Any) -> np.ndarray:
    unit = getattr(wavelength, "unit", None)
    if unit is None:
        return np.asarray(wavelength, np.float64)
    try:
        return np.asarray(wavelength.to_value("Angstrom"), np.float64)
    except Exception:
        raise InputError(f"the wavelengths are in {unit}, which is not a length") from None
