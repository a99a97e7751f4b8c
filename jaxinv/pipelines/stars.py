"""Stars behind a burst: their separations and magnitudes, free of the atmosphere, from short exposures.

Each exposure is one image of one system through one unknown wavefront, and since the object is a few points, its
wavefront can be found from it alone: phase retrieval, by Levenberg-Marquardt from several starts, with the noise
falling and the modes becoming more from level to level. The positions and fluxes of the stars are unknowns of each
exposure, too. What it says of them is a normal distribution with the wavefront integrated out (the covariance's block);
the product of these is what the burst says. Exposures whose residuals are not explained sit in a wrong minimum of the
wavefront and are left out; where the others scatter more than their errors, the errors are widened (Birge 1932, Phys.
Rev. 40, 207).
"""

from __future__ import annotations

import dataclasses
import warnings
from functools import cached_property
from typing import Any

import numpy as np
import numpyro.distributions as dist

from jaxinv.compute.progress import Advance
from jaxinv.compute.run import Run, Work
from jaxinv.compute.store import Store
from jaxinv.noise import Gaussian
from jaxinv.observation import FrameBurst, Observation
from jaxinv.optics.karhunen_loeve import KarhunenLoeve
from jaxinv.optics.point_spread import PointSpread
from jaxinv.optics.scene import Background, PointSources
from jaxinv.optics.telescope import Telescope
from jaxinv.optimize.fit import fit
from jaxinv.optimize.levenberg_marquardt import LevenbergMarquardt
from jaxinv.pipelines.burst import most_modes, refuse_folded, telescope_of
from jaxinv.pipelines.config import StarsConfig
from jaxinv.problem import Problem
from jaxinv.results.stars import StarSystem

_LEVELS = ((20, 0.3), (44, 0.1), (100, 0.03))
"""Modes, and noise added in units of the frames' rms, of the levels before all modes are free and the noise is true."""
_ITERATIONS = 60
_FIRST_GUESS = 5.0
"""Of D / r0."""
_ACCURACY = (2.0, 0.15)
"""Of a first guess: of positions [pixel], and of fluxes as a part of the whole."""
_EXPLAINED = 1.5
"""Times the residuals of the best tenth: up to here a wavefront counts as found."""
_TRUSTED = 3.0
"""Residuals of the best tenth, above which the model is not the frames'."""
_RESOLVED = 3.0
"""Pixels around a star in which no other one is looked for."""
_LOW = slice(2, 30)
"""Modes that tell Fried's parameter."""


