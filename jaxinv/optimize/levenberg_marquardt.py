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
import numpy as np
from jaxtyping import Array

from jaxinv.compute.small_matrices import cholesky, cholesky_solve
from jaxinv.optimize import closed_form
from jaxinv.optimize.normal import Normal, normal_of, with_prior
from jaxinv.optimize.objective import Objective, Slope
from jaxinv.optimize.solver import Answer, Steerable

_BOLD = 1e-6
"""Damping of the step by which it is judged how much there is still to gain: so small that it sees along valleys in
which parameters are correlated to five digits."""
_NOTHING = 0.1
"""Of what the next step of a start may gain that has converged: a point at which that is less is a minimum, however
short the way to it. The curvature there is that at the minimum, also where a weak field bends it: error bars of the
inclination in the quiet Sun are off by 3 to 6 % in one of ten pixels; with 0.3 by 10 to 14 %."""
_TINY = 1e-6


class _State(NamedTuple):
    vector: Array
    normal: Normal  # at `vector`, in the parameters' units
    damping: Array
    gain: Array  # log of the cost before the last look over that after it
    fresh: Array  # whether the last look was the first one
    proposal: Array  # where to evaluate next
    negligible: Array  # whether that step is predicted to gain nothing that counts
    converged: Array


class LevenbergMarquardt(Steerable):
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
        no, damping = jnp.asarray(False), jnp.asarray(self.damping, vector.dtype)
        return _State(vector, normal, damping, jnp.zeros_like(damping), no, proposal, no, no)

    def look(self, objective: Objective, state: _State) -> tuple[_State, Slope]:
        fresh = jnp.isinf(state.normal.cost)
        trial, seen = _evaluate(objective, state.proposal)
        accepted = jnp.isfinite(seen.cost) & (seen.cost <= state.normal.cost)
        damping = jnp.where(accepted, state.damping / self.decrease, state.damping * self.increase)
        damping = jnp.where(fresh, self.damping, jnp.maximum(damping, 1e-7))
        gain = jnp.where(fresh, 0, jnp.log(state.normal.cost + _TINY) - jnp.log(seen.cost + _TINY))
        vector, normal = jax.tree.map(
            lambda new, old: jnp.where(accepted, new, old), (trial, seen), (state.vector, state.normal)
        )
        found = Slope(seen.cost, _slope(objective, state.proposal, seen))
        return state._replace(vector=vector, normal=normal, damping=damping, gain=gain, fresh=fresh), found

    def propose(self, objective: Objective, state: _State, caution: Array | None = None) -> _State:
        damping = state.damping if caution is None else state.damping * jnp.exp(caution)
        normal, scale = _in_coordinates(objective, state)
        step, gain = damped_step(normal, damping, objective.coordinates.held(state.vector, normal.gradient))
        cautious = jnp.max(damping)
        negligible = (gain < self.tolerance + self.relative_tolerance * normal.cost) & (cautious < 0.1)
        return state._replace(
            proposal=objective.inside(state.vector + step * scale),
            negligible=negligible,
            converged=~state.fresh & (negligible | (cautious > 1e6)),
        )

    def signals(self, objective: Objective, state: _State) -> Array:
        """Slope and curvature of the cost in units of the noise, correlations, the last gain, the classical damping."""
        normal, _ = _in_coordinates(objective, state)
        diagonal = jnp.diagonal(normal.curvature)
        size = jnp.sqrt(jnp.maximum(diagonal, _floor(diagonal)))
        correlation = (normal.curvature / (size[:, None] * size))[np.triu_indices(len(size), 1)]
        slope = normal.gradient / size
        cost = normal.cost + _TINY
        return jnp.concatenate(
            [
                jnp.clip(slope / jnp.sqrt(cost), -3, 3),
                jnp.arcsinh(slope) / 3,
                jnp.log(size) / 5,
                correlation,
                jnp.stack([jnp.log(cost) / 5, jnp.clip(state.gain, -5, 5) / 2, jnp.log(state.damping) / 5]),
            ]
        )

    def sizes(self, objective: Objective, state: _State) -> Array:
        normal, scale = _in_coordinates(objective, state)
        diagonal = jnp.diagonal(normal.curvature)
        return scale / jnp.sqrt(jnp.maximum(diagonal, _floor(diagonal)))

    def promise(self, objective: Objective, state: _State) -> Array:
        normal, _ = _in_coordinates(objective, state)
        held = objective.coordinates.held(state.vector, normal.gradient)
        return damped_step(normal, jnp.asarray(_BOLD, normal.cost.dtype), held)[1]

    def settled(self, objective: Objective, state: _State) -> Array:
        negligible = self.tolerance + self.relative_tolerance * state.normal.cost
        return ~state.fresh & (self.promise(objective, state) < _NOTHING * negligible)

    def done(self, state: _State) -> Array:
        return state.converged

    def answer(self, objective: Objective, state: _State) -> Answer:
        last = jnp.where(state.negligible, state.proposal, state.vector)
        return Answer(state.vector, last, state.normal.cost, state.normal)


