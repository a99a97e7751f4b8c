"""Train a network in the place of a forward model, from its prior alone, and report how good it is."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from jaxinv import priors
from jaxinv.compute.groups import map_in_groups
from jaxinv.emulation.report import Report
from jaxinv.emulation.surrogate import EmulatedCore, Surrogate, output_coding
from jaxinv.forward import Forward, Parameters, as_forward
from jaxinv.networks import Network
from jaxinv.training.coding import ParameterCoding
from jaxinv.training.folder import described_prior
from jaxinv.training.loop import Keeper, Trained, train
from jaxinv.training.settings import Training

_EDGE = 0.03
"""Chance that a bounded parameter of a training example lies on its lower bound, and the same for the upper."""
_HELD_OUT = 10
"""Of a fixed set of examples, one in so many is for validation."""
_WORST = 0.05
"""Share of the draws in whose neighbourhood an extra round learns: those with the largest errors."""
_NEAR = 0.03
"""How far around them, as a share of a parameter's range."""
_HARD = 0.5
"""Chance that an example of an extra round is from there, not from the prior."""
_SHORTER, _SLOWER = 3, 0.3
"""How much shorter an extra round is than the training, and its learning rate relative to it."""
_ADDED = 4
"""Of a fixed set of examples, an extra round adds one for so many."""
_LOOK = 4096
"""Draws from which scales and principal components are measured."""
_FEW, _SLOW = 16, 1e-3
"""Objects by which a forward model is timed first, and seconds for each that make it too slow for more."""
_BATCH = 64
"""Objects computed together outside the training."""


