"""Continuous opacity of a gas in LTE: what absorbs and scatters between the lines.

H- (bound-free and free-free), H, H2+, and scattering by electrons, H and H2. Left out: bound-free absorption by metals,
which matters below 4000 angstrom, and helium.
"""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxinv.spectra.lte.gas import BOLTZMANN_EV, GasState

SHORTEST, LONGEST = 4000.0, 100000.0
"""Wavelengths [angstrom] for which the opacity is known."""
HC_OVER_K = 1.438776877e4
"""[micron K]"""
_RYDBERG = 10.96775834
"""Of hydrogen [1/micron]."""
_IONIZATION = 13.598434
_EXPLICIT = 8
"""Levels of hydrogen that are summed one by one; an integral has the rest."""

_BOUND_FREE = (152.519, 49.534, -118.858, 92.536, -34.194, 4.982)
_THRESHOLD = 1.6419
"""Of H- [micron]."""
_FREE_FREE = np.array(
    [
        [2483.346, 285.827, -2054.291, 2827.776, -1341.537, 208.952],
        [-3449.889, -1158.382, 8746.523, -11485.632, 5303.609, -812.939],
        [2200.040, 2427.719, -13651.105, 16755.524, -7510.494, 1132.738],
        [-696.271, -1841.400, 8624.970, -10051.530, 4400.067, -655.020],
        [88.283, 444.517, -1863.864, 2095.288, -901.788, 132.985],
    ]
)


def check_wavelength(wavelength: float) -> float:
    """The wavelength as a number.

    Raises:
        ValueError: the opacity is not known there.
    """
    if not SHORTEST <= wavelength <= LONGEST:
        raise ValueError(
            f"the continuous opacity is known from {SHORTEST:g} to {LONGEST:g} angstrom; found {wavelength:g}"
        )
    return float(wavelength)


def contributions(state: GasState, wavelength: float) -> dict[str, Array]:
    """Opacity [cm-1] by what absorbs or scatters, in the shape of the state, corrected for stimulated emission.

    Args:
        state: of the gas.
        wavelength: [angstrom], one number.

    Raises:
        ValueError: the opacity is not known at that wavelength.
    """
    angstrom = check_wavelength(wavelength)
    micron = angstrom / 1e4
    t = state.temperature
    absorbed = -jnp.expm1(-HC_OVER_K / (micron * t))  # what stimulated emission leaves
    rayleigh = (5.799e-13 + (1.422e-6 + 2.784 / angstrom**2) / angstrom**2) / angstrom**4
    rayleigh_molecules = (8.14e-13 + (1.28e-6 + 1.61 / angstrom**2) / angstrom**2) / angstrom**4
    return {
        "H- bound-free": state.atoms * state.electron_pressure * _bound_free(t, micron) * absorbed,
        "H- free-free": state.atoms * state.electron_pressure * _free_free(t, micron),
        "H": _hydrogen(state, micron) * absorbed,
        "H2+": _molecular_ion(state, micron) * absorbed,
        "electrons": 6.6524587e-25 * state.electrons,
        "Rayleigh, H": rayleigh * state.atoms,
        "Rayleigh, H2": rayleigh_molecules * state.molecules,
    }


def continuous_opacity(state: GasState, wavelength: float) -> Array:
    """Opacity [cm-1] in the shape of the state, scattering included.

    Raises:
        ValueError: the opacity is not known at that wavelength.
    """
    return sum(contributions(state, wavelength).values(), jnp.zeros_like(state.temperature))


def _bound_free(t: Array, micron: float) -> Array:
    """Of H- for each atom of H and unit of electron pressure [cm4/dyn] (John 1988, A&A 193, 189, eqs. 3 to 5)."""
    if micron >= _THRESHOLD:
        return jnp.zeros_like(t)
    gap = 1 / micron - 1 / _THRESHOLD
    section = 1e-18 * micron**3 * gap**1.5 * sum(c * gap ** (k / 2) for k, c in enumerate(_BOUND_FREE))
    return section * 0.750 * jnp.exp(HC_OVER_K / _THRESHOLD / t) * t**-2.5


def _free_free(t: Array, micron: float) -> Array:
    """Of H-, as above, with stimulated emission (John 1988, eq. 6)."""
    powers = np.array([micron**2, 1.0, *(micron**-k for k in range(1, 5))])
    root = jnp.sqrt(5040 / t)
    total = jnp.zeros_like(t)
    for k, coefficient in enumerate(_FREE_FREE @ powers, start=2):
        total = total + float(coefficient) * root ** (k + 1)
    return 1e-29 * total


def _hydrogen(state: GasState, micron: float) -> Array:
    """Bound-free and free-free, Kramers's with Gaunt factors (Gray 2005, Stellar Photospheres, ch. 8)."""
    t = state.temperature
    hot = BOLTZMANN_EV * t
    gaunt = 0.3456 / (micron * _RYDBERG) ** (1 / 3)
    first = math.floor(math.sqrt(micron * _RYDBERG)) + 1  # the lowest level that such light ionizes
    n = np.arange(first, max(_EXPLICIT, first) + 1).reshape(-1, *(1,) * t.ndim)
    factor = (1 - gaunt * (micron * _RYDBERG / n**2 - 0.5)) / n**3
    energy = _IONIZATION * (1 - 1 / n**2)
    total = jnp.sum(jnp.asarray(factor, t.dtype) * jnp.exp(-jnp.asarray(energy, t.dtype) / hot), 0)
    last = n.max() + 0.5
    rest = hot / (2 * _IONIZATION) * (jnp.exp(-_IONIZATION * (1 - 1 / last**2) / hot) - jnp.exp(-_IONIZATION / hot))
    bound_free = 1.0446e-14 * micron**3 * (total + rest) * state.atoms
    free = 1 + gaunt * (micron * t / HC_OVER_K + 0.5)
    pairs = (state.electrons * 1e-16) * (state.protons * 1e-16)
    return bound_free + 1.3700e-3 * micron**3 * free * pairs / jnp.sqrt(t)


def _molecular_ion(state: GasState, micron: float) -> Array:
    """Of an atom and a proton that meet (Bates 1952, MNRAS 112, 40, as fitted by Kurucz 1970, SAO Spec. Rep. 309)."""
    frequency = 299.792458 / micron  # [10^12 Hz]
    log_frequency, f = math.log(frequency) + 12 * math.log(10), frequency / 1e3
    strength = np.polynomial.polynomial.polyval(log_frequency, [-3.0233e3, 3.7797e2, -1.82496e1, 3.9207e-1, -3.1672e-3])
    energy = np.polynomial.polynomial.polyval(f, [-7.342e-3, -2.409, 1.028, -0.4230, 0.1224, -0.01351])
    exponent = float(strength) - float(energy) / (BOLTZMANN_EV * state.temperature)
    return jnp.exp(exponent + _log(state.atoms) + _log(state.protons))


def _log(x: Array) -> Array:
    return jnp.log(jnp.maximum(x, jnp.finfo(x.dtype).tiny))
