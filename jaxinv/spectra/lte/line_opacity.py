"""Lines in a stratified gas: how strong, how wide and how damped they are, and their Zeeman profiles."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxinv.spectra.constants import LORENTZ, SPEED_OF_LIGHT
from jaxinv.spectra.line import Line
from jaxinv.spectra.lte.elements import find_element
from jaxinv.spectra.lte.gas import BOLTZMANN_EV, Gas, GasState
from jaxinv.spectra.lte.opacity import HC_OVER_K
from jaxinv.spectra.voigt import derivatives, voigt
from jaxinv.spectra.zeeman import zeeman_pattern

_CLASSICAL = 8.8525e-13 / math.sqrt(math.pi)
"""sqrt(pi) e^2 / (m_e c^2) [cm]."""
_GAS = 8.31446261815e7
"""[erg/(K mol)]"""
_HELIUM = 0.42
"""How much an atom of helium broadens, an atom of hydrogen broadening 1 (polarizability and speed)."""
_BOHR2 = 2.8002852e-17
"""[cm2]"""


def check_line(line: Line) -> Line:
    """The line, if its opacity can be computed.

    Raises:
        ValueError: its element or excitation potential is not given, or its ion is not counted.
    """
    if not line.element:
        raise ValueError(f"{line.name or 'the line'} needs `element`: its strength follows from the abundance")
    find_element(line.element)
    if line.excitation_potential is None:
        raise ValueError(f"{line.name} needs `excitation_potential` [eV]: its strength follows from the temperature")
    if line.ion > 2:
        raise ValueError(f"{line.name} is of spectrum {line.ion}; LTE counts atoms and single ions")
    return line


def strength(line: Line, gas: Gas, state: GasState, width: Array) -> Array:
    """Opacity [cm-1] at the centre of a line without damping or splitting, stimulated emission taken off.

    Args:
        line: atomic data.
        gas: its composition.
        state: of the gas.
        width: Doppler width [angstrom], in the shape of the state.
    """
    t = state.temperature
    hot = BOLTZMANN_EV * t
    level = 10.0**line.log_gf * jnp.exp(-float(line.excitation_potential or 0.0) / hot)
    absorbed = -jnp.expm1(-HC_OVER_K / (line.wavelength * 1e-4 * t))
    length = line.wavelength**2 * 1e-8 / width  # [cm]
    return _CLASSICAL * length * level * absorbed * gas.per_state(state, line.element, line.ion)


def doppler_width(line: Line, temperature: Array, microturbulence: Array) -> Array:
    """[angstrom], of a temperature [K] and a microturbulence [km/s]."""
    thermal = 2 * _GAS / find_element(line.element).weight * 1e-10 * temperature  # [km2/s2]
    return line.wavelength / SPEED_OF_LIGHT * jnp.sqrt(thermal + microturbulence**2)


def damping(line: Line, state: GasState, width: Array, helium: float) -> Array:
    """Damping in Doppler widths: natural and by collisions with hydrogen and helium.

    By Anstee, Barklem & O'Mara (Barklem, Piskunov & O'Mara 2000, A&AS 142, 467) where the line has their numbers, else
    by Unsold's approximation (Gray 2005, Stellar Photospheres, ch. 11). The natural width is the classical one.

    Args:
        line: atomic data.
        state: of the gas.
        width: Doppler width [angstrom].
        helium: atoms for each nucleus of hydrogen.
    """
    t = state.temperature
    partners = state.atoms + _HELIUM * helium * state.hydrogen
    weight = find_element(line.element).weight
    speed = jnp.sqrt(8 * _GAS / math.pi * (1 / 1.008 + 1 / weight) * t)  # [cm/s]
    if line.abo_sigma is not None and line.abo_alpha is not None:
        alpha = line.abo_alpha
        half = (4 / math.pi) ** (alpha / 2) * math.gamma(2 - alpha / 2) * 1e6 * line.abo_sigma * _BOHR2
        collisions = 2 * half * (speed / 1e6) ** (1 - alpha) * partners
    else:
        collisions = 17 * speed**0.6 * _c6(line) ** 0.4 * partners
    natural = 2.2233e15 / line.wavelength**2
    # Gamma lambda^2 / (4 pi c width), c in angstrom/s.
    return (natural + collisions) * (line.wavelength**2 / (4 * math.pi * SPEED_OF_LIGHT * 1e13)) / width


def _c6(line: Line) -> float:
    """Unsold's interaction constant [cm6/s]; levels near or above the ionization limit count as .3 eV below it."""
    limit = find_element(line.element).ionization[line.ion - 1]
    lower = float(line.excitation_potential or 0.0)
    upper = lower + 12398.42 / line.wavelength
    near, far = max(limit - upper, 0.3), max(limit - lower, 0.3)
    return 0.3e-30 * line.ion**2 * abs(1 / near**2 - 1 / far**2)


