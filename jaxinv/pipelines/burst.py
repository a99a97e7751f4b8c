"""Bursts of short exposures through the turbulent atmosphere and a telescope, simulated with their truth."""

from __future__ import annotations

import dataclasses
import math
import warnings
from typing import Any

import equinox as eqx
import jax
import numpy as np

from jaxinv.compute.progress import Advance
from jaxinv.compute.run import Run, Work
from jaxinv.compute.store import Store
from jaxinv.forward import Stage
from jaxinv.observation import FrameBurst
from jaxinv.optics.burst import Burst, Correction, simulate_burst
from jaxinv.optics.detector import Detector
from jaxinv.optics.granulation import granulation
from jaxinv.optics.karhunen_loeve import KarhunenLoeve
from jaxinv.optics.point_spread import ANGSTROM, ARCSEC, PointSpread, nyquist, pupil_of
from jaxinv.optics.scene import DetectorPixel, Jitter
from jaxinv.optics.screens import Atmosphere, Layer
from jaxinv.optics.telescope import Telescope, find_telescope
from jaxinv.optics.zernike import Zernike
from jaxinv.pipelines.config import SimulateBurstConfig

_TOGETHER = 2**22
"""Pixels of PSFs and frames that are worked on together."""
_SEEING, _LARGEST = 6.0, 512
"""Of lambda / r0, that a PSF's field spans: 1 % of its light lies beyond. And at most so many pixels."""
_WRAPPED = 3.0
"""Of lambda / r0, below which the light beyond is said to be much: 5 %."""

_COARSEST = 1.05
"""Of Nyquist's pixels, up to which frames are taken."""


