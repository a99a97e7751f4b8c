"""Zernike polynomials in the order, with the signs and with the norm of Noll (1976, JOSA 66, 207)."""

from __future__ import annotations

import dataclasses
import math
from functools import lru_cache

import numpy as np

from jaxinv.optics.pupil import Modes, Pupil, checked_count


def noll(j: int) -> tuple[int, int]:
    """`(n, m)` of Noll's index, from j = 1, piston: the radial and the signed azimuthal order.

    m > 0 goes with cos(m theta), which have even j, and m < 0 with sin(|m| theta), which have odd j.

    Raises:
        ValueError: j is below 1.
    """
    if j < 1:
        raise ValueError(f"Noll's index counts from 1; found {j}")
    n = (math.isqrt(8 * j - 7) - 1) // 2
    k = j - n * (n + 1) // 2  # from 1, within the radial order
    m = 2 * (k // 2) if n % 2 == 0 else 2 * ((k - 1) // 2) + 1
    return n, m if j % 2 == 0 else -m


def zernike(j: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Noll's polynomial j (table I): rms 1 on the unit disc, theta counted from +x towards +y.

    Args:
        j: from 1.
        x: in units of the radius.
        y: the same; the polynomial goes on beyond the disc.
    """
    n, m = noll(j)
    r, theta = np.hypot(x, y), np.arctan2(y, x)
    radial = np.zeros_like(r) + sum(
        (-1) ** s * math.factorial(n - s)
        / (math.factorial(s) * math.factorial((n + abs(m)) // 2 - s) * math.factorial((n - abs(m)) // 2 - s))
        * r ** (n - 2 * s)
        for s in range((n - abs(m)) // 2 + 1)
    )  # fmt: skip
    if m == 0:
        return math.sqrt(n + 1) * radial
    return math.sqrt(2 * (n + 1)) * radial * (np.cos(m * theta) if m > 0 else np.sin(-m * theta))


@dataclasses.dataclass(frozen=True)
class Zernike(Modes):
    """Noll's polynomials from j = 2 on, made orthonormal on the pixels of the pupil in their order.

    On a disc they are Noll's own but for the pixels; on an annulus they are annular (Mahajan 1981, JOSA 71, 75), and
    there is none for piston, which no image shows.

    Attributes:
        count: how many: 44 are j = 2 to 45.
    """

    count: int

    def __post_init__(self) -> None:
        checked_count(self.count)

    def at(self, pupil: Pupil, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        functions = np.stack([zernike(j, x, y) for j in range(1, self.count + 2)])
        return np.tensordot(_orthonormal(self.count, pupil), functions, axes=1)


@lru_cache(maxsize=16)
def _orthonormal(count: int, pupil: Pupil) -> np.ndarray:
    """`(count, count + 1)`: what Gram-Schmidt on a pupil makes of the polynomials from j = 1 on, piston left out.

    Raises:
        ValueError: the pixels do not tell them apart.
    """
    root = np.sqrt(pupil.weight[pupil.weight > 0])
    x, y = (each[pupil.weight > 0] for each in np.meshgrid(pupil.x, pupil.x))
    columns = np.stack([zernike(j, x, y) for j in range(1, count + 2)], axis=1) * root[:, None]
    if columns.shape[1] > columns.shape[0]:
        raise ValueError(f"the pupil has {columns.shape[0]} open pixels, too few for {columns.shape[1] - 1} modes")
    r = np.linalg.qr(columns, mode="r")
    size = np.abs(np.diagonal(r))
    if size.min() < 1e-6 * size.max():
        raise ValueError(
            f"on {pupil.n_pixels} x {pupil.n_pixels} pixels {columns.shape[1] - 1} modes cannot be told apart: take "
            "fewer modes, or more pixels across the pupil"
        )
    return (np.linalg.inv(r) * np.sign(np.diagonal(r))).T[1:]
