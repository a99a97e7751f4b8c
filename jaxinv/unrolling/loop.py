"""The learned loop for one object: a fixed number of a solver's steps, in which a network takes part.

The loop is the solver's own (`optimize.Steerable`): a look at the proposed point, which is kept if it is better, then
the next proposal. The network says how careful that is to be, or adds to it. One that answers nothing leaves the
classical solver; one that is wrong costs steps, never an answer, since the best point that was looked at is kept.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxinv.networks import Network
from jaxinv.optimize.objective import Objective
from jaxinv.optimize.solver import Answer, Solver, Steerable
from jaxinv.unrolling.settings import LearnedSteps

_MOST_CAUTIOUS = 12.0
"""Logarithm of the largest change of a solver's caution."""
_LONGEST = 30.0
"""Largest correction, in changes of a coordinate that the data begin to feel."""


class Loop(eqx.Module):
    """A network that takes part in a solver's steps.

    Attributes:
        settings: of the loop.
        network: `None`: the classical solver.
    """

    settings: LearnedSteps = eqx.field(static=True)
    network: Network | None

    @staticmethod
    def new(settings: LearnedSteps, n_signals: int, size: int, key: Any) -> Loop:
        """With random weights, which change the classical step very little."""
        if settings.variant == "damping":
            shape = {"n_in": n_signals + 1, "n_out": size, "width": settings.width, "depth": 1}
            network = Network.new("mlp", shape, key)
            quiet = lambda n: n.weights["last"]["kernel"]  # noqa: E731
            return Loop(settings, eqx.tree_at(quiet, network, replace_fn=lambda x: jax.tree.map(lambda a: 0.1 * a, x)))
        shape = {"n_in": n_signals + 1 + size, "n_out": 3 * size, "width": settings.width}
        return Loop(settings, Network.new("recurrent", shape, key))

    def memory(self, dtype: Any) -> Array:
        """Before the first step."""
        return jnp.zeros(0 if self.settings.variant == "damping" else self.settings.width, dtype)

    def propose(
        self, solver: Steerable, objective: Objective, state: Any, memory: Array, move: Array, k: Array
    ) -> tuple[Any, Array]:
        """The state with the next proposal, and the memory.

        Beyond the steps that it was trained for, the network has nothing to say.

        Args:
            solver: whose step it is.
            objective: of the object.
            state: after a look.
            memory: of the steps before.
            move: the last step, `(size,)` in coordinates.
            k: its number.
        """
        if self.network is None:
            return solver.propose(objective, state), memory
        dtype = state.vector.dtype
        taught = k < self.settings.steps
        turn = jnp.reshape(k.astype(dtype) / 4, 1)
        signals = jnp.concatenate([solver.signals(objective, state), turn])
        if self.settings.variant == "damping":
            caution = _limited(self.network(signals), _MOST_CAUTIOUS)
            return solver.propose(objective, state, jnp.where(taught, caution, 0)), memory
        sizes = solver.sizes(objective, state)
        memory, answer = self.network(memory, jnp.concatenate([signals, jnp.arcsinh(move / sizes)]))
        change, gate, caution = jnp.split(answer, 3)
        # Near the minimum, where the solver's own step gains little, the network has nothing to say.
        promise = solver.promise(objective, state)
        change = _limited(change, _LONGEST) * jax.nn.sigmoid(gate) * (promise / (promise + 1)) * sizes
        if self.settings.variant == "recurrent":
            state = solver.propose(objective, state, jnp.where(taught, _limited(caution, _MOST_CAUTIOUS), 0))
            change = jnp.where(taught, change, 0)
            return state._replace(proposal=objective.inside(state.proposal + change)), memory
        state = solver.propose(objective, state)
        proposal = objective.inside(state.vector + change * jnp.exp(caution))
        return state._replace(proposal=jnp.where(taught, proposal, state.proposal)), memory


class Trace(NamedTuple):
    """What came of the loop for one object.

    Attributes:
        state: of the solver after the last look, with the next proposal.
        costs: `(steps + 1,)` found at each look, the start first; differentiable as the settings say.
    """

    state: Any
    costs: Array


def run(loop: Loop, solver: Steerable, objective: Objective, start: Array, steps: int) -> Trace:
    """The loop from one starting point, `(size,)` in coordinates."""
    greedy = loop.settings.backpropagation == "greedy"

    def look(state: Any) -> tuple[Any, Array]:
        proposal = state.proposal
        if not greedy:
            state, found = solver.look(objective, state)
            return state, found.cost
        state, found = solver.look(objective, jax.lax.stop_gradient(state))
        found = jax.lax.stop_gradient(found)
        return jax.lax.stop_gradient(state), found.cost + jnp.dot(
            2 * found.gradient, proposal - jax.lax.stop_gradient(proposal)
        )

    def turn(carry: Any, k: Array) -> tuple[Any, Array]:
        state, memory, move = carry
        state, cost = look(state)
        state, memory = loop.propose(solver, objective, state, memory, move, k)
        return (state, memory, jax.lax.stop_gradient(state.proposal - state.vector)), cost

    turn = turn if greedy else jax.checkpoint(turn)
    carry = (solver.init(objective, start), loop.memory(start.dtype), jnp.zeros_like(start))
    (state, _, _), costs = jax.lax.scan(turn, carry, jnp.arange(steps + 1))
    return Trace(state, costs)


class _Steered(NamedTuple):
    state: Any
    memory: Array
    move: Array
    count: Array
    converged: Array


class Steered(Solver):
    """A solver with a network at its wheel, for as many steps as that was trained for, and alone from there on.

    Attributes:
        loop: the network.
        solver: whose steps they are.
    """

    loop: Loop = eqx.field(kw_only=True)
    solver: Steerable = eqx.field(kw_only=True)

    def init(self, objective: Objective, vector: Array) -> _Steered:
        state, memory = self.solver.init(objective, vector), self.loop.memory(vector.dtype)
        return _Steered(state, memory, jnp.zeros_like(vector), jnp.zeros((), jnp.int32), jnp.asarray(False))

    def step(self, objective: Objective, state: _Steered) -> _Steered:
        own, _ = self.solver.look(objective, state.state)
        own, memory = self.loop.propose(self.solver, objective, own, state.memory, state.move, state.count)
        alone = state.count >= self.loop.settings.steps
        converged = self.solver.settled(objective, own) | (alone & self.solver.done(own))
        return _Steered(own, memory, own.proposal - own.vector, state.count + 1, converged)

    def done(self, state: _Steered) -> Array:
        return state.converged

    def answer(self, objective: Objective, state: _Steered) -> Answer:
        found = self.solver.answer(objective, state.state)
        return found._replace(last=state.state.proposal)


def _limited(x: Array, most: float) -> Array:
    return most * jnp.tanh(x / most)
