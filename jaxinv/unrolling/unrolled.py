"""A trained loop: fits a batch from a network's answers, each object by as many steps as it needs."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import ArrayLike

from jaxinv.amortization.estimator import PARTS, PointEstimator
from jaxinv.compute import batch
from jaxinv.compute.devices import over_devices
from jaxinv.compute.groups import map_in_groups
from jaxinv.observation import Observation
from jaxinv.optimize.fit import fit_rows
from jaxinv.optimize.levenberg_marquardt import LevenbergMarquardt
from jaxinv.optimize.solver import Steerable
from jaxinv.problem import Problem
from jaxinv.results.solution import Solution
from jaxinv.training import folder
from jaxinv.training.loop import Curve
from jaxinv.unrolling.loop import Loop, Steered
from jaxinv.unrolling.settings import LearnedSteps

_BATCH = 512
"""Objects that a network sees together."""
_MOST = 20
"""Steps of an object, if nobody says how many."""


class Start(Protocol):
    """What gives a loop its starting point: a network of `amortize`."""

    def start(self, problem: Problem, observed: Any, known: Mapping[str, Any]) -> tuple[dict[str, Array], Array]:
        """Parameters of one object inside the support, and whether its data are like those it was trained on."""
        ...

    def check(self, problem: Problem, known: Mapping[str, Any]) -> None:
        """Whether it was trained for a problem like this."""
        ...


class Unrolled(eqx.Module):
    """A loop of learned steps, made by `unroll`.

    Attributes:
        loop: its network and settings.
        solver: whose steps they are.
        start: the network whose answers it starts from; `None`: the forward model's estimates.
        names: the parameters that it infers.
        curve: of the training.
        best_step: of the training, whose weights were kept.
    """

    loop: Loop
    solver: Steerable
    start: Any
    names: tuple[str, ...] = eqx.field(static=True)
    curve: Curve | None = None
    best_step: int = 0

    def __call__(
        self,
        problem: Problem,
        data: ArrayLike | Observation | batch.Rows,
        *,
        steps: int | None = None,
        covariance: str = "dense",
        fixed: Mapping[str, ArrayLike] | None = None,
        initial: Mapping[str, ArrayLike] | None = None,
    ) -> Solution:
        """As `fit(problem, data)`, from one start, by learned steps until an object has converged.

        As in a fit, the last step, of which only the cost is looked at, is kept if it leads down, and the covariance is
        that of the exact curvature where that step began. There it was to gain less than 0.01 plus 1e-5 of
        the sum of squared residuals, by Levenberg-Marquardt's tolerances.

        Args:
            problem: the one that the loop was trained for, or one that differs in its noise or in what is known.
            data: `(*batch, *prediction_shape)`, or an `Observation` of that.
            steps: of the loop, at most, before the last one; 0: of the start alone, if that has a network, its answer
                and the last step. By default what an object needs: beyond those that the loop was trained for, the
                steps are the solver's own. An object that has not converged by then is `Status.NOT_CONVERGED`;
                `assure` mends it.
            covariance: "dense" or "none".
            fixed: parameters known for each object.
            initial: starting values in place of the network's or the forward model's, e.g. all of `begin`.

        Raises:
            ValueError: as `fit`; or the problem is not of the kind that the loop was trained for.
        """
        batch.check_names(problem, "initial", initial or {})
        if covariance not in ("dense", "none"):
            raise ValueError(f"covariance is 'dense' or 'none'; found {covariance!r}")
        rows = self._checked(problem, data, fixed)
        first = batch.per_object(rows.problem, "initial", initial, rows.shape, rows.dtype)
        if not first.keys() >= set(rows.problem.names):
            first = self._begin(rows)[0] | first
        count = _MOST if steps is None else steps
        # Numbers that a step is compared with are arrays to the program, so one serves any number of steps.
        solver = Steered(
            max_iterations=count + 1, n_starts=1, covariance=covariance, loop=self.loop, solver=self.solver
        )
        return fit_rows(rows, first, solver)

    def begin(
        self,
        problem: Problem,
        data: ArrayLike | Observation | batch.Rows,
        *,
        fixed: Mapping[str, ArrayLike] | None = None,
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """The starting values of a network, and `(*batch,)` whether an object is like those that it was trained on.

        Without a network there are no values, and nothing is unfamiliar.

        Raises:
            ValueError: as a call.
        """
        rows = self._checked(problem, data, fixed)
        first, familiar = self._begin(rows)
        return {name: x.reshape(*rows.shape, *x.shape[1:]) for name, x in first.items()}, familiar.reshape(rows.shape)

    def _begin(self, rows: batch.Rows) -> tuple[dict[str, np.ndarray], np.ndarray]:
        if self.start is None:
            return {}, np.ones(rows.n, bool)
        start = self.start.without_history() if isinstance(self.start, PointEstimator) else self.start
        return over_devices(_begin, (start, rows.problem), (rows.observed, rows.known))

    def _checked(self, problem: Problem, data: Any, fixed: Any) -> batch.Rows:
        rows = batch.in_rows(problem, data, fixed)
        if rows.problem.names != self.names:
            raise ValueError(
                f"the loop was trained to infer {', '.join(self.names)}; the problem infers "
                f"{', '.join(rows.problem.names)}"
            )
        if self.start is not None:
            self.start.check(rows.problem, rows.known)
        return rows

    def save(self, path: str | os.PathLike[str], problem: Problem, notes: Mapping[str, Any] | None = None) -> None:
        """Write networks, settings and codings to a folder, with what problem they were trained for.

        Args:
            path: the folder.
            problem: the one that it was trained for.
            notes: what else the card should say, as JSON can say it.

        Raises:
            OutputError: it cannot be written.
        """
        shape = problem.prediction_shape(set(problem.forward.units) - set(problem.prior))
        folder.save(path, self, {**folder.described_problem(problem, shape), **(notes or {})})

    @staticmethod
    def load(path: str | os.PathLike[str], problem: Problem | None = None, parts: Sequence[type] = ()) -> Unrolled:
        """What `save` wrote; `problem` is checked against the one that it was trained for.

        Args:
            path: the folder.
            problem: what it is to be used for.
            parts: classes of a solver of your own.

        Raises:
            FolderError: the folder is not there, damaged, of another kind or version, or for another forward model.
        """
        known = (Loop, LearnedSteps, LevenbergMarquardt, PointEstimator, *PARTS, *parts)
        found, card = folder.load(path, Unrolled, known)
        if problem is not None:
            folder.check_forward(path, card, problem.forward)

        def curve(x: Any) -> Any:
            return None if x is None else Curve(*x)

        start = found.start
        if start is not None:
            start = dataclasses.replace(start, curve=curve(start.curve))
        return dataclasses.replace(found, curve=curve(found.curve), start=start)


def start_of(start: Any, problem: Problem, observed: Any, known: Any) -> Array:
    """The starting point of one object, `(size,)` in coordinates."""
    if start is None:
        parameters = {name: value[0] for name, value in problem.guess(observed, known).items()}
    else:
        parameters, _ = start.start(problem, observed, known)
    return problem.coordinates.vector(parameters)


def _begin(common: Any, inputs: Any) -> tuple[dict[str, Array], Array]:
    start, problem = common
    dtype = jax.tree.leaves(inputs[0])[0].dtype

    def one(item: Any) -> tuple[dict[str, Array], Array]:
        found, familiar = start.start(problem, *item)
        return {name: jnp.asarray(found[name], dtype) for name in problem.names}, familiar

    return map_in_groups(one, inputs, _BATCH)
