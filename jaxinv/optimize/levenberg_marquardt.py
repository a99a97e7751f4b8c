"""Levenberg-Marquardt over a batch of independent problems, in one compiled loop that no problem has to wait in.

Each step solves the damped normal equations (Marquardt 1963, J. SIAM 11, 431)

    (J^T J + C + damping diag(J^T J + C)) step = -(J^T r + c)

for whitened residuals r with Jacobian J and, where a prior is not flat, its negative log density's gradient c and
curvature C. Parameters stay inside their bounds: a step is mapped to the equivalent or nearest point of the support,
and a parameter that sits on a bound and would leave it takes no part in the step (Bertsekas 1982, SIAM J. Control
Optim. 20, 221).

The loop works on a fixed number of lanes. A lane whose problem has converged from one start goes on to the problem's
next start; a lane whose problem is finished writes its result and takes the next problem from the queue. So the
compiled program does no work for finished problems, and hard ones cost only themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.scipy.linalg
import numpy as np
from jaxtyping import Array

from jaxinv import priors
from jaxinv.problem import Problem
from jaxinv.small_matrices import cholesky, cholesky_solve, lapack_work, positive_part


class LevenbergMarquardt(eqx.Module):
    """Settings of the solver.

    Attributes:
        max_iterations: model evaluations allowed from one start.
        tolerance: a start has converged when the next step, at a damping below 0.1, is predicted to lower the sum of
            squared residuals by less than this, in units of the noise: 0.01 is a tenth of a standard error.
        relative_tolerance: the same as a fraction of the sum; it ends the fit of data that the model cannot describe.
        damping: the first damping.
        increase: factor on the damping after a rejected step.
        decrease: divisor of the damping after an accepted step.
        n_starts: starting points at most: the forward model's estimates, then draws from the prior.
        good_enough: no further start is taken once the misfit per sample is below 1 + `good_enough` standard deviations
            of a misfit that is due to noise alone, sqrt(2 / n_samples).
        agreement: nor once two starts ended with misfits that differ by less than this fraction.
        lanes: problems worked on at the same time on one device; 0: 64 on a CPU, 16384 on an accelerator.
    """

    max_iterations: int = eqx.field(static=True, default=150)
    tolerance: float = 1e-2
    relative_tolerance: float = 1e-5
    damping: float = 0.1
    increase: float = 5.0
    decrease: float = 8.0
    n_starts: int = eqx.field(static=True, default=4)
    good_enough: float = 2.0
    agreement: float = 1e-3
    lanes: int = eqx.field(static=True, default=0)


class Layout(NamedTuple):
    """How the inferred parameters lie in one vector; hashable."""

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @staticmethod
    def of(problem: Problem) -> Layout:
        """The layout of a problem's inferred parameters, in the forward model's order."""
        return Layout(problem.names, tuple(tuple(problem.prior[name].shape()) for name in problem.names))

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(int(np.prod(shape)) for shape in self.shapes)

    @property
    def labels(self) -> tuple[str, ...]:
        """One for each element: the name, with its index where the parameter is an array."""
        out: list[str] = []
        for name, shape in zip(self.names, self.shapes, strict=True):
            out += [name + (str(list(index)) if shape else "") for index in np.ndindex(*shape)]
        return tuple(out)

    def ravel(self, parameters: Any) -> Array:
        """`(n_free,)` from named arrays."""
        return jnp.concatenate([jnp.ravel(jnp.asarray(parameters[name])) for name in self.names])

    def unravel(self, vector: Array) -> dict[str, Array]:
        """Named arrays from `(n_free,)`."""
        parts = jnp.split(vector, np.cumsum(self.sizes)[:-1])
        return {n: jnp.reshape(x, shape) for n, x, shape in zip(self.names, parts, self.shapes, strict=True)}


def lapack_of(problem: Problem) -> int:
    """What `devices.over_devices` has to be told of a program that takes damped steps of this problem."""
    return lapack_work(sum(Layout.of(problem).sizes))


class Normal(NamedTuple):
    """A quadratic model of the objective at a point, in scaled parameters: cost, gradient and curvature."""

    cost: Array
    gradient: Array
    curvature: Array


class Result(NamedTuple):
    """What the loop returns for each problem, in scaled parameters."""

    vector: Array
    normal: Normal
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
    best: Result


def scales(problem: Problem, layout: Layout) -> Array:
    """A typical size of each inferred scalar, `(n_free,)`: the prior's standard deviation where it is finite."""
    out = []
    for name in layout.names:
        distribution = problem.prior[name]
        deviation = jnp.sqrt(jnp.broadcast_to(jnp.asarray(distribution.variance, float), distribution.shape()))
        out.append(jnp.ravel(jnp.where(jnp.isfinite(deviation) & (deviation > 0), deviation, 1.0)))
    return jnp.concatenate(out)


