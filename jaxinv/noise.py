"""Noise: what scores a prediction against data.

A noise has a log density and says what shape the data have that go with a prediction: they need not have the
prediction's own (transfer functions are predicted where frames are observed).

Most noises are a sum over samples (`Samplewise`). They offer `residual` with log density = -|residual|^2 / 2 + a
constant that does not depend on the prediction: least squares works with all of them (for Poisson and Student's t as
the signed square root of the deviance; McCullagh & Nelder 1989, Generalized Linear Models, sec. 2.4).

`data` is an array or an `Observation`. A sample is left out (residual 0) where the mask is `False`, the value or its
sigma is not finite, or sigma is not positive.
"""

from __future__ import annotations

import abc
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from jaxinv.observation import Observation


def _above_0(number: Any) -> Any:
    """What may be a sigma: an array, or a number above 0.

    Raises:
        ValueError: it is not above 0, or carries a unit.
    """
    if hasattr(number, "unit"):
        raise ValueError(f"sigma carries the unit {number.unit}: give it as plain numbers in the unit of the data")
    if isinstance(number, int | float) and not number > 0:
        raise ValueError(f"sigma and degrees_of_freedom are numbers above 0; found {number}")
    return np.asarray(number, float) if isinstance(number, list | tuple) else number


class Noise(eqx.Module):
    """Scores a prediction against data and draws data from a prediction."""

    @abc.abstractmethod
    def log_density(self, prediction: Array, data: Any) -> Array:
        """The log density of the valid samples, normalized; a scalar."""

    @abc.abstractmethod
    def simulate(self, key: PRNGKeyArray, prediction: Array) -> Array:
        """Data with this noise, of the shape `data_shape`."""

    def misfit(self, prediction: Array, data: Any) -> Array:
        """What an optimizer lowers, a scalar: -2 log density, but for what does not depend on the prediction."""
        return -2 * self.log_density(prediction, data)

    def data_shape(self, prediction_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the data that go with a prediction."""
        return prediction_shape

    @property
    def sigma(self) -> Any:
        """Its scale in the units of the data, which an `Observation` may replace; `None`: it has none."""
        return None

    def with_sigma(self, sigma: Any) -> Noise:
        """The same noise with another sigma.

        Raises:
            ValueError: it has none.
        """
        del sigma
        raise ValueError(f"{type(self).__name__} noise takes no sigma: leave it out of the Observation")

    def valid(self, values: Any, data: Any) -> Array:
        """`True` where a sample counts, in the shape of the data's `values` (only their shape is used)."""
        return _unpack(data, 1.0 if self.sigma is None else self.sigma, values)[2]

    def prepared(self, data: Any, prediction_shape: tuple[int, ...]) -> Any:
        """One object's data in the form in which they are scored quickest: `misfit` and `log_density` take it, too."""
        del prediction_shape
        return data

    def tail(self, misfit: Array, n_valid: Array) -> Array | None:
        """The probability that the misfit of new data exceeds `misfit`; `None`: no closed form, draw data to see."""
        del misfit, n_valid
        return None

    def with_arrays(self, dtype: Any) -> Noise:
        """The same noise with its numbers as arrays, so that others are not another compiled program.

        Of the data's type: JAX 0.10 crashes on NumPy's float64 after `jax_enable_x64` was switched.
        """
        del dtype
        return self


class Samplewise(Noise):
    """A noise of independent samples: the data have the shape of the prediction."""

    @abc.abstractmethod
    def residual(self, prediction: Array, data: Any) -> Array:
        """Whitened residuals, data minus prediction, in the shape of the prediction; 0 where the sample is left out."""

    def misfit(self, prediction: Array, data: Any) -> Array:
        """The sum of squared whitened residuals."""
        return jnp.sum(self.residual(prediction, data) ** 2)

    @property
    def sum_of_squares(self) -> bool:
        """Whether the log density is a weighted sum of squared differences, the weights being given by `weights`."""
        return False

    def weights(self, prediction: Array, data: Any) -> Array:
        """1 / variance of each sample, at a prediction where it depends on it; 0 where it is left out."""
        raise NotImplementedError

    def prox(self, prediction: Array, step: Any, data: Any) -> Array:
        """The p with the least |p - prediction|^2 / 2 + step misfit(p) / 2, for proximal methods.

        Raises:
            ValueError: there is no closed form.
        """
        del prediction, step, data
        raise ValueError(f"{type(self).__name__} noise has no prox: take solver=FISTA(), or Gaussian or Poisson noise")


class Scaled(Samplewise):
    """A noise of independent samples with a standard deviation or scale `sigma`."""

    sigma: Any = eqx.field(default=1.0, converter=_above_0)  # pyright: ignore[reportAssignmentType]

    def with_sigma(self, sigma: Any) -> Noise:
        return eqx.tree_at(lambda noise: noise.sigma, self, sigma)

    def with_arrays(self, dtype: Any) -> Noise:
        return jax.tree.map(lambda x: np.asarray(x, dtype) if isinstance(x, int | float | np.ndarray) else x, self)


class Gaussian(Scaled):
    """Independent Gaussian noise.

    Args:
        sigma: standard deviation in the units of the data, any shape that broadcasts against the prediction
            (`sigma[:, None]` for one number for each Stokes parameter); infinite for a sample to be left out.
    """

    def residual(self, prediction: Array, data: Any) -> Array:
        values, sigma, valid = _unpack(data, self.sigma, prediction)
        return jnp.where(valid, (values - prediction) / sigma, 0)

    def log_density(self, prediction: Array, data: Any) -> Array:
        _, sigma, valid = _unpack(data, self.sigma, prediction)
        residual = self.residual(prediction, data)
        return jnp.sum(jnp.where(valid, -(residual**2) / 2 - jnp.log(sigma) - math.log(2 * math.pi) / 2, 0))

    @property
    def sum_of_squares(self) -> bool:
        return True

    def weights(self, prediction: Array, data: Any) -> Array:
        _, sigma, valid = _unpack(data, self.sigma, prediction)
        return jnp.where(valid, 1 / sigma**2, 0)

    def prox(self, prediction: Array, step: Any, data: Any) -> Array:
        values, sigma, valid = _unpack(data, self.sigma, prediction)
        return jnp.where(valid, (prediction * sigma**2 + step * values) / (sigma**2 + step), prediction)

    def tail(self, misfit: Array, n_valid: Array) -> Array:
        """A chi-squared distribution's, with as many degrees of freedom as there are valid samples."""
        return jax.scipy.special.gammaincc(jnp.maximum(n_valid, 1) / 2, misfit / 2)

    def simulate(self, key: PRNGKeyArray, prediction: Array) -> Array:
        sigma = jnp.asarray(self.sigma, prediction.dtype)
        return prediction + sigma * jax.random.normal(key, prediction.shape, prediction.dtype)


class StudentT(Scaled):
    """Independent Student's t noise: robust against outliers.

    Args:
        sigma: scale in the units of the data, broadcastable against the prediction.
        degrees_of_freedom: above 0; small numbers have heavy tails.
    """

    degrees_of_freedom: Any = eqx.field(default=4.0, converter=_above_0)

    def residual(self, prediction: Array, data: Any) -> Array:
        values, sigma, valid = _unpack(data, self.sigma, prediction)
        t = jnp.where(valid, (values - prediction) / sigma, 0)
        nu = jnp.asarray(self.degrees_of_freedom, prediction.dtype)
        # sign(t) sqrt((nu + 1) log(1 + t^2 / nu)), written so that its derivative at t = 0 is finite.
        square = t**2 / nu
        ratio = jnp.where(square > 1e-6, jnp.log1p(square) / jnp.where(square > 1e-6, square, 1), 1 - square / 2)
        return t * jnp.sqrt((nu + 1) / nu * ratio)

    def log_density(self, prediction: Array, data: Any) -> Array:
        _, sigma, valid = _unpack(data, self.sigma, prediction)
        nu = jnp.asarray(self.degrees_of_freedom, prediction.dtype)
        log_gamma = jax.scipy.special.gammaln
        constant = log_gamma((nu + 1) / 2) - log_gamma(nu / 2) - jnp.log(nu * math.pi) / 2
        return jnp.sum(jnp.where(valid, constant - jnp.log(sigma) - self.residual(prediction, data) ** 2 / 2, 0))

    def simulate(self, key: PRNGKeyArray, prediction: Array) -> Array:
        sigma = jnp.asarray(self.sigma, prediction.dtype)
        nu = jnp.asarray(self.degrees_of_freedom, prediction.dtype)
        return prediction + sigma * jax.random.t(key, nu, prediction.shape, prediction.dtype)


class Poisson(Samplewise):
    """Counts with the prediction as their mean; values and predictions are in detected events."""

    def residual(self, prediction: Array, data: Any) -> Array:
        counts, mean, valid = self._checked(prediction, data)
        # The deviance 2 (m - d + d log(d / m)) = (d - m)^2 / m * h(u), u = (d - m) / m, is analytic at d = m.
        u = (counts - mean) / mean
        near = jnp.abs(u) < 1e-2
        series = 1 - u / 3 + u**2 / 6 - u**3 / 10 + u**4 / 15
        small = (counts - mean) / jnp.sqrt(mean) * jnp.sqrt(jnp.where(near, series, 1))
        logarithm = jnp.log(jnp.maximum(counts, 1e-30)) - jnp.log(mean)
        deviance = 2 * (mean - counts + counts * logarithm)
        large = jnp.sign(u) * jnp.sqrt(jnp.where(near, 1, deviance))
        return jnp.where(valid, jnp.where(near, small, large), 0)

    def log_density(self, prediction: Array, data: Any) -> Array:
        counts, mean, valid = self._checked(prediction, data)
        terms = jax.scipy.special.xlogy(counts, mean) - mean - jax.scipy.special.gammaln(counts + 1)
        return jnp.sum(jnp.where(valid, terms, 0))

    def weights(self, prediction: Array, data: Any) -> Array:
        """1 / mean."""
        _, mean, valid = self._checked(prediction, data)
        return jnp.where(valid, 1 / mean, 0)

    def prox(self, prediction: Array, step: Any, data: Any) -> Array:
        counts, _, valid = self._checked(prediction, data)
        # The root above 0 of p^2 + (step - v) p - step d, written so that nothing cancels.
        half = (step - prediction) / 2
        root = jnp.sqrt(half**2 + step * counts)
        below = jnp.where(half > 0, root + half, 1)
        found = jnp.where(half > 0, step * counts / below, root - half)
        return jnp.where(valid, found, prediction)

    def simulate(self, key: PRNGKeyArray, prediction: Array) -> Array:
        return jax.random.poisson(key, prediction).astype(prediction.dtype)

    @staticmethod
    def _checked(prediction: Array, data: Any) -> tuple[Array, Array, Array]:
        counts, _, valid = _unpack(data, 1.0, prediction)
        valid = valid & (counts >= 0)
        floor = jnp.asarray(1e-6, prediction.dtype)
        return jnp.where(valid, counts, 1), jnp.where(valid, jnp.maximum(prediction, floor), 1), valid


def as_noise(noise: Any) -> Noise:
    """The noise itself; `Gaussian` of a number or an array.

    Raises:
        ValueError: it is something else, or a sigma that is not above 0.
    """
    if isinstance(noise, Noise):
        return noise
    if isinstance(noise, type):
        raise ValueError(f"the noise is the class {noise.__name__}: make one of it, {noise.__name__}(...)")
    if isinstance(noise, int | float) or getattr(getattr(noise, "dtype", None), "kind", "") in tuple("fiu"):
        return Gaussian(noise)
    raise ValueError(
        "the noise is a jaxinv.noise.Gaussian(sigma), StudentT, Poisson or a number, the sigma of Gaussian; "
        f"found {noise!r:.60}"
    )


def _unpack(data: Any, sigma: Any, prediction: Any) -> tuple[Array, Array, Array]:
    """Values, sigma and validity in the prediction's shape and dtype, with harmless numbers where not valid."""
    mask = None
    if isinstance(data, Observation):
        data, own, mask, _ = data
        sigma = sigma if own is None else own
    dtype = prediction.dtype
    values = jnp.broadcast_to(jnp.asarray(data, dtype), prediction.shape)
    sigma = jnp.broadcast_to(jnp.asarray(sigma, dtype), prediction.shape)
    valid = jnp.isfinite(values) & jnp.isfinite(sigma) & (sigma > 0)
    if mask is not None:
        valid = valid & jnp.broadcast_to(mask, prediction.shape)
    return jnp.where(valid, values, 0), jnp.where(valid, sigma, 1), valid
