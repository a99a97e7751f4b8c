"""Stokes profiles of a Milne-Eddington atmosphere: the analytic solution of polarized radiative transfer.

Landi Degl'Innocenti & Landolfi (2004), Polarization in Spectral Lines, ch. 9 (LL04): a source function linear in
optical depth, S = S0 + S1 tau, and everything else constant with depth.

On a CPU, XLA recomputes a profile in each of its consumers, which makes the derivatives of a plain formula a hundred
times dearer than its value. Here the work is cut into three steps with a barrier after each: the Voigt profiles of all
Zeeman components; one matrix product that sums the profiles and their derivatives over components; absorption
coefficients and Stokes parameters with their derivatives. Automatic differentiation in either mode uses that Jacobian.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array

from jaxinv.coordinates import Block, logarithm
from jaxinv.forward import Forward, Parameter, Parameters, Stage, as_arrays, with_jacobian
from jaxinv.knowledge import Affine, Knowledge
from jaxinv.priors import Cyclic, Prior
from jaxinv.spectra.constants import LORENTZ, SPEED_OF_LIGHT
from jaxinv.spectra.factors import LinearSource, ReducedProfiles
from jaxinv.spectra.field_vector import FieldVector, canonical_field
from jaxinv.spectra.guess import LineWindows, classical_guess, fit_linear_parameters
from jaxinv.spectra.line import Line
from jaxinv.spectra.lines import checked_wavelength, find_lines
from jaxinv.spectra.propagation import absorption, absorption_by_inclination
from jaxinv.spectra.symmetry import AZIMUTH, rotate, stokes_symmetry
from jaxinv.spectra.voigt import derivatives, voigt
from jaxinv.spectra.zeeman import effective_lande, zeeman_pattern

_PARAMETERS = {
    "field_strength": Parameter("G", lowest=0.0),
    "inclination": Parameter("rad", lowest=0.0, highest=math.pi),
    "azimuth": Parameter("rad", lowest=0.0, highest=math.pi),
    "velocity": Parameter("km/s"),
    # A tenth of a milliangstrom: less than the thermal width of any line, and a profile needs some width.
    "doppler_width": Parameter("Angstrom", lowest=1e-4),
    "line_strength": Parameter(lowest=0.0),
    "damping": Parameter(lowest=0.0),
    "source_constant": Parameter(),
    "source_slope": Parameter(),
    "wavelength_offset": Parameter("Angstrom", optional=True),
    "mu": Parameter(lowest=0.0, highest=1.0, optional=True),
}
_LOGARITHMS = {"doppler_width": 0.0, "line_strength": 0.0, "damping": 0.02}
"""Parameters whose logarithm is a coordinate, and what is added to them first."""
_ATMOSPHERE = tuple(name for name, parameter in _PARAMETERS.items() if not parameter.optional)


class MilneEddington(Forward):
    """Stokes I, Q, U, V of one or more lines; `(4, n_wavelength)` in the units of the source function.

    Parameters (all scalars):
        `field_strength` [G]; `inclination` [rad], 0 = towards the observer; `azimuth` [rad], of the transverse field
        from the direction of positive Q; `velocity` [km/s], positive = away from the observer (redshift);
        `doppler_width` [angstrom]; `line_strength`, line-to-continuum opacity of the first line at its centre, the
        other lines' scaled by gf; `damping` [Doppler widths]; `source_constant`, `source_slope`: S0 and S1.
        Optional: `wavelength_offset` [angstrom], a shift of the spectrum towards the red (a cavity map, a wavelength
        calibration); `mu`, the cosine of the heliocentric angle, in place of the model's.

    Signs: inclination 0 gives V > 0 in the blue wing of an absorption line; sigma components have Q ~ +cos 2 azimuth
    and U ~ +sin 2 azimuth.

    Args:
        lines: names (`"Fe I 6302.5"`) or `Line`s; `line_strength` is that of the first.
        wavelength: `(n_wavelength,)` in angstrom (air), any spacing: one window or several.
        mu: cosine of the heliocentric angle.
        relative_strengths: line-to-continuum opacity of each line relative to the first; by default the ratio of gf.
        effective_triplet: replace each Zeeman pattern by the triplet with the effective Lande factor.

    Raises:
        UnknownLineError: a name is not in the table.
        ValueError: the wavelengths do not cover a line's centre, are not finite, or `mu` is not within (0, 1].
    """

    lines: tuple[Line, ...] = eqx.field(static=True)
    wavelength: np.ndarray
    mu: float
    distance: np.ndarray
    shift: np.ndarray
    doppler_shift: np.ndarray
    weights: np.ndarray
    windows: LineWindows

    def __init__(
        self,
        lines: Sequence[Line | str],
        wavelength: Sequence[float] | np.ndarray,
        *,
        mu: float = 1.0,
        relative_strengths: Sequence[float] | None = None,
        effective_triplet: bool = False,
    ) -> None:
        self.lines = find_lines([lines] if isinstance(lines, str | Line) else lines)
        self.wavelength = checked_wavelength(wavelength, self.lines)
        if not 0 < mu <= 1:
            raise ValueError(f"`mu` is the cosine of the heliocentric angle, within (0, 1]; found {mu}")
        self.mu = float(mu)
        if relative_strengths is None:
            relative_strengths = [10 ** (line.log_gf - self.lines[0].log_gf) for line in self.lines]
        if len(relative_strengths) != len(self.lines):
            raise ValueError(
                f"`relative_strengths` needs one number for each line: found {len(relative_strengths)} "
                f"for {len(self.lines)} lines"
            )
        patterns = [zeeman_pattern(line, effective_triplet=effective_triplet) for line in self.lines]
        centre = np.concatenate([np.full(len(p.shift), line.wavelength) for line, p in zip(self.lines, patterns)])
        self.distance = self.wavelength - centre[:, None]
        self.shift = LORENTZ * centre**2 * np.concatenate([p.shift for p in patterns])
        self.doppler_shift = centre / SPEED_OF_LIGHT
        strength = np.concatenate([ratio * p.strength for ratio, p in zip(relative_strengths, patterns)])
        group = np.concatenate([p.group for p in patterns])
        weights = strength * (group == np.arange(3)[:, None])
        self.windows = LineWindows(self.wavelength, [(line.wavelength, effective_lande(line)) for line in self.lines])
        self.weights = np.concatenate([weights, weights * self.shift, weights * self.doppler_shift])

    @property
    def parameters(self) -> dict[str, Parameter]:
        return dict(_PARAMETERS)

    @property
    def knowledge(self) -> Knowledge:
        """Classical estimates; one vector of several signs and angles; round coordinates; closed forms; symmetries."""
        return Knowledge(
            self._guess,
            canonical_field,
            _coordinates,
            AZIMUTH,
            Affine("source_constant", "source_slope"),
            stokes_symmetry(self.windows),
        )

    def __call__(self, parameters: Parameters) -> Array:
        return with_jacobian(self._stokes, self._value_and_jacobian, self._arrays(parameters))

    def value_and_jacobian(self, parameters: Parameters) -> tuple[Array, dict[str, Array]]:
        """Stokes profiles and their derivative by every scalar in `parameters`, each `(4, n_wavelength)`."""
        arrays = self._arrays(parameters)
        value, jacobian = self._value_and_jacobian(arrays)
        return value, {name: jacobian[name] for name in parameters}

    def _guess(self, values: Array, valid: Array) -> dict[str, Array]:
        """A classical estimate from `(4, n_wavelength)` data; `valid` is `False` where a sample is missing.

        Centre of gravity of I + V and I - V for the velocity and the longitudinal field, second moments of Q and U for
        the transverse field and the azimuth; see `jaxinv.spectra.guess`.
        """
        guess = classical_guess(values, valid, self.windows)
        # What the moments cannot see (saturation, magneto-optical rotation) is in the profiles of the guess itself.
        unit = self({**guess, "azimuth": 0.0, "source_constant": 0.0, "source_slope": 1.0, "mu": 1.0})
        guess |= fit_linear_parameters(values, valid, unit)
        return {name: value[None] for name, value in guess.items()}

    def factors(self) -> tuple[Forward, tuple[Stage, ...]]:
        """Profiles that depend smoothly on six parameters; then the field's direction and the source function."""
        return ReducedProfiles(self), (LinearSource(self.mu),)

    def _arrays(self, parameters: Parameters) -> dict[str, Array]:
        return as_arrays(self, parameters, {"mu": self.mu})

    def _profiles(self, p: dict[str, Array]) -> tuple[Array, Array, Array, Array]:
        """v, H, F of every component, `(n_component, n_wavelength)`, and a."""
        dtype = p["velocity"].dtype
        distance, shift, doppler_shift = (
            jnp.asarray(x, dtype) for x in (self.distance, self.shift, self.doppler_shift)
        )
        moved = p["wavelength_offset"] + doppler_shift * p["velocity"] + shift * p["field_strength"]
        v = (distance - moved[:, None]) / p["doppler_width"]
        a = jnp.broadcast_to(p["damping"], v.shape)
        return _barrier((v, *voigt(v, a), a))

    def profiles(self, parameters: Parameters) -> tuple[Array, Array]:
        """Absorption and dispersion profiles of the pi, blue and red components of all lines, `(3, n_wavelength)` each.

        Relative to the first line's strength; of field strength, velocity, Doppler width and damping alone.
        """
        own = {name: parameters[name] for name in _PARAMETERS if name in parameters}
        defaults = dict.fromkeys(("inclination", "azimuth", "line_strength", "source_constant", "source_slope"), 0.0)
        arrays = self._arrays(defaults | own)
        return self._summed(arrays)

    def _summed(self, p: dict[str, Array]) -> tuple[Array, Array]:
        _, h, f, _ = self._profiles(p)
        weights = jnp.asarray(self.weights[:3], h.dtype)
        summed = _barrier(_exact_product(weights, jnp.concatenate([h, f], -1)))
        phi, psi = jnp.split(summed, 2, -1)
        return phi, psi

    def _stokes(self, p: dict[str, Array]) -> Array:
        phi, psi = self._summed(p)
        unit = _unit_stokes(p["line_strength"] * absorption(phi, psi, p["inclination"]))
        return _observed(p, rotate(unit, p["azimuth"]))

    def _value_and_jacobian(self, p: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
        v, h, f, a = self._profiles(p)
        h_v, f_v = derivatives(v, a, h, f)
        weights = jnp.asarray(self.weights, h.dtype)
        summed = _barrier(_exact_product(weights, jnp.concatenate([h, f, h_v, f_v, v * h_v, v * f_v], -1)))
        phi, psi, phi_v, psi_v, v_phi_v, v_psi_v = jnp.split(summed, 6, -1)

        inclination, strength = p["inclination"], p["line_strength"]

        def towards(profile: Array, dispersion: Array) -> Array:
            return absorption(profile, dispersion, inclination)

        kappa = towards(phi[:3], psi[:3])
        by_v = -strength / p["doppler_width"]
        kappa_by = {
            "field_strength": by_v * towards(phi_v[3:6], psi_v[3:6]),
            "inclination": strength * absorption_by_inclination(phi[:3], psi[:3], inclination),
            "velocity": by_v * towards(phi_v[6:], psi_v[6:]),
            "doppler_width": by_v * towards(v_phi_v[:3], v_psi_v[:3]),
            "line_strength": kappa,
            "damping": strength * towards(-psi_v[:3], phi_v[:3]),
            "wavelength_offset": by_v * towards(phi_v[:3], psi_v[:3]),
        }
        kappa, kappa_by = _barrier((strength * kappa, kappa_by))
        unit, push = jax.linearize(_unit_stokes, kappa)
        partial = [push(jnp.zeros_like(kappa).at[j].set(1)) for j in range(len(kappa))]
        unit, partial = _barrier((unit, partial))
        azimuth = p["azimuth"]
        slope = p["mu"] * p["source_slope"]
        rotated = rotate(unit, azimuth)
        jacobian = {
            name: slope * rotate(functools.reduce(jnp.add, map(jnp.multiply, partial, by)), azimuth)
            for name, by in kappa_by.items()
        }
        zero = jnp.zeros_like(rotated[0])
        jacobian["azimuth"] = 2 * slope * jnp.stack([zero, -rotated[2], rotated[1], zero])
        jacobian["source_constant"] = jnp.stack([zero + 1, zero, zero, zero])
        jacobian["source_slope"] = p["mu"] * rotated
        jacobian["mu"] = p["source_slope"] * rotated
        return _barrier((_observed(p, rotated), jacobian))


def _coordinates(prior: Prior) -> tuple[Block, ...]:
    """The field's components, and logarithms of what scales a profile; damping is linear where it is small."""
    logarithms = [logarithm(prior, name, offset) for name, offset in _LOGARITHMS.items()]
    return (*FieldVector.of(prior), *(block for found in logarithms for block in found))


def milne_eddington_prior(continuum: float = 1.0, wavelength: float = 6302.0, **changes: Any) -> dict[str, Any]:
    """The prior of a photospheric inversion: flat within generous bounds, cyclic in azimuth.

    Args:
        continuum: typical continuum intensity in the units of the data; it scales the source function's bounds.
        wavelength: of the lines [angstrom]; it scales the Doppler width's bounds, 0.24 to 9 km/s.
        **changes: entries that replace or join these, e.g. `damping=0.2` or `field_strength=dist.HalfNormal(500.0)`.
    """
    prior = {
        "field_strength": dist.Uniform(0.0, 5000.0),
        "inclination": dist.Uniform(0.0, math.pi),
        "azimuth": Cyclic(0.0, math.pi),
        "velocity": dist.Uniform(-20.0, 20.0),
        "doppler_width": dist.Uniform(8e-7 * wavelength, 3e-5 * wavelength),
        "line_strength": dist.Uniform(0.05, 200.0),
        "damping": dist.Uniform(0.0, 3.0),
        "source_constant": dist.Uniform(0.0, 2.0 * continuum),
        "source_slope": dist.Uniform(0.0, 3.0 * continuum),
    }
    return prior | changes


def _unit_stokes(kappa: Array) -> Array:
    """(I - S0, Q, U, V) / S1 for azimuth 0, where eta_U = rho_U = 0 (LL04 eqs. 9.110-9.112); `(4, n_wavelength)`."""
    eta_i, eta_q, eta_v, rho_q, rho_v = kappa
    eta_i = 1 + eta_i
    square, mixed = eta_i**2, eta_q * rho_q + eta_v * rho_v
    rho2 = rho_q**2 + rho_v**2
    determinant = square * (square - eta_q**2 - eta_v**2 + rho2) - mixed**2
    return (
        jnp.stack(
            [
                eta_i * (square + rho2),
                -(square * eta_q + rho_q * mixed),
                -eta_i * (eta_q * rho_v - eta_v * rho_q),
                -(square * eta_v + rho_v * mixed),
            ]
        )
        / determinant
    )


def _exact_product(weights: Array, profiles: Array) -> Array:
    """A matrix product in full precision, where an accelerator would otherwise round to fewer digits."""
    return jnp.matmul(weights, profiles, precision="highest")


def _observed(p: dict[str, Array], rotated: Array) -> Array:
    emergent = p["mu"] * p["source_slope"] * rotated
    return emergent.at[0].add(p["source_constant"])


@jax.custom_jvp
def _barrier(values):
    """Keeps XLA from recomputing `values` in each consumer; differentiates as the identity."""
    return jax.lax.optimization_barrier(values)


@_barrier.defjvp
def _barrier_jvp(primals, tangents):
    return _barrier(primals[0]), tangents[0]
