"""`calibrate`: simulate truth and data from a problem, and ask where a method's posterior puts the truth."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from jaxinv.compute.progress import Advance
from jaxinv.compute.run import Run, Work
from jaxinv.compute.store import Store
from jaxinv.observation import Observation
from jaxinv.problem import Problem
from jaxinv.results.calibration import CalibrationReport
from jaxinv.results.posterior import Posterior, PosteriorStatus
from jaxinv.sampling.auto import Auto, checked
from jaxinv.sampling.methods import Chains, Method
from jaxinv.sampling.programs import object_keys
from jaxinv.sampling.sampler import draw

_TOGETHER = 128
"""Objects sampled and kept together."""

Sampler = Callable[[Problem, Any, PRNGKeyArray], Posterior]


def calibrate(
    problem: Problem,
    method: Method | Auto | Sampler | None = None,
    n: int = 300,
    *,
    key: PRNGKeyArray,
    n_draws: int = 199,
    store: Store | None = None,
    progress: bool = False,
) -> CalibrationReport:
    """Simulation-based calibration and coverage of any method that returns a posterior.

    Args:
        problem: its prior should be the population of objects that the intervals are to hold for: calibration is an
            average over the prior.
        method: of `sample` (`HMC()` by default), or any function `(problem, data, key) -> Posterior` of a batch of
            data.
        n: simulated objects; 300 or more tell a bias of a tenth of a standard deviation.
        key: random key.
        n_draws: the truth is ranked among so many draws of each object, spread evenly over its chains. One less than a
            multiple of 20 gives histograms with equal bins.
        store: keeps what is finished (`CalibrationRun(...).store(path)`); objects that it holds are not sampled again.
        progress: show a bar.

    Raises:
        ValueError: `n` or `n_draws` is too small, or the method makes fewer draws than `n_draws`.
    """
    return CalibrationRun(problem, method, n, key=key, n_draws=n_draws).into(store, progress=progress)


class CalibrationRun(Run[CalibrationReport]):
    """A calibration that is ready to run; arguments are those of `calibrate`."""

    label, unit = "calibrating", "object"
    missing: ClassVar = {"status": PosteriorStatus.NOT_COMPUTED}

    def __init__(
        self,
        problem: Problem,
        method: Method | Auto | Sampler | None = None,
        n: int = 300,
        *,
        key: PRNGKeyArray,
        n_draws: int = 199,
    ) -> None:
        if n < 20:
            raise ValueError(f"calibration needs 20 simulated objects or more; found n = {n}")
        if n_draws < 19:
            raise ValueError(f"calibration needs n_draws of 19 or more; found {n_draws}")
        if method is None or not callable(method) or isinstance(method, type):
            method = checked(method)
        if isinstance(method, Method | Auto) and math.prod(method.shape) < n_draws:
            made = math.prod(method.shape)
            raise ValueError(
                f"{type(method).__name__} makes {made} draws of each object; n_draws = {n_draws} needs more"
            )
        self._problem, self._method, self._n, self._n_draws = problem, method, n, n_draws
        self._simulation, self._sampling = jax.random.split(key)
        self._simulate = jax.jit(jax.vmap(problem.simulate))

    @property
    def shape(self) -> tuple[int, ...]:
        return (self._n,)

    @property
    def size(self) -> int:
        return _TOGETHER

    def read(self, start: int, stop: int) -> Any:
        # As many as ever, so that a short piece needs no program of its own.
        ids = start + np.arange(min(_TOGETHER, self._n))
        truth, data = jax.tree.map(np.array, self._simulate(object_keys(self._simulation, ids)))
        if isinstance(self._method, Method | Auto):
            data[stop - start :] = np.nan  # not asked for, and not sampled
        return {name: truth[name] for name in self._problem.names}, Observation(data, ids=ids)

    def work(self) -> Work:
        return RankObjects(self._problem, self._method, self._sampling, self._n_draws)

    def result(self, store: Store) -> CalibrationReport:
        ranks = store.group("ranks")
        usable = np.all([x >= 0 for x in ranks.values()], axis=0)
        if not usable.any():
            raise ValueError("the method returned no finite draws for any simulated object")
        method = self._method
        name = type(method).__name__ if isinstance(method, Method | Auto) else getattr(method, "__name__", "")
        if isinstance(method, Chains):
            name += f", {method.n_chains} chains"
        kept = {label: x[usable] for label, x in ranks.items()}
        return CalibrationReport(kept, self._n_draws, store["status"], name)


@dataclasses.dataclass(frozen=True)
class RankObjects:
    """Samples simulated objects, and finds the place of the truth among the draws of each."""

    problem: Problem
    method: Method | Auto | Sampler
    key: PRNGKeyArray
    n_draws: int

    def __call__(self, inputs: Any, advance: Advance) -> dict[str, np.ndarray]:
        truth, data = inputs
        if isinstance(self.method, Method | Auto):
            posterior = draw(self.problem, data, key=self.key, method=self.method, advance=advance)
        else:
            key = jax.random.fold_in(self.key, int(data.ids[0]))
            posterior = self.method(self.problem, data.values, key)
        ranks = _ranks(self.problem, posterior, truth, self.n_draws)
        return {**{f"ranks/{name}": x for name, x in ranks.items()}, "status": np.asarray(posterior.status)}


def _ranks(problem: Problem, posterior: Posterior, truth: dict[str, np.ndarray], n_draws: int) -> dict[str, np.ndarray]:
    """`(n,)` for each scalar; -1 where an object has no draws."""
    out = {}
    for name, true in truth.items():
        draws = np.moveaxis(posterior.draws[name], (1, 2), (0, 1))
        draws = draws.reshape(-1, *draws.shape[2:])
        if len(draws) < n_draws:
            raise ValueError(f"the method returns {len(draws)} draws of each object; n_draws = {n_draws} needs more")
        draws = draws[np.linspace(0, len(draws) - 1, n_draws).astype(int)]
        if name in posterior.periods:
            draws, true = _centred(draws, true, *posterior.periods[name])
        rank = np.where(np.all(np.isfinite(draws), axis=0), np.sum(draws < true, axis=0), -1)
        if not np.prod(rank.shape[1:], dtype=int) > 1 and rank.ndim == 1:
            out[name] = rank
        else:
            for index in np.ndindex(*rank.shape[1:]):
                out[name + str(list(index))] = rank[(slice(None), *index)]
    return out


def _centred(draws: np.ndarray, true: np.ndarray, low: float, period: float) -> tuple[np.ndarray, np.ndarray]:
    """Angles counted from the mean direction of draws and truth together.

    The truth takes part in the mean on the same footing as the draws, so that its rank stays exactly uniform.
    """
    from jaxinv.results.posterior import unrolled

    together = unrolled(np.concatenate([draws, true[None]]), low, period)
    return together[:-1], together[-1]
