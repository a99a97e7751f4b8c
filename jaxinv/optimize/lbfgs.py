"""Limited-memory BFGS with bounds: for a noise that has no residuals, and for many unknowns at little memory.

The two-loop recursion (Nocedal 1980, Math. Comp. 35, 773) over the parameters that are not held on a bound (Bertsekas
1982, SIAM J. Control Optim. 20, 221), with a backtracking line search along the path that is bent into the support.
Every step is one evaluation of the objective and its gradient, so that objects can share a loop; a library's line
search would have each object wait for the others'.
"""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxinv.optimize import fixed_point
from jaxinv.optimize.objective import Objective
from jaxinv.optimize.solver import Answer, Solver

_ENOUGH = 1e-4
"""Part of the decrease that the slope predicts, which a step has to reach (Armijo)."""
_FIRST = 0.1
"""Length of the first step at most, in standard deviations of the prior."""
_LONGEST = 1e4
"""Step, in directions."""
_SHORTEST = 1e-9
"""A line search that comes to this part of its direction has failed."""


class _State(NamedTuple):
    """Moves and gradients are in units of the coordinates' scales."""

    vector: Array
    cost: Array
    gradient: Array
    moves: Array  # (memory, size), the latest last
    changes: Array  # of the gradient along them
    direction: Array
    length: Array  # of the step that is tried next, in directions
    proposal: Array
    fallen: Array  # by how much the last accepted step lowered the cost
    converged: Array


class LBFGS(Solver):
    """L-BFGS: the default for noises without residuals, such as one that integrates an object out.

    Attributes:
        tolerance: a start has converged when the last step lowered the cost (minus twice the log posterior) by less
            than this and the next one is predicted to.
        relative_tolerance: the same as a fraction of the cost.
        memory: steps that are remembered.
        max_iterations: see `Solver`, as for the rest.
    """

    max_iterations: int = 1000
    covariance: str = eqx.field(static=True, default="none")
    tolerance: float = 1e-3
    relative_tolerance: float = 1e-6
    memory: int = eqx.field(static=True, default=10)

    def init(self, objective: Objective, vector: Array) -> _State:
        start = objective.inside(vector)
        zeros = jnp.zeros((self.memory, len(start)), start.dtype)
        number = lambda x: jnp.asarray(x, start.dtype)  # noqa: E731
        return _State(
            start, number(jnp.inf), zeros[0], zeros, zeros, zeros[0], number(1), start, number(jnp.inf),
            jnp.asarray(False),
        )  # fmt: skip

    def step(self, objective: Objective, state: _State) -> _State:
        coordinates = objective.coordinates
        scale = objective.scale().astype(state.vector.dtype)
        cost, gradient = objective.slope(state.proposal)
        gradient = scale * gradient
        fresh = jnp.isinf(state.cost)
        move = (state.proposal - state.vector) / scale
        planned = state.length * state.direction
        # Where a symmetry or a circle has taken the point elsewhere, the move says nothing of curvature.
        folded = jnp.any(jnp.abs(move - planned) > jnp.abs(planned) * (1 + 1e-3) + 1e-6)
        move = jnp.where(folded, planned, move)
        slope = 2 * jnp.sum(state.gradient * move)
        rounding = 4 * jnp.finfo(cost.dtype).eps * jnp.abs(state.cost)
        fine = jnp.isfinite(cost) & jnp.all(jnp.isfinite(gradient))
        accepted = fine & (fresh | (cost <= state.cost + _ENOUGH * slope + rounding))

        # Accepted: remember, and look into a new direction.
        change = gradient - state.gradient
        bent = accepted & ~fresh & ~folded & (jnp.sum(move * change) > 1e-6 * jnp.sum(move**2))
        moves, changes = (
            jnp.where(bent, jnp.concatenate([old[1:], new[None]]), jnp.where(accepted & folded, 0, old))
            for old, new in ((state.moves, move), (state.changes, change))
        )
        vector = jnp.where(accepted, state.proposal, state.vector)
        gradient = jnp.where(accepted, gradient, state.gradient)
        # Rejected: shorter, by the parabola through what is known; at last, downhill with an empty memory.
        curvature = cost - state.cost - slope
        shorter = jnp.where(fine & (curvature > 0), -slope / (2 * curvature), 0.1)
        # Where the slope has not flattened nothing says how far to go: twice as far as the last time.
        longer = jnp.where(bent | fresh | folded, 1, jnp.minimum(2 * state.length, _LONGEST))
        length = jnp.where(accepted, longer, state.length * jnp.clip(shorter, 0.1, 0.5))
        failed = ~accepted & (length < _SHORTEST)
        empty = ~jnp.any(state.moves)
        moves, changes = (jnp.where(failed, 0, x) for x in (moves, changes))
        length = jnp.where(failed, 1, length)

        free = ~coordinates.held(vector, gradient / scale)
        direction = _direction(moves, changes, jnp.where(free, gradient, 0), free)
        direction = jnp.where(accepted | failed, direction, state.direction)
        gain = -jnp.sum(gradient * direction)  # for a quadratic objective of which the memory is right
        fallen = jnp.where(accepted, state.cost - cost, state.fallen)
        cost = jnp.where(accepted, cost, state.cost)
        little = self.tolerance + self.relative_tolerance * jnp.abs(cost)
        remembers = jnp.any(moves) | ~jnp.any(direction)
        settled = accepted & ~fresh & remembers & (gain < little) & (fallen < little)
        return _State(
            vector=vector,
            cost=cost,
            gradient=gradient,
            moves=moves,
            changes=changes,
            direction=direction,
            length=length.astype(cost.dtype),
            proposal=objective.inside(vector + scale * length * direction),
            fallen=fallen,
            converged=settled | (failed & empty & ~fresh),
        )

    def done(self, state: _State) -> Array:
        return state.converged

    def answer(self, objective: Objective, state: _State) -> Answer:
        return Answer(state.vector, state.vector, state.cost, None)


