"""Opening FITS files without surprises: complete, native byte order, scaled, and read only where asked."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxinv.io.errors import InputError

ORIGIN_CARDS = (
    "TELESCOP",
    "INSTRUME",
    "DATE-OBS",
    "DATE-BEG",
    "DATE-END",
    "DATE-AVG",
    "OBSERVER",
    "TARGET",
    "NOAA_NUM",
)
OBSERVER_CARDS = (
    "RSUN_REF",
    "RSUN_OBS",
    "DSUN_OBS",
    "HGLN_OBS",
    "HGLT_OBS",
    "CRLN_OBS",
    "CRLT_OBS",
    "SOLAR_B0",
    "SOLAR_P0",
)


def open_fits(path: str | os.PathLike[str]) -> Any:
    """An astropy HDU list whose images are memory-mapped and not yet scaled.

    Raises:
        InputError: there is no such file, it is not FITS, or it is shorter than its headers say.
    """
    from astropy.io import fits

    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no file {path}" + (": it is a folder" if path.is_dir() else ""))
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(9)
    if not (start == b"SIMPLE  =" or start[:2] == b"\x1f\x8b"):
        raise InputError(f"{path} is not a FITS file: it does not begin with a SIMPLE card")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what the library only warns of is an error below
            hdus = fits.open(path, memmap=True, do_not_scale_image_data=True)
            places: list[Any] = [hdus.fileinfo(k) for k in range(len(hdus))]
        ends = [place["datLoc"] + place["datSpan"] for place in places]
    except (OSError, TypeError, ValueError, EOFError) as error:
        raise InputError(f"{path} cannot be read as FITS ({str(error).splitlines()[0]}): copy it again") from None
    if start[:2] != b"\x1f\x8b" and max(ends) > size:
        hdus.close()
        raise InputError(
            f"{path} is truncated: its headers announce {max(ends)} bytes and it has {size}; copy it again"
        )
    return hdus


class ImageRows:
    """A FITS image as `(ny, nx, 4, n_wavelength)` float32, read from disk only for the rows asked for.

    Args:
        image: the raw array, memory-mapped.
        header: its header, for BSCALE, BZERO and BLANK.
        order: the raw axes that become y, x, stokes, wavelength; -1 for an axis of length 1 that the image lacks.
        stokes: index along the raw Stokes axis of I, Q, U and V.
        reverse: whether wavelength runs downwards in the file.
    """

    def __init__(
        self, image: np.ndarray, header: Any, order: Sequence[int], stokes: Sequence[int], *, reverse: bool = False
    ) -> None:
        self._image = image
        self._scale, self._zero = float(header.get("BSCALE", 1)), float(header.get("BZERO", 0))
        self._blank = header.get("BLANK") if image.dtype.kind in "iu" else None
        self._order, self._stokes, self._reverse = tuple(order), list(stokes), reverse
        extent = [image.shape[axis] if axis >= 0 else 1 for axis in order]
        self.shape = (extent[0], extent[1], 4, extent[3])

    def __getitem__(self, rows: slice, /) -> np.ndarray:
        index: list[Any] = [0] * self._image.ndim
        for axis in self._order:
            if axis >= 0:
                index[axis] = slice(None)
        if self._order[0] >= 0:
            index[self._order[0]] = rows
        part = self._image[tuple(index)]
        kept = [axis for axis in range(self._image.ndim) if isinstance(index[axis], slice)]
        present = [kept.index(axis) for axis in self._order if axis >= 0]
        part = np.transpose(part, present)
        for position, axis in enumerate(self._order):
            if axis < 0:
                part = np.expand_dims(part, position)
        if self._order[0] < 0:
            part = part[rows]
        part = part[:, :, self._stokes]
        part = part[..., ::-1] if self._reverse else part
        values = part.astype(np.float32)
        if self._blank is not None:
            values[part == self._blank] = np.nan
        if (self._scale, self._zero) != (1.0, 0.0):
            values = values * np.float32(self._scale) + np.float32(self._zero)
        return values


def spatial_cards(header: Any, x_axis: int | None, y_axis: int | None) -> dict[str, Any]:
    """Cards of the two spatial axes, renumbered to 1 (x) and 2 (y), and those that say where the data come from.

    Args:
        header: of the cube.
        x_axis: FITS number (from 1) of the axis that becomes x; `None` where there is none.
        y_axis: the same for y.
    """
    cards: dict[str, Any] = {}
    for new, old in ((1, x_axis), (2, y_axis)):
        for key in ("CTYPE", "CUNIT", "CRPIX", "CRVAL", "CDELT"):
            if old is not None and f"{key}{old}" in header:
                cards[f"{key}{new}"] = header[f"{key}{old}"]
    for i, row in ((1, x_axis), (2, y_axis)):
        for j, column in ((1, x_axis), (2, y_axis)):
            if row is not None and column is not None and f"PC{row}_{column}" in header:
                cards[f"PC{i}_{j}"] = header[f"PC{row}_{column}"]
    for key in (*ORIGIN_CARDS, *OBSERVER_CARDS):
        if key in header and header[key] not in ("", None):
            cards[key] = header[key]
    if "DATE-OBS" not in cards and header.get("DATE_OBS"):
        cards["DATE-OBS"] = header["DATE_OBS"]
    return cards
