"""Karhunen-Loeve modes: what turbulence excites independently, on the very pupil through which it is seen."""

from __future__ import annotations

import dataclasses
import math
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from scipy.sparse import linalg

from jaxinv.optics.pupil import Modes, Pupil, checked_count
from jaxinv.optics.telescope import Telescope
from jaxinv.optics.turbulence import structure_function
from jaxinv.optics.zernike import Zernike

_ACROSS = 64
"""Pixels across the pupil on which variances are found."""
_EQUAL = 1e-8
"""Relative difference of variances that are the same by symmetry."""


@dataclasses.dataclass(frozen=True)
class KarhunenLoeve(Modes):
    """Modes that diagonalize the covariance of the phase on a pupil, piston removed, by falling variance.

    They solve, on the pixels of the pupil with the weights w of their open fractions (Fredholm's equation; e.g. Wang &
    Markey 1978, JOSA 68, 78),

        sum_x' B(x, x') w(x') phi(x') = variance phi(x),   B = -D/2 without its means over the pupil,

    so disc, annulus and spider have modes of their own, and independent coefficients. A pair that is the same by
    symmetry is turned so that the mode which keeps its sign when x changes its sign comes last.

    Attributes:
        telescope: whose pupil it is.
        count: how many.
        outer_scale: of the turbulence [m]; infinite: Kolmogorov.
    """

    telescope: Telescope
    count: int
    outer_scale: float = math.inf

    def __post_init__(self) -> None:
        checked_count(self.count)
        if not self.outer_scale > 0:
            raise ValueError(f"the outer scale is a positive number of metres; found {self.outer_scale}")

    def on(self, pupil: Pupil) -> np.ndarray:
        if pupil.telescope != self.telescope:
            raise ValueError("these modes were made for the pupil of another telescope: make them for this one")
        return _solved(pupil, self.count, self.outer_scale)[1].copy()

    @cached_property
    def variance(self) -> np.ndarray:
        """`(count,)` of the coefficients [rad^2] for D/r0 = 1: to be multiplied by (D/r0)^(5/3)."""
        return _solved(Pupil.across(self.telescope, _ACROSS), self.count, self.outer_scale)[0].copy()


@lru_cache(maxsize=16)
def _solved(pupil: Pupil, count: int, outer_scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Variances and modes."""
    open_ = pupil.weight > 0
    size, n_pixels = int(open_.sum()), pupil.n_pixels
    if count > size // 4:
        raise ValueError(
            f"{count} modes on {size} open pixels of the pupil: take at most {size // 4} modes, or more pixels"
        )
    root = np.sqrt(pupil.weight[open_])
    lag = np.fft.fftfreq(2 * n_pixels, 1 / (2 * n_pixels)) * pupil.pixel_size
    # A finite outer scale is one of a covariance; both differ by what the removal of piston removes.
    kernel = -structure_function(np.hypot(lag, lag[:, None]), pupil.telescope.diameter, outer_scale) / 2
    transfer = np.fft.rfft2(kernel)

    def without_piston(v: np.ndarray) -> np.ndarray:
        return v - root * (root @ v)

    def covariance(v: np.ndarray) -> np.ndarray:
        field = np.zeros((2 * n_pixels, 2 * n_pixels))
        field[:n_pixels, :n_pixels][open_] = root * without_piston(v.ravel())
        seen = np.fft.irfft2(np.fft.rfft2(field) * transfer, field.shape)[:n_pixels, :n_pixels]
        return without_piston(root * seen[open_])

    lanczos: Any = linalg  # whose published types are narrower than what it takes
    operator = lanczos.LinearOperator((size, size), matvec=covariance, dtype=float)
    start, room = np.random.default_rng(0).normal(size=size), min(count + count // 3 + 20, size)
    variance, vectors = lanczos.eigsh(operator, k=count + 1, which="LA", v0=start, ncv=room, tol=1e-10)
    order = np.argsort(-variance)
    variance, vectors = variance[order], vectors[:, order]
    modes = np.zeros((count + 1, n_pixels, n_pixels))
    modes[:, open_] = (vectors / root[:, None]).T
    modes = _oriented(variance, modes, pupil)[:count]
    modes.setflags(write=False)
    return variance[:count], modes


def _oriented(variance: np.ndarray, modes: np.ndarray, pupil: Pupil) -> np.ndarray:
    """The same modes, pairs of equal variance turned and signs chosen so that they are the same on every machine."""
    modes = modes.copy()
    pair = np.flatnonzero(variance[:-1] - variance[1:] < _EQUAL * variance[:-1])
    for k in pair:
        mixed = np.einsum("ayx,byx,yx->ab", modes[k : k + 2], modes[k : k + 2, :, ::-1], pupil.weight)
        turn = np.linalg.eigh((mixed + mixed.T) / 2)[1]
        modes[k : k + 2] = np.einsum("ab,ayx->byx", turn, modes[k : k + 2])
    likeness = np.einsum("ayx,byx,yx->ab", modes, Zernike(min(len(modes) + 10, 60)).on(pupil), pupil.weight)
    leading = np.take_along_axis(likeness, np.argmax(np.abs(likeness), axis=1)[:, None], axis=1)
    return modes * np.where(leading < 0, -1.0, 1.0)[..., None]