@dataclasses.dataclass(frozen=True)
class Exposures:
    """Measures the stars in one exposure at a time.

    Attributes:
        telescope: its pupil.
        wavelength: [angstrom].
        pixel_scale: [arcsec].
        n_pixels: across a frame.
        positions: `(n_stars, 2)` first guess, the first star at 0 [arcsec].
        fluxes: `(n_stars,)` first guess, sum 1.
        n_modes: of a wavefront.
        starts: from the prior.
        seed: of the starts.
    """

    telescope: Telescope
    wavelength: float
    pixel_scale: float
    n_pixels: int
    positions: np.ndarray
    fluxes: np.ndarray
    n_modes: int
    starts: int
    seed: int

    @cached_property
    def levels(self) -> list[tuple[int, float]]:
        """Modes, and noise added, of each level."""
        return [(n, share) for n, share in _LEVELS if n < self.n_modes] + [(self.n_modes, 0.0)]

    @cached_property
    def variance(self) -> np.ndarray:
        """Of the coefficients for D / r0 = 1 [rad^2]."""
        return KarhunenLoeve(self.telescope, self.n_modes).variance

    def model(self, n_modes: int) -> Any:
        """From a wavefront, positions, fluxes and background to a frame."""
        at = (self.telescope, self.wavelength, self.pixel_scale, self.n_pixels)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pixels slightly too coarse: the plan has said it
            spread = PointSpread(*at, KarhunenLoeve(self.telescope, n_modes))
        return spread >> PointSources(len(self.fluxes), self.pixel_scale) >> Background()

    @cached_property
    def models(self) -> dict[int, Any]:
        """Of each level, by its modes."""
        return {n_modes: self.model(n_modes) for n_modes, _ in self.levels}

    def measure(self, frame: np.ndarray, total: float, read_noise: float, seed: int) -> dict[str, Any]:
        """What a frame says.

        Args:
            frame: `(n, n)` over its `total`.
            total: electrons in it.
            read_noise: [electrons].
            seed: of the starts.
        """
        expected, rms = _smoothed(frame), float(np.std(frame))
        n_stars, ratio = len(self.fluxes), _FIRST_GUESS
        found: Any = None
        for k, (n_modes, share) in enumerate(self.levels):
            sigma = np.sqrt((np.maximum(expected, 0) * total + read_noise**2) / total**2 + (share * rms) ** 2)
            width = np.sqrt(self.variance[:n_modes] * ratio ** (5 / 3)).astype(np.float32)
            near = np.full((n_stars, 2), _ACCURACY[0] * self.pixel_scale, np.float32)
            near[0] *= 1e-3  # the first star is the origin: the tilts have its place
            some = np.full(n_stars, _ACCURACY[1], np.float32)
            prior = {
                "wavefront": dist.Normal(np.zeros_like(width), width).to_event(1),
                "positions": dist.Normal(np.float32(self.positions), near).to_event(2),
                "fluxes": dist.Normal(np.float32(self.fluxes), some).to_event(1),
                "background": dist.Normal(np.float32(0), np.float32(rms)),
            }
            initial = None
            if found is not None:
                before = found.parameters["wavefront"]
                initial = {**found.parameters, "wavefront": np.pad(before, (0, n_modes - len(before)))}
            elif k == 0:
                initial = {
                    "positions": np.float32(self.positions),
                    "fluxes": np.float32(self.fluxes),
                    "background": np.float32(0),
                }
            solver = LevenbergMarquardt(n_starts=1 if k else self.starts, max_iterations=_ITERATIONS)
            problem = Problem(self.models[n_modes], Gaussian(1.0), prior)
            data = Observation(np.float32(frame), sigma=np.float32(sigma))
            found = fit(problem, data, solver=solver, initial=initial, seed=seed)
            expected = np.asarray(problem.predict(found.parameters))
            if k:
                low = found.parameters["wavefront"][_LOW]
                ratio = float(np.clip(np.mean(low**2 / self.variance[_LOW][: len(low)]) ** (3 / 5), 0.5, 50.0))
        values, covariance = self._of_stars(found)
        return {
            "values": values,
            "covariance": covariance,
            "chi2": np.float64(np.mean((frame - expected) ** 2 / sigma**2)),
            "wavefront": found.parameters["wavefront"],
            "d_over_r0": np.float64(ratio),
            "model": expected * total,
        }

    def _of_stars(self, found: Any) -> tuple[np.ndarray, np.ndarray]:
        """x, y [arcsec] and magnitude of the stars beside the first, and their covariance, whatever the wavefront."""
        positions, fluxes = (np.asarray(found.parameters[name], float) for name in ("positions", "fluxes"))
        n = len(fluxes)
        offsets, bright = positions[1:] - positions[0], np.maximum(fluxes, 1e-6)
        values = np.concatenate([offsets, -2.5 * np.log10(bright[1:, None] / bright[0])], axis=1).ravel()
        of = lambda name: [k for k, label in enumerate(found.labels) if label.startswith(name)]  # noqa: E731
        index = of("positions") + of("fluxes")
        slopes = np.zeros((n - 1, 3, 3 * n))
        per_magnitude = 2.5 / np.log(10)
        for k in range(1, n):
            for axis in range(2):
                slopes[k - 1, axis, 2 * k + axis], slopes[k - 1, axis, axis] = 1, -1
            slopes[k - 1, 2, 2 * n + k], slopes[k - 1, 2, 2 * n] = -per_magnitude / bright[k], per_magnitude / bright[0]
        matrix = slopes.reshape(-1, 3 * n)
        return values, matrix @ np.asarray(found.covariance, float)[np.ix_(index, index)] @ matrix.T


@dataclasses.dataclass(frozen=True)
class StarsPlan:
    """All that a measurement depends on.

    Attributes:
        config: the options.
        burst: the frames.
        tools: that measure an exposure.
        frames: `(n_frames, n, n)` around the brightest pixels, over their totals.
        totals: `(n_frames,)` [electrons].
        read_noise: [electrons].
    """

    config: StarsConfig
    burst: FrameBurst
    tools: Exposures
    frames: np.ndarray
    totals: np.ndarray
    read_noise: float


