"""Any solver over a batch of independent objects, in one compiled loop that no object has to wait in.

The loop works on a fixed number of lanes. A lane whose object has converged from one start goes on to the object's next
start; a lane whose object is finished writes its result and takes the next object from the queue. So the compiled
program does no work for finished objects, and hard ones cost only themselves.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxinv.linearization import MOST_DENSE
from jaxinv.optimize.objective import Objective
from jaxinv.optimize.solver import Answer, Solver
from jaxinv.problem import Problem

_FAR_ABOVE = 0.5
"""Of the best cost: where a further start is given up."""
_FEW_SAMPLES = 256
"""Of one object, of which a CPU's cache holds twice as many objects."""
_CACHED = 2**19
"""Numbers that a CPU's cache holds of what a model works with."""
_NUMBERS = 2**24
"""Of Jacobians at the same time on a CPU; an accelerator has room for 64 times as many."""


class Best(NamedTuple):
    """What became of each object.

    Attributes:
        answer: of its best start.
        converged: whether that one has.
        evaluations: of the model, from all starts.
        starts: taken.
    """

    answer: Answer
    converged: Array
    evaluations: Array
    starts: Array


class _Lanes(NamedTuple):
    """Of every lane; all arrays `(n_lanes, ...)`."""

    object: Array  # index into the queue; the number of those wanted when idle
    start: Array
    age: Array  # steps since this start began
    state: Any
    best: Best


def run(solver: Solver, problem: Problem, starts: Array, data: Any, known: Any, expected: Array, wanted: Array) -> Best:
    """Minimize the objective of every object of a batch.

    Args:
        solver: of one object.
        problem: without what is known for each object.
        starts: `(n, n_starts, size)` starting points, in the problem's coordinates.
        data: pytree with leading axis n: what `problem.noise` accepts.
        known: dict of parameters known for each object, leading axis n.
        expected: `(n,)` the cost below which no further start is needed.
        wanted: `(n,)`; the others are left out.

    Returns:
        With leading axis n.
    """
    n, n_starts, size = starts.shape

    def one(function: Any) -> Any:
        return jax.vmap(lambda data, known, *inputs: function(Objective(problem, data, known), *inputs))

    init, advance, answer_of = one(solver.init), one(solver.step), one(solver.answer)

    def take(tree: Any, index: Array) -> Any:
        return jax.tree.map(lambda x: x.at[index].get(mode="clip"), tree)

    order = jnp.argsort(~wanted, stable=True)
    n_wanted = jnp.sum(wanted, dtype=jnp.int32)

    def step(carry: tuple[_Lanes, Best, Array]) -> tuple[_Lanes, Best, Array]:
        lanes, results, queue = carry
        objects = order.at[lanes.object].get(mode="clip")
        mine = take(data, objects), take(known, objects)
        first = starts.at[objects, lanes.start].get(mode="clip")
        fresh = lanes.age == 0
        state = advance(*mine, _where(fresh, init(*mine, first), lanes.state))
        answer = answer_of(*mine, state)
        age = lanes.age + 1
        converged = jax.vmap(solver.done)(state)
        best = lanes.best._replace(evaluations=lanes.best.evaluations + 1)
        found = best.answer.cost  # infinite before the first start has ended
        usable = jnp.isfinite(answer.cost)
        hopeless = (age >= solver.patience) & (answer.cost - found > _FAR_ABOVE * jnp.abs(found))
        ended = converged | hopeless | (age >= solver.max_iterations) | ~usable
        again = ended & (jnp.abs(answer.cost - found) < solver.agreement * jnp.abs(jnp.minimum(answer.cost, found)))
        better = ended & usable & ((answer.cost < found) | (best.starts == 0))
        best = _where(better, Best(answer, converged, best.evaluations, best.starts), best)
        best = best._replace(starts=best.starts + ended)
        good = best.converged & (best.answer.cost <= take(expected, objects))
        finished = ended & (good | again | (best.starts >= n_starts)) & (lanes.object < n_wanted)
        index = jnp.where(finished, objects, n)
        results = jax.tree.map(lambda out, x: out.at[index].set(x, mode="drop"), results, best)
        rank = jnp.cumsum(finished) - 1
        following = jnp.minimum(queue + rank, n_wanted).astype(queue.dtype)
        lanes = _Lanes(
            object=jnp.where(finished, following, lanes.object),
            start=jnp.where(finished, 0, lanes.start + ended),
            age=jnp.where(ended, 0, age),
            state=state,
            best=_where(finished, blank, best),
        )
        return lanes, results, jnp.minimum(queue + jnp.sum(finished, dtype=queue.dtype), n_wanted)

    samples, working = int(np.prod(jax.tree.leaves(data)[0].shape[1:])), problem.forward.knowledge.working_set
    n_lanes = min(solver.lanes or _room(samples, size, working), n)
    some = jax.tree.map(lambda x: x[:n_lanes], (data, known, starts[:, 0]))
    shape = jax.eval_shape(init, *some)

    def empty(tree: Any, count: int) -> Any:
        return jax.tree.map(lambda x: jnp.zeros((count, *x.shape[1:]), x.dtype), tree)

    def nothing(count: int) -> Best:
        answer = empty(jax.eval_shape(answer_of, *some[:2], shape), count)
        zeros = jnp.zeros(count, jnp.int32)
        return Best(answer._replace(cost=jnp.full_like(answer.cost, jnp.inf)), zeros.astype(bool), zeros, zeros)

    blank = nothing(n_lanes)
    zeros = jnp.zeros(n_lanes, jnp.int32)
    lanes = _Lanes(
        object=jnp.minimum(jnp.arange(n_lanes, dtype=jnp.int32), n_wanted),
        start=zeros,
        age=zeros,
        state=empty(shape, n_lanes),
        best=blank,
    )
    carry = (lanes, nothing(n), jnp.minimum(jnp.asarray(n_lanes, jnp.int32), n_wanted))
    return jax.lax.while_loop(lambda carry: jnp.any(carry[0].object < n_wanted), step, carry)[1]


def together(working: int) -> int:
    """Objects that are best worked on together, by the numbers that the model holds for each."""
    if not working or jax.default_backend() != "cpu":
        return 2**31
    return max(_CACHED // working, 2)  # one alone would be compiled to something slower


def _room(samples: int, size: int, working: int) -> int:
    """Lanes that one device has room for."""
    cpu = jax.default_backend() == "cpu"
    most = (64 if samples <= _FEW_SAMPLES else 32) if cpu else 16384
    numbers = max(samples, 1) * min(size, MOST_DENSE)
    most = min(most, together(working))
    return max(min(most, _NUMBERS * (1 if cpu else 64) // (numbers + working)), 1)


def _where(condition: Array, yes: Any, no: Any) -> Any:
    def choose(a: Array, b: Array) -> Array:
        return jnp.where(condition.reshape(condition.shape + (1,) * (a.ndim - 1)), a, b)

    return jax.tree.map(choose, yes, no)
