"""Telescopes: the aperture that light passes, and how much of each pixel of a pupil plane it fills."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from jaxinv.names import suggestion

_LARGEST = 200.0
"""[m]; what is larger was given in another unit."""
_CLOSED = 1e-9
"""Of a pixel: less is rounding."""
_SUBPIXELS = 16
"""In each direction, by which a vane's share of a pixel is found."""


@dataclasses.dataclass(frozen=True)
class Vane:
    """One arm of a spider, from the centre of the pupil to its edge.

    Attributes:
        angle: of its direction, counted from +x towards +y [degree].
        width: [m].
        offset: how far it runs to the left of the line through the centre [m].
    """

    angle: float
    width: float
    offset: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.angle) and math.isfinite(self.offset)):
            raise ValueError(f"a vane's angle [degree] and offset [m] are numbers; found {self.angle}, {self.offset}")
        if not (math.isfinite(self.width) and self.width > 0):
            raise ValueError(f"a vane's width is a positive number of metres; found {self.width}")


@dataclasses.dataclass(frozen=True)
class Telescope:
    """An aperture: a disc, its central obscuration, and the vanes that hold what obscures it.

    Attributes:
        diameter: [m].
        obscuration: diameter of the central obscuration [m].
        vanes: of the spider.
        name: what it is called.
        source: where the numbers come from.

    Raises:
        ValueError: a number is not positive, or the obscuration leaves nothing open.
    """

    diameter: float
    obscuration: float = 0.0
    vanes: tuple[Vane, ...] = ()
    name: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "vanes", tuple(self.vanes))
        if not 0 < self.diameter <= _LARGEST:
            raise ValueError(f"a telescope's diameter is given in metres, up to {_LARGEST:g}; found {self.diameter}")
        if not 0 <= self.obscuration < self.diameter:
            raise ValueError(
                f"the central obscuration is given as a diameter in metres, below the telescope's {self.diameter:g}; "
                f"found {self.obscuration}"
            )
        if any(vane.width >= self.diameter for vane in self.vanes):
            raise ValueError(f"a vane is as wide as the telescope, {self.diameter:g} m: its width is given in metres")

    def filled(self, edges: np.ndarray) -> np.ndarray:
        """The open fraction of each pixel between `edges`, `(n + 1,)` in metres from the centre, as `(n, n)` [y, x].

        Exact for the disc and its obscuration; for vanes to a 16th of a pixel.
        """
        area = _of_disc(edges, self.diameter / 2) - _of_disc(edges, self.obscuration / 2)
        open_ = area / np.outer(np.diff(edges), np.diff(edges))
        if self.vanes:
            open_ = open_ * self._beside_vanes(edges)
        return np.where(open_ < _CLOSED, 0.0, np.minimum(open_, 1.0))

    def _beside_vanes(self, edges: np.ndarray) -> np.ndarray:
        n = len(edges) - 1
        within = (np.arange(_SUBPIXELS) + 0.5) / _SUBPIXELS
        fine = (edges[:-1, None] + np.diff(edges)[:, None] * within).ravel()
        x, y = fine, fine[:, None]
        hidden = np.zeros((len(fine), len(fine)), bool)
        for vane in self.vanes:
            cos, sin = math.cos(math.radians(vane.angle)), math.sin(math.radians(vane.angle))
            along, across = x * cos + y * sin, y * cos - x * sin - vane.offset
            hidden |= (along >= 0) & (np.abs(across) <= vane.width / 2)
        return 1 - hidden.reshape(n, _SUBPIXELS, n, _SUBPIXELS).mean(axis=(1, 3))


def _of_disc(edges: np.ndarray, radius: float) -> np.ndarray:
    """The area of each pixel inside a disc around the centre."""
    if radius == 0:
        return np.zeros((len(edges) - 1, len(edges) - 1))

    def below(u: np.ndarray) -> np.ndarray:
        """The integral of sqrt(radius^2 - u^2) from 0."""
        return 0.5 * (u * np.sqrt(np.maximum(radius**2 - u**2, 0)) + radius**2 * np.arcsin(np.clip(u / radius, -1, 1)))

    # The area of the disc inside the rectangle between the centre and a corner; odd in both coordinates.
    size = np.minimum(np.abs(edges), radius)
    x, y = size, size[:, None]
    until = np.sqrt(np.maximum(radius**2 - y**2, 0))  # where the circle meets the rectangle's upper side
    corner = np.where(x <= until, x * y, until * y + below(x + 0 * y) - below(until + 0 * x))
    corner = corner * np.sign(edges) * np.sign(edges[:, None])
    return np.diff(np.diff(corner, axis=0), axis=1)


def _cross(width: float, first: float = 0.0) -> tuple[Vane, ...]:
    return tuple(Vane(first + angle, width) for angle in (0.0, 90.0, 180.0, 270.0))


TELESCOPES = (
    Telescope(0.97, name="SST", source="Scharmer et al. 2003, Proc. SPIE 4853, 341: a lens of 0.97 m"),
    Telescope(
        1.44, 0.42, _cross(0.02, 45.0), "GREGOR",
        "Schmidt et al. 2012, AN 333, 796: a free aperture of 1.44 m; obscuration and vanes approximate",
    ),
    Telescope(4.0, name="DKIST", source="Rimmele et al. 2020, Sol. Phys. 295, 172: off-axis, unobscured"),
    Telescope(
        1.0, 0.32, name="Sunrise", source="Barthol et al. 2011, Sol. Phys. 268, 1; obscuration approximate, no vanes",
    ),
    Telescope(2.56, 0.51, name="NOT", source="Djupvik & Andersen 2010, Highlights of Spanish Astrophysics V, 211"),
    Telescope(0.7, name="VTT", source="Schroeter, Soltau & Wiehr 1985, Vistas in Astronomy 28, 519"),
    Telescope(
        8.0, 1.12, _cross(0.04, 45.0), "VLT",
        "ESO, VLT White Book 1998: the pupil of a unit telescope, as its secondary mirror (1.12 m) defines it",
    ),
)  # fmt: skip
"""Telescopes by name; each says where its numbers come from."""


def find_telescope(name: str) -> Telescope:
    """A telescope by its name: one of `TELESCOPES`, in capitals or not.

    Raises:
        KeyError: it is not known; names the nearest.
    """
    known = {each.name: each for each in TELESCOPES}
    for each in known.values():
        if each.name.lower() == str(name).strip().lower():
            return each
    raise KeyError(
        f"no telescope {name!r} is known{suggestion(name, known)} (there are {', '.join(known)}; or give a diameter)"
    )
