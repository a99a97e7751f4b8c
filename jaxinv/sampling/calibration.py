"""`calibrate`: simulate truth and data from a problem, and ask where a method's posterior puts the truth."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from jaxinv.compute.pieces import Pieces, join, n_done, remaining
from jaxinv.observation import Observation
from jaxinv.problem import Problem
from jaxinv.results.calibration import CalibrationReport
from jaxinv.results.posterior import Posterior, PosteriorStatus
from jaxinv.sampling.methods import Chains, Method, checked
from jaxinv.sampling.programs import object_keys
from jaxinv.sampling.sampler import advance_of, draw, progress_bar

_TOGETHER = 128
"""Objects sampled and kept together."""


def calibrate(
    problem: Problem,
    method: Method | Callable[[Problem, Any, PRNGKeyArray], Posterior] | None = None,
    n: int = 300,
    *,
    key: PRNGKeyArray,
    n_draws: int = 199,
    pieces: Pieces | None = None,
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
        pieces: keeps what is finished; objects that it holds already are not sampled again.
        progress: show a bar.

    Raises:
        ValueError: `n` or `n_draws` is too small, or the method makes fewer draws than `n_draws`.
    """
    if n < 20:
        raise ValueError(f"calibration needs 20 simulated objects or more; found n = {n}")
    if n_draws < 19:
        raise ValueError(f"calibration needs n_draws of 19 or more; found {n_draws}")
    if method is None or not callable(method) or isinstance(method, type):
        method = checked(method)
    if isinstance(method, Method) and math.prod(method.shape) < n_draws:
        made = math.prod(method.shape)
        raise ValueError(f"{type(method).__name__} makes {made} draws of each object; n_draws = {n_draws} needs more")
    simulation, sampling = jax.random.split(key)
    pieces = {} if pieces is None else pieces
    with progress_bar(n, progress, n_done(pieces, n), "object") as bar:
        advance = advance_of(bar)
        for start, stop in remaining(pieces, n, _TOGETHER):
            # As many as ever, so that a short piece needs no program of its own.
            truth, data = jax.vmap(problem.simulate)(object_keys(simulation, start + np.arange(_TOGETHER)))
            truth = {name: np.asarray(truth[name])[: stop - start] for name in problem.names}
            data = data[: stop - start]
            if isinstance(method, Method):
                data = Observation.of(data, ids=start + np.arange(stop - start))
                posterior = draw(problem, data, key=sampling, method=method, advance=advance)
            else:
                posterior = method(problem, data, jax.random.fold_in(sampling, start))
                bar.update(stop - start)
            part = _ranks(problem, posterior, truth, n_draws)
            pieces[start, stop] = {**part, "status": np.asarray(posterior.status)}
    ranks = join(pieces, n, {"status": PosteriorStatus.NOT_COMPUTED})
    status = ranks.pop("status")
    usable = np.all([x >= 0 for x in ranks.values()], axis=0)
    if not usable.any():
        raise ValueError("the method returned no finite draws for any simulated object")
    name = type(method).__name__ if isinstance(method, Method) else getattr(method, "__name__", "")
    if isinstance(method, Chains):
        name += f", {method.n_chains} chains"
    return CalibrationReport({label: x[usable] for label, x in ranks.items()}, n_draws, status, name)


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