def damped_step(normal: Normal, damping: Array, held: Array) -> tuple[Array, Array]:
    """The step `(n_free,)` for the parameters that are not `held`, and the decrease of the cost that it predicts.

    `damping` is one number, or one for each parameter.
    """
    diagonal = jnp.diagonal(normal.curvature)
    # A parameter that the data do not feel (an azimuth without a field) keeps its place.
    size = jnp.sqrt(jnp.maximum(diagonal, _floor(diagonal)))
    free = ~held
    correlation = jnp.where(free[:, None] & free, normal.curvature / (size[:, None] * size), 0)
    matrix = jnp.where(jnp.eye(len(size), dtype=bool), jnp.where(free, diagonal / size**2 + damping, 1), correlation)
    right = jnp.where(free, -normal.gradient / size, 0)
    step = cholesky_solve(cholesky(matrix), right)
    step = jnp.where(jnp.all(jnp.isfinite(step)), step, 0)
    # |r|^2 falls by 2 s.b - s.C s, and (C + damping) s = b.
    gain = jnp.sum(step * right) + jnp.sum(damping * step**2)
    return step / size, gain


def _in_coordinates(objective: Objective, state: _State) -> tuple[Normal, Array]:
    """The quadratic model in coordinates divided by their scale, and that scale."""
    coordinates, normal, vector = objective.coordinates, state.normal, state.vector
    scale = coordinates.scale().astype(vector.dtype)
    chain = coordinates.chain(vector) * scale
    gradient = jnp.matmul(normal.gradient, chain, precision="highest")
    curvature = jnp.matmul(chain.T, jnp.matmul(normal.curvature, chain, precision="highest"), precision="highest")
    return Normal(normal.cost, gradient, curvature), scale


def _slope(objective: Objective, proposal: Array, normal: Normal) -> Array:
    """Half the derivative of the cost by the proposal.

    What was set to its best value does not count (Danskin's theorem).
    """
    _, pull = jax.vjp(objective.coordinates.parameters, proposal)
    return pull(objective.layout.unravel(normal.gradient))[0]


def _floor(diagonal: Array) -> Array:
    return 1e-6 * jnp.max(diagonal) + jnp.finfo(diagonal.dtype).tiny


def _evaluate(objective: Objective, vector: Array) -> tuple[Array, Normal]:
    """The quadratic model at a point, after what has a closed form was set to its best."""
    problem, layout = objective.problem, objective.layout
    parameters = objective.coordinates.parameters(vector)
    found = problem.linearize({**objective.known, **parameters})
    parameters, data = closed_form.turned(problem, parameters, found.prediction, objective.data)
    parameters, normal = closed_form.regressed(problem, parameters, normal_of(problem, None, found, data))
    normal = with_prior(problem, layout, None, layout.ravel(parameters), normal)
    return objective.coordinates.vector(parameters) if any(closed_form.of(problem)) else vector, normal
