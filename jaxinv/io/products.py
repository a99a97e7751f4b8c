"""Products on disk: FITS with an image for each array, or the Zarr store of the run that made them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxinv.compute.atomic import check_writable, discard_folder
from jaxinv.compute.store import Store, StoreError, is_store
from jaxinv.io.errors import InputError
from jaxinv.io.fits import open_fits
from jaxinv.io.images import Images, kept_cards, read_image, read_provenance, unit_of
from jaxinv.results.posterior import PosteriorMap
from jaxinv.results.product import Product, product_of
from jaxinv.results.solution import SolutionMap
from jaxinv.results.units import degrees_in, shown_unit

_PROFILE = "SPECTRAL_PROFILE"
_DEPTH = "DEPTH"
_TABLES = ("PROVENANCE", _PROFILE, _DEPTH)


def write_product(path: str | os.PathLike[str], product: Product, *, overwrite: bool = False) -> None:
    """Write a product as FITS, or as a Zarr store where the name ends in `.zarr`.

    A FITS file has an image for each array, `EXTNAME` its name in capitals, with `BUNIT` (angles in degrees) and the
    input's world coordinates: each parameter (`VELOCITY`) and, of a solution, its standard error (`..._ERR`), of
    posteriors the 16 % and 84 % quantiles (`..._LOW`, `..._HIGH`), R-hat (`..._RHAT`) and effective sample size
    (`..._ESS`); `CHI2` and other scalars; `STATUS` and `ROUTE`, whose codes stand in their headers; where there is one,
    `COVARIANCE`, `(n, n, ny, nx)` with labels and units in its header; the tables `SPECTRAL_PROFILE`, where it was
    given as one, and `PROVENANCE`. Stratified parameters are cubes `(n_depth, ny, nx)`: the third axis, `LOGTAU`, is
    log10 of the optical depth at 5000 angstrom, which stands in the table `DEPTH`, too.

    Raises:
        OutputError: the file exists, or cannot be written; nothing half-written is left.
    """
    if Path(path).suffix.lower() == ".zarr":
        return _write_store(Path(path), product, overwrite)
    images = Images(product.header, {**product.provenance, "kind": product.kind})
    for name, unit, comment, values in product.named():
        if name in product.codes:
            images.add_codes(name.upper(), values, product.codes[name])
        elif name == "covariance":
            _add_covariance(images, product, values)
        else:
            narrow = values.astype(np.int32) if values.dtype.kind in "iu" else values
            header = images.add(name.upper(), narrow, unit, comment)
            if product.is_stratified(values):
                header.update(_depth_axis(product.depth))
    if product.profile is not None:
        images.add_table(
            _PROFILE, {"offset": ("Angstrom", product.profile[0]), "transmission": ("", product.profile[1])}
        )
    if product.depth is not None:
        images.add_table(_DEPTH, {"log_tau": ("", np.asarray(product.depth))})
    return images.write(path, overwrite=overwrite)


def read_product(path: str | os.PathLike[str]) -> Any:
    """A `SolutionMap` or a `PosteriorMap` from what `jaxinv invert`, `jaxinv sample` or `write_product` wrote.

    Args:
        path: a FITS file, or a Zarr store, also that of a run that is not finished, whose other pixels are NaN with the
            status `NOT_COMPUTED`.

    Returns:
        The product; angles are in radians, whichever unit the file has. Draws that were kept stay on disk until they
        are asked for.

    Raises:
        InputError: it is missing, truncated, or no product.
    """
    if Path(path).is_dir():
        return _read_store(path)
    with open_fits(path) as hdus:
        names = [hdu.name.lower() for hdu in hdus][1:]
        missing = [name for name in ("STATUS", "PROVENANCE") if name.lower() not in names]
        if missing:
            raise InputError(f"{path} is no product of jaxinv: it lacks the extension {', '.join(missing)}")
        provenance = read_provenance(hdus)
        provenance.pop("angles", None)  # of the file
        kind = provenance.pop("kind", None) or ("posterior" if any(n.endswith("_low") for n in names) else "solution")
        of = {each.kind: each for each in (SolutionMap, PosteriorMap)}.get(kind)
        if of is None:
            raise InputError(f"{path} holds a {kind}, which is no product that is known")
        images = {name: read_image(path, hdus[name]) for name in names if name.upper() not in _TABLES}
        arrays = {of.place(name, names): values for name, values in images.items()}
        lacking = [name for name in of.singles if name not in arrays and name not in ("covariance", "route")]
        if lacking:
            raise InputError(f"{path} is no {kind}: it lacks the extension {', '.join(lacking).upper()}")
        units = {name: unit_of(hdus[name].header)[0] for name in images}
        info = {
            "kind": kind,
            "units": units,
            "header": kept_cards(hdus["STATUS"].header),
            "provenance": provenance,
            "profile": None,
        }
        if _PROFILE in hdus:
            table = hdus[_PROFILE].data
            info["profile"] = [np.asarray(table[name], float) for name in ("offset", "transmission")]
        if _DEPTH in hdus:
            info["depth"] = np.asarray(hdus[_DEPTH].data["log_tau"], float)
        if "covariance" in arrays:
            info["labels"], arrays["covariance"] = _covariance(path, hdus["COVARIANCE"].header, arrays["covariance"])
    try:
        return product_of(arrays, info)
    except KeyError as error:
        raise InputError(f"{path} is no {kind}: it lacks {error}") from None


def _depth_axis(depth: Any) -> dict[str, Any]:
    """World coordinates of the axis of depths; of a grid that is not even, its numbering (the table has the depths)."""
    grid = np.asarray(depth, float)
    step = (grid[-1] - grid[0]) / (len(grid) - 1)
    even = np.allclose(np.diff(grid), step, rtol=1e-3)
    if not even:
        return {"CTYPE3": "DEPTH", "CRPIX3": 1.0, "CRVAL3": 1.0, "CDELT3": 1.0}
    return {"CTYPE3": "LOGTAU", "CRPIX3": 1.0, "CRVAL3": float(grid[0]), "CDELT3": float(step)}


def _write_store(path: Path, product: Product, overwrite: bool) -> None:
    if path.is_dir():
        if not is_store(path):
            raise InputError(f"{path} is no store of a run: it is left alone; choose another name")
        if overwrite:
            discard_folder(path)
    check_writable(path, overwrite=overwrite)
    arrays = product.to_arrays()
    with_units = [group for group, each in product.groups.items() if each.has_unit]
    units = {f"{group}/{name}": unit for group in with_units for name, unit in product.units.items()}
    store = Store(path, product.shape, units=units)
    store.describe(product=product.info())
    store.write(0, store.n, {name: x.reshape(store.n, *x.shape[2:]) for name, x in arrays.items()})
    store.close()


def _read_store(path: str | os.PathLike[str]) -> Any:
    try:
        store = Store.open(path)
        info = store.attributes.get("product")
        if info is None:
            raise InputError(f"{path} is a run that makes no product")
        if not store.names():
            raise InputError(f"{path} is a run of which nothing is done yet")
        draws = {name.split("/")[1]: store.lazy(name) for name in store.names("posterior")}
        return product_of(store.arrays(without="posterior"), info, **({"draws": draws} if draws else {}))
    except StoreError as error:
        raise InputError(str(error)) from None


def _add_covariance(images: Images, product: Any, covariance: np.ndarray) -> None:
    labels = product.solution.labels
    units = [product.units.get(label.partition("[")[0], "") for label in labels]
    factor = np.array([degrees_in(unit) for unit in units])
    covariance = covariance * (factor[:, None] * factor).astype(covariance.dtype)
    header = images.add("COVARIANCE", covariance, comment="of PAR1, PAR2, ... in their units UNIT1, UNIT2, ...")
    for index, (label, unit) in enumerate(zip(labels, units, strict=True), 1):
        header[f"PAR{index}"] = label
        header[f"UNIT{index}"] = shown_unit(unit)


def _covariance(path: Any, cards: Mapping[str, Any], covariance: np.ndarray) -> tuple[list[str], np.ndarray]:
    """The labels of a covariance, and itself in units of here."""
    numbers = range(1, covariance.shape[-1] + 1)
    labels = [str(cards.get(f"PAR{k}", "")) for k in numbers]
    if not all(labels):
        raise InputError(f"{path}: the covariance lacks the card PAR{labels.index('') + 1}, the name of a parameter")
    factor = np.array([unit_of(cards, f"UNIT{k}")[1] for k in numbers])
    return labels, covariance / (factor[:, None] * factor).astype(covariance.dtype)
