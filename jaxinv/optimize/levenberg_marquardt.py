"""Levenberg-Marquardt over a batch of independent problems, in one compiled loop that no problem has to wait in.

Each step solves the damped normal equations (Marquardt 1963, J. SIAM 11, 431)

    (J^T J + C + damping diag(J^T J + C)) step = -(J^T r + c)

for whitened residuals r with Jacobian J and, where a prior is not flat, its negative log density's gradient c and
curvature C. Steps are taken in the problem's coordinates, in which it is as round as the physics can make it; what has
a closed-form best value is set to it wherever the model is evaluated (`closed_form`). Points stay inside the support: a
step is mapped to the equivalent or nearest point of it, and a parameter that sits on a bound and would leave it takes
no part in the step (Bertsekas 1982, SIAM J. Control Optim. 20, 221).

The loop works on a fixed number of lanes. A lane whose problem has converged from one start goes on to the problem's
next start; a lane whose problem is finished writes its result and takes the next problem from the queue. So the
compiled program does no work for finished problems, and hard ones cost only themselves.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxinv.optimize import closed_form
from jaxinv.optimize.normal import Normal, normal_of, with_prior
from jaxinv.problem import Problem
from jaxinv.small_matrices import cholesky, cholesky_solve, lapack_work

_FAR_ABOVE = 0.5
"""Of the best misfit: where a further start is given up."""
_FEW_SAMPLES = 256
"""Of one object, of which a CPU's cache holds twice as many objects."""


class LevenbergMarquardt(eqx.Module):
    """Settings of the solver.

    Attributes:
        max_iterations: model evaluations allowed from one start.
        tolerance: a start has converged when the next step, at a damping below 0.1, is predicted to lower the sum of
            squared residuals by less than this, in units of the noise: 0.1 is a third of a standard error. That step
            is still taken, without another look: it leaves far less than it gains.
        relative_tolerance: the same as a fraction of the sum; it ends the fit of data that the model cannot describe.
        damping: the first damping.
        increase: factor on the damping after a rejected step.
        decrease: divisor of the damping after an accepted step.
        n_starts: starting points at most: the forward model's estimates, then draws from the prior.
        good_enough: no further start is taken once the misfit per sample is below 1 + `good_enough` standard deviations
            of a misfit that is due to noise alone, sqrt(2 / n_samples).
        enough: nor once the misfit per sample is below this: what other objects of the kind reach, for data that the
            model cannot describe to within the noise.
        agreement: nor once two starts ended with misfits that differ by less than this fraction.
        patience: evaluations after which a further start is given up, if its misfit is still half above the best.
        lanes: problems worked on at the same time on one device; 0: on a CPU what its cache holds (64, or 32 of more
            than 256 samples), 16384 on an accelerator.
    """

    max_iterations: int = eqx.field(static=True, default=150)
    tolerance: float = 0.1
    relative_tolerance: float = 1e-4
    damping: float = 0.3
    increase: float = 10.0
    decrease: float = 30.0
    n_starts: int = eqx.field(static=True, default=4)
    good_enough: float = 3.0
    enough: float = 0.0
    agreement: float = 1e-3
    patience: float = 15.0
    lanes: int = eqx.field(static=True, default=0)


def lapack_of(problem: Problem) -> int:
    """What `devices.over_devices` has to be told of a program that takes damped steps of this problem."""
    return lapack_work(sum(problem.layout.sizes))


class Result(NamedTuple):
    """What became of each problem, in the parameters' units and the order of `Layout`."""

    vector: Array
    normal: Normal
    converged: Array
    evaluations: Array
    starts: Array


class _Best(NamedTuple):
    """The best start of a problem so far, in coordinates."""

    vector: Array
    last: Array  # where the last step led, which was not looked at
    normal: Normal  # at `vector`, in the parameters' units
    converged: Array
    evaluations: Array
    starts: Array


