"""What a network sees of data, and how its answer is read: in the canonical frame, in the problem's coordinates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from jaxinv.compute.groups import map_in_groups
from jaxinv.noise import Samplewise
from jaxinv.observation import Observation
from jaxinv.problem import Problem
from jaxinv.training.coding import ParameterCoding
from jaxinv.training.data import Conditions, Example, simulated, simulator

_SOFT = 10.0
"""Standard deviations of the noise up to which rows of both signs are seen on a linear scale; then as a square root."""
_MARGIN = 0.05
"""Fraction of the range of the training data that an input may lie beyond it."""
_OUTSIDE = 0.01
"""Fraction of the inputs that may lie beyond it in data like those of the training."""


class Seen(NamedTuple):
    """What a network sees of one object.

    Attributes:
        channels: `(rows, n)`, 0 where a sample is missing.
        more: `(n_more,)` the noise of each row, and what is known.
        element: of the symmetry by which the data are turned away from their frame; `None`: there is no symmetry.
    """

    channels: Array
    more: Array
    element: Any


class DataCoding(eqx.Module):
    """Data in their canonical frame, whitened by the nominal noise: plainly, or where rows have both signs, softly.

    Attributes:
        noise: the nominal one.
        mean: `(*prediction_shape)` of data in their frame; 0 in rows of both signs.
        spread: rms of each row after all else, `(rows, 1)`.
        soft: `(rows, 1)`, whether a row has both signs: its whitened data w become w / sqrt(1 + |w| / 10).
        known: coding of what is known of each object; `None` where nothing is.
        low: lowest inputs of the training, `(rows * n + n_more,)`.
        high: highest ones.
    """

    noise: Samplewise
    mean: np.ndarray
    spread: np.ndarray
    soft: np.ndarray
    known: ParameterCoding | None
    low: np.ndarray
    high: np.ndarray

    @staticmethod
    def of(problem: Problem, conditions: Conditions, key: PRNGKeyArray, n: int = 4096) -> DataCoding:
        """Measured on simulated data."""
        noise = problem.samplewise
        known = ParameterCoding.of(conditions.known, tuple(problem.forward.units)) if conditions.known else None
        keys = jax.random.split(key, n)
        draw = simulator(problem, conditions)
        made = draw(keys)
        shape = made.clean.shape[1:]
        rows = shape[0] if len(shape) > 1 else 1
        blank = np.zeros(shape)
        start = DataCoding(noise, blank, np.ones((rows, 1)), np.zeros((rows, 1), bool), known, blank, blank)
        each = jax.jit(jax.vmap(lambda o: start._framed(problem, o)[0]))
        framed = np.asarray(each(made.observed)).reshape(n, rows, -1)
        # A row of both signs: its mean over objects and samples is small beside its size.
        soft = np.abs(framed.mean((0, 2))) < 0.3 * np.sqrt(np.mean(framed**2, (0, 2)))
        soft = soft[:, None] & (rows > 1)
        mean = np.where(soft, 0, framed.mean(0)).reshape(shape).astype(np.float32)
        half = DataCoding(noise, mean, np.ones((rows, 1), np.float32), soft, known, blank, blank)
        channels = np.asarray(jax.jit(jax.vmap(lambda e: half.encode(problem, e.observed, e.known).channels))(made))
        spread = np.sqrt(np.mean(channels**2, axis=(0, 2)))[:, None].astype(np.float32)
        whole = DataCoding(noise, mean, np.maximum(spread, 1e-3), soft, known, blank, blank)
        return whole.widened(problem, made)

    def widened(self, problem: Problem, examples: Example) -> DataCoding:
        """With the range of these examples, `(n, ...)` each, counted as known."""
        seen = jax.jit(jax.vmap(lambda e: self._flat(self.encode(problem, e.observed, e.known))))(examples)
        low, high = (np.asarray(f(seen, axis=0), np.float32) for f in (jnp.min, jnp.max))
        if self.low.shape == low.shape:
            low, high = np.minimum(low, self.low), np.maximum(high, self.high)
        return eqx.tree_at(lambda c: (c.low, c.high), self, (low, high))

    @property
    def rows(self) -> int:
        """Channels of the data: the leading axis of a prediction with two or more."""
        return self.mean.shape[0] if self.mean.ndim > 1 else 1

    @property
    def n(self) -> int:
        """Samples of each."""
        return self.mean.size // self.rows

    @property
    def n_more(self) -> int:
        """Numbers beside the channels."""
        return self.rows + (0 if self.known is None else self.known.size)

    def check(self, problem: Problem, known: Mapping[str, Any]) -> None:
        """Whether data of a problem can be encoded.

        Raises:
            ValueError: their shape is another one, or something that the network needs to know is not known.
        """
        shape = problem.prediction_shape(known)
        if shape != self.mean.shape:
            raise ValueError(
                f"the network was trained for data of the shape {self.mean.shape}; the problem's are {shape}"
            )
        missing = [name for name in (self.known.names if self.known else ()) if name not in known]
        if missing:
            raise ValueError(f"the network needs to know {missing[0]!r} of each object: give it as `fixed`")

    def encode(self, problem: Problem, observed: Any, known: Mapping[str, Array]) -> Seen:
        """What the network sees of one object's data, of which the noise of `problem` or their own sigma holds."""
        framed, valid, element = self._framed(problem, observed)
        mean = jnp.asarray(self.mean, framed.dtype)
        whitened = self.noise.residual(mean, jnp.where(valid, framed, jnp.nan)).reshape(self.rows, -1)
        # Once for all that reads it: on a CPU it would be computed again for each.
        whitened = jax.lax.optimization_barrier(whitened)
        soft = jnp.where(self.soft, whitened * jax.lax.rsqrt(1 + jnp.abs(whitened) / _SOFT), whitened)
        channels = soft / jnp.asarray(self.spread, framed.dtype)
        level = jnp.zeros(self.rows, framed.dtype)
        if self.noise.sigma is not None:
            own = observed.sigma if isinstance(observed, Observation) else None
            sigma = jnp.asarray(problem.noise.sigma if own is None else own)
            ratio = jnp.broadcast_to(sigma / jnp.asarray(self.noise.sigma), mean.shape).astype(framed.dtype)
            if element is not None:
                ratio = ratio / problem.symmetry.scale(element)  # pyright: ignore[reportOptionalMemberAccess]
            ratio = jnp.where(valid & (ratio > 0), ratio, 1).reshape(self.rows, -1)
            level = jnp.mean(jnp.log(ratio), axis=1)
        more = [level] if self.known is None else [level, self.known.encode(known)]
        return Seen(channels, jnp.concatenate(more), element)

    def inside(self, seen: Seen) -> Array:
        """Whether the object is one of those that the training has seen: noise, brightness, polarization, shift."""
        inputs, margin = self._flat(seen), _MARGIN * (self.high - self.low)
        beyond = (inputs < self.low - margin) | (inputs > self.high + margin)
        more = beyond[self.rows * self.n :]
        return (jnp.mean(beyond) < _OUTSIDE) & ~jnp.any(more)

    @staticmethod
    def _flat(seen: Seen) -> Array:
        return jnp.concatenate([seen.channels.ravel(), seen.more])

    def _framed(self, problem: Problem, observed: Any) -> tuple[Array, Array, Any]:
        """Values in their frame, 0 where missing; which are valid; and how they were turned."""
        values = observed.values if isinstance(observed, Observation) else observed
        valid = problem.noise.valid(values, observed)
        values = jnp.where(valid, values, 0)
        symmetry = problem.symmetry
        if symmetry is None:
            return values, valid, None
        element = symmetry.find(values, valid)
        return symmetry.data(symmetry.inverse(element), values), valid, element


