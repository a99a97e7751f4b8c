"""Posteriors of one object: corner plot, traces, predictive bands; and the report of a calibration."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from jaxinv.plot.style import PALETTE, check_names, look_of, new_figure
from jaxinv.results.arviz_adapter import as_posterior
from jaxinv.results.calibration import LEVELS, CalibrationReport
from jaxinv.results.posterior import Posterior, unrolled
from jaxinv.results.solution import Solution

_STOKES = ("I", "Q", "U", "V")

LEVELS_IN_A_PLANE = (0.39, 0.86)
"""What 1 and 2 sigma hold of a normal distribution in a plane."""


def corner(
    posterior: Any,
    names: Sequence[str] | None = None,
    *,
    index: tuple[int, ...] = (),
    fit: Solution | None = None,
    truth: Mapping[str, float] | None = None,
) -> Figure:
    """Every pair of scalar parameters, with contours that hold 39 % and 86 % of the draws (1 and 2 sigma in a plane).

    The contours and histograms are drawn by the package `corner`.

    Args:
        posterior: from `jaxinv.sample` or `jaxinv.draw`.
        names: the parameters; all scalar ones by default.
        index: which object of a batch.
        fit: of the same batch: its standard errors are drawn as ellipses of 1 and 2 sigma, and as normal curves.
        truth: known values, drawn as lines.

    Raises:
        ValueError: a name is not in the posterior, `index` picks no object of it, or that has too few finite draws.
    """
    posterior = as_posterior(posterior)
    names = _chosen(posterior, names, index)
    n, looks = len(names), [look_of(name) for name in names]
    flat = {name: _flat(posterior, name, index) for name in names}
    draws = np.stack([flat[name] * look.factor for name, look in zip(names, looks, strict=True)])
    draws = draws[:, np.isfinite(draws).all(axis=0)]
    if draws.shape[1] <= n:
        raise ValueError(f"a corner plot of {n} parameters needs more than {n} finite draws; found {draws.shape[1]}")
    low, high = np.percentile(draws, (0.5, 99.5), axis=1)
    margin = np.where(high > low, 0.1 * (high - low), 0.1 * np.abs(high) + 1e-6)
    known = {
        name: _nearest(posterior, name, float(value), flat[name]) * look_of(name).factor
        for name, value in (truth or {}).items()
        if name in flat
    }
    figure = new_figure(1.7 * n + 1.0, 1.7 * n + 0.8, layout=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of ArviZ, which it imports, about its own next version
        from corner import corner as draw_corner
    draw_corner(
        draws.T,
        bins=40,
        range=list(zip(low - margin, high + margin, strict=True)),
        smooth=1.0,
        levels=LEVELS_IN_A_PLANE,
        quiet=True,
        plot_density=False,
        no_fill_contours=True,
        color=PALETTE["line"],
        contour_kwargs={"linewidths": 1.0},
        data_kwargs={"color": "0.6"},
        hist_kwargs={"density": True, "histtype": "stepfilled", "alpha": 0.6},
        labels=[look.label for look in looks],
        label_kwargs={"fontsize": 7},
        truths=[known.get(name) for name in names],
        truth_color="0.3",
        max_n_ticks=3,
        fig=figure,
    )
    axes = np.array(figure.axes).reshape(n, n)
    for k in range(n):
        axes[k, k].set_title(_interval(draws[k]), fontsize=8, pad=3)
    if fit is not None:
        _draw_normal(axes, *_normal(posterior, fit, names, index, flat))
    for axis in figure.axes:
        axis.tick_params(labelsize=6)
    shown = {"posterior": PALETTE["line"]}
    shown |= {} if fit is None else {"fit": PALETTE["fit"]}
    shown |= {} if truth is None else {"truth": "0.3"}
    handles = [Line2D([], [], color=colour, label=label) for label, colour in shown.items()]
    place = figure if n > 1 else axes[0, 0]
    place.legend(handles=handles, loc="upper right", fontsize=9 if n > 1 else 6, frameon=False)
    return figure


def trace(posterior: Any, names: Sequence[str] | None = None, *, index: tuple[int, ...] = ()) -> Figure:
    """Each chain's draws in their order, and their histograms: chains that agree lie on top of each other.

    Divergent draws are marked below.

    Args:
        posterior: from `jaxinv.sample` or `jaxinv.draw`.
        names: the parameters; all scalar ones by default.
        index: which object of a batch.

    Raises:
        ValueError: a name is not in the posterior, or `index` picks no object of it.
    """
    posterior = as_posterior(posterior)
    names = _chosen(posterior, names, index)
    diverging = posterior.stats.get("diverging")
    divergent = np.array([]) if diverging is None else np.nonzero(np.asarray(diverging[index]) > 0)[1]
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
        left.plot(divergent, np.zeros(len(divergent)), "|k", ms=8, transform=left.get_xaxis_transform(), clip_on=False)
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


def _interval(draws: np.ndarray) -> str:
    """The median and the distances to the 16 and 84 percent quantiles, in as many digits as they deserve."""
    low, middle, high = np.percentile(draws, (16, 50, 84))
    spread = max(high - low, 1e-30)
    digits = int(np.clip(2 - np.floor(np.log10(spread)), 0, 6)) if spread < 100 else 0
    return f"${middle:.{digits}f}^{{+{high - middle:.{digits}f}}}_{{-{middle - low:.{digits}f}}}$"


def _draw_normal(axes: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> None:
    """Normal curves on the diagonal of a corner plot, ellipses of 1 and 2 sigma below it."""
    turn = np.linspace(0, 2 * np.pi, 100)
    for row in range(len(axes)):
        axis, variance = axes[row, row], covariance[row, row]
        if variance > 0:
            x = np.linspace(*axis.get_xlim(), num=200)
            density = np.exp(-((x - mean[row]) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
            axis.plot(x, density, color=PALETTE["fit"], lw=1.2)
        for column in range(row):
            pair = np.array([column, row])
            both = covariance[np.ix_(pair, pair)]
            if np.isfinite(both).all():
                values, vectors = np.linalg.eigh(both)
                circle = vectors @ (np.sqrt(np.maximum(values, 0))[:, None] * np.stack([np.cos(turn), np.sin(turn)]))
                for size in (1, 2):
                    x, y = mean[pair, None] + size * circle
                    axes[row, column].plot(x, y, color=PALETTE["fit"], lw=1.0, scalex=False, scaley=False)
