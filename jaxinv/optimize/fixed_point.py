"""The engine of iterative methods: a step is repeated, and what it leads to is differentiated.

`until` stops by itself (a while loop, for fits), `repeated` takes a fixed number of steps that are differentiated one
by one (unrolled methods; rematerialized: at the memory of one step), and `implicit` differentiates the fixed point
alone, whatever led there (deep equilibria, Bai, Kolter & Koltun 2019; bilevel learning).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array


def until(step: Callable[[Any], Any], done: Callable[[Any], Array], state: Any, most: Array | int) -> tuple[Any, Array]:
    """The state after steps until it is done, `most` at most, and their number; the first one is taken unasked."""

    def going(carry: tuple[Any, Array]) -> Array:
        state, count = carry
        return (count < most) & ((count == 0) | ~done(state))

    def advance(carry: tuple[Any, Array]) -> tuple[Any, Array]:
        return step(carry[0]), carry[1] + 1

    return jax.lax.while_loop(going, advance, (state, jnp.zeros((), jnp.int32)))


def repeated(step: Callable[[Any], Any], state: Any, steps: int, *, rematerialized: bool = False) -> Any:
    """The state after so many steps.

    Args:
        step: `state -> state`.
        state: the first.
        steps: how many.
        rematerialized: whether reverse mode computes each step anew in place of keeping what it made.
    """
    one = jax.checkpoint(step) if rematerialized else step
    return jax.lax.scan(lambda state, _: (one(state), None), state, length=steps)[0]


def implicit(move: Callable[[Any], Any], point: Any, *, tolerance: float, most: int) -> Any:
    """A fixed point of `move` with the derivative that it has by all that `move` closes over.

    d point = (1 - J)^-1 d move, J = d move / d point, by as many applications of J, or of its transpose, as it takes:
    they converge where the iteration itself does. Forward and reverse mode.

    Args:
        move: `point -> point`.
        point: where it moves nothing; floating-point arrays.
        tolerance: relative change of the derivative at which it is good.
        most: applications of J.
    """

    def inverse(difference: Callable[[Any], Any], right: Any) -> Any:
        def advance(state: tuple[Any, Array]) -> tuple[Any, Array]:
            at, _ = state
            step = jax.tree.map(jnp.subtract, right, difference(at))
            return jax.tree.map(jnp.add, at, step), relative(step, at)

        start = (right, jnp.asarray(jnp.inf, jax.tree.leaves(right)[0].dtype))
        return until(advance, lambda state: ~(state[1] > tolerance), start, most)[0][0]

    def tangent(difference: Callable[[Any], Any], right: Any) -> Any:
        # Parts of a point that do not depend on what is varied: JAX transposes no solve with some of them constant.
        first, *others = (jnp.sum(leaf) for leaf in jax.tree.leaves(right))
        nothing = 0 * sum(others, first)
        right = jax.tree.map(lambda leaf: leaf + nothing.astype(leaf.dtype), right)
        return jax.lax.custom_linear_solve(difference, right, inverse, transpose_solve=inverse)

    return jax.lax.custom_root(
        lambda at: jax.tree.map(jnp.subtract, at, move(at)),
        jax.lax.stop_gradient(point),
        lambda _, start: start,
        tangent,
    )


def relative(step: Any, at: Any) -> Array:
    """The largest change of any array of a pytree, in units of the size of what it changes; 0 where both are 0."""
    each = []
    for moved, array in zip(jax.tree.leaves(step), jax.tree.leaves(at), strict=True):
        size, change = (jnp.sum(jnp.abs(x) ** 2) for x in (array, moved))
        each.append(jnp.where(change > 0, jnp.sqrt(change / jnp.where(size > 0, size, change)), change))
    # Not `max`, which would hide what is not finite.
    return jnp.sqrt(jnp.sum(jnp.stack(each) ** 2))