@dataclasses.dataclass(frozen=True)
class Emulator:
    """What kind of surrogate is trained, and on what.

    Attributes:
        network: "residual", "mlp" or "decoder" (convolutions along the last axis of the prediction).
        settings: of the network: `width`, `depth`, and for the decoder `kernel`.
        components: principal components of the prediction that the network gives; 0: the prediction itself.
        jacobian: weight of the error of the derivatives in the loss (Sobolev training; Czarnecki et al. 2017,
            arXiv:1706.04859); at 1 it counts as much as that of the prediction, both relative to their rms. 0: the
            forward model need not be differentiable.
        examples: draws that are made once and trained on again and again, for a forward model that is expensive: it is
            called once for each of them, at most 4096 times more for scales, for a quarter of them more in every extra
            round, and for the report. 0: every example is new, which is best where the forward model is cheap.
        rounds: extra rounds, each a third as long as the training: half of their examples lie near the parameters at
            which the surrogate is worst.
        n_report: fresh draws of the report.

    Raises:
        ValueError: a setting out of its range.
    """

    network: str = "residual"
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    components: int = 0
    jacobian: float = 0.1
    examples: int = 0
    rounds: int = 1
    n_report: int = 4096

    def __post_init__(self) -> None:
        check = [
            (self.network in ("residual", "mlp", "decoder"), "network", "residual, mlp or decoder"),
            (0 <= self.components <= _LOOK // 2, "components", f"0 to {_LOOK // 2}"),
            (self.jacobian >= 0, "jacobian", "a number that is not negative"),
            (self.examples >= 0, "examples", "0 or more"),
            (self.rounds >= 0, "rounds", "0 or more"),
            (self.n_report >= 100, "n_report", "100 or more"),
        ]
        for ok, name, expected in check:
            if not ok:
                raise ValueError(f"the emulator's {name!r} takes {expected}; found {getattr(self, name)!r}")


def emulate(
    forward: Forward | Callable[[Parameters], Any],
    prior: priors.Prior,
    method: Emulator | None = None,
    training: Training | None = None,
    *,
    key: PRNGKeyArray,
    keeper: Keeper | None = None,
    progress: bool = True,
) -> Surrogate:
    """Train a surrogate of a forward model over the support of a prior.

    Args:
        forward: the forward model, or any function of a dict of parameters, which are then those of the prior.
        prior: name -> distribution (an input of the surrogate) or number (held). Its support is where the surrogate
            can be used; its density is where it is trained most.
        method: the kind of surrogate.
        training: settings of the training.
        key: of all that is drawn.
        keeper: keeps the state of the training, so that it can be gone on with.
        progress: show a bar with the loss, the rate and the time left.

    Returns:
        The surrogate; `surrogate.report` says how good it is on fresh draws.

    Raises:
        ValueError: a setting out of its range, a prior without finite extent, or a forward model that predicts NaN.
        TrainingError: the loss became infinite or NaN.
    """
    method, training = method or Emulator(), training or Training()
    forward = as_forward(forward, prior)
    source, inputs = _source(forward, prior)
    look_key, network_key, train_key, set_key, report_key = jax.random.split(key, 5)
    n_look = min(_LOOK, method.examples or _LOOK)
    looked = source.many(look_key, n_look, jacobian=method.jacobian > 0)
    values = np.asarray(looked.prediction)
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        raise ValueError(
            f"the forward model predicts NaN or infinity for {np.mean(~finite):.1%} of the draws from the prior: "
            "narrow the prior"
        )
    outputs, left = output_coding(values, method.components)
    unit = float(np.sqrt(np.mean((values - values.mean(0)) ** 2))) or 1.0
    slopes = {name: float(np.sqrt(np.mean(np.square(x)))) for name, x in looked.jacobian.items()}
    least = 1e-6 * max(slopes.values(), default=1.0)
    size = {name: max(slope, least) for name, slope in slopes.items()}
    core = EmulatedCore(
        network=_network(method, inputs.size, outputs.size, source.shape, network_key),
        inputs=inputs,
        outputs=outputs,
        fixed=priors.fixed(source.prior),
        shape=source.shape,
        own_units=tuple((name, unit) for name, unit in source.forward.units.items() if name in inputs.names),
    )
    context = source.many(set_key, method.examples, size=size) if method.examples else None
    sets = None if context is None else _divided(context)

    def example(given: Any, key: PRNGKeyArray) -> _Example:
        if isinstance(given, _Set):
            k = _some(key, len(given.examples.prediction), given.n_hard)
            return jax.tree.map(lambda x: x[k], given.examples)
        return source.one(key, size, hard=given)

    def loss(network: Network, context: Any, examples: _Example) -> tuple[Array, dict[str, Array]]:
        def error(example: _Example) -> tuple[Array, Array]:
            def predict(parameters: Parameters) -> Array:
                return outputs.decode(network(inputs.encode(parameters)))

            if not size:
                return predict(example.parameters) - example.prediction, jnp.zeros(())
            value, slope = jax.jvp(predict, (example.parameters,), (example.direction,))
            return value - example.prediction, slope - example.slope

        value, slope = jax.vmap(error)(examples)
        terms = {"prediction": jnp.mean(value**2) / unit**2}
        if size:
            terms["jacobian"] = method.jacobian * jnp.mean(slope**2) / sum(low.size for low in inputs.lower)
        return sum(terms.values(), jnp.zeros(())), terms

    def taught(network: Network, given: Any, settings: Training, key: PRNGKeyArray, keeper: Keeper | None) -> Trained:
        kept, held_out = given if isinstance(given, tuple) else (given, None)
        return train(
            network, loss, example, kept, settings, key=key, held_out=held_out, keeper=keeper, progress=progress,
            label="emulating",
        )  # fmt: skip

    trained = taught(core.network, sets, training, train_key, keeper)
    shorter = dataclasses.replace(
        training, steps=max(training.steps // _SHORTER, 1), learning_rate=_SLOWER * training.learning_rate
    )
    for k in range(method.rounds):
        look_key, more_key, round_key = jax.random.split(jax.random.fold_in(train_key, k + 1), 3)
        looked = source.many(look_key, _LOOK, size={}) if sets is None else sets[1].examples
        hard = _worst(lambda p, network=trained.network: outputs.decode(network(inputs.encode(p))), looked)
        if sets is not None:
            n = max(method.examples // _ADDED, 2 * _HELD_OUT)
            more = _divided(source.many(more_key, n, size=size, hard=hard))
            sets = (sets[0].with_hard(more[0].examples), sets[1].with_hard(more[1].examples))
        inner = keeper and keeper.part(f"round_{k + 1}")
        again = taught(trained.network, hard if sets is None else sets, shorter, round_key, inner)
        trained = _together(trained, again)
    core = eqx.tree_at(lambda c: c.network, core, trained.network)
    surrogate = Surrogate(core, forward, prior=json.dumps(described_prior(prior)))
    whole = _Source(forward, dict(prior), ParameterCoding.of(prior, tuple(forward.units)))
    return dataclasses.replace(surrogate, report=_report(surrogate, whole, report_key, method, left, trained))


def _source(forward: Forward, prior: priors.Prior) -> tuple[_Source, ParameterCoding]:
    """Draws of the core, and its inputs."""
    forward.check(prior)
    if tied := list(priors.tied(prior)):
        raise ValueError(f"the prior ties {tied[0]!r}: give it a distribution here, and tie it in the `Problem`")
    core = forward.factors()[0]
    own = {name: entry for name, entry in prior.items() if name in core.units}
    inputs = ParameterCoding.of(own, tuple(core.units))
    if not inputs.names:
        raise ValueError(
            f"there is nothing to learn: give one or more of {', '.join(core.units)} a NumPyro distribution"
        )
    return _Source(core, own, inputs), inputs


class _Set(NamedTuple):
    """A fixed set of examples, of which the last `n_hard` lie near the worst."""

    examples: Any
    n_hard: Array

    def with_hard(self, more: Any) -> _Set:
        """The set with more of them."""
        whole = jax.tree.map(lambda *x: jnp.concatenate(x), self.examples, more)
        return _Set(whole, self.n_hard + len(more.prediction))


def _divided(examples: _Example) -> tuple[_Set, _Set]:
    """Those for training, and those for validation."""
    cut = max(len(examples.prediction) // _HELD_OUT, 1)
    none = jnp.zeros((), jnp.int32)
    return _Set(jax.tree.map(lambda x: x[cut:], examples), none), _Set(jax.tree.map(lambda x: x[:cut], examples), none)


def _some(key: PRNGKeyArray, n: int, n_hard: Array) -> Array:
    """The index of one of `n` examples: one of the last `n_hard`, where there are some, as often as not."""
    which, chance = jax.random.split(key)
    hard = (n_hard > 0) & (jax.random.uniform(chance) < _HARD)
    return jax.random.randint(which, (), jnp.where(hard, n - n_hard, 0), jnp.where(hard, n, n - n_hard))


def _worst(predict: Any, looked: _Example) -> dict[str, Array]:
    """The parameters at which the largest error of a prediction is largest."""
    run = jax.jit(lambda p: map_in_groups(predict, p, _BATCH))
    off = np.abs(np.asarray(run(looked.parameters)) - np.asarray(looked.prediction)).max(axis=1)
    order = np.argsort(off)[-max(int(_WORST * len(off)), min(8, len(off))) :]
    return {name: x[order] for name, x in looked.parameters.items()}


def _together(first: Trained, second: Trained) -> Trained:
    """A training and the one that went on from it, as one: the weights are those of the second."""
    last = first.curve.step[-1]
    steps = second.curve._replace(step=second.curve.step + last)
    curve = first.curve._make(np.concatenate(each) for each in zip(first.curve, steps, strict=True))
    return second._replace(curve=curve, best_step=second.best_step + int(last))


class _Example(NamedTuple):
    """One training example, or many; the prediction and its slope are flat."""

    parameters: dict[str, Array]
    prediction: Array
    direction: dict[str, Array]
    slope: Array
    jacobian: dict[str, Array]


class _Source(eqx.Module):
    """Draws from the prior with what the forward model makes of them."""

    forward: Forward
    prior: dict[str, Any]
    inputs: ParameterCoding

    def predict(self, parameters: Parameters) -> Array:
        """The flat prediction."""
        return jnp.ravel(self.forward({**priors.fixed(self.prior), **parameters}))

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the prediction."""
        centre = {name: priors.centre(self.prior[name]) for name in self.inputs.names}
        return jax.eval_shape(self.forward, {**priors.fixed(self.prior), **centre}).shape

    def draw(self, key: PRNGKeyArray) -> dict[str, Array]:
        """Parameters from the prior, each now and then on a bound: fits end there, and draws never do."""
        draw_key, edge_key = jax.random.split(key)
        parameters = priors.sample(self.prior, draw_key)
        for k, name in enumerate(self.inputs.names):
            if self.inputs.kinds[k] in ("bounded", "logarithmic"):
                value = parameters[name]
                chance = jax.random.uniform(jax.random.fold_in(edge_key, k), value.shape)
                value = jnp.where(chance < _EDGE, self.inputs.lower[k].astype(value.dtype), value)
                parameters[name] = jnp.where(chance > 1 - _EDGE, self.inputs.upper[k].astype(value.dtype), value)
        return parameters

    def one(self, key: PRNGKeyArray, size: Mapping[str, float], hard: Any = None) -> _Example:
        """A draw, the prediction, and its slope along a random direction, scaled by the parameters' `size`.

        Where there are `hard` parameters, the draw lies near one of them as often as not.
        """
        draw_key, direction_key = jax.random.split(key)
        parameters = self.draw(draw_key)
        if hard is not None:
            which, near, chance = jax.random.split(jax.random.fold_in(draw_key, 1), 3)
            k = jax.random.randint(which, (), 0, len(jax.tree.leaves(hard)[0]))
            moved = self.inputs.near({name: x[k] for name, x in hard.items()}, near, _NEAR)
            takes = jax.random.uniform(chance) < _HARD
            parameters = {name: jnp.where(takes, moved[name], parameters[name]) for name in parameters}
        if not size:
            return _Example(parameters, self.predict(parameters), {}, jnp.zeros(()), {})
        keys = jax.random.split(direction_key, len(size))
        direction = {
            name: jax.random.normal(k, parameters[name].shape, parameters[name].dtype) / size[name]
            for k, name in zip(keys, self.inputs.names, strict=True)
        }
        prediction, slope = jax.jvp(self.predict, (parameters,), (direction,))
        return _Example(parameters, prediction, direction, slope, {})

    def whole(self, key: PRNGKeyArray, jacobian: bool) -> _Example:
        """A draw with the prediction and all its derivatives."""
        parameters = self.draw(key)
        derivatives = jax.jacfwd(self.predict)(parameters) if jacobian else {}
        return _Example(parameters, self.predict(parameters), {}, jnp.zeros(()), derivatives)

    def many(
        self,
        key: PRNGKeyArray,
        n: int,
        size: Mapping[str, float] | None = None,
        jacobian: bool = False,
        hard: Any = None,
    ) -> _Example:
        """`n` of them."""
        make = partial(self.whole, jacobian=jacobian) if size is None else partial(self.one, size=size, hard=hard)
        return jax.jit(lambda keys: map_in_groups(make, keys, _BATCH))(jax.random.split(key, n))


def _network(method: Emulator, n_in: int, n_out: int, shape: tuple[int, ...], key: PRNGKeyArray) -> Network:
    settings = {"n_in": n_in, "n_out": n_out, **method.settings}
    if method.network == "decoder":
        if method.components:
            raise ValueError("a decoder gives the prediction itself: set `components` to 0")
        settings["n_channels"] = int(np.prod(shape[:-1], dtype=int))
    return Network.new(method.network, settings, key)


def _report(
    surrogate: Surrogate, source: _Source, key: PRNGKeyArray, method: Emulator, left: np.ndarray, trained: Trained
) -> Report:
    """Errors on fresh draws, and the time of both."""
    fresh = source.many(key, method.n_report, jacobian=method.jacobian > 0)

    def predict(parameters: Parameters) -> Array:
        return surrogate({**priors.fixed(source.prior), **parameters})

    def both(parameters: Parameters) -> tuple[Array, dict[str, Array]]:
        return predict(parameters), jax.jacfwd(predict)(parameters) if method.jacobian else {}

    found, derivatives = jax.jit(lambda p: map_in_groups(both, p, _BATCH))(fresh.parameters)
    # One line for each row of the prediction: a Stokes parameter, or all where it is a vector.
    rows = source.shape[0] if len(source.shape) > 1 else 1
    error = np.abs(np.asarray(found).reshape(method.n_report, -1) - np.asarray(fresh.prediction))
    error = np.moveaxis(error.reshape(method.n_report, rows, -1), 1, 0).reshape(rows, -1)
    slope = {}
    for name, exact in fresh.jacobian.items():
        exact = np.asarray(exact)
        off = np.asarray(derivatives[name]).reshape(exact.shape) - exact
        slope[name] = float(np.sqrt(np.mean(off**2) / max(np.mean(exact**2), np.finfo(np.float32).tiny)))
    return Report(
        n_draws=method.n_report,
        rms=tuple(float(x) for x in np.sqrt(np.mean(error**2, axis=1))),
        percentile_99=tuple(float(x) for x in np.percentile(error, 99, axis=1)),
        maximum=tuple(float(x) for x in error.max(axis=1)),
        jacobian=tuple(slope.items()),
        truncation=(float(np.sqrt(np.mean(left**2))), float(np.percentile(np.abs(left), 99))),
        seconds=_seconds(source.predict, fresh.parameters),
        surrogate_seconds=_seconds(predict, fresh.parameters),
        curve=tuple(tuple(float(x) for x in row) for row in np.stack(trained.curve, axis=1)),
        best_step=trained.best_step,
    )


def _seconds(function: Any, parameters: Any) -> float:
    """Seconds for each object, in a batch: the least of three; of a slow function the first few objects have to do."""
    run = jax.jit(lambda p: map_in_groups(function, p, _BATCH))

    def timed(parameters: Any) -> float:
        begin = time.perf_counter()
        jax.block_until_ready(run(parameters))
        return (time.perf_counter() - begin) / len(jax.tree.leaves(parameters)[0])

    few = jax.tree.map(lambda x: x[:_FEW], parameters)
    timed(few)  # compiles
    alone = timed(few)
    if alone > _SLOW:
        return alone
    timed(parameters)
    return min(timed(parameters) for _ in range(3))
