"""Weak gravitational lensing: from the convergence of a lens to the shear of what lies behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxinv.imaging.operator import LinearOperator, check_shape


class KaiserSquires(LinearOperator):
    """The shear `(2, ny, nx)` of a convergence `(ny, nx)` on a periodic field (Kaiser & Squires 1993, ApJ 404, 441).

    In Fourier space gamma_1 = (k_x^2 - k_y^2) / k^2 kappa, gamma_2 = 2 k_x k_y / k^2 kappa: around an overdensity
    galaxies are stretched tangentially, gamma_1 < 0 on the x axis, gamma_2 < 0 on the diagonal x = y. The mean of the
    convergence has no shear; at the Nyquist frequency of an even axis the sign of k is not defined, and gamma_2 is 0.

    Args:
        shape: (ny, nx), square pixels.
        x: whether the coordinate x of the frame in which shears are stated grows to the "right", with the column, or to
            the "left", as right ascension does.
        y: whether its y grows "up", with the row, or "down". Where one of the two is mirrored, gamma_2 changes sign.

    Raises:
        ValueError: no such direction, or no shape of an image.
    """

    kernel: tuple[np.ndarray, np.ndarray]
    shape: tuple[int, int] = eqx.field(static=True)

    def __init__(
        self, shape: Sequence[int], *, x: Literal["right", "left"] = "right", y: Literal["up", "down"] = "up"
    ) -> None:
        self.shape = ny, nx = check_shape(shape)
        for name, given, ways in (("x", x, ("right", "left")), ("y", y, ("up", "down"))):
            if given not in ways:
                raise ValueError(f"{name} grows {ways[0]} or {ways[1]}; found {given!r}")
        ky, kx = np.fft.fftfreq(ny)[:, None], np.fft.rfftfreq(nx)
        square = ky**2 + kx**2
        square[0, 0] = 1.0
        first, second = (kx**2 - ky**2) / square, 2 * kx * ky / square
        if ny % 2 == 0:
            second[ny // 2] = 0
        if nx % 2 == 0:
            second[:, -1] = 0
        sign = 1 if (x == "right") == (y == "up") else -1
        self.kernel = (first.astype(np.float32), (sign * second).astype(np.float32))

    @property
    def input_shape(self) -> tuple[int, int]:
        return self.shape

    @property
    def output_shape(self) -> tuple[int, int, int]:
        return (2, *self.shape)

    def apply(self, image: Array) -> Array:
        modes = jnp.fft.rfft2(image)
        return jnp.stack([jnp.fft.irfft2(modes * k, s=self.shape) for k in self.kernel])

    def transposed(self, data: Array) -> Array:
        """Of a shear; below the Nyquist frequency it is the convergence (`convergence`), without its mean."""
        return self._together(data, self.kernel)

    def estimated(self, data: Array) -> Array:
        """The convergence after Kaiser & Squires, without a B mode."""
        return self.convergence(data)[0]

    def convergence(self, shear: Any) -> tuple[Array, Array]:
        """The estimate of Kaiser & Squires, and the B mode, which is noise and systematics; `(ny, nx)` each.

        Args:
            shear: `(2, ny, nx)`.

        Raises:
            ValueError: another shape.
        """
        shear = jnp.asarray(shear)
        if shear.shape != self.output_shape:
            raise ValueError(f"the shear has the shape {shear.shape}; the field takes {self.output_shape}")
        first, second = self.kernel
        # Below the Nyquist frequency their squares add up to 1; at it one is missing, and noise is not to be amplified.
        return self._together(shear, self.kernel), self._together(shear, (-second, first))

    def _together(self, shear: Array, kernel: tuple[np.ndarray, np.ndarray]) -> Array:
        modes = [jnp.fft.rfft2(part) * k for part, k in zip(shear, kernel, strict=True)]
        return jnp.fft.irfft2(modes[0] + modes[1], s=self.shape)

    def largest(self) -> float:
        return 1.0

    @property
    def spectrum(self) -> Array:
        first, second = (jnp.asarray(kernel) for kernel in self.kernel)
        return first**2 + second**2