def quadratic_model(problem: Problem, layout: Layout, scale: Array, vector: Array, data: Any, known: Any) -> Normal:
    """The objective of one problem at `vector` and its first two derivatives.

    Cost |r|^2 - 2 log(prior / prior at its centre), half its gradient, and half its Gauss-Newton Hessian.
    """
    parameters = layout.unravel(vector * scale)
    prediction, jacobian = problem.linearize({**known, **parameters})
    # Rows keep the prediction's shape: flattened before they are stacked, each would be computed element by element.
    rows = jnp.concatenate(
        [
            jacobian[name][None] if shape == () else _leading(jacobian[name], prediction.ndim)
            for name, shape in zip(layout.names, layout.shapes, strict=True)
        ]
    )

    def whiten(prediction: Array) -> Array:
        return problem.noise.residual(prediction, data)

    residual = whiten(prediction)
    rows = jax.vmap(lambda row: jax.jvp(whiten, (prediction,), (row,))[1])(rows)
    rows = rows * jnp.reshape(scale, (-1,) + (1,) * prediction.ndim)
    axes = list(range(-prediction.ndim, 0))

    def product(a: Array, b: Array) -> Array:
        return jnp.tensordot(a, b, (axes, axes), precision="highest")  # an accelerator would round to fewer digits

    normal = Normal(jnp.sum(residual**2), product(rows, residual), product(rows, rows))
    return _add_prior(problem, layout, scale, vector, normal)


def _leading(column: Array, ndim: int) -> Array:
    """`(*prediction_shape, *parameter_shape)` as `(parameter_size, *prediction_shape)`."""
    return jnp.moveaxis(column.reshape(*column.shape[:ndim], -1), -1, 0)


def _add_prior(problem: Problem, layout: Layout, scale: Array, vector: Array, normal: Normal) -> Normal:
    if all(priors.is_flat(problem.prior[name]) for name in layout.names):
        return normal
    values, slopes, curvatures = [], [], []
    ends = np.cumsum(layout.sizes)
    for name, shape, end, n in zip(layout.names, layout.shapes, ends, layout.sizes):
        distribution, here = problem.prior[name], slice(end - n, end)
        if priors.is_flat(distribution):
            slopes.append(jnp.zeros(n, vector.dtype))
            curvatures.append(jnp.zeros((n, n), vector.dtype))
            continue

        def cost(part: Array, distribution: Any = distribution, shape: Any = shape, here: Any = here) -> Array:
            value = jnp.reshape(part * scale[here], shape)
            # Not priors.log_density: on the edge of the support, where a bound holds a parameter, it may be -inf.
            return -jnp.sum(distribution.log_prob(value) - distribution.log_prob(priors.centre(distribution)))

        value, slope = jax.value_and_grad(cost)(vector[here])
        values.append(value)
        slopes.append(slope)
        curvatures.append(_convex_curvature(cost, vector[here], separable=not distribution.event_shape))
    return Normal(
        normal.cost + 2 * sum(values),
        normal.gradient + jnp.concatenate(slopes),
        normal.curvature + jax.scipy.linalg.block_diag(*curvatures),
    )


