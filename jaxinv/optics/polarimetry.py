"""Blind deconvolution of a polarimeter's bursts: Stokes images that share the wavefronts of modulated frames.

    model = TransferFunctions(PointSpread(..., n_frames=12)) >> StokesSpectra(n_pixels, pixel_scale)
    problem = ji.Problem(model, ModulatedDeconvolution(n_pixels, sigma, modulation), prior)

Frame j is D_j = S_j sum_k M_jk O_k + noise, with the modulation matrix M of the polarimeter and the Stokes images O_k,
each a Gaussian field of a power of its own. They are integrated out together: with T_jk = M_jk S_j sqrt(s_k) / sigma_j
and y_j = D_j / sigma_j, the frames have the covariance 1 + T T^H at each frequency, and

    -2 log p = sum_u [ y^H y - y^H T A^-1 T^H y + log det A ] + constants,   A = 1 + T^H T.

Demodulating first and deconvolving then mixes frames with different wavefronts; here nothing is mixed. For M a column
of ones it is `BlindDeconvolution`.
"""

from __future__ import annotations

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray
from numpy.typing import ArrayLike

from jaxinv.forward import Parameters
from jaxinv.noise import Noise
from jaxinv.optics.deconvolution import BlindDeconvolution, Posterior, Spectra
from jaxinv.optics.transfer import ObjectSpectrum, lowest, multiplicity, on_frame


class StokesSpectra(ObjectSpectrum):
    """Transfer functions times the root of each Stokes image's power: `(n_frames, ...)` to `(n_stokes, n_frames, ...)`.

    The parameters of `ObjectSpectrum`, `(n_stokes,)` each.

    Args:
        n_pixels: across a frame.
        pixel_scale: [arcsec].
        n_stokes: how many images.
    """

    def __init__(self, n_pixels: int, pixel_scale: float, n_stokes: int = 4) -> None:
        super().__init__(n_pixels, pixel_scale, range(n_stokes))

    def __call__(self, parameters: Parameters, prediction: Array) -> Array:
        power = self.power(parameters, prediction.shape[-2])
        return jnp.sqrt(power).astype(jnp.real(prediction).dtype)[:, None] * prediction