def descend(
    objective: Objective, vector: Array, steps: Array | int, solver: LBFGS | None = None
) -> tuple[Array, Array, Array]:
    """Down from a point by so many steps at most, as a pure function.

    Args:
        objective: of one object.
        vector: `(size,)` where to start, in coordinates.
        steps: evaluations of the objective at most; may be traced.
        solver: with its tolerances.

    Returns:
        The best point, the cost there, and how often the objective was evaluated.
    """
    solver = solver or LBFGS()

    begin = solver.init(objective, vector)
    state, count = fixed_point.until(lambda s: solver.step(objective, s), lambda s: s.converged, begin, steps)
    return state.vector, state.cost, count


def _direction(moves: Array, changes: Array, gradient: Array, free: Array) -> Array:
    """Minus the inverse Hessian that moves and changes imply, times the gradient, in the free elements."""
    moves, changes = moves * free, changes * free
    product, square = jnp.sum(moves * changes, axis=1), jnp.sum(changes**2, axis=1)
    usable = product > 1e-6 * jnp.sum(moves**2, axis=1)
    weight = jnp.where(usable, 1 / jnp.where(usable, product, 1), 0)

    def back(q: Array, pair: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        move, change, weight = pair
        part = weight * jnp.sum(move * q)
        return q - part * change, part

    q, parts = jax.lax.scan(back, gradient, (moves, changes, weight), reverse=True)
    newest = len(usable) - 1 - jnp.argmax(usable[::-1])
    size = jnp.sqrt(jnp.sum(gradient**2))
    first = jnp.minimum(1, _FIRST / jnp.where(size > 0, size, 1))
    q = q * jnp.where(jnp.any(usable), product[newest] / jnp.where(usable[newest], square[newest], 1), first)

    def forth(q: Array, pair: tuple[Array, Array, Array, Array]) -> tuple[Array, None]:
        move, change, weight, part = pair
        return q + (part - weight * jnp.sum(change * q)) * move, None

    return -jax.lax.scan(forth, q, (moves, changes, weight, parts))[0]
