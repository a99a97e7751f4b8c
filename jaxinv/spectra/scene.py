"""What else is in a resolution element and its calibration: stray light beside an atmosphere, the continuum's level."""

from __future__ import annotations

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import ArrayLike

from jaxinv.forward import Parameter, Parameters, Stage


class StrayLight(Stage):
    """A magnetic atmosphere that fills a part of the resolution element: I_obs = f I + (1 - f) I_stray.

    Reads `filling_factor`, f in [0, 1] (1: no stray light; other codes infer alpha = 1 - f), and, where `profile` is
    left out, `stray_light`: a profile for each pixel (of its neighbours, say), to be given as a fixed parameter.

    It comes after the instrument: the profile is one that was observed, in the units of the prediction, at the observed
    wavelengths. Orozco Suarez et al. (2007, ApJ 670, L61) average it over the pixels around.

    Args:
        profile: `(n_wavelength,)`, Stokes I of unpolarized stray light, or `(4, n_wavelength)`; one for all pixels.
        shape: in place of `profile`, the shape of the parameter `stray_light`: one of these two.

    Raises:
        ValueError: not one of `profile` and `shape`, another shape, or a profile that is not finite.
    """

    profile: np.ndarray | None
    shape: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, profile: ArrayLike | None = None, *, shape: Sequence[int] | None = None) -> None:
        if (profile is None) == (shape is None):
            raise ValueError(
                "stray light needs either `profile`, one for all pixels, or `shape`, that of the parameter "
                f"`stray_light` of each pixel; found {'neither' if profile is None else 'both'}"
            )
        self.profile = None if profile is None else np.array(profile, np.float64)
        self.shape = tuple(shape or ()) if self.profile is None else self.profile.shape
        if len(self.shape) not in (1, 2) or (len(self.shape) == 2 and self.shape[0] != 4):
            raise ValueError(
                f"the stray-light profile must have the shape (n_wavelength,) or (4, n_wavelength); found {self.shape}"
            )
        if self.profile is not None and not np.isfinite(self.profile).all():
            raise ValueError("the stray-light profile must be finite: average only valid pixels for it")

    @property
    def parameters(self) -> dict[str, Parameter]:
        own = {} if self.profile is not None else {"stray_light": Parameter(shape=self.shape)}
        return {"filling_factor": Parameter(lowest=0.0, highest=1.0)} | own

    def __call__(self, parameters: Parameters, prediction: Array) -> Array:
        """`(4, n_wavelength)` from `(4, n_wavelength)`; reads `filling_factor` and perhaps `stray_light`."""
        self.need(parameters)
        filling_factor = jnp.asarray(parameters["filling_factor"], prediction.dtype)
        profile = parameters["stray_light"] if self.profile is None else self.profile
        profile = jnp.asarray(profile, prediction.dtype)
        if profile.shape not in (prediction.shape, prediction.shape[-1:]):
            raise ValueError(
                f"the stray-light profile has the shape {profile.shape} but the prediction {prediction.shape}: "
                "give the profile at the same wavelengths"
            )
        if profile.ndim < prediction.ndim:
            profile = jnp.zeros_like(prediction).at[0].set(profile)
        return filling_factor * prediction + (1 - filling_factor) * profile


class Continuum(Stage):
    """The level and tilt of the continuum: I_obs = continuum (1 + continuum_slope (wavelength - reference)) I.

    Reads `continuum` (in the units of the data over those of the prediction) and, optionally, `continuum_slope`
    [1/angstrom], 0 where it is left out. All four Stokes parameters are scaled alike.

    A Milne-Eddington atmosphere has its own level, S0 + mu S1: infer `continuum` only where that one is held fixed.

    Args:
        wavelength: `(n_wavelength,)` in angstrom.
        reference: where the slope leaves the level as it is [angstrom]; by default the mean wavelength.

    Raises:
        ValueError: wavelengths or a reference that are not finite.
    """

    distance: np.ndarray
    reference: float

    def __init__(self, wavelength: ArrayLike, reference: float | None = None) -> None:
        wavelength = np.asarray(wavelength, np.float64)
        if wavelength.ndim != 1 or not wavelength.size or not np.all(np.isfinite(wavelength)):
            raise ValueError(
                f"`wavelength` must be a finite array (n_wavelength,) in angstrom; found the shape {wavelength.shape}"
            )
        self.reference = float(wavelength.mean() if reference is None else reference)
        if not np.isfinite(self.reference):
            raise ValueError(f"`reference` must be a wavelength in angstrom; found {reference}")
        self.distance = wavelength - self.reference

    @property
    def parameters(self) -> dict[str, Parameter]:
        return {"continuum": Parameter(), "continuum_slope": Parameter("Angstrom-1", optional=True)}

    def __call__(self, parameters: Parameters, prediction: Array) -> Array:
        """`(..., n_wavelength)` from `(..., n_wavelength)`; reads `continuum` and perhaps `continuum_slope`."""
        if prediction.shape[-1] != len(self.distance):
            raise ValueError(
                f"the continuum was built for {len(self.distance)} wavelengths but the prediction has "
                f"{prediction.shape[-1]}: give it the observed wavelengths"
            )
        self.need(parameters)
        level = jnp.asarray(parameters["continuum"], prediction.dtype)
        slope = jnp.asarray(parameters.get("continuum_slope", 0.0), prediction.dtype)
        tilt = level * (1 + slope * jnp.asarray(self.distance, prediction.dtype))
        return jnp.broadcast_to(tilt, prediction.shape) * prediction
