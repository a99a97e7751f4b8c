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

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxinv.optics.elimination import system_of
from jaxinv.optics.transfer import lowest, multiplicity, on_frame

_SMOOTH = 3.0
"""Pixels over which the spread of the estimates is averaged."""


def object_error(t: Array, values: Array, root: Array, share: Array, window: Array) -> Array:
    """The standard error of each image, pixel by pixel, on the frequencies that the telescope passes.

    Args:
        t: transfer functions times the root of the object's power over the noise that the estimate assumes:
            `(n_stokes, n_channels, n_frames, n_support, n_support // 2 + 1)`, of one object with `n_stokes` = 1.
        values: of the frames over the same noise, `(n_channels, n_frames, ...)`.
        root: of each image's power, `(n_stokes, n_support, n_support // 2 + 1)`.
        share: `(n_channels, n_frames)` of the noise that the frames have in that which is assumed.
        window: `(n, n)` by which frames were multiplied; errors grow where it falls.

    Returns:
        `(n_stokes, n, n)`.
    """
    n, n_stokes = window.shape[-1], len(t)
    # Leave out an exposure with all its channels, or else a channel.
    t, values, share = (t, values, share) if t.shape[2] > 1 else (t.swapaxes(1, 2), values.swapaxes(0, 1), share.T)
    count = t.shape[2]
    pull = jnp.sum(jnp.conj(t) * values, axis=1)

    def without(k: Array) -> Array:
        others = jnp.where(jnp.arange(count) == k, 0, 1)[:, None, None]
        system = system_of((t * others).reshape(n_stokes, -1, *t.shape[-2:]))
        left = system.solve(jnp.sum(pull * others, axis=1))
        return jnp.fft.irfft2(on_frame(root * left, n), (n, n), norm="ortho")

    images = jax.lax.map(without, jnp.arange(count))
    spread = (count - 1) / count * jnp.sum((images - images.mean(axis=0)) ** 2, axis=0)

    # Parseval: the variance of a pixel is the mean of the power over all frequencies.
    rms = jnp.sqrt(jnp.mean(window**2))
    inside = jnp.asarray(multiplicity(n, t.shape[-2]), root.dtype) * root**2 / n**2
    whole = t.reshape(n_stokes, -1, *t.shape[-2:])
    covariance = system_of(whole).covariance()
    passing = jnp.einsum("km...,mf...->kf...", covariance, jnp.conj(whole)) * share.reshape(-1, 1, 1)
    over = lambda power: jnp.sum(inside * jnp.sum(power, axis=1), axis=(-2, -1))[:, None, None]  # noqa: E731
    passed, hidden = over(jnp.abs(passing) ** 2), over(jnp.abs(covariance) ** 2)
    most = jnp.sum(inside, axis=(-2, -1))[:, None, None]
    wavefronts = _smoothed(jnp.maximum(spread / jnp.maximum(window, 0.1) ** 2 - passed / rms**2, 0))
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
    return jnp.maximum(jnp.fft.irfft2(kernel * jnp.fft.rfft2(image), image.shape[-2:]), 0)
