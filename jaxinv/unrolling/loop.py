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
from jaxinv.optimize.solver import Steerable
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
        turn = jnp.reshape(k.astype(dtype) / 4, 1)
        signals = jnp.concatenate([solver.signals(objective, state), turn])
        if self.settings.variant == "damping":
            return solver.propose(objective, state, _limited(self.network(signals), _MOST_CAUTIOUS)), memory
        sizes = solver.sizes(objective, state)
        memory, answer = self.network(memory, jnp.concatenate([signals, jnp.arcsinh(move / sizes)]))
        change, gate, caution = jnp.split(answer, 3)
        # Near the minimum, where the solver's own step gains little, the network has nothing to say.
        promise = solver.promise(objective, state)
        change = _limited(change, _LONGEST) * jax.nn.sigmoid(gate) * (promise / (promise + 1)) * sizes
        if self.settings.variant == "recurrent":
            state = solver.propose(objective, state, _limited(caution, _MOST_CAUTIOUS))
            return state._replace(proposal=objective.inside(state.proposal + change)), memory
        state = solver.propose(objective, state)
        return state._replace(proposal=objective.inside(state.vector + change * jnp.exp(caution))), memory


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


def advanced(loop: Loop, solver: Steerable, objective: Objective, start: Array, steps: Array) -> Any:
    """As `run`, of which only the state is wanted: `steps` may be traced, so that one program serves any number."""

    def turn(k: Array, carry: Any) -> Any:
        state, memory, move = carry
        state, _ = solver.look(objective, state)
        state, memory = loop.propose(solver, objective, state, memory, move, k)
        return state, memory, state.proposal - state.vector

    carry = (solver.init(objective, start), loop.memory(start.dtype), jnp.zeros_like(start))
    return jax.lax.fori_loop(0, steps + 1, turn, carry)[0]


def _limited(x: Array, most: float) -> Array:
    return most * jnp.tanh(x / most)
