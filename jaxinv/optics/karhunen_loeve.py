"""Karhunen-Loeve modes: what turbulence excites independently, on the very pupil through which it is seen."""

from __future__ import annotations

import dataclasses
import math
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import expm
from scipy.sparse import linalg

from jaxinv.optics.pupil import Modes, Pupil, checked_count
from jaxinv.optics.telescope import Telescope
from jaxinv.optics.turbulence import structure_function
from jaxinv.optics.zernike import Zernike

_ACROSS, _FINE = 64, 4.0
"""Pixels across the pupil on which modes are solved: so many, and so many for each oscillation of the last mode."""
_ROWS = 1024
"""Places to which modes are carried together."""
_LIKE = 0.1
"""Relative difference of variances that are so near that their modes may change places."""
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

    They are solved on one grid, of 64 pixels across or as many as the count needs, and carried to any other by the
    same equation, which gives phi(x) at every place (Nystroem 1930, Acta Math. 54, 185); there they are made
    orthonormal and independent on the pixels by the smallest change. So a coefficient means the same wavefront on
    every pupil: at every wavelength, pixel scale and field.

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

    def at(self, pupil: Pupil, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return self._on(pupil)[0](x, y)

    def on(self, pupil: Pupil) -> np.ndarray:
        out = np.zeros((self.count, pupil.n_pixels, pupil.n_pixels))
        out[:, pupil.amplitude > 0] = self._on(pupil)[1]
        return out

    def _on(self, pupil: Pupil) -> tuple[_Carried, np.ndarray]:
        if pupil.telescope != self.telescope:
            raise ValueError("these modes were made for the pupil of another telescope: make them for this one")
        return _carried(pupil, self.count, self.outer_scale)

    @cached_property
    def variance(self) -> np.ndarray:
        """`(count,)` of the coefficients [rad^2] for D/r0 = 1: to be multiplied by (D/r0)^(5/3)."""
        return _solved(self.telescope, self.count, self.outer_scale)[0].copy()


@lru_cache(maxsize=16)
def _carried(pupil: Pupil, count: int, outer_scale: float) -> tuple[_Carried, np.ndarray]:
    """The modes of a pupil, solved on the pixels of another, and their values on its own open ones."""
    covariance = _Covariance(pupil, outer_scale)
    if count > covariance.size // 3:
        raise ValueError(
            f"{count} modes on {covariance.size} open pixels of the pupil: take at most {covariance.size // 3} modes, "
            "or more pixels"
        )
    solved = _solved(pupil.telescope, count, outer_scale)
    x, y = (each[covariance.open_] for each in np.meshgrid(pupil.x, pupil.x))
    carried = _Carried(solved, pupil.telescope.diameter, outer_scale, np.zeros(count), np.eye(count))
    values = carried(x, y)
    mean = values @ pupil.weight[covariance.open_]
    vectors = (values - mean[:, None]).T * covariance.root[:, None]
    eigenvalue, axes = np.linalg.eigh(vectors.T @ vectors)
    straight = (axes / np.sqrt(eigenvalue)) @ axes.T
    turn = straight @ _independent(vectors @ straight, covariance)
    values = ((values - mean[:, None]).T @ turn).T
    values.setflags(write=False)
    return carried._replace(mean=mean, turn=turn), values


class _Carried(NamedTuple):
    """Modes as functions of place: by Fredholm's equation from those that are solved, less their means, turned."""

    solved: tuple[np.ndarray, Pupil, np.ndarray]
    diameter: float
    outer_scale: float
    mean: np.ndarray
    turn: np.ndarray

    def __call__(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        variance, pupil, modes = self.solved
        known = pupil.weight > 0
        source = (modes[:, known] * pupil.weight[known]).T / (-2 * variance)
        here = np.stack(np.broadcast_arrays(x, y), axis=-1).reshape(-1, 2) * (self.diameter / 2)
        there = np.stack(np.meshgrid(pupil.x, pupil.x), axis=-1)[known] * (self.diameter / 2)
        # The structure function is read from a table: it rises from 0 with powers of the cube root of the distance.
        farthest = np.hypot(*np.abs(here).max(axis=0)) + self.diameter
        cube_root = np.linspace(0, farthest ** (1 / 3), 50_000)
        table = structure_function(cube_root**3, self.diameter, self.outer_scale)
        rows = []
        for k in range(0, len(here), _ROWS):
            at = here[k : k + _ROWS, None]
            square = (at[..., 0] - there[:, 0]) ** 2 + (at[..., 1] - there[:, 1]) ** 2
            rows.append(np.interp(square ** (1 / 6), cube_root, table) @ source)
        values = (np.concatenate(rows) - self.mean) @ self.turn
        return values.T.reshape(len(self.mean), *np.shape(x))


def _independent(vectors: np.ndarray, covariance: _Covariance) -> np.ndarray:
    """What turns them so that they do not correlate, but for modes of like variance, which would change places.

    What is left of a correlation between those is below 1 % from 32 pixels across on.
    """
    matrix = np.stack([covariance(v) for v in vectors.T]) @ vectors
    whole = np.eye(len(matrix))
    for _ in range(3):
        variance = np.diagonal(matrix)
        gap = variance - variance[:, None]
        turn = matrix * gap / (gap**2 + _LIKE**2 * variance * variance[:, None])
        turned = expm((turn - turn.T) / 2)
        matrix, whole = turned.T @ matrix @ turned, whole @ turned
    return whole


class _Covariance:
    """Of the phase on the open pixels of a pupil, piston removed, for D/r0 = 1, as an operator.

    It acts on values times `root`, the square root of the pixels' weights, so that it is symmetric.
    """

    def __init__(self, pupil: Pupil, outer_scale: float) -> None:
        self.open_ = pupil.weight > 0
        self.root = np.sqrt(pupil.weight[self.open_])
        self.size, self._n = len(self.root), pupil.n_pixels
        lag = np.fft.fftfreq(2 * self._n, 1 / (2 * self._n)) * pupil.pixel_size
        # A finite outer scale is one of a covariance; both differ by what the removal of piston removes.
        kernel = -structure_function(np.hypot(lag, lag[:, None]), pupil.telescope.diameter, outer_scale) / 2
        self._transfer = np.fft.rfft2(kernel)

    def without_piston(self, v: np.ndarray) -> np.ndarray:
        return v - (v @ self.root)[..., None] * self.root

    def __call__(self, v: np.ndarray) -> np.ndarray:
        n = self._n
        field = np.zeros((2 * n, 2 * n))
        field[:n, :n][self.open_] = self.root * self.without_piston(v.ravel())
        seen = np.fft.irfft2(np.fft.rfft2(field) * self._transfer, field.shape)[:n, :n]
        return self.without_piston(self.root * seen[self.open_])


@lru_cache(maxsize=16)
def _solved(telescope: Telescope, count: int, outer_scale: float) -> tuple[np.ndarray, Pupil, np.ndarray]:
    """Variances, and modes on the pupil on which they are solved."""
    pupil = Pupil.across(telescope, max(_ACROSS, math.ceil(_FINE * math.sqrt(count))))
    covariance = _Covariance(pupil, outer_scale)
    size = covariance.size
    lanczos: Any = linalg  # whose published types are narrower than what it takes
    operator = lanczos.LinearOperator((size, size), matvec=covariance, dtype=float)
    start, room = np.random.default_rng(0).normal(size=size), min(count + count // 3 + 20, size)
    variance, vectors = lanczos.eigsh(operator, k=count + 1, which="LA", v0=start, ncv=room, tol=1e-10)
    order = np.argsort(-variance)
    variance, vectors = variance[order], vectors[:, order]
    modes = np.zeros((count + 1, pupil.n_pixels, pupil.n_pixels))
    modes[:, covariance.open_] = (vectors / covariance.root[:, None]).T
    modes = _oriented(variance, modes, pupil)[:count]
    modes.setflags(write=False)
    return variance[:count], pupil, modes


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
