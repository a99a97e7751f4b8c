"""The guarantee of every quick answer: the exact forward model looks at it before it is handed over."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxinv import priors
from jaxinv.compute import batch
from jaxinv.observation import Observation
from jaxinv.optimize.fit import fit_rows
from jaxinv.optimize.levenberg_marquardt import LevenbergMarquardt
from jaxinv.problem import Problem
from jaxinv.results.solution import Route, Solution, Status

_TOGETHER = 512
"""Objects that are fitted together, whatever their number: so one program serves all batches and pieces."""


class Assured(NamedTuple):
    """Answers that were checked.

    Attributes:
        solution: of every object.
        route: `(*batch,)`, values of `Route`.
    """

    solution: Solution
    route: np.ndarray

    def count(self) -> dict[str, int]:
        """How many objects went which way, by name."""
        return {route.name.lower(): int(np.sum(self.route == route)) for route in Route}


def assure(
    problem: Problem,
    answer: Solution,
    data: ArrayLike | Observation | batch.Rows,
    *,
    chi2: ArrayLike,
    doubtful: ArrayLike | None = None,
    fixed: Mapping[str, ArrayLike] | None = None,
    solver: LevenbergMarquardt | None = None,
    seed: int = 0,
) -> Assured:
    """Check quick answers by the exact forward model, and mend those that fail.

    An answer passes if it has converged by the solver's own test (its status says so) and its chi2 is not above
    `chi2`. One that does not, or is doubtful, is fitted by Levenberg-Marquardt, from where it is and, while that does
    not pass, from the usual starts. What comes out is never worse than what went in.

    Args:
        problem: with the exact forward model.
        answer: of a learned loop or a network, for these data.
        data: `(*batch, *prediction_shape)`, or an `Observation` of that.
        chi2: what is plausible, for each object or for all: what converged fits of such data reach.
        doubtful: `(*batch,)`, objects to be fitted anew whatever their answer.
        fixed: parameters known for each object.
        solver: of the full fit.
        seed: of its random starts.

    Raises:
        ValueError: as `fit`; or the answer is for another batch.
    """
    rows = batch.in_rows(problem, data, fixed)
    if np.shape(answer.status) != rows.shape:
        raise ValueError(f"the answer is for a batch of {np.shape(answer.status)}, the data are of {rows.shape}")
    solver = solver or LevenbergMarquardt()
    solution = _flat(answer, len(rows.shape))
    limit = np.broadcast_to(np.asarray(chi2, float), rows.shape).ravel()
    anew = np.zeros(rows.n, bool) if doubtful is None else np.broadcast_to(doubtful, rows.shape).ravel()
    fails = ~_converged(solution) | ~(solution.chi2 <= limit) | anew
    left = np.flatnonzero(fails & (solution.status != Status.NO_DATA))
    route = np.full(rows.n, Route.QUICK, np.int16)
    route[left] = np.where(anew[left], Route.UNFAMILIAR, Route.REFITTED)
    if left.size:
        # A misfit that passes is good enough for a fit anew, too: no further start is taken.
        most = float(np.min(limit[left]))
        solver = dataclasses.replace(solver, enough=max(float(solver.enough), min(most, 1e30)))
        for k in range(0, left.size, _TOGETHER):
            some = left[k : k + _TOGETHER]
            mended = _refit(rows, some, solution, solver, seed)
            kept = (mended.chi2 > solution.chi2[some]) & _converged(solution)[some]
            solution = merged(solution, some[~kept], mended, np.flatnonzero(~kept))
    return Assured(solution.each(lambda x: x.reshape(*rows.shape, *x.shape[1:])), route.reshape(rows.shape))


def _converged(solution: Solution) -> np.ndarray:
    return (solution.status == Status.CONVERGED) | (solution.status == Status.AT_BOUND)


def _refit(rows: batch.Rows, some: np.ndarray, solution: Solution, solver: Any, seed: int) -> Solution:
    """Fit a few objects, from where they are and from the usual starts."""
    chosen = batch.pad(some, _TOGETHER)
    few = rows.pick(chosen)
    empty = few.observed.values if isinstance(few.observed, Observation) else few.observed
    empty[len(some) :] = np.nan
    centre = {name: np.asarray(priors.centre(rows.problem.prior[name])) for name in rows.problem.names}
    before = {}
    for name in rows.problem.names:
        value = solution.parameters[name][chosen]
        before[name] = np.where(np.isfinite(value), value, centre[name]).astype(rows.dtype)
    found = fit_rows(few, {}, solver, seed=seed, before=before)
    return found.each(lambda x: x[: len(some)])


def _flat(solution: Solution, n_batch: int) -> Solution:
    return solution.each(lambda x: np.array(x).reshape(-1, *x.shape[n_batch:]))


def merged(old: Solution, where: np.ndarray, new: Solution, which: np.ndarray) -> Solution:
    """The solution with the objects `where` taken from those that are `which` in another one; a row of objects each."""

    def put(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        a = np.array(a)
        a[where] = b[which]
        return a

    fields = {}
    for field in dataclasses.fields(old):
        a, b = getattr(old, field.name), getattr(new, field.name)
        if isinstance(a, dict):
            fields[field.name] = {name: put(a[name], b[name]) for name in a}
        else:
            fields[field.name] = a if a is None or field.name == "labels" else put(a, b)
    return Solution(**fields)
