"""How far a restored object may be off: noise, what is not resolved, and the wavefronts.

An object that is estimated from frames has three errors, on the frequencies that the telescope passes:

- the frames' noise, as the estimate passes it on;
- what the estimate leaves out, since noise hides it: the power that is not resolved, of the object's prior;
- wrong wavefronts. Their curvature says nothing of that: it holds within a minimum, and most of the error is another
  one. What does is how much estimates differ that leave out an exposure each (the jackknife; Efron & Stein 1981, Ann.
  Stat. 9, 586). All wavefronts are fitted to one object and err together, so that this part does not become smaller
  with more exposures: it counts as that of an exposure, not as that of their mean.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from jaxinv.optics.deconvolution import BlindDeconvolution, Spectra
from jaxinv.optics.transfer import lowest, multiplicity, on_frame

_SMOOTH = 3.0
"""Pixels over which the spread of the estimates is averaged."""


def object_error(
    noise: BlindDeconvolution, prediction: Array, data: Any, root: Array, sigma: Array, window: Array
) -> Array:
    """The standard error of the object, pixel by pixel, on the frequencies that the telescope passes: `(n, n)`.

    Args:
        noise: by which the object was estimated, of one object.
        prediction: transfer functions times the root of the object's power, `(n_channels, n_frames, ...)`.
        data: frames, or their spectra.
        root: of the object's power, `(n_support, n_support // 2 + 1)`.
        sigma: of the noise that the frames have, which may be less than that of the estimate; as the noise's own.
        window: `(n, n)` by which frames were multiplied; errors grow where it falls.
    """
    n, n_support = noise.n_pixels, prediction.shape[-2]
    real = jnp.real(prediction).dtype
    spectra = data if isinstance(data, Spectra) else noise.prepared(data, prediction.shape)
    assumed = jnp.broadcast_to(jnp.asarray(noise.frame_sigma, real), prediction.shape[:-2])
    t = prediction / assumed[..., None, None]
    own, pull = jnp.abs(t) ** 2, jnp.conj(t) * spectra.values
    precision = 1 + jnp.sum(own, axis=(0, 1))
    if prediction.shape[1] > 1:  # leave out an exposure with all its channels, or else a channel
        own_, pull = jnp.sum(own, axis=0), jnp.sum(pull, axis=0)
    else:
        own_, pull = own[:, 0], pull[:, 0]
    count = len(own_)
    left = (jnp.sum(pull, axis=0) - pull) / (precision - own_)
    images = jnp.fft.irfft2(on_frame(root * left, n), (n, n), norm="ortho")
    spread = (count - 1) / count * jnp.sum((images - images.mean(axis=0)) ** 2, axis=0)

    # Parseval: the variance of a pixel is the mean of the power over all frequencies.
    rms = jnp.sqrt(jnp.mean(window**2))
    inside = jnp.asarray(multiplicity(n, n_support), real) * root**2 / n**2
    share = (jnp.broadcast_to(jnp.asarray(sigma, real), assumed.shape) / assumed)[..., None, None] ** 2
    passed = jnp.sum(inside * jnp.sum(own * share, axis=(0, 1)) / precision**2)
    hidden = jnp.sum(inside / precision**2)
    wavefronts = _smoothed(jnp.maximum(spread / jnp.maximum(window, 0.1) ** 2 - passed / rms**2, 0))
    most = jnp.sum(inside)
    return jnp.sqrt(jnp.minimum(passed / rms**2 + hidden + (count + 1) * wavefronts, most))


def residual_power(residual: Array, sigma: Array, n_bands: int) -> Array:
    """Mean power of residuals over the noise's, in bands of equal width up to Nyquist's frequency: `(n_bands,)`.

    1 in all of them where frames are explained; what is left of the object and its wavefronts is at low frequencies.

    Args:
        residual: `(n_frames, n, n)`, 0 where a pixel is missing.
        sigma: `(n_frames,)`.
        n_bands: how many.
    """
    n = residual.shape[-1]
    taper = 0.5 - 0.5 * jnp.cos(2 * jnp.pi * (jnp.arange(n) + 0.5) / n)
    window = jnp.outer(taper, taper)
    power = jnp.abs(jnp.fft.rfft2(window * residual / sigma[:, None, None])) ** 2 / jnp.sum(window**2)
    rows, columns = lowest(n, n)
    frequency = jnp.hypot(jnp.fft.fftfreq(n)[rows][:, None], columns / n)
    band = jnp.minimum((frequency * 2 * n_bands).astype(int), n_bands)
    weight = jnp.broadcast_to(jnp.asarray(multiplicity(n, n)), frequency.shape)
    total = jnp.zeros(n_bands + 1).at[band].add(weight * jnp.mean(power, axis=0))
    return (total / jnp.zeros(n_bands + 1).at[band].add(weight))[:-1]


def _smoothed(image: Array) -> Array:
    n = image.shape[-1]
    square = jnp.fft.fftfreq(n)[:, None] ** 2 + jnp.fft.rfftfreq(n) ** 2
    kernel = jnp.exp(-2 * (jnp.pi * _SMOOTH) ** 2 * square)
    return jnp.maximum(jnp.fft.irfft2(kernel * jnp.fft.rfft2(image), image.shape), 0)
