"""Reconstructed images as FITS: the images first, then their errors and what is left of the data."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from jaxinv.io.errors import InputError
from jaxinv.io.fits import image_of, native, number_of, open_fits, spatial_cards, write_fits
from jaxinv.io.images import kept_cards, provenance_table, read_provenance
from jaxinv.results.reconstruction import ImageStatus, Reconstruction


def write_reconstruction(
    path: str | os.PathLike[str], reconstruction: Reconstruction, *, overwrite: bool = False
) -> None:
    """Write reconstructed images, whole or not at all.

    Args:
        path: `.fits` or `.fits.gz`.
        reconstruction: what was found; its provenance goes to the table `PROVENANCE`.
        overwrite: replace a file that is there.

    Raises:
        OutputError: the file exists, or cannot be written.
    """
    from astropy.io import fits

    found = reconstruction
    alone = len(found.images) == 1
    flat = lambda array: np.asarray(array[0] if alone else array, np.float32)  # noqa: E731
    primary = fits.PrimaryHDU(flat(found.images))
    primary.header["EXTNAME"] = found.quantity.upper()
    primary.header["CREATOR"] = f"jaxinv {found.provenance.get('version', '')}".strip()
    parts: list[tuple[Any, str]] = [(primary, "")]
    if found.error is not None:
        parts.append((fits.ImageHDU(flat(found.error), name="ERROR"), "standard error"))
    for name, array in found.more.items():
        parts.append((fits.ImageHDU(np.asarray(array, np.float32), name=name.upper()), ""))
    for hdu, comment in parts:
        hdu.header.update(found.header)
        if found.unit and hdu.name != "COVERAGE":
            hdu.header["BUNIT"] = found.unit
        if comment:
            hdu.header["COMMENT"] = comment
    residuals = fits.ImageHDU(flat(found.residuals), name="RESIDUAL")
    residuals.header["COMMENT"] = "data minus what the image predicts, in units of the noise"
    columns = {"chi2": ("D", found.chi2), "status": ("I", found.status), "strength": ("D", found.strength)}
    table = fits.BinTableHDU.from_columns(
        [fits.Column(name, kind, array=values) for name, (kind, values) in columns.items()], name="IMAGES"
    )
    for code in ImageStatus:
        table.header[f"STATUS{int(code)}"] = f"{code.name}: {code.message}"
    hdus = [*(hdu for hdu, _ in parts), residuals, table, provenance_table(found.provenance)]
    write_fits(path, fits.HDUList(hdus), overwrite=overwrite)


def read_reconstruction(path: str | os.PathLike[str]) -> Reconstruction:
    """Images that `write_reconstruction` wrote.

    Raises:
        InputError: the file is missing, damaged, or something else.
    """
    with open_fits(path) as hdus:
        missing = [name for name in ("RESIDUAL", "IMAGES") if name not in hdus]
        if missing or hdus[0].header.get("NAXIS", 0) not in (2, 3):
            raise InputError(f"{path} is no reconstruction: it has no part {', '.join(missing) or 'of images'}")
        first, table = hdus[0], hdus["IMAGES"].data
        n = len(table)
        read = lambda hdu: native(image_of(path, hdu))  # noqa: E731
        every = lambda hdu: read(hdu)[None] if n == 1 else read(hdu)  # noqa: E731
        own = ("ERROR", "RESIDUAL", "IMAGES", "PROVENANCE")
        return Reconstruction(
            images=every(first),
            residuals=every(hdus["RESIDUAL"]),
            chi2=np.asarray(table["chi2"], float),
            status=np.asarray(table["status"], np.int16),
            strength=np.asarray(table["strength"], float),
            quantity=str(first.header.get("EXTNAME", "IMAGE")).lower(),
            unit=str(first.header.get("BUNIT", "")),
            error=every(hdus["ERROR"]) if "ERROR" in hdus else None,
            more={hdu.name.lower(): read(hdu) for hdu in hdus[1:] if hdu.name not in own},
            header={key: x for key, x in kept_cards(first.header).items() if key not in _OWN},
            provenance=read_provenance(hdus),
        )


_OWN = ("SIMPLE", "EXTEND", "CREATOR", "CHECKSUM", "DATASUM")


def read_images(path: str | os.PathLike[str]) -> tuple[np.ndarray, dict[str, Any]]:
    """Images of a FITS file, `(n, ny, nx)`, and the cards of their world coordinates, origin and unit.

    The first part of the file that holds an image of two or three dimensions; NaN stands for a missing pixel.

    Raises:
        InputError: the file is missing or damaged, or holds no such image.
    """
    with open_fits(path) as hdus:
        for hdu in hdus:
            if getattr(hdu, "is_image", False) and hdu.header.get("NAXIS", 0) in (2, 3):
                values = _scaled(path, hdu)
                cards = spatial_cards(hdu.header, 1, 2, hdus)
                unit = str(hdu.header.get("BUNIT", "")).strip()
                return values.reshape(-1, *values.shape[-2:]), cards | ({"BUNIT": unit} if unit else {})
    raise InputError(f"{path} holds no image of two dimensions, nor a stack of them")


_PAIRS = (("GAMMA1", "GAMMA2"), ("G1", "G2"), ("E1", "E2"), ("SHEAR1", "SHEAR2"))


def read_shear(path: str | os.PathLike[str]) -> tuple[np.ndarray, dict[str, Any]] | None:
    """Maps of the shear, `(2, ny, nx)`, and cards; `None`: the file holds no map, but perhaps a catalogue.

    Two parts that are called GAMMA1 and GAMMA2 (or G1, E1, SHEAR1 and so on), or a cube of two planes.

    Raises:
        InputError: the file is missing or damaged, or its images are no such maps.
    """
    with open_fits(path) as hdus:
        images = [hdu for hdu in hdus if getattr(hdu, "is_image", False) and hdu.header.get("NAXIS", 0) >= 2]
        if not images:
            return None
        for names in _PAIRS:
            if all(name in hdus for name in names):
                parts = [_scaled(path, hdus[name]) for name in names]
                if parts[0].shape != parts[1].shape or parts[0].ndim != 2:
                    raise InputError(
                        f"{path}: {names[0]} and {names[1]} are maps of {parts[0].shape}, {parts[1].shape}"
                    )
                return np.stack(parts), spatial_cards(hdus[names[0]].header, 1, 2, hdus)
        cube = _scaled(path, images[0])
        if cube.ndim == 3 and len(cube) == 2:
            return cube, spatial_cards(images[0].header, 1, 2, hdus)
    raise InputError(f"{path} holds no shear: expected parts GAMMA1 and GAMMA2, a cube of two maps, or a catalogue")


def read_catalogue(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The columns of numbers of a table: FITS, or text with a header (ECSV, CSV), masked entries as NaN.

    Raises:
        InputError: the file is missing, or no table.
    """
    from astropy.table import Table

    if not os.path.isfile(path):
        raise InputError(f"there is no file {path}")
    try:
        if str(path).lower().endswith((".fits", ".fit", ".fts", ".fits.gz")):
            with open_fits(path) as hdus:
                tables = [k for k, hdu in enumerate(hdus) if getattr(hdu, "columns", None) is not None]
            if not tables:
                raise InputError(f"{path} holds no table")
            table: Any = Table.read(path, hdu=tables[0])
        else:
            table = Table.read(path, format="ascii")
    except InputError:
        raise
    except Exception as error:  # whatever a reader says of a file that is no table
        raise InputError(f"{path} is no table ({' '.join(str(error).split()):.150})") from None
    out = {}
    for name in table.colnames:
        column = table[name]
        if column.dtype.kind in "iuf" and column.ndim == 1:
            filled = column.filled(np.nan) if hasattr(column, "filled") and column.dtype.kind == "f" else column
            out[name] = np.asarray(filled, float)
    if not out or not len(table):
        raise InputError(f"{path} holds no column of numbers")
    return out


