"""What samplers return: draws of every parameter, how far they can be trusted, and a status for every object."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from jaxinv.results.product import Group, Product


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


class PosteriorRoute(enum.IntEnum):
    """How the draws of an object came about."""

    NONE = 0
    APPROXIMATED = 1
    WEIGHTED = 2
    LEARNED = 3
    CHAINS = 4
    PERTURBED = 5

    @property
    def message(self) -> str:
        """The route as a sentence."""
        return {
            PosteriorRoute.NONE: "no draws",
            PosteriorRoute.APPROXIMATED: "drawn from an approximation, as it is",
            PosteriorRoute.WEIGHTED: "drawn from the normal approximation, corrected by importance weights",
            PosteriorRoute.LEARNED: "drawn from a trained density, corrected by importance weights",
            PosteriorRoute.CHAINS: "drawn by Markov chains",
            PosteriorRoute.PERTURBED: "solved for perturbed data and priors: exact for linear models and normal priors",
        }[self]


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
            (posterior predictive, of the misfit), `pareto_k`, `weights_ess`, `elbo`: those that the method has; and
            `route`, values of `PosteriorRoute`.
        r_hat: `(*batch, *parameter_shape)` for each parameter; of an angle, the larger one of its cosine and sine.
            Rank-normalized for chains; of independent draws, which cannot disagree but by chance, without ranks.
        ess_bulk: effective sample size of the bulk, same shapes; of independent draws, that of their weights.
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


@dataclasses.dataclass(frozen=True, repr=False)
class PosteriorMap(Product):
    """Summaries of the posteriors of a map, with what a file needs beside them: see `Product`.

    Attributes:
        median: `(ny, nx)` by parameter.
        lower: the 16 % quantile; an angle's may lie beyond its range, so that `upper - lower` is a width.
        upper: the 84 % quantile.
        r_hat: by parameter.
        ess: the smaller one of bulk and tail effective sample size, by parameter.
        scalars: `(ny, nx)` each, see `Posterior.scalars`.
        status: `(ny, nx)`, values of `PosteriorStatus`.
        units: FITS unit of each parameter.
        header: FITS cards.
        provenance: what made the result.
        profile: of the instrument.
        periods: `(low, period)` of each cyclic parameter.
        draws: `(ny, nx, n_chains, n_draws)` by parameter, where they were kept; read as they are asked for. Of a
            stratified one, of its values at the nodes, `(ny, nx, n_chains, n_draws, n_nodes)`.
        depth: log tau of the medians and quantiles of stratified parameters, `(ny, nx, n_depth)`. Their `r_hat` and
            `ess` are those of the node that is known least well.
    """

    kind = "posterior"
    groups: ClassVar = {
        "median": Group("", "median of the posterior"),
        "lower": Group("_low", "16 percent quantile"),
        "upper": Group("_high", "84 percent quantile"),
        "r_hat": Group("_rhat", "rank-normalized split R-hat", has_unit=False),
        "ess": Group("_ess", "effective sample size, the smaller one of bulk and tail", has_unit=False),
    }
    codes: ClassVar = {"status": PosteriorStatus, "route": PosteriorRoute}
    mark, rest = "_low", "scalars"

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
    profile: np.ndarray | None = None
    periods: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    draws: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    depth: np.ndarray | None = None

    def each(self, change: Callable[[np.ndarray], np.ndarray]) -> PosteriorMap:
        parts = {
            part: {name: change(x) for name, x in getattr(self, part).items()} for part in (*self.groups, "scalars")
        }
        return dataclasses.replace(self, **parts, status=change(self.status), draws={})

    @property
    def estimate(self) -> dict[str, np.ndarray]:
        return self.median

    @property
    def spread(self) -> dict[str, np.ndarray]:
        return {name: (self.upper[name] - self.lower[name]) / 2 for name in self.median}

    def interval(self, name: str) -> tuple[np.ndarray, np.ndarray] | None:
        return (self.lower[name], self.upper[name]) if name in self.lower else None

    @property
    def others(self) -> dict[str, np.ndarray]:
        return {**self.scalars, "status": self.status}

    def to_arrays(self) -> dict[str, np.ndarray]:
        parts = (*self.groups, "scalars")
        arrays = {f"{part}/{name}": x for part in parts for name, x in getattr(self, part).items()}
        return {**arrays, "status": self.status}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], **more: Any) -> PosteriorMap:
        parts: dict[str, dict[str, np.ndarray]] = {part: {} for part in (*cls.groups, "scalars")}
        for name, values in arrays.items():
            part, _, leaf = name.rpartition("/")
            if part in parts:
                parts[part][leaf] = values
        more["periods"] = {name: (low, period) for name, (low, period) in more.pop("periods", {}).items()}
        return cls(**parts, status=arrays["status"], **more)

    def info(self) -> dict[str, Any]:
        return {**super().info(), "periods": {name: list(map(float, x)) for name, x in self.periods.items()}}

    def pixel(self, y: int, x: int) -> Posterior:
        """The posterior of one pixel, for corner plots and traces.

        Raises:
            ValueError: its draws were not kept.
        """
        if not self.draws:
            raise ValueError(
                "the draws were not kept: `jaxinv sample` keeps them with --store, and ji.open reads that store"
            )
        ess = {name: values[y, x] for name, values in self.ess.items()}
        return Posterior(
            draws={name: np.asarray(values[y : y + 1])[0, x] for name, values in self.draws.items()},
            stats={},
            scalars={name: values[y, x] for name, values in self.scalars.items()},
            r_hat={name: values[y, x] for name, values in self.r_hat.items()},
            ess_bulk=ess,
            ess_tail=ess,
            status=self.status[y, x],
            periods=self.periods,
        )
