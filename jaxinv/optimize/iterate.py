"""`iterate`: a fixed number of a solver's steps on one object, each of which is differentiated: unrolling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jaxtyping import Array

from jaxinv.optimize import fixed_point
from jaxinv.optimize.solve import begun
from jaxinv.optimize.solver import Solver
from jaxinv.problem import Problem


def iterate(
    problem: Problem,
    data: Any,
    steps: int,
    initial: Mapping[str, Any] | None = None,
    *,
    known: Mapping[str, Any] | None = None,
    solver: Solver | None = None,
    rematerialized: bool = False,
) -> dict[str, Array]:
    """The parameters of ONE object after so many steps, as a pure function that is differentiated through all of them.

    For unrolled learning: of a prior's weight, a denoiser's weights, a kernel, or a step. `solve` differentiates the
    point to which they would lead.

    Args:
        problem: forward model, noise and prior.
        data: one object's, `data_shape`, or an `Observation` of it.
        steps: how many, from one start.
        initial: as in `solve`.
        known: as in `solve`.
        solver: as in `fit`.
        rematerialized: whether reverse mode computes each step anew, at the memory of one step.

    Raises:
        ValueError: as `solve`, or fewer than one step.
    """
    if steps < 1:
        raise ValueError(f"`steps` is a whole number above 0; found {steps}")
    solver, objective, vector = begun(problem, data, initial, known, solver)
    begin = solver.init(objective, vector)
    step = lambda state: solver.step(objective, state)  # noqa: E731
    state = fixed_point.repeated(step, begin, steps, rematerialized=rematerialized)
    return objective.coordinates.parameters(solver.answer(objective, state).vector)
