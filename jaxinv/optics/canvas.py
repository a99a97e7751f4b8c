"""An object on a canvas larger than the frames that show it: edges are real, and light comes in from beyond.

Blind deconvolution works in Fourier space, where an image repeats beyond its borders. Frames do not: what is convolved
and then cut off is not what is cut off and then convolved. With an estimate o of the object on a canvas, a window w and
transfer functions S,

    frame' = w (frame - S * o) + S * (w o)

is a frame that repeats: the first part is noise and what the estimate has missed, the second is a convolution of an
image that ends within the frame. Missing pixels and frames that show other parts of the object only lose the first
part there.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxinv.forward import Parameters
from jaxinv.optics.transfer import ObjectSpectrum, lowest, on_frame


class Seen(NamedTuple):
    """What a canvas shows.

    Attributes:
        object: `(n_objects, n_canvas, n_canvas)`, several where cameras see others, or a polarimeter Stokes images.
        frames: `(n_frames, n_pixels, n_pixels)` of it, without noise.
    """

    object: Array
    frames: Array


def taper(size: int, ramp: int) -> np.ndarray:
    """`(size,)`: 1, rising from 0 and falling to it as a cosine over `ramp` pixels at both ends."""
    from_end = np.minimum(np.arange(size), np.arange(size)[::-1]) + 0.5
    return 0.5 - 0.5 * np.cos(np.pi * np.minimum(from_end / ramp, 1)) if ramp else np.ones(size)


class Canvas(eqx.Module):
    """The field of frames, and a margin around it.

    Args:
        n_pixels: across a frame.
        margin: of pixels on each side.
        pixel_scale: [arcsec].
        ramp: pixels over which the window rises from the border of a frame.
    """

    n_pixels: int = eqx.field(static=True)
    margin: int = eqx.field(static=True)
    pixel_scale: float = eqx.field(static=True)
    ramp: int = eqx.field(static=True)

    @property
    def size(self) -> int:
        """Pixels across the canvas."""
        return self.n_pixels + 2 * self.margin

    @property
    def window(self) -> np.ndarray:
        """`(n_pixels, n_pixels)`: 1 within, falling as a cosine to 0 at the borders."""
        edge = taper(self.n_pixels, self.ramp)
        return np.outer(edge, edge)

    def field(self, image: Any) -> Any:
        """The part of a canvas `(..., n_canvas, n_canvas)` that frames show."""
        inner = slice(self.margin, self.margin + self.n_pixels)
        return image[..., inner, inner]

    def transfer(self, transfer: Array) -> Array:
        """Transfer functions of a support as those of the canvas: the same PSFs with nothing around them."""
        n, size = self.n_pixels, self.size
        psf = jnp.roll(jnp.fft.irfft2(on_frame(transfer, n), (n, n)), (n // 2, n // 2), (-2, -1))
        around = [(0, 0)] * (psf.ndim - 2) + [(self.margin, self.margin)] * 2
        middle = n // 2 + self.margin
        return jnp.fft.rfft2(jnp.roll(jnp.pad(psf, around), (-middle, -middle), (-2, -1)), (size, size))

    def object(
        self,
        frames: Array,
        mask: Array,
        transfer: Array,
        spectrum: Parameters,
        sigma: Array,
        start: Array,
        steps: int,
        mixing: Array,
    ) -> Seen:
        """The most probable object, given transfer functions: of frames with borders and holes, by conjugate gradients.

        Args:
            frames: `(n_frames, n_pixels, n_pixels)`, their mean taken off.
            mask: the same shape, `True` where a pixel counts.
            transfer: `(n_frames, n_support, n_support // 2 + 1)`.
            spectrum: parameters of `ObjectSpectrum`, `(n_objects,)` each.
            sigma: of the noise, `(n_frames,)` or one number.
            start: `(n_objects, n_canvas, n_canvas)` a first estimate.
            steps: of conjugate gradients.
            mixing: `(n_frames, n_objects)`, what each frame sees of each object.
        """
        size = self.size
        mixing = jnp.asarray(mixing, frames.dtype)
        power = ObjectSpectrum(size, self.pixel_scale, range(mixing.shape[1])).power(spectrum).astype(frames.dtype)
        wide = self.transfer(transfer)
        weight = jnp.where(mask, 1, 0) / jnp.reshape(sigma, (-1, 1, 1)) ** 2
        around = [(0, 0)] + [(self.margin, self.margin)] * 2
        back = lambda spectrum: jnp.fft.irfft2(spectrum, (size, size))  # noqa: E731

        def seen(images: Array) -> Array:
            return self.field(back(wide * jnp.tensordot(mixing, jnp.fft.rfft2(images), 1)))

        def gathered(frames: Array) -> Array:
            return back(jnp.tensordot(mixing.T, jnp.conj(wide) * jnp.fft.rfft2(jnp.pad(frames, around)), 1))

        def curvature(images: Array) -> Array:
            return gathered(weight * seen(images)) + back(jnp.fft.rfft2(images) / power)

        # As if every frame showed the whole canvas: what the curvature is in Fourier space.
        each = jnp.abs(wide) ** 2 / jnp.reshape(jnp.broadcast_to(sigma, len(wide)), (-1, 1, 1)) ** 2
        inverse = 1 / (jnp.tensordot(mixing.T**2, each, 1) + 1 / power)
        found, _ = jax.scipy.sparse.linalg.cg(
            curvature,
            gathered(weight * jnp.where(mask, frames, 0)),
            x0=start,
            tol=1e-5,
            maxiter=steps,
            M=lambda residual: back(jnp.fft.rfft2(residual) * inverse),
        )
        return Seen(found, seen(found))

    def periodic(self, frames: Array, mask: Array, transfer: Array, seen: Seen, mixing: Array) -> Array:
        """Frames that repeat beyond their borders, as blind deconvolution takes them: the module says how."""
        n = self.n_pixels
        window = jnp.asarray(self.window, frames.dtype)
        rows, columns = lowest(n, transfer.shape[-2])
        inside = jnp.fft.rfft2(window * self.field(seen.object))[..., rows[:, None], columns]
        seen_inside = jnp.tensordot(jnp.asarray(mixing, frames.dtype), inside, 1)
        through = jnp.fft.irfft2(on_frame(transfer * seen_inside, n), (n, n))
        return window * jnp.where(mask, frames - seen.frames, 0) + through
