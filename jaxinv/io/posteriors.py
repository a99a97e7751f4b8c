"""Posteriors of a map on disk: a FITS file of their summaries, and a Zarr store of the draws."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxinv.compute.atomic import OutputError
from jaxinv.io.errors import InputError
from jaxinv.io.fits import open_fits
from jaxinv.io.images import Images, degrees_in, kept_cards, read_image, read_provenance, shown_unit, unit_of
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


class DrawStore:
    """Draws of a map as a Zarr group `posterior` with an array `(y, x, chain, draw)` for each parameter.

    `xarray.open_zarr(path, group="posterior", consolidated=False)` opens it. Angles are in degrees, as `units` says.
    Pixels that are written again are replaced.

    Args:
        path: a folder, made if it is not there.
        map_shape: `(ny, nx)`.
        draws_shape: `(n_chains, n_draws)`.
        units: FITS unit of each parameter.

    Raises:
        InputError: the folder holds something else, or draws of another shape.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        map_shape: tuple[int, int],
        draws_shape: tuple[int, int],
        units: Mapping[str, str],
    ) -> None:
        import zarr

        self._path = Path(path)
        self._shape = (*map_shape, *draws_shape)
        self._units = dict(units)
        if self._path.exists() and any(self._path.iterdir()) and not (self._path / "zarr.json").exists():
            raise InputError(f"{path} exists and is no Zarr store: choose another name")
        try:
            self._group: Any = zarr.open_group(str(self._path), mode="a", zarr_format=3).require_group("posterior")
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror or error}") from None
        for name, array in self._group.arrays():
            if name in self._units and array.shape != self._shape:
                raise InputError(
                    f"{path} holds draws of the shape {array.shape}, not {self._shape}: choose another name or "
                    "remove it"
                )

    def write(self, start: int, stop: int, draws: Mapping[str, np.ndarray]) -> None:
        """Draws `(stop - start, n_chains, n_draws)` of pixels `start` to `stop` (row-major, x fastest)."""
        ny, nx = self._shape[:2]
        del ny
        for name, values in draws.items():
            array = self._array(name, values.dtype)
            values = values * values.dtype.type(degrees_in(self._units.get(name, "")))
            done = start
            while done < stop:
                row, x = divmod(done, nx)
                n = min(nx - x, stop - done)
                array[row, x : x + n] = values[done - start : done - start + n]
                done += n

    def _array(self, name: str, dtype: Any) -> Any:
        if name not in self._group:
            block = (1, min(self._shape[1], 64), *self._shape[2:])
            array = self._group.create_array(
                name,
                shape=self._shape,
                dtype=dtype,
                chunks=block,
                fill_value=float("nan"),
                dimension_names=("y", "x", "chain", "draw"),
            )
            array.attrs["units"] = shown_unit(self._units.get(name, ""))
        return self._group[name]
