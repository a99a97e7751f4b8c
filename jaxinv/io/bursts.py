"""Bursts of frames as FITS: the frames first, then what is known of them, each as an image of its own."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from jaxinv.io.errors import InputError
from jaxinv.io.fits import image_of, number_of, open_fits, write_fits
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
    scale, (ny, nx) = burst.pixel_scale, burst.frames.shape[1:]
    primary.header.update(
        {
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
            "CTYPE3": ("FRAME", "exposures"),
            "WAVELNTH": burst.wavelength,
            "WAVEUNIT": "Angstrom",
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


def read_burst(path: str | os.PathLike[str]) -> FrameBurst:
    """A burst as `write_burst` writes it: frames in the first image, wavelength and scale in its header.

    Raises:
        InputError: the file is missing, damaged, or holds no stack of frames or not their wavelength and scale.
    """
    with open_fits(path) as hdus:
        first = hdus[0]
        if first.header.get("NAXIS", 0) != 3:
            raise InputError(f"{path} holds no burst: its first part is no image with three axes (frame, y, x)")
        frames = np.array(image_of(path, first), np.float32)
        for card, unit in (("WAVEUNIT", "Angstrom"), ("CUNIT1", "arcsec")):
            if str(first.header.get(card, "")).strip() != unit:
                raise InputError(f"{path}: the card {card} is {first.header.get(card)!r}, expected {unit!r}")
        wavelength, scale = (number_of(path, first.header, card, 0.0) for card in ("WAVELNTH", "CDELT1"))
        truth = {
            name: np.array(image_of(path, hdus[name.upper()]), np.float32) for name in _TRUTH if name.upper() in hdus
        }
        if "STARS" in hdus:
            truth["stars"] = np.stack([np.asarray(hdus["STARS"].data[name], float) for name in _STARS], axis=1)
        header = {key: first.header[key] for key in ("TELESCOP", "OBJECT") if key in first.header}
        provenance = read_provenance(hdus)
    try:
        return FrameBurst(frames, wavelength, scale, header, truth, provenance)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
