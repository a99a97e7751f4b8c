"""Maps of a solution as FITS: an image for each parameter and each standard error, with units and world coordinates."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxinv.atomic import write_atomically
from jaxinv.io.errors import InputError
from jaxinv.io.fits import open_fits
from jaxinv.solution import Solution, SolutionMap, Status

_CARD = 68
"""Characters that fit a FITS card."""


def write_maps(path: str | os.PathLike[str], maps: SolutionMap, *, overwrite: bool = False) -> None:
    """Write a solution.

    Extensions: one image for each parameter (`EXTNAME` its name in capitals, `BUNIT`, the input's world coordinates);
    its standard error (`..._ERR`); `CHI2`, `STATUS` (its codes stand in the header), `ITERATIONS`, `STARTS`;
    `COVARIANCE`, `(n, n, ny, nx)` with the labels in the header; the table `PROVENANCE`.

    Raises:
        OutputError: the file exists, or cannot be written; nothing half-written is left.
    """
    from astropy.io import fits

    solution = maps.solution
    primary = fits.PrimaryHDU()
    primary.header["CREATOR"] = f"jaxinv {maps.provenance.get('version', '')}".strip()
    for key, value in maps.header.items():
        if not key.startswith(("CTYPE", "CUNIT", "CRPIX", "CRVAL", "CDELT", "PC")):
            primary.header[key] = value
    hdus: list[Any] = [primary]

    def image(name: str, values: np.ndarray, unit: str = "", comment: str = "") -> Any:
        hdu = fits.ImageHDU(_planes_first(values), name=name)
        for key, value in maps.header.items():
            hdu.header[key] = value
        if unit:
            hdu.header["BUNIT"] = unit
        if comment:
            hdu.header["COMMENT"] = comment
        hdus.append(hdu)
        return hdu

    for name, values in solution.parameters.items():
        unit = maps.units.get(name, "")
        image(name.upper(), values, unit)
        if name in solution.standard_error:
            image(f"{name.upper()}_ERR", solution.standard_error[name], unit, "one standard deviation")
    image("CHI2", solution.chi2, comment="sum of squared whitened residuals divided by the number of valid samples")
    status = image("STATUS", solution.status.astype(np.int16))
    for code in Status:
        status.header[f"STATUS{int(code)}"] = f"{code.name}: {code.message}"[:_CARD]
    image("ITERATIONS", solution.iterations.astype(np.int32), comment="model evaluations over all starts")
    image("STARTS", solution.starts.astype(np.int16), comment="starting points used")
    covariance = image("COVARIANCE", solution.covariance, comment="in the units of the parameters PAR1, PAR2, ...")
    for index, label in enumerate(solution.labels, 1):
        covariance.header[f"PAR{index}"] = label
    rows = [(key, str(value)) for key, value in maps.provenance.items()]
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column("key", f"{max([1, *(len(key) for key, _ in rows)])}A", array=[key for key, _ in rows]),
            fits.Column(
                "value", f"{max([1, *(len(value) for _, value in rows)])}A", array=[value for _, value in rows]
            ),
        ],
        name="PROVENANCE",
    )
    hdus.append(table)
    write_atomically(path, fits.HDUList(hdus).writeto, overwrite=overwrite)


def read_maps(path: str | os.PathLike[str]) -> SolutionMap:
    """Read what `write_maps` wrote.

    Raises:
        InputError: the file is missing, truncated, or not such a file.
    """
    with open_fits(path) as hdus:
        names = [hdu.name for hdu in hdus]
        missing = [name for name in ("CHI2", "STATUS", "COVARIANCE", "PROVENANCE") if name not in names]
        if missing:
            raise InputError(f"{path} is no file of maps: it lacks the extension {', '.join(missing)}")
        images = {hdu.name: _planes_last(np.asarray(hdu.data)) for hdu in hdus if hdu.name in names[1:-1]}
        parameters, errors, units = {}, {}, {}
        for name in names[1 : names.index("CHI2")]:
            if name.endswith("_ERR"):
                errors[name[:-4].lower()] = images[name]
            else:
                parameters[name.lower()] = images[name]
                units[name.lower()] = hdus[name].header.get("BUNIT", "")
        labels = [hdus["COVARIANCE"].header[f"PAR{k}"] for k in range(1, images["COVARIANCE"].shape[-1] + 1)]
        header = _kept(hdus["CHI2"].header)
        table = hdus["PROVENANCE"].data
        provenance = {str(row["key"]).strip(): str(row["value"]).strip() for row in table}
    solution = Solution(
        parameters=parameters,
        standard_error=errors,
        covariance=images["COVARIANCE"],
        labels=tuple(labels),
        chi2=images["CHI2"],
        iterations=images["ITERATIONS"],
        starts=images["STARTS"],
        status=images["STATUS"],
    )
    return SolutionMap(solution, units=units, header=header, provenance=provenance)


def _planes_first(values: np.ndarray) -> np.ndarray:
    """`(ny, nx, ...)` as `(..., ny, nx)`: FITS viewers show planes."""
    return np.ascontiguousarray(np.moveaxis(values, (0, 1), (-2, -1)))


def _planes_last(values: np.ndarray) -> np.ndarray:
    native = values.astype(values.dtype.newbyteorder("="))
    return np.ascontiguousarray(np.moveaxis(native, (-2, -1), (0, 1)))


def _kept(header: Mapping[str, Any]) -> dict[str, Any]:
    structural = (
        "XTENSION",
        "BITPIX",
        "NAXIS",
        "PCOUNT",
        "GCOUNT",
        "EXTNAME",
        "BUNIT",
        "COMMENT",
        "BSCALE",
        "BZERO",
        "",
    )
    return {key: header[key] for key in header if key.rstrip("0123456789") not in structural}
