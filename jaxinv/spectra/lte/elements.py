"""Chemical elements, their abundances in the Sun, and the partition functions of their atoms and ions.

The numbers are in the two text files beside this one, which name their sources.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxinv.names import suggestion

_SETS = ("asplund2009", "thevenin1989")
_LOWEST, _HIGHEST = 1000.0, 10000.0
"""Temperatures [K] that partition functions are tabulated for."""
_DEGREE = 7


class Element(NamedTuple):
    """A chemical element.

    Attributes:
        number: atomic number.
        symbol: chemical symbol.
        weight: standard atomic weight [u].
        ionization: energies of the first and second ionization [eV]; NaN where there is none.
    """

    number: int
    symbol: str
    weight: float
    ionization: tuple[float, float]


def rows(name: str) -> list[list[str]]:
    """The words of each line of a text file of this folder, comments left out."""
    text = files("jaxinv.spectra.lte").joinpath(name).read_text()
    return [line.split() for line in text.splitlines() if not line.startswith("#")]


def _number(text: str) -> float:
    return np.nan if text == "-" else float(text)


@cache
def elements() -> dict[str, Element]:
    """All elements up to uranium, by symbol."""
    return {
        row[1]: Element(int(row[0]), row[1], float(row[2]), (_number(row[3]), _number(row[4])))
        for row in rows("elements.txt")
    }


def find_element(symbol: str) -> Element:
    """The element of a symbol.

    Raises:
        ValueError: there is none.
    """
    if symbol not in elements():
        raise ValueError(f"no chemical element {symbol!r}{suggestion(symbol, elements())}")
    return elements()[symbol]


def abundances(given: str | Mapping[str, float] = "asplund2009") -> tuple[tuple[str, float], ...]:
    """Numbers of atoms for each atom of hydrogen, by symbol; elements without an abundance are left out.

    Args:
        given: "asplund2009", "thevenin1989", or what differs from the first of them: log10(N/N_H) + 12 by symbol.

    Raises:
        ValueError: no such set or element, or an abundance that is not a finite number.
    """
    name = given if isinstance(given, str) else _SETS[0]
    if name not in _SETS:
        raise ValueError(f"no abundances {name!r} among {', '.join(_SETS)}{suggestion(name, _SETS)}")
    column = 5 + _SETS.index(name)
    logarithms = {row[1]: _number(row[column]) for row in rows("elements.txt")}
    for symbol, value in ({} if isinstance(given, str) else given).items():
        find_element(symbol)
        if not np.isfinite(value) or symbol == "H":
            raise ValueError(f"an abundance is log10(N/N_H) + 12 of an element but H; found {value} of {symbol}")
        logarithms[symbol] = float(value)
    return tuple((symbol, 10.0 ** (value - 12)) for symbol, value in logarithms.items() if np.isfinite(value))


@cache
def _polynomials() -> dict[tuple[str, int], np.ndarray]:
    """Of ln U in the logarithm of the temperature, scaled to -1 ... 1; they meet the table to .6 %, most to 1e-4."""
    temperature = np.linspace(_LOWEST, _HIGHEST, 10)
    x = _scaled(np.log(temperature))
    return {
        (row[0], int(row[1])): np.polynomial.polynomial.polyfit(x, np.log(np.array(row[2:], float)), _DEGREE)
        for row in rows("partition_functions.txt")
    }


def _scaled(logarithm: Any) -> Any:
    """-1 at the lowest temperature of the table, 1 at the highest."""
    return (logarithm - math.log(_LOWEST * _HIGHEST) / 2) / (math.log(_HIGHEST / _LOWEST) / 2)


def log_partition_functions(species: tuple[tuple[str, int], ...], temperature: Array) -> Array:
    """Natural logarithms of the partition functions of atoms and ions.

    From polynomials through the table of Barklem & Collet (2016, A&A 588, A96), from 1000 to 10 000 K; above, the
    logarithm goes on as a straight line in that of the temperature.

    Args:
        species: symbol and spectrum number of each, ("Fe", 1) for neutral iron.
        temperature: any shape [K].

    Returns:
        `(n_species, *shape)`.
    """
    table = np.stack([_polynomials().get(one, np.zeros(_DEGREE + 1)) for one in species])
    spread = lambda x: jnp.asarray(x, temperature.dtype).reshape(*x.shape, *(1,) * temperature.ndim)  # noqa: E731
    slope, table = spread(table @ np.arange(_DEGREE + 1)), spread(table)  # the slope at the highest temperature
    x = _scaled(jnp.log(temperature))
    inside = jnp.clip(x, -1, 1)
    value = table[:, -1]
    for k in reversed(range(_DEGREE)):
        value = value * inside + table[:, k]
    return value + slope * jnp.maximum(x - 1, 0)
