"""One training loop for every network: compiled legs, validation, the best weights, checkpoints, a progress bar."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jaxtyping import Array, PRNGKeyArray
from tqdm import tqdm

from jaxinv.training.settings import Training

Loss = Callable[[Any, Any, Any], tuple[Array, dict[str, Array]]]
"""`(network, context, examples) -> (loss, its terms by name)`; the examples have a leading axis."""
Draw = Callable[[Any, PRNGKeyArray], Any]
"""`(context, key) -> one example`, a pytree of arrays: pure, and made on the device."""


class Keeper(Protocol):
    """Where the state of a run is kept, so that it can be gone on with."""

    def save(self, step: int, state: Any) -> None: ...
    def restore(self, like: Any) -> Any | None: ...
    def log(self, step: int, values: Mapping[str, float]) -> None: ...
    def part(self, name: str) -> Keeper: ...


class TrainingError(ArithmeticError):
    """The loss is no number any more."""


class Curve(NamedTuple):
    """The course of a training, one entry for each evaluation: `(n,)` each."""

    step: np.ndarray
    loss: np.ndarray
    validation: np.ndarray
    rate: np.ndarray


class Trained(NamedTuple):
    """A trained network.

    Attributes:
        network: with the weights of the best evaluation.
        curve: losses over the steps.
        validation: the best validation loss.
        best_step: after which it was reached.
        stopped_early: whether patience ended the training.
    """

    network: Any
    curve: Curve
    validation: float
    best_step: int
    stopped_early: bool


class _State(NamedTuple):
    """All that a run goes on from."""

    weights: Any
    average: Any  # of the weights so far
    optimizer: Any
    best: Any
    step: Array
    best_step: Array
    best_loss: Array
    stale: Array  # evaluations since the best one
    losses: Array  # (evaluate,) of the steps since the last evaluation
    curve: Array  # (n_evaluations, 4)


def train(
    network: Any,
    loss: Loss,
    draw: Draw,
    context: Any = None,
    settings: Training | None = None,
    *,
    key: PRNGKeyArray,
    held_out: Any = None,
    keeper: Keeper | None = None,
    progress: bool = True,
    label: str = "training",
) -> Trained:
    """Train a network on examples that are drawn as it learns.

    The batch is spread over all devices; each example has its own key, so their number changes nothing but rounding.

    Args:
        network: a pytree; its floating-point arrays are the weights.
        loss: the mean over the examples of what is to be small.
        draw: makes one example.
        context: arrays that both need.
        settings: of the training.
        key: of all that is drawn.
        held_out: what the validation examples are drawn from in place of `context`, where they are a fixed set.
        keeper: keeps and restores the state at every evaluation; a restored run ends as an uninterrupted one.
        progress: show a bar with the loss, the rate and the time left.
        label: of the bar.

    Raises:
        TrainingError: the loss became infinite or NaN.
    """
    settings = settings or Training()
    weights, rest = eqx.partition(network, eqx.is_inexact_array)
    optimizer = settings.transformation
    step_key, validation_key = jax.random.split(key)
    sharding = _sharding(settings.batch_size)

    def score(weights: Any, context: Any, examples: Any) -> tuple[Array, dict[str, Array]]:
        return loss(eqx.combine(weights, rest), context, examples)

    @jax.jit
    def leg(state: _State, context: Any, n: Array) -> _State:
        def step(_: Array, state: _State) -> _State:
            keys = jax.random.split(jax.random.fold_in(step_key, state.step), settings.batch_size)
            examples = jax.vmap(lambda key: draw(context, key))(_spread(keys, sharding))
            examples = _spread(examples, sharding)
            (value, _), gradient = jax.value_and_grad(score, has_aux=True)(state.weights, context, examples)
            updates, inner = optimizer.update(gradient, state.optimizer, state.weights)
            weights = optax.apply_updates(state.weights, updates)
            average = weights
            if settings.average < 1:
                rate = jnp.maximum(settings.average, 1 / (state.step + 1.0))
                average = jax.tree.map(
                    lambda old, new: old + rate.astype(new.dtype) * (new - old), state.average, weights
                )
            losses = state.losses.at[state.step % settings.evaluate].set(value)
            return state._replace(weights=weights, average=average, optimizer=inner, step=state.step + 1, losses=losses)

        return jax.lax.fori_loop(0, n, step, state)

    @jax.jit
    def validate(weights: Any, context: Any) -> tuple[Array, dict[str, Array]]:
        keys = jax.random.split(validation_key, -(-settings.n_validation // settings.batch_size))

        def part(key: PRNGKeyArray) -> tuple[Array, dict[str, Array]]:
            keys = _spread(jax.random.split(key, settings.batch_size), sharding)
            return score(weights, context, jax.vmap(lambda key: draw(context, key))(keys))

        return jax.tree.map(jnp.mean, jax.lax.map(part, keys))

    n_evaluations = -(-settings.steps // settings.evaluate)
    zero = jnp.zeros((), jnp.int32)
    state = _State(
        weights=weights,
        average=weights,
        optimizer=optimizer.init(weights),
        best=weights,
        step=zero,
        best_step=zero,
        best_loss=jnp.asarray(jnp.inf),
        stale=zero,
        losses=jnp.zeros(settings.evaluate),
        curve=jnp.zeros((n_evaluations, 4)),
    )
    if keeper is not None:
        state = keeper.restore(state) or state
    place = jax.devices()[0] if sharding is None else NamedSharding(sharding.mesh, PartitionSpec())
    settle = partial(_settled, place=place)
    contexts = (context, context if held_out is None else held_out)
    with tqdm(
        total=settings.steps, initial=int(state.step), unit="step", disable=not progress, desc=label, dynamic_ncols=True
    ) as bar:
        while int(state.step) < settings.steps and int(state.stale) < settings.patience:
            state = _next(settle(state), leg, validate, contexts, settings, keeper, bar)
    curve = np.asarray(state.curve)[: -(-int(state.step) // settings.evaluate)]
    best = jax.tree.map(lambda x: jnp.asarray(np.asarray(x)), state.best)  # bound to no device
    return Trained(
        eqx.combine(best, rest),
        Curve(curve[:, 0].astype(int), *curve[:, 1:].T),
        float(state.best_loss),
        int(state.best_step),
        int(state.stale) >= settings.patience,
    )


def _next(
    state: _State,
    leg: Any,
    validate: Any,
    contexts: tuple[Any, Any],
    settings: Training,
    keeper: Keeper | None,
    bar: Any,
) -> _State:
    """The state after the next evaluation; between them, the bar moves about every second."""
    first = int(state.step)
    end = min(first + settings.evaluate, settings.steps)
    done, pace = first, 1
    while done < end:
        n = min(pace, end - done)
        state = leg(state, contexts[0], n)
        done += n
        last = float(state.losses[(done - 1) % settings.evaluate])  # waits until it is computed
        bar.update(n)
        best = f", best {float(state.best_loss):.4g}" if first else ""
        bar.set_postfix_str(f"loss {last:.4g}{best}", refresh=False)
        rate = bar.format_dict["rate"]
        pace = max(1, min(2 * pace, int(rate))) if rate else 2 * pace
    mean = float(jnp.mean(state.losses[: end - first]))
    value, terms = validate(state.average, contexts[1])
    if not (math.isfinite(mean) and math.isfinite(float(value))):
        raise TrainingError(f"the loss is no number any more before step {end}: lower `learning_rate`")
    better = value < state.best_loss
    row = jnp.asarray([end, mean, value, settings.rate(end)], jnp.float32)
    state = state._replace(
        best=jax.tree.map(lambda new, old: jnp.where(better, new, old), state.average, state.best),
        best_step=jnp.where(better, state.step, state.best_step),
        best_loss=jnp.where(better, value, state.best_loss),
        stale=jnp.where(better, 0, state.stale + 1),
        curve=state.curve.at[(end - 1) // settings.evaluate].set(row),
    )
    if keeper is not None:
        keeper.log(end, {"loss": mean, "validation": float(value), "learning_rate": float(row[3])})
        keeper.log(end, {f"validation/{name}": float(term) for name, term in terms.items()})
        keeper.save(end, state)
    return state


def _settled(state: _State, place: Any) -> _State:
    """The same with definite types, on all devices: so that the legs are compiled once."""
    return jax.tree.map(lambda x: jax.device_put(jax.lax.convert_element_type(x, x.dtype), place), state)


def _sharding(batch_size: int) -> NamedSharding | None:
    """Over all devices, as many as divide the batch."""
    devices = jax.devices()
    n = math.gcd(len(devices), batch_size)
    if n == 1:
        return None
    mesh = jax.make_mesh((n,), ("example",), axis_types=(AxisType.Auto,), devices=devices[:n])
    return NamedSharding(mesh, PartitionSpec("example"))


def _spread(tree: Any, sharding: NamedSharding | None) -> Any:
    return tree if sharding is None else jax.lax.with_sharding_constraint(tree, sharding)
