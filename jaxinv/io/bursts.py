"""Bursts of frames as FITS: the frames first, then what is known of them, each as an image of its own. Or as HDF5."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from jaxinv.io.errors import InputError
from jaxinv.io.fits import image_of, number_of, open_fits, write_fits
from jaxinv.io.hdf5 import HDF5_ENDINGS, Stack, is_hdf5, read_frames
from jaxinv.io.images import provenance_table, read_provenance
from jaxinv.observation import FrameBurst

_TRUTH = {
    "object": ("", "what the frames show, through no telescope; they are its middle"),
    "psf": ("", "point spread functions, sum 1, optical axis at pixel n // 2 (from 0)"),
    "phase": ("rad", "on the pupil, in the middle of each exposure, without a known defocus"),
    "pupil": ("", "open fraction of each pixel"),
    "wavefront": ("rad", "coefficients of MODES in PHASE, a row for each frame"),
    "modes": ("", "of the wavefront, mean 0 and rms 1 on the pupil"),
    "saturated": ("", "1 where a pixel was full"),
}
"""Images of the truth: their units, and what they are."""
_STARS = ("x", "y", "flux")
ORIGIN = ("TELESCOP", "INSTRUME", "OBJECT", "DATE-OBS", "BUNIT")
"""Cards that say where frames come from."""
_ENDINGS = (".fits", ".fit", ".fts", ".fits.gz")


def detector_cards(shape: tuple[int, ...], scale: float, wavelength: float) -> dict[str, Any]:
    """World coordinates of a camera's image: arcsec from its optical axis; and the wavelength [angstrom]."""
    ny, nx = shape
    return {
        "CTYPE1": ("XDETECT", "along a row"),
        "CTYPE2": ("YDETECT", "along a column"),
        "CUNIT1": "arcsec",
        "CUNIT2": "arcsec",
        "CDELT1": scale,
        "CDELT2": scale,
        "CRPIX1": nx // 2 + 1,
        "CRPIX2": ny // 2 + 1,
        "CRVAL1": 0.0,
        "CRVAL2": 0.0,
        "WAVELNTH": wavelength,
        "WAVEUNIT": "Angstrom",
    }


def write_burst(path: str | os.PathLike[str], burst: FrameBurst, *, overwrite: bool = False) -> None:
    """Write a burst and its truth, whole or not at all.

    Args:
        path: `.fits` or `.fits.gz`.
        burst: frames, header and truth; its provenance goes to the table `PROVENANCE`.
        overwrite: replace a file that is there.

    Raises:
        OutputError: the file exists, or cannot be written.
    """
    from astropy.io import fits

    primary = fits.PrimaryHDU(np.asarray(burst.frames, np.float32))
    primary.header.update(
        {
            **detector_cards(burst.frames.shape[1:], burst.pixel_scale, burst.wavelength),
            "CTYPE3": ("FRAME", "exposures"),
            "CREATOR": f"jaxinv {burst.provenance.get('version', '')}".strip(),
        }
    )
    primary.header.update(burst.header)
    hdus: list[Any] = [primary]
    for name, (unit, comment) in _TRUTH.items():
        if name in burst.truth:
            values = np.asarray(burst.truth[name])
            hdu = fits.ImageHDU(values.astype(np.uint8 if name == "saturated" else np.float32), name=name.upper())
            hdu.header["COMMENT"] = comment
            if unit:
                hdu.header["BUNIT"] = unit
            hdus.append(hdu)
    if "stars" in burst.truth:
        units = ("arcsec", "arcsec", "")
        columns = [
            fits.Column(name, "D", unit=unit, array=values)
            for name, unit, values in zip(_STARS, units, np.asarray(burst.truth["stars"]).T, strict=True)
        ]
        hdus.append(fits.BinTableHDU.from_columns(columns, name="STARS"))
    write_fits(path, fits.HDUList([*hdus, provenance_table(burst.provenance)]), overwrite=overwrite)


