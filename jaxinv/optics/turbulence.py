"""Wavefronts behind a turbulent atmosphere: Kolmogorov's statistics, and von Karman's with an outer scale.

Everything follows from one spectrum of the phase (e.g. Roddier 1999, Adaptive Optics in Astronomy, eq. 2.17),

    W(f) = c r0^(-5/3) (f^2 + 1/L0^2)^(-11/6) [rad^2 m^2],   c = (24/5 Gamma(6/5))^(5/6) Gamma(11/6)^2 / (2 pi^(11/3)),

c = 0.02290, whose structure function for an infinite outer scale is 6.8839 (r/r0)^(5/3) exactly. Noll (1976) rounded c
and its integrals: his variances are 1 % higher than those here (<a_2^2> = 0.4489 (D/r0)^(5/3) here).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from jaxinv.optics.zernike import noll

_KOLMOGOROV = 2 * (24 / 5 * math.gamma(6 / 5)) ** (5 / 6)
"""6.8839, of the structure function."""
_SPECTRUM = (24 / 5 * math.gamma(6 / 5)) ** (5 / 6) * math.gamma(11 / 6) ** 2 / (2 * math.pi ** (11 / 3))
"""0.02290, of the spectrum."""


def power_spectrum(frequency: ArrayLike, r0: float, outer_scale: float = math.inf) -> np.ndarray:
    """Of the phase [rad^2 m^2] at spatial frequencies [1/m]; infinite at 0 where the outer scale is.

    Args:
        frequency: [1/m].
        r0: Fried's parameter [m].
        outer_scale: [m].
    """
    with np.errstate(divide="ignore"):
        return _SPECTRUM * r0 ** (-5 / 3) * (np.square(frequency) + outer_scale**-2.0) ** (-11 / 6)


def integrated_spectrum(frequency: ArrayLike, outer_scale: float = math.inf) -> np.ndarray:
    """The variance of the phase [rad^2] that lies above spatial frequencies [1/m], in all directions, for r0 = 1 m."""
    return 6 / 5 * math.pi * _SPECTRUM * (np.square(frequency) + outer_scale**-2.0) ** (-5 / 6)


def structure_function(distance: ArrayLike, r0: float, outer_scale: float = math.inf) -> np.ndarray:
    """Mean squared difference of the phase at two points [rad^2] by their distance [m].

    Args:
        distance: [m].
        r0: Fried's parameter [m].
        outer_scale: [m].
    """
    distance = np.abs(np.asarray(distance, float))
    if math.isinf(outer_scale):
        return _KOLMOGOROV * (distance / r0) ** (5 / 3)
    # The integral of the spectrum (e.g. Conan 2000): x^(5/6) K_5/6(x) falls from 2^(-1/6) Gamma(5/6).
    x = 2 * math.pi * distance / outer_scale
    with np.errstate(invalid="ignore"):
        falling = np.where(x > 0, x ** (5 / 6) * special.kv(5 / 6, np.maximum(x, 1e-300)), 0)
    whole = 2 ** (-1 / 6) * math.gamma(5 / 6)
    falling = np.where(x > 0, falling, whole)
    scale = 2 ** (1 / 6) * math.gamma(11 / 6) / math.pi ** (8 / 3) * (24 / 5 * math.gamma(6 / 5)) ** (5 / 6)
    return scale * (outer_scale / r0) ** (5 / 3) * (whole - falling)


def noll_covariance(count: int) -> np.ndarray:
    """Of the coefficients of Noll's polynomials j = 2 to `count` + 1 on a disc [rad^2], for Kolmogorov and D/r0 = 1.

    To be multiplied by (D/r0)^(5/3). Noll (1976) eq. 25, with the integral in closed form.
    """
    n, m = np.array([noll(j) for j in range(2, count + 2)]).T
    a, b = n[:, None], n[None, :]
    p = 14 / 3
    # The integral of t^-p J_(a+1)(t) J_(b+1)(t) (Weber & Schafheitlin; Watson 1922, 13.41).
    integral = math.gamma(p) / 2**p * np.exp(
        special.gammaln((a + b + 3 - p) / 2) - special.gammaln((a + b + 3 + p) / 2)
    ) * special.rgamma((a - b + p + 1) / 2) * special.rgamma((b - a + p + 1) / 2)  # fmt: skip
    size = _SPECTRUM * 2 ** (-5 / 3) * 2 / math.pi * (2 * math.pi) ** (11 / 3)
    sign = (-1.0) ** ((a + b - 2 * np.abs(m)[:, None]) // 2)
    return np.where(m[:, None] == m, size * sign * np.sqrt((a + 1) * (b + 1)) * integral, 0)
