"""Standard model atmospheres: the published tables, on any grid of optical depths."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from scipy.interpolate import PchipInterpolator

from jaxinv.names import suggestion
from jaxinv.spectra.lte.elements import rows
from jaxinv.spectra.lte.stratification import check_depths

_COLUMNS = ("temperature", "electron_pressure", "microturbulence")
_SPAN = 0.3
"""How far beyond its table, in log tau, a model is continued."""


@cache
def _tables() -> Mapping[str, np.ndarray]:
    tables: dict[str, list[list[float]]] = {}
    for name, *numbers in rows("models.txt"):
        tables.setdefault(name, []).append([float(x) for x in numbers])
    return {name: np.array(table)[::-1] for name, table in tables.items()}


def model_names() -> tuple[str, ...]:
    """Names of the standard models."""
    return tuple(_tables())


def standard_model(name: str, log_tau: object = None) -> dict[str, np.ndarray]:
    """A standard model atmosphere.

    Args:
        name: "HSRA", "HOLMUL", "MACKKL", "FAL-C", "FAL-E", "FAL-F", "FAL-P" or "MALTBY-M" (an umbra).
        log_tau: `(n_depth,)`, log10 of the optical depth at 5000 angstrom; left out, the table's own, deepest first.

            A table is continued by .3 at most.

    Returns:
        `log_tau`, `temperature` [K], `electron_pressure` [dyn/cm2] and `microturbulence` [km/s], `(n_depth,)` each,
        between the table's entries by monotone cubic interpolation (the pressure's logarithm).

    Raises:
        ValueError: no such model, or depths that its table does not cover.
    """
    if name not in _tables():
        raise ValueError(f"no model {name!r} among {', '.join(model_names())}{suggestion(name, model_names())}")
    table = _tables()[name]
    own = {"log_tau": table[:, 0], **dict(zip(_COLUMNS, table[:, 1:].T, strict=True))}
    return resampled(own, table[::-1, 0] if log_tau is None else log_tau, name)


def resampled(stratification: Mapping[str, Any], log_tau: object, name: str = "the stratification") -> dict[str, Any]:
    """A stratification on another grid, by monotone cubic interpolation, of a pressure's logarithm.

    Args:
        stratification: quantities by name, `(n_depth,)` each, and the `log_tau` that they are at; without that, they
            are on the new grid already.
        log_tau: the new grid.
        name: what messages call it.

    Raises:
        ValueError: the depths are not sorted, do not cover the new grid, or a quantity has another length or is not
            finite.
    """
    grid = check_depths(log_tau)
    own = check_depths(stratification.get("log_tau", grid))
    values = {key: np.asarray(value, float) for key, value in stratification.items() if key != "log_tau"}
    for key, value in values.items():
        if value.shape != own.shape or not np.all(np.isfinite(value)):
            raise ValueError(
                f"{key!r} of {name} must be {len(own)} finite numbers, one for each depth; "
                f"found the shape {value.shape}"
            )
    if np.array_equal(own, grid):
        return {"log_tau": grid.copy(), **values}
    order = np.argsort(own)
    own = own[order]
    if grid.min() < own[0] - _SPAN or grid.max() > own[-1] + _SPAN:
        raise ValueError(
            f"{name} covers log_tau from {own[0]:g} to {own[-1]:g}; asked for {grid.min():g} to {grid.max():g}"
        )
    out = {"log_tau": grid.copy()}
    for key, value in values.items():
        along = np.log(value[order]) if key.endswith("pressure") else value[order]
        found = PchipInterpolator(own, along)(grid)
        found = np.exp(found) if key.endswith("pressure") else found
        out[key] = np.maximum(found, 0) if key == "microturbulence" else found
    return out
