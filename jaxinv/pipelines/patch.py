"""A patch of a burst restored: wavefronts and object from frames alone, with nothing to tune.

The likelihood (`optics.ModulatedDeconvolution`) has many minima, since phase retrieval has. What finds a good one:

- graduated noise: the frames are first fitted as if their noise were a large part of their contrast, by few modes, and
  the noise falls and the modes become more from level to level;
- a search of each exposure for itself: given what the others say of the object, its wavefront is fitted again from
  draws of the prior, down the same levels, and exchanged where that raises the likelihood;
- real edges: between the descents the object is solved for on a canvas larger than the frames, and the frames are made
  to repeat (`optics.Canvas`); the light of each frame is compared with that of the object in its field;
- spectra of the objects that are held once a level's noise is the frames' own, lest they follow the noise;
- Fried's parameter from the coefficients and how well the data determine each (MacKay 1992, Neural Comp. 4, 415);
- an end: as soon as the residuals are as small as noise explains (Morozov's discrepancy principle). Going on lowers the
  loss and raises the error, since the mode of the posterior is not its mean.
"""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array

from jaxinv.optics.canvas import Seen, taper
from jaxinv.optics.deconvolution import KnownObject
from jaxinv.optics.low_pass import low_pass
from jaxinv.optics.point_spread import ANGSTROM, ARCSEC
from jaxinv.optics.polarimetry import ModulatedDeconvolution
from jaxinv.optics.transfer import on_frame
from jaxinv.optics.uncertainty import residual_power
from jaxinv.pipelines import patch_programs as programs
from jaxinv.pipelines.patch_model import HELD, PatchModel
from jaxinv.problem import Problem

_LEVELS = ((20, 0.6), (35, 0.2), (60, 0.1))
"""Modes, and the noise in units of the frames' contrast, of the levels before all modes are free."""
_LAST = 0.05
"""The same with all modes."""
_STEPS, _SEARCH_STEPS, _EDGE_STEPS = 40, 20, 20
"""Of a descent, of one from a draw, and of conjugate gradients on the canvas."""
_EXPLAINED = 1.2
"""Residuals in units of the noise's variance, at which the data say no more."""
_SEARCHES = 3
"""For better wavefronts, one exposure at a time."""
_SEARCHED = 100
"""Modes in the last of them."""
_WORTH = 0.8
"""Of what is not explained, which a search has to leave at most, to be gone on with."""
_SHOWN, _UNSEEN = 0.5, 1e3
"""Of a patch, that a frame has to show; and the noise, in units of the light, of frames that do not."""
BANDS = 16
"""Of spatial frequency, in which residuals are compared with the noise."""
_SCENE = {
    "log_object_variance": (1.0, 0.02),
    "log_object_corner": (0.5, 0.01),
    "object_slope": (0.1, 0.02),
}
"""Of each parameter of the object: width of its prior, and unit of a step."""
_SETTLED = 0.1
"""Of that width, once a level's noise is the frames' own: with more modes free, spectra that follow explain noise."""
_FAINTEST = 1e-6
"""Contrast of an object, of which frames show none."""
_REGISTERED, _REGISTERED_STEP = 1.0, 0.01
"""Of channels against each other [pixel]: width of the prior, and unit of a step."""
_CORNER, _SLOPE = 0.09, 3.5
"""Of the object's spectrum, where nothing is known: the corner in units of the telescope's cutoff, and the slope."""


class Patch(NamedTuple):
    """A patch of a burst, restored.

    Attributes:
        object: `(n_objects, n_canvas, n_canvas)` in units of the frames, with the margin around their field.
        error: `(n_objects, n_pixels, n_pixels)` of it, on the frequencies that the telescope passes; see
            `optics.uncertainty`.
        frames: `(n_channels, n_frames, n_pixels, n_pixels)` that it predicts, without noise.
        wavefront: `(n_frames, n_modes)` [rad].
        gain: `(n_channels, n_frames)` of each frame's light, relative to the mean.
        registration: `(n_channels, 2)` [pixel], y and x, by which channels are moved against the first.
        scene: parameters of the objects' power spectra, `(n_objects,)` each.
        d_over_r0: telescope's diameter over Fried's parameter.
        residual_power: `(BANDS,)` over the noise's, at equal steps of spatial frequency up to Nyquist's.
        chi2: `(n_channels, n_frames)` mean squared residuals in units of the noise's variance; NaN for a frame that
            shows less than half of the patch, and is left out.
        evaluations: of the loss for the whole burst.
        converged: whether the residuals are what noise explains.
    """

    object: np.ndarray
    error: np.ndarray
    frames: np.ndarray
    wavefront: np.ndarray
    gain: np.ndarray
    registration: np.ndarray
    scene: dict[str, np.ndarray]
    d_over_r0: float
    residual_power: np.ndarray
    chi2: np.ndarray
    evaluations: int
    converged: bool


