"""Normal priors of images, alike everywhere on a torus: the Fourier transform makes their pixels independent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array

from jaxinv.imaging.operator import check_shape
from jaxinv.regularizers import Correlated, Regularizer, Term


class _Quadratic(Term):
    """Half the sum of |modes of x - mean|^2 / power, with the unitary Fourier transform."""

    precision: Any
    mean: Any

    def penalty(self, coefficients: Array) -> Array:
        away = coefficients - self.mean
        return jnp.sum(away * self.times(away, self.precision)) / 2

    def prox(self, coefficients: Array, step: Any) -> Array:
        return self.mean + self.times(coefficients - self.mean, 1 / (1 + step * jnp.asarray(self.precision)))

    def times(self, x: Array, spectrum: Any) -> Array:
        """Each mode times a number."""
        return jnp.fft.irfft2(jnp.fft.rfft2(x) * spectrum, s=self.shape)

    @property
    def smooth(self) -> bool:
        return True


class Tikhonov(Regularizer):
    """log density = -weight / 2 * the sum of squared values, or of their differences.

    Args:
        shape: of the image, (ny, nx).
        weight: for each squared unit; may be traced.
        order: 0: of the values; 1: of the differences to the next pixels, on a torus; 2: of the Laplacian.

    Raises:
        ValueError: another order, a weight that is not above 0, or no shape of an image.
    """

    def __init__(self, shape: Sequence[int], weight: Any, *, order: Literal[0, 1, 2] = 0) -> None:
        image = check_shape(shape)
        if order not in (0, 1, 2):
            raise ValueError(f"the order is 0 (values), 1 (differences) or 2 (Laplacian); found {order!r}")
        precision = jnp.asarray(above_0(weight)) * laplacian(image) ** order
        super().__init__((_Quadratic(image, precision, 0.0),))


class PowerSpectrum(Correlated):
    """A normal prior of an image that is alike everywhere on a torus: a Gaussian random field.

    The unitary Fourier transform's modes of the image less its mean are independent, with the variance `power`: white
    noise of the variance v has the power v. It is normalized, and can be drawn from; `ADMM` with it is a Wiener filter,
    which `GaussNewtonCG` finds in fewer steps.

    Args:
        shape: of the image, (ny, nx).
        power: above 0, for each mode as `rfft2` orders them, `(ny, nx // 2 + 1)`; or a function of the frequency
            [cycles per pixel] that gives it, also at 0. May be traced.
        mean: of the image, a number or `(ny, nx)`.

    Raises:
        ValueError: a power that is not above 0 everywhere or has another shape, or no shape of an image.
    """

    def __init__(self, shape: Sequence[int], power: Any, *, mean: Any = 0.0) -> None:
        image = ny, nx = check_shape(shape)
        if callable(power):
            power = power(np.hypot(np.fft.fftfreq(ny)[:, None], np.fft.rfftfreq(nx)))
        power = jnp.asarray(power, float)
        if power.shape not in ((), (ny, nx // 2 + 1)):
            raise ValueError(f"the power has the shape {power.shape}; rfft2 of the image has {(ny, nx // 2 + 1)}")
        if not isinstance(power, Tracer) and not np.all(np.isfinite(power) & (np.asarray(power) > 0)):
            raise ValueError("the power has to be finite and above 0 for every mode, the mean of the image included")
        power = jnp.broadcast_to(power, (ny, nx // 2 + 1))
        super().__init__((_Quadratic(image, 1 / power, jnp.broadcast_to(jnp.asarray(mean, float), image)),))

    @property
    def _quadratic(self) -> _Quadratic:
        (term,) = self.terms
        assert isinstance(term, _Quadratic)
        return term

    @property
    def power(self) -> Array:
        return 1 / self._quadratic.precision

    @property
    def mean(self) -> Array:
        return self._quadratic.mean

    @property
    def variance(self) -> Array:
        """Of each pixel, the same everywhere."""
        weight = both_halves(self.event_shape[1])
        return jnp.full(self.event_shape, jnp.sum(self.power * weight) / math.prod(self.event_shape))

    def coloured(self, white: Array) -> Array:
        term = self._quadratic
        return term.mean.astype(white.dtype) + term.times(white, jnp.sqrt(self.power).astype(white.dtype))

    def whitened(self, value: Array) -> Array:
        term = self._quadratic
        return term.times(value - term.mean.astype(value.dtype), jnp.sqrt(term.precision).astype(value.dtype))

    @property
    def log_scale(self) -> Array:
        return jnp.sum(jnp.log(self.power) * both_halves(self.event_shape[1])) / 2


def both_halves(nx: int) -> np.ndarray:
    """How many modes of the whole plane each column of `rfft2` stands for."""
    both = np.full(nx // 2 + 1, 2.0)
    both[0] = 1
    if nx % 2 == 0:
        both[-1] = 1
    return both


def laplacian(shape: tuple[int, ...]) -> np.ndarray:
    """Eigenvalues of minus the five-point Laplacian on a torus."""
    ky, kx = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])
    return (4 * np.sin(np.pi * ky) ** 2 + 4 * np.sin(np.pi * kx) ** 2).astype(np.float32)


def above_0(given: Any, what: str = "weight") -> Any:
    """What may be a weight.

    Raises:
        ValueError: a number that is not above 0.
    """
    if isinstance(given, int | float) and not (given > 0 and math.isfinite(given)):
        raise ValueError(f"the {what} is a number above 0; found {given}")
    return given
