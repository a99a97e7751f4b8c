"""The point spread function of a telescope behind a wavefront, as a forward model, and of several of its channels."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import ArrayLike

from jaxinv.forward import Forward, Parameter, Parameters, in_units
from jaxinv.optics.propagation import point_spread, transfer_function
from jaxinv.optics.pupil import Modes, Pupil
from jaxinv.optics.telescope import Telescope

ARCSEC = math.pi / 180 / 3600
"""[rad]"""
ANGSTROM = 1e-10
"""[m]"""
_FOLDED = 1.05
"""Pixels coarser than Nyquist's by up to this factor fold frequencies whose transfer is below 1.5 %: that is said."""


class PointSpread(Forward):
    """`model({"wavefront": a})`: the PSF `(n_pixels, n_pixels)` of a telescope on its detector, sum 1.

    The phase on the pupil [rad] is `reference_wavelength` / `wavelength` times the sum of a[k] modes[k], plus the known
    `defocus` and `aberration`. Signs and layout: see `jaxinv.optics.propagation`.

    Args:
        telescope: its pupil.
        wavelength: [angstrom].
        pixel_scale: of the detector [arcsec].
        n_pixels: across the field.
        modes: of the wavefront, whose coefficients are inferred.
        n_frames: of one object: `wavefront` is then declared as `(n_frames, n_modes)`. A call takes any leading axes.
        reference_wavelength: at which the wavefront's coefficients are radians [angstrom]; `None`: `wavelength`.
        defocus: known [waves from the pupil's centre to its edge, at `wavelength`]: phase diversity. Above 0, the
            detector stands before the focus; see `defocus_of`.
        aberration: `(m, m)` a known phase on `pupil` at `wavelength` [rad].

    Attributes:
        pupil: `Pupil` on its m x m pixels.
        amplitude: `(m, m)` of the pupil.
        basis: `(n_modes, m, m)` [rad].
        known: `(m, m)` the known phase [rad].

    Raises:
        ValueError: pixels coarser than Nyquist, a field too small for the pupil, numbers in other units, a known phase
            of another shape.
    """

    amplitude: Array
    basis: Array
    known: Array
    pupil: Pupil = eqx.field(static=True)
    modes: Modes = eqx.field(static=True)
    wavelength: float = eqx.field(static=True)
    pixel_scale: float = eqx.field(static=True)
    n_pixels: int = eqx.field(static=True)
    n_frames: int | None = eqx.field(static=True)
    reference_wavelength: float = eqx.field(static=True)

    def __init__(
        self,
        telescope: Telescope,
        wavelength: float,
        pixel_scale: float,
        n_pixels: int,
        modes: Modes,
        *,
        n_frames: int | None = None,
        reference_wavelength: float | None = None,
        defocus: float = 0.0,
        aberration: ArrayLike | None = None,
    ) -> None:
        self.pupil = pupil_of(telescope, wavelength, pixel_scale, n_pixels)
        self.modes, self.n_pixels, self.n_frames = modes, int(n_pixels), checked_frames(n_frames)
        self.wavelength, self.pixel_scale = number_in(wavelength, "Angstrom"), number_in(pixel_scale, "arcsec")
        self.reference_wavelength = (
            self.wavelength if reference_wavelength is None else _wavelength(reference_wavelength)
        )
        if not math.isfinite(defocus):
            raise ValueError(f"`defocus` is a number of waves; found {defocus}")
        x = self.pupil.x
        known = 2 * math.pi * defocus * (x**2 + x[:, None] ** 2)
        known = known - np.sum(known * self.pupil.weight)
        if aberration is not None:
            given = np.asarray(aberration, float)
            if given.shape != known.shape or not np.isfinite(given).all():
                raise ValueError(
                    f"`aberration` is a phase on the pupil's {known.shape} pixels, finite [rad]; found {given.shape}"
                )
            known = known + given
        self.known = jnp.asarray(known)
        self.amplitude = jnp.asarray(self.pupil.amplitude)
        self.basis = jnp.asarray(modes.on(self.pupil))

    @property
    def parameters(self) -> dict[str, Parameter]:
        one = (self.basis.shape[0],)
        return {"wavefront": Parameter("rad", one if self.n_frames is None else (self.n_frames, *one))}

    def __call__(self, parameters: Parameters) -> Array:
        return self.spread(self.phase(parameters))

    def phase(self, parameters: Parameters) -> Array:
        """`(..., m, m)` on the pixels of the pupil [rad]."""
        parameters = in_units(parameters, self.units)
        self.need(parameters)
        wavefront = wavefront_of(parameters, self.basis.shape[:1])
        scale = self.reference_wavelength / self.wavelength
        basis = self.basis.astype(wavefront.dtype) * scale
        phase = jnp.tensordot(wavefront, basis, axes=1, precision="highest")  # accelerators would round to 3 digits
        return phase + self.known.astype(wavefront.dtype)

    def spread(self, phase: ArrayLike) -> Array:
        """PSFs of phases `(..., m, m)` on the pixels of the pupil [rad]: of screens, for example."""
        return point_spread(self.amplitude, jnp.asarray(phase), self.n_pixels)

    def transfer_function(self, parameters: Parameters) -> Array:
        """OTFs `(..., n_pixels, n_pixels // 2 + 1)`, in the layout of `numpy.fft.rfft2`."""
        return transfer_function(self(parameters))

    def coefficients(self, phase: ArrayLike) -> Array:
        """`(..., n_modes)` of the modes in phases on the pupil, of least squares [rad at `reference_wavelength`]."""
        scale = self.wavelength / self.reference_wavelength
        phase = jnp.asarray(phase)
        weighted = self.basis * jnp.asarray(self.pupil.weight * scale)
        return jnp.tensordot(phase, weighted.astype(phase.dtype), axes=((-2, -1), (-2, -1)), precision="highest")


