"""The equation of state: how many electrons there are, and in which form hydrogen is.

Saha's equation for two ionizations of each element; hydrogen as H, H+, H-, H2 and H2+ (Mihalas 1967, Methods Comput.
Phys. 7, 1). From temperature and electron pressure everything follows in closed form; from temperature and gas pressure
by Newton's method. Left out: other molecules, which bind no element that gives electrons, and the lowering of
ionization energies (below .05 eV in a photosphere).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxinv.spectra.lte.elements import abundances, elements, find_element, log_partition_functions

BOLTZMANN = 1.380649e-16
"""[erg/K]"""
BOLTZMANN_EV = 8.617333262e-5
"""[eV/K]"""
_PLANCK, _ELECTRON, _MASS_UNIT = 6.62607015e-27, 9.1093837015e-28, 1.66053906660e-24
_LOG_SAHA = math.log(2 * (2 * math.pi * _ELECTRON / _PLANCK**2) ** 1.5) + 2.5 * math.log(BOLTZMANN)
_DETACHMENT = 0.754209
"""Of H- [eV] (Hotop & Lineberger 1985, J. Phys. Chem. Ref. Data 14, 731)."""
_EASY, _COMMON = 11.5, 4.5
"""Elements that give electrons: the first ionization takes less [eV], and the abundance, log10(N/N_H) + 12, is more.
All others together change the electron pressure of a photosphere by less than 1e-3."""
_NEWTON = 12


class GasState(NamedTuple):
    """A gas at some places; all fields have the shape of the temperature.

    Attributes:
        temperature: [K].
        electron_pressure, gas_pressure: [dyn/cm2]; the gas's includes the electrons'.
        density: [g/cm3].
        electrons: [cm-3].
        hydrogen: nuclei of hydrogen [cm-3], in whatever form.
        atoms, protons, negative_ions, molecules, molecular_ions: H, H+, H-, H2 and H2+ [cm-3].
    """

    temperature: Array
    electron_pressure: Array
    gas_pressure: Array
    density: Array
    electrons: Array
    hydrogen: Array
    atoms: Array
    protons: Array
    negative_ions: Array
    molecules: Array
    molecular_ions: Array


class Gas(eqx.Module):
    """A gas in local thermodynamic equilibrium.

    Args:
        composition: name of a set of abundances, or what differs from the default one (`elements.abundances`).

    Raises:
        ValueError: no such set or element.
    """

    abundances: tuple[tuple[str, float], ...] = eqx.field(static=True)

    def __init__(self, composition: str | Mapping[str, float] = "asplund2009") -> None:
        self.abundances = abundances(composition)

    @property
    def _donors(self) -> dict[str, float]:
        least = 10.0 ** (_COMMON - 12)
        return {s: a for s, a in self.abundances if a >= least and elements()[s].ionization[0] < _EASY}

    def state(self, temperature: Array, electron_pressure: Array) -> GasState:
        """The gas at a temperature [K] and electron pressure [dyn/cm2], arrays of one shape."""
        t, pe = jnp.asarray(temperature), jnp.asarray(electron_pressure)
        charge = self._charge(t, pe)
        theta = 5040 / t
        # Partial pressures of H+, H- relative to H, and what turns the product of two into H2, H2+ (Vardya's fits, in
        # Mihalas 1967 and the codes since).
        plus = jnp.exp(_log_saha(t, 13.598434, math.log(1 / 2)) - jnp.log(pe))
        minus = pe * jnp.exp(-_log_saha(t, _DETACHMENT, math.log(2.0)))
        pair = _power_of_ten(-12.533505 + theta * (4.9251644 + theta * (-0.056191273 + theta * 0.0032687661)))
        ion = _power_of_ten(-11.206998 + theta * (2.7942767 + theta * (0.079196803 - theta * 0.024790744)))
        # Nuclei of hydrogen are single * p + double * p^2, p the pressure of its atoms; electrons are counted.
        single, double = 1 + plus + minus, 2 * pair + 2 * ion * plus
        quadratic, linear = ion * plus + charge * double, plus - minus + charge * single
        p = 2 * pe / (linear + jnp.sqrt(linear**2 + 4 * quadratic * pe))
        nuclei = (single + double * p) * p
        others = sum(a for s, a in self.abundances if s != "H")
        weight = sum(a * elements()[s].weight for s, a in self.abundances)
        gas_pressure = pe + (single + (pair + ion * plus) * p) * p + others * nuclei
        per_pressure = 1 / (BOLTZMANN * t)
        return GasState(
            t,
            pe,
            gas_pressure,
            nuclei * per_pressure * (weight * _MASS_UNIT),
            pe * per_pressure,
            nuclei * per_pressure,
            p * per_pressure,
            plus * p * per_pressure,
            minus * p * per_pressure,
            pair * p * p * per_pressure,
            ion * plus * p * p * per_pressure,
        )

    def electron_pressure(self, temperature: Array, gas_pressure: Array) -> Array:
        """The electron pressure [dyn/cm2] at a temperature [K] and gas pressure [dyn/cm2], arrays of one shape."""
        t, pg = jnp.broadcast_arrays(jnp.asarray(temperature), jnp.asarray(gas_pressure))
        wanted = jnp.log(pg)

        def misses(log_pe: Array, t: Array, wanted: Array) -> Array:
            return jnp.log(self.state(t, jnp.exp(log_pe)).gas_pressure) - wanted

        # From below: electrons of hydrogen alone, and of metals that are all ionized.
        saha = jnp.exp(_log_saha(t, 13.598434, math.log(1 / 2)))
        guess = jnp.log(saha * pg / (saha + jnp.sqrt(saha * (saha + pg))) + 1e-6 * pg)
        return jnp.exp(newton(misses, guess, t, wanted))

    def per_state(self, state: GasState, symbol: str, ion: int) -> Array:
        """Ions of an element for each of their quantum states [cm-3]: their number over their partition function.

        Boltzmann's factor and the statistical weight of a level make the level's population of it.

        Raises:
            ValueError: no such element, it has no abundance, or `ion` is none of 1, 2, 3.
        """
        element = find_element(symbol)
        if symbol not in dict(self.abundances):
            raise ValueError(f"the abundance of {symbol} is not known: give it, `composition={{{symbol!r}: ...}}`")
        if ion not in (1, 2, 3) or (element.number, ion) == (1, 3):
            raise ValueError(f"{symbol} with spectrum number {ion}: only atoms, 1, and ions, 2 and 3, are counted")
        t = state.temperature
        log_u = log_partition_functions(((symbol, 1), (symbol, 2), (symbol, 3)), t)
        if symbol == "H":
            return (state.atoms, state.protons)[ion - 1] * jnp.exp(-log_u[ion - 1])
        energies = np.reshape(element.ionization, (2, *(1,) * t.ndim))
        stages = _stages(log_u, t, state.electron_pressure, energies)
        number = dict(self.abundances)[symbol] * state.hydrogen
        return number * stages[ion - 1] / jnp.sum(stages, 0) * jnp.exp(-log_u[ion - 1])

    def _charge(self, t: Array, pe: Array) -> Array:
        """Electrons that all elements but hydrogen give, for each nucleus of hydrogen."""
        donors = self._donors
        species = tuple((symbol, ion) for ion in (1, 2, 3) for symbol in donors)
        log_u = log_partition_functions(species, t).reshape(3, len(donors), *t.shape)
        energies = np.array([elements()[symbol].ionization for symbol in donors])
        stages = _stages(log_u, t, pe, energies.T.reshape(2, -1, *(1,) * t.ndim))
        number = jnp.asarray(list(donors.values()), t.dtype).reshape(-1, *(1,) * t.ndim)
        return jnp.sum(number * (stages[1] + 2 * stages[2]) / jnp.sum(stages, 0), 0)


def _log_saha(t: Array, energy: float | Array, log_ratio: float | Array) -> Array:
    """Ln of the pressure of ions times that of electrons over that of atoms; `log_ratio` is of partition functions."""
    return log_ratio + _LOG_SAHA + 2.5 * jnp.log(t) - energy / (BOLTZMANN_EV * t)


def _stages(log_u: Array, t: Array, pe: Array, energies: np.ndarray) -> Array:
    """Numbers in three stages of ionization, relative to the most numerous; from `(3, ...)` partition functions."""
    steps = _log_saha(t, jnp.asarray(energies, t.dtype), log_u[1:] - log_u[:-1]) - jnp.log(pe)
    logs = jnp.stack([jnp.zeros_like(steps[0]), steps[0], steps[0] + steps[1]])
    # Only ratios matter. The derivative of a maximum looks for an equal number, which a fused program may not have.
    return jnp.exp(logs - jax.lax.stop_gradient(jnp.max(logs, 0)))


def _power_of_ten(x: Array) -> Array:
    return jnp.exp(math.log(10) * x)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def newton(function: Callable[..., Array], guess: Array, *arguments: Array) -> Array:
    """The root x of an elementwise `function(x, *arguments)` that grows with x, with the derivatives of all orders.

    `function` closes over no array that is differentiated: such are arguments.
    """
    enough = 0.1 * math.sqrt(jnp.finfo(guess.dtype).eps)  # of which the next step would be the square

    def step(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        k, x, _ = state
        value, slope = jax.jvp(lambda x: function(x, *arguments), (x,), (jnp.ones_like(x),))
        change = jnp.clip(value / slope, -3, 3)
        return k + 1, x - change, jnp.any(jnp.abs(change) > enough)

    start = (jnp.zeros((), int), guess, jnp.ones((), bool))
    return jax.lax.while_loop(lambda state: (state[0] < _NEWTON) & state[2], step, start)[1]


@newton.defjvp
def _newton_jvp(function: Callable[..., Array], primals: Any, tangents: Any) -> tuple[Array, Array]:
    x, arguments = newton(function, *primals), primals[1:]
    _, slope = jax.jvp(lambda x: function(x, *arguments), (x,), (jnp.ones_like(x),))
    _, change = jax.jvp(lambda *arguments: function(x, *arguments), arguments, tangents[1:])
    return x, -change / slope