def read_angles(path: str | os.PathLike[str]) -> np.ndarray:
    """Angles `(n,)` as they stand in a file: text, the last column, or a FITS image of one row.

    Raises:
        InputError: the file is missing or holds no numbers, or some that are not finite.
    """
    from jaxinv.io.tables import read_matrix

    name = str(path).lower()
    if name.endswith((".fits", ".fit", ".fts", ".fits.gz")):
        with open_fits(path) as hdus:
            images = [hdu for hdu in hdus if getattr(hdu, "is_image", False) and hdu.header.get("NAXIS", 0) in (1, 2)]
            found = _scaled(path, images[0]).ravel() if images else np.empty(0)
    else:
        found = read_matrix(path)[:, -1]
    if not found.size or not np.all(np.isfinite(found)):
        raise InputError(f"{path} holds no angles, or some that are not finite")
    return found


def _scaled(path: str | os.PathLike[str], hdu: Any) -> np.ndarray:
    scale, zero = number_of(path, hdu.header, "BSCALE", 1), number_of(path, hdu.header, "BZERO", 0)
    values = np.array(image_of(path, hdu), np.float64)
    if "BLANK" in hdu.header and hdu.header["BITPIX"] > 0:
        values[values == hdu.header["BLANK"]] = np.nan
    return values * scale + zero
