"""`fit`: the best parameters of every object of a batch, with covariance, misfit and status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import ArrayLike

from jaxinv import priors
from jaxinv.observation import Observation
from jaxinv.optimize.levenberg_marquardt import Layout, LevenbergMarquardt, Result, scales, solve
from jaxinv.problem import Problem
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
    settings = settings or LevenbergMarquardt()
    for what, given in (("fixed", fixed), ("initial", initial)):
        _check_names(problem, what, given or {})
    problem, values, sigma, batch = _prepare(problem, data, fixed)
    n = int(np.prod(batch, dtype=int))
    known = _per_object(problem, "fixed", fixed, batch, values.dtype)
    problem = problem.given(known)
    first = _per_object(problem, "initial", initial, batch, values.dtype)
    observed = values.reshape(n, *values.shape[len(batch) :])
    observed = observed if sigma is None else Observation(observed, sigma.reshape(observed.shape))
    indices = first_index + np.arange(n, dtype=np.uint32)
    arrays = _solve_on_devices(settings, problem, (observed, known, first, indices), seed)
    return _solution(problem, known, arrays, batch)


def _prepare(
    problem: Problem, data: Any, fixed: Mapping[str, Any] | None
) -> tuple[Problem, np.ndarray, np.ndarray | None, tuple[int, ...]]:
    """The problem with any sigma common to all objects, values with NaN where masked, sigma of each object, batch."""
    observation = data if isinstance(data, Observation) else Observation(data)
    for name, value in zip(Observation._fields, observation, strict=True):
        if hasattr(value, "unit"):
            raise ValueError(
                f"the {name} carry the unit {value.unit}; convert them to the forward model's units and pass plain "
                "arrays (`quantity.to_value(unit)`)"
            )
    values = np.asarray(observation.values)
    # Native byte order (FITS is big-endian), and float64 only where JAX has it switched on.
    kept = values.dtype.kind == "f" and values.dtype.itemsize == 4
    values = values.astype(np.float32 if kept else jnp.result_type(float), copy=False)
    shape = _prediction_shape(problem, fixed or {})
    if values.ndim < len(shape) or values.shape[values.ndim - len(shape) :] != shape:
        raise ValueError(
            f"the data have the shape {values.shape}; the forward model predicts {shape} for one object, so the data "
            f"must be (..., {', '.join(map(str, shape))}): move or trim the axes"
        )
    batch = values.shape[: values.ndim - len(shape)]
    if observation.mask is not None:
        values = np.where(_broadcast("mask", observation.mask, values.shape), values, np.nan)
    sigma = observation.sigma
    if sigma is None:
        return problem, values, None, batch
    if not hasattr(problem.noise, "sigma"):
        raise ValueError(f"{type(problem.noise).__name__} noise takes no sigma: leave it out of the Observation")
    sigma = np.asarray(sigma, values.dtype)
    if sigma.ndim <= len(shape):
        sigma = np.broadcast_to(_broadcast("sigma", sigma, values.shape)[(0,) * len(batch)], shape)
        return eqx.tree_at(lambda p: p.noise.sigma, problem, np.array(sigma)), values, None, batch
    return problem, values, np.array(_broadcast("sigma", sigma, values.shape)), batch


def _prediction_shape(problem: Problem, fixed: Mapping[str, Any]) -> tuple[int, ...]:
    problem = problem.given(fixed)

    def predict() -> Array:
        free = {name: priors.centre(problem.prior[name]) for name in problem.names}
        shapes = problem.forward.shapes
        return problem.predict(free | {name: jnp.ones(shapes.get(name, ())) for name in fixed})

    return jax.eval_shape(predict).shape


def _broadcast(name: str, array: Any, shape: tuple[int, ...]) -> np.ndarray:
    try:
        return np.broadcast_to(np.asarray(array), shape)
    except ValueError:
        raise ValueError(f"the {name} has the shape {np.shape(array)}, which does not broadcast to {shape}") from None


def _check_names(problem: Problem, what: str, given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        if name not in problem.forward.units:
            raise ValueError(
                f"`{what}` names {name!r}, which is no parameter of the forward model "
                f"(it reads {', '.join(problem.forward.units)})"
            )
        if hasattr(value, "unit"):
            raise ValueError(
                f"`{what}[{name!r}]` carries the unit {value.unit}; pass a plain array in the model's unit"
            )


def _per_object(
    problem: Problem, what: str, given: Mapping[str, Any] | None, batch: tuple[int, ...], dtype: Any
) -> dict[str, np.ndarray]:
    """Named arrays with one leading axis over all objects."""
    out = {}
    n = int(np.prod(batch, dtype=int))
    for name, value in (given or {}).items():
        shape = batch + problem.forward.shapes.get(name, ())
        try:
            array = np.broadcast_to(np.asarray(value, dtype), shape)
        except ValueError:
            raise ValueError(f"`{what}[{name!r}]` has the shape {np.shape(value)}; expected {shape}") from None
        out[name] = array.reshape(n, *shape[len(batch) :])
    return out


def _solve_on_devices(settings: LevenbergMarquardt, problem: Problem, inputs: Any, seed: int) -> dict[str, Any]:
    """Spread the objects over all devices; each works through its own queue."""
    n = len(inputs[-1])
    n_devices = min(len(jax.devices()), n)
    size = -(-n // n_devices)
    padded = jax.tree.map(lambda x: _pad(x, size * n_devices), inputs)
    if n_devices == 1:
        arrays = _fit_batch(settings, problem, padded, seed)
    else:
        mesh = jax.make_mesh((n_devices,), ("objects",), axis_types=(jax.sharding.AxisType.Auto,))
        arrays = _fit_sharded(settings, problem, padded, seed, mesh)
    return jax.tree.map(lambda x: np.asarray(x)[:n], arrays)


def _pad(array: np.ndarray, n: int) -> np.ndarray:
    return array if len(array) == n else np.concatenate([array, np.repeat(array[-1:], n - len(array), axis=0)])


@eqx.filter_jit
def _fit_sharded(settings: LevenbergMarquardt, problem: Problem, inputs: Any, seed: int, mesh: Any) -> dict[str, Any]:
    here = jax.sharding.PartitionSpec("objects")
    run = lambda inputs: _fit_batch.__wrapped__(settings, problem, inputs, seed)  # noqa: E731
    return jax.shard_map(run, mesh=mesh, in_specs=here, out_specs=here, check_vma=False)(inputs)


@eqx.filter_jit
def _fit_batch(settings: LevenbergMarquardt, problem: Problem, inputs: Any, seed: int) -> dict[str, Any]:
    observed, known, first, indices = inputs
    layout = Layout.of(problem)
    key = jax.random.key(seed)
    dtype = jax.tree.leaves(observed)[0].dtype

    def begin(item: Any) -> tuple[Array, Array]:
        observed, known, first, index = item
        values = observed.values if isinstance(observed, Observation) else observed
        n_valid = jnp.sum(problem.noise.valid(values, observed))
        guesses = problem.guess(observed, known)
        n_guesses = len(next(iter(guesses.values())))
        guesses = {name: guesses[name].astype(dtype) for name in guesses}
        for name in first.keys() & guesses.keys():
            guesses[name] = jnp.broadcast_to(first[name], guesses[name].shape)
        draws = priors.sample(problem.prior, jax.random.fold_in(key, index), (max(settings.n_starts - n_guesses, 0),))
        points = {name: jnp.concatenate([guesses[name], draws[name].astype(dtype)]) for name in guesses}
        return jax.vmap(layout.ravel)(points)[: settings.n_starts], n_valid

    starts, n_valid = jax.lax.map(begin, (observed, known, first, indices), batch_size=_BATCH)
    noise = 1 + settings.good_enough * jnp.sqrt(2 / jnp.maximum(n_valid, 1))
    result = solve(settings, problem, starts, observed, known, (n_valid * noise).astype(dtype))

    def finish(item: Any) -> dict[str, Any]:
        result, observed, known, n_valid = item
        return _summary(problem, layout, result, observed, known, n_valid)

    return jax.lax.map(finish, (result, observed, known, n_valid), batch_size=_BATCH)


def _summary(
    problem: Problem, layout: Layout, result: Result, observed: Any, known: Any, n_valid: Array
) -> dict[str, Any]:
    """Parameters, covariance, misfit and status of one object."""
    dtype = result.vector.dtype
    scale = scales(problem, layout).astype(dtype)
    vector = result.vector * scale
    free = layout.unravel(vector)
    chi2 = jnp.sum(problem.residual({**known, **free}, observed) ** 2) / jnp.maximum(n_valid, 1)
    covariance = _inverse(result.normal.curvature) * scale[:, None] * scale
    everything = {name: jnp.asarray(value, dtype) for name, value in problem.complete({**known, **free}).items()}
    error = layout.unravel(jnp.sqrt(jnp.diagonal(covariance)))
    if ties := priors.tied(problem.prior):
        chain = jax.jacfwd(lambda v: {name: problem.complete({**known, **layout.unravel(v)})[name] for name in ties})
        for name, by in chain(vector).items():
            error[name] = jnp.sqrt(jnp.einsum("...i,ij,...j->...", by, covariance, by))
    edges = [priors.bounds(problem.prior[name]) for name in layout.names]
    at_bound = jnp.any(
        jnp.stack(
            [
                jnp.any((free[name] <= lower.astype(dtype)) | (free[name] >= upper.astype(dtype)))
                for name, (lower, upper) in zip(layout.names, edges, strict=True)
                if not isinstance(problem.prior[name], priors.Cyclic)
            ]
            or [jnp.asarray(False)]
        )
    )
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
    factor = jnp.linalg.cholesky(matrix)
    inverse = jax.scipy.linalg.cho_solve((factor, True), jnp.eye(len(size), dtype=curvature.dtype))
    return jnp.where(jnp.all(diagonal > 0), inverse / (size[:, None] * size), jnp.nan)


def _solution(
    problem: Problem, known: dict[str, np.ndarray], arrays: dict[str, Any], batch: tuple[int, ...]
) -> Solution:
    arrays = jax.tree.map(lambda x: x.reshape((*batch, *x.shape[1:])), arrays)
    order = [name for name in problem.forward.units if name in arrays["parameters"]]
    return Solution(
        parameters={name: arrays["parameters"][name] for name in order},
        standard_error={name: arrays["standard_error"][name] for name in order if name in arrays["standard_error"]},
        covariance=arrays["covariance"],
        labels=Layout.of(problem).labels,
        chi2=arrays["chi2"],
        iterations=arrays["iterations"],
        starts=arrays["starts"],
        status=arrays["status"],
    )
