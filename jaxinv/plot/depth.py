"""Atmospheres with depth: quantities along the optical depth with their errors, response functions as pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from jaxinv.plot.style import PALETTE, check_names, look_of, new_figure
from jaxinv.results.product import Product

_STOKES = ("I", "Q", "U", "V")
_COLOURS = (PALETTE["line"], PALETTE["fit"], "#009e73", "#cc79a7", "#e69f00", PALETTE["band"])
_DEPTH = "log optical depth at 5000 Å"


def stratifications(
    product: Product,
    pixels: Sequence[tuple[int, int]],
    names: Sequence[str] | None = None,
    *,
    truth: Mapping[str, Any] | None = None,
) -> Figure:
    """A panel for each quantity along the optical depth, a curve for each pixel with a band.

    The band is one standard error to either side, of a posterior its central 68 %. The legend says which pixels have
    not converged: their bands may mean nothing.

    Args:
        product: of `jaxinv invert --model lte` or `jaxinv sample --model lte`, or from `ji.open`.
        pixels: `(y, x)` of each curve, six at most.
        names: parameters; by default the inferred ones that have a depth.
        truth: maps `(ny, nx, n_depth)` by name, drawn as dashes.

    Raises:
        ValueError: the product has no depth, a name or a pixel is not in it, or there are too many pixels.
    """
    if not isinstance(product, Product) or product.depth is None:
        raise ValueError(
            "stratifications need a product with depth: what `jaxinv invert` or `sample` wrote with --model lte"
        )
    deep = [name for name, values in product.estimate.items() if product.is_stratified(values)]
    names = [name for name in deep if product.interval(name) is not None] if names is None else list(names)
    check_names(names, deep)
    if not 1 <= len(pixels) <= len(_COLOURS):
        raise ValueError(f"from 1 to {len(_COLOURS)} pixels can be told apart; found {len(pixels)}")
    ny, nx = product.shape
    for y, x in pixels:
        if not (0 <= y < ny and 0 <= x < nx):
            raise ValueError(f"the pixel (y, x) = ({y}, {x}) is not in the map of {ny} x {nx}")
    figure = new_figure(4.2 * len(names) + 0.6, 3.6)
    axes = figure.subplots(1, len(names), squeeze=False)[0]
    for axis, name in zip(axes, names, strict=True):
        look = look_of(name, product.units.get(name, ""))
        for (y, x), colour in zip(pixels, _COLOURS, strict=False):
            values = product.estimate[name][y, x] * look.factor
            axis.plot(product.depth, values, color=colour, lw=1.4, label=f"y {y}, x {x}{_ended(product, y, x)}")
            band = product.interval(name)
            if band is not None:
                low, high = (end[y, x] * look.factor for end in band)
                axis.fill_between(product.depth, low, high, color=colour, alpha=0.25, lw=0)
            if truth is not None and name in truth:
                axis.plot(product.depth, np.asarray(truth[name])[y, x] * look.factor, "--", color=colour, lw=1)
        axis.set_ylabel(look.label)
        axis.set_xlabel(_DEPTH)
        axis.set_xlim(np.max(product.depth), np.min(product.depth))
    axes[0].legend(fontsize=8, frameon=False)
    return figure


def _ended(product: Product, y: int, x: int) -> str:
    """How a pixel ended, unless it converged: its band may mean nothing."""
    status = product.codes["status"](int(product.others["status"][y, x])).name
    return "" if status == "CONVERGED" else f" ({status.lower().replace('_', ' ')})"


def responses(
    response: Mapping[str, Any], wavelength: np.ndarray, log_tau: np.ndarray, names: Sequence[str] | None = None
) -> Figure:
    """Response functions as pictures: a row for each quantity, a column for each Stokes parameter.

    Args:
        response: `(4, n_wavelength, n_depth)` by name: what `LTE.value_and_jacobian` gives beside the profiles.
        wavelength: `(n_wavelength,)` [angstrom].
        log_tau: `(n_depth,)`.
        names: the rows; by default all that have this shape.

    Raises:
        ValueError: a name is not there, or the shapes do not fit each other.
    """
    wavelength, log_tau = np.asarray(wavelength), np.asarray(log_tau)
    shape = (4, len(wavelength), len(log_tau))
    fit = [name for name, values in response.items() if np.shape(values) == shape]
    names = fit if names is None else list(names)
    check_names(names, response)
    if not names or any(name not in fit for name in names):
        raise ValueError(f"response functions have the shape {shape}: (4, n_wavelength, n_depth)")
    figure = new_figure(13.0, 2.3 * len(names) + 0.5)
    axes = figure.subplots(len(names), 4, sharex=True, sharey=True, squeeze=False)
    order = np.argsort(wavelength)
    for row, name in zip(axes, names, strict=True):
        for axis, values, stokes in zip(row, np.asarray(response[name]), _STOKES, strict=True):
            largest = float(np.max(np.abs(values))) or 1.0
            shown = axis.pcolormesh(
                wavelength[order], log_tau, values[order].T, cmap="RdBu_r", vmin=-largest, vmax=largest,
                shading="nearest", rasterized=True,
            )  # fmt: skip
            figure.colorbar(shown, ax=axis, pad=0.01).ax.tick_params(labelsize=7)
            axis.tick_params(labelsize=8)
            if name == names[0]:
                axis.set_title(f"Stokes {stokes}", fontsize=9)
        row[0].set_ylabel(f"{name.replace('_', ' ')}\nlog optical depth", fontsize=9)
    axes[0, 0].set_ylim(np.max(log_tau), np.min(log_tau))
    for axis in axes[-1]:
        axis.set_xlabel("wavelength [Å]", fontsize=9)
        axis.ticklabel_format(axis="x", useOffset=False)
        axis.locator_params(axis="x", nbins=4)
    return figure
