"""A burst of short exposures restored: patch by patch, laid on each other, and stitched."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from jaxinv.compute.progress import Advance
from jaxinv.compute.run import Run, Work
from jaxinv.compute.store import Store
from jaxinv.observation import FrameBurst
from jaxinv.optics.alignment import cut, noise_of, shifts_of
from jaxinv.optics.point_spread import ANGSTROM, ARCSEC, PointSpread
from jaxinv.pipelines.burst import most_modes, refuse_folded, telescope_of
from jaxinv.pipelines.config import RestoreConfig
from jaxinv.pipelines.patch import Restorer
from jaxinv.results.restoration import PatchStatus, Restoration

_PATCH, _WHOLE = 128, 160
"""Pixels of a patch, and of a field up to which it is one."""
_UNCERTAIN = 0.5
"""Of the contrast, from which on an error is flagged."""
_STOKES = 4
_LOCAL = 0.2
"""Of a patch, by which its frames may be off beside the shift of the whole field."""


@dataclasses.dataclass(frozen=True)
class RestorationPlan:
    """All that a restoration depends on.

    Attributes:
        config: the options.
        burst: the frames.
        channels: `(n_channels, n_exposures, ny, nx)` the same, and those of the diversity.
        tools: that restore a patch.
        sigma: `(n_channels, n_exposures)` of the noise in the unit of the frames.
        shifts: `(n_channels, n_exposures, 2)` of the whole frames, y and x.
        corners: `(n_patches, 2)` first pixels of the patches, y and x.
    """

    config: RestoreConfig
    burst: FrameBurst
    channels: np.ndarray
    tools: Restorer
    sigma: np.ndarray
    shifts: np.ndarray
    corners: np.ndarray

    def patch(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """`(n_channels, n_exposures, n, n)` frames of a patch, laid on each other, and the shifts taken out."""
        size, corner = self.tools.n_pixels, (int(self.corners[index, 0]), int(self.corners[index, 1]))
        shifts = self.shifts
        if len(self.corners) > 1:
            frames = cut(self.channels[0], shifts[0], corner, size)
            means = np.nanmean(frames, axis=(-2, -1), keepdims=True)
            local = shifts_of(np.where(np.isfinite(frames), frames, means), max(1, round(_LOCAL * size)))
            shifts = shifts + local  # all channels see an exposure's wavefront, and so its tilt
        pairs = zip(self.channels, shifts, strict=True)
        return np.stack([cut(frames, shift, corner, size) for frames, shift in pairs]), shifts


def plan_restoration(
    burst: FrameBurst,
    config: RestoreConfig | None = None,
    *,
    diversity: FrameBurst | None = None,
    modulation: np.ndarray | None = None,
) -> RestorationPlan:
    """What is to be restored: everything that can be refused is refused here.

    Args:
        burst: frames, their wavelength and pixel scale.
        config: the options; the defaults where `None`.
        diversity: the same exposures of a camera out of focus by `config.defocus`.
        modulation: `(n_rows, n_stokes)` of a polarimeter, what frames see of each Stokes parameter, intensity first: a
            row for each frame, or those of a cycle that repeats.

    Raises:
        ValueError, KeyError: a burst of one frame without diversity, or with frames of another shape, pixels coarser
            than Nyquist's, a patch larger than the field, frames without light or with few finite pixels, a telescope
            that is not known, a number in another unit, a modulation that does not fit the frames.
    """
    config = config or RestoreConfig()
    telescope = telescope_of(config)
    channels = _channels(burst, diversity, config)
    rows = None if modulation is None else _modulation(modulation, channels, config)
    n_channels, n_frames, ny, nx = channels.shape
    refuse_folded(telescope, burst)
    frames = channels.reshape(-1, ny, nx)
    finite = np.isfinite(frames)
    empty = np.flatnonzero(finite.mean(axis=(1, 2)) < 0.5)
    of = lambda k: f"frame {k % n_frames}" + (" of the diversity" if k >= n_frames else "")  # noqa: E731
    if empty.size:
        raise ValueError(f"{of(int(empty[0]))} has fewer than half of its pixels finite: leave it out")
    means = np.array([frame[good].mean() for frame, good in zip(frames, finite, strict=True)])
    if not (means > 0).all():
        raise ValueError(f"{of(int(np.argmin(means)))} has a mean of {means.min():g}: intensities are above 0")
    field = min(ny, nx)
    size = config.patch or (field if field <= _WHOLE else _PATCH)
    size -= size % 2
    if size > field:
        raise ValueError(f"a patch of {size} pixels is larger than the field of {ny} x {nx}: take --patch smaller")
    filled = np.stack([_filled(frame, good) for frame, good in zip(frames, finite, strict=True)])
    shifts = _shifts(filled.reshape(channels.shape))
    cutoff = telescope.diameter / (burst.wavelength * ANGSTROM) * ARCSEC * burst.pixel_scale
    sigma = noise_of(filled, cutoff) if config.noise is None else config.noise * means
    # Cameras of one exposure share its light; images that were interpolated show less noise than they have.
    sigma = np.broadcast_to(sigma.reshape(n_channels, n_frames).max(axis=0), (n_channels, n_frames))
    corners = np.array([(y, x) for y in _corners(ny, size) for x in _corners(nx, size)])
    tools = Restorer(
        telescope,
        burst.wavelength,
        burst.pixel_scale,
        size,
        n_frames,
        n_modes=min(config.modes, most_modes(telescope, burst, size)),
        defocus=(0.0,) if diversity is None else (0.0, config.defocus or 0.0),
        draws=config.draws,
        filtered=config.filter == "scharmer",
        modulation=rows,
        seed=config.seed,
    )
    return RestorationPlan(config, burst, channels, tools, sigma, shifts, corners)


def restore(
    burst: FrameBurst,
    config: RestoreConfig | None = None,
    *,
    diversity: FrameBurst | None = None,
    modulation: np.ndarray | None = None,
    store: Store | None = None,
    progress: bool = False,
) -> Restoration:
    """The object behind a burst of short exposures, with the wavefronts that it was seen through.

    Args:
        burst: frames, their wavelength and pixel scale.
        config: the options; the defaults where `None`.
        diversity: the same exposures of a camera out of focus by `config.defocus`: phase diversity.
        modulation: `(n_rows, n_stokes)` of a polarimeter, for Stokes images; see `plan_restoration`.
        store: where finished patches are kept (`RestorationRun(plan).store(path)`), so that a run that was cut goes on.
        progress: show a bar with rate and time left.

    Raises:
        ValueError, KeyError: see `plan_restoration`.
    """
    plan = plan_restoration(burst, config, diversity=diversity, modulation=modulation)
    return RestorationRun(plan).into(store, progress=progress)


class RestorationRun(Run[Restoration]):
    """The restoration of the patches of a plan."""

    label, unit = "restoring", "patch"
    missing: ClassVar[Mapping[str, int]] = {"status": int(PatchStatus.NOT_DONE)}

    def __init__(self, plan: RestorationPlan) -> None:
        self._plan = plan

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self._plan.corners),)

    @property
    def size(self) -> int:
        return 1

    def read(self, start: int, stop: int) -> Any:
        made = [self._plan.patch(k) for k in range(start, stop)]
        return {
            "frames": np.stack([frames for frames, _ in made]),
            "shifts": np.stack([shifts for _, shifts in made]),
            "index": np.arange(start, stop),
        }

    def work(self) -> Work:
        return RestorePatches(self._plan.tools, self._plan.sigma)

    def result(self, store: Store) -> Restoration:
        plan = self._plan
        made = store.arrays()
        canvas = plan.tools.canvas
        field = plan.burst.frames.shape[1:]
        inner = canvas.field(made["object"])
        laid = lambda parts: np.stack([_stitched(each, plan.corners, field) for each in parts.swapaxes(0, 1)])  # noqa: E731
        images, errors = laid(inner), laid(made["error"])
        modulated = plan.tools.modulation is not None
        flat = lambda values: values.reshape(len(values), -1, *values.shape[3:])  # noqa: E731
        ratio = made["d_over_r0"]
        header = {**plan.burst.header}
        header.setdefault("TELESCOP", plan.tools.telescope.name or "given")
        return Restoration(
            object=images[0],
            error=errors[0],
            stokes=images if modulated else None,
            stokes_error=errors if modulated else None,
            wavefront=made["wavefront"],
            corners=plan.corners,
            patch=plan.tools.n_pixels,
            r0=plan.tools.telescope.diameter / ratio,
            chi2=flat(made["chi2"]),
            residual_power=made["residual_power"],
            relative_error=made["relative_error"],
            gain=flat(made["gain"]),
            shifts=flat(made["shifts"]),
            status=made["status"],
            psf=_psf(plan.tools, made["wavefront"][len(plan.corners) // 2]),
            best_frame=_best(plan.burst.frames),
            sigma=plan.sigma.ravel(),
            wavelength=plan.burst.wavelength,
            pixel_scale=plan.burst.pixel_scale,
            header=header,
            provenance={
                "telescope": plan.tools.telescope.source or f"{plan.tools.telescope.diameter:g} m",
                "modes": f"{plan.tools.n_modes} Karhunen-Loeve modes of the pupil",
                "evaluations": f"{int(made['evaluations'].sum())}",
            },
        )


@dataclasses.dataclass(frozen=True)
class RestorePatches:
    """Restores patches, one after another."""

    tools: Restorer
    sigma: np.ndarray

    def __call__(self, inputs: Any, advance: Advance) -> dict[str, np.ndarray]:
        del advance  # a piece is a patch
        out: list[dict[str, Any]] = []
        for frames, shifts, index in zip(inputs["frames"], inputs["shifts"], inputs["index"], strict=True):
            tools = dataclasses.replace(self.tools, seed=self.tools.seed + int(index))
            found = tools.restore(frames, np.isfinite(frames), self.sigma)
            finite = np.isfinite(found.object).all() and np.isfinite(found.chi2).any()
            relative = float(np.sqrt(np.mean(found.error[0] ** 2)) / np.std(tools.canvas.field(found.object[0])))
            status = PatchStatus.RESTORED if relative < _UNCERTAIN else PatchStatus.UNCERTAIN
            status = status if found.converged else PatchStatus.UNEXPLAINED
            out.append(
                {
                    "object": found.object.astype(np.float32),
                    "wavefront": found.wavefront.astype(np.float32),
                    "error": found.error.astype(np.float32),
                    "gain": found.gain.astype(np.float32),
                    "chi2": found.chi2.astype(np.float32),
                    "residual_power": found.residual_power.astype(np.float32),
                    "relative_error": np.float32(relative),
                    "d_over_r0": np.float32(found.d_over_r0),
                    "evaluations": np.int32(found.evaluations),
                    "shifts": np.asarray(shifts, np.int32),
                    "status": np.int16(status if finite else PatchStatus.FAILED),
                }
            )
        return {name: np.stack([each[name] for each in out]) for name in out[0]}


def _channels(burst: FrameBurst, diversity: FrameBurst | None, config: RestoreConfig) -> np.ndarray:
    """`(n_channels, n_exposures, ny, nx)`, checked against each other."""
    frames = np.asarray(burst.frames, np.float32)
    if diversity is None:
        if config.defocus is not None:
            raise ValueError("`defocus` is that of the diversity's frames: give them, too")
        if len(frames) < 2:
            raise ValueError(
                "a burst of one frame: blind deconvolution needs two or more of the same object, or the same exposure "
                "out of focus (diversity)"
            )
        return frames[None]
    if not config.defocus:
        raise ValueError("the defocus of the diversity's frames is not known: give it [waves], of either sign")
    if diversity.frames.shape != frames.shape:
        raise ValueError(
            f"the diversity has the shape {diversity.frames.shape}, the burst {frames.shape}: expected the same "
            "exposures"
        )
    seen, other = ((each.wavelength, each.pixel_scale) for each in (burst, diversity))
    if not np.allclose(seen, other, rtol=1e-3):
        raise ValueError(
            f"the diversity is of {other[0]:g} angstrom and pixels of {other[1]:g} arcsec, the burst of {seen[0]:g} "
            f"and {seen[1]:g}: expected the same"
        )
    return np.stack([frames, np.asarray(diversity.frames, np.float32)])


def _modulation(matrix: np.ndarray, channels: np.ndarray, config: RestoreConfig) -> tuple[tuple[float, ...], ...]:
    """A row for each frame, checked."""
    rows, n_frames = np.asarray(matrix, float), channels.shape[1]
    if len(channels) > 1:
        raise ValueError("modulated frames with a diversity are not restored: take one of them")
    if config.filter != "wiener":
        raise ValueError(f"modulated frames are restored by Wiener's filter, not {config.filter!r}")
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
    return tuple(tuple(float(x) for x in row) for row in rows)


def _shifts(channels: np.ndarray) -> np.ndarray:
    """`(n_channels, n_exposures, 2)`: of the exposures, the same in all channels, and of the channels."""
    moves = shifts_of(channels[0])
    laid = [_laid(frames, moves) for frames in channels]
    between = shifts_of(np.stack(laid))
    return moves + (between - between[0])[:, None]


def _laid(frames: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """The mean of moved frames, which come in again on the other side."""
    pairs = zip(frames, moves, strict=True)
    return np.mean([np.roll(frame, move, axis=(0, 1)) for frame, move in pairs], axis=0)


def _filled(frame: np.ndarray, good: np.ndarray) -> np.ndarray:
    """A frame whose missing pixels are what is around them: as the mean they would count as noise."""
    if good.all():
        return frame
    from astropy.convolution import Gaussian2DKernel, interpolate_replace_nans

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of holes that are larger than the kernel
        near = interpolate_replace_nans(np.where(good, frame, np.nan), Gaussian2DKernel(1.0))
    return np.where(np.isfinite(near), near, frame[good].mean()).astype(np.float32)


def _corners(length: int, size: int) -> np.ndarray:
    """First pixels of patches along one direction: so many that neighbours share at least a third."""
    if length - size < 2:
        return np.array([0])
    count = math.ceil((length - size) / (2 * size / 3)) + 1
    return np.round(np.linspace(0, length - size, count)).astype(int)


def _stitched(parts: np.ndarray, corners: np.ndarray, field: tuple[int, ...]) -> np.ndarray:
    """Patches in one image: their means, weighted by how far a pixel is from a patch's border."""
    size = parts[0].shape[-1]
    at = (np.arange(size) + 0.5) / size
    weight = np.outer(np.sin(np.pi * at) ** 2, np.sin(np.pi * at) ** 2)
    total, image = np.zeros(field), np.zeros(field)
    for inner, (y, x) in zip(parts, corners, strict=True):
        part = np.s_[y : y + size, x : x + size]
        good = np.isfinite(inner)
        image[part] += np.where(good, weight * np.where(good, inner, 0), 0)
        total[part] += weight * good
    return np.where(total > 0, image / np.where(total > 0, total, 1), np.nan).astype(np.float32)


def _best(frames: np.ndarray) -> np.ndarray:
    """The frame of highest contrast."""
    contrast = [np.nanstd(frame) / np.nanmean(frame) for frame in frames]
    return frames[int(np.argmax(contrast))]


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


def _psf(tools: Restorer, wavefront: np.ndarray) -> np.ndarray:
    """`(n_channels * n_exposures, n, n)` of wavefronts."""
    at = (tools.telescope, tools.wavelength, tools.pixel_scale, tools.n_pixels, tools.modes)
    models = [PointSpread(*at, defocus=waves) for waves in tools.defocus]
    return np.concatenate([np.asarray(model({"wavefront": np.nan_to_num(wavefront)})) for model in models])
