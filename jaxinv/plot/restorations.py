"""The report on a restored burst: before and after, power spectra, point spread functions, coefficients, residuals."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxinv.plot.bursts import picture
from jaxinv.plot.style import PALETTE, new_figure
from jaxinv.results.restoration import Restoration

_PSFS = 3
_WIDE = 5
"""From which value on residual power is drawn on a logarithmic scale."""


def restoration(restoration: Restoration) -> Figure:
    """The best frame and the object over the same range, their power, PSFs, coefficients and residuals by patch.

    Below, of a narrowband camera the same images, and of modulated frames Stokes images and the degree of polarization.
    """
    rows = 2 + (restoration.narrowband is not None) + (restoration.stokes is not None)
    figure = new_figure(16.0, 3.3 * rows)
    axes = figure.subplots(rows, 5)
    scale = restoration.pixel_scale
    _restored(figure, axes[0], restoration.best_frame, restoration.object, restoration.error, scale)
    _power(axes[0, 3], scale, restoration.best_frame, restoration.object)
    _coefficients(axes[0, 4], restoration)
    shown = restoration.psf[:_PSFS]
    for k in range(_PSFS):
        if k < len(shown):
            picture(figure, axes[1, k], shown[k], f"PSF of frame {k}", scale, "magma", log=True)
        else:
            axes[1, k].set_axis_off()
    _residual_power(axes[1, 3], restoration)
    _residuals(axes[1, 4], restoration)
    after, error, before = restoration.narrowband, restoration.narrowband_error, restoration.narrowband_frame
    if after is not None and error is not None and before is not None:
        _restored(figure, axes[2], before, after, error, scale, "narrowband: ")
        _power(axes[2, 3], scale, before, after)
        axes[2, 4].set_axis_off()
    if restoration.stokes is not None and restoration.stokes_error is not None:
        _polarization(figure, axes[-1], restoration, restoration.stokes, restoration.stokes_error)
    return figure


def _restored(
    figure: Figure, axes: Any, before: np.ndarray, after: np.ndarray, error: np.ndarray, scale: float, what: str = ""
) -> None:
    """Before, after, and the error."""
    finite = after[np.isfinite(after)]
    limits = (float(np.percentile(finite, 0.5)), float(np.percentile(finite, 99.5))) if finite.size else None
    percent = lambda image: 100 * np.nanstd(image) / np.nanmean(image)  # noqa: E731
    picture(figure, axes[0], before, f"{what}best frame, contrast {percent(before):.2f} %", scale, limits=limits)
    picture(figure, axes[1], after, f"restored, contrast {percent(after):.2f} %", scale, limits=limits)
    relative = 100 * np.sqrt(np.nanmean(error**2)) / np.nanstd(after)
    picture(figure, axes[2], error, f"its error, {relative:.1f} % of the contrast", scale, "viridis")


def _polarization(figure: Figure, axes: Any, restoration: Restoration, stokes: np.ndarray, error: np.ndarray) -> None:
    """Stokes images over the mean intensity, and of all four the degree of polarization."""
    level, scale, names = np.nanmean(stokes[0]), restoration.pixel_scale, restoration.stokes_names
    for k in range(1, len(stokes)):
        rms = 100 * np.sqrt(np.nanmean(error[k] ** 2)) / level
        picture(figure, axes[k - 1], stokes[k] / level, f"Stokes {names[k]}, error {rms:.2g} % of I", scale, "RdBu_r")
    if len(stokes) == 4:
        degree = 100 * np.sqrt(np.sum(stokes[1:] ** 2, axis=0)) / stokes[0]
        picture(figure, axes[3], degree, "degree of polarization [%]", scale, "viridis")
    for axis in axes[4 if len(stokes) == 4 else len(stokes) - 1 :]:
        axis.set_axis_off()


def _power(axis: Axes, scale: float, before: np.ndarray, after: np.ndarray) -> None:
    """Azimuthal means, by spatial frequency."""
    for image, label, colour in ((before, "best frame", PALETTE["data"]), (after, "restored", PALETTE["fit"])):
        ny, nx = image.shape
        values = np.where(np.isfinite(image), image, np.nanmean(image)) / np.nanmean(image) - 1
        window = np.outer(np.hanning(ny), np.hanning(nx))
        power = np.abs(np.fft.rfft2(window * values)) ** 2 / np.sum(window**2)
        frequency = np.hypot(np.fft.fftfreq(ny, scale)[:, None], np.fft.rfftfreq(nx, scale))
        edges = np.linspace(0, 0.5 / scale, 48)
        index = np.digitize(frequency.ravel(), edges)
        total = np.bincount(index, power.ravel(), len(edges) + 1)[1:-1]
        count = np.bincount(index, minlength=len(edges) + 1)[1:-1]
        middle = (edges[1:] + edges[:-1]) / 2
        axis.semilogy(middle[count > 0], total[count > 0] / count[count > 0], color=colour, label=label, lw=1.2)
    axis.set_xlabel("spatial frequency [1/arcsec]", fontsize=8)
    axis.set_title("power", fontsize=9)
    axis.legend(fontsize=7)
    axis.tick_params(labelsize=7)


def _coefficients(axis: Axes, restoration: Restoration) -> None:
    """Their rms over frames and patches, by mode."""
    rms = np.sqrt(np.nanmean(restoration.wavefront**2, axis=(0, 1)))
    axis.loglog(np.arange(1, len(rms) + 1), np.maximum(rms, 1e-6), ".", ms=3, color=PALETTE["line"])
    axis.set_xlabel("Karhunen-Loeve mode", fontsize=8)
    axis.set_ylim(bottom=max(float(rms.max(initial=1e-3)) * 1e-3, 1e-6))
    axis.set_title(f"rms of coefficients [rad]; r0 = {np.nanmedian(restoration.r0):.3g} m", fontsize=9)
    axis.tick_params(labelsize=7)


def _residual_power(axis: Axes, restoration: Restoration) -> None:
    """By spatial frequency: 1 where noise explains what is left."""
    power = restoration.residual_power
    frequency = (np.arange(power.shape[1]) + 0.5) / power.shape[1] / 2 / restoration.pixel_scale
    low, middle, high = np.nanpercentile(power, [16, 50, 84], axis=0)
    axis.fill_between(frequency, low, high, color=PALETTE["band"], alpha=0.5, lw=0)
    axis.plot(frequency, middle, color=PALETTE["fit"], lw=1.2)
    if np.nanmax(high) > _WIDE:
        axis.set_yscale("log")
    axis.axhline(1, color=PALETTE["data"], lw=1, ls="--")
    axis.set_xlabel("spatial frequency [1/arcsec]", fontsize=8)
    axis.set_title("residual power / noise, by patch", fontsize=9)
    axis.tick_params(labelsize=7)


def _residuals(axis: Axes, restoration: Restoration) -> None:
    """Of every frame in every patch."""
    values = restoration.chi2[np.isfinite(restoration.chi2)]
    axis.hist(values, bins=30, color=PALETTE["band"])
    axis.locator_params(axis="x", nbins=4)
    axis.axvline(1, color=PALETTE["data"], lw=1, ls="--")
    axis.set_xlabel("squared residual / noise", fontsize=8)
    axis.set_title("residuals by frame and patch", fontsize=9)
    axis.tick_params(labelsize=7)
