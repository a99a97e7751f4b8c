"""A solver over a batch of objects one after another: for images, each of which fills the machine."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxinv.optimize import fixed_point
from jaxinv.optimize.lanes import Best
from jaxinv.optimize.objective import Objective
from jaxinv.optimize.solver import Solver
from jaxinv.problem import Problem


def run(solver: Solver, objective: Objective, vector: Array) -> tuple[Any, Array]:
    """The last state of one object from one start, and the number of steps."""
    return fixed_point.until(
        lambda state: solver.step(objective, state),
        lambda state: solver.done(state) | solver.lost(objective, state),
        solver.init(objective, vector),
        solver.max_iterations,
    )


def run_each(solver: Solver, problem: Problem, starts: Array, data: Any, known: Any, wanted: Array) -> Best:
    """As `lanes.run`, from the first start of each object."""

    def one(item: Any) -> Best:
        start, data, known = item
        objective = Objective(problem, data, known)
        state, count = run(solver, objective, start)
        converged = solver.done(state) & ~solver.lost(objective, state)
        return Best(solver.answer(objective, state), converged, count, jnp.ones((), jnp.int32))

    def if_wanted(item: Any) -> Best:
        inputs, wanted = item
        shape = jax.eval_shape(one, inputs)

        def nothing(_: Any) -> Best:
            blank = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shape)
            return blank._replace(answer=blank.answer._replace(cost=jnp.full_like(blank.answer.cost, jnp.inf)))

        return jax.lax.cond(wanted, one, nothing, inputs)

    if len(wanted) == 1:
        return jax.tree.map(lambda x: x[None], one(jax.tree.map(lambda x: x[0], (starts[:, 0], data, known))))
    return jax.lax.map(if_wanted, ((starts[:, 0], data, known), wanted))
