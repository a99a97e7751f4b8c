"""Which pixels of an image are seen, where, and how coarsely."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array

from jaxinv.imaging.operator import LinearOperator, check_shape


class Mask(LinearOperator):
    """The image where a mask is true, 0 elsewhere; the mask may hold weights.

    Args:
        mask: `(ny, nx)`.

    Raises:
        ValueError: it hides everything, or is no image of finite numbers.
    """

    weights: np.ndarray

    def __init__(self, mask: Any) -> None:
        weights = np.asarray(mask, np.float32)
        check_shape(weights.shape)
        if not np.all(np.isfinite(weights)):
            raise ValueError("the mask holds numbers that are not finite")
        if not weights.any():
            raise ValueError("the mask hides every pixel")
        self.weights = weights

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.weights.shape

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self.weights.shape

    def apply(self, image: Array) -> Array:
        return image * self.weights

    def largest(self) -> Any:
        return jnp.max(jnp.abs(self.weights))


class Downsampling(LinearOperator):
    """Means over blocks of `factor` x `factor` pixels: larger detector pixels.

    Raises:
        ValueError: the image is no whole number of blocks, or the factor is below 1.
    """

    shape: tuple[int, int] = eqx.field(static=True)
    factor: int = eqx.field(static=True)

    def __init__(self, shape: Sequence[int], factor: int) -> None:
        self.shape, self.factor = check_shape(shape), int(factor)
        if self.factor < 1 or any(n % self.factor for n in self.shape):
            raise ValueError(f"an image of {self.shape} is no whole number of blocks of {factor} x {factor} pixels")

    @property
    def input_shape(self) -> tuple[int, int]:
        return self.shape

    @property
    def output_shape(self) -> tuple[int, int]:
        return self.shape[0] // self.factor, self.shape[1] // self.factor

    def apply(self, image: Array) -> Array:
        ny, nx = self.output_shape
        return jnp.mean(image.reshape(ny, self.factor, nx, self.factor), axis=(1, 3))

    def largest(self) -> Any:
        return 1.0 / self.factor


class Cutouts(LinearOperator):
    """Parts of an image, `(n, height, width)`, which may overlap; the adjoint adds them up in their places.

    Args:
        shape: of the image, (ny, nx).
        corners: `(n, 2)`, row and column of the first pixel of each.
        size: their height and width.

    Raises:
        ValueError: there are none, or one does not lie in the image.
    """

    shape: tuple[int, int] = eqx.field(static=True)
    corners: tuple[tuple[int, int], ...] = eqx.field(static=True)
    size: tuple[int, int] = eqx.field(static=True)

    def __init__(self, shape: Sequence[int], corners: Any, size: Sequence[int]) -> None:
        self.shape, self.size = check_shape(shape), check_shape(size)
        places = np.asarray(corners)
        if places.ndim != 2 or places.shape[1] != 2 or not len(places) or places.dtype.kind not in "iu":
            raise ValueError(f"corners are whole numbers, (n, 2); found an array of the shape {places.shape}")
        last = np.array(self.shape) - self.size
        if np.any(places < 0) or np.any(places > last):
            raise ValueError(f"parts of {self.size} at corners up to {places.max(0)} do not lie in {self.shape}")
        self.corners = tuple((int(y), int(x)) for y, x in places)

    @property
    def input_shape(self) -> tuple[int, int]:
        return self.shape

    @property
    def output_shape(self) -> tuple[int, int, int]:
        return (len(self.corners), *self.size)

    def apply(self, image: Array) -> Array:
        return jax.vmap(lambda corner: jax.lax.dynamic_slice(image, corner, self.size))(jnp.asarray(self.corners))

    def largest(self) -> Any:
        seen = np.zeros(self.shape, int)
        for y, x in self.corners:
            seen[y : y + self.size[0], x : x + self.size[1]] += 1
        return math.sqrt(seen.max())


class FourierSampling(LinearOperator):
    """Modes of an image, real and imaginary parts, `(2, n)`: what an interferometer or a scanner measures on a grid.

    Of the unitary transform, so that noise has the same size in either space: sigma is that of each part. Complex
    visibilities v are given as `numpy.stack([v.real, v.imag])`.

    Args:
        mask: `(ny, nx)`, true where a mode is measured, in the order of `numpy.fft.fft2`: zero frequency first.

    Raises:
        ValueError: no mode is measured, or the mask is no image.
    """

    shape: tuple[int, int] = eqx.field(static=True)
    places: np.ndarray

    def __init__(self, mask: Any) -> None:
        self.shape = check_shape(np.shape(mask))
        self.places = np.flatnonzero(np.asarray(mask, bool))
        if not len(self.places):
            raise ValueError("the mask hides every mode")

    @property
    def input_shape(self) -> tuple[int, int]:
        return self.shape

    @property
    def output_shape(self) -> tuple[int, int]:
        return 2, len(self.places)

    def apply(self, image: Array) -> Array:
        modes = jnp.fft.fft2(image, norm="ortho").ravel()[self.places]
        return jnp.stack([jnp.real(modes), jnp.imag(modes)])

    def transposed(self, data: Array) -> Array:
        seen = jax.lax.complex(data[0], data[1])
        modes = jnp.zeros(self.shape[0] * self.shape[1], seen.dtype).at[self.places].set(seen)
        return jnp.real(jnp.fft.ifft2(modes.reshape(self.shape), norm="ortho"))


class Warp(LinearOperator):
    """An image seen elsewhere: each pixel shows what lies at given coordinates, by bilinear interpolation, 0 outside.

    Args:
        coordinates: `(2, ny, nx)`, row and column in the image, in pixels, for each pixel of the result.
        shape: of the image; that of the result where left out.

    Raises:
        ValueError: coordinates of another shape, or not finite.
    """

    coordinates: Array
    shape: tuple[int, int] = eqx.field(static=True)

    def __init__(self, coordinates: Any, shape: Sequence[int] | None = None) -> None:
        self.coordinates = jnp.asarray(coordinates, float)
        if self.coordinates.ndim != 3 or len(self.coordinates) != 2:
            raise ValueError(f"coordinates are rows and columns, (2, ny, nx); found {self.coordinates.shape}")
        if not isinstance(self.coordinates, Tracer) and not np.all(np.isfinite(self.coordinates)):
            raise ValueError("the coordinates hold numbers that are not finite")
        self.shape = check_shape(self.coordinates.shape[1:] if shape is None else shape)

    @property
    def input_shape(self) -> tuple[int, int]:
        return self.shape

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self.coordinates.shape[1:]

    def apply(self, image: Array) -> Array:
        return map_coordinates(image, list(self.coordinates), order=1, mode="constant")


class Rotation(Warp):
    """An image turned about its centre, by bilinear interpolation: derotation of a frame.

    Args:
        shape: (ny, nx).
        angle: degrees, counter-clockwise where rows are drawn upwards.
    """

    def __init__(self, shape: Sequence[int], angle: float) -> None:
        ny, nx = check_shape(shape)
        if not np.isfinite(angle):
            raise ValueError(f"an angle is a finite number of degrees; found {angle}")
        cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        y, x = np.mgrid[:ny, :nx] - np.array([(ny - 1) / 2, (nx - 1) / 2])[:, None, None]
        places = np.stack([cosine * y - sine * x + (ny - 1) / 2, sine * y + cosine * x + (nx - 1) / 2])
        super().__init__(places, (ny, nx))
