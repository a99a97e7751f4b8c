"""What a solver is: how one object is fitted from one start, and what holds of all starts."""

from __future__ import annotations

import abc
import dataclasses
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from jaxinv.optimize.normal import Normal
from jaxinv.optimize.objective import Objective, Slope

COVARIANCES = ("dense", "diagonal", "operator", "none")


class Answer(NamedTuple):
    """Where a solver stands, from one start.

    Attributes:
        vector: `(size,)` the best point that was looked at, in coordinates.
        last: a point that the solver expects to be better still and did not look at; else the same.
        cost: at `vector`; not finite: there is none.
        normal: the quadratic model there in the parameters' units, of a solver that has it; else `None`.
    """

    vector: Array
    last: Array
    cost: Array
    normal: Normal | None


class Solver(eqx.Module):
    """How one object is fitted from one start: `init`, then `step` until `done`; each step evaluates the model once.

    Attributes:
        max_iterations: steps allowed from one start.
        n_starts: starting points at most: the forward model's estimates, then draws from the prior.
        good_enough: no further start is taken once the misfit per sample is below 1 + `good_enough` standard deviations
            of a misfit that is due to noise alone, sqrt(2 / n_samples).
        enough: nor once the misfit per sample is below this: what other objects of the kind reach, for data that the
            model cannot describe to within the noise.
        agreement: nor once two starts ended with costs that differ by less than this fraction.
        patience: steps after which a further start is given up, if its cost is still half above the best.
        lanes: objects worked on at the same time on one device; 0: on a CPU what its cache holds, 16384 on an
            accelerator, fewer of large objects.
        covariance: "dense": `(n_free, n_free)`; "diagonal": standard errors alone; "operator": those, and the
            covariance as an operator; "none".
    """

    max_iterations: int = 150
    n_starts: int = eqx.field(static=True, default=4)
    good_enough: float = 3.0
    enough: float = 0.0
    agreement: float = 1e-3
    patience: float = 15.0
    lanes: int = eqx.field(static=True, default=0)
    covariance: str = eqx.field(static=True, default="dense")

    def __check_init__(self) -> None:
        if self.covariance not in COVARIANCES:
            raise ValueError(f"covariance is one of {', '.join(map(repr, COVARIANCES))}; found {self.covariance!r}")
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type == "int" and (not isinstance(value, int) or value < (0 if field.name == "lanes" else 1)):
                raise ValueError(f"{field.name} is a whole number above 0; found {value!r}")

    @abc.abstractmethod
    def init(self, objective: Objective, vector: Array) -> Any:
        """The state before the first step from `vector`, `(size,)` in coordinates; the model is not evaluated."""

    @abc.abstractmethod
    def step(self, objective: Objective, state: Any) -> Any:
        """The state after one more evaluation of the model."""

    @abc.abstractmethod
    def done(self, state: Any) -> Array:
        """Whether it has converged."""

    @abc.abstractmethod
    def answer(self, objective: Objective, state: Any) -> Answer:
        """Where it stands."""

    def lost(self, objective: Objective, state: Any) -> Array:
        """Whether it stands nowhere, after a step: no number came out."""
        return ~jnp.isfinite(self.answer(objective, state).cost)


class Steerable(Solver):
    """A solver in whose steps a network can take part: a step is a look, then a proposal.

    Its state has `vector`, the best point, and `proposal`, where to look next. `step` does it without a network.
    """

    @abc.abstractmethod
    def look(self, objective: Objective, state: Any) -> tuple[Any, Slope]:
        """The state after the model was evaluated at the proposal, which becomes the best point if it is better.

        With the cost found there, and its slope by the proposal, which costs nothing where it is not used.
        """

    @abc.abstractmethod
    def propose(self, objective: Objective, state: Any, caution: Array | None = None) -> Any:
        """The state with the next proposal.

        Args:
            objective: of the object.
            state: after a look.
            caution: `(size,)` how much more careful than usual to be in each coordinate: the logarithm of a factor on
                what shortens the step (a damping, an inverse step length).
        """

    @abc.abstractmethod
    def signals(self, objective: Objective, state: Any) -> Array:
        """What a network is told of where the solver stands, `(n_signals,)`: numbers of order 1 without units."""

    @abc.abstractmethod
    def sizes(self, objective: Objective, state: Any) -> Array:
        """The change of each coordinate that the data begin to feel, `(size,)`: the unit of a correction to a step."""

    @abc.abstractmethod
    def promise(self, objective: Objective, state: Any) -> Array:
        """By how much the cost would still fall, as predicted at the best point; a scalar."""

    @abc.abstractmethod
    def settled(self, objective: Objective, state: Any) -> Array:
        """Whether that is nothing that counts, at a point to which a step has led: it is a minimum."""

    def step(self, objective: Objective, state: Any) -> Any:
        return self.propose(objective, self.look(objective, state)[0])
