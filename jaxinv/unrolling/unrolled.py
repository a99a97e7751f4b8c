"""A trained loop: fits a batch in one compiled program with the same number of steps for every object."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from numpy.typing import ArrayLike

from jaxinv.compute import batch
from jaxinv.compute.devices import over_devices
from jaxinv.observation import Observation
from jaxinv.optimize.assure import near_enough
from jaxinv.optimize.fit import Result, lapack_of, summarize, to_solution
from jaxinv.optimize.levenberg_marquardt import damped_step
from jaxinv.optimize.normal import in_units
from jaxinv.optimize.objective import Objective
from jaxinv.problem import Problem
from jaxinv.results.solution import Solution
from jaxinv.training import folder
from jaxinv.training.coding import ParameterCoding
from jaxinv.training.data import NOISES, DataCoding
from jaxinv.training.loop import Curve
from jaxinv.unrolling.loop import Learned, run
from jaxinv.unrolling.settings import LearnedLM

_BATCH = 128
"""Objects whose loops run together; what they need fits in the cache."""


class Unrolled(eqx.Module):
    """A learned Levenberg-Marquardt loop, made by `unroll`.

    Attributes:
        learned: its networks and settings.
        curve: of the training.
        best_step: of the training, whose weights were kept.
    """

    learned: Learned
    curve: Curve
    best_step: int

    def __call__(
        self,
        problem: Problem,
        data: ArrayLike | Observation,
        *,
        fixed: Mapping[str, ArrayLike] | None = None,
        initial: Mapping[str, ArrayLike] | None = None,
    ) -> Solution:
        """As `fit(problem, data)`, by the learned loop.

        A pixel whose loop has not come to rest is `Status.NOT_CONVERGED`; `assure` mends it.

        Args:
            problem: the one that the loop was trained for, or one that differs in its noise or in what is known.
            data: `(*batch, *prediction_shape)`, or an `Observation` of that.
            fixed: parameters known for each object.
            initial: starting values in place of the forward model's estimates.

        Raises:
            ValueError: as `fit`; or the data have another shape than those that the loop was trained for.
        """
        batch.check_names(problem, "initial", initial or {})
        rows = batch.in_rows(problem, data, fixed)
        first = batch.per_object(rows.problem, "initial", initial, rows.shape, rows.dtype)
        self.learned.check(rows.problem, rows.known)
        arrays = over_devices(
            _loop, (self.learned, rows.problem), (rows.observed, rows.known, first), lapack=lapack_of(rows.problem)
        )
        return to_solution(rows.problem, rows.known, arrays, rows.shape)

    def save(self, path: str | os.PathLike[str], problem: Problem, notes: Mapping[str, Any] | None = None) -> None:
        """Write networks, settings and codings to a folder, with what problem they were trained for.

        Args:
            path: the folder.
            problem: the one that it was trained for.
            notes: what else the card should say, as JSON can say it.

        Raises:
            OutputError: it cannot be written.
        """
        folder.save(path, self, {**folder.described_problem(problem, self.learned.data.mean.shape), **(notes or {})})

    @staticmethod
    def load(path: str | os.PathLike[str], problem: Problem | None = None) -> Unrolled:
        """What `save` wrote; `problem` is checked against the one that it was trained for.

        Raises:
            FolderError: the folder is not there, damaged, of another kind or version, or for another forward model.
        """
        found, card = folder.load(path, Unrolled, (Learned, LearnedLM, ParameterCoding, DataCoding, *NOISES))
        if problem is not None:
            folder.check_forward(path, card, problem.forward)
        return dataclasses.replace(found, curve=Curve(*found.curve))


def _loop(static: Any, inputs: Any) -> dict[str, Any]:
    learned, problem = static
    layout = problem.layout

    def one(item: Any) -> dict[str, Any]:
        observed, known, first = item
        values = observed.values if isinstance(observed, Observation) else observed
        n_valid = jnp.sum(problem.noise.valid(values, observed))
        starts = problem.guess(observed, known)
        start = layout.ravel({name: first.get(name, value[0]) for name, value in starts.items()}).astype(values.dtype)
        trace = run(learned, problem, start, observed, known)
        # What a further classical step would gain says whether the loop has come to rest.
        gain = damped_step(trace.normal, jnp.asarray(1e-3, start.dtype), jnp.zeros(len(start), bool))[1]
        converged = near_enough(gain, trace.normal.cost)
        count = jnp.asarray(len(trace.costs), jnp.int32)
        result = Result(*in_units(trace, learned.scale), converged, count, jnp.ones_like(count))
        return summarize(Objective(problem, observed, known), result, n_valid)

    return jax.lax.map(one, inputs, batch_size=_BATCH)
