"""`fit`: the best parameters of every object of a batch, with covariance, misfit and status."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import ArrayLike

from jaxinv import batch, priors
from jaxinv.coordinates import Layout
from jaxinv.devices import over_devices
from jaxinv.observation import Observation
from jaxinv.optimize.levenberg_marquardt import LevenbergMarquardt, Result, lapack_of, solve
from jaxinv.optimize.normal import prior_cost
from jaxinv.problem import Problem
from jaxinv.small_matrices import cholesky, cholesky_solve
from jaxinv.solution import Solution, Status

_BATCH = 256
"""Objects whose first estimates and final statistics are computed together; bounds the memory."""


def fit(
    problem: Problem,
    data: ArrayLike | Observation,
    *,
    fixed: Mapping[str, ArrayLike] | None = None,
    initial: Mapping[str, ArrayLike] | None = None,
    settings: LevenbergMarquardt | None = None,
    seed: int = 0,
    first_index: int = 0,
) -> Solution:
    """Invert: minimize the sum of squared whitened residuals, minus twice the log prior where it is not flat.

    Args:
        problem: forward model, noise and prior.
        data: `(*batch, *prediction_shape)`, or an `Observation` of that with its own sigma and mask. Non-finite values
            are missing samples. The axes in front of the prediction's are the batch: one object, a slit, a map.
        fixed: parameters known for each object, `(*batch, *parameter_shape)`, or one value for all.
        initial: first starting values in place of the forward model's estimates, same shapes.
        settings: of Levenberg-Marquardt, in particular `n_starts`.
        seed: of the starting points that are drawn from the prior.
        first_index: the index of the first object in a larger batch that is fitted in pieces: the pieces draw the
            starting points that the whole would.

    Returns:
        A `Solution` whose arrays have the batch axes in front. Standard errors come from the inverse of the curvature
        at the minimum; they assume that sigma is right, whatever chi2 says.

    Raises:
        ValueError: the data's shape does not end with the prediction's, an array has the wrong batch axes, a name is
            not a parameter, or the data carry a unit.
    """
    batch.check_names(problem, "initial", initial or {})
    rows = batch.in_rows(problem, data, fixed)
    first = batch.per_object(rows.problem, "initial", initial, rows.shape, rows.dtype)
    return fit_rows(rows, first, settings or LevenbergMarquardt(), seed, first_index + np.arange(rows.n))


def fit_rows(
    rows: batch.Rows, first: Mapping[str, np.ndarray], settings: LevenbergMarquardt, seed: int, indices: np.ndarray
) -> Solution:
    """As `fit`, of objects that are in rows already; `indices` are theirs in the whole that starts are drawn for."""
    # Numbers as arrays, so that another tolerance is not another program.
    settings = jax.tree.map(np.float32, settings)
    inputs = (rows.observed, rows.known, dict(first), indices.astype(np.uint32))
    common = (settings, rows.problem, jax.random.key(seed))
    arrays = over_devices(_fit_batch, common, inputs, lapack=lapack_of(rows.problem))
    return to_solution(rows.problem, rows.known, arrays, rows.shape)


def _fit_batch(common: Any, inputs: Any) -> dict[str, Any]:
    settings, problem, key = common
    observed, known, first, indices = inputs
    layout, coordinates = problem.layout, problem.coordinates
    dtype = jax.tree.leaves(observed)[0].dtype

    def count(observed: Any) -> Array:
        values = observed.values if isinstance(observed, Observation) else observed
        return jnp.sum(problem.noise.valid(values, observed))

    def begin(item: Any) -> Array:
        observed, known, first, index = item
        guesses = problem.guess(observed, known)
        n_guesses = len(next(iter(guesses.values())))
        guesses = {name: guesses[name].astype(dtype) for name in guesses}
        for name in first.keys() & guesses.keys():
            guesses[name] = jnp.broadcast_to(first[name], guesses[name].shape)
        draws = priors.sample(problem.prior, jax.random.fold_in(key, index), (max(settings.n_starts - n_guesses, 0),))
        points = {name: jnp.concatenate([guesses[name], draws[name].astype(dtype)]) for name in guesses}
        return jax.vmap(coordinates.vector)(points)[: settings.n_starts]

    n_valid = jax.vmap(count)(observed)
    # Nothing is done for objects without data, which fill a batch up to a size that is compiled already.
    starts = _each(begin, (observed, known, first, indices), n_valid > 0)
    noise = 1 + settings.good_enough * jnp.sqrt(2 / jnp.maximum(n_valid, 1))
    expected = (n_valid * jnp.maximum(noise, settings.enough)).astype(dtype)
    result, last = solve(settings, problem, starts, observed, known, expected, n_valid > 0)

    def finish(item: Any) -> dict[str, Any]:
        result, last, observed, known, n_valid = item
        # The last step, which was taken unseen, counts if it led down.
        misfit = jnp.sum(problem.residual({**known, **layout.unravel(last)}, observed) ** 2)
        lower = misfit + prior_cost(problem, layout, last) <= result.normal.cost
        misfit = jnp.where(lower, misfit, result.normal.cost - prior_cost(problem, layout, result.vector))
        result = result._replace(vector=jnp.where(lower, last, result.vector))
        return summarize(problem, layout, result, observed, known, n_valid, misfit)

    return _each(finish, (result, last, observed, known, n_valid), jnp.ones_like(n_valid, bool))


def _each(function: Callable[[Any], Any], inputs: Any, wanted: Array) -> Any:
    """`function` of each object, some at a time; zeros where no object of them is wanted."""
    n = len(wanted)
    size = min(_BATCH, n)
    count = -(-n // size)

    def laid(x: Array) -> Array:
        return jnp.concatenate([x, jnp.repeat(x[-1:], count * size - n, axis=0)]).reshape(count, size, *x.shape[1:])

    if count == 1:
        return jax.vmap(function)(inputs)
    shape = jax.eval_shape(jax.vmap(function), jax.tree.map(lambda x: x[:size], inputs))

    def some(item: Any) -> Any:
        inputs, wanted = item
        blank = lambda _: jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shape)  # noqa: E731
        return jax.lax.cond(jnp.any(wanted), jax.vmap(function), blank, inputs)

    found = jax.lax.map(some, jax.tree.map(laid, (inputs, wanted)))
    return jax.tree.map(lambda x: x.reshape(count * size, *x.shape[2:])[:n], found)


def summarize(
    problem: Problem,
    layout: Layout,
    result: Result,
    observed: Any,
    known: Any,
    n_valid: Array,
    misfit: Array | None = None,
) -> dict[str, Any]:
    """Parameters, covariance, misfit and status of one object; `misfit`: the sum of squared residuals, if known."""
    vector = result.vector
    dtype = vector.dtype
    free = layout.unravel(vector)
    if misfit is None:
        misfit = jnp.sum(problem.residual({**known, **free}, observed) ** 2)
    chi2 = misfit / jnp.maximum(n_valid, 1)
    covariance = _inverse(result.normal.curvature)
    everything = {name: jnp.asarray(value, dtype) for name, value in problem.complete({**known, **free}).items()}
    error = layout.unravel(jnp.sqrt(jnp.diagonal(covariance)))
    if ties := priors.tied(problem.prior):
        chain = jax.jacfwd(lambda v: {name: problem.complete({**known, **layout.unravel(v)})[name] for name in ties})
        for name, by in chain(vector).items():
            error[name] = jnp.sqrt(jnp.einsum("...i,ij,...j->...", by, covariance, by))
    at_bound = problem.coordinates.at_bound(free)
    status = jnp.where(at_bound, Status.AT_BOUND, Status.CONVERGED)
    status = jnp.where(result.converged, status, Status.NOT_CONVERGED)
    status = jnp.where(jnp.isfinite(result.normal.cost), status, Status.FAILED)
    status = jnp.where(n_valid < len(vector), Status.NO_DATA, status)
    useless = (status == Status.NO_DATA) | (status == Status.FAILED)
    blank = lambda x: jnp.where(useless, jnp.nan, x)  # noqa: E731
    inferred = {name for name in everything if name in free or name in ties}
    return {
        "parameters": {name: blank(x) if name in inferred else x for name, x in everything.items()},
        "standard_error": {name: blank(x) for name, x in error.items()},
        "covariance": blank(covariance),
        "chi2": blank(chi2),
        "iterations": result.evaluations,
        "starts": result.starts,
        "status": status.astype(jnp.int16),
    }


def _inverse(curvature: Array) -> Array:
    """The inverse by Cholesky factorization of the unit-diagonal matrix; NaN where it is not positive definite."""
    diagonal = jnp.diagonal(curvature)
    size = jnp.sqrt(jnp.where(diagonal > 0, diagonal, 1))
    matrix = curvature / (size[:, None] * size)
    inverse = cholesky_solve(cholesky(matrix), jnp.eye(len(size), dtype=curvature.dtype))
    return jnp.where(jnp.all(diagonal > 0), inverse / (size[:, None] * size), jnp.nan)


def labels_of(problem: Problem) -> tuple[str, ...]:
    """What stands along the axes of the covariance: one label for each inferred scalar."""
    return problem.layout.labels


def to_solution(
    problem: Problem, known: dict[str, np.ndarray], arrays: dict[str, Any], shape: tuple[int, ...]
) -> Solution:
    """What `summarize` returned for every object of a batch, with the batch axes `shape`."""
    arrays = jax.tree.map(lambda x: x.reshape((*shape, *x.shape[1:])), arrays)
    order = [name for name in problem.forward.units if name in arrays["parameters"]]
    return Solution(
        parameters={name: arrays["parameters"][name] for name in order},
        standard_error={name: arrays["standard_error"][name] for name in order if name in arrays["standard_error"]},
        covariance=arrays["covariance"],
        labels=labels_of(problem),
        chi2=arrays["chi2"],
        iterations=arrays["iterations"],
        starts=arrays["starts"],
        status=arrays["status"],
    )
