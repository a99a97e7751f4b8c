"""Convolutional networks along a spectrum."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array

from jaxinv.networks.dense import PRECISION, linear


def _convolution(n_in: int, n_out: int, kernel: Sequence[int], rngs: nnx.Rngs, stride: int = 1) -> nnx.Conv:
    return nnx.Conv(n_in, n_out, tuple(kernel), strides=stride, padding="REFLECT", precision=PRECISION, rngs=rngs)


class _Block(nnx.Module):
    """x + conv(silu(conv(silu(x))))."""

    def __init__(self, width: int, kernel: Sequence[int], rngs: nnx.Rngs) -> None:
        self.first = _convolution(width, width, kernel, rngs)
        self.second = _convolution(width, width, kernel, rngs)

    def __call__(self, x: Array) -> Array:
        return x + self.second(nnx.silu(self.first(nnx.silu(x)))) / math.sqrt(2)


class SpectrumDecoder(nnx.Module):
    """A vector to spectra: a coarse spectrum of features, refined by residual convolutions at each doubling.

    Args:
        n_in: length of the input.
        n_out: `n_channels * n_wavelength`; the output is flat, as that of the dense networks.
        n_channels: spectra (4 for Stokes parameters).
        width: features at each wavelength.
        depth: doublings.
        kernel: length of the convolutions.
        rngs: random keys of the initial weights.
    """

    def __init__(
        self, n_in: int, n_out: int, *, n_channels: int = 4, width: int = 32, depth: int = 3, kernel: int = 5,
        rngs: nnx.Rngs,
    ) -> None:  # fmt: skip
        if n_out % n_channels:
            raise ValueError(f"an output of {n_out} numbers does not divide into {n_channels} channels")
        self.n_wavelength = n_out // n_channels
        self.coarse = -(-self.n_wavelength // 2**depth)
        self.width = width
        self.first = linear(n_in, 4 * width, rngs, math.sqrt(2))
        self.spread = linear(4 * width, width * self.coarse, rngs, math.sqrt(2))
        self.blocks = nnx.List([_Block(width, (kernel,), rngs) for _ in range(depth + 1)])
        self.last = _convolution(width, n_channels, (kernel,), rngs)

    def __call__(self, x: Array) -> Array:
        """`(..., n_out)` from `(..., n_in)`, all wavelengths of a channel together."""
        batch = x.shape[:-1]
        x = self.spread(nnx.silu(self.first(x))).reshape(*batch, self.coarse, self.width)
        for k, block in enumerate(self.blocks):
            if k:
                x = jnp.repeat(x, 2, axis=-2)
            x = block(x)
        x = self.last(nnx.silu(x))[..., : self.n_wavelength, :]
        return jnp.swapaxes(x, -1, -2).reshape(*batch, -1)


class SpectrumEncoder(nnx.Module):
    """Spectra to a vector: residual convolutions along the wavelength, halved at each level, then dense layers.

    Args:
        n_channels: spectra (Stokes parameters, and copies on other scales).
        n_wavelength: samples of each.
        n_more: further numbers that join before the dense layers (noise level, what is known of the object).
        n_out: length of the output.
        width: features of the first level; each level has half as many more.
        depth: levels.
        kernel: length of the convolutions.
        rngs: random keys of the initial weights.
    """

    def __init__(
        self, n_channels: int, n_wavelength: int, n_more: int, n_out: int, *, width: int = 32, depth: int = 3,
        kernel: int = 5, rngs: nnx.Rngs,
    ) -> None:  # fmt: skip
        widths = [round(width * 1.5**k) for k in range(depth + 1)]
        self.first = _convolution(n_channels, width, (kernel,), rngs)
        self.blocks = nnx.List([_Block(w, (kernel,), rngs) for w in widths[:-1]])
        self.down = nnx.List([_convolution(a, b, (kernel,), rngs, stride=2) for a, b in itertools.pairwise(widths)])
        length = n_wavelength
        for _ in range(depth):
            length = -(-length // 2)
        self.dense = linear(length * widths[-1] + n_more, 4 * width, rngs, math.sqrt(2))
        self.last = linear(4 * width, n_out, rngs)

    def __call__(self, spectra: Array, more: Array) -> Array:
        """`(..., n_out)` from `(..., n_channels, n_wavelength)` and `(..., n_more)`."""
        x = self.first(jnp.swapaxes(spectra, -1, -2))
        for block, down in zip(self.blocks, self.down, strict=True):
            x = down(block(x))
        x = nnx.silu(x).reshape(*spectra.shape[:-2], -1)
        return self.last(nnx.silu(self.dense(jnp.concatenate([x, more], -1))))
