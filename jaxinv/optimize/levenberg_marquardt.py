"""Levenberg-Marquardt: damped normal equations, for what has few enough unknowns that their matrix is dense.

Each step solves (Marquardt 1963, J. SIAM 11, 431)

    (J^T J + C + damping diag(J^T J + C)) step = -(J^T r + c)

for whitened residuals r with Jacobian J and, where a prior is not flat, its negative log density's gradient c and
curvature C. Steps are taken in the problem's coordinates, in which it is as round as the physics can make it; what has
a closed-form best value is set to it wherever the model is evaluated (`closed_form`). Points stay inside the support: a
step is mapped to the equivalent or nearest point of it, and a parameter that sits on a bound and would leave it takes
no part in the step (Bertsekas 1982, SIAM J. Control Optim. 20, 221).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxinv.compute.small_matrices import cholesky, cholesky_solve
from jaxinv.optimize import closed_form
from jaxinv.optimize.normal import Normal, normal_of, with_prior
from jaxinv.optimize.objective import Objective
from jaxinv.optimize.solver import Answer, Solver


class _State(NamedTuple):
    vector: Array
    normal: Normal  # at `vector`, in the parameters' units
    damping: Array
    proposal: Array  # where to evaluate next
    negligible: Array  # whether that step is predicted to gain nothing that counts
    converged: Array


class LevenbergMarquardt(Solver):
    """Levenberg-Marquardt with a dense normal matrix: the default for up to a hundred unknowns.

    Attributes:
        tolerance: a start has converged when the next step, at a damping below 0.1, is predicted to lower the sum of
            squared residuals by less than this, in units of the noise: 0.1 is a third of a standard error. That step
            is still taken, without another look: it leaves far less than it gains.
        relative_tolerance: the same as a fraction of the sum; it ends the fit of data that the model cannot describe.
        damping: the first damping.
        increase: factor on the damping after a rejected step.
        decrease: divisor of the damping after an accepted step.
        max_iterations: see `Solver`, as for the rest.
    """

    tolerance: float = 0.1
    relative_tolerance: float = 1e-4
    damping: float = 0.3
    increase: float = 10.0
    decrease: float = 30.0

    def init(self, objective: Objective, vector: Array) -> _State:
        size = sum(objective.layout.sizes)
        zeros = jnp.zeros((size, size), vector.dtype)
        normal = Normal(jnp.asarray(jnp.inf, vector.dtype), zeros[0], zeros)
        proposal = objective.inside(vector)
        no = jnp.asarray(False)
        return _State(vector, normal, jnp.asarray(self.damping, vector.dtype), proposal, no, no)

    def step(self, objective: Objective, state: _State) -> _State:
        fresh = jnp.isinf(state.normal.cost)
        trial, normal = _evaluate(objective, state.proposal)
        accepted = jnp.isfinite(normal.cost) & (normal.cost <= state.normal.cost)
        damping = jnp.where(accepted, state.damping / self.decrease, state.damping * self.increase)
        damping = jnp.where(fresh, self.damping, jnp.maximum(damping, 1e-7))
        vector, normal = jax.tree.map(
            lambda new, old: jnp.where(accepted, new, old), (trial, normal), (state.vector, state.normal)
        )
        proposal, gain = _propose(objective, vector, normal, damping)
        negligible = (gain < self.tolerance + self.relative_tolerance * normal.cost) & (damping < 0.1)
        return _State(vector, normal, damping, proposal, negligible, ~fresh & (negligible | (damping > 1e6)))

    def done(self, state: _State) -> Array:
        return state.converged

    def answer(self, objective: Objective, state: _State) -> Answer:
        last = jnp.where(state.negligible, state.proposal, state.vector)
        return Answer(state.vector, last, state.normal.cost, state.normal)


def damped_step(normal: Normal, damping: Array, held: Array) -> tuple[Array, Array]:
    """The step `(n_free,)` for the parameters that are not `held`, and the decrease of the cost that it predicts."""
    diagonal = jnp.diagonal(normal.curvature)
    # A parameter that the data do not feel (an azimuth without a field) keeps its place.
    floor = 1e-6 * jnp.max(diagonal) + jnp.finfo(diagonal.dtype).tiny
    size = jnp.sqrt(jnp.maximum(diagonal, floor))
    free = ~held
    correlation = jnp.where(free[:, None] & free, normal.curvature / (size[:, None] * size), 0)
    matrix = jnp.where(jnp.eye(len(size), dtype=bool), jnp.where(free, diagonal / size**2 + damping, 1), correlation)
    right = jnp.where(free, -normal.gradient / size, 0)
    step = cholesky_solve(cholesky(matrix), right)
    step = jnp.where(jnp.all(jnp.isfinite(step)), step, 0)
    # |r|^2 falls by 2 s.b - s.C s, and (C + damping) s = b.
    gain = jnp.sum(step * right) + damping * jnp.sum(step**2)
    return step / size, gain


def _propose(objective: Objective, vector: Array, normal: Normal, damping: Array) -> tuple[Array, Array]:
    """The next point, and the decrease that is predicted for it."""
    coordinates = objective.coordinates
    scale = coordinates.scale().astype(vector.dtype)
    chain = coordinates.chain(vector) * scale
    gradient = jnp.matmul(normal.gradient, chain, precision="highest")
    curvature = jnp.matmul(chain.T, jnp.matmul(normal.curvature, chain, precision="highest"), precision="highest")
    step, gain = damped_step(Normal(normal.cost, gradient, curvature), damping, coordinates.held(vector, gradient))
    return objective.inside(vector + step * scale), gain


def _evaluate(objective: Objective, vector: Array) -> tuple[Array, Normal]:
    """The quadratic model at a point, after what has a closed form was set to its best."""
    problem, layout = objective.problem, objective.layout
    parameters = objective.coordinates.parameters(vector)
    found = problem.linearize({**objective.known, **parameters})
    parameters, data = closed_form.turned(problem, parameters, found.prediction, objective.data)
    parameters, normal = closed_form.regressed(problem, parameters, normal_of(problem, None, found, data))
    normal = with_prior(problem, layout, None, layout.ravel(parameters), normal)
    return objective.coordinates.vector(parameters) if any(closed_form.of(problem)) else vector, normal
