"""The one place that knows ArviZ, whose native object is `InferenceData` before version 1.0 and then `DataTree`."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from jaxinv.batch import Rows
from jaxinv.observation import Observation
from jaxinv.posterior import Posterior


def to_arviz(posterior: Posterior, rows: Rows | None = None, replicates: np.ndarray | None = None) -> Any:
    """A posterior as ArviZ's native object, dimensions chain, draw, then those of the batch (`object_0`, ...).

    Args:
        posterior: from `draw`.
        rows: the data, for the group `observed_data`.
        replicates: `(n, *prediction_shape)` for the group `posterior_predictive`.
    """
    import xarray

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of ArviZ about its own next version
        import arviz
    n_batch = np.ndim(posterior.status)
    objects = [f"object_{k}" for k in range(n_batch)]

    def series(values: np.ndarray, name: str) -> Any:
        values = np.moveaxis(values, (n_batch, n_batch + 1), (0, 1))
        inner = [f"{name}_dim_{k}" for k in range(values.ndim - 2 - n_batch)]
        return xarray.DataArray(values, dims=["chain", "draw", *objects, *inner])

    def each(values: np.ndarray, name: str) -> Any:
        inner = [f"{name}_dim_{k}" for k in range(np.ndim(values) - n_batch)]
        return xarray.DataArray(values, dims=[*objects, *inner])

    stats = {name: series(value, name) for name, value in posterior.stats.items()}
    if "diverging" in stats:
        stats["diverging"] = stats["diverging"] > 0
    diagnostics = {name: each(value, name) for name, value in posterior.scalars.items()}
    for group in ("r_hat", "ess_bulk", "ess_tail"):
        diagnostics |= {f"{name}_{group}": each(x, name) for name, x in getattr(posterior, group).items()}
    diagnostics["status"] = each(posterior.status, "status")
    groups = {
        "posterior": {name: series(value, name) for name, value in posterior.draws.items()},
        "sample_stats": stats,
        "diagnostics": diagnostics,
    }
    if rows is not None:
        values = rows.observed.values if isinstance(rows.observed, Observation) else rows.observed
        values = values.reshape(*rows.shape, *values.shape[1:])
        groups["observed_data"] = {"data": each(values, "data")}
    if replicates is not None:
        inner = [f"data_dim_{k}" for k in range(replicates.ndim - 1)]
        groups["posterior_predictive"] = {"data": xarray.DataArray(replicates[None], dims=["chain", "draw", *inner])}
    datasets = {name: _with_coordinates(xarray.Dataset(group)) for name, group in groups.items()}
    if int(arviz.__version__.split(".")[0]) == 0:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*not defined in the InferenceData scheme.*")
            return arviz.InferenceData(**datasets)
    return xarray.DataTree.from_dict(datasets)


def _with_coordinates(dataset: Any) -> Any:
    return dataset.assign_coords({name: np.arange(size) for name, size in dataset.sizes.items()})
