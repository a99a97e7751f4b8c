"""`sample`: the posterior of every object of a batch, one compiled program for many of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray
from numpy.typing import ArrayLike

from jaxinv import priors
from jaxinv.compute import batch
from jaxinv.compute.batch import Rows
from jaxinv.compute.progress import Advance, Progress
from jaxinv.observation import Observation
from jaxinv.optimize import GaussNewtonCG, Solver, fit
from jaxinv.optimize.fit import default_solver
from jaxinv.problem import Problem
from jaxinv.regularizers import Correlated
from jaxinv.results.arviz_adapter import as_posterior, to_arviz
from jaxinv.results.posterior import Posterior, PosteriorRoute, PosteriorStatus
from jaxinv.results.solution import Solution
from jaxinv.sampling import programs, runs
from jaxinv.sampling.auto import Auto, checked
from jaxinv.sampling.methods import Method

_SAMPLING = 0x5A
"""Folded into the key, so that a key that has also drawn the data does not draw the same numbers again."""


def sample(
    problem: Problem,
    data: ArrayLike | Observation,
    *,
    key: PRNGKeyArray,
    method: Method | Auto | None = None,
    fixed: Mapping[str, ArrayLike] | None = None,
    initial: Solution | None = None,
    memory: float = 2.0,
    n_predictive: int = 100,
    progress: bool = False,
) -> Any:
    """Draw from the posterior of one object, or of each object of a batch by itself.

    Args:
        problem: forward model, noise and prior.
        data: `(*batch, *prediction_shape)`, or an `Observation` of that. Non-finite values are missing samples.
        key: random key, `jax.random.key(seed)`; each object draws from its own.
        method: `HMC()` by default; `NUTS()`, `Laplace()`, `SVI()`, `Importance` of the last two, a `Flow` that
            `amortize` trained, or `Auto()`, which takes the cheapest that passes for each object.
        fixed: parameters known for each object, `(*batch, *parameter_shape)`, or one value for all.
        initial: what `fit` returned for the same problem and data, if it is at hand; else it is called.
        memory: refuse results larger than this [GiB].
        n_predictive: replicated data sets that the group `posterior_predictive` holds for one object; none for a batch.
        progress: show a bar with the rate and the time left.

    Returns:
        ArviZ's object (`DataTree`, or `InferenceData` before ArviZ 1.0) with the groups `posterior` (each inferred or
        tied parameter, dimensions chain, draw, those of the batch), `sample_stats`, `diagnostics` (R-hat, effective
        sample sizes, divergences, posterior predictive p-value, `status` for each object), `observed_data` and
        `posterior_predictive`. See `draw` for plain arrays.

    Raises:
        ValueError: as `fit`; the key is no random key; or the draws need more than `memory`.
    """
    method = checked(method)
    rows = batch.in_rows(problem, data, fixed)
    needed = rows.n * bytes_per_object(rows.problem, method) / 2**30
    if needed > memory:
        raise ValueError(
            f"draws of {rows.n} objects need {needed:.1f} GiB, more than memory={memory}: sample fewer at a time, "
            "or use jaxinv.pipelines.sample_maps, which keeps summaries and writes draws to disk"
        )
    with Progress(rows.n, progress, label="sampling") as bar:
        posterior = draw(problem, data, key=key, method=method, fixed=fixed, initial=initial, advance=bar)
    replicates = None
    if not rows.shape and n_predictive > 0:
        replicates = predict(problem, data, posterior, key=key, n=n_predictive, fixed=fixed)
    values = rows.observed.values if isinstance(rows.observed, Observation) else rows.observed
    return to_arviz(posterior, values.reshape(*rows.shape, *values.shape[1:]), replicates)


def draw(
    problem: Problem,
    data: ArrayLike | Observation | Rows,
    *,
    key: PRNGKeyArray,
    method: Method | Auto | None = None,
    fixed: Mapping[str, ArrayLike] | None = None,
    initial: Solution | None = None,
    solver: Solver | None = None,
    advance: Advance | None = None,
) -> Posterior:
    """As `sample`, with a `Posterior` of plain arrays as the result.

    Args:
        problem: see `sample`, as for the next five.
        data: `(*batch, *prediction_shape)`, or an `Observation` of that.
        key: random key; each object draws from its own, which follows from this one and its id.
        method: `HMC()` by default.
        fixed: parameters known for each object.
        initial: what `fit` returned.
        solver: of the fit that finds the modes.
        advance: told of the progress.
    """
    method = checked(method)
    key = _checked(key)
    rows = batch.in_rows(problem, data, fixed)
    for one in method.methods if isinstance(method, Auto) else (method,):
        one.check(rows.problem)
    if initial is not None:
        _check_initial(rows, initial)
    else:
        initial = fit(problem, data, fixed=fixed, solver=solver or _finder(rows.problem))
    no_data = np.asarray(programs.count_valid(rows.problem, rows.observed)) == 0
    chosen = np.arange(rows.n) if no_data.all() else np.flatnonzero(~no_data)
    finished = _sampled(rows, chosen, initial, key, method, advance)
    return _posterior(rows, finished, chosen, no_data)


def _finder(problem: Problem) -> Solver | None:
    """What finds the modes: in white coordinates without standard errors, which nothing asks for, and closely."""
    white = all(isinstance(problem.prior[name], Correlated) for name in problem.names)
    if white and isinstance(default_solver(problem), GaussNewtonCG):
        return GaussNewtonCG(covariance="none", accuracy=1e-4, tolerance=1e-3, relative_tolerance=1e-7, products=1000)
    return None


def _check_initial(rows: Rows, initial: Solution) -> None:
    missing = [name for name in rows.problem.names if name not in initial.standard_error]
    if missing or np.shape(initial.status) != rows.shape:
        raise ValueError(
            f"`initial` is a fit of {', '.join(initial.standard_error)} for a batch of {np.shape(initial.status)}; "
            f"expected {', '.join(rows.problem.names)} for {rows.shape}: pass what `fit` returned for these data"
        )


def _sampled(
    rows: Rows,
    chosen: np.ndarray,
    initial: Solution,
    key: Array,
    method: Method | Auto,
    advance: Advance | None,
) -> dict[str, Any]:
    """Draws and diagnostics of the chosen objects."""
    problem, n, skipped = rows.problem, rows.n, rows.n - len(chosen)
    rows = rows.pick(chosen)
    start, error = {}, {}
    for name in problem.names:  # a failed fit starts somewhere finite, and is judged by what comes of it
        shape = problem.prior[name].shape()
        found = initial.parameters[name].reshape(-1, *shape)[chosen]
        centre = np.asarray(priors.centre(problem.prior[name]))
        start[name] = np.where(np.isfinite(found), found, centre).astype(rows.dtype)
        error[name] = initial.standard_error[name].reshape(-1, *shape)[chosen].astype(rows.dtype)
    keys = programs.object_keys(key, rows.ids)
    work = runs.Work(method, rows, n, advance or (lambda objects, draws, divergences: None))
    work.advance(skipped, 0, 0)
    places = [
        programs.locate_all(problem, piece.observed, piece.known, *work.pick((start, error), piece.index))
        for piece in work.pieces()
    ]
    return runs.run(work, jax.tree.map(lambda *x: jnp.concatenate(x), *places), keys)


def predict(
    problem: Problem,
    data: ArrayLike | Observation,
    posterior: Any,
    *,
    key: PRNGKeyArray,
    n: int = 100,
    fixed: Mapping[str, ArrayLike] | None = None,
) -> np.ndarray:
    """Replicated data, noise included, from `n` draws of each object: `(*batch, n, *prediction_shape)`.

    `posterior` is what `sample` or `draw` returned for these data.
    """
    posterior = as_posterior(posterior)
    if n < 1:
        raise ValueError(f"n must be 1 or more; found {n}")
    rows = batch.in_rows(problem, data, fixed)
    if np.shape(posterior.status) != rows.shape:
        raise ValueError(f"the posterior is of a batch of {np.shape(posterior.status)}, the data are of {rows.shape}")
    n_batch = len(rows.shape)
    count = int(np.prod(next(iter(posterior.draws.values())).shape[n_batch : n_batch + 2]))
    chosen = np.linspace(0, count - 1, n).astype(int)

    def some(name: str) -> np.ndarray:
        x = posterior.draws[name]
        return x.reshape(rows.n, count, *x.shape[n_batch + 2 :])[:, chosen]

    draws = {name: some(name) for name in rows.problem.names}
    keys = programs.object_keys(jax.random.fold_in(_checked(key), 1), rows.ids)
    replicates = np.asarray(programs.replicate(rows.problem, rows.observed, rows.known, draws, keys))
    return replicates.reshape(*rows.shape, *replicates.shape[1:])


def bytes_per_object(problem: Problem, method: Method | Auto) -> int:
    """Memory that one object's draws and their statistics take, working copies included."""
    scalars = sum(math.prod(problem.prior[name].shape()) for name in problem.names)
    return 4 * math.prod(method.shape) * (3 * scalars + 12)


