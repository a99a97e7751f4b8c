"""Reconstructed images: the image, its error, what is left of the data, and further maps."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from jaxinv.plot.bursts import picture
from jaxinv.plot.style import new_figure
from jaxinv.results.reconstruction import Reconstruction


def reconstruction(found: Reconstruction, number: int = 0) -> Figure:
    """One image beside its error, the residuals in units of the noise, and further maps of the field.

    Args:
        found: what a command made.
        number: of the image, from 0.
    """
    unit = f" [{found.unit}]" if found.unit else ""
    title = f"{found.quantity}{unit}" + (f", {number + 1} of {len(found.images)}" if len(found.images) > 1 else "")
    panels = [(found.images[number], title, "gray" if found.quantity == "image" else "magma")]
    if found.error is not None:
        panels.append((found.error[number], "standard error", "viridis"))
    residuals = found.residuals[number]
    named = [("component 1", residuals[0]), ("component 2", residuals[1])] if residuals.ndim == 3 else [("", residuals)]
    for name, values in named:
        more = f", {name}" if name else ""
        panels.append((values, f"residual / noise{more} (chi2 {found.chi2[number]:.3g})", "RdBu_r"))
    for name, values in found.more.items():
        values = values[number] if values.ndim == 3 else values
        signed = bool(np.nanmin(values) < 0)
        panels.append((values, name.replace("_", " ").replace("b mode", "B mode"), "RdBu_r" if signed else "cividis"))
    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    figure = new_figure(4.4 * columns, 3.8 * rows)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, (values, text, colours) in zip(axes, panels, strict=False):
        finite = values[np.isfinite(values)]
        limits = None
        if finite.size and colours != "RdBu_r":
            low, high = (float(x) for x in np.percentile(finite, (0.2, 99.8)))
            limits = (low, high) if high > low else None
        picture(figure, axis, values, text, 1.0, colours, limits=limits)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    return figure
