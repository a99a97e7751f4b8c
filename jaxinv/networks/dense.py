"""Dense networks: vectors in, vectors out."""

from __future__ import annotations

import itertools
import math

from flax import nnx
from jaxtyping import Array

# An accelerator would otherwise round the factors of a product to ten bits: 1e-3, the error that is aimed at.
PRECISION = "highest"


def linear(n_in: int, n_out: int, rngs: nnx.Rngs, scale: float = 1.0) -> nnx.Linear:
    """A dense layer whose initial weights have the variance scale^2 / n_in."""
    start = nnx.initializers.variance_scaling(scale**2, "fan_in", "truncated_normal")
    return nnx.Linear(n_in, n_out, kernel_init=start, precision=PRECISION, rngs=rngs)


class MLP(nnx.Module):
    """A multilayer perceptron with SiLU activations, which are smooth: its derivatives are continuous.

    Args:
        n_in: length of the input.
        n_out: length of the output.
        width: of the hidden layers.
        depth: the number of hidden layers.
        rngs: random keys of the initial weights.
    """

    def __init__(self, n_in: int, n_out: int, *, width: int = 128, depth: int = 3, rngs: nnx.Rngs) -> None:
        sizes = [n_in] + [width] * depth
        self.hidden = nnx.List([linear(a, b, rngs, math.sqrt(2)) for a, b in itertools.pairwise(sizes)])
        self.last = linear(sizes[-1], n_out, rngs)

    def __call__(self, x: Array) -> Array:
        """`(..., n_out)` from `(..., n_in)`."""
        for layer in self.hidden:
            x = nnx.silu(layer(x))
        return self.last(x)


class ResidualMLP(nnx.Module):
    """A perceptron of residual blocks x + W2 silu(W1 x): deep ones train as easily as shallow ones (He et al. 2016).

    Args:
        n_in: length of the input.
        n_out: length of the output.
        width: of the blocks.
        depth: the number of blocks, of two layers each.
        rngs: random keys of the initial weights.
    """

    def __init__(self, n_in: int, n_out: int, *, width: int = 256, depth: int = 3, rngs: nnx.Rngs) -> None:
        self.first = linear(n_in, width, rngs, math.sqrt(2))
        self.inner = nnx.List([linear(width, width, rngs, math.sqrt(2)) for _ in range(depth)])
        self.outer = nnx.List([linear(width, width, rngs, 1 / math.sqrt(max(depth, 1))) for _ in range(depth)])
        self.last = linear(width, n_out, rngs)

    def __call__(self, x: Array) -> Array:
        """`(..., n_out)` from `(..., n_in)`."""
        x = nnx.silu(self.first(x))
        for inner, outer in zip(self.inner, self.outer, strict=True):
            x = x + outer(nnx.silu(inner(x)))
        return self.last(nnx.silu(x))
