"""`fit`: the best parameters of every object of a batch, with covariance, misfit and status."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import ArrayLike

from jaxinv import priors
from jaxinv.compute import batch
from jaxinv.compute.devices import over_devices
from jaxinv.compute.small_matrices import lapack_work
from jaxinv.linearization import MOST_DENSE
from jaxinv.noise import Samplewise
from jaxinv.observation import Observation
from jaxinv.optimize import covariance, in_turn, lanes
from jaxinv.optimize.gauss_newton_cg import GaussNewtonCG
from jaxinv.optimize.lbfgs import LBFGS
from jaxinv.optimize.levenberg_marquardt import LevenbergMarquardt
from jaxinv.optimize.normal import Normal, prior_cost
from jaxinv.optimize.objective import Objective
from jaxinv.optimize.proximal import FISTA, ISTA, Proximal, is_linear
from jaxinv.optimize.solver import Solver
from jaxinv.optimize.splitting import ADMM
from jaxinv.problem import Problem
from jaxinv.regularizers import Regularizer
from jaxinv.results.solution import Solution, Status

_BATCH = 256
"""Objects whose first estimates and final statistics are computed together; bounds the memory."""


class Result(NamedTuple):
    """What became of an object, in the parameters' units and the order of `Layout`.

    Attributes:
        vector: `(n_free,)` best parameters.
        normal: the quadratic model there, if it is at hand.
        converged: whether they are a minimum.
        evaluations: of the model.
        starts: taken.
    """

    vector: Array
    normal: Normal | None
    converged: Array
    evaluations: Array
    starts: Array


def default_solver(problem: Problem) -> Solver:
    """What suits a problem: by whether the prior has kinks, there are residuals, and by the number of parameters."""
    if _kinked(problem):
        gaussian = isinstance(problem.noise, Samplewise) and problem.noise.sum_of_squares
        return ADMM() if gaussian and len(problem.names) == 1 and is_linear(problem) else FISTA()
    if not isinstance(problem.noise, Samplewise):
        return LBFGS()
    return LevenbergMarquardt() if sum(problem.layout.sizes) <= MOST_DENSE else GaussNewtonCG()


def _kinked(problem: Problem) -> list[str]:
    """The parameters whose prior has kinks."""
    found = ((name, problem.prior[name]) for name in problem.names)
    return [name for name, prior in found if isinstance(prior, Regularizer) and not prior.smooth]


def least_samples(problem: Problem) -> int:
    """Valid samples that an object has to have: one for each parameter of which the prior says nothing."""
    layout = problem.layout
    flat = [n for name, n in zip(layout.names, layout.sizes) if priors.is_flat(problem.prior[name])]
    return max(sum(flat), 1)


def lapack_of(problem: Problem) -> int:
    """What `devices.over_devices` has to be told of a program that inverts normal matrices of this problem."""
    return lapack_work(sum(problem.layout.sizes))


def fit(
    problem: Problem,
    data: ArrayLike | Observation | batch.Rows,
    *,
    solver: Solver | None = None,
    fixed: Mapping[str, ArrayLike] | None = None,
    initial: Mapping[str, ArrayLike] | None = None,
    seed: int = 0,
) -> Solution:
    """Invert: minimize the sum of squared whitened residuals, minus twice the log prior where it is not flat.

    For a noise without residuals, minus twice its log density takes the place of the sum.

    Args:
        problem: forward model, noise and prior.
        data: `(*batch, *data_shape)`, or an `Observation` of that with its own sigma and mask. Non-finite values are
            missing samples. The axes in front of an object's own are the batch: one object, a slit, a map.
        solver: how each object is fitted, and what of its covariance is wanted: `LevenbergMarquardt(n_starts=...)`,
            `GaussNewtonCG`, `LBFGS`; the default is the first, the second above a hundred parameters, and the third
            where the noise has no residuals.
        fixed: parameters known for each object, `(*batch, *parameter_shape)`, or one value for all.
        initial: first starting values in place of the forward model's estimates, same shapes.
        seed: of the starting points that are drawn from the prior, for each object by its id.

    Returns:
        A `Solution` whose arrays have the batch axes in front. Standard errors come from the inverse of the curvature
        at the minimum; they assume that sigma is right, whatever chi2 says.

    Raises:
        ValueError: the data's shape does not end with the prediction's, an array has the wrong batch axes, a name is
            not a parameter, the data carry a unit, or the solver needs residuals that the noise does not have.
    """
    solver = checked(solver, problem)
    batch.check_names(problem, "initial", initial or {})
    rows = batch.in_rows(problem, data, fixed)
    first = batch.per_object(rows.problem, "initial", initial, rows.shape, rows.dtype)
    return fit_rows(rows, first, solver, seed=seed)


def checked(solver: Solver | None, problem: Problem) -> Solver:
    """The solver, or the default.

    Raises:
        ValueError: it is something else, or needs residuals that the noise does not have.
    """
    if solver is None:
        return default_solver(problem)
    if not isinstance(solver, Solver):
        made = f": make one of it, {solver.__name__}()" if isinstance(solver, type) else ""
        raise ValueError(
            f"`solver` is a LevenbergMarquardt, GaussNewtonCG, LBFGS, ADMM, ...; found {solver!r:.60}{made}"
        )
    if not isinstance(problem.noise, Samplewise) and not isinstance(solver, LBFGS | ISTA):
        raise ValueError(
            f"{type(solver).__name__} needs residuals, which {type(problem.noise).__name__} noise does not have: take "
            "solver=LBFGS()"
        )
    if isinstance(solver, Proximal):
        solver.check(problem)
    if kinked := _kinked(problem):
        prior = f"the prior of {kinked[0]!r}, {type(problem.prior[kinked[0]]).__name__}, has kinks"
        if not isinstance(solver, Proximal):
            raise ValueError(f"{prior}, which {type(solver).__name__} cannot meet: take ADMM(), FISTA() or PDHG()")
        if solver.covariance != "none":
            raise ValueError(f'{prior}, where no curvature says what is known: give the solver covariance="none"')
    return solver


def fit_rows(
    rows: batch.Rows,
    first: Mapping[str, np.ndarray],
    solver: Solver,
    *,
    seed: int = 0,
    before: Mapping[str, np.ndarray] | None = None,
) -> Solution:
    """As `fit`, of objects that are in rows already.

    Args:
        rows: the objects.
        first: starting values in place of the forward model's estimates.
        solver: of one object.
        seed: of the starts that are drawn.
        before: a start of each object that is tried before all others.
    """
    # Numbers as arrays, so that another tolerance is not another program.
    solver = jax.tree.map(np.float32, solver)
    inputs = (rows.observed, rows.known, dict(first), dict(before or {}), rows.ids)
    common = (solver, rows.problem, jax.random.key(seed))
    matrix = isinstance(solver, LevenbergMarquardt) or solver.covariance == "dense"
    matrix |= sum(rows.problem.layout.sizes) <= MOST_DENSE
    arrays = over_devices(_fit_batch, common, inputs, lapack=lapack_of(rows.problem) if matrix else 0)
    found = to_solution(rows.problem, rows.known, arrays, rows.shape)
    if solver.covariance != "operator":
        return found
    vector = np.concatenate(
        [np.reshape(arrays["parameters"][name], (rows.n, -1)) for name in rows.problem.layout.names], axis=1
    )
    each = covariance.CovarianceOperator(rows.problem, rows.observed, rows.known, vector)
    return dataclasses.replace(found, covariance=each.each(lambda x: x.reshape(*rows.shape, *x.shape[1:])))


def _fit_batch(common: Any, inputs: Any) -> dict[str, Any]:
    solver, problem, key = common
    observed, known, first, before, ids = inputs
    layout, coordinates = problem.layout, problem.coordinates
    dtype = jax.tree.leaves(observed)[0].dtype

    def count(observed: Any) -> Array:
        values = observed.values if isinstance(observed, Observation) else observed
        return jnp.sum(problem.noise.valid(values, observed))

    def begin(item: Any) -> Array:
        observed, known, first, before, identity = item
        guesses = problem.guess(observed, known)
        guesses = {name: guesses[name].astype(dtype) for name in guesses}
        for name in guesses:
            if name in first:
                guesses[name] = jnp.broadcast_to(first[name], guesses[name].shape)
        if before:
            guesses = {name: jnp.concatenate([before[name][None], guesses[name]]) for name in guesses}
        n_guesses = len(next(iter(guesses.values())))
        if solver.n_starts <= n_guesses:
            return jax.vmap(coordinates.vector)(guesses)[: solver.n_starts]
        draws = priors.sample(problem.prior, jax.random.fold_in(key, identity), (solver.n_starts - n_guesses,))
        points = {name: jnp.concatenate([guesses[name], draws[name].astype(dtype)]) for name in guesses}
        return jax.vmap(coordinates.vector)(points)[: solver.n_starts]

    n_valid = jax.vmap(count)(observed)
    # Nothing is done for objects without data, which fill a batch up to a size that is compiled already.
    most = lanes.together(problem.forward.knowledge.working_set)
    starts = _each(begin, (observed, known, first, before, ids), n_valid > 0, most)
    if isinstance(problem.noise, Samplewise):
        noise = 1 + solver.good_enough * jnp.sqrt(2 / jnp.maximum(n_valid, 1))
        expected = (n_valid * jnp.maximum(noise, solver.enough)).astype(dtype)
    else:  # nobody knows how low it should be
        expected = jnp.full(n_valid.shape, -jnp.inf, dtype)
    shape = problem.prediction_shape(known)
    ready = jax.vmap(lambda observed: problem.noise.prepared(observed, shape))(observed)
    if isinstance(solver, Proximal):
        best = in_turn.run_each(solver, problem, starts, ready, known, n_valid > 0)
    else:
        best = lanes.run(solver, problem, starts, ready, known, expected, n_valid > 0)

    def finish(item: Any) -> dict[str, Any]:
        best, ready, known, n_valid = item
        objective, answer = Objective(problem, ready, known), best.answer
        vector, last = (layout.ravel(coordinates.parameters(x)) for x in (answer.vector, answer.last))
        # The last step, which was taken unseen, counts if it led down.
        cost = objective.misfit(problem.predict({**known, **layout.unravel(last)})) + prior_cost(problem, layout, last)
        lower = cost <= answer.cost
        vector = jnp.where(lower, last, vector)
        misfit = jnp.where(lower, cost, answer.cost) - prior_cost(problem, layout, vector)
        result = Result(vector, answer.normal, best.converged, best.evaluations, best.starts)
        return summarize(objective, result, n_valid, misfit, solver.covariance)

    return _each(finish, (best, ready, known, n_valid), jnp.ones_like(n_valid, bool), most)


def _each(function: Callable[[Any], Any], inputs: Any, wanted: Array, most: int) -> Any:
    """`function` of each object, at most so many at a time; zeros where no object of them is wanted."""
    n = len(wanted)
    size = min(_BATCH, most, n)
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
    objective: Objective, result: Result, n_valid: Array, misfit: Array | None = None, kind: str = "dense"
) -> dict[str, Any]:
    """Parameters, covariance, misfit and status of one object.

    Args:
        objective: of the object.
        result: of its fit.
        n_valid: its valid samples.
        misfit: the sum of squared residuals, if it is known.
        kind: what of the covariance is wanted, as `Solver.covariance` says.
    """
    problem, layout, known = objective.problem, objective.layout, objective.known
    vector = result.vector
    dtype = vector.dtype
    free = layout.unravel(vector)
    if misfit is None:
        misfit = objective.misfit(problem.predict({**known, **free}))
    chi2 = misfit / jnp.maximum(n_valid, 1) if objective.samplewise else jnp.asarray(jnp.nan, dtype)
    everything = {name: jnp.asarray(value, dtype) for name, value in problem.complete({**known, **free}).items()}
    ties = priors.tied(problem.prior)
    matrix = None
    if kind == "dense":
        normal = result.normal
        matrix = covariance.inverse(covariance.curvature(objective, vector) if normal is None else normal.curvature)
        error = layout.unravel(jnp.sqrt(jnp.diagonal(matrix)))
        error |= covariance.tied_errors(objective, vector, lambda by: jnp.matmul(matrix, by, precision="highest"))
    elif kind == "none":
        error = {name: jnp.full(jnp.shape(everything[name]), jnp.nan, dtype) for name in (*layout.names, *ties)}
    else:
        error = layout.unravel(jnp.sqrt(covariance.variances(objective, vector)))
        if ties:
            error |= covariance.tied_errors(objective, vector, covariance.solver_of(objective, vector))
    at_bound = objective.coordinates.at_bound(free)
    status = jnp.where(at_bound, Status.AT_BOUND, Status.CONVERGED)
    status = jnp.where(result.converged, status, Status.NOT_CONVERGED)
    status = jnp.where(jnp.isfinite(misfit), status, Status.FAILED)
    status = jnp.where(n_valid < least_samples(problem), Status.NO_DATA, status)
    useless = (status == Status.NO_DATA) | (status == Status.FAILED)
    blank = lambda x: jnp.where(useless, jnp.nan, x)  # noqa: E731
    inferred = {name for name in everything if name in free or name in ties}
    return {
        "parameters": {name: blank(x) if name in inferred else x for name, x in everything.items()},
        "standard_error": {name: blank(x) for name, x in error.items()},
        "covariance": None if matrix is None else blank(matrix),
        "chi2": blank(chi2),
        "iterations": result.evaluations,
        "starts": result.starts,
        "status": status.astype(jnp.int16),
    }


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