def _posterior(rows: Rows, finished: dict[str, Any], chosen: np.ndarray, no_data: np.ndarray) -> Posterior:
    """Of all objects, with NaN where an object has no draws."""
    status = np.full(rows.n, PosteriorStatus.NO_DATA, np.int16)
    status[chosen] = np.where(no_data[chosen], PosteriorStatus.NO_DATA, finished["status"])
    useless = (status == PosteriorStatus.NO_DATA) | (status == PosteriorStatus.FAILED)

    def shaped(x: np.ndarray) -> np.ndarray:
        whole = np.zeros((rows.n, *x.shape[1:]), x.dtype)
        whole[chosen] = x
        if np.issubdtype(x.dtype, np.floating):
            whole[useless] = np.nan
        return np.reshape(whole, (*rows.shape, *x.shape[1:]))

    problem = rows.problem
    order = [name for name in problem.forward.units if name in finished["draws"]]
    circles = priors.circles(problem.prior).items()
    periods = {name: (float(low), float(period)) for name, (low, period) in circles if not low.shape}
    groups = {
        group: jax.tree.map(shaped, finished[group]) for group in ("stats", "scalars", "r_hat", "ess_bulk", "ess_tail")
    }
    route = groups["scalars"]["route"]
    groups["scalars"]["route"] = np.where(useless.reshape(rows.shape), np.int16(PosteriorRoute.NONE), route)
    for group in ("r_hat", "ess_bulk", "ess_tail"):
        groups[group] = {name: groups[group][name] for name in order if name in groups[group]}
    draws = {name: shaped(finished["draws"][name]) for name in order}
    return Posterior(draws=draws, **groups, status=status.reshape(rows.shape), periods=periods)


def _checked(key: Any) -> Array:
    """A typed key for sampling, from a typed or an old-style one."""
    if isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.ndim == 0:
        return jax.random.fold_in(key, _SAMPLING)
    if getattr(key, "dtype", None) == np.uint32 and np.shape(key) == (2,):
        return jax.random.fold_in(jax.random.wrap_key_data(jnp.asarray(key)), _SAMPLING)
    raise ValueError(f"key must be one random key, `jax.random.key(seed)`; found {type(key).__name__} {key!r:.40}")
