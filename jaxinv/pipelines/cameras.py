"""The cameras of a burst: frames that share wavefronts, checked against each other, and laid on each other."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np

from jaxinv.observation import FrameBurst
from jaxinv.optics.alignment import noise_of, shifts_of
from jaxinv.optics.point_spread import ANGSTROM, ARCSEC
from jaxinv.optics.telescope import Telescope
from jaxinv.pipelines.config import RestoreConfig
from jaxinv.pipelines.patch_model import Channel

_STOKES = 4


@dataclasses.dataclass(frozen=True, eq=False)
class Cameras:
    """Frames of one or several cameras, taken at the same moments.

    Attributes:
        bursts: of each camera: the first, its diversity, the narrowband.
        channels: their wavelengths and defocus.
        mixing: `(n_channels, n_exposures, n_objects)` what each frame sees of each object.
        narrowband: the number of the first object that the narrowband camera shows; `None`: there is none.
        modulated: whether the last camera's objects are Stokes images.
    """

    bursts: tuple[FrameBurst, ...]
    channels: tuple[Channel, ...]
    mixing: np.ndarray
    narrowband: int | None
    modulated: bool

    @property
    def frames(self) -> list[np.ndarray]:
        """Of each camera, `(n_exposures, ny, nx)`."""
        return [np.asarray(each.frames) for each in self.bursts]

    @property
    def wide(self) -> int:
        """How many cameras show what the first shows."""
        return len(self.channels) - (self.narrowband is not None)

    @property
    def stokes(self) -> slice:
        """The Stokes images among the objects."""
        return slice(self.narrowband or 0, None)

    def name(self, channel: int, frame: int) -> str:
        """Of a frame, as users count them."""
        if channel == 0:
            return f"frame {frame}"
        return f"frame {frame} of the {'diversity' if channel < self.wide else 'narrowband'}"

    def refuse_empty(self) -> None:
        """Of frames that show nothing.

        Raises:
            ValueError: one with few finite pixels, or without light.
        """
        for c, frames in enumerate(self.frames):
            for k, frame in enumerate(frames):
                good = np.isfinite(frame)
                if good.mean() < 0.5:
                    raise ValueError(f"{self.name(c, k)} has fewer than half of its pixels finite: leave it out")
                if not frame[good].mean() > 0:
                    raise ValueError(f"{self.name(c, k)} has a mean of {frame[good].mean():g}: intensities are above 0")

    def filled(self) -> np.ndarray:
        """The frames, and around missing pixels what is next to them."""
        return np.stack([[_filled(frame) for frame in frames] for frames in self.frames])

    def noise(self, filled: np.ndarray, telescope: Telescope, relative: float | None) -> np.ndarray:
        """`(n_channels, n_exposures)` in the unit of each camera: measured, or relative to the mean.

        Raises:
            ValueError: it cannot be measured.
        """
        if relative is not None:
            return relative * filled.mean(axis=(-2, -1))
        cutoffs = [telescope.diameter / (each.wavelength * ANGSTROM) * ARCSEC for each in self.channels]
        scale = self.bursts[0].pixel_scale
        sigma = np.stack([noise_of(frames, scale * cutoff) for frames, cutoff in zip(filled, cutoffs, strict=True)])
        # Cameras of one object share its light; images that were interpolated show less noise than they have.
        sigma[: self.wide] = sigma[: self.wide].max(axis=0)
        return sigma

    def shifts(self, filled: np.ndarray) -> np.ndarray:
        """`(n_channels, n_exposures, 2)`: of the exposures, the same in all cameras, and of cameras of one object."""
        moves = shifts_of(filled[0])
        laid = np.stack([_laid(frames, moves) for frames in filled[: self.wide]])
        between = np.zeros((len(filled), 2), int)
        between[: self.wide] = shifts_of(laid)
        return moves + (between - between[0])[:, None]


def cameras_of(
    burst: FrameBurst,
    config: RestoreConfig,
    diversity: FrameBurst | None = None,
    narrowband: FrameBurst | None = None,
    modulation: np.ndarray | None = None,
) -> Cameras:
    """The cameras of a burst, checked against each other.

    Args:
        burst: of the first camera.
        config: the options.
        diversity: the same exposures of a camera out of focus by `config.defocus`.
        narrowband: the same exposures of a camera with another filter.
        modulation: `(n_rows, n_stokes)` of a polarimeter before the narrowband camera, or else before all.

    Raises:
        ValueError: they do not fit each other.
    """
    n_frames = len(burst.frames)
    channels, bursts = [Channel(burst.wavelength)], [burst]
    if diversity is None and config.defocus is not None:
        raise ValueError("`defocus` is that of the diversity's frames: give them, too")
    if diversity is not None:
        if not config.defocus:
            raise ValueError("the defocus of the diversity's frames is not known: give it [waves], of either sign")
        _refuse_others("diversity", diversity, burst, colour=False)
        channels.append(Channel(burst.wavelength, config.defocus))
        bursts.append(diversity)
    elif n_frames < 2:
        raise ValueError(
            "a burst of one frame: blind deconvolution needs two or more of the same object, or the same exposure "
            "out of focus (diversity)"
        )
    rows = np.ones((n_frames, 1)) if modulation is None else _modulation(modulation, n_frames)
    mixing = np.broadcast_to(rows, (len(bursts), *rows.shape))
    if narrowband is None and config.narrowband_wavelength is not None:
        raise ValueError("`narrowband_wavelength` is that of the narrowband's frames: give them, too")
    if narrowband is not None:
        _refuse_others("narrowband", narrowband, burst, colour=True)
        channels.append(Channel(narrowband.wavelength))
        bursts.append(narrowband)
        mixing = np.zeros((len(bursts), n_frames, 1 + rows.shape[1]))
        mixing[:-1, :, 0], mixing[-1, :, 1:] = 1, rows
    if config.filter != "wiener" and mixing.shape[2] > 1:
        raise ValueError(f"the filter {config.filter!r} is for one object; several are restored by Wiener's")
    bursts = [dataclasses.replace(each, frames=np.asarray(each.frames, np.float32)) for each in bursts]
    return Cameras(tuple(bursts), tuple(channels), mixing, None if narrowband is None else 1, modulation is not None)


def _refuse_others(name: str, other: FrameBurst, burst: FrameBurst, *, colour: bool) -> None:
    """Frames that are not those of the same exposures."""
    if other.frames.shape != burst.frames.shape:
        raise ValueError(
            f"the {name} has the shape {other.frames.shape}, the burst {burst.frames.shape}: expected the same "
            "exposures"
        )
    same = np.isclose(other.pixel_scale, burst.pixel_scale, rtol=1e-3)
    if not same or not (colour or np.isclose(other.wavelength, burst.wavelength, rtol=1e-3)):
        raise ValueError(
            f"the {name} is of {other.wavelength:g} angstrom and pixels of {other.pixel_scale:g} arcsec, the burst of "
            f"{burst.wavelength:g} and {burst.pixel_scale:g}: expected the same" + (" pixels" if colour else "")
        )


def _modulation(matrix: np.ndarray, n_frames: int) -> np.ndarray:
    """A row for each frame, checked."""
    rows = np.asarray(matrix, float)
    if rows.ndim != 2 or not np.isfinite(rows).all() or rows.shape[1] > _STOKES or not rows.size:
        raise ValueError(
            f"the modulation has the shape {rows.shape}: expected finite numbers, a row for each frame and a column "
            f"for each of up to {_STOKES} Stokes parameters"
        )
    if n_frames % len(rows):
        raise ValueError(f"the modulation has {len(rows)} rows: {n_frames} frames are no whole number of such cycles")
    if not (rows[:, 0] > 0).all():
        raise ValueError("the first column of the modulation is that of the intensity: numbers above 0")
    rows = np.tile(rows, (n_frames // len(rows), 1))
    n_stokes = rows.shape[1]
    for k in range(n_frames):
        if np.linalg.matrix_rank(np.delete(rows, k, axis=0)) < n_stokes:
            raise ValueError(
                f"without frame {k} the modulation does not determine {n_stokes} Stokes parameters: more frames are "
                "needed to tell wavefronts from polarization"
            )
    return rows


def _laid(frames: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """The mean of moved frames, which come in again on the other side."""
    pairs = zip(frames, moves, strict=True)
    return np.mean([np.roll(frame, move, axis=(0, 1)) for frame, move in pairs], axis=0)


def _filled(frame: np.ndarray) -> np.ndarray:
    """A frame whose missing pixels are what is around them: as the mean they would count as noise."""
    good = np.isfinite(frame)
    if good.all():
        return frame
    from astropy.convolution import Gaussian2DKernel, interpolate_replace_nans

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of holes that are larger than the kernel
        near = interpolate_replace_nans(np.where(good, frame, np.nan), Gaussian2DKernel(1.0))
    return np.where(np.isfinite(near), near, frame[good].mean()).astype(np.float32)


def calibrated(
    burst: FrameBurst,
    *,
    dark: np.ndarray | None = None,
    flat: np.ndarray | None = None,
    bad: np.ndarray | None = None,
    saturation: float | None = None,
) -> FrameBurst:
    """Frames without the camera: dark taken off, divided by the flat, and NaN where a pixel is bad or was full.

    Args:
        burst: the frames.
        dark: `(ny, nx)` in the unit of the frames.
        flat: `(ny, nx)`, in any unit: dark taken off, too.
        bad: `(ny, nx)`, not 0 where a pixel is bad.
        saturation: of a raw pixel: from here on it is full.

    Raises:
        ValueError: a map of another shape than the frames, or a flat without light.
    """
    frames = np.array(burst.frames, np.float32)
    for name, values in (("dark", dark), ("flat field", flat), ("map of bad pixels", bad)):
        if values is not None and np.shape(values) != frames.shape[1:]:
            raise ValueError(f"the {name} has the shape {np.shape(values)}, a frame {frames.shape[1:]}")
    lost = np.zeros(frames.shape, bool) if saturation is None else frames >= saturation
    if dark is not None:
        frames = frames - np.asarray(dark, np.float32)
    if flat is not None:
        level = float(np.nanmean(flat))
        if not level > 0:
            raise ValueError(f"the flat field has a mean of {level:g}: it is a light level, above 0")
        with np.errstate(divide="ignore", invalid="ignore"):
            frames = frames / np.asarray(flat / level, np.float32)
        lost |= ~(np.asarray(flat) > 0)
    if bad is not None:
        lost |= np.asarray(bad) != 0
    return dataclasses.replace(burst, frames=np.where(lost, np.nan, frames))