class _Lanes(NamedTuple):
    """The state of every lane; all arrays `(n_lanes, ...)`."""

    problem: Array  # index into the queue; n_problems when idle
    start: Array
    age: Array  # evaluations since this start began; 0: the start itself has not been evaluated
    vector: Array
    proposal: Array  # where to evaluate next
    normal: Normal
    damping: Array
    best: _Best


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


def solve(
    settings: LevenbergMarquardt, problem: Problem, starts: Array, data: Any, known: Any, expected: Array, wanted: Array
) -> tuple[Result, Array]:
    """Minimize every problem of a batch.

    Args:
        settings: of the solver.
        problem: without what is known for each object.
        starts: `(n, n_starts, n_coordinates)` starting points, in the problem's coordinates.
        data: pytree with leading axis n: what `problem.noise` accepts.
        known: dict of parameters known for each object, leading axis n.
        expected: `(n,)` the cost below which no further start is needed.
        wanted: `(n,)`; the others are left out.

    Returns:
        Result with leading axis n, and `(n, n_free)` where the last step led: a point that was not looked at, with a
        predicted cost that is lower by less than the tolerance.
    """
    coordinates, layout = problem.coordinates, problem.layout
    scale = coordinates.scale().astype(starts.dtype)
    n, n_starts, size = starts.shape

    def inside(vector: Array, known: Any) -> Array:
        if not coordinates.folds:
            vector = coordinates.vector(problem.canonical({**known, **coordinates.parameters(vector)}))
        return coordinates.project(vector)

    def propose(vector: Array, normal: Normal, damping: Array, known: Any) -> tuple[Array, Array]:
        chain = coordinates.chain(vector) * scale
        gradient = jnp.matmul(normal.gradient, chain, precision="highest")
        curvature = jnp.matmul(chain.T, jnp.matmul(normal.curvature, chain, precision="highest"), precision="highest")
        step, gain = damped_step(Normal(normal.cost, gradient, curvature), damping, coordinates.held(vector, gradient))
        return inside(vector + step * scale, known), gain

    def evaluate(vector: Array, data: Any, known: Any) -> tuple[Array, Normal]:
        parameters = coordinates.parameters(vector)
        found = problem.linearize({**known, **parameters})
        parameters, data = closed_form.turned(problem, parameters, found.prediction, data)
        normal = normal_of(problem, None, found, data)
        parameters, normal = closed_form.regressed(problem, parameters, normal)
        normal = with_prior(problem, layout, None, layout.ravel(parameters), normal)
        return coordinates.vector(parameters) if any(closed_form.of(problem)) else vector, normal

    def take(tree: Any, index: Array) -> Any:
        return jax.tree.map(lambda x: x.at[index].get(mode="clip"), tree)

    order = jnp.argsort(~wanted, stable=True)
    n_wanted = jnp.sum(wanted, dtype=jnp.int32)

    def step(carry: tuple[_Lanes, _Best, Array]) -> tuple[_Lanes, _Best, Array]:
        lanes, results, queue = carry
        problems = order.at[lanes.problem].get(mode="clip")
        lane_data, lane_known = take(data, problems), take(known, problems)
        fresh = lanes.age == 0
        first = starts.at[problems, lanes.start].get(mode="clip")
        trial = jnp.where(fresh[:, None], jax.vmap(inside)(first, lane_known), lanes.proposal)
        trial, normal = jax.vmap(evaluate)(trial, lane_data, lane_known)
        accepted = jnp.isfinite(normal.cost) & (fresh | (normal.cost <= lanes.normal.cost))
        damping = jnp.where(accepted, lanes.damping / settings.decrease, lanes.damping * settings.increase)
        damping = jnp.where(fresh, settings.damping, jnp.maximum(damping, 1e-7))
        vector = _where(accepted, trial, lanes.vector)
        normal = _where(accepted, normal, lanes.normal)
        proposal, gain = jax.vmap(propose)(vector, normal, damping, lane_known)
        age = lanes.age + 1
        negligible = (gain < settings.tolerance + settings.relative_tolerance * normal.cost) & (damping < 0.1)
        converged = ~fresh & (negligible | (damping > 1e6))
        best = lanes.best._replace(evaluations=lanes.best.evaluations + 1)
        found = best.normal.cost  # infinite before the first start has ended
        hopeless = (age >= settings.patience) & (normal.cost - found > _FAR_ABOVE * jnp.abs(found))
        ended = converged | hopeless | (age >= settings.max_iterations) | (fresh & ~accepted)
        usable = accepted | ~fresh
        again = ended & (jnp.abs(normal.cost - found) < settings.agreement * jnp.minimum(normal.cost, found))
        better = ended & usable & ((normal.cost < best.normal.cost) | (best.starts == 0))
        last = _where(negligible, proposal, vector)
        candidate = _Best(vector, last, normal, converged, best.evaluations, best.starts)
        best = _where(better, candidate, best)
        best = best._replace(starts=best.starts + ended)
        good = best.converged & (best.normal.cost <= take(expected, problems))
        finished = ended & (good | again | (best.starts >= n_starts)) & (lanes.problem < n_wanted)
        index = jnp.where(finished, problems, n)
        results = jax.tree.map(lambda out, x: out.at[index].set(x, mode="drop"), results, best)
        rank = jnp.cumsum(finished) - 1
        following = jnp.minimum(queue + rank, n_wanted).astype(queue.dtype)
        lanes = _Lanes(
            problem=jnp.where(finished, following, lanes.problem),
            start=jnp.where(finished, 0, lanes.start + ended),
            age=jnp.where(ended, 0, age),
            vector=vector,
            proposal=proposal,
            normal=normal,
            damping=damping,
            best=_where(finished, blank, best),
        )
        return lanes, results, jnp.minimum(queue + jnp.sum(finished, dtype=queue.dtype), n_wanted)

    samples = int(np.prod(jax.tree.leaves(data)[0].shape[1:]))
    cache = 64 if samples <= _FEW_SAMPLES else 32
    n_lanes = min(settings.lanes or (cache if jax.default_backend() == "cpu" else 16384), n)
    dtype = starts.dtype

    def empty(count: int) -> _Best:
        n_free = sum(layout.sizes)
        normal = Normal(
            jnp.full(count, jnp.inf, dtype),
            jnp.zeros((count, n_free), dtype),
            jnp.zeros((count, n_free, n_free), dtype),
        )
        zeros = jnp.zeros(count, jnp.int32)
        vector = jnp.broadcast_to(starts[0, 0], (count, size))
        return _Best(vector, vector, normal, zeros.astype(bool), zeros, zeros)

    blank = empty(n_lanes)
    zeros = jnp.zeros(n_lanes, jnp.int32)
    lanes = _Lanes(
        problem=jnp.minimum(jnp.arange(n_lanes, dtype=jnp.int32), n_wanted),
        start=zeros,
        age=zeros,
        vector=blank.vector,
        proposal=blank.vector,
        normal=blank.normal,
        damping=jnp.full(n_lanes, settings.damping, dtype),
        best=blank,
    )
    carry = (lanes, empty(n), jnp.minimum(jnp.asarray(n_lanes, jnp.int32), n_wanted))
    _, best, _ = jax.lax.while_loop(lambda carry: jnp.any(carry[0].problem < n_wanted), step, carry)
    vector, last = (jax.vmap(lambda x: layout.ravel(coordinates.parameters(x)))(x) for x in (best.vector, best.last))
    return Result(vector, best.normal, best.converged, best.evaluations, best.starts), last


def _where(condition: Array, yes: Any, no: Any) -> Any:
    def choose(a: Array, b: Array) -> Array:
        return jnp.where(condition.reshape(condition.shape + (1,) * (a.ndim - 1)), a, b)

    return jax.tree.map(choose, yes, no)