class Channels(Forward):
    """Several models of the same parameters: focus and defocus, colours of one wavefront. `(n_channels, ...)`.

    Colours share a wavefront where each `PointSpread` is given the same `reference_wavelength`.

    Args:
        models: one for each channel, predicting arrays of one shape.
        weights: `(n_channels,)`: the weighted mean in place of the stack, as a broad filter sees it.

    Raises:
        ValueError: no model, models that read other parameters, or weights that do not fit.
    """

    models: tuple[Forward, ...]
    weights: Array | None

    def __init__(self, models: Sequence[Forward], weights: ArrayLike | None = None) -> None:
        self.models = tuple(models)
        if not self.models:
            raise ValueError("`Channels` needs at least one model")
        for model in self.models[1:]:
            if model.parameters != self.models[0].parameters:
                raise ValueError(
                    f"channels read the same parameters; found {model.shapes} beside {self.models[0].shapes}"
                )
        self.weights = None
        if weights is not None:
            given = np.asarray(weights, float)
            if given.shape != (len(self.models),) or not (given >= 0).all() or not given.sum() > 0:
                raise ValueError(f"`weights` are {len(self.models)} numbers from 0, not all 0; found {weights}")
            self.weights = jnp.asarray(given / given.sum())

    @property
    def parameters(self) -> dict[str, Parameter]:
        return self.models[0].parameters

    def __call__(self, parameters: Parameters) -> Array:
        each = [model(parameters) for model in self.models]
        if len({prediction.shape for prediction in each}) > 1:
            raise ValueError(f"channels predict arrays of one shape; found {[one.shape for one in each]}")
        stack = jnp.stack(each)
        return stack if self.weights is None else jnp.tensordot(self.weights.astype(stack.dtype), stack, axes=1)


def wavefront_of(parameters: Parameters, shape: tuple[int, ...]) -> Array:
    """The parameter `wavefront` as floats.

    Raises:
        ValueError: its last axes are not those of the model's modes.
    """
    wavefront = jnp.asarray(parameters["wavefront"])
    if wavefront.shape[-len(shape) :] != shape:
        what = f"{shape[-1]} modes" + (f" in {shape[0]} layers" if len(shape) > 1 else "")
        raise ValueError(f"the model has {what}, `wavefront` the shape {wavefront.shape}: its last axes are {shape}")
    return wavefront.astype(jnp.result_type(wavefront, jnp.float32))


def defocus_of(shift: float, focal_ratio: float, wavelength: float) -> float:
    """Waves from the pupil's centre to its edge of a detector that stands before the focus: s / (8 lambda F^2).

    Args:
        shift: distance from the focus, towards the telescope [mm].
        focal_ratio: F, focal length / diameter.
        wavelength: [angstrom].
    """
    return 1e-3 * shift / (8 * _wavelength(wavelength) * ANGSTROM * focal_ratio**2)


def nyquist(telescope: Telescope, wavelength: float) -> float:
    """The coarsest pixels that hold all that a telescope resolves, lambda / 2D [arcsec]."""
    return _wavelength(wavelength) * ANGSTROM / (2 * telescope.diameter) / ARCSEC


def pupil_of(telescope: Telescope, wavelength: float, pixel_scale: float, n_pixels: int) -> Pupil:
    """The pupil on the pixels that go with those of a detector: lambda / (n_pixels pixel_scale) each.

    Raises:
        ValueError: pixels coarser than Nyquist, a field too small for the pupil, numbers in other units.
    """
    wavelength, scale = _wavelength(wavelength), number_in(pixel_scale, "arcsec")
    if not (math.isfinite(scale) and scale > 0):
        raise ValueError(f"the pixel scale is a positive number of arcsec; found {pixel_scale}")
    if not isinstance(n_pixels, int | np.integer) or n_pixels < 2:
        raise ValueError(f"`n_pixels` is a whole number from 2; found {n_pixels!r}")
    finest = nyquist(telescope, wavelength)
    if scale > finest * _FOLDED:
        raise ValueError(
            f"pixels of {scale:.4g} arcsec are coarser than Nyquist's for {telescope.diameter:g} m at {wavelength:g} "
            f"angstrom: take {finest:.4g} arcsec or less"
        )
    if scale > finest * (1 + 1e-6):
        warnings.warn(
            f"pixels of {scale:.4g} arcsec are {100 * (scale / finest - 1):.1f} % coarser than Nyquist's "
            f"{finest:.4g}: the highest frequencies are folded",
            stacklevel=3,
        )
    return Pupil(telescope, wavelength * ANGSTROM / (int(n_pixels) * scale * ARCSEC))


def checked_frames(n_frames: int | None) -> int | None:
    """Whether it is a number of frames, or none.

    Raises:
        ValueError: it is not.
    """
    if n_frames is not None and not (isinstance(n_frames, int) and n_frames > 0):
        raise ValueError(f"`n_frames` is a whole number from 1; found {n_frames!r}")
    return n_frames


def _wavelength(wavelength: float) -> float:
    value = number_in(wavelength, "Angstrom")
    if not 1000 <= value <= 1e7:
        raise ValueError(f"the wavelength is given in angstrom, from 1000 to 10^7; found {wavelength}")
    return value


def number_in(value: float, unit: str) -> float:
    """A plain number, or an astropy quantity in the unit."""
    try:
        return float(value.to_value(unit) if hasattr(value, "to_value") else value)  # type: ignore[attr-defined]
    except Exception:
        raise ValueError(f"expected a number in {unit.lower()}, or a quantity; found {value}") from None
