"""Posteriors of a map as FITS: images of their summaries."""

from __future__ import annotations

import os

import numpy as np

from jaxinv.io.errors import InputError
from jaxinv.io.fits import open_fits
from jaxinv.io.images import Images, kept_cards, read_image, read_provenance, unit_of
from jaxinv.results.posterior import PosteriorMap, PosteriorStatus

_PARTS = {
    "": ("median", "median of the posterior"),
    "_LOW": ("lower", "16 percent quantile"),
    "_HIGH": ("upper", "84 percent quantile"),
    "_RHAT": ("r_hat", "rank-normalized split R-hat"),
    "_ESS": ("ess", "effective sample size, the smaller one of bulk and tail"),
}


def write_posteriors(path: str | os.PathLike[str], maps: PosteriorMap, *, overwrite: bool = False) -> None:
    """Write the summaries of a map of posteriors.

    Extensions, for each parameter: its median (`EXTNAME` the name in capitals, `BUNIT`; angles in degrees), `..._LOW`
    and `..._HIGH` (the 16 % and 84 % quantiles), `..._RHAT`, `..._ESS`; then the sampler's scalars (`CHI2`, `P_VALUE`,
    `DIVERGENCES`, ...), `STATUS` (its codes stand in the header) and the table `PROVENANCE`.

    Raises:
        OutputError: the file exists, or cannot be written; nothing half-written is left.
    """
    images = Images(maps.header, maps.provenance)
    for name in maps.median:
        for ending, (part, comment) in _PARTS.items():
            values = getattr(maps, part)
            if name in values:
                unit = "" if part in ("r_hat", "ess") else maps.units.get(name, "")
                images.add(name.upper() + ending, values[name], unit, comment)
    for name, values in maps.scalars.items():
        images.add(name.upper(), values)
    images.add_codes("STATUS", maps.status, PosteriorStatus)
    images.write(path, overwrite=overwrite)


def read_posteriors(path: str | os.PathLike[str]) -> PosteriorMap:
    """Read what `write_posteriors` wrote; angles in degrees or radians become radians.

    Raises:
        InputError: the file is missing, truncated, or not such a file.
    """
    with open_fits(path) as hdus:
        names = [hdu.name for hdu in hdus][1:]
        parameters = [name[: -len("_LOW")] for name in names if name.endswith("_LOW")]
        if not parameters or "STATUS" not in names or "PROVENANCE" not in names:
            raise InputError(f"{path} is no file of posteriors: it lacks STATUS, PROVENANCE or quantiles (..._LOW)")
        images = {hdu.name: read_image(path, hdu) for hdu in hdus[1:-1]}
        parts: dict[str, dict[str, np.ndarray]] = {part: {} for part, _ in _PARTS.values()}
        for name in parameters:
            for ending, (part, _) in _PARTS.items():
                if name + ending in images:
                    parts[part][name.lower()] = images.pop(name + ending)
        status = images.pop("STATUS")
        return PosteriorMap(
            **parts,
            scalars={name.lower(): values for name, values in images.items()},
            status=status,
            units={name.lower(): unit_of(hdus[name].header)[0] for name in parameters},
            header=kept_cards(hdus["STATUS"].header),
            provenance=read_provenance(hdus),
        )
