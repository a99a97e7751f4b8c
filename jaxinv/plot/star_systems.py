"""What a burst says of stars: the mean frame beside what was fitted, and what each frame said."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxinv.plot.bursts import picture
from jaxinv.plot.style import PALETTE, new_figure
from jaxinv.results.stars import StarSystem


def stars(stars: StarSystem) -> Figure:
    """Mean frame, what is left of it, a PSF; positions and magnitudes of each frame, and their mean; the misfits."""
    figure = new_figure(12.5, 7.0)
    axes = figure.subplots(2, 3)
    scale = stars.pixel_scale
    picture(figure, axes[0, 0], stars.mean_frame, "mean of the frames, on their peaks", scale, "magma", log=True)
    picture(figure, axes[0, 1], stars.mean_frame - stars.mean_model, "what is left of it", scale, "RdBu_r")
    best = f"PSF of the best of {stars.used.sum()} frames"
    picture(figure, axes[0, 2], stars.psf, best, scale, "magma", log=True)
    _positions(axes[1, 0], stars)
    _magnitudes(axes[1, 1], stars)
    axis = axes[1, 2]
    axis.plot(np.flatnonzero(stars.used), stars.chi2[stars.used], "o", ms=4, color=PALETTE["line"], label="used")
    axis.plot(np.flatnonzero(~stars.used), stars.chi2[~stars.used], "x", ms=5, color=PALETTE["fit"], label="left out")
    axis.axhline(1, color=PALETTE["data"], lw=1, ls="--")
    axis.set_xlabel("frame", fontsize=8)
    axis.set_title("squared residual / noise", fontsize=9)
    axis.legend(fontsize=7)
    axis.tick_params(labelsize=7)
    return figure


def _positions(axis: Axes, stars: StarSystem) -> None:
    """In thousandths of an arcsec from the mean."""
    for k in range(1, stars.n_stars):
        each = 1e3 * (stars.frame_values[stars.used, 3 * k - 3 : 3 * k - 1] - stars.offsets[k - 1])
        axis.plot(each[:, 0], each[:, 1], ".", ms=5, color=PALETTE["line"])
        errors = 1e3 * np.sqrt(np.diag(stars.covariance)[3 * k - 3 : 3 * k - 1])
        axis.errorbar(0, 0, xerr=errors[0], yerr=errors[1], fmt="o", color=PALETTE["fit"], capsize=3)
    axis.set_xlabel("x - mean [mas]", fontsize=8)
    axis.set_ylabel("y - mean [mas]", fontsize=8)
    title = "one star"
    if stars.n_stars > 1:
        apart, angle = stars.separation(), stars.position_angle()
        title = f"{apart.value:.5f} ± {apart.error:.5f} arcsec at {angle.value:.3f} ± {angle.error:.3f}°"
    axis.set_title(title, fontsize=9)
    axis.tick_params(labelsize=7)


def _magnitudes(axis: Axes, stars: StarSystem) -> None:
    """Of each frame, and their mean with its error."""
    for k in range(1, stars.n_stars):
        index = np.flatnonzero(stars.used)
        axis.plot(index, stars.frame_values[index, 3 * k - 1], ".", ms=5, color=PALETTE["line"])
        value, error = stars.magnitude_difference(k)
        axis.axhspan(value - error, value + error, color=PALETTE["fit"], alpha=0.5)
    axis.set_xlabel("frame", fontsize=8)
    title = "no other star"
    if stars.n_stars > 1:
        value, error = stars.magnitude_difference()
        title = f"magnitude difference {value:.4f} ± {error:.4f}"
    axis.set_title(title, fontsize=9)
    axis.tick_params(labelsize=7)