class AnswerCoding(eqx.Module):
    """How a network's answer is read: coordinates of the problem in the data's frame, standardized.

    Attributes:
        names: the parameters.
        centre: `(size,)` mean of the coordinates in the training.
        spread: `(size,)` their standard deviation.
        deviation: `(n_free,)` standard deviation of the parameters themselves.
    """

    names: tuple[str, ...] = eqx.field(static=True)
    centre: np.ndarray
    spread: np.ndarray
    deviation: np.ndarray

    @staticmethod
    def of(problem: Problem, conditions: Conditions, key: PRNGKeyArray, n: int = 4096) -> AnswerCoding:
        """Measured on simulated objects."""
        coordinates, layout = problem.coordinates.unwound(), problem.layout

        def one(key: PRNGKeyArray) -> tuple[Array, Array]:
            truth = framed(problem, simulated(problem, conditions, key))
            return coordinates.vector(truth), layout.ravel(truth)

        vector, parameters = jax.jit(lambda k: map_in_groups(one, k, 64))(jax.random.split(key, n))
        vector, parameters = np.asarray(vector), np.asarray(parameters)

        def spread(x: np.ndarray) -> np.ndarray:
            size = x.std(0)
            return np.where(size > 0, size, 1).astype(np.float32)

        return AnswerCoding(problem.names, vector.mean(0).astype(np.float32), spread(vector), spread(parameters))

    @property
    def size(self) -> int:
        """Numbers of an answer."""
        return len(self.centre)

    def decode(self, problem: Problem, raw: Array, element: Any) -> dict[str, Array]:
        """Parameters of one object from `(size,)`; they may lie beyond the prior's support."""
        vector = jnp.asarray(self.centre, raw.dtype) + jnp.asarray(self.spread, raw.dtype) * raw
        parameters = problem.coordinates.unwound().parameters(vector)
        return parameters if element is None else turned(problem, element, parameters)

    def vector(self, problem: Problem, parameters: Mapping[str, Array]) -> Array:
        """The answer `(size,)` for parameters in the data's frame."""
        vector = problem.coordinates.unwound().vector(parameters)
        return (vector - jnp.asarray(self.centre, vector.dtype)) / jnp.asarray(self.spread, vector.dtype)


def turned(problem: Problem, element: Any, parameters: Mapping[str, Array]) -> dict[str, Array]:
    """Inferred parameters, turned by an element of the problem's symmetry."""
    symmetry = problem.symmetry
    return dict(parameters) if symmetry is None else symmetry.parameters(element, parameters)


def framed(problem: Problem, example: Example) -> dict[str, Array]:
    """True parameters in the frame of the data."""
    symmetry = problem.symmetry
    if symmetry is None:
        return example.parameters
    values = example.observed.values if isinstance(example.observed, Observation) else example.observed
    valid = problem.noise.valid(values, example.observed)
    element = symmetry.find(jnp.where(valid, values, 0), valid)
    return symmetry.parameters(symmetry.inverse(element), example.parameters)