class ZeemanProfiles:
    """Absorption and dispersion profiles of a line's pi, blue and red components at many depths.

    Args:
        line: atomic data.
        wavelength: `(n_wavelength,)` [angstrom].
    """

    def __init__(self, line: Line, wavelength: np.ndarray) -> None:
        pattern = zeeman_pattern(line)
        self.distance = wavelength - line.wavelength
        self.shift = LORENTZ * line.wavelength**2 * pattern.shift
        self.doppler = line.wavelength / SPEED_OF_LIGHT
        self.weights = pattern.strength * (pattern.group == np.arange(3)[:, None])

    def __call__(
        self, field: Array, velocity: Array, width: Array, damping: Array, offset: Array
    ) -> tuple[Array, Array]:
        """Phi and psi, `(3, n_depth, n_wavelength)` each, from arrays that broadcast to `(n_depth, n_wavelength)`."""
        run = jax.custom_jvp(self._profiles)

        @run.defjvp
        def _(primals: tuple, tangents: tuple) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
            return self._with_tangents(primals, tangents)

        return run(field, velocity, width, damping, offset)

    def _components(
        self, field: Array, velocity: Array, width: Array, damping: Array, offset: Array
    ) -> tuple[Array, Array]:
        distance, shift = jnp.asarray(self.distance, width.dtype), jnp.asarray(self.shift, width.dtype)
        centred = distance - offset - self.doppler * velocity  # (depth, wavelength)
        v = (centred - shift[:, None, None] * field) / width
        return v, jnp.broadcast_to(damping, v.shape)

    def _profiles(self, *arguments: Array) -> tuple[Array, Array]:
        phi, psi = self._summed(voigt(*self._components(*arguments)), self.weights)
        return phi, psi

    def _summed(self, profiles: tuple[Array, ...], weights: np.ndarray) -> tuple[Array, ...]:
        """Sums over the components, `(component, depth, wavelength)` -> `(rows of weights, depth, wavelength)`."""
        shape = profiles[0].shape
        flat = jnp.concatenate([x.reshape(shape[0], -1) for x in profiles], -1)
        sums = jnp.matmul(jnp.asarray(weights, flat.dtype), flat, precision="highest")
        sums = jax.lax.optimization_barrier(sums)
        return tuple(x.reshape(-1, *shape[1:]) for x in jnp.split(sums, len(profiles), -1))

    def _with_tangents(self, primals: tuple, tangents: tuple) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        width = primals[2]
        v, a = jax.lax.optimization_barrier(self._components(*primals))
        h, f = jax.lax.optimization_barrier(voigt(v, a))
        h_v, f_v = derivatives(v, a, h, f)
        both = np.concatenate([self.weights, self.weights * self.shift])
        sums = self._summed((h, f, h_v, f_v, v * h_v, v * f_v), both)
        phi, psi, phi_v, psi_v, v_phi_v, v_psi_v = (x[:3] for x in sums)
        split_phi, split_psi = sums[2][3:], sums[3][3:]
        field, velocity, broader, damped, offset = tangents
        moved, parted, widened = -(offset + self.doppler * velocity) / width, -field / width, -broader / width
        by_phi = moved * phi_v + parted * split_phi + widened * v_phi_v - damped * psi_v
        by_psi = moved * psi_v + parted * split_psi + widened * v_psi_v + damped * phi_v
        return (phi, psi), (by_phi, by_psi)
