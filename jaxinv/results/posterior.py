"""What samplers return: draws of every parameter, how far they can be trusted, and a status for every object."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


class PosteriorStatus(enum.IntEnum):
    """How the sampling of one object ended: trust `CONVERGED`; the others are flagged, never dropped."""

    CONVERGED = 0
    NOT_CONVERGED = 2
    NO_DATA = 3
    FAILED = 4
    DIVERGENT = 5
    UNRELIABLE_WEIGHTS = 6
    NOT_COMPUTED = 7

    @property
    def message(self) -> str:
        """The status as a sentence."""
        return _MESSAGES[self]


_MESSAGES = {
    PosteriorStatus.CONVERGED: "the chains agree, or the weights can be relied on",
    PosteriorStatus.NOT_CONVERGED: "the chains disagree or hold too few effective draws",
    PosteriorStatus.NO_DATA: "no valid sample",
    PosteriorStatus.FAILED: "no point of finite density was found",
    PosteriorStatus.DIVERGENT: "the chains agree, but more than 1 in 1000 steps diverged",
    PosteriorStatus.UNRELIABLE_WEIGHTS: "the approximation is too far from the posterior: see pareto_k and weights_ess",
    PosteriorStatus.NOT_COMPUTED: "not reached by the run",
}


@dataclasses.dataclass(frozen=True)
class Posterior:
    """Draws for one object or a batch; all arrays are NumPy arrays with the batch axes in front.

    Attributes:
        draws: every inferred and tied parameter, `(*batch, n_chains, n_draws, *parameter_shape)`.
        stats: of the sampler, `(*batch, n_chains, n_draws)`: `lp` (log density, unnormalized), `diverging`, `energy`,
            `tree_depth`, `n_steps`, `acceptance_rate`, `step_size`; `log_q` of an approximation.
        scalars: of each object, `(*batch,)`: `divergences` and `steps` (over all steps), `doublings` (how often its
            chains were gone on with), `tree_depth` (mean), `bfmi` (of the chain whose energy moves least freely, from
            the draws that are kept; below 0.3 is bad), `chi2` (posterior mean of the misfit per sample), `p_value`
            (posterior predictive, of the misfit), `pareto_k`, `weights_ess`, `elbo`: those that the method has.
        r_hat: `(*batch, *parameter_shape)` for each parameter; of an angle, the larger one of its cosine and sine.
        ess_bulk: effective sample size of the bulk, same shapes.
        ess_tail: and of the 5 % and 95 % quantiles.
        status: `(*batch,)`, values of `PosteriorStatus`.
        periods: `(low, period)` of each cyclic parameter.
    """

    draws: dict[str, np.ndarray]
    stats: dict[str, np.ndarray]
    scalars: dict[str, np.ndarray]
    r_hat: dict[str, np.ndarray]
    ess_bulk: dict[str, np.ndarray]
    ess_tail: dict[str, np.ndarray]
    status: np.ndarray
    periods: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)

    def each(self, change: Callable[[np.ndarray], np.ndarray]) -> Posterior:
        """The posterior with every array changed alike: cut, reshaped, picked from."""
        names = ("draws", "stats", "scalars", "r_hat", "ess_bulk", "ess_tail")
        groups = {group: {name: change(x) for name, x in getattr(self, group).items()} for group in names}
        return dataclasses.replace(self, **groups, status=change(self.status))

    def quantile(self, q: float) -> dict[str, np.ndarray]:
        """The `q` quantile of every parameter over chains and draws, `(*batch, *parameter_shape)`.

        A cyclic parameter is counted from the point opposite its circular mean, and not wrapped: the 16 % quantile of
        an azimuth near 0 is negative, and the difference of two quantiles is a width.
        """
        return {name: _quantile(self._unrolled(name), q) for name in self.draws}

    def median(self) -> dict[str, np.ndarray]:
        """The median of every parameter; a cyclic one's lies in its range."""
        out = self.quantile(0.5)
        for name, (low, period) in self.periods.items():
            out[name] = low + np.mod(out[name] - low, period)
        return out

    def standard_deviation(self) -> dict[str, np.ndarray]:
        """The standard deviation of every parameter, of a cyclic one about its circular mean."""
        return {name: np.std(self._unrolled(name), axis=0) for name in self.draws}

    def count(self) -> dict[str, int]:
        """How many objects ended with each status, by name."""
        values = np.asarray(self.status)
        return {status.name.lower(): int(np.sum(values == status)) for status in PosteriorStatus}

    def _unrolled(self, name: str) -> np.ndarray:
        """All draws in front, `(n, *batch, *parameter_shape)`; angles relative to their mean direction."""
        n_batch = np.ndim(self.status)
        draws = np.moveaxis(self.draws[name], (n_batch, n_batch + 1), (0, 1))
        draws = draws.reshape(-1, *draws.shape[2:])
        if name in self.periods:
            draws = unrolled(draws, *self.periods[name])
        return draws


def unrolled(draws: np.ndarray, low: float, period: float) -> np.ndarray:
    """Angles `(n, ...)` moved by whole periods to within half a period of their circular mean."""
    phase = 2 * np.pi * (draws - low) / period
    mean = np.mod(np.arctan2(np.sin(phase).mean(0), np.cos(phase).mean(0)), 2 * np.pi)
    return low + period * (mean + np.mod(phase - mean + np.pi, 2 * np.pi) - np.pi) / (2 * np.pi)


def _quantile(draws: np.ndarray, q: float) -> np.ndarray:
    return np.quantile(draws, q, axis=0).astype(draws.dtype)


@dataclasses.dataclass(frozen=True)
class PosteriorMap:
    """Summaries of the posteriors of a map, with what a file needs beside them.

    Attributes:
        median: `(ny, nx)` by parameter.
        lower: the 16 % quantile; an angle's may lie beyond its range, so that `upper - lower` is a width.
        upper: the 84 % quantile.
        r_hat: by parameter.
        ess: the smaller one of bulk and tail effective sample size, by parameter.
        scalars: `(ny, nx)` each, see `Posterior.scalars`.
        status: `(ny, nx)`, values of `PosteriorStatus`.
        units: FITS unit of each parameter.
        header: FITS cards of the two spatial axes and the observation's origin.
        provenance: what made the result, as short strings.
    """

    median: dict[str, np.ndarray]
    lower: dict[str, np.ndarray]
    upper: dict[str, np.ndarray]
    r_hat: dict[str, np.ndarray]
    ess: dict[str, np.ndarray]
    scalars: dict[str, np.ndarray]
    status: np.ndarray
    units: Mapping[str, str] = dataclasses.field(default_factory=dict)
    header: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    provenance: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def count(self) -> dict[str, int]:
        """How many pixels ended with each status, by name."""
        return {status.name.lower(): int(np.sum(self.status == status)) for status in PosteriorStatus}
