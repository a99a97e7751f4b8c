"""Maps of any product: parameters, how far each may be off, the misfit, and the status of each pixel."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from jaxinv.plot.style import PALETTE, Look, check_names, limits_of, look_of, new_figure
from jaxinv.results.product import Product
from jaxinv.results.solution import Solution, SolutionMap

_MAIN = ("field_strength", "inclination", "azimuth", "velocity")
_WITH_DEPTH = ("temperature", *_MAIN)
_NO_DATA = "0.6"
_STATUS_COLOURS = ("#f0f0f0", "#56b4e9", "#e69f00", _NO_DATA, "#d55e00", "#cc79a7", "#0072b2", "#000000")
_SHOWN = -1.0
"""log tau at which stratified parameters are shown where nobody says (`product.at(...)`)."""
_NARROW = 4
"""A map with fewer columns is a slit: curves along it say more than a picture one pixel wide."""


def maps(product: Any, names: Sequence[str] | None = None, *, errors: bool = False) -> Figure:
    """A panel for each quantity, with a colour bar and its unit; a slit as curves with a band that holds 68 %.

    Args:
        product: from `ji.invert`, `ji.pipelines.sample_maps` or `ji.open`, or from `fit` for a map or a row of objects.
        names: parameters, `"chi2"`, `"status"` and what else the product has; parameters, misfit and status by default.
        errors: show how far each parameter may be off, one standard error or half the central 68 %.

    Raises:
        ValueError: a name is not in the product; names the nearest one.
    """
    product = _as_product(product)
    known = [*product.spread] if errors else [*product.estimate, *product.others]
    if names is None:
        names = known if errors else [*product.estimate, *(name for name in ("chi2", "status") if name in known)]
    check_names(names, known)
    if min(product.shape) < _NARROW:
        return _curves(product, names, errors)
    columns = min(len(names), 3 if len(names) in (3, 5, 6) else 4)
    figure, axes = _grid(product, -(-len(names) // columns), columns)
    for axis, name in zip(axes.ravel(), names, strict=False):
        _panel(figure, axis, product, name, errors)
    for axis in axes.ravel()[len(names) :]:
        axis.remove()
    return figure


def quicklook(product: Any) -> Figure:
    """The field vector and the velocity, how far they may be off, misfit and status, under a line that sums up."""
    product = _as_product(product)
    main = _WITH_DEPTH if "log_tau" in product.provenance else _MAIN
    names = [name for name in main if name in product.estimate] or list(product.estimate)[:4]
    judged = "p_value" if "p_value" in product.others else "chi2"
    if min(product.shape) < _NARROW:
        figure = _curves(product, [*names, judged, "status"], errors=False)
    else:
        figure, axes = _grid(product, 2, len(names) + 1)
        for k, name in enumerate(names):
            _panel(figure, axes[0, k], product, name, errors=False)
            if name in product.spread:
                _panel(figure, axes[1, k], product, name, errors=True)
            else:
                axes[1, k].remove()
        _panel(figure, axes[0, -1], product, judged, errors=False)
        _panel(figure, axes[1, -1], product, "status", errors=False)
    count = {name: n for name, n in product.count().items() if n}
    total = max(sum(count.values()), 1)
    most = sorted(count, key=count.__getitem__, reverse=True)[:3]
    parts = [
        " ".join(str(product.header[key]) for key in ("TELESCOP", "DATE-OBS") if product.header.get(key)),
        product.provenance.get("lines", ""),
        f"log tau {product.provenance['log_tau']}" if "log_tau" in product.provenance else "",
        f"{total} pixels: {', '.join(f'{100 * count[name] / total:.1f} % {_words(name)}' for name in most)}",
    ]
    chi2 = product.others.get("chi2")
    if chi2 is not None and np.isfinite(chi2).any():
        parts.append(f"median misfit {np.nanmedian(chi2):.2f}")
    figure.suptitle("   ".join(part for part in parts if part), fontsize=10, parse_math=False)
    return figure


def comparison(truth: Any, product: Any, names: Sequence[str] = _MAIN) -> Figure:
    """Truth, result and difference in units of how far the result may be off, a row for each parameter.

    Args:
        truth: maps `(ny, nx)` by name, in the product's units; or another product, whose spread counts, too.
        product: the result.
        names: the rows.

    Raises:
        ValueError: a name is not in both, or their maps have different shapes.
    """
    product = _as_product(product)
    check_names(names, product.spread)
    theirs: Mapping[str, Any] = truth.estimate if isinstance(truth, Product) else truth
    check_names(names, theirs)
    titles = ("one", "the other") if isinstance(truth, Product) else ("truth", "inversion")
    figure, grid = _grid(product, len(names), 3)
    for axes, name in zip(grid, names, strict=True):
        look = look_of(name, product.units.get(name, ""))
        expected = np.asarray(theirs[name]) * look.factor
        if expected.shape != product.shape:
            raise ValueError(f"{name} is of {expected.shape} pixels in one and of {product.shape} in the other")
        found = product.estimate[name] * look.factor
        limits = limits_of(look, expected)
        difference = found - expected
        if name == "azimuth":
            difference = (difference + 90) % 180 - 90
        error = product.spread[name] * look.factor
        if isinstance(truth, Product) and name in truth.spread:
            error = np.hypot(error, truth.spread[name] * look.factor)
        image_panel(figure, axes[0], expected, look, limits, product, titles[0])
        image_panel(figure, axes[1], found, look, limits, product, titles[1])
        sigma = Look("difference / standard error", "PuOr", limits=(-4, 4))
        image_panel(figure, axes[2], difference / error, sigma, (-4, 4), product, _words(name))
    return figure


def _grid(product: Product, rows: int, columns: int) -> tuple[Figure, np.ndarray]:
    ny, nx = product.shape
    panel = 3.1 * min(max(ny / nx, 0.45), 1.8) + 0.55
    figure = new_figure(3.9 * columns, panel * rows)
    return figure, figure.subplots(rows, columns, squeeze=False)


def _as_product(product: Any) -> Product:
    """What `fit` returned for a map or a row of objects as a map without world coordinates.

    Raises:
        ValueError: it is of other axes, or something else.
    """
    if isinstance(product, Product):
        return product if product.depth is None else product.at(_SHOWN)
    if isinstance(product, Solution):
        shape = np.shape(product.status)
        if len(shape) == 2:
            return SolutionMap(product)
        if len(shape) == 1:
            return SolutionMap(product.each(lambda x: x[:, None]))
        raise ValueError(f"a map has two axes; the solution is of a batch of shape {shape}")
    raise ValueError(
        f"expected what jaxinv.invert, jaxinv.open or jaxinv.fit returned; found a {type(product).__name__}"
    )


def _panel(figure: Figure, axis: Axes, product: Product, name: str, errors: bool) -> None:
    if name in product.codes:
        return _codes_panel(figure, axis, product, name)
    look = look_of(name, product.units.get(name, ""))
    if errors:
        values = product.spread[name] * look.factor
        look = Look(f"± {look.label}", "magma")
    else:
        values = {**product.others, **product.estimate}[name] * look.factor
    return image_panel(figure, axis, values, look, limits_of(look, values), product, "", log=errors or name == "chi2")


def image_panel(
    figure: Figure,
    axis: Axes,
    values: np.ndarray,
    look: Look,
    limits: tuple[float, float],
    product: Product,
    title: str,
    *,
    log: bool = False,
) -> None:
    """An image in world coordinates with its colour bar."""
    colours = matplotlib.colormaps[look.colours].with_extremes(bad=_NO_DATA)
    extent, unit = _extent_of(product)
    positive = log and limits[0] > 0 and limits[1] > 1.2 * limits[0]
    scale = LogNorm(*limits) if positive else Normalize(*limits)
    shown = np.ma.masked_invalid(values)
    image = axis.imshow(shown, origin="lower", extent=extent, cmap=colours, interpolation="nearest", norm=scale)
    bar = figure.colorbar(image, ax=axis, label=look.label, fraction=0.046, pad=0.02)
    if positive:
        bar.ax.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
        for plain in (bar.ax.yaxis.set_major_formatter, bar.ax.yaxis.set_minor_formatter):
            plain(lambda value, _: f"{value:g}")
    if look.limits == (0, 180):
        bar.set_ticks([0, 45, 90, 135, 180])
    _finish(axis, title, unit)


def _codes_panel(figure: Figure, axis: Axes, product: Product, name: str) -> None:
    """An image of codes, with those that occur beside it."""
    values = product.others[name]
    extent, unit = _extent_of(product)
    present = [code for code in product.codes[name] if np.any(values == code)]
    colours = ListedColormap([_STATUS_COLOURS[code] for code in present] or [_NO_DATA])
    norm = BoundaryNorm(np.arange(max(len(present), 1) + 1) - 0.5, max(len(present), 1))
    shown = np.searchsorted(np.array(present, int), values)
    image = axis.imshow(shown, origin="lower", extent=extent, cmap=colours, norm=norm, interpolation="nearest")
    bar = figure.colorbar(
        image,
        ax=axis,
        fraction=0.046,
        pad=0.02,
        aspect=4 * max(len(present), 1),
        shrink=0.25 + 0.1 * len(present),
        anchor=(0, 1),
    )
    bar.set_ticks(range(len(present)), labels=[_words(code.name) for code in present], fontsize=8)
    bar.ax.tick_params(length=0)
    _finish(axis, name, unit)


def _words(name: str) -> str:
    return name.lower().replace("_", " ")


def _finish(axis: Axes, title: str, unit: str) -> None:
    axis.set_title(title, fontsize=9)
    axis.set_xlabel(f"x [{unit}]", fontsize=8)
    axis.set_ylabel(f"y [{unit}]", fontsize=8)
    axis.tick_params(labelsize=8)


def _extent_of(product: Product) -> tuple[tuple[float, float, float, float], str]:
    """Edges of the map and their unit: arcsec where the header says so, pixels otherwise."""
    edges, unit = [], "pixel"
    arcsec = {"arcsec": 1.0, "deg": 3600.0}
    header, (ny, nx) = product.header, product.shape
    for axis, n in ((1, nx), (2, ny)):
        step, factor = header.get(f"CDELT{axis}"), arcsec.get(str(header.get(f"CUNIT{axis}", "")).strip())
        if step is None or factor is None:
            return (-0.5, nx - 0.5, -0.5, ny - 0.5), "pixel"
        reference, value = header.get(f"CRPIX{axis}", 1.0), header.get(f"CRVAL{axis}", 0.0)
        edges += [factor * (value + (pixel - reference) * step) for pixel in (0.5, n + 0.5)]
        unit = "arcsec"
    return (edges[0], edges[1], edges[2], edges[3]), unit


def _curves(product: Product, names: Sequence[str], errors: bool) -> Figure:
    figure = new_figure(11.0, 1.5 * len(names) + 0.8)
    axes = np.atleast_1d(figure.subplots(len(names), 1, sharex=True))
    ny, nx = product.shape
    along_y = ny >= nx
    extent, unit = _extent_of(product)
    first, last = extent[2:] if along_y else extent[:2]
    n = max(ny, nx)
    position = first + (np.arange(n) + 0.5) * (last - first) / n
    pick = (slice(None), 0) if along_y else (0, slice(None))
    for axis, name in zip(axes, names, strict=True):
        look = look_of(name, product.units.get(name, ""))
        if name in product.codes:
            codes: list[enum.IntEnum] = list(product.codes[name])
            axis.plot(position, product.others[name][pick], ".", ms=2, color=PALETTE["data"])
            axis.set_yticks([int(code) for code in codes], [_words(code.name) for code in codes], fontsize=6)
            axis.set_ylim(-0.5, max(codes) + 0.5)
            continue
        values = product.spread[name] if errors else {**product.others, **product.estimate}[name]
        curve = np.asarray(values)[pick] * look.factor
        axis.plot(position, curve, ".", ms=2.5, color=PALETTE["line"])
        finite = curve[np.isfinite(curve)]
        low, high = np.percentile(finite, (0.5, 99.5)) if finite.size else (0, 1)
        within = None if errors or name in product.others else product.interval(name)
        if within is not None:
            edges = [edge[pick] * look.factor for edge in within]
            axis.fill_between(position, *edges, color=PALETTE["band"], alpha=0.5, lw=0)
        margin = 0.1 * (high - low) or 1.0
        axis.set_ylim(low - margin, high + margin)
        axis.set_ylabel(("± " if errors else "") + look.label.replace(" [", "\n["), fontsize=8)
        axis.tick_params(labelsize=8)
    axes[-1].set_xlabel(f"position along the slit [{unit}]", fontsize=9)
    axes[-1].set_xlim(first, last)
    return figure
