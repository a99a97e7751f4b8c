"""A conditional normalizing flow: an invertible map from noise to a posterior, given a vector of context."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array

from jaxinv.networks.dense import MLP

_LEAST = 1e-3
"""The least width, height (of a bin, of the interval) and slope of a spline."""


class ConditionalFlow(nnx.Module):
    """Coupling layers of monotone rational-quadratic splines (Durkan et al. 2019, arXiv:1906.04032), then a scale.

    Half of the numbers pass unchanged and say, with the context, how each of the others is bent within [-edge, edge];
    beyond it is the identity. The halves change from layer to layer, in a random order that is fixed by the seed.

    Args:
        n: dimension.
        n_context: length of the context.
        width: of the hidden layers.
        depth: hidden layers of each coupling.
        layers: couplings.
        bins: of each spline.
        edge: beyond which the splines are straight; most of the noise should lie inside.
        rngs: random keys of the initial weights.
    """

    def __init__(
        self, n: int, n_context: int, *, width: int = 128, depth: int = 2, layers: int = 6, bins: int = 8,
        edge: float = 6.0, rngs: nnx.Rngs,
    ) -> None:  # fmt: skip
        if n < 2:
            raise ValueError("a coupling flow needs two dimensions or more")
        self.n, self.bins, self.edge = n, bins, edge
        turn = np.random.default_rng(0)
        halves = []
        for k in range(layers):
            if k % 2 == 0:
                order = turn.permutation(n)
            split = n // 2
            halves.append((order[:split], order[split:]) if k % 2 == 0 else (order[split:], order[:split]))
        self.halves = tuple((tuple(map(int, kept)), tuple(map(int, bent))) for kept, bent in halves)
        self.couplings = nnx.List(
            [
                _small_at_first(
                    MLP(len(kept) + n_context, len(bent) * (3 * bins - 1), width=width, depth=depth, rngs=rngs)
                )
                for kept, bent in self.halves
            ]
        )
        self.scale = _small_at_first(MLP(n_context, 2 * n, width=width, depth=depth, rngs=rngs))

    def invert(self, x: Array, context: Array) -> tuple[Array, Array]:
        """The noise of which `transform` makes `x`, `(n,)`, and the log of the volume's change from `x` to it."""
        shift, log_scale = self._affine(context)
        x = (x - shift) * jnp.exp(-log_scale)
        total = -jnp.sum(log_scale)
        for (kept, bent), network in zip(reversed(self.halves), reversed(list(self.couplings)), strict=True):
            knots = self._knots(network, x, kept, bent, context)
            new, slope = jax.vmap(_backward, (0, 0, 0, 0))(x[np.array(bent)], *knots)
            x = x.at[np.array(bent)].set(new)
            total = total + jnp.sum(slope)
        return x, total

    def transform(self, noise: Array, context: Array) -> tuple[Array, Array]:
        """A draw `(n,)` from noise `(n,)`, and the log of the volume's change, given the context, `(n_context,)`."""
        x, total = noise, jnp.zeros((), noise.dtype)
        for (kept, bent), network in zip(self.halves, self.couplings, strict=True):
            knots = self._knots(network, x, kept, bent, context)
            new, slope = jax.vmap(_forward, (0, 0, 0, 0))(x[np.array(bent)], *knots)
            x = x.at[np.array(bent)].set(new)
            total = total + jnp.sum(slope)
        shift, log_scale = self._affine(context)
        return shift + jnp.exp(log_scale) * x, total + jnp.sum(log_scale)

    def _affine(self, context: Array) -> tuple[Array, Array]:
        shift, log_scale = jnp.split(self.scale(context), 2)
        return shift, 4 * jnp.tanh(log_scale / 4)

    def _knots(
        self, network: MLP, x: Array, kept: tuple[int, ...], bent: tuple[int, ...], context: Array
    ) -> tuple[Array, Array, Array]:
        """Positions, values and log slopes at the knots, `(n_bent, bins + 1)` each."""
        raw = network(jnp.concatenate([x[np.array(kept)] / 2, context])).reshape(len(bent), 3 * self.bins - 1)
        widths, heights, slopes = raw[:, : self.bins], raw[:, self.bins : 2 * self.bins], raw[:, 2 * self.bins :]

        def positions(sizes: Array) -> Array:
            share = _LEAST + (1 - _LEAST * self.bins) * jax.nn.softmax(sizes, axis=-1)
            inner = jnp.cumsum(share[:, :-1], axis=-1)
            ends = jnp.zeros((len(bent), 1), raw.dtype)
            return self.edge * (2 * jnp.concatenate([ends, inner, ends + 1], -1) - 1)

        steep = _LEAST + (1 - _LEAST) * jax.nn.softplus(slopes + np.log(np.expm1(1.0)))
        ones = jnp.ones((len(bent), 1), raw.dtype)
        return positions(widths), positions(heights), jnp.concatenate([ones, steep, ones], -1)


def _small_at_first(network: MLP) -> MLP:
    """The same network with an output near zero: the flow starts as the identity."""
    kernel = network.last.kernel
    kernel[...] = 0.01 * kernel[...]
    return network


def _bin(x: Array, edges: Array, *others: Array) -> tuple[Array, ...]:
    """Both ends, in each of the arrays, of the bin that `x` lies in."""
    k = jnp.clip(jnp.searchsorted(edges, x, side="right") - 1, 0, len(edges) - 2)
    return tuple(array[k + side] for array in (edges, *others) for side in (0, 1))


def _forward(x: Array, positions: Array, values: Array, slopes: Array) -> tuple[Array, Array]:
    """The spline at the scalar `x`, and the log of its slope (Durkan et al. 2019, eqs. 4 and 5)."""
    inside = jnp.abs(x) < positions[-1]
    held = jnp.where(inside, x, 0)
    x0, x1, y0, y1, d0, d1 = _bin(held, positions, values, slopes)
    s = (y1 - y0) / (x1 - x0)
    t = (held - x0) / (x1 - x0)
    below = s + (d1 + d0 - 2 * s) * t * (1 - t)
    y = y0 + (y1 - y0) * (s * t**2 + d0 * t * (1 - t)) / below
    slope = 2 * jnp.log(s) + jnp.log(d1 * t**2 + 2 * s * t * (1 - t) + d0 * (1 - t) ** 2) - 2 * jnp.log(below)
    return jnp.where(inside, y, x), jnp.where(inside, slope, 0)


def _backward(y: Array, positions: Array, values: Array, slopes: Array) -> tuple[Array, Array]:
    """The inverse of the spline at the scalar `y`, and the log of the inverse's slope (ibid., eqs. 6 to 8)."""
    inside = jnp.abs(y) < values[-1]
    held = jnp.where(inside, y, 0)
    y0, y1, x0, x1, d0, d1 = _bin(held, values, positions, slopes)
    s = (y1 - y0) / (x1 - x0)
    rise = held - y0
    bend = d1 + d0 - 2 * s
    a = (y1 - y0) * (s - d0) + rise * bend
    b = (y1 - y0) * d0 - rise * bend
    c = -s * rise
    root = jnp.sqrt(jnp.maximum(b**2 - 4 * a * c, 1e-12))
    t = jnp.clip(2 * c / (-b - root), 0, 1)
    below = s + bend * t * (1 - t)
    slope = 2 * jnp.log(s) + jnp.log(d1 * t**2 + 2 * s * t * (1 - t) + d0 * (1 - t) ** 2) - 2 * jnp.log(below)
    return jnp.where(inside, x0 + (x1 - x0) * t, y), jnp.where(inside, -slope, 0)
