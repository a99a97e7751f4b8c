"""Maps of parameters, of their errors, of the misfit and of the status of each pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from jaxinv.plot.style import PALETTE, Look, check_names, limits_of, look_of, new_figure
from jaxinv.results.posterior import PosteriorMap, PosteriorStatus
from jaxinv.results.solution import Solution, SolutionMap, Status

_MAIN = ("field_strength", "inclination", "azimuth", "velocity")
_NO_DATA = "0.6"
_STATUS_COLOURS = ("#f0f0f0", "#56b4e9", "#e69f00", _NO_DATA, "#d55e00", "#cc79a7", "#0072b2", "#000000")
NARROW = 4
"""A map with fewer columns is a slit: curves along it say more than a picture one pixel wide."""


def maps(solution: Any, names: Sequence[str] | None = None, *, errors: bool = False) -> Figure:
    """A panel for each quantity, with a colour bar and its unit; a slit as curves with a band of one standard error.

    Args:
        solution: from `invert` or `jaxinv.io.read_maps`, or from `fit` for a map or a row of objects.
        names: parameters, and `"chi2"`, `"status"`; every one of them by default.
        errors: show standard errors in place of the values.

    Raises:
        ValueError: a name is not in the solution; names the nearest one.
    """
    solution = _as_map(solution)
    known = [*solution.parameters, "chi2", "status"]
    if names is None:
        names = list(solution.standard_error) if errors else known
    check_names(names, solution.standard_error if errors else known)
    ny, nx = solution.chi2.shape
    if min(ny, nx) < NARROW:
        return _curves(solution, names, errors)
    columns = min(len(names), 3 if len(names) in (3, 5, 6) else 4)
    rows = -(-len(names) // columns)
    panel = 3.1 * min(max(ny / nx, 0.45), 1.8)
    figure = new_figure(3.9 * columns, (panel + 0.55) * rows)
    axes = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).ravel()
    for axis, name in zip(axes, names, strict=False):
        _panel(figure, axis, solution, name, errors)
    for axis in axes[len(names) :]:
        axis.remove()
    return figure


def quicklook(solution: Any) -> Figure:
    """The field vector, the velocity, the misfit and the status, under a line that sums up the inversion."""
    solution = _as_map(solution)
    names = [name for name in _MAIN if name in solution.parameters]
    figure = maps(solution, [*names, "chi2", "status"])
    count = solution.solution.count()
    total = max(sum(count.values()), 1)
    shown = {"converged": "converged", "at_bound": "at a bound", "poor_fit": "far above the map's misfit"}
    shares = [f"{100 * count[name] / total:.1f} % {words}" for name, words in shown.items() if count[name]]
    usable = count["converged"] + count["at_bound"]
    origin = " ".join(str(solution.header[key]) for key in ("TELESCOP", "DATE-OBS") if solution.header.get(key))
    parts = [
        origin,
        solution.provenance.get("lines", ""),
        f"{total} pixels: {', '.join(shares) or 'none converged'}",
        f"median misfit {np.nanmedian(solution.chi2) if usable else np.nan:.2f}",
    ]
    figure.suptitle("   ".join(part for part in parts if part), fontsize=10, parse_math=False)
    return figure


def comparison(truth: Mapping[str, np.ndarray], solution: Any, names: Sequence[str] = _MAIN) -> Figure:
    """Truth, inversion and difference in units of the standard error, a row for each parameter.

    Args:
        truth: maps `(ny, nx)` by name, in the solution's units.
        solution: the inversion.
        names: the rows.
    """
    solution = _as_map(solution)
    check_names(names, solution.standard_error)
    ny, nx = solution.chi2.shape
    figure = new_figure(12.0, 3.2 * min(max(ny / nx, 0.5), 1.5) * len(names))
    grid = figure.subplots(len(names), 3, squeeze=False)
    for axes, name in zip(grid, names, strict=True):
        look = look_of(name, solution.units.get(name, ""))
        expected = np.asarray(truth[name]) * look.factor
        found = solution.parameters[name] * look.factor
        limits = limits_of(look, expected)
        difference = found - expected
        if name == "azimuth":
            difference = (difference + 90) % 180 - 90
        difference = difference / (solution.standard_error[name] * look.factor)
        image_panel(figure, axes[0], expected, look, limits, solution, "truth")
        image_panel(figure, axes[1], found, look, limits, solution, "inversion")
        sigma = Look("difference / standard error", "PuOr", limits=(-4, 4))
        image_panel(figure, axes[2], difference, sigma, (-4, 4), solution, name.replace("_", " "))
    return figure


def _as_map(solution: Any) -> SolutionMap:
    """What `fit` returned for a map or a row of objects as a map without world coordinates.

    Raises:
        ValueError: it is of other axes, or something else.
    """
    if isinstance(solution, SolutionMap):
        return solution
    if isinstance(solution, Solution):
        shape = np.shape(solution.status)
        if len(shape) == 2:
            return SolutionMap(solution)
        if len(shape) == 1:
            return SolutionMap(solution.each(lambda x: x[:, None]))
        raise ValueError(f"a map has two axes; the solution is of a batch of shape {shape}")
    hint = ": jaxinv.plot.widths and posterior_quicklook draw it" if isinstance(solution, PosteriorMap) else ""
    raise ValueError(f"expected what jaxinv.invert or jaxinv.fit returned; found a {type(solution).__name__}{hint}")


def _panel(figure: Figure, axis: Axes, solution: SolutionMap, name: str, errors: bool) -> None:
    if name == "status":
        return status_panel(figure, axis, solution)
    look = look_of(name, solution.units.get(name, ""))
    values = solution.chi2 if name == "chi2" else solution.parameters[name]
    if errors:
        values = solution.standard_error[name]
        look = Look(f"error of {look.label}", "magma", look.factor)
    values = values * look.factor
    return image_panel(figure, axis, values, look, limits_of(look, values), solution, "", log=errors or name == "chi2")


def image_panel(
    figure: Figure,
    axis: Axes,
    values: np.ndarray,
    look: Look,
    limits: tuple[float, float],
    solution: SolutionMap | PosteriorMap,
    title: str,
    *,
    log: bool = False,
) -> None:
    """An image in world coordinates with its colour bar."""
    colours = matplotlib.colormaps[look.colours].with_extremes(bad=_NO_DATA)
    extent, unit = extent_of(solution)
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


def status_panel(figure: Figure, axis: Axes, solution: SolutionMap | PosteriorMap) -> None:
    """An image of the status codes, with those that occur beside it."""
    codes = PosteriorStatus if isinstance(solution, PosteriorMap) else Status
    extent, unit = extent_of(solution)
    present = [status for status in codes if np.any(solution.status == status)]
    colours = ListedColormap([_STATUS_COLOURS[status] for status in present])
    norm = BoundaryNorm(np.arange(len(present) + 1) - 0.5, max(len(present), 1))
    shown = np.searchsorted(np.array(present, int), solution.status)
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
    bar.set_ticks(range(len(present)), labels=[_words(status) for status in present], fontsize=8)
    bar.ax.tick_params(length=0)
    _finish(axis, "status", unit)


def _words(status: Status | PosteriorStatus) -> str:
    return status.name.lower().replace("_", " ")


def _finish(axis: Axes, title: str, unit: str) -> None:
    axis.set_title(title, fontsize=9)
    axis.set_xlabel(f"x [{unit}]", fontsize=8)
    axis.set_ylabel(f"y [{unit}]", fontsize=8)
    axis.tick_params(labelsize=8)


def extent_of(solution: SolutionMap | PosteriorMap) -> tuple[tuple[float, float, float, float], str]:
    """Edges of the map and their unit: arcsec where the header says so, pixels otherwise."""
    edges, unit = [], "pixel"
    arcsec = {"arcsec": 1.0, "deg": 3600.0}
    header = solution.header
    for axis, n in ((1, solution.status.shape[1]), (2, solution.status.shape[0])):
        step, factor = header.get(f"CDELT{axis}"), arcsec.get(str(header.get(f"CUNIT{axis}", "")).strip())
        if step is None or factor is None:
            return (-0.5, solution.status.shape[1] - 0.5, -0.5, solution.status.shape[0] - 0.5), "pixel"
        reference, value = header.get(f"CRPIX{axis}", 1.0), header.get(f"CRVAL{axis}", 0.0)
        edges += [factor * (value + (pixel - reference) * step) for pixel in (0.5, n + 0.5)]
        unit = "arcsec"
    return (edges[0], edges[1], edges[2], edges[3]), unit


def _curves(solution: SolutionMap, names: Sequence[str], errors: bool) -> Figure:
    figure = new_figure(11.0, 1.5 * len(names) + 0.8)
    axes = np.atleast_1d(figure.subplots(len(names), 1, sharex=True))
    ny, nx = solution.chi2.shape
    along_y = ny >= nx
    extent, unit = extent_of(solution)
    first, last = extent[2:] if along_y else extent[:2]
    n = max(ny, nx)
    position = first + (np.arange(n) + 0.5) * (last - first) / n
    pick = (slice(None), 0) if along_y else (0, slice(None))
    for axis, name in zip(axes, names, strict=True):
        look = look_of(name, solution.units.get(name, ""))
        if name == "status":
            axis.plot(position, solution.status[pick], ".", ms=2, color=PALETTE["data"])
            axis.set_yticks(list(Status), [_words(status) for status in Status], fontsize=6)
            axis.set_ylim(-0.5, max(Status) + 0.5)
            continue
        error = solution.standard_error.get(name)
        values = solution.chi2 if name == "chi2" else error if errors else solution.parameters[name]
        curve = np.asarray(values)[pick] * look.factor
        axis.plot(position, curve, ".", ms=2.5, color=PALETTE["line"])
        finite = curve[np.isfinite(curve)]
        low, high = np.percentile(finite, (0.5, 99.5)) if finite.size else (0, 1)
        if error is not None and not errors and name != "chi2":
            width = error[pick] * look.factor
            axis.fill_between(position, curve - width, curve + width, color=PALETTE["band"], alpha=0.5, lw=0)
        margin = 0.1 * (high - low) or 1.0
        axis.set_ylim(low - margin, high + margin)
        axis.set_ylabel(("error of " if errors else "") + look.label.replace(" [", "\n["), fontsize=8)
        axis.tick_params(labelsize=8)
    axes[-1].set_xlabel(f"position along the slit [{unit}]", fontsize=9)
    axes[-1].set_xlim(first, last)
    return figure
