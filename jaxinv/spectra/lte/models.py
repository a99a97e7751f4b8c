"""Standard model atmospheres: the published tables, on any grid of optical depths."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

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
    grid = table[::-1, 0] if log_tau is None else check_depths(log_tau)
    low, high = table[0, 0] - _SPAN, table[-1, 0] + _SPAN
    if grid.min() < low or grid.max() > high:
        raise ValueError(
            f"{name} covers log_tau from {table[0, 0]:g} to {table[-1, 0]:g}; "
            f"asked for {grid.min():g} to {grid.max():g}"
        )
    columns = PchipInterpolator(table[:, 0], np.column_stack([table[:, 1], np.log(table[:, 2]), table[:, 3]]))(grid)
    columns[:, 1] = np.exp(columns[:, 1])
    columns[:, 2] = np.maximum(columns[:, 2], 0)
    return {"log_tau": grid.copy(), **dict(zip(_COLUMNS, columns.T, strict=True))}
