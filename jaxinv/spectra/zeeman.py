"""How a magnetic field splits a line: Lande factors and the pattern of Zeeman components, from J and g of both levels.

Landi Degl'Innocenti & Landolfi (2004), Polarization in Spectral Lines (LL04), ch. 3. Only NumPy: the command that lists
lines needs nothing else.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from jaxinv.spectra.lines import Line

LORENTZ = 4.668644772e-13
"""e / (4 pi m_e c) in 1/(angstrom G), CODATA 2018: a shift of 1 is `LORENTZ * wavelength**2 * field_strength`."""

_ORBITAL = "SPDFGHIKLMNO"  # L = 0, 1, 2, ...; J is not used


class ZeemanPattern(NamedTuple):
    """The Zeeman components of one line as flat arrays, `(n_components,)`.

    Attributes:
        group: 0 for pi (M_u = M_l), 1 for the blue sigma (M_u = M_l + 1), 2 for the red sigma group (M_u = M_l - 1).
        shift: -(g_u M_u - g_l M_l), so that a component lies at
            `wavelength + shift * LORENTZ * wavelength**2 * field_strength`; negative is blue.
        strength: sums to 1 over each group; components of zero strength are left out.
    """

    group: np.ndarray
    shift: np.ndarray
    strength: np.ndarray


def lande_factor(term: str, j: float) -> float:
    """Lande factor of a level in LS coupling, 3/2 + [S(S+1) - L(L+1)] / [2J(J+1)] (LL04 ch. 3); 0 where J = 0.

    Args:
        term: multiplicity and orbital letter, such as "5P"; a parity mark ("5P*", "5Po") is ignored.
        j: total angular momentum.

    Raises:
        ValueError: `term` is not an LS term, or it has no level with this J.
    """
    spin, orbital = parse_term(term)
    lowest, highest = abs(orbital - spin), orbital + spin
    if not lowest <= j <= highest or (j - lowest) % 1 != 0:
        allowed = ", ".join(f"{value:g}" for value in np.arange(lowest, highest + 1))
        raise ValueError(f"the term {term!r} has levels J = {allowed}; found J = {j:g}: correct the term or J")
    if j == 0:
        return 0.0
    return 1.5 + (spin * (spin + 1) - orbital * (orbital + 1)) / (2 * j * (j + 1))


def parse_term(term: str) -> tuple[float, int]:
    """Spin S and orbital angular momentum L of an LS term: `"5P"` is `(2.0, 1)`.

    Raises:
        ValueError: `term` is not a multiplicity followed by one of the letters S, P, D, F, G, H, I, K, ...
    """
    match = re.fullmatch(rf"([1-9]\d?)([{_ORBITAL}{_ORBITAL.lower()}])[o*°]?", term.strip())
    if match is None:
        raise ValueError(
            f"cannot read the LS term {term!r}: expected 2S+1 and a letter ({', '.join(_ORBITAL)}), for example '5P'"
        )
    return (int(match[1]) - 1) / 2, _ORBITAL.index(match[2].upper())


def effective_lande(line: Line) -> float:
    """Effective Lande factor of a line: the centre of gravity of the red sigma components (LL04 ch. 3).

    (g_u + g_l)/2 + (g_u - g_l) [J_u(J_u+1) - J_l(J_l+1)] / 4.
    """
    difference = line.j_upper * (line.j_upper + 1) - line.j_lower * (line.j_lower + 1)
    return (line.g_upper + line.g_lower) / 2 + (line.g_upper - line.g_lower) * difference / 4


def zeeman_pattern(line: Line, effective_triplet: bool = False) -> ZeemanPattern:
    """All Zeeman components of a line, or one for each group with the effective Lande factor.

    The effective triplet has the same centres of gravity as the full pattern and none of its widths and asymmetries.
    """
    if effective_triplet:
        g = effective_lande(line)
        return ZeemanPattern(np.arange(3), np.array([0.0, -g, g]), np.ones(3))
    m_lower = np.arange(-line.j_lower, line.j_lower + 1)
    groups, shifts, strengths = [], [], []
    for group, delta_m in enumerate((0, 1, -1)):
        strength = _relative_strength(round(line.j_upper - line.j_lower), delta_m, line.j_lower, m_lower)
        shift = line.g_lower * m_lower - line.g_upper * (m_lower + delta_m)
        present = strength > 0
        groups.append(np.full(np.count_nonzero(present), group))
        shifts.append(shift[present])
        strengths.append(strength[present] / np.sum(strength))
    return ZeemanPattern(np.concatenate(groups), np.concatenate(shifts), np.concatenate(strengths))


def _relative_strength(delta_j: int, delta_m: int, j: float, m: np.ndarray) -> np.ndarray:
    """Squared 3j symbol of `(j, m) -> (j + delta_j, m + delta_m)` up to a factor common to the group (LL04 table 3.1).

    Zero where the upper level has no such m.
    """
    if delta_m == -1:
        return _relative_strength(delta_j, 1, j, -m)
    if delta_j == 1:
        return (j + 1) ** 2 - m**2 if delta_m == 0 else (j + m + 1) * (j + m + 2)
    if delta_j == 0:
        return m**2 if delta_m == 0 else (j - m) * (j + m + 1)
    return j**2 - m**2 if delta_m == 0 else (j - m) * (j - m - 1)