class ModulatedDeconvolution(Noise):
    """Modulated frames with Gaussian noise, the Stokes images integrated out: see the module's description.

    The prediction is `(n_stokes, n_frames, n_support, n_support // 2 + 1)`, the data are frames `(n_frames, n_pixels,
    n_pixels)`, which repeat beyond their borders, with what is known taken off. A missing pixel counts as the frame's
    mean.

    Args:
        n_pixels: across a frame.
        sigma: of a pixel's noise, a number or `(n_frames,)`.
        modulation: `(n_frames, n_stokes)`, what the detector sees of each Stokes parameter.

    Raises:
        ValueError: a sigma that is not above 0; a modulation that is no finite matrix, or leaves a Stokes parameter
            undetermined.
    """

    frames: BlindDeconvolution
    modulation: Any

    def __init__(self, n_pixels: int, sigma: ArrayLike, modulation: ArrayLike) -> None:
        self.frames = BlindDeconvolution(n_pixels, sigma)
        self.modulation = np.asarray(modulation, float)
        if self.modulation.ndim != 2 or not np.isfinite(self.modulation).all():
            raise ValueError(f"`modulation` is a finite matrix (n_frames, n_stokes); found {self.modulation.shape}")
        n_stokes = self.modulation.shape[1]
        if np.linalg.matrix_rank(self.modulation) < n_stokes:
            raise ValueError(
                f"a modulation of {len(self.modulation)} frames and rank {np.linalg.matrix_rank(self.modulation)} does "
                f"not determine {n_stokes} Stokes parameters"
            )

    def data_shape(self, prediction_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Frames, where the prediction has transfer functions of each Stokes parameter."""
        return self.frames.data_shape(prediction_shape[1:])

    def with_arrays(self, dtype: Any) -> Noise:
        changed = (self.frames.with_arrays(dtype), np.asarray(self.modulation, dtype))
        return eqx.tree_at(lambda noise: (noise.frames, noise.modulation), self, changed)

    def valid(self, values: Any, data: Any) -> Array:
        return self.frames.valid(values, data)

    def prepared(self, data: Any, prediction_shape: tuple[int, ...]) -> Spectra:
        return self.frames.prepared(data, prediction_shape[1:])

    def misfit(self, prediction: Array, data: Any) -> Array:
        """-2 log density, but for its constants."""
        spectra = self._spectra(prediction, data)
        t, precision = self._system(prediction)
        best = jax.lax.stop_gradient(self._best(t, precision, spectra.values))
        left = spectra.values - jnp.sum(t * best[:, None], axis=0)
        each = jnp.sum(_square(left), axis=0) + jnp.sum(_square(best), axis=0)
        roots = jnp.real(jnp.diagonal(jnp.linalg.cholesky(precision), axis1=-2, axis2=-1))
        real = jnp.real(prediction).dtype
        weight = jnp.asarray(multiplicity(self.frames.n_pixels, prediction.shape[-2]), real)
        return spectra.beyond + jnp.sum(weight * (each + 2 * jnp.sum(jnp.log(roots), axis=-1)))

    def log_density(self, prediction: Array, data: Any) -> Array:
        n, n_frames = self.frames.n_pixels, len(self.modulation)
        sigma = jnp.broadcast_to(jnp.asarray(self.frames.frame_sigma), (n_frames,))
        constants = n**2 * (n_frames * math.log(2 * math.pi) / 2 + jnp.sum(jnp.log(sigma)))
        return -self.misfit(prediction, data) / 2 - constants

    def object(self, prediction: Array, data: Any) -> Posterior:
        """What the frames say of the Stokes images, `(n_stokes, n_support, n_support // 2 + 1)`.

        Multiply by the root of each one's power for its orthonormal transform.
        """
        t, precision = self._system(prediction)
        mean = self._best(t, precision, self._spectra(prediction, data).values)
        variance = jnp.real(jnp.diagonal(jnp.linalg.inv(precision), axis1=-2, axis2=-1))
        return Posterior(mean, jnp.moveaxis(variance, -1, 0))

    def simulate(self, key: PRNGKeyArray, prediction: Array) -> Array:
        """Frames of Stokes images drawn from their prior, with noise."""
        n, n_support, dtype = self.frames.n_pixels, prediction.shape[-2], jnp.real(prediction).dtype
        image_key, noise_key = jax.random.split(key)
        rows, columns = lowest(n, n_support)
        white = jnp.fft.rfft2(jax.random.normal(image_key, (len(prediction), n, n), dtype), norm="ortho")
        matrix = jnp.asarray(self.modulation, dtype).T[..., None, None]
        seen = jnp.sum(matrix * prediction * white[:, None, rows[:, None], columns], axis=0)
        frames = jnp.fft.irfft2(on_frame(seen, n), (n, n), norm="ortho")
        sigma = jnp.asarray(self.frames.frame_sigma, dtype)[..., None, None]
        return frames + sigma * jax.random.normal(noise_key, frames.shape, dtype)

    def _spectra(self, prediction: Array, data: Any) -> Spectra:
        return data if isinstance(data, Spectra) else self.prepared(data, prediction.shape)

    def _system(self, prediction: Array) -> tuple[Array, Array]:
        """T `(n_stokes, n_frames, ...)`, and A `(..., n_stokes, n_stokes)`."""
        if prediction.shape[:2] != self.modulation.shape[::-1]:
            raise ValueError(
                f"the modulation is of {self.modulation.shape[0]} frames and {self.modulation.shape[1]} Stokes "
                f"parameters, the model predicts {prediction.shape}: expected (n_stokes, n_frames, ...)"
            )
        real = jnp.real(prediction).dtype
        scale = jnp.asarray(self.modulation, real).T / jnp.asarray(self.frames.frame_sigma, real)
        t = scale[..., None, None] * prediction
        normal = jnp.einsum("kf...,lf...->...kl", jnp.conj(t), t)
        return t, normal + jnp.eye(len(t), dtype=real)

    @staticmethod
    def _best(t: Array, precision: Array, values: Array) -> Array:
        pull = jnp.einsum("kf...,f...->...k", jnp.conj(t), values)
        return jnp.moveaxis(jnp.linalg.solve(precision, pull[..., None])[..., 0], -1, 0)


def _square(x: Array) -> Array:
    return jnp.real(x) ** 2 + jnp.imag(x) ** 2
