"""Convergence of chains: rank-normalized split R-hat, bulk and tail effective sample sizes, tails of weights.

Vehtari, Gelman, Simpson, Carpenter & Buerkner (2021, Bayesian Analysis 16, 667) and, for the weights, Vehtari, Simpson,
Gelman, Yao & Gabry (2024, JMLR 25, 72). Written with jax.numpy so that the diagnostics of a map of objects are one
compiled program; the tests hold them against ArviZ.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array


class Convergence(NamedTuple):
    """Of one scalar quantity."""

    r_hat: Array
    ess_bulk: Array
    ess_tail: Array


def convergence(draws: Array) -> Convergence:
    """The diagnostics of draws `(n_chains, n_draws)` of one scalar; NaN where a draw is not finite or all are equal."""
    halves = _split(draws)
    ranked = _rank_normalized(halves)
    folded = _rank_normalized(jnp.abs(halves - jnp.median(halves)))
    low, high = jnp.quantile(halves, jnp.array([0.05, 0.95]))
    tail = jnp.minimum(
        effective_sample_size((halves <= low).astype(draws.dtype)),
        effective_sample_size((halves <= high).astype(draws.dtype)),
    )
    usable = jnp.all(jnp.isfinite(draws)) & (jnp.max(draws) > jnp.min(draws))
    blank = lambda x: jnp.where(usable, x, jnp.nan)  # noqa: E731
    r_hat = jnp.maximum(_r_hat(ranked), _r_hat(folded))
    return Convergence(blank(r_hat), blank(effective_sample_size(ranked)), blank(tail))


def of_independent(draws: Array) -> Convergence:
    """The same of independent draws, `(n_chains, n_draws)`: split R-hat without ranks, and as many as there are."""
    usable = jnp.all(jnp.isfinite(draws)) & (jnp.max(draws) > jnp.min(draws))
    count = jnp.where(usable, jnp.asarray(draws.size, draws.dtype), jnp.nan)
    return Convergence(jnp.where(usable, _r_hat(_split(draws)), jnp.nan), count, count)


def bfmi(energy: np.ndarray) -> np.ndarray:
    """Bayesian fraction of missing information of the worst chain, `(...,)`, from energies `(..., n_chains, n_draws)`.

    Betancourt (2016, arXiv:1604.00695): mean square step of the energy over its variance. NaN where it does not vary.
    """
    energy = np.asarray(energy, float)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        each = np.mean(np.diff(energy, axis=-1) ** 2, -1) / np.var(energy, axis=-1)
    return each.min(-1).astype(np.float32)


def effective_sample_size(draws: Array) -> Array:
    """How many independent draws would give the same error of the mean, from chains `(n_chains, n_draws)`.

    Geyer's initial monotone sequence; at most n log10(n) of n draws.
    """
    n_chains, n = draws.shape
    centred = draws - draws.mean(1, keepdims=True)
    spectrum = jnp.fft.rfft(centred, 2 * n, axis=1)
    autocovariance = jnp.fft.irfft(jnp.abs(spectrum) ** 2, 2 * n, axis=1)[:, :n].mean(0) / n
    within = autocovariance[0] * n / (n - 1)
    between = jnp.var(draws.mean(1), ddof=1) if n_chains > 1 else 0.0
    total = within * (n - 1) / n + between
    correlation = 1 - (within - autocovariance) / jnp.where(total > 0, total, 1)
    correlation = correlation.at[0].set(1)
    pairs = correlation[: n // 2 * 2].reshape(-1, 2).sum(1)
    going = jnp.cumprod(pairs >= 0).astype(bool)
    monotone = jax.lax.cummin(jnp.where(going, pairs, jnp.inf))
    last = jnp.minimum(jnp.sum(going), len(pairs) - 1)
    time = -1 + 2 * jnp.sum(jnp.where(going, monotone, 0)) + jnp.maximum(correlation[2 * last], 0)
    count = n_chains * n
    return count / jnp.maximum(time, 1 / jnp.log10(count))


class SmoothedWeights(NamedTuple):
    """Normalized log weights after smoothing, and their tail's shape: rely on them where it is small."""

    log_weights: Array
    pareto_k: Array


