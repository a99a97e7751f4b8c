"""Regularizers of images that have kinks or bounds: total variation, wavelets, starlets, bounds, a denoiser."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxinv.imaging.operator import check_shape
from jaxinv.imaging.random_fields import above_0, both_halves, laplacian
from jaxinv.regularizers import Regularizer, Term


class _Gradient(Term):
    """weight * (the sum of the lengths, or of the absolute components, of the differences to the next pixels)."""

    weight: Any
    isotropic: bool = eqx.field(static=True)
    border: str = eqx.field(static=True)

    def analysis(self, x: Array) -> Array:
        """`(2, ny, nx)`: down the rows, along the columns."""
        if self.border == "periodic":
            return jnp.stack([jnp.roll(x, -1, axis) - x for axis in (0, 1)])
        return jnp.stack([jnp.diff(x, axis=axis, append=jnp.take(x, jnp.array([-1]), axis)) for axis in (0, 1)])

    def synthesis(self, coefficients: Array) -> Array:
        down, right = coefficients
        if self.border == "periodic":
            return jnp.roll(down, 1, 0) - down + jnp.roll(right, 1, 1) - right
        # The last differences are 0 whatever the image is.
        return -jnp.diff(down[:-1], axis=0, prepend=0, append=0) - jnp.diff(right[:, :-1], axis=1, prepend=0, append=0)

    def penalty(self, coefficients: Array) -> Array:
        if not self.isotropic:
            return self.weight * jnp.sum(jnp.abs(coefficients))
        return self.weight * jnp.sum(_length(coefficients))

    def prox(self, coefficients: Array, step: Any) -> Array:
        if not self.isotropic:
            return _shrunk(coefficients, step * self.weight)
        # Components one by one: a reduction over an axis of two is slow on a CPU.
        down, right = coefficients
        square, least = down**2 + right**2, step * self.weight
        longer = square > least**2
        return coefficients * jnp.where(longer, 1 - least * jax.lax.rsqrt(jnp.where(longer, square, 1)), 0)

    @property
    def unitary(self) -> bool:
        return False

    @property
    def norm(self) -> float:
        return math.sqrt(8)

    @property
    def spectrum(self) -> np.ndarray | None:
        return laplacian(self.shape) if self.border == "periodic" else None


def _length(pairs: Array) -> Array:
    """Of 2-vectors, with the derivative 0 at 0."""
    down, right = pairs
    square = down**2 + right**2
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)


def _shrunk(values: Array, by: Any) -> Array:
    return jnp.sign(values) * jnp.maximum(jnp.abs(values) - by, 0)


class TotalVariation(Regularizer):
    """log density = -weight * TV(x): few edges, flat between them (Rudin, Osher & Fatemi 1992, Physica D 60, 259).

    Args:
        shape: of the image, (ny, nx).
        weight: for each unit of difference between neighbours; may be traced.
        isotropic: the length of the gradient; else the sum of its absolute components.
        border: "periodic": the last pixel's neighbour is the first, as a periodic convolution has it, which makes
            `ADMM` quickest; "open": it has none.

    Raises:
        ValueError: a weight that is not above 0, another border, or no shape of an image.
    """

    def __init__(
        self,
        shape: Sequence[int],
        weight: Any,
        *,
        isotropic: bool = True,
        border: Literal["periodic", "open"] = "periodic",
    ) -> None:
        if border not in ("periodic", "open"):
            raise ValueError(f"the border is periodic or open; found {border!r}")
        super().__init__((_Gradient(check_shape(shape), above_0(weight), isotropic, border),))


class _Wavelets(Term):
    """weight * the sum of the absolute detail coefficients."""

    weight: Any
    low: tuple[float, ...] = eqx.field(static=True)
    levels: int = eqx.field(static=True)

    def analysis(self, x: Array) -> Array:
        """`(ny, nx)`: the approximation in the first rows and columns, then details from coarse to fine."""
        for level in range(self.levels):
            ny, nx = self.shape[0] >> level, self.shape[1] >> level
            x = x.at[:ny, :nx].set(self._split(self._split(x[:ny, :nx], 0), 1))
        return x

    def synthesis(self, coefficients: Array) -> Array:
        for level in reversed(range(self.levels)):
            ny, nx = self.shape[0] >> level, self.shape[1] >> level
            coefficients = coefficients.at[:ny, :nx].set(self._joined(self._joined(coefficients[:ny, :nx], 1), 0))
        return coefficients

    def _filters(self) -> tuple[np.ndarray, np.ndarray]:
        low = np.asarray(self.low)
        return low, low[::-1] * (-1.0) ** np.arange(len(low))

    def _split(self, x: Array, axis: int) -> Array:
        x = jnp.moveaxis(x, axis, 0)
        halves = [sum(float(tap) * jnp.roll(x, -k, 0)[::2] for k, tap in enumerate(taps)) for taps in self._filters()]
        return jnp.moveaxis(jnp.concatenate(halves), 0, axis)

    def _joined(self, x: Array, axis: int) -> Array:
        x = jnp.moveaxis(x, axis, 0)
        total = jnp.zeros_like(x)
        for half, taps in zip(jnp.split(x, 2), self._filters(), strict=True):
            spread = jnp.stack([half, jnp.zeros_like(half)], 1).reshape(x.shape)
            total = total + sum(float(tap) * jnp.roll(spread, k, 0) for k, tap in enumerate(taps))
        return jnp.moveaxis(total, 0, axis)

    def _details(self) -> np.ndarray:
        found = np.ones(self.shape, np.float32)
        found[: self.shape[0] >> self.levels, : self.shape[1] >> self.levels] = 0
        return found

    def penalty(self, coefficients: Array) -> Array:
        return self.weight * jnp.sum(jnp.abs(coefficients) * self._details())

    def prox(self, coefficients: Array, step: Any) -> Array:
        return _shrunk(coefficients, step * self.weight * self._details())


class Wavelets(Regularizer):
    """log density = -weight * the sum of |detail coefficients| of an orthonormal wavelet transform on a torus.

    Its prox is soft thresholding, in closed form. The filters are PyWavelets'.

    Args:
        shape: of the image, (ny, nx), each a multiple of 2^levels.
        weight: for each unit of a coefficient; may be traced.
        wavelet: an orthonormal one, by PyWavelets' name: "haar", "db4", "sym8", "coif2", ...
        levels: of the transform.

    Raises:
        ValueError: no such wavelet, one that is not orthonormal, or a shape that cannot be halved so often.
    """

    def __init__(self, shape: Sequence[int], weight: Any, *, wavelet: str = "db4", levels: int = 4) -> None:
        import pywt

        try:
            filters = pywt.Wavelet(wavelet)  # pyright: ignore[reportAttributeAccessIssue]
        except ValueError:
            raise ValueError(f"PyWavelets knows no wavelet {wavelet!r}; take haar, db4, sym8, coif2, ...") from None
        if not filters.orthogonal:
            raise ValueError(f"the wavelet {wavelet!r} is not orthonormal: take haar, db4, sym8, coif2, ...")
        ny, nx = check_shape(shape)
        if levels < 1 or ny % 2**levels or nx % 2**levels:
            raise ValueError(f"an image of ({ny}, {nx}) cannot be halved {levels} times: choose `levels`, or pad it")
        super().__init__((_Wavelets((ny, nx), above_0(weight), tuple(filters.rec_lo), levels),))


class _Starlets(Term):
    """weight * the sum of the absolute coefficients of every scale but the coarsest, times the noise of the scale."""

    weight: Any
    bank: np.ndarray
    sizes: np.ndarray
    largest: float = eqx.field(static=True)

    def analysis(self, x: Array) -> Array:
        """`(levels, ny, nx)`, from fine to coarse."""
        return jnp.fft.irfft2(jnp.fft.rfft2(x) * self.bank, s=self.shape)

    def synthesis(self, coefficients: Array) -> Array:
        return jnp.fft.irfft2(jnp.sum(jnp.fft.rfft2(coefficients) * self.bank, 0), s=self.shape)

    def penalty(self, coefficients: Array) -> Array:
        return self.weight * jnp.sum(jnp.abs(coefficients) * self.sizes[:, None, None])

    def prox(self, coefficients: Array, step: Any) -> Array:
        return _shrunk(coefficients, step * self.weight * self.sizes[:, None, None])

    @property
    def unitary(self) -> bool:
        return False

    @property
    def norm(self) -> float:
        return self.largest

    @property
    def spectrum(self) -> Array:
        return jnp.sum(jnp.asarray(self.bank) ** 2, 0)


class Starlets(Regularizer):
    """log density = -weight * the sum of |coefficients| of the isotropic undecimated wavelet transform on a torus.

    Starck, Fadili & Murtagh (2007, IEEE Trans. Image Process. 16, 297): scales of B3 splines, suited to round objects
    such as clusters. Each scale counts as many times as white noise of the standard deviation 1 has in it: the weight
    k / sigma lets pass what is above k sigma of the scale's own noise.

    Args:
        shape: of the image, (ny, nx).
        weight: for each unit of a coefficient, times the scale's noise; may be traced.
        levels: scales, the coarsest residual not counted.

    Raises:
        ValueError: no shape of an image, no level, or more than fit into the image.
    """

    def __init__(self, shape: Sequence[int], weight: Any, *, levels: int = 4) -> None:
        image = ny, nx = check_shape(shape)
        if levels < 1 or 2 ** (levels + 1) > min(image):
            raise ValueError(
                f"starlets of ({ny}, {nx}) pixels have 1 level or more, as far as they fit; found {levels}"
            )
        ky, kx = np.fft.fftfreq(ny)[:, None], np.fft.rfftfreq(nx)
        smooth, bank = np.ones((ny, nx // 2 + 1)), []
        for level in range(levels):
            # The B3 spline (1, 4, 6, 4, 1) / 16, with holes.
            step = [(3 + 4 * np.cos(2 * np.pi * k * 2**level) + np.cos(4 * np.pi * k * 2**level)) / 8 for k in (ky, kx)]
            smoother = smooth * step[0] * step[1]
            bank.append(smooth - smoother)
            smooth = smoother
        sizes = [np.sqrt(np.sum(band**2 * both_halves(nx)) / (ny * nx)) for band in bank]
        stacked, noise = np.stack(bank).astype(np.float32), np.asarray(sizes, np.float32)
        largest = float(np.sqrt(np.max(np.sum(np.square(stacked), 0))))
        super().__init__((_Starlets(image, above_0(weight), stacked, noise, largest),))


class Bounded(Regularizer):
    """Values between two bounds; nothing else is said of them.

    Args:
        shape: of the image, (ny, nx).
        lower: lowest value.
        upper: highest value.

    Raises:
        ValueError: the lower bound is not below the upper one, or no shape of an image.
    """

    def __init__(self, shape: Sequence[int], lower: float = -math.inf, upper: float = math.inf) -> None:
        if not lower < upper:
            raise ValueError(f"the lower bound has to be below the upper one; found {lower} and {upper}")
        super().__init__((_Box(check_shape(shape), float(lower), float(upper)),))


class Positivity(Bounded):
    """Values of 0 or more; nothing else is said of them.

    Args:
        shape: of the image, (ny, nx).
    """

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__(shape, 0.0)


class _Box(Term):
    lower: float = eqx.field(static=True)
    upper: float = eqx.field(static=True)

    def penalty(self, coefficients: Array) -> Array:
        """0: what is outside never counts, since methods stay inside."""
        return jnp.zeros((), coefficients.dtype)

    def prox(self, coefficients: Array, step: Any) -> Array:
        del step
        return jnp.clip(coefficients, self.lower, self.upper)

    @property
    def bounds(self) -> tuple[float, float]:
        return self.lower, self.upper

    @property
    def smooth(self) -> bool:
        return True


class _Denoised(Term):
    function: Callable[[Array, Array], Array]
    sigma: Any

    def penalty(self, coefficients: Array) -> Array:
        """0: nobody knows it."""
        return jnp.zeros((), coefficients.dtype)

    def prox(self, coefficients: Array, step: Any) -> Array:
        """A denoiser of noise with the standard deviation sigma sqrt(step)."""
        return self.function(coefficients, self.sigma * jnp.sqrt(step))


class Denoiser(Regularizer):
    """What a denoiser knows of images: in place of a prox, it is applied to the image ("plug and play").

    Venkatakrishnan, Bouman & Wohlberg (2013, GlobalSIP, 945). There is no density: costs count 0 for it, and only
    proximal methods work with it.

    Args:
        shape: of the image, (ny, nx).
        function: `(image, sigma) -> image`, which takes noise of the standard deviation sigma away. An Equinox module
            is an argument of compiled programs, any other function a constant of them.
        sigma: how far an image may be from a clean one: with a step s the denoiser is told sigma sqrt(s).

    Raises:
        ValueError: a sigma that is not above 0, or no shape of an image.
    """

    def __init__(self, shape: Sequence[int], function: Callable[[Array, Array], Array], sigma: Any = 1.0) -> None:
        held: Any = function if isinstance(function, eqx.Module) else jax.tree_util.Partial(function)
        super().__init__((_Denoised(check_shape(shape), held, above_0(sigma, "sigma")),))
