"""Line integrals through an image, for tomography: parallel beams."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxinv.imaging.operator import LinearOperator
from jaxinv.linear_map import linear_map


class Radon(LinearOperator):
    """Projections `(n_angles, n)` of a square image `(n, n)` by parallel rays.

    After Joseph (1982, IEEE Trans. Med. Imag. 1, 192). A ray at the angle theta and the distance s from the centre runs
    along x cos(theta) + y sin(theta) = s, x to the right, y upwards (against the rows); detector pixels are as wide as
    the image's, the centre in the middle: theta = 0 gives the sums of the columns. Lengths are in pixels. Along each
    ray rows or columns are interpolated, whichever it crosses more steeply. The adjoint is exact: the same weights,
    gathered for each pixel.

    Args:
        n: of the image, n x n.
        angles: `(n_angles,)` degrees.

    Raises:
        ValueError: no angles, more than eight that look like radians (over half a turn or a whole one), or n below 2.
    """

    rays: _Rays = eqx.field(static=True)

    def __init__(self, n: int, angles: Any) -> None:
        degrees = np.atleast_1d(np.asarray(angles, float))
        if int(n) < 2:
            raise ValueError(f"an image for tomography is 2 x 2 pixels or more; found {n}")
        if degrees.ndim != 1 or not len(degrees) or not np.all(np.isfinite(degrees)):
            raise ValueError(
                f"angles are a row of finite numbers [degrees]; found an array of the shape {degrees.shape}"
            )
        if len(degrees) > 8 and 2.8 < np.ptp(degrees) < 6.3:
            raise ValueError(
                f"{len(degrees)} angles over {np.ptp(degrees):.3g} degrees look like radians: give degrees"
            )
        self.rays = _Rays(int(n), tuple(degrees.tolist()))

    @property
    def angles(self) -> np.ndarray:
        """`(n_angles,)` [degrees]."""
        return np.asarray(self.rays.degrees)

    @property
    def input_shape(self) -> tuple[int, int]:
        return self.rays.n, self.rays.n

    @property
    def output_shape(self) -> tuple[int, int]:
        return len(self.rays.degrees), self.rays.n

    def apply(self, image: Array) -> Array:
        return linear_map(self.rays.projected, self.rays.back_projected, image)

    def transposed(self, data: Array) -> Array:
        return linear_map(self.rays.back_projected, self.rays.projected, data)

    def estimated(self, data: Array) -> Array:
        """By `filtered_back_projection`."""
        return self.filtered_back_projection(data)

    def filtered_back_projection(self, data: Any) -> Array:
        """The image of projections at evenly spread angles over 180 degrees, by the ramp filter (Kak & Slaney 1988).

        Args:
            data: `(n_angles, n)`.

        Raises:
            ValueError: another shape.
        """
        data = jnp.asarray(data)
        if data.shape != self.output_shape:
            raise ValueError(f"the projections have the shape {data.shape}; the operator gives {self.output_shape}")
        n = self.rays.n
        size = 2 ** math.ceil(math.log2(2 * n))
        k = np.minimum(np.arange(size), size - np.arange(size))
        odd = k % 2 == 1
        taps = np.where(odd, -1 / (np.pi * np.where(odd, k, 1)) ** 2, 0.0)
        taps[0] = 0.25
        ramp = np.real(np.fft.rfft(taps)).astype(np.float32)
        filtered = jnp.fft.irfft(jnp.fft.rfft(data, n=size) * ramp, n=size)[:, :n]
        return self.rays.interpolated(filtered) * (math.pi / len(self.rays.degrees))


@dataclasses.dataclass(frozen=True)
class _Rays:
    """Where rays run; hashable by value.

    For each angle the image, or its transpose, is crossed row by row: the ray s meets row r (from the centre) at the
    column (s + r sine) / cosine, with |cosine| >= |sine|, and a unit of it is 1 / |cosine| long in that row.
    """

    n: int
    degrees: tuple[float, ...]

    @property
    def _by_angle(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Cosine and sine for rows or, where the transpose is crossed, for columns; and whether it is."""
        angle = np.radians(self.degrees)
        cosine, sine = np.cos(angle), np.sin(angle)
        flat = np.abs(sine) > np.abs(cosine)
        return np.where(flat, -sine, cosine), np.where(flat, -cosine, sine), flat

    @property
    def _centred(self) -> np.ndarray:
        return np.arange(self.n) - (self.n - 1) / 2

    def projected(self, image: Array) -> Array:
        """`(n, n)` -> `(n_angles, n)`."""
        n, dtype = self.n, image.dtype
        place = jnp.asarray(self._centred, dtype)
        both = jnp.stack([image, image.T])
        padded = jnp.pad(both, ((0, 0), (0, 0), (1, 2)))  # so that what lies outside is 0

        def one(item: tuple[Array, Array, Array]) -> Array:
            cosine, sine, flat = item
            at = (place + place[:, None] * sine) / cosine + ((n - 1) / 2 + 1)  # (row, ray)
            at = jnp.clip(at, 0, n + 1)
            left = jnp.floor(at)
            part = at - left
            index = left.astype(jnp.int32)
            rows = padded[flat]
            near = jnp.take_along_axis(rows, index, 1, mode="promise_in_bounds")
            far = jnp.take_along_axis(rows, index + 1, 1, mode="promise_in_bounds")
            return jnp.sum(near + part * (far - near), 0) / jnp.abs(cosine)

        return jax.lax.map(one, self._items(dtype))

    def back_projected(self, data: Array) -> Array:
        """`(n_angles, n)` -> `(n, n)`, the transpose of `projected`."""
        return self._gathered(data, exact=True)

    def interpolated(self, data: Array) -> Array:
        """Each pixel the sum over angles of the data at its distance, by linear interpolation."""
        return self._gathered(data, exact=False)

    def _gathered(self, data: Array, *, exact: bool) -> Array:
        n, dtype = self.n, data.dtype
        place = jnp.asarray(self._centred, dtype)
        padded = jnp.pad(data, ((0, 0), (1, 2)))

        def one(images: Array, item: Any) -> tuple[Array, None]:
            row, (cosine, sine, flat) = item
            width = jnp.abs(cosine) if exact else jnp.ones_like(cosine)
            at = place * cosine - place[:, None] * sine + ((n - 1) / 2 + 1)
            at = jnp.clip(at, 0, n + 1)
            left = jnp.floor(at)
            part = at - left
            index = left.astype(jnp.int32)
            near = jnp.maximum(1 - part / width, 0) * row.at[index].get(mode="promise_in_bounds")
            far = jnp.maximum(1 - (1 - part) / width, 0) * row.at[index + 1].get(mode="promise_in_bounds")
            return images.at[flat].add((near + far) / width), None

        blank = jnp.zeros((2, n, n), dtype)
        images, _ = jax.lax.scan(one, blank, (padded, self._items(dtype)))
        return images[0] + images[1].T

    def _items(self, dtype: Any) -> tuple[Array, Array, Array]:
        cosine, sine, flat = self._by_angle
        return jnp.asarray(cosine, dtype), jnp.asarray(sine, dtype), jnp.asarray(flat, jnp.int32)
