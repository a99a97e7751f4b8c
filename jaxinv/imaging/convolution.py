"""Convolution with a kernel: periodic, or where no border is felt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array

from jaxinv.imaging.operator import LinearOperator, check_shape


class Convolution(LinearOperator):
    """An image convolved with a kernel.

    Args:
        kernel: `(ky, kx)`, not larger than the image; its centre is the pixel `(ky // 2, kx // 2)`. It may be traced:
            the result is differentiable by it.
        shape: of the image, (ny, nx).
        border: "periodic": what leaves on one side comes in on the other; "cropped": only where the kernel lies within
            the image, `(ny - ky + 1, nx - kx + 1)`: a scene that is larger than the detector.

    Raises:
        ValueError: the kernel is no image, larger than the image, or holds what is not finite; or another border.
    """

    transfer: Array
    shape: tuple[int, int] = eqx.field(static=True)
    size: tuple[int, int] = eqx.field(static=True)
    border: str = eqx.field(static=True)

    def __init__(self, kernel: Any, shape: Sequence[int], border: Literal["periodic", "cropped"] = "periodic") -> None:
        self.shape, kernel = check_shape(shape), jnp.asarray(kernel, float)
        if border not in ("periodic", "cropped"):
            raise ValueError(f"the border is periodic or cropped; found {border!r}")
        if kernel.ndim != 2 or any(k > n for k, n in zip(kernel.shape, self.shape)):
            raise ValueError(f"the kernel has the shape {kernel.shape}, which does not fit into {self.shape}")
        if not isinstance(kernel, Tracer) and not np.all(np.isfinite(kernel)):
            raise ValueError("the kernel holds numbers that are not finite")
        self.size, self.border = (kernel.shape[0], kernel.shape[1]), border
        padded = jnp.pad(kernel, [(0, n - k) for k, n in zip(self.size, self.shape)])
        self.transfer = jnp.fft.rfft2(jnp.roll(padded, [-(k // 2) for k in self.size], (0, 1)))

    @property
    def input_shape(self) -> tuple[int, int]:
        return self.shape

    @property
    def output_shape(self) -> tuple[int, int]:
        if self.border == "periodic":
            return self.shape
        return self.shape[0] - self.size[0] + 1, self.shape[1] - self.size[1] + 1

    @property
    def _corner(self) -> tuple[int, int]:
        """Of what is left of the image: the first pixel that the kernel's last one, mirrored, does not reach beyond."""
        return self.size[0] - 1 - self.size[0] // 2, self.size[1] - 1 - self.size[1] // 2

    def apply(self, image: Array) -> Array:
        found = self._filtered(image, self.transfer)
        return found if self.border == "periodic" else jax.lax.dynamic_slice(found, self._corner, self.output_shape)

    def transposed(self, data: Array) -> Array:
        if self.border == "periodic":
            return self._filtered(data, jnp.conj(self.transfer))
        return super().transposed(data)

    def estimated(self, data: Array) -> Array:
        """The data themselves, continued by their borders: to sharpen them takes more than one pass."""
        if self.border == "periodic":
            return data
        around = [(a, n - m - a) for a, n, m in zip(self._corner, self.shape, self.output_shape)]
        return jnp.pad(data, around, mode="edge")

    def _filtered(self, image: Array, transfer: Array) -> Array:
        return jnp.fft.irfft2(jnp.fft.rfft2(image) * transfer, s=self.shape)

    def largest(self) -> Any:
        if self.border == "periodic":
            return jnp.max(jnp.abs(self.transfer))
        return super().largest()

    @property
    def spectrum(self) -> Array | None:
        return jnp.abs(self.transfer) ** 2 if self.border == "periodic" else None
