"""How a magnetic field splits a line: Lande factors and the pattern of Zeeman components, from J and g of both levels.

Landi Degl'Innocenti & Landolfi (2004), Polarization in Spectral Lines (LL04), ch. 3. Only NumPy: the command that lists
lines needs nothing else.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jaxinv.spectra.line import Line


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
