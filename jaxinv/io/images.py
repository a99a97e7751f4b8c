"""A FITS file of maps, put together extension by extension: units, world coordinates, how it was made."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxinv.compute.store import attributes_of
from jaxinv.io.errors import InputError
from jaxinv.io.fits import image_of, is_world_card, open_fits, write_fits
from jaxinv.results.units import DEGREES, shown_unit

_CARD = 68
"""Characters that fit a FITS card."""
_STRUCTURAL = ("XTENSION", "BITPIX", "NAXIS", "PCOUNT", "GCOUNT", "EXTNAME", "BUNIT", "COMMENT", "BSCALE", "BZERO", "")
_SUMS = ("CHECKSUM", "DATASUM")


class Images:
    """Image extensions of one map.

    Args:
        header: cards that every image gets: world coordinates and the observation's origin.
        provenance: what made the result, for the table `PROVENANCE`.
    """

    def __init__(self, header: Mapping[str, Any], provenance: Mapping[str, str]) -> None:
        from astropy.io import fits

        self._header = header
        self._provenance = provenance
        primary = fits.PrimaryHDU()
        primary.header["CREATOR"] = f"jaxinv {provenance.get('version', '')}".strip()
        for key, value in header.items():
            if not is_world_card(key):
                primary.header[key] = value
        self._hdus: list[Any] = [primary]
        self._angles: list[str] = []
        self._tables: list[Any] = []

    def add(self, name: str, values: np.ndarray, unit: str = "", comment: str = "") -> Any:
        """An image `(ny, nx, ...)`, further axes first in the file; angles become degrees. Returns its header."""
        from astropy.io import fits

        if unit == "rad":
            self._angles.append(name)
            values, unit = values * values.dtype.type(DEGREES), shown_unit(unit)
        hdu = fits.ImageHDU(_planes_first(values), name=name)
        for key, value in self._header.items():
            hdu.header[key] = value
        if unit:
            hdu.header["BUNIT"] = unit
        if comment:
            hdu.header["COMMENT"] = comment
        self._hdus.append(hdu)
        return hdu.header

    def add_codes(self, name: str, values: np.ndarray, codes: Any) -> None:
        """An image such as `STATUS`, with what each code of the enumeration means in its header."""
        header = self.add(name, values.astype(np.int16))
        for code in codes:
            header[f"{name}{int(code)}"] = f"{code.name}: {code.message}"[:_CARD]

    def add_table(self, name: str, columns: Mapping[str, tuple[str, np.ndarray]]) -> None:
        """A table: unit and values of each column."""
        from astropy.io import fits

        made = [fits.Column(key, "D", unit=unit or None, array=values) for key, (unit, values) in columns.items()]
        self._tables.append(fits.BinTableHDU.from_columns(made, name=name))

    def write(self, path: str | os.PathLike[str], *, overwrite: bool) -> None:
        """Append the provenance and write the file, whole or not at all.

        Raises:
            OutputError: the file exists, or cannot be written.
        """
        from astropy.io import fits

        provenance = {**self._provenance}
        if self._angles:
            provenance["angles"] = f"degrees in this file ({', '.join(self._angles)})"
        table = provenance_table(provenance)
        write_fits(path, fits.HDUList([*self._hdus, *self._tables, table]), overwrite=overwrite)


def provenance_table(provenance: Mapping[str, Any]) -> Any:
    """The table `PROVENANCE`: what made a result."""
    from astropy.io import fits

    rows = [(key, str(value)) for key, value in provenance.items()]
    columns = [
        fits.Column(name, f"{max([1, *(len(row[k]) for row in rows)])}A", array=[row[k] for row in rows])
        for k, name in enumerate(("key", "value"))
    ]
    return fits.BinTableHDU.from_columns(columns, name="PROVENANCE")


def read_image(path: str | os.PathLike[str], hdu: Any) -> np.ndarray:
    """An image as `(ny, nx, ...)` in native byte order, angles in radians whichever unit BUNIT says.

    Raises:
        InputError: it is no image of numbers.
    """
    values = image_of(path, hdu)
    if values.ndim < 2:
        raise InputError(f"{path}: the part {hdu.name} is no map: its size is {values.shape}")
    native = values.astype(values.dtype.newbyteorder("="))
    if unit_of(hdu.header)[1] != 1.0:
        native = native / native.dtype.type(DEGREES)
    return np.ascontiguousarray(np.moveaxis(native, (-2, -1), (0, 1)))


def unit_of(header: Mapping[str, Any], card: str = "BUNIT") -> tuple[str, float]:
    """The unit in which an image's values come out of `read_image`, and what the file's are divided by for it."""
    unit = str(header.get(card, "")).strip()
    return ("rad", DEGREES) if unit in ("deg", "degree", "degrees") else (unit, 1.0)


def read_provenance(hdus: Any) -> dict[str, str]:
    """The table `PROVENANCE`; empty where there is none."""
    table = hdus["PROVENANCE"].data if "PROVENANCE" in hdus else None
    if table is None or not {"key", "value"} <= set(table.names or ()):
        return {}
    return {str(row["key"]).strip(): str(row["value"]).strip() for row in table}


def provenance_of(path: str | os.PathLike[str]) -> dict[str, str]:
    """What made a FITS file or the store of a run; empty where it does not say.

    Raises:
        InputError: the file is missing or damaged.
    """
    if Path(path).is_dir():
        return dict(attributes_of(path).get("product", {}).get("provenance", {}))
    with open_fits(path) as hdus:
        return read_provenance(hdus)


def kept_cards(header: Mapping[str, Any]) -> dict[str, Any]:
    """The cards that `Images` was given."""
    return {key: header[key] for key in header if key.rstrip("0123456789") not in (*_STRUCTURAL, *_SUMS, "STATUS")}


def _planes_first(values: np.ndarray) -> np.ndarray:
    """`(ny, nx, ...)` as `(..., ny, nx)`: FITS viewers show planes."""
    return np.ascontiguousarray(np.moveaxis(values, (0, 1), (-2, -1)))
