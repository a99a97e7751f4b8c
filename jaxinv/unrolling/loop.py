"""The learned loop for one object: a fixed number of steps, each the classical one as a network changes it.

The loop knows what classical Levenberg-Marquardt knows: the quadratic model of the cost at the best point so far
(`optimize.Normal`). A trial that is worse than the best point is not gone on from, and the network is told of it. A
network that answers nothing leaves classical Levenberg-Marquardt with its schedule of dampings.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxinv import priors
from jaxinv.coordinates import Layout
from jaxinv.networks import Network
from jaxinv.optimize.levenberg_marquardt import damped_step
from jaxinv.optimize.normal import Normal, quadratic_model
from jaxinv.problem import Problem
from jaxinv.training.coding import ParameterCoding
from jaxinv.training.data import DataCoding
from jaxinv.unrolling.settings import LearnedLM

_DAMPING, _INCREASE, _DECREASE = 0.1, 5.0, 8.0
"""Of the classical schedule, in the parameters themselves."""


class Learned(eqx.Module):
    """The networks of a loop and what they read.

    Attributes:
        settings: of the loop.
        inputs: coding of the parameters.
        scale: `(n_free,)` typical size of each, in which the loop moves: that of the prior it was trained with.
        data: coding of the data.
        encoder: condenses the data; `None` in the variant "damping".
        step: decides on each step; `None`: classical Levenberg-Marquardt.
    """

    settings: LearnedLM = eqx.field(static=True)
    inputs: ParameterCoding
    scale: np.ndarray
    data: DataCoding
    encoder: Network | None
    step: Network | None

    @staticmethod
    def new(settings: LearnedLM, inputs: ParameterCoding, scale: np.ndarray, data: DataCoding, key: Any) -> Learned:
        """With random weights, which change the classical step very little."""
        encoder_key, step_key = jax.random.split(key)
        n_free = len(scale)
        n_local = inputs.size + 3 * n_free + n_free * (n_free - 1) // 2 + 4
        if settings.variant == "damping":
            step = Network.new("mlp", {"n_in": n_local, "n_out": n_free, "width": settings.width, "depth": 2}, step_key)
            return Learned(settings, inputs, scale, data, None, step)
        n_channels = 2 * data.rows * (data.mean.size // data.rows)
        encoder = Network.new(
            "mlp",
            {"n_in": n_channels + data.n_more, "n_out": settings.encoded, "width": 2 * settings.encoded, "depth": 1},
            encoder_key,
        )
        n_in = n_local + settings.encoded + 2 * n_free
        step = Network.new("recurrent", {"n_in": n_in, "n_out": 3 * n_free, "width": settings.width}, step_key)
        return Learned(settings, inputs, scale, data, encoder, step)

    def check(self, problem: Problem, known: Any) -> None:
        """Whether the loop was trained for a problem like this.

        Raises:
            ValueError: it was not; says what differs.
        """
        if problem.names != self.inputs.names:
            raise ValueError(
                f"the loop was trained to infer {', '.join(self.inputs.names)}; the problem infers "
                f"{', '.join(problem.names)}"
            )
        self.data.check(problem, known)


class Trace(NamedTuple):
    """What came of the loop for one object.

    Attributes:
        vector: `(n_free,)` best point, in parameters divided by `Learned.scale`.
        normal: the quadratic model there.
        vectors: `(steps + 1, n_free)` points at which the forward model was evaluated, the start first.
        costs: `(steps + 1,)` cost at each of them.
    """

    vector: Array
    normal: Normal
    vectors: Array
    costs: Array


class _Carry(NamedTuple):
    vector: Array  # the best point
    normal: Normal
    log_damping: Array  # of the classical schedule
    ratio: Array  # log of the last trial's cost over the best one
    move: Array  # the last step
    memory: Array


def run(learned: Learned, problem: Problem, start: Array, observed: Any, known: Any, exact: bool = False) -> Trace:
    """The loop from one starting point.

    Args:
        learned: networks and settings.
        problem: without what is known of the object.
        start: `(n_free,)` in the parameters' units.
        observed: the object's data.
        known: parameters known of it.
        exact: differentiate the forward model's derivatives exactly, at the cost of its second derivatives.
    """
    settings = learned.settings
    layout = problem.layout
    scale = jnp.asarray(learned.scale, start.dtype)
    lower, upper = (_edges(problem, layout, side).astype(start.dtype) / scale for side in (0, 1))
    cyclic = jnp.isfinite(period(problem, layout))
    n_free = len(start)

    def inside(vector: Array) -> Array:
        parameters = problem.canonical({**known, **layout.unravel(vector * scale)})
        return jnp.clip(layout.ravel(parameters) / scale, lower, upper)

    def model(vector: Array, given: Any = (problem, observed, known)) -> Normal:
        problem, observed, known = given
        return quadratic_model(problem, layout, scale, vector, observed, known)

    evaluate = jax.checkpoint(model) if exact else _gauss_newton(model, (problem, observed, known))
    condensed = jnp.zeros(0, start.dtype)
    if learned.encoder is not None:
        channels, more = learned.data.encode(problem.noise, observed, known)
        condensed = learned.encoder(jnp.concatenate([channels.ravel(), more]).astype(start.dtype))

    def propose(carry: _Carry) -> tuple[Array, Array]:
        """The next point, and the memory."""
        leaving = ((carry.vector <= lower) & (carry.normal.gradient > 0)) | (
            (carry.vector >= upper) & (carry.normal.gradient < 0)
        )
        held = leaving & ~cyclic
        damping = jnp.exp(carry.log_damping)
        if learned.step is None:
            return damped_step(carry.normal, damping, held)[0], carry.memory
        diagonal = jnp.diagonal(carry.normal.curvature)
        size = jnp.sqrt(jnp.maximum(diagonal, 1e-6 * jnp.max(diagonal) + 1e-12))
        if settings.variant == "network":  # without a linear system: the steepest descent, each parameter for itself
            hint = -carry.normal.gradient / size**2
            gain = jnp.sum((carry.normal.gradient / size) ** 2)
        else:
            hint, gain = damped_step(carry.normal, jnp.asarray(1e-3, size.dtype), held)
        local = _local(learned, layout.unravel(carry.vector * scale), carry, size, hint)
        if settings.variant == "damping":
            return damped_step(carry.normal, damping * jnp.exp(learned.step(local)), held)[0], carry.memory
        past = jnp.concatenate([jnp.arcsinh(carry.move * size), carry.move])
        memory, answer = learned.step(carry.memory, jnp.concatenate([local, condensed, past]))
        change, gate, log_factor = jnp.split(answer, 3)
        # Near the minimum, where a classical step gains little, the network has nothing to say.
        step = change * jax.nn.sigmoid(gate) * (gain / (gain + 1))
        if settings.variant == "recurrent":
            step = step + damped_step(carry.normal, damping * jnp.exp(log_factor), held)[0]
        else:
            step = step * jnp.exp(log_factor)
        return step, memory

    def turn(carry: _Carry, _: None) -> tuple[_Carry, tuple[Array, Array]]:
        if settings.backpropagation == "truncated":
            carry = jax.lax.stop_gradient(carry)
        move, memory = propose(carry)
        trial = inside(carry.vector + move)
        normal = evaluate(trial)
        better = jnp.isfinite(normal.cost) & (normal.cost <= carry.normal.cost)
        ratio = jnp.log(normal.cost + 1e-6) - jnp.log(carry.normal.cost + 1e-6)
        change = jnp.where(better, -jnp.log(_DECREASE), jnp.log(_INCREASE))
        vector, best = jax.tree.map(
            lambda new, old: jnp.where(better, new, old), (trial, normal), (carry.vector, carry.normal)
        )
        log_damping = jnp.clip(carry.log_damping + change, -16.0, 16.0)
        ratio = jnp.clip(jnp.where(jnp.isfinite(ratio), ratio, 10.0), -10.0, 10.0)
        carry = _Carry(vector, best, log_damping, ratio, move, memory)
        return carry, (trial, normal.cost)

    first = inside(start / scale)
    normal = evaluate(first)
    zero = jnp.zeros((), start.dtype)
    memory = jnp.zeros(settings.width if learned.encoder is not None else 0, start.dtype)
    carry = _Carry(first, normal, zero + np.log(_DAMPING), zero, jnp.zeros(n_free, start.dtype), memory)
    carry, (vectors, costs) = jax.lax.scan(turn, carry, None, length=settings.steps)
    return Trace(
        carry.vector,
        carry.normal,
        jnp.concatenate([first[None], vectors]),
        jnp.concatenate([normal.cost[None], costs]),
    )


def _local(learned: Learned, parameters: dict[str, Array], carry: _Carry, size: Array, hint: Array) -> Array:
    """The quadratic model in numbers of order 1."""
    normal = carry.normal
    gradient = normal.gradient / size
    correlation = normal.curvature / (size[:, None] * size)
    upper = np.triu_indices(len(size), 1)
    cost = normal.cost + 1e-6
    scalars = [
        jnp.log(cost) / 5,
        carry.log_damping / 5,
        carry.ratio,
        jnp.log(jnp.sum(gradient**2) / cost + 1e-12) / 5,
    ]
    return jnp.concatenate(
        [
            learned.inputs.encode(parameters),
            gradient / jnp.sqrt(cost),
            jnp.log(size) / 5,
            jnp.arcsinh(hint),
            correlation[upper],
            jnp.stack(scalars),
        ]
    )


def _gauss_newton(model: Any, given: Any) -> Any:
    """The quadratic model with cheap derivatives: of the cost twice the gradient, of the gradient the curvature."""
    arrays, rest = eqx.partition(given, eqx.is_array)

    @jax.custom_vjp
    def evaluate(vector: Array, arrays: Any) -> Normal:
        return model(vector, eqx.combine(arrays, rest))

    def forwards(vector: Array, arrays: Any) -> tuple[Normal, Normal]:
        normal = model(vector, eqx.combine(arrays, rest))
        return normal, normal

    def backwards(normal: Normal, cotangent: Normal) -> tuple[Array, None]:
        through = jnp.matmul(normal.curvature, cotangent.gradient, precision="highest")
        total = 2 * cotangent.cost * normal.gradient + through
        return jnp.where(jnp.isfinite(total), total, 0), None

    evaluate.defvjp(forwards, backwards)
    return lambda vector: evaluate(vector, arrays)


def _edges(problem: Problem, layout: Layout, side: int) -> Array:
    return jnp.concatenate([jnp.ravel(priors.bounds(problem.prior[name])[side]) for name in layout.names])


def period(problem: Problem, layout: Layout) -> Array:
    """The period of each inferred scalar, `(n_free,)`; infinite where it is not cyclic."""
    circles = priors.circles(problem.prior)
    sizes = zip(layout.names, layout.sizes, strict=True)
    return jnp.concatenate([jnp.ravel(circles[n][1]) if n in circles else jnp.full(k, jnp.inf) for n, k in sizes])
