"""Maps of posteriors: medians, widths and the status of each pixel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from jaxinv.plot.mapping import NARROW, extent_of, image_panel, status_panel
from jaxinv.plot.style import PALETTE, Look, check_names, limits_of, look_of, new_figure
from jaxinv.results.posterior import PosteriorMap

_MAIN = ("field_strength", "inclination", "azimuth", "velocity")


def widths(maps: PosteriorMap, names: Sequence[str] | None = None) -> Figure:
    """Half the distance from the 16 % to the 84 % quantile of each parameter, and the status; a slit as curves.

    Args:
        maps: from `jaxinv.pipelines.sample_maps` or `jaxinv.io.read_posteriors`.
        names: the parameters; all by default.

    Raises:
        ValueError: a name is not in the maps.
    """
    names = _known(maps, names)
    if min(maps.status.shape) < NARROW:
        return _curves(maps, names)
    ny, nx = maps.status.shape
    columns = min(len(names) + 1, 4)
    rows = -(-(len(names) + 1) // columns)
    panel = 3.1 * min(max(ny / nx, 0.45), 1.8) + 0.55
    figure = new_figure(3.9 * columns, panel * rows)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, name in zip(axes, names, strict=False):
        _width(figure, axis, maps, name)
    status_panel(figure, axes[len(names)], maps)
    for axis in axes[len(names) + 1 :]:
        axis.remove()
    return figure


def posterior_quicklook(maps: PosteriorMap) -> Figure:
    """Medians and half-widths of the field vector and the velocity, the status, under a line that sums it up."""
    names = [name for name in _MAIN if name in maps.median] or list(maps.median)[:4]
    if min(maps.status.shape) < NARROW:
        figure = _curves(maps, names)
    else:
        ny, nx = maps.status.shape
        panel = 3.1 * min(max(ny / nx, 0.45), 1.8) + 0.55
        figure = new_figure(3.9 * (len(names) + 1), 2 * panel)
        axes = figure.subplots(2, len(names) + 1, squeeze=False)
        for k, name in enumerate(names):
            look = look_of(name, maps.units.get(name, ""))
            values = maps.median[name] * look.factor
            image_panel(figure, axes[0, k], values, look, limits_of(look, values), maps, "")
            _width(figure, axes[1, k], maps, name)
        status_panel(figure, axes[0, -1], maps)
        p_value = maps.scalars.get("p_value")
        if p_value is None:
            axes[1, -1].remove()
        else:
            look = Look("posterior predictive p-value", "cividis", limits=(0, 1))
            image_panel(figure, axes[1, -1], p_value, look, (0, 1), maps, "")
    count = maps.count()
    total = max(sum(count.values()), 1)
    origin = " ".join(str(maps.header[key]) for key in ("TELESCOP", "DATE-OBS") if maps.header.get(key))
    summary = f"{total} posteriors, {100 * count['converged'] / total:.1f} % converged"
    title = "   ".join(x for x in (origin, maps.provenance.get("lines", ""), summary) if x)
    figure.suptitle(title, fontsize=10, parse_math=False)
    return figure


def _known(maps: PosteriorMap, names: Sequence[str] | None) -> list[str]:
    check_names(names or (), maps.median)
    return list(maps.median if names is None else names)


def _width(figure: Figure, axis, maps: PosteriorMap, name: str) -> None:
    look = look_of(name, maps.units.get(name, ""))
    half = (maps.upper[name] - maps.lower[name]) / 2 * look.factor
    look = Look(f"± {look.label}", "magma")
    image_panel(figure, axis, half, look, limits_of(look, half), maps, "", log=True)


def _curves(maps: PosteriorMap, names: Sequence[str]) -> Figure:
    figure = new_figure(11.0, 1.6 * len(names) + 0.8)
    axes = np.atleast_1d(figure.subplots(len(names), 1, sharex=True))
    ny, nx = maps.status.shape
    extent, unit = extent_of(maps)
    first, last = extent[2:] if ny >= nx else extent[:2]
    n = max(ny, nx)
    position = first + (np.arange(n) + 0.5) * (last - first) / n
    pick = (slice(None), 0) if ny >= nx else (0, slice(None))
    for axis, name in zip(axes, names, strict=True):
        look = look_of(name, maps.units.get(name, ""))
        low, middle, high = (part[name][pick] * look.factor for part in (maps.lower, maps.median, maps.upper))
        axis.fill_between(position, low, high, color=PALETTE["band"], alpha=0.5, lw=0)
        axis.plot(position, middle, ".", ms=2.5, color=PALETTE["line"])
        finite = np.concatenate([x[np.isfinite(x)] for x in (low, high)])
        bottom, top = np.percentile(finite, (0.5, 99.5)) if finite.size else (0.0, 1.0)
        margin = 0.1 * (top - bottom) or 1.0
        axis.set_ylim(bottom - margin, top + margin)
        axis.set_ylabel(look.label.replace(" [", "\n["), fontsize=8)
        axis.tick_params(labelsize=8)
    axes[-1].set_xlabel(f"position along the slit [{unit}]", fontsize=9)
    axes[-1].set_xlim(first, last)
    return figure
