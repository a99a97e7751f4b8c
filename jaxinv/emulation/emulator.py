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
_LOOK = 4096
"""Draws from which scales and principal components are measured."""
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
            called once for each of them, at most 4096 times more for scales, and for the report. 0: every example is
            new, which is best where the forward model is cheap.
        n_report: fresh draws of the report.

    Raises:
        ValueError: a setting out of its range.
    """

    network: str = "residual"
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    components: int = 0
    jacobian: float = 0.1
    examples: int = 0
    n_report: int = 4096

    def __post_init__(self) -> None:
        check = [
            (self.network in ("residual", "mlp", "decoder"), "network", "residual, mlp or decoder"),
            (0 <= self.components <= _LOOK // 2, "components", f"0 to {_LOOK // 2}"),
            (self.jacobian >= 0, "jacobian", "a number that is not negative"),
            (self.examples >= 0, "examples", "0 or more"),
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
    cut = max(method.examples // _HELD_OUT, 1)
    kept = None if context is None else jax.tree.map(lambda x: x[cut:], context)
    held_out = None if context is None else jax.tree.map(lambda x: x[:cut], context)

    def example(context: Any, key: PRNGKeyArray) -> _Example:
        if context is None:
            return source.one(key, size)
        which = jax.random.randint(key, (), 0, len(context.prediction))
        return jax.tree.map(lambda x: x[which], context)

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

    trained = train(
        core.network, loss, example, kept, training, key=train_key, held_out=held_out, keeper=keeper,
        progress=progress, label="emulating",
    )  # fmt: skip
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

    def one(self, key: PRNGKeyArray, size: Mapping[str, float]) -> _Example:
        """A draw, the prediction, and its slope along a random direction, scaled by the parameters' `size`."""
        draw_key, direction_key = jax.random.split(key)
        parameters = self.draw(draw_key)
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
        self, key: PRNGKeyArray, n: int, size: Mapping[str, float] | None = None, jacobian: bool = False
    ) -> _Example:
        """`n` of them."""
        make = partial(self.whole, jacobian=jacobian) if size is None else partial(self.one, size=size)
        return jax.jit(lambda keys: jax.lax.map(make, keys, batch_size=_BATCH))(jax.random.split(key, n))


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

    found, derivatives = jax.jit(lambda p: jax.lax.map(both, p, batch_size=_BATCH))(fresh.parameters)
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
    """Seconds for each object, in a batch; the least of three, after one to compile."""
    run = jax.jit(lambda p: jax.lax.map(function, p, batch_size=_BATCH))
    times = []
    for _ in range(4):
        begin = time.perf_counter()
        jax.block_until_ready(run(parameters))
        times.append(time.perf_counter() - begin)
    return min(times[1:]) / len(jax.tree.leaves(parameters)[0])
