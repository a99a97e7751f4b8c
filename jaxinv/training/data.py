"""Simulated training data over a range of conditions, and data as the numbers that a network reads."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from jaxinv import priors
from jaxinv.noise import Gaussian, Noise, Poisson, Samplewise, StudentT
from jaxinv.observation import Observation
from jaxinv.problem import Problem
from jaxinv.training.coding import ParameterCoding

NOISES = (Gaussian, StudentT, Poisson)
"""Kinds of noise that can be written with a network and read again."""


class Conditions(eqx.Module):
    """What varies between observations that one network is to serve, and which of them it sees most.

    Attributes:
        noise: smallest and largest factor on the noise's sigma; drawn evenly in its logarithm, for each row of the
            prediction (each Stokes parameter) by itself.
        known: prior of parameters that are known for each object when the network is used (a wavelength offset).
        drawn: distributions that examples are drawn from in place of the prior's, inside its support: more weak
            fields, say, than a flat prior has.

    Raises:
        ValueError: a range with the larger number first.
    """

    noise: tuple[float, float] = eqx.field(static=True, default=(1.0, 1.0))
    known: dict[str, Any] = eqx.field(default_factory=dict)
    drawn: dict[str, Any] = eqx.field(default_factory=dict)

    def __check_init__(self) -> None:
        low, high = self.noise
        if not 0 < low <= high:
            raise ValueError(
                f"the range of noise factors takes two numbers above 0, the lower first; found {self.noise}"
            )

    def check(self, problem: Problem) -> None:
        """Whether a problem can be observed under these conditions.

        Raises:
            ValueError: they name what is no parameter, draw from beyond the prior, or the noise has no sigma to vary.
        """
        for name in self.known:
            if name not in problem.forward.units:
                raise ValueError(
                    f"the conditions name {name!r}, which is no parameter of the forward model "
                    f"(it reads {', '.join(problem.forward.units)})"
                )
        for name, distribution in self.drawn.items():
            if name not in problem.names:
                raise ValueError(
                    f"the conditions draw {name!r}, which the problem does not infer (it infers "
                    f"{', '.join(problem.names)})"
                )
            wide, narrow = priors.bounds(problem.prior[name]), priors.bounds(distribution)
            if np.any(narrow[0] < wide[0]) or np.any(narrow[1] > wide[1]):
                raise ValueError(f"the conditions draw {name!r} from beyond the bounds of its prior: narrow them")
        if self.noise != (1.0, 1.0) and problem.noise.sigma is None:
            raise ValueError(f"{type(problem.noise).__name__} noise has no sigma whose level could vary")


class Example(NamedTuple):
    """An object to learn from.

    Attributes:
        parameters: the true ones.
        known: what is known of it.
        observed: its data.
        clean: what they would be without noise.
    """

    parameters: dict[str, Array]
    known: dict[str, Array]
    observed: Any
    clean: Array


def simulated(problem: Problem, conditions: Conditions, key: PRNGKeyArray) -> Example:
    """One example, under conditions drawn from their ranges.

    Args:
        problem: without the parameters that are known.
        conditions: their ranges.
        key: random key.
    """
    known_key, level_key, prior_key, noise_key = jax.random.split(key, 4)
    known = priors.sample(conditions.known, known_key)
    parameters = priors.sample({**problem.prior, **conditions.drawn}, prior_key)
    clean = problem.predict({**parameters, **known})
    if conditions.noise == (1.0, 1.0):
        return Example(parameters, known, problem.noise.simulate(noise_key, clean), clean)
    noise = at_level(problem, level(conditions, clean.shape, level_key)).noise
    sigma = jnp.broadcast_to(jnp.asarray(noise.sigma, clean.dtype), clean.shape)
    return Example(parameters, known, Observation(noise.simulate(noise_key, clean), sigma), clean)


def level(conditions: Conditions, shape: tuple[int, ...], key: PRNGKeyArray) -> Array:
    """Factors on sigma, one for each row of a prediction of this shape, drawn evenly in their logarithm."""
    low, high = (math.log(x) for x in conditions.noise)
    rows = (shape[0], *(1,) * (len(shape) - 1)) if len(shape) > 1 else ()
    return jnp.exp(jax.random.uniform(key, rows, minval=low, maxval=high))


def at_level(problem: Problem, factor: Array) -> Problem:
    """The problem with its sigma, if it has one, times a factor."""
    if problem.noise.sigma is None:
        return problem
    return eqx.tree_at(lambda p: p.noise, problem, problem.noise.with_sigma(jnp.asarray(problem.noise.sigma) * factor))


class DataCoding(eqx.Module):
    """What a network sees of data: whitened by the nominal noise, plainly and on a logarithmic scale, and the noise.

    Attributes:
        noise: the nominal one.
        mean: of the data, in the shape of the prediction.
        spread: rms of the whitened data about their mean, for each row.
        known: coding of what is known of each object; `None` where nothing is.
    """

    noise: Samplewise
    mean: np.ndarray
    spread: np.ndarray
    known: ParameterCoding | None

    @staticmethod
    def of(problem: Problem, conditions: Conditions, key: PRNGKeyArray, n: int = 2048) -> DataCoding:
        """Measured on simulated data."""
        nominal = Conditions((1.0, 1.0), conditions.known, conditions.drawn)
        keys = jax.random.split(key, n)
        values = jax.lax.map(lambda k: simulated(problem, nominal, k).observed, keys, batch_size=64)
        mean = np.asarray(jnp.mean(values, axis=0))
        whitened = np.asarray(jax.vmap(lambda v: problem.samplewise.residual(jnp.asarray(mean), v))(values))
        axes = tuple(a for a in range(whitened.ndim) if a != 1 or mean.ndim == 1)
        spread = np.sqrt(np.mean(whitened**2, axis=axes)).reshape(-1, *(1,) * (mean.ndim - 1))
        known = ParameterCoding.of(conditions.known, tuple(problem.forward.units)) if conditions.known else None
        return DataCoding(problem.samplewise, mean, np.maximum(spread, 1e-3), known)

    @property
    def rows(self) -> int:
        """Channels of the data: the leading axis of a prediction with two or more."""
        return self.mean.shape[0] if self.mean.ndim > 1 else 1

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

    def encode(self, noise: Noise, observed: Any, known: Mapping[str, Array]) -> tuple[Array, Array]:
        """Two channels for each row, `(2 * rows, n)`, 0 where a sample is missing; and `(n_more,)`.

        `noise` is the one in use, whose sigma counts where the data have none of their own.
        """
        values = observed.values if isinstance(observed, Observation) else observed
        mean = jnp.asarray(self.mean, values.dtype)
        valid = noise.valid(mean, observed)
        whitened = self.noise.residual(mean, jnp.where(valid, values, jnp.nan)).reshape(self.rows, -1)
        spread = jnp.asarray(self.spread, values.dtype).reshape(self.rows, 1)
        channels = jnp.concatenate([whitened / spread, jnp.arcsinh(whitened) / jnp.arcsinh(spread)])
        level = jnp.zeros(self.rows, values.dtype)
        if self.noise.sigma is not None:
            own = observed.sigma if isinstance(observed, Observation) else None
            sigma = jnp.asarray(noise.sigma if own is None else own)
            nominal = jnp.asarray(self.noise.sigma)
            ratio = jnp.broadcast_to(sigma / nominal, mean.shape).astype(values.dtype)
            ratio = jnp.where(valid & (ratio > 0), ratio, 1).reshape(self.rows, -1)
            level = jnp.mean(jnp.log(ratio), axis=1)
        more = [level] if self.known is None else [level, self.known.encode(known)]
        return channels, jnp.concatenate(more)
