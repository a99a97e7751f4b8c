"""Small files that describe an instrument: wavelengths, spectral profiles and cavity maps."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np

from jaxinv.io.errors import InputError
from jaxinv.io.fits import image_of, number_of, open_fits


def read_spectral_psf(path: str | os.PathLike[str]) -> tuple[np.ndarray, np.ndarray]:
    """A spectral profile from a text file of two columns: offset [milliangstrom] and transmission.

    Returns:
        `(offset [angstrom], transmission)`, offsets increasing.

    Raises:
        InputError: the file is missing or not such a table.
    """
    path = Path(path)
    table = _numbers(path, _text(path))
    if table.shape[0] < 3 or table.shape[1] != 2:
        raise InputError(
            f"{path} must have two columns, offset [mA] and transmission, and three rows or more; found {table.shape}"
        )
    if not np.all(np.isfinite(table)) or table[:, 1].max() <= 0:
        raise InputError(f"{path} holds NaN, or no transmission above 0")
    order = np.argsort(table[:, 0])
    return table[order, 0] / 1000, table[order, 1]


_UNITS = {"angstrom": 1.0, "aa": 1.0, "a": 1.0, "nm": 10.0, "nanometer": 10.0, "nanometre": 10.0, "um": 1e4, "m": 1e10}
_SHORTEST = 3000.0
"""Wavelengths below this that carry no unit are nm: spectropolarimetry in angstrom begins above it."""


def read_wavelengths(path: str | os.PathLike[str], *, reference: float | None = None) -> np.ndarray:
    """Wavelengths of samples, `(n,)` [angstrom], from a text file or a one-dimensional FITS image.

    Args:
        path: a text file with a wavelength in each line (in the last column, if there are more), `#` before comments;
            or FITS. The unit is what a comment or BUNIT says (angstrom, nm, um, m); where nothing says it, numbers
            below 3000 are nm, which is noted, and others angstrom.
        reference: added to what are then offsets [angstrom]; the file's are in angstrom unless it says otherwise.

    Raises:
        InputError: the file is missing, holds no such column, or offsets without a reference.
    """
    path = Path(path)
    unit, values = _wavelength_image(path) if _is_fits(path) else _wavelength_column(path)
    if len(values) < 2 or not np.isfinite(values).all():
        bad = f"{np.sum(~np.isfinite(values))} of {len(values)} that are not finite" if len(values) > 1 else len(values)
        raise InputError(f"{path} must hold two or more wavelengths, all of them numbers; found {bad}")
    if reference is not None:
        return reference + values * _UNITS[unit or "angstrom"]
    if values.min() <= 0:
        raise InputError(
            f"{path} runs from {values.min():g} to {values.max():g}, which are offsets: say from what wavelength by "
            "--wavelength-reference (`reference=` in Python), e.g. 6302.4935"
        )
    if not unit:
        unit = "nm" if values.max() < _SHORTEST else "angstrom"
        if unit == "nm":
            warnings.warn(f"{path} says no unit: {values.min():g} to {values.max():g} are taken as nm", stacklevel=2)
    return values * _UNITS[unit]


def _is_fits(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError:
        raise InputError(f"there is no file {path} with wavelengths") from None
    return start == b"SIMPLE  =" or start[:2] == b"\x1f\x8b"


def _wavelength_image(path: Path) -> tuple[str, np.ndarray]:
    with open_fits(path) as hdus:
        for hdu in hdus:
            if getattr(hdu, "is_image", False) and hdu.header.get("NAXIS", 0) == 1:
                unit = str(hdu.header.get("BUNIT") or hdu.header.get("UNIT") or "").strip().lower()
                if unit and unit not in _UNITS:
                    raise InputError(f"the wavelengths in {path} are in {unit!r}, not angstrom, nm, um or m")
                scale, zero = number_of(path, hdu.header, "BSCALE", 1), number_of(path, hdu.header, "BZERO", 0)
                return unit, np.array(image_of(path, hdu), np.float64) * scale + zero
    raise InputError(f"{path} holds no one-dimensional image of wavelengths")


def _wavelength_column(path: Path) -> tuple[str, np.ndarray]:
    text = _text(path)
    values = _numbers(path, text)
    comments = " ".join(line.partition("#")[2] for line in text.splitlines()).lower()
    words = comments.replace("[", " ").replace("]", " ").replace("(", " ").replace(")", " ").split()
    unit = next((name for name in _UNITS if len(name) > 1 and name in words), "")
    return unit, values[:, -1] if values.size else np.empty(0)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not a text file") from None
    except OSError as error:
        raise InputError(f"there is no file {path}" if not path.exists() else f"{path}: {error.strerror}") from None


def _numbers(path: Path, text: str) -> np.ndarray:
    """The columns of a text, `#` before comments."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a text without a number
            return np.loadtxt(text.splitlines(), ndmin=2)
    except ValueError as error:
        why = str(error).splitlines()[0].partition(";")[0].rstrip(".")
        raise InputError(f"{path} is not a table of numbers ({why})") from None


def read_stars(path: str | os.PathLike[str]) -> tuple[np.ndarray, np.ndarray]:
    """Stars from a text file of three columns: x and y from the middle of the field [arcsec], and flux.

    Returns:
        `(positions (n, 2), fluxes (n,))`.

    Raises:
        InputError: the file is missing or not such a table.
    """
    path = Path(path)
    table = _numbers(path, _text(path))
    if table.shape[0] < 1 or table.shape[1] != 3:
        raise InputError(f"{path} must have three columns, x and y [arcsec] and flux; found {table.shape}")
    if not np.isfinite(table).all() or (table[:, 2] < 0).any():
        raise InputError(f"{path} holds a number that is not finite, or a negative flux")
    return table[:, :2], table[:, 2]


def read_matrix(path: str | os.PathLike[str]) -> np.ndarray:
    """A matrix `(n_rows, n_columns)`: a FITS image, or a text of rows of numbers.

    Raises:
        InputError: the file is missing, or holds neither.
    """
    path = Path(path)
    if path.name.lower().endswith((".fits", ".fit", ".fts", ".fits.gz")):
        return read_map(path)
    found = _numbers(path, _text(path))
    if not found.size:
        raise InputError(f"{path} holds no numbers")
    return found


def read_map(path: str | os.PathLike[str], *, stale_sums: bool = False) -> np.ndarray:
    """A two-dimensional FITS image `(ny, nx)`, e.g. a cavity map [angstrom].

    Args:
        path: of the file.
        stale_sums: data that are not what their DATASUM says are a note, not an error.

    Raises:
        InputError: the file has no such image.
    """
    with open_fits(path, stale_sums=stale_sums) as hdus:
        for hdu in hdus:
            if getattr(hdu, "is_image", False) and hdu.header.get("NAXIS", 0) == 2:
                scale, zero = number_of(path, hdu.header, "BSCALE", 1), number_of(path, hdu.header, "BZERO", 0)
                return np.array(image_of(path, hdu), np.float64) * scale + zero
    raise InputError(f"{path} holds no two-dimensional image")
