"""Stars behind a burst of short exposures: where they are and how bright, relative to the first."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

_SIGNIFICANT = 5


class Measured(NamedTuple):
    """A number and its standard error."""

    value: float
    error: float


@dataclasses.dataclass(frozen=True)
class StarSystem:
    """Stars of one field, the first of them the origin; the camera's x and y, not north and east.

    Attributes:
        offsets: `(n_stars - 1, 2)` of the others, x and y [arcsec].
        magnitudes: `(n_stars - 1,)` by which they are fainter.
        covariance: `(3 (n_stars - 1),) * 2` of x, y [arcsec] and magnitude, star by star.
        frame_values: `(n_frames, 3 (n_stars - 1))` the same of each frame alone.
        used: `(n_frames,)` whether a frame's wavefront was found: only these are averaged.
        chi2: `(n_frames,)` mean squared residuals in units of the noise's variance.
        wavefront: `(n_frames, n_modes)` coefficients [rad] of the Karhunen-Loeve modes of the pupil.
        d_over_r0: `(n_frames,)` telescope's diameter over Fried's parameter, from the wavefront.
        mean_frame: `(n, n)` frames laid on their brightest pixels.
        mean_model: the same of what was fitted.
        psf: `(n, n)` of the frame that is explained best, sum 1.
        wavelength: [angstrom].
        pixel_scale: [arcsec].
        header: FITS cards of where the frames come from.
        provenance: what made it.
    """

    offsets: np.ndarray
    magnitudes: np.ndarray
    covariance: np.ndarray
    frame_values: np.ndarray
    used: np.ndarray
    chi2: np.ndarray
    wavefront: np.ndarray
    d_over_r0: np.ndarray
    mean_frame: np.ndarray
    mean_model: np.ndarray
    psf: np.ndarray
    wavelength: float
    pixel_scale: float
    header: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    provenance: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def n_stars(self) -> int:
        """How many."""
        return len(self.magnitudes) + 1

    def draws(self, n: int = 1000, seed: int = 0) -> np.ndarray:
        """`(n, n_stars - 1, 3)` x, y [arcsec] and magnitude, drawn from the posterior."""
        mean = np.concatenate([self.offsets, self.magnitudes[:, None]], axis=1).ravel()
        drawn = np.random.default_rng(seed).multivariate_normal(mean, self.covariance, n, method="cholesky")
        return drawn.reshape(n, -1, 3)

    def separation(self, star: int = 1) -> Measured:
        """Of a star from the first [arcsec]."""
        x, y = self.offsets[star - 1]
        separation = float(np.hypot(x, y))
        return Measured(separation, self._error(star, np.array([x, y]) / max(separation, 1e-30)))

    def position_angle(self, star: int = 1) -> Measured:
        """Of a star as seen from the first [degree]: from y (up) to negative x, 0 to 360.

        That is from north through east where north is up and east is left.
        """
        x, y = self.offsets[star - 1]
        square = max(float(x**2 + y**2), 1e-30)
        error = self._error(star, np.array([-y, x]) / square)
        return Measured(float(np.degrees(np.arctan2(-x, y)) % 360), float(np.degrees(error)))

    def magnitude_difference(self, star: int = 1) -> Measured:
        """By which a star is fainter than the first [mag]."""
        k = 3 * (star - 1) + 2
        return Measured(float(self.magnitudes[star - 1]), float(np.sqrt(self.covariance[k, k])))

    def detected(self, star: int = 1) -> bool:
        """Whether a star's flux is five times its error or more; else there may be none."""
        return self.magnitude_difference(star).error < 2.5 / math.log(10) / _SIGNIFICANT

    def _error(self, star: int, along: np.ndarray) -> float:
        k = 3 * (star - 1)
        return float(np.sqrt(along @ self.covariance[k : k + 2, k : k + 2] @ along))
