"""A telescope's pupil on pixels, and modes of the wavefront that are orthonormal on them.

Pixels are squares; the grid is the bounding box of the aperture, symmetric about its centre, and [y, x] index it. The
edge of the aperture is soft: an amplitude is the open fraction of its pixel. The mean over the pupil is the mean over
pixels weighted by that, and so is the inner product in which modes are orthonormal: each has mean 0 and rms 1.
"""

from __future__ import annotations

import abc
import dataclasses
import math
from functools import cached_property

import numpy as np

from jaxinv.optics.telescope import Telescope

_FEWEST = 8
"""Pixels across a pupil, below which no mode is told from another."""


@dataclasses.dataclass(frozen=True)
class Pupil:
    """The aperture of a telescope on square pixels.

    Attributes:
        telescope: whose it is.
        pixel_size: [m] in the pupil.

    Raises:
        ValueError: there are too few pixels to tell modes apart.
    """

    telescope: Telescope
    pixel_size: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.pixel_size) and self.pixel_size > 0):
            raise ValueError(f"the pixels of a pupil have a positive size in metres; found {self.pixel_size}")
        if self.n_pixels < _FEWEST:
            raise ValueError(
                f"the pupil is {self.n_pixels} pixels wide, at least {_FEWEST} are needed: take more pixels of the "
                "image (a larger field), or smaller ones of the pupil"
            )

    @classmethod
    def across(cls, telescope: Telescope, n_pixels: int) -> Pupil:
        """With so many pixels across the diameter."""
        return cls(telescope, telescope.diameter / n_pixels)

    @property
    def n_pixels(self) -> int:
        """Across the bounding box."""
        return math.ceil(self.telescope.diameter / self.pixel_size * (1 - 1e-12))

    @cached_property
    def amplitude(self) -> np.ndarray:
        """`(n_pixels, n_pixels)` the open fraction of each pixel."""
        edges = (np.arange(self.n_pixels + 1) - self.n_pixels / 2) * self.pixel_size
        return self.telescope.filled(edges)

    @cached_property
    def x(self) -> np.ndarray:
        """`(n_pixels,)` the centres of the pixels in units of the telescope's radius; y is the same."""
        return (np.arange(self.n_pixels) - (self.n_pixels - 1) / 2) * (2 * self.pixel_size / self.telescope.diameter)

    @cached_property
    def weight(self) -> np.ndarray:
        """`(n_pixels, n_pixels)`, sum 1: of each pixel in means over the pupil."""
        return self.amplitude / self.amplitude.sum()


class Modes(abc.ABC):
    """A basis of wavefronts, orthonormal on whatever pupil it is made for: how many, and how they are made."""

    count: int

    @abc.abstractmethod
    def at(self, pupil: Pupil, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """`(count, *shape)` of the modes of a pupil at any places, in units of its telescope's radius.

        Raises:
            ValueError: they cannot be made on it.
        """

    def on(self, pupil: Pupil) -> np.ndarray:
        """`(count, n_pixels, n_pixels)` on a pupil, mean 0 and rms 1 there, 0 where it is closed.

        Raises:
            ValueError: they cannot be made on it.
        """
        x, y = np.meshgrid(pupil.x, pupil.x)
        out = np.zeros((self.count, *x.shape))
        out[:, pupil.amplitude > 0] = self.at(pupil, x[pupil.amplitude > 0], y[pupil.amplitude > 0])
        return out


def checked_count(count: int) -> None:
    """Whether it is a number of modes.

    Raises:
        ValueError: it is not.
    """
    if not isinstance(count, int | np.integer) or count < 1:
        raise ValueError(f"the number of modes is a whole number from 1; found {count!r}")
