"""What misfits fits reach on a map, by which each pixel is judged: whether to start again, whether it is poor."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable

import numpy as np

from jaxinv.optimize import LevenbergMarquardt
from jaxinv.results.solution import Solution, Status

_SAMPLE = 128
"""Pixels of a map from which it is seen what misfits fits reach there ..."""
_RUN = 16
"""... in runs of so many neighbours, which are read together."""


def one_start(solver: LevenbergMarquardt) -> LevenbergMarquardt:
    """The solver that is content with a fit that converges from its first start; the same compiled program."""
    return dataclasses.replace(solver, enough=np.inf)


def sampled(n_pixels: int) -> np.ndarray:
    """The pixels of a map from which it is seen what misfits are reached there."""
    runs = np.linspace(0, max(n_pixels - _RUN, 0), _SAMPLE // _RUN).astype(int)[:, None] + np.arange(_RUN)
    return np.unique(np.minimum(runs, n_pixels - 1))


def reached(n_pixels: int, size: int, fit_some: Callable[[np.ndarray], Solution]) -> np.ndarray:
    """The chi2 that converged fits from one start reach on a sample of a map, which is the same for any piece size.

    Args:
        n_pixels: of the map.
        size: pixels at a time, at most.
        fit_some: fits the pixels with these indices.
    """
    chosen = sampled(n_pixels)
    found = [fit_some(chosen[k : k + size]) for k in range(0, len(chosen), size)]
    chi2, status = (np.concatenate([getattr(part, name) for part in found]) for name in ("chi2", "status"))
    return chi2[(status <= Status.AT_BOUND) & np.isfinite(chi2) & (chi2 > 0)]


def _spread(chi2: np.ndarray) -> tuple[float, float]:
    """Median and robust standard deviation of log chi2."""
    logarithm = np.log(chi2)
    centre = np.median(logarithm)
    return float(centre), float(1.4826 * np.median(np.abs(logarithm - centre)))


def enough(chi2: np.ndarray) -> float:
    """The chi2 below which a pixel needs no further start: 3 robust standard deviations of log chi2 above the median.

    Where the model reaches the noise, that is 3 standard deviations of a misfit due to noise; where it does not, a
    pixel is judged by what the map's others reach.
    """
    if not chi2.size:
        return 0.0
    centre, spread = _spread(chi2)
    return float(np.exp(centre + 3 * spread))


def beside_neighbours(chi2: np.ndarray, n_samples: int) -> np.ndarray:
    """Which pixels of a map `(ny, nx)` have a misfit that neither noise nor their neighbours' explains.

    More than five robust standard deviations above the median of the up to eight neighbours, in the logarithm.

    Args:
        chi2: of each pixel; NaN where there is none.
        n_samples: that a pixel has.
    """
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore")  # pixels without a neighbour
        logarithm = np.log(np.where(chi2 > 0, chi2, np.nan))
        padded = np.pad(logarithm, 1, constant_values=np.nan)
        ny, nx = chi2.shape
        around = [padded[j : j + ny, i : i + nx] for j in range(3) for i in range(3) if (j, i) != (1, 1)]
        above = logarithm - np.nanmedian(np.stack(around), axis=0)
        spread = 1.4826 * np.nanmedian(np.abs(above))
        noise = 1 + 4 * np.sqrt(2 / n_samples)
        return (chi2 > noise) & (above > np.maximum(5 * spread, 0.1))


def misfit_limit(solution: Solution) -> float:
    """The chi2 above which a pixel is far above its map: 5 robust standard deviations of log chi2 above the median.

    Not less than 3 and not more than 10 times the median, whatever the spread is.
    """
    good = solution.chi2[(solution.status <= Status.AT_BOUND) & np.isfinite(solution.chi2) & (solution.chi2 > 0)]
    if not good.size:
        return float("inf")
    centre, spread = _spread(good)
    return float(np.exp(centre) * np.clip(np.exp(5 * spread), 3, 10))
