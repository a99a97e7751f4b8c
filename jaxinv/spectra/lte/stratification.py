"""Depth: the grid of optical depths, hydrostatic equilibrium, geometric height."""

from __future__ import annotations

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxinv.spectra.lte.gas import Gas, GasState, newton
from jaxinv.spectra.lte.opacity import continuous_opacity

SOLAR_GRAVITY = 27400.0
"""At the surface [cm/s2]."""
REFERENCE = 5000.0
"""Wavelength [angstrom] of the optical depth scale."""
_LN10 = math.log(10)


def check_depths(log_tau: object) -> np.ndarray:
    """A grid of log10 of the optical depth at 5000 angstrom, strictly rising or falling.

    Raises:
        ValueError: it is not, is no row of finite numbers, or has fewer than three.
    """
    grid = np.asarray(log_tau, float)
    if grid.ndim != 1 or len(grid) < 3 or not np.all(np.isfinite(grid)):
        raise ValueError(f"log_tau must be a row of 3 finite numbers or more; found an array of the shape {grid.shape}")
    steps = np.diff(grid)
    if not (np.all(steps > 0) or np.all(steps < 0)):
        k = int(np.flatnonzero(np.sign(steps) != np.sign(steps[0]) + (steps[0] == 0))[0])
        raise ValueError(
            f"log_tau must rise or fall all the way; {grid[k]:g} is followed by {grid[k + 1]:g} at position {k + 1}"
        )
    return grid


def hydrostatic(
    gas: Gas,
    log_tau: np.ndarray,
    temperature: Array,
    *,
    top_pressure: Array | float | None = None,
    gravity: float = SOLAR_GRAVITY,
) -> Array:
    """The electron pressure in hydrostatic equilibrium, dP/dtau = gravity * density / opacity, from the top down.

    The slope of ln P against ln tau is integrated by the trapezoidal rule: it is nearly a straight line in a
    photosphere, where H- makes the opacity proportional to the pressure.

    Args:
        gas: its composition.
        log_tau: `(n_depth,)`, see `check_depths`.
        temperature: `(n_depth,)` [K].
        top_pressure: of the gas at the smallest optical depth [dyn/cm2]; left out, that of an isothermal continuation
            upwards whose opacity is proportional to the pressure.
        gravity: [cm/s2].

    Returns:
        `(n_depth,)` [dyn/cm2].

    Raises:
        ValueError: a bad grid, or a temperature of another length.
    """
    grid = check_depths(log_tau)
    order = np.argsort(grid)
    t = jnp.asarray(temperature)
    if t.shape != grid.shape:
        raise ValueError(f"the temperature has the shape {t.shape}, but there are {len(grid)} depths")
    column = _Column(gas, tuple((grid[order] * _LN10).tolist()), gravity)
    top = None if top_pressure is None else jnp.log(jnp.asarray(top_pressure, t.dtype))
    return jnp.exp(_in_balance(column, t[order], top))[np.argsort(order)]


class _Column(NamedTuple):
    """What does not change: the gas, ln tau from the top down, and gravity."""

    gas: Gas
    x: tuple[float, ...]
    gravity: float

    def at(self, log_pe: Array, t: Array, x: Array) -> tuple[Array, Array]:
        """Ln P and its slope against ln tau."""
        state = self.gas.state(t, jnp.exp(log_pe))
        log_p = jnp.log(state.gas_pressure)
        log_opacity = jnp.log(continuous_opacity(state, REFERENCE)) - jnp.log(state.density)
        return log_p, jnp.exp(math.log(self.gravity) + x - log_opacity - log_p)


def _at_top(log_p: Array, slope: Array, log_top: Array | None) -> Array:
    """What is zero at the top: the slope of the isothermal continuation is a half."""
    return -jnp.log(2 * slope) if log_top is None else log_p - log_top


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _in_balance(column: _Column, t: Array, log_top: Array | None) -> Array:
    """Ln of the electron pressure, top first: Newton's method at one depth after the other."""
    x = jnp.asarray(column.x, t.dtype)

    def down(above: tuple[Array, Array, Array], here: tuple[Array, ...]) -> tuple[Any, Array]:
        t, x, step, first = here

        def misses(log_pe: Array, above: tuple[Array, Array, Array], t: Array, x: Array, step: Array) -> Array:
            log_p, slope = column.at(log_pe, t, x)
            return jnp.where(first, _at_top(log_p, slope, log_top), log_p - above[1] - step / 2 * (above[2] + slope))

        found = newton(misses, above[0] + step * above[2], above, t, x, step)
        return (found, *column.at(found, t, x)), found

    guess = math.log(1e-3) + 0.5 * x[0] + 3
    steps = jnp.concatenate([jnp.zeros(1, x.dtype), jnp.diff(x)])
    start = (guess, jnp.zeros_like(guess), jnp.zeros_like(guess))
    return jax.lax.scan(down, start, (t, x, steps, jnp.arange(len(x)) == 0))[1]


@_in_balance.defjvp
def _in_balance_jvp(column: _Column, primals: Any, tangents: Any) -> tuple[Array, Array]:
    """What is zero stays zero: of all depths together, but for a recurrence of single numbers."""
    (t, log_top), (t_change, top_change) = primals, tangents
    log_pe = _in_balance(column, t, log_top)
    x = jnp.asarray(column.x, t.dtype)
    at, (own_p, own_slope) = jax.jvp(lambda p: column.at(p, t, x), (log_pe,), (jnp.ones_like(log_pe),))
    _, (p, slope) = jax.jvp(lambda t: column.at(log_pe, t, x), (t,), (t_change,))
    half = jnp.diff(x) / 2
    top = lambda p, slope: _at_top(p, slope, log_top)  # noqa: E731
    _, own = jax.jvp(top, (at[0][0], at[1][0]), (own_p[0], own_slope[0]))
    changes = (p[0], slope[0]) if log_top is None else (p[0] - top_change, slope[0])
    _, moved = jax.jvp(top, (at[0][0], at[1][0]), changes)
    near = jnp.concatenate([own[None], own_p[1:] - half * own_slope[1:]])
    carried = jnp.concatenate([jnp.zeros_like(own)[None], own_p[:-1] + half * own_slope[:-1]]) / near
    alone = jnp.concatenate([moved[None], p[1:] - half * slope[1:] - p[:-1] - half * slope[:-1]]) / -near

    def down(above: Array, here: tuple[Array, Array]) -> tuple[Array, Array]:
        found = here[0] * above + here[1]
        return found, found

    return log_pe, jax.lax.scan(down, jnp.zeros_like(own), (carried, alone))[1]


def geometric_height(log_tau: np.ndarray, state: GasState) -> Array:
    """Height above the level where tau at 5000 angstrom is 1 [km], `(n_depth,)`: the integral of -dtau / opacity.

    By the trapezoidal rule in ln tau, in which tau over the opacity is smooth.
    """
    grid = check_depths(log_tau)
    x = jnp.asarray(grid * _LN10, state.temperature.dtype)
    length = jnp.exp(x - jnp.log(continuous_opacity(state, REFERENCE)))  # [cm] for each unit of ln tau
    steps = -jnp.diff(x) * (length[1:] + length[:-1]) / 2 / 1e5
    height = jnp.concatenate([jnp.zeros(1, steps.dtype), jnp.cumsum(steps)])
    rising = (x, height) if grid[1] > grid[0] else (x[::-1], height[::-1])
    return height - jnp.interp(jnp.zeros((), x.dtype), *rising)