def _convex_curvature(cost: Callable[[Array], Array], at: Array, *, separable: bool) -> Array:
    """The Hessian of a prior's negative log density, `(n, n)`, without what would make a step go uphill."""
    if separable:  # a sum over elements
        return jnp.diag(jnp.maximum(jax.jvp(jax.grad(cost), (at,), (jnp.ones_like(at),))[1], 0))
    return positive_part(jax.hessian(cost)(at))


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
    settings: LevenbergMarquardt, problem: Problem, starts: Array, data: Any, known: Any, expected: Array
) -> Result:
    """Minimize every problem of a batch.

    Args:
        settings: of the solver.
        problem: without what is known for each object.
        starts: `(n, n_starts, n_free)` starting points in the parameters' units.
        data: pytree with leading axis n: what `problem.noise` accepts.
        known: dict of parameters known for each object, leading axis n.
        expected: `(n,)` the cost below which no further start is needed.

    Returns:
        Result with leading axis n, in parameters divided by `scales`.
    """
    layout = Layout.of(problem)
    scale = scales(problem, layout).astype(starts.dtype)
    n, n_starts, n_free = starts.shape
    lower, upper = (
        jnp.concatenate([jnp.ravel(priors.bounds(problem.prior[name])[side]) for name in layout.names]).astype(
            starts.dtype
        )
        / scale
        for side in (0, 1)
    )
    cyclic = np.concatenate(
        [np.full(size, isinstance(problem.prior[n], priors.Cyclic)) for n, size in zip(layout.names, layout.sizes)]
    )

    def inside(vector: Array, known: Any) -> Array:
        parameters = problem.canonical({**known, **layout.unravel(vector * scale)})
        return jnp.clip(layout.ravel(parameters) / scale, lower, upper)

    def propose(vector: Array, normal: Normal, damping: Array, known: Any) -> tuple[Array, Array]:
        leaving = ((vector <= lower) & (normal.gradient > 0)) | ((vector >= upper) & (normal.gradient < 0))
        step, gain = damped_step(normal, damping, leaving & ~cyclic)
        return inside(vector + step, known), gain

    def evaluate(vector: Array, data: Any, known: Any) -> Normal:
        return quadratic_model(problem, layout, scale, vector, data, known)

    def take(tree: Any, index: Array) -> Any:
        return jax.tree.map(lambda x: x.at[index].get(mode="clip"), tree)

    def step(carry: tuple[_Lanes, Result, Array]) -> tuple[_Lanes, Result, Array]:
        lanes, results, queue = carry
        lane_data, lane_known = take(data, lanes.problem), take(known, lanes.problem)
        fresh = lanes.age == 0
        first = starts.at[lanes.problem, lanes.start].get(mode="clip") / scale
        trial = jnp.where(fresh[:, None], jax.vmap(inside)(first, lane_known), lanes.proposal)
        normal = jax.vmap(evaluate)(trial, lane_data, lane_known)
        accepted = jnp.isfinite(normal.cost) & (fresh | (normal.cost <= lanes.normal.cost))
        damping = jnp.where(accepted, lanes.damping / settings.decrease, lanes.damping * settings.increase)
        damping = jnp.where(fresh, settings.damping, jnp.maximum(damping, 1e-7))
        vector = _where(accepted, trial, lanes.vector)
        normal = _where(accepted, normal, lanes.normal)
        proposal, gain = jax.vmap(propose)(vector, normal, damping, lane_known)
        age = lanes.age + 1
        negligible = gain < settings.tolerance + settings.relative_tolerance * normal.cost
        stuck = damping > 1e6
        converged = ~fresh & ((negligible & (damping < 0.1)) | stuck)
        ended = converged | (age >= settings.max_iterations) | (fresh & ~accepted)
        usable = accepted | ~fresh
        best = lanes.best._replace(evaluations=lanes.best.evaluations + 1)
        found = best.normal.cost  # infinite before the first start has ended
        again = ended & (jnp.abs(normal.cost - found) < settings.agreement * jnp.minimum(normal.cost, found))
        better = ended & usable & ((normal.cost < best.normal.cost) | (best.starts == 0))
        candidate = Result(vector, normal, converged, best.evaluations, best.starts)
        best = _where(better, candidate, best)
        best = best._replace(starts=best.starts + ended)
        good = best.converged & (best.normal.cost <= take(expected, lanes.problem))
        finished = ended & (good | again | (best.starts >= n_starts)) & (lanes.problem < n)
        index = jnp.where(finished, lanes.problem, n)
        results = jax.tree.map(lambda out, x: out.at[index].set(x, mode="drop"), results, best)
        rank = jnp.cumsum(finished) - 1
        following = jnp.minimum(queue + rank, n).astype(queue.dtype)
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
        return lanes, results, jnp.minimum(queue + jnp.sum(finished, dtype=queue.dtype), n)

    n_lanes = min(settings.lanes or (64 if jax.default_backend() == "cpu" else 16384), n)
    dtype = starts.dtype

    def empty(count: int) -> Result:
        normal = Normal(
            jnp.full(count, jnp.inf, dtype),
            jnp.zeros((count, n_free), dtype),
            jnp.zeros((count, n_free, n_free), dtype),
        )
        zeros = jnp.zeros(count, jnp.int32)
        return Result(jnp.zeros((count, n_free), dtype), normal, zeros.astype(bool), zeros, zeros)

    blank = empty(n_lanes)
    zeros = jnp.zeros(n_lanes, jnp.int32)
    lanes = _Lanes(
        problem=jnp.arange(n_lanes, dtype=jnp.int32),
        start=zeros,
        age=zeros,
        vector=blank.vector,
        proposal=blank.vector,
        normal=blank.normal,
        damping=jnp.full(n_lanes, settings.damping, dtype),
        best=blank,
    )
    carry = (lanes, empty(n), jnp.asarray(n_lanes, jnp.int32))
    _, results, _ = jax.lax.while_loop(lambda carry: jnp.any(carry[0].problem < n), step, carry)
    return results


def _where(condition: Array, yes: Any, no: Any) -> Any:
    def choose(a: Array, b: Array) -> Array:
        return jnp.where(condition.reshape(condition.shape + (1,) * (a.ndim - 1)), a, b)

    return jax.tree.map(choose, yes, no)
