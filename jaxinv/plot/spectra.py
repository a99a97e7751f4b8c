"""Observed and fitted Stokes profiles with their residuals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from jaxinv.plot.style import PALETTE, new_figure

_STOKES = ("I", "Q", "U", "V")


def profiles(
    observed: np.ndarray,
    fitted: np.ndarray | None,
    wavelength: np.ndarray,
    *,
    sigma: np.ndarray | None = None,
    titles: Sequence[str] | None = None,
) -> Figure:
    """A row for each spectrum, a column for each Stokes parameter, and residuals underneath.

    Args:
        observed: `(n, 4, n_wavelength)` or `(4, n_wavelength)`; NaN where a sample is missing.
        fitted: the same shape, or `None` to show spectra alone.
        wavelength: `(n_wavelength,)` in angstrom.
        sigma: `(4,)` noise: residuals are shown in units of it, in percent where it is `None`.
        titles: one for each spectrum.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    observed = np.atleast_3d(observed) if np.ndim(observed) == 3 else np.asarray(observed)[None]
    fitted = None if fitted is None else np.asarray(fitted).reshape(-1, *np.shape(fitted)[-2:])
    wavelength = np.asarray(wavelength)
    if observed.shape[1:] != (4, len(wavelength)) or (fitted is not None and fitted.shape != observed.shape):
        raise ValueError(
            f"profiles need (n, 4, {len(wavelength)}) for {len(wavelength)} wavelengths; found {observed.shape}"
            + ("" if fitted is None else f" observed and {fitted.shape} fitted")
        )
    n = len(observed)
    heights = [3, 1] * n if fitted is not None else [3] * n
    figure = new_figure(13.0, (2.6 if fitted is not None else 2.0) * n + 0.4)
    axes = figure.subplots(len(heights), 4, sharex=True, height_ratios=heights, squeeze=False)
    step = 2 if fitted is not None else 1
    for k in range(n):
        for stokes in range(4):
            axis = axes[step * k, stokes]
            axis.plot(wavelength, 100 * observed[k, stokes], ".", ms=3, color=PALETTE["data"], label="observed")
            if fitted is not None:
                axis.plot(wavelength, 100 * fitted[k, stokes], color=PALETTE["fit"], lw=1.2, label="fit")
                _residual(
                    axes[step * k + 1, stokes], wavelength, observed[k, stokes] - fitted[k, stokes], sigma, stokes
                )
            axis.set_title(f"Stokes {_STOKES[stokes]} [% of the continuum]" if k == 0 else "", fontsize=9)
            axis.tick_params(labelsize=8)
            if stokes and np.isfinite(observed[k, stokes]).any():
                shown = observed[k, stokes] if fitted is None else np.stack([observed[k, stokes], fitted[k, stokes]])
                largest = 115 * np.nanmax(np.abs(shown)) or 1.0
                axis.set_ylim(-largest, largest)
        if titles is not None:
            axes[step * k, 0].set_ylabel(titles[k], fontsize=9)
    axes[0, 0].legend(fontsize=8, frameon=False)
    for axis in axes[-1]:
        axis.set_xlabel("wavelength [Å]", fontsize=9)
        axis.ticklabel_format(useOffset=False)
        axis.locator_params(axis="x", nbins=4)
    return figure


def _residual(axis, wavelength: np.ndarray, residual: np.ndarray, sigma: np.ndarray | None, stokes: int) -> None:
    scaled = 100 * residual if sigma is None else residual / np.broadcast_to(sigma, (4,))[stokes]
    axis.axhline(0, color="0.7", lw=0.8)
    axis.plot(wavelength, scaled, color=PALETTE["line"], lw=0.8)
    finite = scaled[np.isfinite(scaled)]
    limit = max(float(np.max(np.abs(finite))) if finite.size else 0.0, 3.0 if sigma is not None else 0.1)
    axis.set_ylim(-1.1 * limit, 1.1 * limit)
    axis.tick_params(labelsize=7)
    if stokes == 0:
        axis.set_ylabel("residual" + ("\n[%]" if sigma is None else "\n/ sigma"), fontsize=7)
