"""A burst restored: the object, and what it was seen through."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from typing import Any

import numpy as np


class PatchStatus(enum.IntEnum):
    """What became of a patch."""

    RESTORED = 0
    UNEXPLAINED = 1
    FAILED = 2
    NOT_DONE = 3
    UNCERTAIN = 4

    @property
    def message(self) -> str:
        """In words."""
        return {
            PatchStatus.RESTORED: "the residuals are what the noise explains",
            PatchStatus.UNEXPLAINED: "residuals above the noise are left",
            PatchStatus.FAILED: "no finite result",
            PatchStatus.NOT_DONE: "not restored yet",
            PatchStatus.UNCERTAIN: "the error is more than half of the contrast",
        }[self]


@dataclasses.dataclass(frozen=True)
class Restoration:
    """The object behind a burst of short exposures.

    A frame is an image, an exposure a moment: with phase diversity there are `n_frames` = channels x exposures, those
    of the first channel first.

    Attributes:
        object: `(ny, nx)` in the unit of the frames, as the telescope would show it without any blur of its own, as far
            as it passes and the noise leaves it.
        error: `(ny, nx)` its standard error on the frequencies that the telescope passes; see `optics.uncertainty`.
        wavefront: `(n_patches, n_exposures, n_modes)` coefficients [rad] of the Karhunen-Loeve modes of the pupil.
        corners: `(n_patches, 2)` first pixel of each patch, y and x.
        patch: pixels across each.
        r0: `(n_patches,)` Fried's parameter at the wavelength [m].
        chi2: `(n_patches, n_frames)` mean squared residuals in units of the noise's variance; NaN for a frame that
            shows less than half of a patch, and is left out there.
        residual_power: `(n_patches, n_bands)` of the residuals over the noise's, at equal steps of spatial frequency up
            to Nyquist's.
        relative_error: `(n_patches,)` rms error over rms contrast.
        gain: `(n_patches, n_frames)` of each frame's light, relative to the mean.
        shifts: `(n_patches, n_frames, 2)` whole pixels by which frames were moved first, y and x.
        status: `(n_patches,)` a `PatchStatus`.
        psf: `(n_frames, patch, patch)` of the patch in the middle, sum 1, without the shifts.
        best_frame: `(ny, nx)` the frame of highest contrast, to compare with.
        sigma: `(n_frames,)` of the noise, in the unit of the frames.
        stokes: `(n_stokes, ny, nx)` of modulated frames, intensity first, in the unit of the frames; `None` of others.
        stokes_error: the same shape, their standard errors.
        narrowband: `(ny, nx)` the object that the narrowband camera shows; `None` without one.
        narrowband_error: the same shape, its standard error.
        narrowband_frame: the same shape, the frame of highest contrast.
        narrowband_wavelength: [angstrom].
        wavelength: [angstrom].
        pixel_scale: [arcsec].
        header: FITS cards of where the frames come from.
        provenance: what made it.
    """

    object: np.ndarray
    error: np.ndarray
    wavefront: np.ndarray
    corners: np.ndarray
    patch: int
    r0: np.ndarray
    chi2: np.ndarray
    residual_power: np.ndarray
    relative_error: np.ndarray
    gain: np.ndarray
    shifts: np.ndarray
    status: np.ndarray
    psf: np.ndarray
    best_frame: np.ndarray
    sigma: np.ndarray
    wavelength: float
    pixel_scale: float
    stokes: np.ndarray | None = None
    stokes_error: np.ndarray | None = None
    narrowband: np.ndarray | None = None
    narrowband_error: np.ndarray | None = None
    narrowband_frame: np.ndarray | None = None
    narrowband_wavelength: float | None = None
    header: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    provenance: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def stokes_names(self) -> tuple[str, ...]:
        """Of the Stokes images: I, Q, U, V where there are four; which fewer are is not said by a modulation."""
        count = 0 if self.stokes is None else len(self.stokes)
        return tuple("IQUV") if count == 4 else ("I", *(f"column {k + 1}" for k in range(1, count)))[:count]

    @property
    def contrast(self) -> float:
        """Standard deviation over mean of the object."""
        return float(np.nanstd(self.object) / np.nanmean(self.object))

    def count(self) -> dict[str, int]:
        """How many patches ended with each status, by name."""
        return {code.name.lower(): int(np.sum(self.status == code)) for code in PatchStatus}
