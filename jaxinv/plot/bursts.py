"""Pictures of bursts: frames, the object behind them, and the point spread functions and wavefronts that made them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from jaxinv.observation import FrameBurst
from jaxinv.plot.style import new_figure

_SHOWN = 4
"""Frames."""
_SIGNED = "RdBu_r"
"""Colours of what is symmetric about 0."""


def images(
    panels: Mapping[str, np.ndarray], pixel_scale: float = 1.0, *, columns: int = 4, colours: str = "gray"
) -> Figure:
    """Images `(ny, nx)` side by side under their titles, each over its own range, x to the right and y upwards.

    Args:
        panels: title -> image.
        pixel_scale: [arcsec]; 1: axes are pixels.
        columns: at most.
        colours: name of a colour map.

    Raises:
        ValueError: nothing to show, or an array that is no image.
    """
    for title, values in panels.items():
        if np.ndim(values) != 2:
            raise ValueError(f"the panel {title!r} is no image (ny, nx): its shape is {np.shape(values)}")
    if not panels:
        raise ValueError("there is no image to show")
    n_columns = min(columns, len(panels))
    n_rows = -(-len(panels) // n_columns)
    figure = new_figure(2.7 * n_columns, 2.8 * n_rows)
    axes = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for axis, (title, values) in zip(axes, panels.items(), strict=False):
        picture(figure, axis, np.asarray(values), title, pixel_scale, colours)
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    return figure


def burst(burst: FrameBurst) -> Figure:
    """The object, the mean and the first frames; below them their PSFs (logarithmic) and phases, as far as known."""
    shown = min(_SHOWN, burst.n_frames)
    truth, scale = burst.truth, burst.pixel_scale
    rows = 1 + ("psf" in truth) + ("phase" in truth)
    figure = new_figure(2.7 * (shown + 1), 2.8 * rows)
    axes = figure.subplots(rows, shown + 1, squeeze=False)
    if "object" in truth:
        picture(figure, axes[0, 0], _middle(truth["object"], burst.frames.shape[1:]), "object", scale)
    else:
        picture(figure, axes[0, 0], burst.frames.mean(axis=0), f"mean of {burst.n_frames} frames", scale)
    for k in range(shown):
        picture(figure, axes[0, k + 1], burst.frames[k], f"frame {k}", scale)
    row = 1
    if "psf" in truth:
        psf = truth["psf"]
        psf = psf if psf.ndim == 3 else psf[:, psf.shape[1] // 2, psf.shape[2] // 2]
        panels = [psf.mean(axis=0), *psf[:shown]]
        for k, values in enumerate(panels):
            title = "mean of all PSFs" if k == 0 else f"PSF {k - 1}"
            picture(figure, axes[row, k], values, title, scale, "magma", log=True)
        row += 1
    if "phase" in truth:
        pupil = truth.get("pupil")
        hide = np.zeros(truth["phase"].shape[1:], bool) if pupil is None else pupil <= 0
        spread = np.std(truth["phase"][:, ~hide], axis=0)
        rms = np.full(hide.shape, np.nan)
        rms[~hide] = spread
        picture(figure, axes[row, 0], rms, "rms phase [rad]", 0.0, "viridis")
        for k in range(shown):
            values = np.where(hide, np.nan, truth["phase"][k])
            picture(figure, axes[row, k + 1], values, f"phase {k} [rad]", 0.0, _SIGNED)
    return figure


def picture(
    figure: Figure,
    axis: Axes,
    values: np.ndarray,
    title: str,
    pixel_scale: float,
    colours: str = "gray",
    *,
    log: bool = False,
    limits: tuple[float, float] | None = None,
) -> None:
    """One image, with the optical axis, pixel n // 2, at 0; a `pixel_scale` of 0 is a pupil, whose axes say nothing."""
    ny, nx = values.shape
    step = pixel_scale or 1.0
    left, bottom = -(nx // 2 + 0.5) * step, -(ny // 2 + 0.5) * step
    peak = np.nanmax(values) if np.isfinite(values).any() else 1.0
    norm = LogNorm(max(peak, 1e-30) * 1e-4, max(peak, 1e-30)) if log else None
    if limits is not None:
        norm = Normalize(*limits)
    if colours == _SIGNED and np.isfinite(values).any():
        largest = max(float(np.nanmax(np.abs(values))), 1e-30)
        norm = Normalize(-largest, largest)
    extent = (left, left + nx * step, bottom, bottom + ny * step)
    drawn = np.maximum(values, peak * 1e-6) if log else values
    image = axis.imshow(drawn, origin="lower", extent=extent, cmap=colours, norm=norm, interpolation="nearest")
    figure.colorbar(image, ax=axis, fraction=0.046, pad=0.02).ax.tick_params(labelsize=7)
    axis.set_title(title, fontsize=9)
    if pixel_scale:
        axis.set_xlabel("x [arcsec]" if pixel_scale != 1.0 else "x [pixel]", fontsize=8)
        axis.tick_params(labelsize=7)
    else:
        axis.set_xticks([])
        axis.set_yticks([])


def _middle(image: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    y, x = ((whole - part) // 2 for whole, part in zip(image.shape, shape, strict=True))
    return image[y : y + shape[0], x : x + shape[1]]
