"""Hinode SOT/SP level-1 files: one slit position each, `(4, n_y, n_wavelength)`, assembled to a map.

Level 1 is what `sp_prep` writes (Lites & Ichimoto 2013, Sol. Phys. 283, 601). It has undone the bit shift that SPBSHFT
tells of, so that Stokes I may exceed 32767; it is stored all the same as a signed 16-bit integer, and bright samples
come back negative: 65536 is added to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxinv.io.errors import InputError
from jaxinv.io.fits import ORIGIN_CARDS, image_of, number_of, open_fits, writable
from jaxinv.observation import StokesCube

DISPERSION = 0.021549
"""[angstrom per sample] (Lites et al. 2013, Sol. Phys. 283, 579)."""

REFERENCE = (56, 6302.08)
"""Sample, from 0, and wavelength [angstrom] of a level-1 spectrum; good to some mA, the mean line cores do the rest."""


def is_slit(header: Any) -> bool:
    """Whether a primary header is that of a Hinode/SP slit."""
    instrument = str(header.get("INSTRUME", ""))
    return "SP" in instrument and "SOT" in instrument and header.get("NAXIS") == 3 and header.get("NAXIS3") == 4


def read_slits(paths: Sequence[Path]) -> StokesCube:
    """A map from slit files, in the order of their times; x is the scan, y runs along the slit.

    Raises:
        InputError: a file is no slit, is truncated, or has another size than the others.
    """
    slits = []
    for path in paths:
        with open_fits(path) as hdus:
            header = hdus[0].header
            if not is_slit(header):
                raise InputError(f"{path} is not a Hinode/SP level-1 slit: take it out of the folder")
            slits.append((_time(header), path, header.copy(), np.array(image_of(path, hdus[0]))))
    slits.sort(key=lambda slit: slit[:2])
    first = slits[0][2]
    for _, path, header, _ in slits:
        size = tuple(header[f"NAXIS{axis}"] for axis in (1, 2, 3))
        expected = tuple(first[f"NAXIS{axis}"] for axis in (1, 2, 3))
        if size != expected:
            raise InputError(f"{path} has the size {size}, the first slit {expected}: they belong to different maps")
    return StokesCube(
        _Slits([(path, header, image) for _, path, header, image in slits]),
        _wavelength(slits[0][1], first),
        unit="DN",
        header=_cards([(path, header) for _, path, header, _ in slits]),
        source=tuple(str(path) for _, path, _, _ in slits),
    )


class _Slits:
    """Rows across all slits, whose raw numbers are kept: a map has them in so many files that each is opened once.

    Args:
        slits: path, header and raw array of each.
    """

    def __init__(self, slits: Sequence[tuple[Path, Any, np.ndarray]]) -> None:
        header = slits[0][1]
        self.shape = (header["NAXIS2"], len(slits), 4, header["NAXIS1"])
        self._slits = []
        for path, header, image in slits:
            unsigned = header["BITPIX"] == 16 and not header.get("BZERO")
            scale, zero = number_of(path, header, "BSCALE", 1), number_of(path, header, "BZERO", 0)
            self._slits.append((image, unsigned, scale, zero))

    def __getitem__(self, rows: slice, /) -> np.ndarray:
        count = len(range(*rows.indices(self.shape[0])))
        out = np.empty((count, *self.shape[1:]), np.float32)
        for x, (image, unsigned, scale, zero) in enumerate(self._slits):
            part = np.array(image[:, rows], np.float32)
            if unsigned:
                part[0][part[0] < 0] += 65536
            else:
                part = part * scale + zero
            out[:, x] = np.moveaxis(part, 0, 1)
        return out


def _time(header: Any) -> str:
    return str(header.get("DATE_OBS") or header.get("DATE-OBS") or "")


def _wavelength(path: Path, header: Any) -> np.ndarray:
    n = header["NAXIS1"]
    step = number_of(path, header, "CDELT1", 0)
    if str(header.get("CUNIT1", "")).lower().startswith("angstrom") and step > 0:
        start, place = number_of(path, header, "CRVAL1", 0), number_of(path, header, "CRPIX1", 1)
        if not 900 < start < 5e5:
            raise InputError(
                f"{path}: the card CRVAL1 is {start:g}, which is no wavelength in angstrom: mend the header"
            )
        return start + (np.arange(1, n + 1) - place) * step
    # The first years' files kept the detector's header, whose wavelengths run downwards; the data run upwards.
    return REFERENCE[1] + DISPERSION * (np.arange(n) - REFERENCE[0])


def _cards(slits: Sequence[tuple[Path, Any]]) -> dict[str, Any]:
    path, first = slits[0]
    headers = [header for _, header in slits]
    centres = [number_of(path, header, "XCEN", 0) for path, header in slits]
    step = float(np.median(np.diff(centres))) if len(centres) > 1 else 0.0
    cards = {
        "CTYPE1": "HPLN-TAN",
        "CTYPE2": "HPLT-TAN",
        "CUNIT1": "arcsec",
        "CUNIT2": "arcsec",
        "CRPIX1": (len(headers) + 1) / 2,
        "CRPIX2": (first["NAXIS2"] + 1) / 2,
        "CRVAL1": float(np.mean(centres)),
        "CRVAL2": number_of(path, first, "YCEN", 0),
        "CDELT1": step or number_of(path, first, "XSCALE", 0.1476),
        "CDELT2": number_of(path, first, "YSCALE", 0.1585),
        "DATE-OBS": _time(first),
    }
    if len(headers) > 1:
        cards["DATE-END"] = _time(headers[-1])
    return cards | writable({key: first[key] for key in ORIGIN_CARDS if key in first and key not in cards})