def smoothed_weights(log_ratios: Array) -> SmoothedWeights:
    """Pareto-smoothed importance weights from log density ratios `(n_draws,)`.

    The largest 20 % or 3 sqrt(n) are replaced by the expected order statistics of a generalized Pareto distribution
    that is fitted to them (Zhang & Stephens 2009, Technometrics 51, 316).
    `pareto_k` is infinite where no ratio is finite.
    """
    n = len(log_ratios)
    n_tail = max(int(min(0.2 * n, 3 * n**0.5)), 5)
    finite = jnp.isfinite(log_ratios)
    log_ratios = jnp.where(finite, log_ratios, -jnp.inf)
    log_ratios = log_ratios - jnp.max(log_ratios)
    order = jnp.argsort(log_ratios)
    tail = order[-n_tail:]
    cut = jnp.exp(log_ratios[order[-n_tail - 1]])
    excess = jnp.exp(log_ratios[tail]) - cut
    shape, scale = _generalized_pareto(jnp.maximum(excess, 1e-30))
    quantiles = (jnp.arange(n_tail) + 0.5) / n_tail
    expected = scale * jnp.where(
        jnp.abs(shape) > 1e-6, jnp.expm1(-shape * jnp.log1p(-quantiles)) / shape, -jnp.log1p(-quantiles)
    )
    flat = excess[-1] <= 1e-12  # all weights are equal: nothing to smooth
    smooth = jnp.minimum(jnp.log(cut + expected), 0)
    smooth = jnp.where(flat | ~jnp.isfinite(smooth), log_ratios[tail], smooth)
    log_weights = log_ratios.at[tail].set(smooth)
    log_weights = log_weights - jax.scipy.special.logsumexp(log_weights)
    shape = jnp.where(flat, -jnp.inf, shape)
    return SmoothedWeights(log_weights, jnp.where(jnp.any(finite), shape, jnp.inf))


def reliable_pareto_k(n_draws: int) -> float:
    """The largest shape at which weights of so many draws can be relied on (Vehtari et al. 2024, eq. 13)."""
    import math

    return min(1 - 1 / math.log10(max(n_draws, 11)), 0.7)


def _generalized_pareto(sample: Array) -> tuple[Array, Array]:
    """Shape and scale of an increasing sample of excesses (Zhang & Stephens 2009, with a weak prior on the shape)."""
    n = len(sample)
    m = 30 + int(n**0.5)
    quartile = sample[int(n / 4 + 0.5) - 1]
    grid = (1 - jnp.sqrt(m / (jnp.arange(1, m + 1) - 0.5))) / 3 / quartile + 1 / sample[-1]
    shapes = jnp.mean(jnp.log1p(-grid[:, None] * sample), axis=1)
    likelihood = n * (jnp.log(-grid / shapes) - shapes - 1)
    weights = jax.nn.softmax(jnp.where(jnp.isfinite(likelihood), likelihood, -jnp.inf))
    root = jnp.sum(grid * weights)
    shape = jnp.mean(jnp.log1p(-root * sample))
    scale = -shape / root
    return (n * shape + 10 * 0.5) / (n + 10), scale


def _split(draws: Array) -> Array:
    """Each chain as two halves, so that a drift within it shows."""
    half = draws.shape[1] // 2
    return jnp.concatenate([draws[:, :half], draws[:, draws.shape[1] - half :]])


def _rank_normalized(draws: Array) -> Array:
    """Normal scores of the ranks over all chains; equal draws share their mean rank."""
    flat = draws.ravel()
    ordered = jnp.sort(flat)
    rank = (jnp.searchsorted(ordered, flat, side="left") + jnp.searchsorted(ordered, flat, side="right") + 1) / 2
    return jax.scipy.special.ndtri((rank - 0.375) / (flat.size + 0.25)).reshape(draws.shape).astype(draws.dtype)


def _r_hat(draws: Array) -> Array:
    n = draws.shape[1]
    between = n * jnp.var(draws.mean(1), ddof=1)
    within = jnp.mean(jnp.var(draws, axis=1, ddof=1))
    return jnp.sqrt((between / jnp.where(within > 0, within, jnp.nan) + n - 1) / n)
