"""A burst of short exposures through turbulence, simulated with its truth, on the device and as a function of a key."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray
from numpy.typing import ArrayLike

from jaxinv.forward import Stage
from jaxinv.optics.detector import Detector
from jaxinv.optics.point_spread import ARCSEC, PointSpread
from jaxinv.optics.scene import ExtendedObject, FieldDependentObject, PointSources
from jaxinv.optics.screens import Atmosphere, Screens
from jaxinv.optics.zernike import Zernike

_MOVED = 0.3
"""Of r0, that the wind may carry a layer between two instants of one exposure."""
_INSTANTS = 64


class Burst(eqx.Module):
    """What was recorded, and the truth behind it.

    Attributes:
        frames: `(n_frames, ny, nx)` intensities, dark and flat taken off.
        psf: `(n_frames, n, n)`, or `(n_frames, n_y, n_x, n, n)` on nodes over the field; means over an exposure.
        phase: `(n_frames, m, m)` on the pupil, on the axis, in the middle of an exposure [rad], without its piston and
            without what the model knows (defocus, aberration).
        wavefront: `(n_frames, n_modes)` of the model's modes in it [rad].
        saturated: `(n_frames, ny, nx)` where a pixel was full.
    """

    frames: Array
    psf: Array
    phase: Array
    wavefront: Array
    saturated: Array


@dataclasses.dataclass(frozen=True)
class Correction:
    """What a tracker or adaptive optics take off the wavefront on the axis.

    Attributes:
        count: of Zernike modes, from Noll's j = 2: 2 for a tracker.
        left: the fraction of each that remains.
    """

    count: int = 2
    left: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.count, int) or self.count < 1:
            raise ValueError(f"a correction takes off a whole number of modes from 1; found {self.count!r}")
        if not (math.isfinite(self.left) and 0 <= self.left <= 1):
            raise ValueError(f"what a correction leaves is a fraction from 0 to 1; found {self.left}")


def simulate_burst(
    key: PRNGKeyArray,
    scene: ArrayLike | Mapping[str, ArrayLike],
    model: PointSpread,
    atmosphere: Atmosphere,
    *,
    n_frames: int = 12,
    interval: float | None = None,
    exposure: float = 0.0,
    correction: Correction | None = None,
    nodes: tuple[int, int] | None = None,
    field: tuple[int, int] | None = None,
    blur: Sequence[Stage] = (),
    noise: Detector | float = 0.0,
    r0: ArrayLike | None = None,
    first: ArrayLike = 0,
) -> Burst:
    """A burst of a scene, through an atmosphere and a telescope.

    A function of the key: for a training set, `jax.vmap` or `jax.lax.map` it over keys.

    Args:
        key: every key has another one.
        scene: an object `(ny, nx)` of intensities, or stars as `{"positions": (n, 2) [arcsec], "fluxes": (n,)}`.
        model: the telescope; its modes are those in which the truth is given.
        atmosphere: at the model's wavelength.
        n_frames: how many exposures.
        interval: from one to the next [s], while the wind carries the layers; `None`: independent ones.
        exposure: of each [s]; 0: frozen.
        correction: of the wavefront before the camera.
        nodes: `(n_y, n_x)` PSFs over the field, for layers at heights; `None`: the one on the axis for all of it.
        field: `(ny, nx)` of the camera in the middle of the object; `None`: all of it.
        blur: what widens the PSFs further, without parameters: `Jitter`, `DetectorPixel`.
        noise: of the camera, or the rms of Gaussian noise in the object's units.
        r0: in place of the atmosphere's [m], which may be traced, too: one for each burst of a training set.
        first: the number of the first frame, counted from 0: a long burst may be made in parts.

    Raises:
        ValueError: shapes that do not fit, or a negative number.
    """
    scene = {name: jnp.asarray(x, jnp.float32) for name, x in _named(scene).items()}
    if not isinstance(n_frames, int) or n_frames < 1:
        raise ValueError(f"the number of frames is a whole number from 1; found {n_frames!r}")
    for name, value in (("interval", interval or 0.0), ("exposure", exposure)):
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"the {name} is a number of seconds from 0; found {value}")
    if not isinstance(noise, Detector) and not (math.isfinite(noise) and noise >= 0):
        raise ValueError(f"the noise is a Detector or a number from 0; found {noise}")
    ny, nx = scene["object"].shape if "object" in scene else (model.n_pixels, model.n_pixels)
    shape = (ny, nx)
    stage = _stage(scene, shape, nodes, field, model)
    if any(each.parameters for each in blur):
        raise ValueError("what blurs a simulated burst has no parameters: give a jitter's rms")
    instants = _instants(atmosphere, exposure)
    # r0 and noise are traced: another one needs no other program.
    air = dataclasses.replace(atmosphere, r0=1.0)
    plan = _Plan(air, n_frames, interval, instants, exposure, correction, nodes, shape)
    r0 = jnp.asarray(atmosphere.r0 if r0 is None else r0)
    camera = noise if isinstance(noise, Detector) else jnp.asarray(noise, jnp.float32)
    return _simulated(key, scene, model, (*blur, stage), plan, camera, r0, jnp.asarray(first))


@dataclasses.dataclass(frozen=True)
class _Plan:
    """What a compiled program depends on."""

    atmosphere: Atmosphere
    n_frames: int
    interval: float | None
    instants: int
    exposure: float
    correction: Correction | None
    nodes: tuple[int, int] | None
    shape: tuple[int, int]


@eqx.filter_jit
def _simulated(
    key: PRNGKeyArray,
    scene: dict[str, Array],
    model: PointSpread,
    stages: tuple[Stage, ...],
    plan: _Plan,
    noise: Detector | Array,
    r0: Array,
    first: Array,
) -> Burst:
    *blur, stage = stages
    number = first + jnp.arange(plan.n_frames)
    air_key, noise_key = jax.random.split(key)
    times = (np.arange(plan.instants) + 0.5) * (plan.exposure / plan.instants)
    middle = plan.instants // 2
    angles = _angles(plan, model)
    taken_off = None if plan.correction is None else _taken_off(plan.correction, model)

    def screens_of(key: PRNGKeyArray) -> Screens:
        drawn = plan.atmosphere.draw(key, model.pupil)
        return eqx.tree_at(lambda screens: screens.r0, drawn, r0.astype(drawn.r0.dtype))

    def exposed(screens: Screens, start: Array) -> tuple[Array, Array]:
        """The PSFs of an exposure, and the phase on the axis in its middle."""

        def instant(time: Array) -> tuple[Array, Array]:
            axis = screens.on(model.pupil, time)
            correction = 0.0 if taken_off is None else taken_off(axis)
            phase = axis - correction
            if angles is None:
                return model.spread(phase + model.known.astype(phase.dtype)), phase
            seen = jax.lax.map(lambda angle: screens.on(model.pupil, time, angle), angles) - correction
            psf = model.spread(seen + model.known.astype(phase.dtype))
            return psf.reshape(*plan.nodes, *psf.shape[-2:]), phase  # type: ignore[misc]

        if plan.instants == 1:
            return instant(start + times[0])
        psf, phase = jax.lax.map(instant, start + jnp.asarray(times))
        return jnp.mean(psf, axis=0), phase[middle]

    if plan.interval is None:
        psf, phase = jax.lax.map(lambda k: exposed(screens_of(jax.random.fold_in(air_key, k)), jnp.zeros(())), number)
    else:
        screens = screens_of(air_key)
        psf, phase = jax.lax.map(lambda start: exposed(screens, start), number * plan.interval)
    weight = jnp.asarray(model.pupil.weight, phase.dtype)
    phase = (phase - jnp.sum(phase * weight, axis=(-2, -1), keepdims=True)) * (weight > 0)
    for each in blur:
        psf = each({}, psf)
    images = stage(scene, psf)

    def recorded(frame: tuple[Array, Array]) -> tuple[Array, Array]:
        number, image = frame
        key = jax.random.fold_in(noise_key, number)
        if not isinstance(noise, Detector):
            return image + noise * jax.random.normal(key, image.shape, image.dtype), jnp.zeros(image.shape, bool)
        electrons = noise.record(key, image)
        return noise.reduced(electrons), noise.full(electrons)

    frames, full = jax.lax.map(recorded, (number, images))
    return Burst(frames=frames, psf=psf, phase=phase, wavefront=model.coefficients(phase), saturated=full)


def _named(scene: Any) -> dict[str, Any]:
    if not isinstance(scene, Mapping):
        scene = {"object": scene}
    if set(scene) not in ({"object"}, {"positions", "fluxes"}):
        raise ValueError(f"a scene is an object, or stars with `positions` and `fluxes`; found {', '.join(scene)}")
    for name, dimensions in (("object", 2), ("positions", 2), ("fluxes", 1)):
        if name in scene and np.ndim(scene[name]) != dimensions:
            raise ValueError(f"`{name}` has {dimensions} axes; found the shape {np.shape(scene[name])}")
    return dict(scene)


def _stage(
    scene: dict[str, Array],
    shape: tuple[int, int],
    nodes: tuple[int, int] | None,
    field: tuple[int, int] | None,
    model: PointSpread,
) -> Stage:
    if "object" not in scene:
        if nodes is not None or field is not None:
            raise ValueError("`nodes` and `field` go with an object: stars are seen by one PSF, on its field")
        return PointSources(len(scene["fluxes"]), model.pixel_scale)
    return ExtendedObject(shape, field) if nodes is None else FieldDependentObject(shape, nodes, field)


def _instants(atmosphere: Atmosphere, exposure: float) -> int:
    fastest = max(math.hypot(*layer.wind) for layer in atmosphere.layers)
    return min(_INSTANTS, max(1, math.ceil(fastest * exposure / (_MOVED * atmosphere.r0))))


def _angles(plan: _Plan, model: PointSpread) -> Array | None:
    """`(n_y n_x, 2)` the directions of the nodes, x and y [rad]."""
    if plan.nodes is None:
        return None
    at = lambda size, n: (np.linspace(0, size - 1, n) - (size - 1) / 2) * (model.pixel_scale * ARCSEC)  # noqa: E731
    y, x = (at(size, n) for size, n in zip(plan.shape, plan.nodes, strict=True))
    return jnp.asarray(np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2))


def _taken_off(correction: Correction, model: PointSpread) -> Any:
    modes = jnp.asarray(Zernike(correction.count).on(model.pupil))
    weight = jnp.asarray(model.pupil.weight)

    def taken_off(phase: Array) -> Array:
        basis, share = modes.astype(phase.dtype), weight.astype(phase.dtype)
        amount = jnp.tensordot(basis * share, phase, axes=2, precision="highest")
        return (1 - correction.left) * jnp.tensordot(amount, basis, axes=1, precision="highest")

    return taken_off
