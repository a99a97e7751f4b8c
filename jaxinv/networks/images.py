"""Networks from an image to an image without the noise that is told them.

None has a bias and all activations are rectifiers: twice the image with twice the noise gives twice the answer, and a
constant that is added to the image is added to the answer (Mohan et al. 2020, ICLR). One network serves all units.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array

from jaxinv.networks.dense import PRECISION


class _Convolution(nnx.Module):
    """A convolution by 3 x 3 taps, 0 beyond the border, as three products of matrices.

    The filter's gradient of XLA's own convolution takes 15 times as long on a CPU as soon as it is inside a loop.
    """

    def __init__(self, n_in: int, n_out: int, rngs: nnx.Rngs, scale: float = 1.0) -> None:
        self.kernel = nnx.Param(_kernel((3, 3 * n_in, n_out), 9 * n_in, rngs, scale))

    def __call__(self, x: Array) -> Array:
        ny, nx, _ = x.shape
        padded = jnp.pad(x, ((1, 1), (1, 1), (0, 0)))
        columns = jnp.concatenate([padded[:, k : k + nx] for k in range(3)], -1)
        each = [jnp.matmul(columns[k : k + ny], self.kernel[...][k], precision=PRECISION) for k in range(3)]
        return each[0] + each[1] + each[2]


def _kernel(shape: tuple[int, ...], n_in: int, rngs: nnx.Rngs, scale: float = 1.0) -> Array:
    """Initial weights of the variance 2 scale^2 / n_in."""
    return scale * math.sqrt(2 / n_in) * jax.random.truncated_normal(rngs.params(), -2, 2, shape) / 0.88


class _Block(nnx.Module):
    """x + conv(relu(conv(x)))."""

    def __init__(self, width: int, rngs: nnx.Rngs) -> None:
        self.first = _Convolution(width, width, rngs)
        self.second = _Convolution(width, width, rngs, 0.3)

    def __call__(self, x: Array) -> Array:
        return x + self.second(nnx.relu(self.first(x)))


class ImageUNet(nnx.Module):
    """A U-Net of residual blocks that is told the noise (after Zhang et al. 2021, IEEE TPAMI 44, 6360: DRUNet).

    It works on blocks of 2 x 2 pixels, and on half as many along each side at each further level.

    Args:
        widths: features at each level, the finest first.
        depth: residual blocks of a level, on the way down and on the way up.
        rngs: random keys of the initial weights.
    """

    def __init__(self, widths: Sequence[int] = (32, 64, 96), depth: int = 2, *, rngs: nnx.Rngs) -> None:
        self.block = 2 ** len(widths)
        """Images are enlarged to a whole number of such squares."""
        self.first = _Convolution(5, widths[0], rngs)
        self.down = nnx.List([nnx.List([_Block(w, rngs) for _ in range(depth)]) for w in widths[:-1]])
        self.coarser = nnx.List([_dense(4 * a, b, rngs) for a, b in itertools.pairwise(widths)])
        self.middle = nnx.List([_Block(widths[-1], rngs) for _ in range(depth)])
        self.finer = nnx.List([_dense(b, 4 * a, rngs) for a, b in itertools.pairwise(widths)])
        self.up = nnx.List([nnx.List([_Block(w, rngs) for _ in range(depth)]) for w in widths[:-1]])
        self.last = _Convolution(widths[0], 4, rngs, 0.1)

    def __call__(self, image: Array, sigma: Array) -> Array:
        """`(ny, nx)` from `(ny, nx)` with noise of the standard deviation `sigma`."""
        ny, nx = image.shape
        mean = jnp.mean(image)
        padded = jnp.pad(image - mean, [(0, -n % self.block) for n in image.shape], mode="edge")
        x = _gathered(padded[..., None])
        level = jnp.broadcast_to(jnp.asarray(sigma, x.dtype), (*x.shape[:2], 1))
        x = self.first(jnp.concatenate([x, level], -1))
        skipped = []
        for blocks, coarser in zip(self.down, self.coarser):
            for block in blocks:
                x = block(x)
            skipped.append(x)
            x = coarser(_gathered(x))
        for block in self.middle:
            x = block(x)
        for blocks, finer in zip(reversed(self.up), reversed(self.finer)):
            x = _spread(finer(x)) + skipped.pop()
            for block in blocks:
                x = block(x)
        return image - _spread(self.last(x))[:ny, :nx, 0]


def _gathered(x: Array) -> Array:
    """Blocks of 2 x 2 pixels as pixels of four times as many features."""
    ny, nx, n = x.shape
    return x.reshape(ny // 2, 2, nx // 2, 2, n).transpose(0, 2, 1, 3, 4).reshape(ny // 2, nx // 2, 4 * n)


def _spread(x: Array) -> Array:
    """The inverse of `_gathered`."""
    ny, nx, n = x.shape
    return x.reshape(ny, nx, 2, 2, n // 4).transpose(0, 2, 1, 3, 4).reshape(2 * ny, 2 * nx, n // 4)


class LocalNetwork(nnx.Module):
    """Each pixel from its surroundings by perceptrons that are the same everywhere.

    After Khorashadizadeh et al. (2024, arXiv:2411.04995: LoFi). The places about a pixel at which the image is read are
    learned, too; they are read in rings, each by a perceptron of its own, and one more joins what those have found. A
    pixel is computed without its neighbours, so that any few of an image of any size can be learned from.

    Args:
        size: places along each side at which the image is read, at first a pixel apart; odd.
        width: of the perceptrons.
        depth: residual layers of the last one.
        groups: rings.
        rngs: random keys of the initial weights.
    """

    def __init__(self, size: int = 11, width: int = 96, depth: int = 3, groups: int = 4, *, rngs: nnx.Rngs) -> None:
        half = size // 2
        y, x = (np.arange(size**2) // size - half, np.arange(size**2) % size - half)
        order = np.argsort(np.hypot(y, x), kind="stable")
        self.places = nnx.Param(jnp.asarray(np.stack([y, x], -1)[order], jnp.float32))
        # Rings of about equal numbers of places.
        self.cuts = tuple(round(size**2 * k / groups) for k in range(groups + 1))
        parts = [b - a for a, b in itertools.pairwise(self.cuts)]
        self.rings = nnx.List([_dense(n + 2, width // 2, rngs) for n in parts])
        self.join = _dense(width // 2 * groups, width, rngs)
        self.inner = nnx.List([_dense(width, width, rngs) for _ in range(depth)])
        self.outer = nnx.List([_dense(width, width, rngs, 0.3) for _ in range(depth)])
        self.last = _dense(width, 1, rngs, 0.1)

    def __call__(self, image: Array, sigma: Array) -> Array:
        """`(ny, nx)` from `(ny, nx)` with noise of the standard deviation `sigma`; row by row."""
        nx = image.shape[1]

        def row(y: Array) -> Array:
            return self.at(image, sigma, jnp.stack([jnp.full(nx, y), jnp.arange(nx)], -1))

        return jax.lax.map(row, jnp.arange(image.shape[0]))

    def at(self, image: Array, sigma: Array, pixels: Array, which: Array | None = None) -> Array:
        """`(n,)` at some pixels `(n, 2)`, row and column, whole numbers; of several images `which` says of which."""
        places = pixels.astype(image.dtype)[:, None] + self.places[...].astype(image.dtype)
        seen = _read(image, places, which)  # (n, size^2)
        one = () if which is None else (which,)
        own = image[(*one, pixels[:, 0], pixels[:, 1])]
        mean = jnp.mean(seen, 1)
        away = seen - mean[:, None]
        more = jnp.stack([jnp.broadcast_to(jnp.asarray(sigma, image.dtype), own.shape), own - mean], -1)
        rings = [
            nnx.relu(ring(jnp.concatenate([away[:, a:b], more], 1)))
            for ring, a, b in zip(self.rings, self.cuts[:-1], self.cuts[1:])
        ]
        x = self.join(jnp.concatenate(rings, 1))
        for inner, outer in zip(self.inner, self.outer):
            x = x + outer(nnx.relu(inner(nnx.relu(x))))
        return own - self.last(nnx.relu(x))[:, 0]


def _dense(n_in: int, n_out: int, rngs: nnx.Rngs, scale: float = 1.0) -> nnx.Linear:
    def start(key: Any, shape: tuple[int, ...], dtype: Any) -> Array:
        del key
        return _kernel(shape, n_in, rngs, scale).astype(dtype)

    return nnx.Linear(n_in, n_out, use_bias=False, kernel_init=start, precision=PRECISION, rngs=rngs)


def _read(image: Array, places: Array, which: Array | None) -> Array:
    """The image at `(..., 2)` places, by bilinear interpolation; outside, the nearest pixel."""
    one, shape = (() if which is None else (which,)), image.shape[-2:]
    last = [n - 1 for n in shape]
    at = [jnp.clip(places[..., k], 0, last[k]) for k in (0, 1)]
    low = [jnp.clip(jnp.floor(jax.lax.stop_gradient(x)), 0, max(n - 2, 0)) for x, n in zip(at, shape)]
    part = [x - a for x, a in zip(at, low)]
    y, x = (a.astype(jnp.int32) for a in low)
    high_y, high_x = jnp.minimum(y + 1, last[0]), jnp.minimum(x + 1, last[1])

    def line(y: Array) -> Array:
        left, right = image[(*one, y, x)], image[(*one, y, high_x)]
        return left + part[1] * (right - left)

    near = line(y)
    return near + part[0] * (line(high_y) - near)
