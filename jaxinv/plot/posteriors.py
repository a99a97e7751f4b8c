"""Posteriors of one object: corner plot, traces, predictive bands; and the report of a calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxinv.plot.style import PALETTE, check_names, look_of, new_figure
from jaxinv.results.arviz_adapter import as_posterior
from jaxinv.results.calibration import LEVELS, CalibrationReport
from jaxinv.results.posterior import Posterior, unrolled
from jaxinv.results.solution import Solution

_STOKES = ("I", "Q", "U", "V")


def corner(
    posterior: Any,
    names: Sequence[str] | None = None,
    *,
    index: tuple[int, ...] = (),
    fit: Solution | None = None,
    truth: Mapping[str, float] | None = None,
) -> Figure:
    """Every pair of scalar parameters, with contours that hold 39 % and 86 % of the draws (1 and 2 sigma in a plane).

    Args:
        posterior: from `jaxinv.sample` or `jaxinv.draw`.
        names: the parameters; all scalar ones by default.
        index: which object of a batch.
        fit: of the same batch: its standard errors are drawn as ellipses of 1 and 2 sigma, and as normal curves.
        truth: known values, drawn as lines.

    Raises:
        ValueError: a name is not in the posterior, or `index` picks no object of it.
    """
    posterior = as_posterior(posterior)
    names = _chosen(posterior, names, index)
    draws = {name: _flat(posterior, name, index) for name in names}
    n = len(names)
    figure = new_figure(1.7 * n + 1.0, 1.7 * n + 0.6)
    axes = figure.subplots(n, n, squeeze=False)
    normal = None if fit is None else _normal(posterior, fit, names, index, draws)
    for row, y in enumerate(names):
        for column, x in enumerate(names):
            axis = axes[row, column]
            if column > row:
                axis.remove()
                continue
            if column == row:
                _marginal(axis, x, draws[x], None if normal is None else (normal[0][row], normal[1][row, row]))
            else:
                pair = np.array([column, row])
                both = None if normal is None else (normal[0][pair], normal[1][np.ix_(pair, pair)])
                _pair(axis, draws[x] * look_of(x).factor, draws[y] * look_of(y).factor, both)
            for name, line in ((x, axis.axvline), (y, axis.axhline)):
                if truth is not None and name in truth and not (column == row and line == axis.axhline):
                    value = _nearest(posterior, name, float(truth[name]), draws[name])
                    line(value * look_of(name).factor, color="0.3", lw=0.8, ls="--")
            axis.tick_params(labelsize=6, labelbottom=row == n - 1, labelleft=column == 0 and row > 0)
            axis.locator_params(nbins=3)
            if row == n - 1:
                axis.set_xlabel(look_of(x).label, fontsize=7)
            if column == 0 and row > 0:
                axis.set_ylabel(look_of(y).label, fontsize=7)
    handles = [axes[0, 0].plot([], [], color=PALETTE["line"], label="posterior")[0]]
    if normal is not None:
        handles += axes[0, 0].plot([], [], color=PALETTE["fit"], label="Levenberg-Marquardt")
    if truth is not None:
        handles += axes[0, 0].plot([], [], color="0.3", ls="--", label="truth")
    figure.legend(handles=handles, loc="upper right", fontsize=9, frameon=False)
    return figure


def trace(posterior: Any, names: Sequence[str] | None = None, *, index: tuple[int, ...] = ()) -> Figure:
    """Each chain's draws in their order, and their histograms: chains that agree lie on top of each other.

    Args:
        posterior: from `jaxinv.sample` or `jaxinv.draw`.
        names: the parameters; all scalar ones by default.
        index: which object of a batch.

    Raises:
        ValueError: a name is not in the posterior, or `index` picks no object of it.
    """
    posterior = as_posterior(posterior)
    names = _chosen(posterior, names, index)
    figure = new_figure(10.0, 1.25 * len(names) + 0.4)
    axes = figure.subplots(len(names), 2, squeeze=False, width_ratios=[3, 1])
    for (left, right), name in zip(axes, names, strict=True):
        look = look_of(name)
        chains = _flat(posterior, name, index).reshape(posterior.draws[name][index].shape) * look.factor
        finite = chains[np.isfinite(chains)]
        edges = np.linspace(finite.min(), finite.max(), 41) if finite.size else 10
        for chain in chains:
            left.plot(chain, lw=0.4)
            right.hist(chain[np.isfinite(chain)], edges, histtype="step", lw=0.9)
        r_hat, ess = posterior.r_hat.get(name), posterior.ess_bulk.get(name)
        text = "" if r_hat is None or ess is None else f"R-hat {r_hat[index]:.3f}, {ess[index]:.0f} effective draws"
        left.set_title(text, fontsize=7, loc="left", pad=2)
        left.set_ylabel(look.label, fontsize=7)
        right.set_yticks([])
        for axis in (left, right):
            axis.tick_params(labelsize=6)
    axes[-1, 0].set_xlabel("draw", fontsize=8)
    return figure


def bands(
    observed: np.ndarray,
    replicates: np.ndarray,
    wavelength: np.ndarray,
    *,
    sigma: np.ndarray | None = None,
    title: str = "",
) -> Figure:
    """Spectra with the posterior predictive bands of 68 % and 95 %, and both less the bands' median.

    Args:
        observed: `(4, n_wavelength)`, NaN where a sample is missing.
        replicates: `(n, 4, n_wavelength)`, from `jaxinv.sampling.predict`.
        wavelength: `(n_wavelength,)` in angstrom.
        sigma: `(4,)` noise: residuals are in units of it, in percent where it is `None`.
        title: of the figure.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    observed, replicates, wavelength = np.asarray(observed), np.asarray(replicates), np.asarray(wavelength)
    fits = replicates.ndim == 3 and len(replicates) and replicates.shape[1:] == observed.shape
    if observed.shape != (4, len(wavelength)) or not fits:
        raise ValueError(
            f"bands need (4, {len(wavelength)}) observed and (n, 4, {len(wavelength)}) replicated samples; found "
            f"{observed.shape} and {replicates.shape}"
        )
    figure = new_figure(13.0, 3.9)
    axes = figure.subplots(2, 4, sharex=True, height_ratios=[3, 1])
    limits = np.percentile(replicates, (2.5, 16, 50, 84, 97.5), axis=0)
    for k, stokes in enumerate(_STOKES):
        axis, below = axes[:, k]
        axis.fill_between(wavelength, *100 * limits[[0, 4], k], color=PALETTE["band"], alpha=0.35, lw=0, label="95 %")
        axis.fill_between(wavelength, *100 * limits[[1, 3], k], color=PALETTE["band"], lw=0, label="68 %")
        axis.plot(wavelength, 100 * observed[k], ".", ms=3, color=PALETTE["data"], label="observed")
        axis.set_title(f"Stokes {stokes} [% of the continuum]", fontsize=9)
        unit = 0.01 if sigma is None else np.broadcast_to(sigma, (4,))[k]
        around = (limits[:, k] - limits[2, k]) / unit
        below.fill_between(wavelength, *around[[0, 4]], color=PALETTE["band"], alpha=0.35, lw=0)
        below.fill_between(wavelength, *around[[1, 3]], color=PALETTE["band"], lw=0)
        below.plot(wavelength, (observed[k] - limits[2, k]) / unit, ".", ms=2, color=PALETTE["data"])
        for each in (axis, below):
            each.tick_params(labelsize=7)
        below.set_xlabel("wavelength [Å]", fontsize=8)
        below.ticklabel_format(useOffset=False)
        below.locator_params(axis="x", nbins=4)
    axes[1, 0].set_ylabel("residual" + ("\n[%]" if sigma is None else "\n/ sigma"), fontsize=7)
    axes[0, 0].legend(fontsize=8, frameon=False)
    if title:
        figure.suptitle(title, fontsize=10, parse_math=False)
    return figure


