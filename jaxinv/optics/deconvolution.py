"""Multiframe blind deconvolution: what frames say of wavefronts, whatever object they show.

    model = TransferFunctions(PointSpread(..., n_frames=12)) >> ObjectSpectrum(n_pixels, pixel_scale)
    problem = ji.Problem(model, BlindDeconvolution(n_pixels, sigma), prior)

Frame j is D_j = S_j O + noise at every spatial frequency, with its transfer function S_j and the object O that all
frames show. O is integrated out: it is a Gaussian field of power s, so that t_j = S_j sqrt(s) / sigma_j and
y_j = D_j / sigma_j have the covariance 1 + t t^H over the frames of each frequency, and

    -2 log p = sum_u [ sum_j |y_j|^2 - |sum_j t_j* y_j|^2 / (1 + sum_j |t_j|^2) + log(1 + sum_j |t_j|^2) ] + constants.

Without the logarithm, and a constant sigma^2 / s, that is the loss of Paxman, Schulz & Fienup (1992, JOSA A 9, 1072);
Vogel, Chan & Plemmons (1998, Proc. SPIE 3353, 994) with a constant s. The sum of squares is evaluated as the misfit of
the best object, sum_j |y_j - t_j o|^2 + |o|^2: the same number without its cancellation, and since o is best, its
derivative by t_j is that for a fixed o.

Everything lives on the frequencies that the telescope passes: arrays (..., n_support, n_support // 2 + 1) in the layout
of `numpy.fft.rfft2` of a smaller image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray
from numpy.typing import ArrayLike

from jaxinv.noise import Noise
from jaxinv.observation import Observation
from jaxinv.optics.elimination import eliminated, square
from jaxinv.optics.transfer import checked_objects, lowest, multiplicity, on_frame


class Spectra(NamedTuple):
    """Frames as `BlindDeconvolution` compares them with transfer functions: transformed once, before a loop.

    Attributes:
        values: `(..., n_support, n_support // 2 + 1)` orthonormal transforms over their sigma.
        beyond: the sum of squares at the frequencies that the telescope does not pass.
    """

    values: Array
    beyond: Array


class Posterior(NamedTuple):
    """Of the object's orthonormal transform, given transfer functions; in units of its power's root.

    Attributes:
        mean: complex, `(*n_objects, n_support, n_support // 2 + 1)`.
        variance: the same shape; 1 where the frames say nothing.
    """

    mean: Array
    variance: Array


class Others(NamedTuple):
    """What other exposures say of what an exposure's channels see, before their transfer functions.

    Attributes:
        mean: complex, `(n_channels, n_support, n_support // 2 + 1)`; exposures may be in front, or channels absent.
        factor: `(n_objects, n_channels, ...)`; the covariance of channels c and d is sum_k factor_kc conj(factor_kd).
    """

    mean: Array
    factor: Array


class BlindDeconvolution(Noise):
    """Frames of one object with Gaussian noise, the object integrated out: see the module's description.

    The prediction is `(n_frames, n_support, n_support // 2 + 1)`, transfer functions times the root of the object's
    power spectrum, and the data are frames `(n_frames, n_pixels, n_pixels)`, which repeat beyond their borders; or
    both with channels in front, `(n_channels, n_frames, ...)`: focus and defocus, wideband and narrowband. Frames
    should have their mean (or what is known of the object) taken off. A missing pixel counts as the frame's mean.

    Args:
        n_pixels: across a frame.
        sigma: of a pixel's noise: a number, or one of each frame and channel, that broadcasts against the prediction's
            axes in front.
        objects: of each channel, the number of the object that it shows, from 0; `None`: all show the same.
        log_determinant: `False` leaves the logarithm out: the plain eliminated loss, no density any more, whose
            parameters of the object have to be known.

    Raises:
        ValueError: a sigma that is not above 0, or objects that are not numbered from 0 without gaps.
    """

    frame_sigma: Any
    n_pixels: int = eqx.field(static=True)
    objects: tuple[int, ...] | None = eqx.field(static=True)
    log_determinant: bool = eqx.field(static=True)

    def __init__(
        self,
        n_pixels: int,
        sigma: ArrayLike,
        objects: Sequence[int] | None = None,
        *,
        log_determinant: bool = True,
    ) -> None:
        if not isinstance(sigma, jax.Array) and not (np.isfinite(sigma).all() and np.min(np.asarray(sigma)) > 0):
            raise ValueError(f"`sigma` is of numbers above 0; found {sigma!r:.60}")
        self.frame_sigma = sigma if isinstance(sigma, jax.Array | int | float) else np.asarray(sigma, float)
        self.n_pixels, self.objects, self.log_determinant = int(n_pixels), checked_objects(objects), log_determinant

    def data_shape(self, prediction_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Frames, where the prediction has transfer functions."""
        return (*prediction_shape[:-2], self.n_pixels, self.n_pixels)

    def with_arrays(self, dtype: Any) -> Noise:
        return eqx.tree_at(lambda noise: noise.frame_sigma, self, np.asarray(self.frame_sigma, dtype))

    def valid(self, values: Any, data: Any) -> Array:
        values = jnp.asarray(values)
        if not isinstance(data, Observation):
            return jnp.isfinite(jnp.asarray(data))
        valid = jnp.isfinite(jnp.asarray(data.values))
        return valid if data.mask is None else valid & jnp.broadcast_to(data.mask, valid.shape)

    def prepared(self, data: Any, prediction_shape: tuple[int, ...]) -> Spectra:
        n, n_support = self.n_pixels, prediction_shape[-2]
        values = jnp.asarray(data.values if isinstance(data, Observation) else data)
        valid = self.valid(values, data)
        values = jnp.where(valid, values, 0)
        count = jnp.maximum(jnp.sum(valid, axis=(-2, -1), keepdims=True), 1)
        mean = jnp.sum(values, axis=(-2, -1), keepdims=True) / count
        values = jnp.where(valid, values, mean)
        whole = jnp.fft.rfft2(values / self._sigma(values.dtype), norm="ortho")
        power = (jnp.real(whole) ** 2 + jnp.imag(whole) ** 2) * multiplicity(n, n)
        rows, columns = lowest(n, n_support)
        outside = np.ones(whole.shape[-2:])
        outside[np.ix_(rows, columns)] = 0
        return Spectra(whole[..., rows[:, None], columns], jnp.sum(power * outside.astype(values.dtype)))

    def misfit(self, prediction: Array, data: Any) -> Array:
        """-2 log density, but for its constants: the sums of squares and, unless left out, the log determinant."""
        spectra = self._spectra(prediction, data)
        total = spectra.beyond
        weight = self._weight(prediction)
        for t, y in self._by_object(prediction, spectra.values):
            total = total + jnp.sum(weight * eliminated(t[None], y, log_determinant=self.log_determinant))
        return total

    def log_density(self, prediction: Array, data: Any) -> Array:
        values = data.values.shape if isinstance(data, Spectra) else prediction.shape
        size = math.prod(values[:-2]) * self.n_pixels**2
        sigma = jnp.broadcast_to(self._sigma(jnp.real(prediction).dtype), (*prediction.shape[:-2], 1, 1))
        constants = size * math.log(2 * math.pi) / 2 + self.n_pixels**2 * jnp.sum(jnp.log(sigma))
        return -self.misfit(prediction, data) / 2 - constants

    def object(self, prediction: Array, data: Any) -> Posterior:
        """What frames say of the object, given its transfer functions: Wiener's estimate and its variance.

        Multiply by the root of the object's power for the orthonormal transform of the object.
        """
        spectra = self._spectra(prediction, data)
        means, variances = [], []
        for t, y in self._by_object(prediction, spectra.values):
            precision = 1 + jnp.sum(square(t), axis=0)
            means.append(jnp.sum(jnp.conj(t) * y, axis=0) / precision)
            variances.append(1 / precision)
        if self.objects is None:
            return Posterior(means[0], variances[0])
        return Posterior(jnp.stack(means), jnp.stack(variances))

    def simulate(self, key: PRNGKeyArray, prediction: Array) -> Array:
        """Frames of an object drawn from its prior, with noise."""
        object_key, noise_key = jax.random.split(key)
        n, n_support, dtype = self.n_pixels, prediction.shape[-2], jnp.real(prediction).dtype
        number = 1 if self.objects is None else max(self.objects) + 1
        rows, columns = lowest(n, n_support)
        white = jnp.fft.rfft2(jax.random.normal(object_key, (number, n, n), dtype), norm="ortho")
        white = white[:, rows[:, None], columns]
        each = white[0] if self.objects is None else white[np.array(self.objects)][:, None]
        frames = jnp.fft.irfft2(on_frame(prediction * each, n), (n, n), norm="ortho")
        return frames + self._sigma(dtype) * jax.random.normal(noise_key, frames.shape, dtype)

    def _spectra(self, prediction: Array, data: Any) -> Spectra:
        return data if isinstance(data, Spectra) else self.prepared(data, prediction.shape)

    def _sigma(self, dtype: Any) -> Array:
        return jnp.asarray(self.frame_sigma, dtype)[..., None, None]

    def _weight(self, prediction: Array) -> Array:
        return jnp.asarray(multiplicity(self.n_pixels, prediction.shape[-2]), jnp.real(prediction).dtype)

    def _by_object(self, prediction: Array, values: Array) -> list[tuple[Array, Array]]:
        """Whitened transfer functions and data of each object, `(n, ...)` of all the frames that show it."""
        t = prediction / self._sigma(jnp.real(prediction).dtype)
        flat = lambda x: x.reshape(-1, *x.shape[-2:])  # noqa: E731
        if self.objects is None:
            return [(flat(t), flat(values))]
        if prediction.ndim != 4 or len(prediction) != len(self.objects):
            raise ValueError(
                f"the noise tells the objects of {len(self.objects)} channels apart, the model predicts "
                f"{prediction.shape}: expected (n_channels, n_frames, ...)"
            )
        own = [np.flatnonzero(np.array(self.objects) == k) for k in range(max(self.objects) + 1)]
        return [(flat(t[index]), flat(values[index])) for index in own]


