"""A burst of short exposures restored: patch by patch, laid on each other, and stitched."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from jaxinv.compute.progress import Advance
from jaxinv.compute.run import Run, Work
from jaxinv.compute.store import Store
from jaxinv.observation import FrameBurst
from jaxinv.optics.alignment import cut, shifts_of
from jaxinv.pipelines.burst import most_modes, refuse_folded, telescope_of
from jaxinv.pipelines.cameras import Cameras, cameras_of
from jaxinv.pipelines.config import RestoreConfig
from jaxinv.pipelines.patch import restore_patch
from jaxinv.pipelines.patch_model import PatchModel
from jaxinv.results.restoration import PatchStatus, Restoration

_PATCH, _WHOLE = 128, 160
"""Pixels of a patch, and of a field up to which it is one."""
_UNCERTAIN = 0.5
"""Of the contrast, from which on an error is flagged."""
_LOCAL = 0.2
"""Of a patch, by which its frames may be off beside the shift of the whole field."""


@dataclasses.dataclass(frozen=True)
class RestorationPlan:
    """All that a restoration depends on.

    Attributes:
        config: the options.
        burst: the frames.
        cameras: that took them, and others at the same moments.
        tools: that restore a patch.
        sigma: `(n_channels, n_exposures)` of the noise in the unit of the frames.
        shifts: `(n_channels, n_exposures, 2)` of the whole frames, y and x.
        corners: `(n_patches, 2)` first pixels of the patches, y and x.
    """

    config: RestoreConfig
    burst: FrameBurst
    cameras: Cameras
    tools: PatchModel
    sigma: np.ndarray
    shifts: np.ndarray
    corners: np.ndarray

    def patch(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """`(n_channels, n_exposures, n, n)` frames of a patch, laid on each other, and the shifts taken out."""
        size, corner = self.tools.n_pixels, (int(self.corners[index, 0]), int(self.corners[index, 1]))
        shifts = self.shifts
        if len(self.corners) > 1:
            frames = cut(self.cameras.frames[0], shifts[0], corner, size)
            means = np.nanmean(frames, axis=(-2, -1), keepdims=True)
            local = shifts_of(np.where(np.isfinite(frames), frames, means), max(1, round(_LOCAL * size)))
            shifts = shifts + local  # all channels see an exposure's wavefront, and so its tilt
        pairs = zip(self.cameras.frames, shifts, strict=True)
        return np.stack([cut(frames, shift, corner, size) for frames, shift in pairs]), shifts


def plan_restoration(
    burst: FrameBurst,
    config: RestoreConfig | None = None,
    *,
    diversity: FrameBurst | None = None,
    narrowband: FrameBurst | None = None,
    modulation: np.ndarray | None = None,
) -> RestorationPlan:
    """What is to be restored: everything that can be refused is refused here.

    Args:
        burst: frames, their wavelength and pixel scale.
        config: the options; the defaults where `None`.
        diversity: the same exposures of a camera out of focus by `config.defocus`.
        narrowband: the same exposures of a camera with another filter, which lies on the first within a few pixels.
        modulation: `(n_rows, n_stokes)` of a polarimeter, before the narrowband camera if there is one: what frames see
            of each Stokes parameter, intensity first, a row for each frame, or those of a cycle that repeats.

    Raises:
        ValueError, KeyError: a burst of one frame without diversity, or with frames of another shape, pixels coarser
            than Nyquist's, a patch larger than the field, frames without light or with few finite pixels, a telescope
            that is not known, a number in another unit, a modulation that does not fit the frames.
    """
    config = config or RestoreConfig()
    telescope = telescope_of(config)
    cameras = cameras_of(burst, config, diversity, narrowband, modulation)
    for each in cameras.bursts:
        refuse_folded(telescope, each)
    cameras.refuse_empty()
    ny, nx = burst.frames.shape[1:]
    field = min(ny, nx)
    size = config.patch or (field if field <= _WHOLE else _PATCH)
    size -= size % 2
    if size > field:
        raise ValueError(f"a patch of {size} pixels is larger than the field of {ny} x {nx}: take --patch smaller")
    filled = cameras.filled()
    shifts, sigma = cameras.shifts(filled), cameras.noise(filled, telescope, config.noise)
    corners = np.array([(y, x) for y in _corners(ny, size) for x in _corners(nx, size)])
    tools = PatchModel(
        telescope,
        cameras.channels,
        cameras.mixing,
        burst.pixel_scale,
        size,
        n_modes=min(config.modes, *(most_modes(telescope, each, size) for each in cameras.bursts)),
        draws=config.draws,
        filtered=config.filter == "scharmer",
        seed=config.seed,
    )
    return RestorationPlan(config, burst, cameras, tools, sigma, shifts, corners)


def restore(
    burst: FrameBurst,
    config: RestoreConfig | None = None,
    *,
    diversity: FrameBurst | None = None,
    narrowband: FrameBurst | None = None,
    modulation: np.ndarray | None = None,
    store: Store | None = None,
    progress: bool = False,
) -> Restoration:
    """The object behind a burst of short exposures, with the wavefronts that it was seen through.

    Args:
        burst: frames, their wavelength and pixel scale.
        config: the options; the defaults where `None`.
        diversity: the same exposures of a camera out of focus by `config.defocus`: phase diversity.
        narrowband: the same exposures of a camera with another filter: an object of its own, the wavefronts shared.
        modulation: `(n_rows, n_stokes)` of a polarimeter, for Stokes images; see `plan_restoration`.
        store: where finished patches are kept (`RestorationRun(plan).store(path)`), so that a run that was cut goes on.
        progress: show a bar with rate and time left.

    Raises:
        ValueError, KeyError: see `plan_restoration`.
    """
    plan = plan_restoration(burst, config, diversity=diversity, narrowband=narrowband, modulation=modulation)
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
        narrow, stokes = plan.cameras.narrowband, plan.cameras.stokes if plan.cameras.modulated else None
        flat = lambda values: values.reshape(len(values), -1, *values.shape[3:])  # noqa: E731
        ratio = made["d_over_r0"]
        header = {**plan.burst.header}
        header.setdefault("TELESCOP", plan.tools.telescope.name or "given")
        return Restoration(
            object=images[0],
            error=errors[0],
            stokes=None if stokes is None else images[stokes],
            stokes_error=None if stokes is None else errors[stokes],
            narrowband=None if narrow is None else images[narrow],
            narrowband_error=None if narrow is None else errors[narrow],
            narrowband_frame=None if narrow is None else _best(plan.cameras.frames[-1]),
            narrowband_wavelength=None if narrow is None else plan.cameras.channels[-1].wavelength,
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

    tools: PatchModel
    sigma: np.ndarray

    def __call__(self, inputs: Any, advance: Advance) -> dict[str, np.ndarray]:
        del advance  # a piece is a patch
        out: list[dict[str, Any]] = []
        for frames, shifts, index in zip(inputs["frames"], inputs["shifts"], inputs["index"], strict=True):
            tools = dataclasses.replace(self.tools, seed=self.tools.seed + int(index))
            found = restore_patch(tools, frames, np.isfinite(frames), self.sigma)
            finite = np.isfinite(found.object).all() and np.isfinite(found.chi2).any()
            spread = np.std(tools.canvas.field(found.object[0]))
            relative = float(np.sqrt(np.mean(found.error[0] ** 2)) / spread) if spread > 0 else np.inf
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


def _psf(tools: PatchModel, wavefront: np.ndarray) -> np.ndarray:
    """`(n_channels * n_exposures, n, n)` of wavefronts."""
    known = {"wavefront": np.nan_to_num(wavefront)}
    return np.concatenate([np.asarray(model(known)) for model in tools.point_spreads()])
