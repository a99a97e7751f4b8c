"""What a patch of a burst is restored with: cameras behind one wavefront, and the objects that they show."""

from __future__ import annotations

import dataclasses
import warnings
from functools import cached_property
from typing import NamedTuple

import numpy as np

from jaxinv.forward import Forward
from jaxinv.optics.canvas import Canvas
from jaxinv.optics.karhunen_loeve import KarhunenLoeve
from jaxinv.optics.point_spread import Channels, PointSpread
from jaxinv.optics.polarimetry import StokesSpectra
from jaxinv.optics.telescope import Telescope
from jaxinv.optics.transfer import Registration, TransferFunctions

HELD = 1e-4
"""Of its standard deviation, for what is held at 0."""


class Channel(NamedTuple):
    """A camera.

    Attributes:
        wavelength: [angstrom].
        defocus: [waves].
    """

    wavelength: float
    defocus: float = 0.0


@dataclasses.dataclass(frozen=True, eq=False)
class PatchModel:
    """What patches of one size are restored with: the telescope, its cameras, the modes, the canvas.

    Attributes:
        telescope: its pupil.
        channels: the cameras, of which each exposure has a frame; wavefronts are in radians at the first one's
            wavelength.
        mixing: `(n_channels, n_frames, n_objects)` what each frame sees of each object: one that all show, those of
            cameras for themselves, or the Stokes images of a polarimeter. Of each camera the first is an intensity.
        pixel_scale: [arcsec].
        n_pixels: across a patch.
        n_modes: of each wavefront.
        margin: of the canvas around the patch, in pixels.
        ramp: of the window, in pixels; 0: the frames repeat beyond their borders.
        draws: of the prior for each exposure, in each search; 0: none.
        d_over_r0: first guess.
        filtered: the object is not Wiener's estimate: see `optics.low_pass`. Of one object.
        seed: of the draws.
    """

    telescope: Telescope
    channels: tuple[Channel, ...]
    mixing: np.ndarray
    pixel_scale: float
    n_pixels: int
    n_modes: int = 150
    margin: int = 32
    ramp: int = 16
    draws: int = 12
    d_over_r0: float = 6.0
    filtered: bool = False
    seed: int = 0

    @cached_property
    def modes(self) -> KarhunenLoeve:
        """Of the wavefront."""
        return KarhunenLoeve(self.telescope, self.n_modes)

    @cached_property
    def canvas(self) -> Canvas:
        """On which the object is solved for."""
        return Canvas(self.n_pixels, self.margin if self.ramp else 0, self.pixel_scale, self.ramp)

    @property
    def n_frames(self) -> int:
        """Exposures."""
        return self.mixing.shape[1]

    @property
    def n_objects(self) -> int:
        """That frames show."""
        return self.mixing.shape[2]

    @property
    def intensity(self) -> np.ndarray:
        """`(n_channels,)`: which of the objects is the intensity that a camera shows."""
        return np.argmax((self.mixing != 0).any(axis=1), axis=1)

    @property
    def camera(self) -> np.ndarray:
        """`(n_objects,)`: the first that shows an object."""
        return np.argmax((self.mixing != 0).any(axis=1), axis=0)

    @cached_property
    def burst(self) -> Forward:
        """From wavefronts to transfer functions, coloured by each object: `(n_objects, n_channels, n_frames, ...)`."""
        return self._model(self.n_frames) >> StokesSpectra(self.n_pixels, self.pixel_scale, self.n_objects)

    @cached_property
    def exposure(self) -> Forward:
        """From one wavefront to the transfer functions `(n_channels, ...)`."""
        return self._model(None)

    def _model(self, n_frames: int | None) -> Forward:
        channels = [TransferFunctions(model) for model in self.point_spreads(n_frames)]
        enough = max(each.n_support for each in channels)
        channels = Channels([TransferFunctions(each.model, enough) for each in channels])
        return channels if len(self.channels) == 1 else channels >> Registration(self.n_pixels, len(self.channels))

    def point_spreads(self, n_frames: int | None = None) -> list[PointSpread]:
        """Of each camera."""
        reference = self.channels[0].wavelength
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pixels slightly too coarse: the plan has said it
            return [
                PointSpread(
                    self.telescope,
                    each.wavelength,
                    self.pixel_scale,
                    self.n_pixels,
                    self.modes,
                    n_frames=n_frames,
                    defocus=each.defocus,
                    reference_wavelength=reference,
                )
                for each in self.channels
            ]

    def width(self, d_over_r0: float, n_active: int) -> np.ndarray:
        """`(n_modes,)` standard deviations of the coefficients behind turbulence [rad]; inactive ones are held at 0."""
        width = np.sqrt(self.modes.variance * d_over_r0 ** (5 / 3))
        return np.where(np.arange(self.n_modes) < n_active, width, HELD * width).astype(np.float32)
