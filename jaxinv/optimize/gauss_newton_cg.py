"""Gauss-Newton with conjugate gradients: Levenberg-Marquardt for what is too large for a normal matrix.

Each step solves the damped normal equations of `levenberg_marquardt` by conjugate gradients (Steihaug 1983, SIAM J.
Numer. Anal. 20, 626; Dembo, Eisenstat & Steihaug 1982, 19, 400: no further than the step is worth), in the problem's
coordinates in units of the prior's standard deviations, with the diagonal of the normal matrix, the prior's part
included, as the preconditioner. The forward model is asked for products of its Jacobian and its transpose only.
"""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from jaxinv.optimize import conjugate_gradients
from jaxinv.optimize.objective import Objective
from jaxinv.optimize.solver import Answer, Solver


class _State(NamedTuple):
    vector: Array
    cost: Array
    damping: Array
    proposal: Array
    negligible: Array
    converged: Array


class GaussNewtonCG(Solver):
    """Matrix-free Gauss-Newton: the default for more than a hundred unknowns, such as a coupled map.

    Attributes:
        tolerance: see `LevenbergMarquardt`, as for the next four.
        relative_tolerance: a fraction of the sum of squares.
        damping: the first damping.
        increase: factor on it after a rejected step.
        decrease: divisor of it after an accepted step.
        accuracy: relative residual to which each step's equations are solved.
        products: of the normal matrix with a vector, at most, for each step.
        max_iterations: see `Solver`, as for the rest.
    """

    max_iterations: int = 50
    n_starts: int = eqx.field(static=True, default=1)
    covariance: str = eqx.field(static=True, default="diagonal")
    tolerance: float = 0.1
    relative_tolerance: float = 1e-4
    damping: float = 0.3
    increase: float = 10.0
    decrease: float = 30.0
    accuracy: float = 0.03
    products: int = eqx.field(static=True, default=200)

    def init(self, objective: Objective, vector: Array) -> _State:
        no, start = jnp.asarray(False), objective.inside(vector)
        infinite = jnp.asarray(jnp.inf, vector.dtype)
        return _State(start, infinite, jnp.asarray(self.damping, vector.dtype), start, no, no)

    def step(self, objective: Objective, state: _State) -> _State:
        fresh = jnp.isinf(state.cost)
        trial = objective.cost(state.proposal)
        accepted = jnp.isfinite(trial) & (trial <= state.cost)
        damping = jnp.where(accepted, state.damping / self.decrease, state.damping * self.increase)
        damping = jnp.where(fresh, self.damping, jnp.maximum(damping, 1e-7)).astype(trial.dtype)
        vector = jnp.where(accepted, state.proposal, state.vector)
        cost = jnp.where(accepted, trial, state.cost)
        proposal, gain = self._propose(objective, vector, damping)
        negligible = (gain < self.tolerance + self.relative_tolerance * cost) & (damping < 0.1)
        return _State(vector, cost, damping, proposal, negligible, ~fresh & (negligible | (damping > 1e6)))

    def _propose(self, objective: Objective, vector: Array, damping: Array) -> tuple[Array, Array]:
        """The next point, and the decrease that is predicted for it."""
        coordinates = objective.coordinates
        scale = coordinates.scale().astype(vector.dtype)
        slope, product = objective.quadratic(vector)
        free = ~coordinates.held(vector, slope.gradient)
        right = jnp.where(free, -scale * slope.gradient, 0)

        def normal(step: Array) -> Array:
            return jnp.where(free, scale * product(scale * jnp.where(free, step, 0)), 0)

        sizes = [block.size for block in coordinates.blocks]
        diagonal = jnp.where(free, conjugate_gradients.diagonal_of(normal, sizes, vector.dtype), 1)
        step = conjugate_gradients.solve(
            lambda step: normal(step) + jnp.where(free, damping * diagonal, 1) * step,
            right, (1 + damping) * diagonal, tolerance=self.accuracy, most=self.products,
        )  # fmt: skip
        step = jnp.where(jnp.all(jnp.isfinite(step)), step, 0)
        # As in `damped_step`: a truncated solution from zero has s.A s = s.b, too.
        gain = jnp.sum(step * right) + damping * jnp.sum(diagonal * step**2)
        return objective.inside(vector + scale * step), gain

    def done(self, state: _State) -> Array:
        return state.converged

    def answer(self, objective: Objective, state: _State) -> Answer:
        last = jnp.where(state.negligible, state.proposal, state.vector)
        return Answer(state.vector, last, state.cost, None)