def restore_patch(model: PatchModel, frames: np.ndarray, mask: np.ndarray, sigma: np.ndarray | float) -> Patch:
    """The objects and the wavefronts behind frames of them; NaN where too few frames show them.

    Args:
        model: of the patch.
        frames: `(n_channels, n_frames, n_pixels, n_pixels)`, brought to cover each other within a few pixels.
        mask: the same shape, `True` where a pixel counts.
        sigma: of the noise in the unit of the frames, `(n_channels, n_frames)` or one number.
    """
    work = _Restoration(model, frames, mask, sigma)
    if not work.usable:
        work.d_over_r0 = np.nan
        return work.patch()
    for k, (n_active, noise) in enumerate(_LEVELS):
        work.descend(n_active, noise, learn=k == 0 or model.n_frames > 1)  # one wavefront says little of r0
    if model.draws:
        work = work.searched()
    if not work.explained:
        work.descend(model.n_modes, _LAST)
    return work.patch()


class _Restoration:
    """A patch on the way: what is known of it so far."""

    def __init__(self, tools: PatchModel, frames: np.ndarray, mask: np.ndarray, sigma: np.ndarray | float) -> None:
        self.tools = tools
        canvas = tools.canvas
        valid = np.asarray(mask, bool) & np.isfinite(frames)
        # Frames that show less than half of the patch are left out; one alone says nothing.
        self.shown = valid.mean(axis=(-2, -1)) >= _SHOWN
        self.mask = valid & self.shown[..., None, None]
        self.given = np.where(self.mask, frames, 0).astype(np.float32)
        shape = self.given.shape[:2]
        enough = self.shown.any() and np.linalg.matrix_rank(tools.mixing[self.shown]) == tools.n_objects
        common = self.mask[self.shown].all(axis=0) & enough & (self.shown.any(axis=0).sum() * shape[0] > 1)
        window = canvas.window * common
        with np.errstate(invalid="ignore", divide="ignore"):
            light = np.sum(self.given * window, axis=(-2, -1)) / np.sum(window)
        # Each camera's unit is the mean intensity that it shows; what frames have of their own is their gain.
        means = self._objects(light) if self.shown.any() else np.full(tools.n_objects, np.nan)
        self.unit = means[tools.intensity]
        self.means = means / self.unit[tools.camera]
        self.base = tools.mixing @ self.means
        self.gain = np.where(self.shown, light / (self.unit[:, None] * self.base), 1)
        own = np.broadcast_to(np.asarray(sigma, float) / self.unit[:, None], shape)
        self.sigma = np.where(self.shown, own, _UNSEEN).astype(np.float32)
        self.window = float(np.sqrt(np.mean(canvas.window**2)))
        flat = self.flattened
        images = self._objects(flat)
        contrast = np.sqrt(np.sum(window * images**2, axis=(-2, -1)) / max(np.sum(window), 1e-3))
        self.contrast = contrast[tools.intensity][:, None]
        cutoff = tools.telescope.diameter / (tools.channels[0].wavelength * ANGSTROM) * ARCSEC
        self.middle = {
            "log_object_variance": 2 * np.log(np.maximum(contrast, _FAINTEST)),
            "log_object_corner": np.full(tools.n_objects, np.log(_CORNER * cutoff)),
            "object_slope": np.full(tools.n_objects, _SLOPE),
        }
        self.freedom = np.ones(tools.n_objects, np.float32)
        self.d_over_r0 = tools.d_over_r0
        registration = np.zeros(2 * shape[0] if shape[0] > 1 else 0)
        self.vector = np.concatenate([np.zeros(self.n_coefficients), registration, *self.middle.values()])
        self.vector = self.vector.astype(np.float32)
        self.seen = Seen(
            jnp.zeros((tools.n_objects, canvas.size, canvas.size), jnp.float32),
            jnp.zeros((shape[0] * shape[1], tools.n_pixels, tools.n_pixels), jnp.float32),
        )
        # Before anything is known of the object, what all frames show counts, with a window of its own.
        self.data = flat * _soft(np.asarray(common), canvas.ramp)
        self.chi2 = np.full(shape, np.inf)
        self.evaluations = 0
        self.random = np.random.default_rng(tools.seed)

    @property
    def flattened(self) -> np.ndarray:
        """The frames with the same light, the means of the objects taken off."""
        flat = self.given / (self.unit[:, None] * self.gain)[..., None, None] - self.base[..., None, None]
        return np.where(self.mask, flat, 0).astype(np.float32)

    @property
    def usable(self) -> bool:
        """Whether enough frames show the patch."""
        return bool(np.isfinite(self.unit).all())

    def _objects(self, values: np.ndarray) -> np.ndarray:
        """`(n_objects, ...)` by least squares of what frames show, `(n_channels, n_frames, ...)`."""
        return np.tensordot(np.linalg.pinv(self.tools.mixing[self.shown]), values[self.shown], 1)

    @property
    def explained(self) -> bool:
        """Whether the residuals are what noise explains."""
        return self.residual < _EXPLAINED

    @property
    def residual(self) -> float:
        """Mean squared, in units of the noise's variance; of the camera that is explained least."""
        each = [chi2[shown].mean() for chi2, shown in zip(self.chi2, self.shown, strict=True) if shown.any()]
        return float(max(each, default=np.nan))

    @property
    def wavefront(self) -> np.ndarray:
        """`(n_frames, n_modes)` so far."""
        return np.asarray(self.vector[: self.n_coefficients]).reshape(self.tools.n_frames, self.tools.n_modes)

    @property
    def n_coefficients(self) -> int:
        """Of all wavefronts; behind them in the vector come the registration, then the object's parameters."""
        return self.tools.n_frames * self.tools.n_modes

    @property
    def registration(self) -> np.ndarray:
        """`(n_channels, 2)` [pixel] so far."""
        found = self.vector[self.n_coefficients : -self.n_scene].reshape(-1, 2)
        return found if found.size else np.zeros((1, 2), np.float32)

    @property
    def n_scene(self) -> int:
        """Parameters of the objects' spectra, at the end of the vector."""
        return len(_SCENE) * self.tools.n_objects

    @property
    def scene(self) -> dict[str, np.ndarray]:
        """The parameters of the objects' spectra so far."""
        return dict(zip(_SCENE, np.split(self.vector[-self.n_scene :], len(_SCENE)), strict=True))

    def noise(self, share: float) -> np.ndarray:
        """That of the windowed frames, and at least a share of their contrast."""
        return (self.window * np.maximum(self.sigma, share * self.contrast)).astype(np.float32)

    def problem(self, n_active: int, sigma: np.ndarray) -> Problem:
        """The burst at a level."""
        tools = self.tools
        width = np.tile(tools.width(self.d_over_r0, n_active), (tools.n_frames, 1))
        prior: dict[str, Any] = {"wavefront": dist.Normal(np.zeros_like(width), width).to_event(2)}
        for name, (wide, _) in _SCENE.items():
            middle = self.middle[name].astype(np.float32)
            prior[name] = dist.Normal(middle, self.freedom * np.float32(wide)).to_event(1)
        if len(self.registration) > 1:
            prior["registration"] = dist.Normal(np.float32(0), self._apart(_REGISTERED)).to_event(2)
        return Problem(tools.burst, ModulatedDeconvolution(tools.n_pixels, jnp.asarray(sigma), tools.mixing), prior)

    def descend(self, n_active: int, share: float, learn: bool = False) -> None:
        """Fit the frames at a level, then solve for the object and correct the edges."""
        n_active = min(n_active, self.tools.n_modes)
        self.vector = self._with(self._active(n_active))
        problem = self.problem(n_active, self.noise(share))
        ready, felt = programs.felt(problem, self.data, self.vector)
        vector, count = programs.descended(problem, ready, self.vector, self._unit(felt, n_active), _STEPS)
        self.vector, self.evaluations = np.asarray(vector), self.evaluations + int(count)
        self.settle(share)
        if learn:
            self._fried(np.asarray(felt), n_active)
        self.correct(problem)

    def settle(self, share: float) -> None:
        """Keep the spectra near what was found, of objects whose frames had their own noise at this level."""
        sigma = np.median(np.where(self.shown, self.sigma, 0), axis=1)
        own = (sigma >= share * self.contrast[:, 0])[self.tools.camera] & (self.freedom == 1)
        self.middle = {name: np.where(own, now, self.middle[name]) for name, now in self.scene.items()}
        self.freedom = np.where(own, np.float32(_SETTLED), self.freedom)

    def _with(self, wavefront: np.ndarray) -> np.ndarray:
        """The vector with other coefficients."""
        return np.concatenate([wavefront.ravel(), self.vector[self.n_coefficients :]])

    def _apart(self, width: float) -> np.ndarray:
        """`(n_channels, 2)` [pixel] by which channels may be off; the first is where it is."""
        out = np.full(self.registration.shape, width, np.float32)
        out[0] *= HELD
        return out

    def _active(self, n_active: int) -> np.ndarray:
        return np.where(np.arange(self.tools.n_modes) < n_active, self.wavefront, 0).astype(np.float32)

    def _unit(self, felt: Array, n_active: int) -> np.ndarray:
        """By which steps are measured: the width of the posterior in each coordinate, roughly."""
        width = self.tools.width(self.d_over_r0, n_active)
        unit = 1 / np.sqrt(1 / width**2 + np.asarray(felt))
        apart = self._apart(_REGISTERED_STEP).ravel() if len(self.registration) > 1 else []
        scene = np.repeat([step for _, step in _SCENE.values()], self.tools.n_objects)
        return np.concatenate([unit.ravel(), apart, scene]).astype(np.float32)

    def _fried(self, felt: np.ndarray, n_active: int) -> None:
        """Fried's parameter from the modes that are free, but for tip and tilt, which the frames' shifts have."""
        low = slice(2, max(n_active // 2, 10))  # the highest of them take over what those that are held leave
        expected, felt = self.tools.modes.variance[low], felt[:, low]
        found = self.wavefront[:, low] ** 2 / expected
        scale = self.d_over_r0 ** (5 / 3)
        determined = felt / (felt + 1 / (expected * scale))
        if not np.isfinite(found).all():
            return
        ratio = float(np.clip(found.sum() / max(determined.sum(), 1e-3) / scale, 0.5, 2.0))
        self.d_over_r0 = float(np.clip(self.d_over_r0 * ratio ** (3 / 5), 0.3, 60.0))

    def correct(self, problem: Problem) -> None:
        """Solve for the object on the canvas; from there the light of each frame, and frames that repeat."""
        canvas, flat = self.tools.canvas, self.flattened
        noise = problem.noise.frame_sigma / self.window  # type: ignore[attr-defined]
        self.seen, data = programs.solved(
            problem, canvas, self.vector, flat, self.mask, noise, self.seen.object, _EDGE_STEPS
        )
        self.data = data if canvas.ramp else flat
        seen = np.asarray(self.seen.frames).reshape(flat.shape)
        residual = np.where(self.mask, flat - seen, 0)
        weight = self.mask * canvas.window
        with np.errstate(invalid="ignore", divide="ignore"):
            self.chi2 = np.sum(residual**2, axis=(-2, -1)) / np.sum(self.mask, axis=(-2, -1)) / self.sigma**2
            light = np.sum(weight * (self.base[..., None, None] + seen), axis=(-2, -1))
            change = np.sum(weight * residual, axis=(-2, -1)) / light
        # What means of the objects could do is theirs.
        rows = (self.tools.mixing / self.base[..., None])[self.shown]
        own = change[self.shown]
        change[self.shown] = own - rows @ (np.linalg.pinv(rows) @ own)
        self.gain = np.where(self.shown, self.gain * (1 + change), self.gain)

    def searched(self) -> _Restoration:
        """The same after searches; without them, where they do not explain the residuals.

        Then the model is not the frames' (one wavefront for all of a large field), and its likelihood misleads.
        """
        found = copy.copy(self)
        for k in range(_SEARCHES):
            before = found.residual
            found.search([*_LEVELS, (_SEARCHED, _LAST)] if k else list(_LEVELS))
            if found.explained and k == _SEARCHES - 1:
                return found
            if found.residual - 1 > _WORTH * (before - 1) and not found.explained:
                break
            found.descend(*_LEVELS[-1])
        self.evaluations = found.evaluations
        return self

    def search(self, levels: list[tuple[int, float]]) -> None:
        """Fit each exposure again from draws of the prior, given what the others say of the object."""
        tools = self.tools
        n_frames, n_modes = self.wavefront.shape
        drawn = self.random.normal(size=(n_frames, tools.draws, n_modes)) * tools.width(self.d_over_r0, n_modes)
        drawn[:, :, :2] = self.wavefront[:, None, :2]
        starts = drawn.astype(np.float32)
        cost = np.zeros(starts.shape[:2])
        for k, (n_active, share) in enumerate(levels):
            n_active, sigma = min(n_active, n_modes), self.noise(share)
            burst = self.problem(n_active, sigma)
            ready, felt = programs.felt(burst, self.data, self.vector)
            known, values = programs.told(burst, ready, self.vector)
            if k == len(levels) - 1:
                starts[:, 0] = self._active(n_active)
            width = tools.width(self.d_over_r0, n_active)
            unit = (1 / np.sqrt(1 / width**2 + np.asarray(felt))).astype(np.float32)
            prior: dict[str, Any] = {"wavefront": dist.Normal(np.zeros_like(width), width).to_event(1)}
            if len(self.registration) > 1:
                prior["registration"] = self.registration
            one = jax.tree.map(lambda x: x[0], known)
            problem = Problem(tools.exposure, KnownObject(tools.n_pixels, jnp.asarray(sigma[:, 0]), one), prior)
            steps = _SEARCH_STEPS * (2 if k == len(levels) - 1 else 1)
            found, cost = programs.searched(problem, sigma.T, known, values, starts, unit, jnp.asarray(steps))
            starts, cost = np.array(found), np.asarray(cost)
            self.evaluations += tools.draws * steps
        best = np.argmin(np.where(np.isfinite(cost), cost, np.inf), axis=1)
        self.vector = self._with(starts[np.arange(n_frames), best])
        self.correct(self.problem(n_modes, self.noise(levels[-1][1])))

    def errors(self) -> tuple[np.ndarray, np.ndarray]:
        """Of the object, in units of its mean; and the residuals' power by spatial frequency."""
        tools, window = self.tools, self.tools.canvas.window
        problem = self.problem(tools.n_modes, self.noise(_LAST))
        error = programs.erring(problem, self.data, self.vector, self.noise(0), jnp.asarray(window, jnp.float32))
        residual = np.where(self.mask, self.flattened - np.asarray(self.seen.frames).reshape(self.given.shape), 0)
        power = residual_power(jnp.asarray(residual[self.shown]), jnp.asarray(self.sigma[self.shown]), BANDS)
        return np.asarray(error), np.asarray(power)

    @property
    def object(self) -> np.ndarray:
        """`(n_objects, ...)` on the canvas in their camera's unit, without their means; filtered within the window."""
        tools, canvas = self.tools, self.tools.canvas
        out = np.array(self.seen.object)
        if not tools.filtered or not self.usable:
            return out
        sigma = self.noise(0)
        problem = self.problem(tools.n_modes, sigma)
        prediction, spectra, root = programs.predicted(problem, self.data, self.vector)
        t = np.asarray(prediction[0]) / sigma[..., None, None]
        flat = lambda x: x.reshape(-1, *x.shape[-2:])  # noqa: E731
        found = np.asarray(root[0]) * low_pass(flat(t), flat(np.asarray(spectra.values)))
        inside = np.asarray(
            jnp.fft.irfft2(on_frame(jnp.asarray(found), tools.n_pixels), canvas.window.shape, norm="ortho")
        )
        field = canvas.field(out[0])
        field[...] = (1 - canvas.window) * field + inside  # the frames, and so what is found of them, are windowed
        return out

    def patch(self) -> Patch:
        """What was found."""
        shape = self.given.shape
        if self.usable:
            error, power = self.errors()
        else:
            error, power = np.full((len(self.means), *shape[-2:]), np.nan), np.full(BANDS, np.nan)
        frames = self.base[..., None, None] + np.asarray(self.seen.frames).reshape(shape)
        unit = self.unit[self.tools.camera][:, None, None]
        return Patch(
            object=unit * (self.means[:, None, None] + self.object),
            error=unit * error,
            frames=frames * (self.unit[:, None] * self.gain)[..., None, None],
            wavefront=self.wavefront,
            gain=self.gain,
            registration=self.registration,
            scene=self.scene,
            d_over_r0=self.d_over_r0,
            residual_power=power,
            chi2=self.chi2,
            evaluations=self.evaluations,
            converged=self.explained,
        )


def _soft(valid: np.ndarray, ramp: int) -> np.ndarray:
    """A window over the box in which all is valid, falling to 0 at its borders."""
    rows, columns = np.flatnonzero(valid.any(axis=1)), np.flatnonzero(valid.any(axis=0))
    out = np.zeros(valid.shape, np.float32)
    if not rows.size:
        return out
    y, x = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    heights = [taper(size, min(ramp, size // 2)) for size in (y.stop - y.start, x.stop - x.start)]
    out[y, x] = np.outer(*heights)
    return out