@dataclasses.dataclass(frozen=True)
class BurstPlan:
    """All that a simulated burst depends on, in units of the physics: what options, object and stars come to.

    Attributes:
        config: the options.
        model: the telescope and its modes.
        atmosphere: at the wavelength.
        scene: `object` with mean 1, or `positions` and `fluxes`, by name.
        field: of a frame, in the middle of the object; `None`: stars, on the field of the PSF.
        noise: of the camera.
        blur: of the PSFs, by pointing and pixels.
    """

    config: SimulateBurstConfig
    model: PointSpread
    atmosphere: Atmosphere
    scene: dict[str, np.ndarray]
    field: tuple[int, int] | None
    noise: Detector | float
    blur: tuple[Stage, ...]

    @property
    def size(self) -> int:
        """Frames that are made together."""
        n_psf, nodes = self.model.n_pixels, self.config.nodes
        each = n_psf**2 * nodes**2 + math.prod(self.field or (n_psf, n_psf))
        return min(self.config.frames, max(1, _TOGETHER // each))

    def frames(self, first: int) -> Burst:
        """`size` frames, from number `first` on."""
        config = self.config
        return simulate_burst(
            jax.random.key(config.seed),
            self.scene,
            self.model,
            self.atmosphere,
            n_frames=self.size,
            interval=config.interval,
            exposure=config.exposure,
            correction=Correction(config.corrected, config.left) if config.corrected else None,
            nodes=None if config.nodes == 1 else (config.nodes, config.nodes),
            field=self.field,
            blur=self.blur,
            noise=self.noise,
            first=first,
        )


def plan_burst(
    config: SimulateBurstConfig | None = None,
    *,
    scene: np.ndarray | None = None,
    stars: tuple[np.ndarray, np.ndarray] | None = None,
    flat: np.ndarray | None = None,
) -> BurstPlan:
    """What is to be simulated: everything that can be refused is refused here.

    Args:
        config: the options; the defaults where `None`.
        scene: `(ny, nx)` the object, in any unit: frames are in units of its mean; `None`: a texture of granules.
        stars: `(positions (n, 2) [arcsec from the middle of the field], fluxes (n,))`, in place of it.
        flat: `(n_pixels, n_pixels)` relative sensitivity of the camera, with photons; taken off again.

    Raises:
        ValueError, KeyError: an option has another unit, a telescope is not known, an object too small or not finite.
    """
    config = config or SimulateBurstConfig()
    telescope = telescope_of(config)
    wavelength = in_unit(config.wavelength, "Angstrom", "wavelength")
    scale = in_unit(config.pixel_scale, "arcsec", "pixel_scale")
    r0 = telescope.diameter / config.d_over_r0 if config.d_over_r0 else in_unit(config.r0 or "0.1", "m", "r0")
    outer_scale = math.inf if config.outer_scale is None else in_unit(config.outer_scale, "m", "outer_scale")
    layers = config.layers or ((0.0, 1.0, 10.0, 0.0),)
    atmosphere = Atmosphere(r0, outer_scale, tuple(Layer(h, share, (vx, vy)) for h, share, vx, vy in layers))
    seeing = wavelength * ANGSTROM / r0 / ARCSEC / scale  # in pixels
    if stars is not None:
        if scene is not None:
            raise ValueError("a burst shows an object or stars: give one of the two")
        if config.nodes > 1:
            raise ValueError("stars are seen by one PSF: the option 'nodes' goes with an object")
        n_psf, field, described = config.psf_pixels or config.n_pixels, None, _stars(stars)
        if n_psf != config.n_pixels:
            raise ValueError("stars are seen on the field of the PSF: leave the option 'psf_pixels' out")
    else:
        wanted = config.psf_pixels or min(max(2 * math.ceil(_SEEING * seeing / 2), 64), _LARGEST)
        described = {"object": _object(scene, config, scale, wanted)}
        smallest = min(described["object"].shape)
        if config.n_pixels > smallest:
            raise ValueError(
                f"the object is {smallest} pixels of {scale:g} arcsec across, a frame {config.n_pixels}: give a larger "
                "object, or take --n-pixels or --pixel-scale smaller"
            )
        if config.psf_pixels is not None and config.psf_pixels > smallest:
            raise ValueError(
                f"the object is {smallest} pixels across, the option 'psf_pixels' asks for {config.psf_pixels}: give a "
                "larger object"
            )
        n_psf, field = min(wanted, smallest - smallest % 2), (config.n_pixels, config.n_pixels)
    if n_psf < _WRAPPED * seeing:
        warnings.warn(
            f"the PSF's field of {n_psf} pixels is {n_psf / seeing:.1f} lambda/r0 wide: the light beyond comes back "
            "from the other side; take more pixels or a larger object",
            stacklevel=2,
        )
    modes = KarhunenLoeve(telescope, config.modes, outer_scale) if config.basis[0] == "k" else Zernike(config.modes)
    noise = config.noise
    if config.photons is not None:
        full = math.inf if config.saturation is None else config.saturation
        noise = Detector(config.photons, config.read_noise, dark=config.dark, saturation=full, flat=_flat(flat, config))
    elif flat is not None:
        raise ValueError("a flat field goes with photons: give the option 'photons'")
    model = PointSpread(telescope, wavelength, scale, n_psf, modes, defocus=config.defocus)
    jitter = in_unit(config.jitter, "arcsec", "jitter")
    blur = [Jitter(scale, jitter)] if jitter else []
    blur += [DetectorPixel(scale)] if config.integrate else []
    plan = BurstPlan(config, model, atmosphere, described, field, noise, tuple(blur))
    eqx.filter_eval_shape(plan.frames, 0)  # whatever else does not fit is refused before the work
    return plan


def simulate_frames(plan: BurstPlan, *, store: Store | None = None, progress: bool = False) -> FrameBurst:
    """The burst of a plan, with its truth.

    Args:
        plan: what `plan_burst` made of options and an object.
        store: where finished frames are kept (`BurstRun(plan).store(path)`), so that a run that was cut goes on.
        progress: show a bar with rate and time left.
    """
    return BurstRun(plan).into(store, progress=progress)


class BurstRun(Run[FrameBurst]):
    """The simulation of the frames of a plan."""

    label, unit = "simulating", "frame"

    def __init__(self, plan: BurstPlan) -> None:
        self._plan = plan

    @property
    def shape(self) -> tuple[int, ...]:
        return (self._plan.config.frames,)

    @property
    def size(self) -> int:
        return self._plan.size

    def read(self, start: int, stop: int) -> Any:
        return np.arange(start, stop)

    def work(self) -> Work:
        return MakeFrames(self._plan)

    def result(self, store: Store) -> FrameBurst:
        plan, model = self._plan, self._plan.model
        made = store.arrays()
        truth = {name: made[name] for name in _ARRAYS if name != "frames" and (name != "saturated" or made[name].any())}
        truth |= {"pupil": np.asarray(model.amplitude), "modes": np.asarray(model.basis)}
        if "object" in plan.scene:
            truth["object"] = plan.scene["object"]
        else:
            truth["stars"] = np.column_stack([plan.scene["positions"], plan.scene["fluxes"]])
        header = {"TELESCOP": model.pupil.telescope.name or "simulated"}
        telescope = model.pupil.telescope
        provenance = {
            "turbulence": f"r0 {plan.atmosphere.r0:.6g} m at {model.wavelength:g} angstrom",
            "telescope": telescope.source or f"{telescope.diameter:g} m",
        }
        return FrameBurst(made["frames"], model.wavelength, model.pixel_scale, header, truth, provenance)


@dataclasses.dataclass(frozen=True)
class MakeFrames:
    """Makes the frames with some neighbouring numbers."""

    plan: BurstPlan

    def __call__(self, inputs: Any, advance: Advance) -> dict[str, np.ndarray]:
        burst = self.plan.frames(int(inputs[0]))
        return {name: np.asarray(getattr(burst, name)) for name in _ARRAYS}


_ARRAYS = ("frames", "psf", "phase", "wavefront", "saturated")
"""Of `optics.Burst`, one for each frame."""


def telescope_of(config: Any) -> Telescope:
    """The telescope that options name, or describe.

    Raises:
        KeyError, ValueError: it is not known, or its numbers have another unit.
    """
    if config.diameter is None:
        return find_telescope(config.telescope)
    return Telescope(in_unit(config.diameter, "m", "diameter"), in_unit(config.obscuration, "m", "obscuration"))


def refuse_folded(telescope: Telescope, burst: FrameBurst) -> None:
    """Of frames whose frequencies fold, nothing can be told.

    Raises:
        ValueError: pixels that are coarser than Nyquist's by more than a few per cent.
    """
    finest = nyquist(telescope, burst.wavelength)
    if burst.pixel_scale > _COARSEST * finest:
        raise ValueError(
            f"pixels of {burst.pixel_scale:.4g} arcsec are coarser than Nyquist's for {telescope.diameter:g} m at "
            f"{burst.wavelength:g} angstrom, {finest:.4g} arcsec: what is folded cannot be told apart"
        )


def most_modes(telescope: Telescope, burst: FrameBurst, n_pixels: int) -> int:
    """That the pixels of the pupil behind a frame tell apart."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pixels slightly too coarse: the models say it
        pupil = pupil_of(telescope, burst.wavelength, burst.pixel_scale, n_pixels)
    return int((pupil.weight > 0).sum() // 3)


def in_unit(text: str, unit: str, option: str) -> float:
    """A number of an option, which may carry a unit.

    Raises:
        ValueError: it is no number, or its unit is of another kind.
    """
    try:
        return float(text)
    except ValueError:
        pass
    from astropy import units

    try:
        value: Any = units.Quantity(text)
        return float(value.to_value(unit))
    except (TypeError, ValueError):  # a UnitConversionError is a TypeError, too
        raise ValueError(
            f"the option {option!r} takes a number of {unit.lower()}, or one with a unit, {_LIKE[unit]!r}; found "
            f"{text!r}"
        ) from None


_LIKE = {"m": "10 cm", "Angstrom": "617.3 nm", "arcsec": "50 mas"}


def _object(scene: np.ndarray | None, config: SimulateBurstConfig, scale: float, n_psf: int) -> np.ndarray:
    """The part of an object that the frames can see, on the camera's pixels, in units of its mean."""
    enough = config.n_pixels + n_psf
    if scene is None:
        if config.object_scale is not None:
            raise ValueError("the option 'object_scale' goes with an object")
        return np.asarray(granulation(jax.random.fold_in(jax.random.key(config.seed), 1), (enough, enough), scale))
    scene = np.asarray(scene, float)
    if scene.ndim != 2:
        raise ValueError(f"the object is an image (ny, nx); found the shape {scene.shape}")
    if not np.isfinite(scene).all():
        raise ValueError(f"the object has {np.sum(~np.isfinite(scene))} pixels that are not finite: fill them")
    if scene.mean() <= 0 or scene.min() < 0:
        raise ValueError(
            f"the object is an intensity, not below 0; its mean is {scene.mean():g}, its least {scene.min():g}"
        )
    if config.object_scale is not None:
        finer = in_unit(config.object_scale, "arcsec", "object_scale")
        if not finer > 0:
            raise ValueError(
                f"the option 'object_scale' takes a positive number of arcsec; found {config.object_scale!r}"
            )
        scene = _resampled(_resampled(scene, scale / finer).T, scale / finer).T
    y, x = (max(0, (size - enough) // 2) for size in scene.shape)
    scene = scene[y : y + enough, x : x + enough]
    return (scene / scene.mean()).astype(np.float32)


def _flat(flat: np.ndarray | None, config: SimulateBurstConfig) -> np.ndarray | float:
    if flat is None:
        return 1.0
    shape = (config.n_pixels, config.n_pixels)
    if np.shape(flat) != shape:
        raise ValueError(f"the flat field has the shape {np.shape(flat)}, a frame {shape}")
    return flat


def _resampled(rows: np.ndarray, ratio: float) -> np.ndarray:
    """Rows on pixels that are `ratio` times as high: the mean of what each covers."""
    n = len(rows)
    total = np.concatenate([np.zeros((1, rows.shape[1])), np.cumsum(rows, axis=0)])
    edges = np.arange(math.floor(n / ratio + 1e-9) + 1) * ratio
    below = np.minimum(edges.astype(int), n - 1)
    until = total[below] + (edges - below)[:, None] * rows[below]
    return np.diff(until, axis=0) / ratio


def _stars(stars: tuple[np.ndarray, np.ndarray]) -> dict[str, np.ndarray]:
    positions, fluxes = (np.asarray(each, float) for each in stars)
    if positions.ndim != 2 or positions.shape[1] != 2 or fluxes.shape != positions.shape[:1]:
        raise ValueError(f"stars are positions (n, 2) and fluxes (n,); found {positions.shape} and {fluxes.shape}")
    if not (np.isfinite(positions).all() and np.isfinite(fluxes).all() and (fluxes >= 0).all()):
        raise ValueError("stars have finite positions, and fluxes from 0")
    return {"positions": positions, "fluxes": fluxes}
