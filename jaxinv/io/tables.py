"""Small files that describe an instrument: spectral profiles and cavity maps."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from jaxinv.io.errors import InputError
from jaxinv.io.fits import open_fits


def read_spectral_psf(path: str | os.PathLike[str]) -> tuple[np.ndarray, np.ndarray]:
    """A spectral profile from a text file of two columns: offset [milliangstrom] and transmission.

    Returns:
        `(offset [angstrom], transmission)`, offsets increasing.

    Raises:
        InputError: the file is missing or not such a table.
    """
    path = Path(path)
    try:
        table = np.loadtxt(path, ndmin=2)
    except OSError:
        raise InputError(f"there is no file {path}") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a table of numbers ({str(error).splitlines()[0]})") from None
    if table.shape[0] < 3 or table.shape[1] != 2:
        raise InputError(
            f"{path} must have two columns, offset [mA] and transmission, and three rows or more; found {table.shape}"
        )
    if not np.all(np.isfinite(table)) or table[:, 1].max() <= 0:
        raise InputError(f"{path} holds NaN, or no transmission above 0")
    order = np.argsort(table[:, 0])
    return table[order, 0] / 1000, table[order, 1]


def read_map(path: str | os.PathLike[str]) -> np.ndarray:
    """A two-dimensional FITS image `(ny, nx)`, e.g. a cavity map [angstrom].

    Raises:
        InputError: the file has no such image.
    """
    with open_fits(path) as hdus:
        for hdu in hdus:
            if getattr(hdu, "is_image", False) and hdu.header.get("NAXIS", 0) == 2:
                scale, zero = hdu.header.get("BSCALE", 1), hdu.header.get("BZERO", 0)
                return np.array(hdu.data, np.float64) * scale + zero
    raise InputError(f"{path} holds no two-dimensional image")
