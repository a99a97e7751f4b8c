"""A texture like solar granulation: bright cells, dark lanes between them, for simulations without data."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

_CELL = 1.9
"""[arcsec], the mean distance of granules (e.g. Roudier & Muller 1986, Sol. Phys. 107, 11)."""
_LANE = 0.35
"""[arcsec], over which a granule falls to the lane beside it."""
_CONTRAST = 0.14
"""rms, in the red continuum at disc centre (e.g. Danilovic et al. 2008, A&A 484, L17)."""
_NEAR = 2
"""Cells around a place among which its granule is."""


def granulation(key: PRNGKeyArray, shape: tuple[int, int], pixel_scale: float, contrast: float = _CONTRAST) -> Array:
    """`(ny, nx)`, mean 1: granules around random places, periodic.

    A granule is a cell of Voronoi's partition of the plane: dark where the nearest two centres are equally far, as
    bright as its own draw says inside, with a finer structure whose power falls as frequency^-3.

    Args:
        key: every key has another one.
        shape: `(ny, nx)` in pixels.
        pixel_scale: [arcsec].
        contrast: rms relative to the mean.
    """
    cells = tuple(max(1, round(size * pixel_scale / _CELL)) for size in shape)
    place_key, bright_key, fine_key = jax.random.split(key, 3)
    place = jax.random.uniform(place_key, (*cells, 2), minval=0.05, maxval=0.95)
    bright = 1 + 0.35 * jax.random.normal(bright_key, cells)
    # In units of cells, of which each holds one centre.
    y, x = ((jnp.arange(size) + 0.5) * n / size for size, n in zip(shape, cells, strict=True))
    y, x = jnp.broadcast_arrays(y[:, None], x)
    step = np.array([(dy, dx) for dy in range(-_NEAR, _NEAR + 1) for dx in range(-_NEAR, _NEAR + 1)])
    row, column = jnp.floor(y).astype(int), jnp.floor(x).astype(int)

    def distance(by: Array) -> tuple[Array, Array]:
        at = ((row + by[0]) % cells[0], (column + by[1]) % cells[1])
        centre = place[at]
        return jnp.hypot(row + by[0] + centre[..., 0] - y, column + by[1] + centre[..., 1] - x), bright[at]

    far, light = jax.lax.map(distance, jnp.asarray(step))
    nearest = jnp.argmin(far, axis=0)
    two = -jax.lax.top_k(-jnp.moveaxis(far, 0, -1), 2)[0] * _CELL
    level = jnp.take_along_axis(light, nearest[None], axis=0)[0]
    image = level * jnp.tanh((two[..., 1] - two[..., 0]) / (2 * _LANE)) + 0.25 * _cloud(fine_key, shape)
    image = (image - jnp.mean(image)) / jnp.std(image)
    return jnp.maximum(1 + contrast * image, 0.05)


def _cloud(key: PRNGKeyArray, shape: tuple[int, int]) -> Array:
    """Structure of all sizes, rms 1."""
    frequency = np.hypot(np.fft.rfftfreq(shape[1]), np.fft.fftfreq(shape[0])[:, None])
    fall = np.divide(1.0, frequency, out=np.zeros_like(frequency), where=frequency > 0) ** 1.5
    image = jnp.fft.irfft2(jnp.fft.rfft2(jax.random.normal(key, shape)) * fall, shape)
    return image / jnp.std(image)
