"""Depth: the grid of optical depths, hydrostatic equilibrium, geometric height."""

from __future__ import annotations

import math
from typing import Any

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
    x, t = jnp.asarray(grid[order] * _LN10, t.dtype), t[order]

    def at(log_pe: Array, t: Array, x: Array) -> tuple[Array, Array]:
        """Ln P and its slope against ln tau."""
        state = gas.state(t, jnp.exp(log_pe))
        log_p = jnp.log(state.gas_pressure)
        log_opacity = jnp.log(continuous_opacity(state, REFERENCE)) - jnp.log(state.density)
        return log_p, jnp.exp(math.log(gravity) + x - log_opacity - log_p)

    if top_pressure is None:
        guess = jnp.log(jnp.asarray(1e-4, t.dtype) * 10) + 0.5 * x[0] + 3

        def misses(log_pe: Array, t: Array, x: Array) -> Array:
            return -jnp.log(2 * at(log_pe, t, x)[1])  # the slope of such an atmosphere is a half

        first = newton(misses, guess, t[0], x[0])
    else:
        first = jnp.log(gas.electron_pressure(t[0], jnp.asarray(top_pressure, t.dtype)))

    def down(above: tuple[Array, Array, Array], here: tuple[Array, Array, Array]) -> tuple[Any, Array]:
        log_pe, log_p, slope = above
        t, x, step = here

        def misses(log_pe: Array, log_p: Array, slope: Array, t: Array, x: Array, step: Array) -> Array:
            there, its_slope = at(log_pe, t, x)
            return there - log_p - step / 2 * (slope + its_slope)

        found = newton(misses, log_pe + step * slope, log_p, slope, t, x, step)
        return (found, *at(found, t, x)), found

    start = (first, *at(first, t[0], x[0]))
    _, rest = jax.lax.scan(down, start, (t[1:], x[1:], jnp.diff(x)))
    return jnp.exp(jnp.concatenate([first[None], rest]))[np.argsort(order)]


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
