"""Recurrent networks: one step of a loop at a time, with a memory of the steps before."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array

from jaxinv.networks.dense import linear


class Recurrent(nnx.Module):
    """A gated recurrent unit (Cho et al. 2014) with a dense layer before it and one behind it.

    Args:
        n_in: length of the input of each step.
        n_out: length of the output of each step; starts near zero, so that what it corrects is left as it is.
        width: of the memory.
        rngs: random keys of the initial weights.
    """

    def __init__(self, n_in: int, n_out: int, *, width: int = 64, rngs: nnx.Rngs) -> None:
        self.width = width
        self.first = linear(n_in, width, rngs, 1.4)
        self.gates = linear(2 * width, 2 * width, rngs)
        self.candidate = linear(2 * width, width, rngs)
        self.last = linear(width, n_out, rngs, 0.01)

    def __call__(self, memory: Array, x: Array) -> tuple[Array, Array]:
        """The next memory `(..., width)` and the output `(..., n_out)`, from the memory and the input `(..., n_in)`."""
        x = nnx.silu(self.first(x))
        reset, update = jnp.split(jax.nn.sigmoid(self.gates(jnp.concatenate([memory, x], -1))), 2, -1)
        candidate = jnp.tanh(self.candidate(jnp.concatenate([reset * memory, x], -1)))
        memory = (1 - update) * memory + update * candidate
        return memory, self.last(memory)
