"""`solve`: the fit of one object as a pure function, to be compiled, mapped and differentiated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxinv.compute.small_matrices import cholesky, cholesky_solve
from jaxinv.linearization import MOST_DENSE
from jaxinv.observation import Observation
from jaxinv.optimize import conjugate_gradients
from jaxinv.optimize.fit import checked, least_samples
from jaxinv.optimize.in_turn import run
from jaxinv.optimize.objective import Objective
from jaxinv.optimize.proximal import Proximal
from jaxinv.optimize.solver import Solver
from jaxinv.problem import Problem

_PRODUCTS = 1000
"""With the Hessian, at most, for one derivative of many parameters."""


class Solved(NamedTuple):
    """The best parameters of one object.

    Attributes:
        parameters: each inferred parameter, differentiable.
        cost: squared whitened residuals and what the prior adds, or minus twice the log posterior.
        converged: whether they are a minimum of enough valid samples.
        evaluations: of the forward model.
    """

    parameters: dict[str, Array]
    cost: Array
    converged: Array
    evaluations: Array


def solve(
    problem: Problem,
    data: Any,
    initial: Mapping[str, Any] | None = None,
    *,
    known: Mapping[str, Any] | None = None,
    solver: Solver | None = None,
) -> Solved:
    """The best parameters of ONE object, from one start, as a pure function of all its arguments.

    It may be compiled, mapped over objects (`jax.vmap`: at the pace of the slowest; `fit` is for large batches) and
    differentiated, forward and reverse: by the data, what is known, and the numbers in the problem's noise, prior and
    forward model. The derivative is that of the minimum, by the implicit function theorem with the full Hessian
    (Krantz & Parks 2002, The Implicit Function Theorem); the way to it is not differentiated, and parameters that rest
    on a bound do not move. It is as exact as the minimum is: give the solver a small tolerance where that matters. Of
    a proximal solver it is the derivative of the fixed point of its map, whose prior may have kinks.

    Args:
        problem: forward model, noise and prior.
        data: one object's, `data_shape`, or an `Observation` of it.
        initial: the start, by name; the forward model's first estimate of what is left out.
        known: parameters known of the object, in place of what the prior says.
        solver: as in `fit`; its `n_starts` and `covariance` do not matter.

    Raises:
        ValueError: the solver needs residuals that the noise does not have, a name is no parameter, or the data do not
            have the shape of one object's.
    """
    solver, objective, vector = begun(problem, data, initial, known, solver)
    problem, known = objective.problem, objective.known
    frozen = jax.tree.map(lambda x: jax.lax.stop_gradient(x) if _differentiable(x) else x, objective)
    vector = jax.lax.stop_gradient(vector)
    state, count = run(solver, frozen, vector)
    if isinstance(solver, Proximal):
        vector = solver.differentiable(objective, state)
    else:
        answer = solver.answer(frozen, state)
        last = frozen.cost(answer.last)
        vector = jnp.where(last <= answer.cost, answer.last, answer.vector)
        vector = jax.lax.custom_root(_condition(objective, vector), vector, lambda f, x: x, _tangent_of(objective))
    values = jnp.asarray(data.values if isinstance(data, Observation) else data)
    enough = jnp.sum(problem.noise.valid(values, data)) >= least_samples(problem)
    return Solved(problem.coordinates.parameters(vector), objective.cost(vector), solver.done(state) & enough, count)


def begun(
    problem: Problem, data: Any, initial: Mapping[str, Any] | None, known: Mapping[str, Any] | None, solver: Any
) -> tuple[Solver, Objective, Array]:
    """The solver, the objective of one object, and where it starts; the arguments are checked."""
    solver = checked(solver, problem)
    known = dict(known or {})
    problem = problem.given(known)
    unknown = set(initial or {}) - set(problem.names)
    if unknown:
        raise ValueError(f"`initial` names {', '.join(sorted(unknown))}; inferred are {', '.join(problem.names)}")
    data = jax.tree.map(jnp.asarray, data)
    values = data.values if isinstance(data, Observation) else data
    if jnp.shape(values) != (shape := problem.data_shape(known)):
        raise ValueError(
            f"the data have the shape {jnp.shape(values)}; one object has {shape}: map `solve` over others"
        )
    ready = problem.noise.prepared(data, problem.prediction_shape(known))
    objective = Objective(problem, ready, known)
    guess = {name: value[0] for name, value in problem.guess(data, known).items()}
    start = {name: jnp.asarray(x, float) for name, x in {**guess, **(initial or {})}.items()}
    return solver, objective, problem.coordinates.vector(start)


def _differentiable(x: Any) -> bool:
    return hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.inexact)


def _condition(objective: Objective, at: Array) -> Callable[[Array], Array]:
    """What is 0 at the minimum `at`: the gradient, in units of the coordinates' scales; on a bound, the distance."""
    coordinates = objective.coordinates
    scale = jax.lax.stop_gradient(coordinates.scale()).astype(at.dtype)
    gradient = jax.grad(lambda z: objective.cost(z) / 2)
    held = jax.lax.stop_gradient(coordinates.held(at, gradient(at)))
    at = jax.lax.stop_gradient(at)
    # What is held is held in the others' gradient, too: so the derivative is a symmetric matrix.
    return lambda z: jnp.where(held, (z - at) / scale, scale * gradient(jnp.where(held, at, z)))


def _tangent_of(objective: Objective) -> Callable[[Callable[[Array], Array], Array], Array]:
    """Solves for the change of the minimum, given its condition's derivative and what that has to become."""
    scale = jax.lax.stop_gradient(objective.coordinates.scale())
    sizes = [block.size for block in objective.coordinates.blocks]

    def tangent(derivative: Callable[[Array], Array], right: Array) -> Array:
        units = scale.astype(right.dtype)
        scaled = lambda v: derivative(units * v)  # noqa: E731
        if len(right) > MOST_DENSE:
            diagonal = conjugate_gradients.diagonal_of(scaled, sizes, right.dtype)
            accuracy = 10 * jnp.finfo(right.dtype).eps
            found = conjugate_gradients.solve(scaled, right, diagonal, tolerance=accuracy, most=_PRODUCTS)
            return units * found
        matrix = jax.vmap(scaled)(jnp.eye(len(right), dtype=right.dtype)).T
        size = jnp.sqrt(jnp.maximum(jnp.diagonal(matrix), jnp.finfo(right.dtype).tiny))
        # What nothing determines stays where it is.
        ridge = 10 * jnp.finfo(right.dtype).eps * jnp.eye(len(right), dtype=right.dtype)
        factor = cholesky(matrix / (size[:, None] * size) + ridge)
        return units * cholesky_solve(factor, right / size) / size

    return tangent