def plan_stars(burst: FrameBurst, config: StarsConfig | None = None) -> StarsPlan:
    """What is to be measured: everything that can be refused is refused here.

    Args:
        burst: frames, their wavelength and pixel scale.
        config: the options; the defaults where `None`.

    Raises:
        ValueError, KeyError: pixels coarser than Nyquist's, a field larger than the frames, frames with missing pixels
            or without light, a telescope that is not known, a number in another unit, fewer stars than asked for.
    """
    config = config or StarsConfig()
    telescope = telescope_of(config)
    frames = np.asarray(burst.frames, float) * config.gain
    n_frames, ny, nx = frames.shape
    refuse_folded(telescope, burst)
    n = config.field - config.field % 2
    if n > min(ny, nx):
        raise ValueError(f"a field of {n} pixels is larger than the frames of {ny} x {nx}: take --field smaller")
    bad = np.flatnonzero(~np.isfinite(frames).all(axis=(1, 2)))
    if bad.size:
        raise ValueError(f"frame {bad[0]} has pixels that are not finite: leave it out, or fill them")
    border = np.concatenate([frames[:, :2].reshape(n_frames, -1), frames[:, -2:].reshape(n_frames, -1)], axis=1)
    level = np.median(border, axis=1)
    read_noise = config.read_noise
    if read_noise is None:
        read_noise = float(1.4826 * np.median(np.abs(border - level[:, None])))
    frames = frames - level[:, None, None]
    peaks = [np.unravel_index(np.argmax(_smoothed(frame)), (ny, nx)) for frame in frames]
    laid = [_around(frame, peak, n) for frame, peak in zip(frames, peaks, strict=True)]
    totals = np.array([frame.sum() for frame in laid])
    if not (totals > 10 * read_noise * n).all():
        raise ValueError(f"frame {int(np.argmin(totals))} has no star that is brighter than its noise")
    cut = np.stack(laid) / totals[:, None, None]
    positions, fluxes = _first_look(cut.mean(axis=0), config.stars, burst.pixel_scale)
    tools = Exposures(
        telescope,
        burst.wavelength,
        burst.pixel_scale,
        n,
        positions,
        fluxes,
        min(config.modes, most_modes(telescope, burst, n)),
        config.starts,
        config.seed,
    )
    return StarsPlan(config, burst, tools, cut, totals, read_noise)


def measure_stars(
    burst: FrameBurst, config: StarsConfig | None = None, *, store: Store | None = None, progress: bool = False
) -> StarSystem:
    """Separations and magnitudes of the stars behind a burst of short exposures.

    Args:
        burst: frames, their wavelength and pixel scale.
        config: the options; the defaults where `None`.
        store: where finished frames are kept (`StarsRun(plan).store(path)`), so that a run that was cut goes on.
        progress: show a bar with rate and time left.

    Raises:
        ValueError, KeyError: see `plan_stars`.
    """
    return StarsRun(plan_stars(burst, config)).into(store, progress=progress)


class StarsRun(Run[StarSystem]):
    """The measurement of the frames of a plan."""

    label, unit = "measuring", "frame"

    def __init__(self, plan: StarsPlan) -> None:
        self._plan = plan

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self._plan.frames),)

    @property
    def size(self) -> int:
        return 1

    def read(self, start: int, stop: int) -> Any:
        plan, part = self._plan, slice(start, stop)
        return {"frame": plan.frames[part], "total": plan.totals[part], "index": np.arange(start, stop)}

    def work(self) -> Work:
        return MeasureFrames(self._plan.tools, self._plan.read_noise)

    def result(self, store: Store) -> StarSystem:
        plan, made = self._plan, store.arrays()
        values, chi2 = made["values"], made["chi2"]
        finite = np.isfinite(chi2) & np.isfinite(values).all(axis=1) & np.isfinite(made["covariance"]).all(axis=(1, 2))
        best = float(np.quantile(chi2[finite], 0.1)) if finite.any() else np.nan
        used = finite & (chi2 <= _EXPLAINED * max(best, 1.0))
        if not best < _TRUSTED:
            warnings.warn(
                f"no exposure is explained: the best leave residuals of {best:.3g} of the noise's variance; look at "
                "the telescope, the gain and the number of stars before the numbers",
                stacklevel=2,
            )
        mean, covariance = _pooled(values[used], made["covariance"][used], chi2[used])
        stars = mean.reshape(-1, 3)
        tools = plan.tools
        number = int(np.argmin(np.where(finite, chi2, np.inf)))
        spread = tools.models[tools.n_modes].first
        return StarSystem(
            offsets=stars[:, :2],
            magnitudes=stars[:, 2],
            covariance=covariance,
            frame_values=values,
            used=used,
            chi2=chi2,
            wavefront=made["wavefront"],
            d_over_r0=made["d_over_r0"],
            mean_frame=(plan.frames * plan.totals[:, None, None]).mean(axis=0),
            mean_model=np.nanmean(made["model"], axis=0),
            psf=np.asarray(spread({"wavefront": np.nan_to_num(made["wavefront"][number])})),
            wavelength=plan.burst.wavelength,
            pixel_scale=plan.burst.pixel_scale,
            header={**plan.burst.header},
            provenance={
                "telescope": tools.telescope.source or f"{tools.telescope.diameter:g} m",
                "modes": f"{tools.n_modes} Karhunen-Loeve modes of the pupil",
                "read noise": f"{plan.read_noise:.3g} electrons",
            },
        )


