"""Images to train networks on: drawn, without a density."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array
from numpyro.distributions import constraints

from jaxinv.imaging.operator import check_shape

_PER_PIXEL, _FEWEST = 0.03, 24
"""Leaves of an image for each pixel, and at least."""
_TEXTURES = 3
_STARS = 24


class DeadLeaves(dist.Distribution):
    """Images of objects that hide each other, with shades and textures; some of stars, some of smooth random fields.

    Networks that have learned from dead leaves denoise photographs nearly as well as those that have learned from
    photographs (Achddou, Gousseau & Ladjal 2021, SSVM, LNCS 12679, 346). Leaves are ellipses, diamonds and rectangles
    of all sizes and directions, edges a pixel wide or out of focus. Values lie around 0 to 1. There is no density:
    draws train a network (`amortize`), nothing can be fitted with it.

    Args:
        shape: of the image, (ny, nx).

    Raises:
        ValueError: no shape of an image.
    """

    support = constraints.independent(constraints.real, 2)  # pyright: ignore[reportAssignmentType]
    pytree_data_fields = ()

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__(event_shape=check_shape(shape))

    @property
    def mean(self) -> Array:
        """About half, everywhere."""
        return jnp.full(self.event_shape, 0.5)

    @property
    def variance(self) -> Array:
        """About that of numbers from 0 to 1."""
        return jnp.full(self.event_shape, 1 / 12)

    def log_prob(self, value: Array, intermediates: Any = None) -> Array:
        """Raises: nobody knows it.

        Raises:
            ValueError: always.
        """
        del value, intermediates
        raise ValueError("DeadLeaves can be drawn from, to train a network on; it has no density to fit or sample with")

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> Array:
        """`(*sample_shape, ny, nx)`."""
        keys = jax.random.split(key, math.prod(sample_shape))
        drawn = _drawn(keys if sample_shape else jnp.stack([key]), self.event_shape)
        return drawn.reshape(*sample_shape, *self.event_shape)


@partial(jax.jit, static_argnums=1)
def _drawn(keys: Any, shape: tuple[int, ...]) -> Array:
    """`(n, *shape)`, one for each key."""
    return jax.lax.map(lambda key: _drawn_one(key, shape), keys, batch_size=16)


def _drawn_one(key: Any, shape: tuple[int, ...]) -> Array:
    kind, leaves, field, stars, tone = jax.random.split(key, 5)
    field, more = _random_fields(field, shape, _TEXTURES), jax.random.uniform(kind, (2,))
    image = _leaves(leaves, shape, field)
    smooth = 0.5 + 0.25 * field[0]
    sky = smooth * 0.2 * more[1] + _stars(stars, shape)
    image = jnp.where(more[0] < 0.8, image, jnp.where(more[0] < 0.9, smooth, sky))
    low, high = jax.random.uniform(tone, (2,)) * 0.2
    return low + (1 - low - high) * image


def _frequencies(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    ky, kx = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None]
    return ky.astype(np.float32), kx.astype(np.float32)


def _random_fields(key: Any, shape: tuple[int, ...], n: int) -> Array:
    """`(n, ny, nx)` normal fields of the variance 1: power laws of any slope, along any direction, or gratings."""
    noise_key, slope_key, turn_key, stretch_key, wave_key = jax.random.split(key, 5)
    ky, kx = _frequencies(shape)
    angle = jax.random.uniform(turn_key, (n, 1, 1), maxval=math.pi)
    along, across = jnp.cos(angle) * kx + jnp.sin(angle) * ky, jnp.cos(angle) * ky - jnp.sin(angle) * kx
    stretch = jnp.exp(jax.random.uniform(stretch_key, (n, 1, 1), maxval=1.5))
    k = jnp.hypot(along, stretch * across)
    slope, cut, narrow = jnp.split(jax.random.uniform(slope_key, (n, 3)), 3, 1)
    power = (k + 0.02) ** (-(0.5 + 2.0 * slope[..., None])) * jnp.exp(-k / (0.1 + 0.5 * cut[..., None]))
    # Every third is periodic: a ring of frequencies, or a spot.
    centre = 0.05 + 0.35 * narrow[..., None]
    grating = jnp.exp(-(((k - centre) / 0.02) ** 2))
    power = jnp.where(jax.random.uniform(wave_key, (n, 1, 1)) < 0.12, grating, power)
    power = power.at[:, 0, 0].set(0)
    noise = jnp.fft.rfft2(jax.random.normal(noise_key, (n, *shape)))
    field = jnp.fft.irfft2(noise * power, s=shape)
    return field / jnp.maximum(jnp.std(field, (1, 2), keepdims=True), 1e-6)


def _leaves(key: Any, shape: tuple[int, ...], field: Array) -> Array:
    n = max(_FEWEST, round(_PER_PIXEL * math.prod(shape)))
    image_key, *keys = jax.random.split(key, 9)
    slope, contrast, textured = jax.random.uniform(image_key, (3,))
    # Radii by a power law between a pixel and half the image: r^-1 to r^-3, by the inverse of its integral.
    power = -1.0 - 1.8 * slope
    least, most = 1.2, 0.5 * max(shape)
    u = jax.random.uniform(keys[0], (n,))
    radius = (least**power + u * (most**power - least**power)) ** (1 / power)
    # Large ones lie below more often: else nothing else would be seen.
    radius = jnp.where(jnp.arange(n) < n // 4, jnp.maximum(radius, 0.1 * most * (1 + 4 * u)), radius)
    flat = jnp.exp(-jax.random.uniform(keys[1], (n,)) * jax.random.uniform(keys[2], (n,)) * 2.5)
    place = jax.random.uniform(keys[3], (n, 2)) * jnp.array(shape)
    angle = jax.random.uniform(keys[4], (n,), maxval=2 * math.pi)
    numbers = jax.random.uniform(keys[5], (n, 6))
    value = 0.5 + (0.3 + 0.7 * contrast) * (numbers[:, 0] - 0.5)
    shade = jax.random.normal(keys[6], (n, 2)) * 0.15 * numbers[:, 1:2]
    amount = jnp.where(numbers[:, 2] < textured, 0.2 * numbers[:, 3] ** 3, 0)
    edge = jnp.where(numbers[:, 4] < 0.8, 1.0, 1 + 4 * numbers[:, 5])
    kind, which = jax.random.randint(keys[7], (2, n), 0, 3)
    y, x = (jnp.arange(m, dtype=jnp.float32) for m in shape)
    y = y[:, None]

    def lay(image: Array, leaf: Any) -> tuple[Array, None]:
        radius, flat, place, angle, value, shade, amount, edge, kind, which = leaf
        cosine, sine = jnp.cos(angle), jnp.sin(angle)
        dy, dx = y - place[0], x - place[1]
        u, v = jnp.abs(dx * cosine + dy * sine) / radius, jnp.abs(dy * cosine - dx * sine) / (radius * flat)
        reach = jnp.where(kind == 0, jnp.sqrt(u**2 + v**2), jnp.where(kind == 1, u + v, jnp.maximum(u, v)))
        cover = jnp.clip((1 - reach) * radius * flat / edge + 0.5, 0, 1)
        tint = value + (shade[0] * dy + shade[1] * dx) / radius + amount * field[which]
        return image + cover * (tint - image), None

    leaves = (radius, flat, place, angle, value, shade, amount, edge, kind, which)
    image, _ = jax.lax.scan(lay, 0.5 + 0.1 * textured * field[0], leaves)
    return image


def _stars(key: Any, shape: tuple[int, ...]) -> Array:
    place_key, flux_key, width_key = jax.random.split(key, 3)
    place = jax.random.uniform(place_key, (_STARS, 2)) * jnp.array(shape)
    flux = 0.03 * jax.random.uniform(flux_key, (_STARS,), minval=1e-3) ** (-0.75)
    width = 0.8 + 2 * jax.random.uniform(width_key, (2,))
    # Most are points, every fourth is a galaxy.
    wide = jnp.where(jnp.arange(_STARS) % 4 == 0, width[0] + width[1] + 1, width[0])
    y, x = jnp.arange(shape[0])[:, None], jnp.arange(shape[1])
    away = (y - place[:, 0, None, None]) ** 2 + (x - place[:, 1, None, None]) ** 2
    return jnp.minimum(jnp.sum(flux[:, None, None] * (1 + away / wide[:, None, None] ** 2) ** -2.5, 0), 1.2)
