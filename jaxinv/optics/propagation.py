"""From a wavefront to an image, as pure functions: jitted, batched and differentiated by their caller.

**Signs.** The field in the focal plane is E(theta) = FT[A exp(+i phi)] with the kernel exp(-2 pi i x theta / lambda): a
phase that rises along +x moves the image along +x. Images are [y, x], the optical axis at pixel (n // 2, n // 2).

**Sampling.** With pupil pixels of lambda / (n pixel_scale) the discrete transform gives the field on the detector's
pixels exactly; what falls beyond the field comes back from its other side, so that a PSF sums to 1. Its transfer
function is that of the pupil, at the spatial frequencies of the field, in the layout of `numpy.fft.rfft2`.

**Speed.** On a CPU about a dozen frames fit the caches: more go twice as quickly by `jax.lax.map` over bursts of them
than in one batch.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

# Of pi/2, in three parts whose products with small whole numbers are exact in float32 (Cody & Waite 1980), and the
# polynomials of Cephes (Moshier 1989) for the cosine and the sine within pi/4.
_HALF_PI = (1.5703125, 4.837512969970703e-4, 7.549789948768648e-8)
_SIN = (-1.6666654611e-1, 8.3321608736e-3, -1.9515295891e-4)
_COS = (4.166664568298827e-2, -1.388731625493765e-3, 2.443315711809948e-5)


@jax.custom_jvp
def cos_sin(phase: Array) -> tuple[Array, Array]:
    """Cosine and sine [rad], to 1e-6 where float32 holds the phase to that; their derivatives are each other."""
    if phase.dtype != jnp.float32:
        return jnp.cos(phase), jnp.sin(phase)
    quarter = jnp.round(phase * (2 / math.pi))
    x = phase
    for part in _HALF_PI:
        x = x - quarter * jnp.float32(part)
    square = x * x
    sin = x + x * square * (_SIN[0] + square * (_SIN[1] + square * _SIN[2]))
    cos = 1 - square / 2 + square * square * (_COS[0] + square * (_COS[1] + square * _COS[2]))
    turns = quarter.astype(jnp.int32) & 3
    odd = (turns & 1) == 1
    cos, sin = jnp.where(odd, sin, cos), jnp.where(odd, cos, sin)
    return jnp.where((turns == 1) | (turns == 2), -cos, cos), jnp.where(turns >= 2, -sin, sin)


@cos_sin.defjvp
def _cos_sin_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    cos, sin = cos_sin(*primals)
    return (cos, sin), (-sin * tangents[0], cos * tangents[0])


def point_spread(amplitude: Array, phase: Array, n_pixels: int) -> Array:
    """PSFs `(..., n_pixels, n_pixels)`, sum 1, of wavefronts.

    Args:
        amplitude: `(m, m)` of the pupil, [y, x], m <= n_pixels.
        phase: `(..., m, m)` [rad].
        n_pixels: across the field.
    """
    n, m = n_pixels, amplitude.shape[-1]
    # Rows and columns that are empty before a transform are added after those of the other axis.
    half = lambda field: lax.fft(_widened(field, n - m), lax.FftType.FFT, (n,))  # noqa: E731
    amplitude = amplitude / (n * jnp.sqrt(jnp.sum(amplitude**2)))
    cos, sin = cos_sin(jnp.swapaxes(phase, -1, -2))
    turned = amplitude.T * _turn(np.arange(m), np.arange(m), n)
    if n % 2:
        field = turned.astype(jnp.result_type(cos, 1j)) * lax.complex(cos, sin)
    else:
        field = lax.complex(turned.astype(cos.dtype) * cos, turned.astype(cos.dtype) * sin)
    field = half(jnp.swapaxes(half(field), -1, -2))
    return jnp.real(field) ** 2 + jnp.imag(field) ** 2


def _turn(rows: np.ndarray, columns: np.ndarray, n: int) -> np.ndarray:
    """The phase factor of a shift by n // 2 pixels in both directions: a sign for an even n."""
    turn = lambda k: np.exp(2j * np.pi * k * (n // 2) / n)  # noqa: E731
    whole = turn(rows[:, None]) * turn(columns)
    return whole if n % 2 else np.round(np.real(whole))


def _turned(spectrum: Array, n: int, back: bool = False) -> Array:
    turn = _turn(np.arange(n), np.arange(n // 2 + 1), n)
    return spectrum * jnp.asarray(np.conj(turn) if back else turn, spectrum.dtype if n % 2 else spectrum.real.dtype)


def _widened(x: Array, by: int) -> Array:
    return jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, by)])


def transfer_function(psf: Array) -> Array:
    """OTFs `(..., n, n // 2 + 1)` of PSFs `(..., n, n)`, 1 at frequency 0, in the layout of `numpy.fft.rfft2`."""
    n = psf.shape[-1]
    return _turned(_spectrum(psf), n)


def spread_of(transfer: Array, n_pixels: int) -> Array:
    """PSFs `(..., n_pixels, n_pixels)` of OTFs: what `transfer_function` undoes."""
    n = n_pixels
    return lax.fft(_turned(transfer, n, back=True), lax.FftType.IRFFT, (n, n))


def seen_through(image: Array, transfer: Array) -> Array:
    """Images `(..., n, n)`, periodic, convolved with the PSFs of OTFs `(..., n, n // 2 + 1)`."""
    n = image.shape[-1]
    return lax.fft(_spectrum(image) * transfer, lax.FftType.IRFFT, (n, n))


def _spectrum(image: Array) -> Array:
    return lax.fft(image, lax.FftType.RFFT, image.shape[-2:])


def frequencies(n_pixels: int, pixel_scale: float) -> tuple[np.ndarray, np.ndarray]:
    """`(u (n // 2 + 1,), v (n, 1))` along x and y [1/arcsec] of a transfer function, for pixels [arcsec]."""
    return np.fft.rfftfreq(n_pixels, pixel_scale), np.fft.fftfreq(n_pixels, pixel_scale)[:, None]