@dataclasses.dataclass(frozen=True)
class MeasureFrames:
    """Measures frames, one after another."""

    tools: Exposures
    read_noise: float

    def __call__(self, inputs: Any, advance: Advance) -> dict[str, np.ndarray]:
        del advance  # a piece is a frame
        out = [
            self.tools.measure(frame, float(total), self.read_noise, self.tools.seed + int(index))
            for frame, total, index in zip(inputs["frame"], inputs["total"], inputs["index"], strict=True)
        ]
        return {name: np.stack([each[name] for each in out]) for name in out[0]}


def _pooled(values: np.ndarray, covariances: np.ndarray, chi2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The product of normal distributions, wider where they disagree."""
    n = values.shape[1]
    if not n or not len(values):
        return np.full(n, np.nan), np.full((n, n), np.nan)
    precisions = np.linalg.inv(covariances * np.maximum(chi2, 1)[:, None, None])
    covariance = np.linalg.inv(precisions.sum(axis=0))
    mean = covariance @ np.einsum("fab,fb->a", precisions, values)
    if len(values) > 1:
        off = values - mean
        misfit = np.einsum("fa,fab,fb->", off, precisions, off) / (n * (len(values) - 1))
        covariance = covariance * max(misfit, 1.0)
    return mean, covariance


def _first_look(image: np.ndarray, n_stars: int, pixel_scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Positions [arcsec] and fluxes of stars in a mean of frames that lie on their brightest pixels.

    Around the first star, what is symmetric is its halo; what stands out from it are the others, one after another.

    Raises:
        ValueError: there are fewer.
    """
    n = len(image)
    y, x = np.mgrid[:n, :n] - n // 2
    radius = np.hypot(y, x)
    rings = [image[(radius >= k - 0.5) & (radius < k + 0.5)] for k in range(n // 2)]
    halo = np.array([np.median(ring) for ring in rings])
    halo[0] = image[n // 2, n // 2]
    of_star = lambda dy, dx: np.interp(np.hypot(y - dy, x - dx), np.arange(n // 2), halo)  # noqa: E731
    left, free = image - of_star(0, 0), (radius >= _RESOLVED) & (radius < n // 2 - 1)
    places, fluxes = [(0, 0)], [1.0]
    for _ in range(n_stars - 1):
        peak = int(np.argmax(np.where(free, left, -np.inf)))
        dy, dx, height = int(y.flat[peak]), int(x.flat[peak]), float(left.flat[peak])
        ratio = height / halo[0]
        if not ratio > 1e-3:
            raise ValueError(f"there are {len(fluxes)} stars in the mean frame; {n_stars} were asked for (--stars)")
        places.append((dx, dy))
        fluxes.append(min(ratio, 1.0))
        left = left - ratio * of_star(dy, dx)
        free = free & (np.hypot(y - dy, x - dx) >= _RESOLVED)
    bright = np.array(fluxes)
    return np.array(places, float) * pixel_scale, bright / bright.sum()


def _around(frame: np.ndarray, peak: Any, n: int) -> np.ndarray:
    """`(n, n)` with a pixel in the middle, `n // 2`; beyond the border the frame begins again."""
    return np.roll(frame, (n // 2 - peak[0], n // 2 - peak[1]), axis=(0, 1))[:n, :n]


def _smoothed(frame: np.ndarray) -> np.ndarray:
    """A frame over about a pixel."""
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(np.asarray(frame, float), 0.7, mode="wrap")