def calibration(report: CalibrationReport) -> Figure:
    """Rank histograms, cumulative ranks with the band in which 95 % of calibrated curves stay, and the coverage.

    Args:
        report: from `jaxinv.calibrate`.
    """
    labels = list(report.ranks)
    figure = new_figure(11.0, 1.35 * len(labels) + 3.4)
    parts = figure.subfigures(2, 1, height_ratios=[1.35 * len(labels) + 0.4, 3.0], squeeze=False)
    upper, lower = parts[0, 0], parts[1, 0]
    axes = upper.subplots(len(labels), 2, squeeze=False, sharex="col")
    n_bins = int(np.clip(report.n // 10, 2, 20))
    counts, curves, band = report.histogram(n_bins), report.ecdf(), report.ecdf_band()
    p_values = report.adjusted_p_values()
    expected = report.n / n_bins
    half = 1.96 * np.sqrt(expected * (1 - 1 / n_bins))
    place = np.linspace(0, 1, report.n_draws + 2)
    for (left, right), label in zip(axes, labels, strict=True):
        left.axhspan(expected - half, expected + half, color="0.9")
        left.stairs(counts[label], np.linspace(0, 1, n_bins + 1), color=PALETTE["line"], fill=True, alpha=0.6)
        left.set_ylabel(label.replace("_", "\n"), fontsize=7)
        left.set_ylim(0, None)
        right.fill_between(place, *band, color="0.9", lw=0)
        right.plot(place, curves[label], color=PALETTE["fit"], lw=1.0)
        right.set_title(f"p = {p_values[label]:.2f} (Holm)", fontsize=7, loc="right", pad=2)
        for axis in (left, right):
            axis.tick_params(labelsize=6)
    axes[0, 0].set_title("rank of the truth among the draws", fontsize=9)
    axes[0, 1].set_title("cumulative minus uniform", fontsize=9, loc="left")
    axis = lower.subplots()
    for k, level in enumerate(LEVELS):
        values = report.coverage(level)
        x = np.arange(len(labels)) + 0.18 * (k - 1)
        error = 3 * report.coverage_error(level)
        axis.errorbar(x, [100 * values[label] for label in labels], 100 * error, fmt="o", ms=4, capsize=2,
                      label=f"{100 * level:.0f} %")  # fmt: skip
        axis.axhline(100 * level, color="0.7", lw=0.8, ls="--")
    axis.set_xticks(np.arange(len(labels)), [label.replace("_", "\n") for label in labels], fontsize=7)
    axis.set_ylabel("truth within the interval [%], ± 3 standard errors", fontsize=7)
    axis.legend(fontsize=8, frameon=False, ncols=3)
    figure.suptitle(f"{report.n} simulated objects, {report.method}".rstrip(", "), fontsize=10)
    return figure


def _chosen(posterior: Posterior, names: Sequence[str] | None, index: tuple[int, ...]) -> list[str]:
    shape = np.shape(posterior.status)
    if len(index) != len(shape) or any(not -size <= k < size for k, size in zip(index, shape, strict=True)):
        expected = f"index={tuple(0 for _ in shape)} is its first object" if shape else "leave it out"
        raise ValueError(f"index {index} picks no single object of a batch of shape {shape}: {expected}")
    scalars = [name for name, draws in posterior.draws.items() if draws.ndim == len(shape) + 2]
    check_names(names or (), scalars)
    return list(names or scalars)


def _flat(posterior: Posterior, name: str, index: tuple[int, ...]) -> np.ndarray:
    draws = np.asarray(posterior.draws[name][index], float).ravel()
    if name in posterior.periods and np.isfinite(draws).all():
        draws = unrolled(draws, *posterior.periods[name])
    return draws


def _nearest(posterior: Posterior, name: str, value: float, draws: np.ndarray) -> float:
    """An angle moved by whole periods to where the draws are."""
    if name not in posterior.periods:
        return value
    period = posterior.periods[name][1]
    return float(value + period * np.round((np.mean(draws) - value) / period))


def _normal(
    posterior: Posterior, fit: Solution, names: Sequence[str], index: tuple[int, ...], draws: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of the fit, in shown units; NaN for what it did not infer."""
    if np.shape(fit.status) != np.shape(posterior.status):
        raise ValueError(
            f"the fit is of a batch of {np.shape(fit.status)}, the posterior of {np.shape(posterior.status)}"
        )
    factor = np.array([look_of(name).factor for name in names])
    mean = np.array([_nearest(posterior, name, float(fit.parameters[name][index]), draws[name]) for name in names])
    covariance = np.full((len(names), len(names)), np.nan)
    place = [fit.labels.index(name) if name in fit.labels else None for name in names]
    if fit.has_matrix:
        matrix = fit.covariance[index]
    else:  # standard errors alone: curves without ellipses
        inferred = dict.fromkeys(label.partition("[")[0] for label in fit.labels)
        errors = np.concatenate([np.ravel(fit.standard_error[name][index]) for name in inferred])
        matrix = np.where(np.eye(len(errors), dtype=bool), errors**2, np.nan)
    for a, i in enumerate(place):
        for b, j in enumerate(place):
            if i is not None and j is not None:
                covariance[a, b] = matrix[i, j]
    return mean * factor, covariance * factor[:, None] * factor


def _marginal(axis: Axes, name: str, draws: np.ndarray, normal: tuple[float, float] | None) -> None:
    shown = draws[np.isfinite(draws)] * look_of(name).factor
    axis.set_yticks([])
    if not shown.size:
        return
    axis.hist(shown, 40, density=True, color=PALETTE["line"], alpha=0.6)
    low, middle, high = np.percentile(shown, (16, 50, 84))
    spread = max(high - low, 1e-30)
    digits = int(np.clip(2 - np.floor(np.log10(spread)), 0, 6)) if spread < 100 else 0
    text = f"${middle:.{digits}f}^{{+{high - middle:.{digits}f}}}_{{-{middle - low:.{digits}f}}}$"
    axis.set_title(text, fontsize=8, pad=3)
    left, right = np.percentile(shown, (0.1, 99.9))
    margin = 0.1 * (right - left)
    axis.set_xlim(left - margin, right + margin)
    if normal is not None and normal[1] > 0:
        mean, deviation = normal[0], np.sqrt(normal[1])
        x = np.linspace(left - margin, right + margin, 200)
        density = np.exp(-(((x - mean) / deviation) ** 2) / 2) / (deviation * np.sqrt(2 * np.pi))
        axis.plot(x, density, color=PALETTE["fit"], lw=1.2)


def _pair(axis: Axes, x: np.ndarray, y: np.ndarray, normal: tuple[np.ndarray, np.ndarray] | None) -> None:
    from scipy.ndimage import gaussian_filter

    both = np.isfinite(x) & np.isfinite(y)
    if not both.any():
        return
    x, y = x[both], y[both]
    limits = [np.percentile(values, (0.1, 99.9)) for values in (x, y)]
    margins = [0.1 * np.ptp(limit) for limit in limits]
    box = [(limit[0] - m, limit[1] + m) for limit, m in zip(limits, margins, strict=True)]
    if min(high - low for low, high in box) > 0:
        counts, x_edges, y_edges = np.histogram2d(x, y, 40, range=box)
        density = gaussian_filter(counts, 1.2)
        ordered = np.sort(density.ravel())[::-1]
        held = np.cumsum(ordered) / ordered.sum()
        levels = sorted({float(ordered[np.searchsorted(held, part)]) for part in (0.39, 0.86)})
        centres = [(edges[1:] + edges[:-1]) / 2 for edges in (x_edges, y_edges)]
        axis.plot(x[::5], y[::5], ",", color="0.75", zorder=0)
        if levels[0] > 0:
            axis.contour(*centres, density.T, levels=levels, colors=PALETTE["line"], linewidths=1.0)
        axis.set_xlim(*box[0])
        axis.set_ylim(*box[1])
    if normal is not None and np.isfinite(normal[1]).all():
        mean, covariance = normal
        values, vectors = np.linalg.eigh(covariance)
        turn = np.linspace(0, 2 * np.pi, 100)
        circle = vectors @ (np.sqrt(np.maximum(values, 0))[:, None] * np.stack([np.cos(turn), np.sin(turn)]))
        for size in (1, 2):
            axis.plot(mean[0] + size * circle[0], mean[1] + size * circle[1], color=PALETTE["fit"], lw=1.0)
