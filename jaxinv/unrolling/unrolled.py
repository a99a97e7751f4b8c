"""A trained loop: fits a batch in one compiled program with the same number of steps for every object."""

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
from jaxinv.observation import Observation
from jaxinv.optimize.fit import Result, lapack_of, summarize, to_solution
from jaxinv.optimize.levenberg_marquardt import LevenbergMarquardt
from jaxinv.optimize.normal import prior_cost
from jaxinv.optimize.objective import Objective
from jaxinv.optimize.solver import Steerable
from jaxinv.problem import Problem
from jaxinv.results.solution import Solution
from jaxinv.training import folder
from jaxinv.training.loop import Curve
from jaxinv.unrolling.loop import Loop, advanced
from jaxinv.unrolling.settings import LearnedSteps

_BATCH = 128
"""Objects whose loops run together; what they need fits in the cache."""


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
        data: ArrayLike | Observation,
        *,
        steps: int | None = None,
        covariance: str = "dense",
        fixed: Mapping[str, ArrayLike] | None = None,
        initial: Mapping[str, ArrayLike] | None = None,
    ) -> Solution:
        """As `fit(problem, data)`, by `steps` learned steps and a last one that is kept if its misfit is lower.

        An object at which the solver's own convergence test does not hold is `Status.NOT_CONVERGED`; `assure` mends
        it. The covariance is that of the exact curvature at the last point at which the Jacobian was computed.

        Args:
            problem: the one that the loop was trained for, or one that differs in its noise or in what is known.
            data: `(*batch, *prediction_shape)`, or an `Observation` of that.
            steps: of the loop; those that it was trained for by default. 0: of the start alone, if that has a network,
                its answer and the last step.
            covariance: "dense" or "none".
            fixed: parameters known for each object.
            initial: starting values in place of the network's or the forward model's.

        Raises:
            ValueError: as `fit`; or the problem is not of the kind that the loop was trained for.
        """
        return self.with_domain(problem, data, steps=steps, covariance=covariance, fixed=fixed, initial=initial)[0]

    def with_domain(
        self,
        problem: Problem,
        data: ArrayLike | Observation,
        *,
        steps: int | None = None,
        covariance: str = "dense",
        fixed: Mapping[str, ArrayLike] | None = None,
        initial: Mapping[str, ArrayLike] | None = None,
    ) -> tuple[Solution, np.ndarray]:
        """The same, and `(*batch,)`: whether an object is like those that the start was trained on."""
        batch.check_names(problem, "initial", initial or {})
        rows = batch.in_rows(problem, data, fixed)
        first = batch.per_object(rows.problem, "initial", initial, rows.shape, rows.dtype)
        if rows.problem.names != self.names:
            raise ValueError(
                f"the loop was trained to infer {', '.join(self.names)}; the problem infers "
                f"{', '.join(rows.problem.names)}"
            )
        if self.start is not None:
            self.start.check(rows.problem, rows.known)
        if covariance not in ("dense", "none"):
            raise ValueError(f"covariance is 'dense' or 'none'; found {covariance!r}")
        steps = self.loop.settings.steps if steps is None else steps
        # Numbers as arrays, so that another tolerance is not another program.
        own = eqx.tree_at(lambda u: (u.curve, u.best_step), self, (None, 0), is_leaf=lambda x: x is None)
        own = eqx.tree_at(lambda u: u.solver, own, jax.tree.map(np.float32, own.solver))
        common = (own, rows.problem, _Plan(np.int32(steps), covariance))
        inputs = (rows.observed, rows.known, first)
        arrays = over_devices(_loop, common, inputs, lapack=lapack_of(rows.problem))
        inside = arrays.pop("inside").reshape(rows.shape)
        return to_solution(rows.problem, rows.known, arrays, rows.shape), inside

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


class _Plan(eqx.Module):
    steps: Any  # an array: one program for any number
    covariance: str = eqx.field(static=True)


def start_of(start: Any, problem: Problem, observed: Any, known: Any) -> tuple[Array, Array]:
    """The starting point `(size,)` in coordinates, and whether the object is like those of the training."""
    if start is None:
        guesses = problem.guess(observed, known)
        parameters, inside = {name: value[0] for name, value in guesses.items()}, jnp.asarray(True)
    else:
        parameters, inside = start.start(problem, observed, known)
    return problem.coordinates.vector(parameters), inside


def _loop(common: Any, inputs: Any) -> dict[str, Any]:
    unrolled, problem, plan = common
    layout, coordinates = problem.layout, problem.coordinates

    def one(item: Any) -> dict[str, Any]:
        observed, known, first = item
        objective = Objective(problem, observed, known)
        values = observed.values if isinstance(observed, Observation) else observed
        n_valid = jnp.sum(problem.noise.valid(values, observed))
        vector, inside = start_of(unrolled.start, problem, observed, known)
        if first:
            vector = coordinates.vector({**coordinates.parameters(vector), **first})
        solver = unrolled.solver
        state = advanced(unrolled.loop, solver, objective, vector.astype(values.dtype), plan.steps)
        answer = solver.answer(objective, state)
        # The last step says whether the loop has come to rest, and is taken if it leads down.
        ending = solver.end(objective, state)
        last = layout.ravel(coordinates.parameters(state.proposal))
        misfit = objective.misfit(problem.predict({**known, **layout.unravel(last)}))
        cost = misfit + prior_cost(problem, layout, last)
        lower = cost <= answer.cost
        converged = ending.converged(answer.cost, cost)
        vector = layout.ravel(coordinates.parameters(answer.vector))
        misfit = jnp.where(lower, misfit, answer.cost - prior_cost(problem, layout, vector))
        vector = jnp.where(lower, last, vector)
        count = plan.steps + 1
        result = Result(vector, answer.normal, converged, count, jnp.ones_like(count))
        return {**summarize(objective, result, n_valid, misfit, plan.covariance), "inside": inside}

    return jax.lax.map(one, inputs, batch_size=_BATCH)
