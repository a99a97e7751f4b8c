"""Classical estimates of the magnetic field and velocity from a Stokes spectrum: the first start of an inversion.

Longitudinal field and velocity: centre of gravity of I + V and I - V (Semel 1967, Ann. Astrophys. 30, 513; Rees & Semel
1979, A&A 74, 1). Transverse field and azimuth: the second moments of Q and U about the line centre, which for an
absorption line that is not saturated are W s^2 / 2 times (cos 2 azimuth, sin 2 azimuth), W the equivalent width and
s the transverse field's Zeeman splitting (from the moments of LL04 eqs. 9.32), in weak and strong fields alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxinv.spectra.constants import LORENTZ, SPEED_OF_LIGHT

_REACH = 1.0e-4
"""Half width of a line's window relative to its wavelength: 0.63 angstrom at 6302, +-30 km/s."""


class LineWindows(eqx.Module):
    """Where each line lies among the samples, worked out once in float64.

    Attributes:
        lines: `(wavelength [angstrom], effective Lande factor)` of each line.
        distance: `(n_lines, n_wavelength)` from each line's centre [angstrom].
        step: `(n_lines, n_wavelength)` integration weights [angstrom]; 0 for samples that are nearer to another line or
            beyond the reach.
    """

    lines: tuple[tuple[float, float], ...] = eqx.field(static=True)
    distance: np.ndarray
    step: np.ndarray

    def __init__(self, wavelength: np.ndarray, lines: Sequence[tuple[float, float]]) -> None:
        self.lines = tuple(lines)
        centre = np.array([line[0] for line in lines])[:, None]
        self.distance = wavelength - centre
        nearest = np.abs(self.distance).argmin(0) == np.arange(len(lines))[:, None]
        step = np.gradient(wavelength) if len(wavelength) > 1 else np.ones(1)
        # A gap between two windows must not count as a wide sample.
        step = np.minimum(np.abs(step), 3 * np.median(np.abs(step)))
        self.step = np.where(nearest & (np.abs(self.distance) < _REACH * centre), step, 0)


def classical_guess(values: Array, valid: Array, windows: LineWindows) -> dict[str, Array]:
    """Milne-Eddington parameters from one object's data.

    Args:
        values: `(4, n_wavelength)`, Stokes I, Q, U, V in any unit.
        valid: `(4, n_wavelength)`, `False` where a sample is missing.
        windows: of the lines among the samples; the line with the largest splitting gives the field.

    Returns:
        The nine parameters of `MilneEddington`. Finite for any finite data, also without a line or a continuum.
    """
    usable = jnp.all(valid, axis=0)
    stokes = jnp.where(usable, values, 0)
    brightest = jnp.max(jnp.where(usable, values[0], -jnp.inf))
    continuum = jnp.where(jnp.isfinite(brightest) & (brightest > 0), brightest, 1)
    lines = windows.lines
    best = max(range(len(lines)), key=lambda k: abs(lines[k][1]) * lines[k][0])
    distances = jnp.asarray(windows.distance, values.dtype)
    steps = jnp.where(usable, jnp.asarray(windows.step, values.dtype), 0)

    absorption = jnp.clip(continuum - stokes[0], 0, None) * steps
    depth = jnp.sum(absorption, axis=-1)
    to_velocity = SPEED_OF_LIGHT / jnp.asarray([line[0] for line in lines], values.dtype)
    velocity = _ratio(jnp.sum(jnp.sum(absorption * distances, -1) * to_velocity), jnp.sum(depth))

    centre, lande = lines[best]
    splitting = LORENTZ * max(abs(lande), 1e-3) * centre**2
    distance = distances[best] - centre * velocity / SPEED_OF_LIGHT
    window, absorption, equivalent_width = steps[best], absorption[best], depth[best]

    def gravity(profile: Array) -> Array:
        absorption = jnp.clip(continuum - profile, 0, None) * window
        return _ratio(jnp.sum(absorption * distance), jnp.sum(absorption))

    longitudinal = (
        jnp.sign(lande or 1.0) * (gravity(stokes[0] + stokes[3]) - gravity(stokes[0] - stokes[3])) / (2 * splitting)
    )
    moment = jnp.sum(stokes[1:3] * (distance**2 * window), axis=-1)
    # arctan2 away from the origin: an azimuth of a spectrum without linear polarization is 0.
    linear = jnp.sqrt(jnp.sum(moment**2) + jnp.finfo(values.dtype).tiny)
    transverse = jnp.sqrt(_ratio(2 * linear, equivalent_width)) / splitting
    azimuth = jnp.mod(jnp.arctan2(moment[1], jnp.where(linear > 1e-18, moment[0], 1)) / 2, jnp.pi)
    strength = jnp.clip(jnp.hypot(longitudinal, transverse), 20.0, 3500.0)

    core = jnp.min(jnp.where((window > 0), stokes[0], continuum))
    core = jnp.clip(core / continuum, 0.05, 0.95) * 0.9
    return {
        "field_strength": strength,
        "inclination": jnp.arctan2(transverse + 1e-3, longitudinal),
        "azimuth": azimuth,
        "velocity": jnp.clip(velocity, -20.0, 20.0),
        "doppler_width": jnp.asarray(4.8e-6 * centre, values.dtype),
        "line_strength": jnp.asarray(10.0, values.dtype),
        "damping": jnp.asarray(0.2, values.dtype),
        "source_constant": continuum * core,
        "source_slope": continuum * (1 - core),
    }


def fit_linear_parameters(values: Array, valid: Array, unit: Array) -> dict[str, Array]:
    """The azimuth that turns a model's Q and U onto the data's.

    Args:
        values: as in `classical_guess`.
        valid: as in `classical_guess`.
        unit: `(4, n_wavelength)`, the model's profiles for azimuth 0, source constant 0 and source slope 1.
    """
    stokes = jnp.where(jnp.all(valid, axis=0), values, 0)
    along = jnp.sum(stokes[1] * unit[1] + stokes[2] * unit[2])
    across = jnp.sum(stokes[2] * unit[1] - stokes[1] * unit[2])
    azimuth = jnp.arctan2(across, jnp.where((along == 0) & (across == 0), 1, along)) / 2
    return {"azimuth": jnp.mod(azimuth, jnp.pi)}


def _ratio(numerator: Array, denominator: Array) -> Array:
    """A quotient that is 0 where the denominator is not positive."""
    positive = denominator > 0
    return jnp.where(positive, numerator / jnp.where(positive, denominator, 1), 0)