def read_burst(
    path: str | os.PathLike[str],
    *,
    wavelength: float | None = None,
    pixel_scale: float | None = None,
    dataset: str | None = None,
) -> FrameBurst:
    """Frames of a burst: a file that `write_burst` wrote, any FITS or HDF5 cube, or a folder of such files.

    Args:
        path: a file whose first image has three axes (frame, y, x), or two: a single frame; or a folder, whose files
            are frames or stacks of frames in the order of their names.
        wavelength: [angstrom]; `None`: the card `WAVELNTH`, in the unit of `WAVEUNIT`; of HDF5, attributes of these
            names.
        pixel_scale: [arcsec]; `None`: the card `CDELT1`, in the unit of `CUNIT1`.
        dataset: of HDF5, the one that holds the frames; `None`: the only one with three axes.

    Raises:
        InputError: the file is missing, damaged, or holds no frames; frames have different sizes; or nothing says their
            wavelength and scale.
    """
    files = _files(path)
    stacks = [read_frames(file, dataset) if is_hdf5(file) else _fits_frames(file) for file in files]
    header = stacks[0].header
    wavelength = _said(files[0], header, "WAVELNTH", "WAVEUNIT", "Angstrom", wavelength)
    pixel_scale = _said(files[0], header, "CDELT1", "CUNIT1", "arcsec", pixel_scale)
    origin = {key: header[key] for key in ORIGIN if key in header}
    shape = stacks[0].frames.shape[1:]
    for file, each in zip(files, stacks, strict=True):
        if each.frames.shape[1:] != shape:
            raise InputError(
                f"frames of unequal size: {files[0].name} has {shape} pixels, {file.name} has {each.frames.shape[1:]}"
            )
    frames = np.concatenate([each.frames for each in stacks])
    try:
        return FrameBurst(frames, wavelength, pixel_scale, origin, stacks[0].truth, stacks[0].provenance)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None


def _files(path: str | os.PathLike[str]) -> list[Path]:
    place = Path(path)
    if not place.is_dir():
        return [place]
    files = sorted(each for each in place.iterdir() if each.name.lower().endswith((*_ENDINGS, *HDF5_ENDINGS)))
    if not files:
        raise InputError(f"{path} is a folder without FITS or HDF5 files")
    return files


def _fits_frames(path: Path) -> Stack:
    with open_fits(path) as hdus:
        first = next((hdu for hdu in hdus if hdu.is_image and hdu.header.get("NAXIS", 0) > 1), None)
        axes = 0 if first is None else first.header["NAXIS"]
        if first is None or axes not in (2, 3):
            raise InputError(f"{path} holds no burst: its first image has {axes} axes, expected three (frame, y, x)")
        values = np.array(image_of(path, first), np.float32)
        there = [name for name in _TRUTH if name.upper() in hdus and hdus[name.upper()] is not first]
        truth = {name: np.array(image_of(path, hdus[name.upper()]), np.float32) for name in there}
        if "STARS" in hdus:
            truth["stars"] = np.stack([np.asarray(hdus["STARS"].data[name], float) for name in _STARS], axis=1)
        return Stack(values.reshape(-1, *values.shape[-2:]), dict(first.header), truth, read_provenance(hdus))


def _said(path: Any, header: Any, card: str, unit_card: str, unit: str, given: float | None) -> float:
    """What a card says, in a unit; unless it is given.

    Raises:
        InputError: it is not there, or is no positive number in such a unit.
    """
    if given is not None:
        return given
    option = {"WAVELNTH": "wavelength", "CDELT1": "pixel scale"}[card]
    if card not in header or (unit_card not in header):
        raise InputError(f"{path} does not say its {option} (cards {card} and {unit_card}): give it")
    from astropy import units

    try:
        value: Any = units.Quantity(number_of(path, header, card, 0.0), str(header[unit_card]).strip()).to_value(unit)
    except (TypeError, ValueError):
        raise InputError(
            f"{path}: the card {unit_card} is {header[unit_card]!r}, expected a unit such as {unit!r}"
        ) from None
    return abs(float(value))