class KnownObject(Noise):
    """One exposure of objects of which others have told: what blind deconvolution is for one exposure at a time.

    Given the others, what each channel sees, before its transfer function, is normal with a known mean and covariance:
    what raises this density raises that of the whole burst by as much.

    The prediction are transfer functions `(n_support, n_support // 2 + 1)` of one frame, or those of `(n_channels,
    ...)`.

    Args:
        n_pixels: across a frame.
        sigma: of a pixel's noise; a number, or one of each channel.
        known: `ModulatedDeconvolution.without`, of this exposure.
    """

    frame_sigma: Any
    known: Others
    n_pixels: int = eqx.field(static=True)

    def __init__(self, n_pixels: int, sigma: ArrayLike, known: Others) -> None:
        self.n_pixels, self.frame_sigma, self.known = int(n_pixels), sigma, known

    @property
    def _alone(self) -> BlindDeconvolution:
        return BlindDeconvolution(self.n_pixels, jnp.asarray(self.frame_sigma))

    def data_shape(self, prediction_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Frames, where the prediction has transfer functions."""
        return self._alone.data_shape(prediction_shape)

    def valid(self, values: Any, data: Any) -> Array:
        return self._alone.valid(values, data)

    def prepared(self, data: Any, prediction_shape: tuple[int, ...]) -> Spectra:
        return self._alone.prepared(data, prediction_shape)

    def misfit(self, prediction: Array, data: Any) -> Array:
        """-2 log density, but for its constants."""
        spectra = data if isinstance(data, Spectra) else self.prepared(data, prediction.shape)
        real = jnp.real(prediction).dtype
        t = prediction / jnp.asarray(self.frame_sigma, real)[..., None, None]
        weight = jnp.asarray(multiplicity(self.n_pixels, prediction.shape[-2]), real)
        own, rest = t * self.known.factor, spectra.values - t * self.known.mean
        flat = (-1, *t.shape[-2:])
        each = eliminated(own.reshape(len(own), *flat), rest.reshape(flat))
        return spectra.beyond + jnp.sum(weight * each)

    def log_density(self, prediction: Array, data: Any) -> Array:
        sigma = jnp.broadcast_to(jnp.asarray(self.frame_sigma), prediction.shape[:-2])
        constant = self.n_pixels**2 * (sigma.size * math.log(2 * math.pi) / 2 + jnp.sum(jnp.log(sigma)))
        return -self.misfit(prediction, data) / 2 - constant

    def simulate(self, key: PRNGKeyArray, prediction: Array) -> Array:
        """An exposure of objects that are drawn from what is known of them."""
        n, n_support, dtype = self.n_pixels, prediction.shape[-2], jnp.real(prediction).dtype
        object_key, noise_key = jax.random.split(key)
        rows, columns = lowest(n, n_support)
        factor = self.known.factor
        white = jnp.fft.rfft2(jax.random.normal(object_key, (len(factor), n, n), dtype), norm="ortho")
        white = white[:, rows[:, None], columns].reshape(len(factor), *(1,) * (factor.ndim - 3), *factor.shape[-2:])
        seen = prediction * (self.known.mean + jnp.sum(factor * white, axis=0))
        frame = jnp.fft.irfft2(on_frame(seen, n), (n, n), norm="ortho")
        sigma = jnp.asarray(self.frame_sigma, dtype)[..., None, None]
        return frame + sigma * jax.random.normal(noise_key, frame.shape, dtype)
