"""The one place that knows ArviZ, whose native object is `InferenceData` before version 1.0 and then `DataTree`."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from jaxinv.results.posterior import Posterior

_CONVERGENCE = ("r_hat", "ess_bulk", "ess_tail")


def to_arviz(posterior: Posterior, observed: np.ndarray | None = None, replicates: np.ndarray | None = None) -> Any:
    """A posterior as ArviZ's native object, dimensions chain, draw, then those of the batch (`object_0`, ...).

    Args:
        posterior: from `draw`.
        observed: `(*batch, *prediction_shape)`, for the group `observed_data`.
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
    for group in _CONVERGENCE:
        diagnostics |= {f"{name}_{group}": each(x, name) for name, x in getattr(posterior, group).items()}
    diagnostics["status"] = each(posterior.status, "status")
    draws = {name: series(value, name) for name, value in posterior.draws.items()}
    for name, (low, period) in posterior.periods.items():  # a histogram of angles has to know that they are some
        draws[name].attrs.update(low=low, period=period)
    groups = {
        "posterior": draws,
        "sample_stats": stats,
        "diagnostics": diagnostics,
    }
    if observed is not None:
        groups["observed_data"] = {"data": each(observed, "data")}
    if replicates is not None:
        inner = [f"data_dim_{k}" for k in range(replicates.ndim - 1)]
        groups["posterior_predictive"] = {"data": xarray.DataArray(replicates[None], dims=["chain", "draw", *inner])}
    datasets = {name: _with_coordinates(xarray.Dataset(group)) for name, group in groups.items()}
    if int(arviz.__version__.split(".")[0]) == 0:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*not defined in the InferenceData scheme.*")
            return arviz.InferenceData(**datasets)
    return xarray.DataTree.from_dict(datasets)


def as_posterior(posterior: Any) -> Posterior:
    """A `Posterior` from one, or from ArviZ's object: that of `to_arviz`, or any other's of one object.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(posterior, Posterior):
        return posterior
    try:
        group = posterior["posterior"]
        draws = {str(name): group[name] for name in group.data_vars}
        chain = [{"chain", "draw"} <= set(x.dims) for x in draws.values()]
    except Exception:
        chain = []
    if not chain or not all(chain):
        raise ValueError(
            "expected what jaxinv.sample or jaxinv.draw returned, or an ArviZ object with a group `posterior`; "
            f"found a {type(posterior).__name__}"
        )
    objects = sorted({str(dim) for x in draws.values() for dim in x.dims if str(dim).startswith("object_")})
    groups = {name: _variables(posterior, name) for name in ("sample_stats", "diagnostics")}
    diagnostics = {name: np.asarray(x) for name, x in groups["diagnostics"].items()}
    found = {
        group: {name: diagnostics.pop(f"{name}_{group}") for name in draws if f"{name}_{group}" in diagnostics}
        for group in _CONVERGENCE
    }
    shape = tuple(next(iter(draws.values())).sizes[dim] for dim in objects)

    def batched(x: Any) -> np.ndarray:
        return np.asarray(x.transpose(*objects, "chain", "draw", ...))

    return Posterior(
        draws={name: batched(x) for name, x in draws.items()},
        stats={name: batched(x) for name, x in groups["sample_stats"].items()},
        status=diagnostics.pop("status", np.zeros(shape, np.int16)),
        scalars=diagnostics,
        periods={name: (x.attrs["low"], x.attrs["period"]) for name, x in draws.items() if "period" in x.attrs},
        **found,
    )


def _variables(tree: Any, name: str) -> dict[str, Any]:
    try:
        group = tree[name]
    except (KeyError, AttributeError):
        return {}
    return {str(key): group[key] for key in group.data_vars}


def _with_coordinates(dataset: Any) -> Any:
    return dataset.assign_coords({name: np.arange(size) for name, size in dataset.sizes.items()})
