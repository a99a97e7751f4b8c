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
from jaxinv.optics.deconvolution import BlindDeconvolution, Others, Posterior, Spectra
from jaxinv.optics.elimination import eliminated, square, system_of
from jaxinv.optics.transfer import ObjectSpectrum, lowest, multiplicity, on_frame


class StokesSpectra(ObjectSpectrum):
    """Transfer functions times the root of each Stokes image's power, Stokes parameters in front.

    `(n_frames, ...)` to `(n_stokes, n_frames, ...)`, with channels or without. The parameters are those of
    `ObjectSpectrum`, `(n_stokes,)` each.

    Args:
        n_pixels: across a frame.
        pixel_scale: [arcsec].
        n_stokes: how many images.
    """

    def __init__(self, n_pixels: int, pixel_scale: float, n_stokes: int = 4) -> None:
        super().__init__(n_pixels, pixel_scale, range(n_stokes))

    def __call__(self, parameters: Parameters, prediction: Array) -> Array:
        power = self.power(parameters, prediction.shape[-2])
        root = jnp.sqrt(power).astype(jnp.real(prediction).dtype)
        return jnp.expand_dims(root, tuple(range(1, prediction.ndim - 1))) * prediction


class ModulatedDeconvolution(Noise):
    """Modulated frames with Gaussian noise, the Stokes images integrated out: see the module's description.

    The prediction is `(n_stokes, n_frames, n_support, n_support // 2 + 1)`, the data are frames `(n_frames, n_pixels,
    n_pixels)`, which repeat beyond their borders, with what is known taken off; or both with channels before the
    frames: the two beams of a polarimeter. A missing pixel counts as the frame's mean.

    Args:
        n_pixels: across a frame.
        sigma: of a pixel's noise, a number or one of each frame.
        modulation: `(n_frames, n_stokes)` or `(n_channels, n_frames, n_stokes)`, what the detector sees of each Stokes
            parameter.

    Raises:
        ValueError: a sigma that is not above 0; a modulation that is no finite matrix, or leaves a Stokes parameter
            undetermined.
    """

    frames: BlindDeconvolution
    modulation: Any

    def __init__(self, n_pixels: int, sigma: ArrayLike, modulation: ArrayLike) -> None:
        self.frames = BlindDeconvolution(n_pixels, sigma)
        self.modulation = np.asarray(modulation, float)
        if self.modulation.ndim not in (2, 3) or not np.isfinite(self.modulation).all():
            raise ValueError(f"`modulation` is a finite matrix (n_frames, n_stokes); found {self.modulation.shape}")
        rows = self.modulation.reshape(-1, self.modulation.shape[-1])
        rank = np.linalg.matrix_rank(rows)
        if rank < rows.shape[1]:
            raise ValueError(
                f"a modulation of {len(rows)} frames and rank {rank} does not determine {rows.shape[1]} Stokes "
                "parameters"
            )

    @property
    def frame_sigma(self) -> Any:
        """Of a pixel's noise, of each frame."""
        return self.frames.frame_sigma

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
        each = eliminated(_flat_frames(self.whitened(prediction)), _flat(spectra.values))
        return spectra.beyond + jnp.sum(self._weight(prediction) * each)

    def log_density(self, prediction: Array, data: Any) -> Array:
        n, frames = self.frames.n_pixels, self.modulation.shape[:-1]
        sigma = jnp.broadcast_to(jnp.asarray(self.frames.frame_sigma), frames)
        constants = n**2 * (math.prod(frames) * math.log(2 * math.pi) / 2 + jnp.sum(jnp.log(sigma)))
        return -self.misfit(prediction, data) / 2 - constants

    def object(self, prediction: Array, data: Any) -> Posterior:
        """What the frames say of the Stokes images, `(n_stokes, n_support, n_support // 2 + 1)`.

        Multiply by the root of each one's power for its orthonormal transform.
        """
        system = system_of(_flat_frames(self.whitened(prediction)))
        mean = system.best(_flat(self._spectra(prediction, data).values))
        covariance = system.covariance()
        return Posterior(mean, jnp.stack([jnp.real(covariance[k, k]) for k in range(len(mean))]))

    def curvature(self, prediction: Array, data: Any, change: Array) -> Array:
        """How much each frame feels a change of its own transfer function, in the shape of the frames.

        Half the second derivative of the misfit along it, in the sense of Gauss and Newton, while the objects follow.
        The change has the prediction's shape.
        """
        system = system_of(_flat_frames(self.whitened(prediction)))
        mean = system.best(_flat(self._spectra(prediction, data).values))
        covariance, along = system.covariance(), _flat_frames(self.whitened(change))

        def spread(each: Array) -> Array:
            """What is not known of the object, in every frame: `(n, ...)`."""
            return jnp.real(jnp.einsum("kf...,km...,mf...->f...", each, covariance, jnp.conj(each)))

        known = square(jnp.sum(along * mean[:, None], axis=0)) + spread(along)
        felt = jnp.sum(self._weight(prediction) * known * (1 - spread(system.t)), axis=(-2, -1))
        return felt.reshape(self.modulation.shape[:-1])

    def without(self, prediction: Array, data: Any, root: Array) -> Others:
        """What the other exposures say of the mixtures that each sees, exposures in front.

        An exposure is left out with all its channels; it is one of `KnownObject`, whose prediction is its transfer
        function alone.

        Args:
            prediction: transfer functions times the roots of the powers.
            data: frames, or their spectra.
            root: `(n_stokes, n_support, n_support // 2 + 1)` of the power of each Stokes image.
        """
        values, whole = self._spectra(prediction, data).values, self.whitened(prediction)
        matrix = jnp.moveaxis(jnp.asarray(self.modulation, root.dtype), -1, 0)  # (n_stokes, ..., n_frames)
        count, channels = matrix.shape[-1], tuple(range(1, matrix.ndim - 1))

        def one(k: Array) -> Others:
            others = jnp.where(jnp.arange(count) == k, 0, 1)[:, None, None]
            system = system_of(_flat_frames(whole * others))
            seen = (matrix[..., k, None, None] * jnp.expand_dims(root, channels)).astype(whole.dtype)
            mean = jnp.sum(seen * jnp.expand_dims(system.best(_flat(values * others)), channels), axis=0)
            return Others(mean, jnp.conj(system.half(seen)))

        return jax.lax.map(one, jnp.arange(count))

    def simulate(self, key: PRNGKeyArray, prediction: Array) -> Array:
        """Frames of Stokes images drawn from their prior, with noise."""
        n, n_support, dtype = self.frames.n_pixels, prediction.shape[-2], jnp.real(prediction).dtype
        image_key, noise_key = jax.random.split(key)
        rows, columns = lowest(n, n_support)
        white = jnp.fft.rfft2(jax.random.normal(image_key, (len(prediction), n, n), dtype), norm="ortho")
        white = jnp.expand_dims(white[:, rows[:, None], columns], tuple(range(1, prediction.ndim - 2)))
        matrix = jnp.moveaxis(jnp.asarray(self.modulation, dtype), -1, 0)[..., None, None]
        seen = jnp.sum(matrix * prediction * white, axis=0)
        frames = jnp.fft.irfft2(on_frame(seen, n), (n, n), norm="ortho")
        sigma = jnp.asarray(self.frames.frame_sigma, dtype)[..., None, None]
        return frames + sigma * jax.random.normal(noise_key, frames.shape, dtype)

    def _spectra(self, prediction: Array, data: Any) -> Spectra:
        return data if isinstance(data, Spectra) else self.prepared(data, prediction.shape)

    def _weight(self, prediction: Array) -> Array:
        return jnp.asarray(multiplicity(self.frames.n_pixels, prediction.shape[-2]), jnp.real(prediction).dtype)

    def whitened(self, prediction: Array) -> Array:
        """T `(n_stokes, n_channels, n_frames, ...)`, or without channels."""
        frames, n_stokes = self.modulation.shape[:-1], self.modulation.shape[-1]
        if prediction.shape[:-2] != (n_stokes, *frames):
            raise ValueError(
                f"the modulation is of {frames[-1]} frames and {n_stokes} Stokes parameters, the model predicts "
                f"{prediction.shape}: expected (n_stokes, n_frames, ...)"
            )
        real = jnp.real(prediction).dtype
        sigma = jnp.asarray(self.frames.frame_sigma, real)
        scale = jnp.moveaxis(jnp.asarray(self.modulation, real), -1, 0) / sigma
        return scale[..., None, None] * prediction


def _flat(values: Array) -> Array:
    return values.reshape(-1, *values.shape[-2:])


def _flat_frames(t: Array) -> Array:
    return t.reshape(len(t), -1, *t.shape[-2:])
