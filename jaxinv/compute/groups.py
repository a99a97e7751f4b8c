"""Some objects at a time inside a compiled program, so that what they need at once stays in a cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def map_in_groups(function: Callable[[Any], Any], items: Any, most: int) -> Any:
    """`function` of each item: `jax.vmap` of at most `most` of them at a time.

    `jax.lax.map` compiles a program of its own for what is left over after the last whole group. Here all groups are
    alike: of the size, from half of `most`, that leaves least to fill up with copies of the last item.

    Args:
        function: of one item.
        items: pytree of arrays with a common leading axis, one item or more.
        most: items together.

    Returns:
        Pytree of arrays with that leading axis.
    """
    n = len(jax.tree.leaves(items)[0])
    if n <= most:
        return jax.vmap(function)(items)
    size = min(range(most, (most + 1) // 2 - 1, -1), key=lambda size: -n % size)
    index = jnp.minimum(jnp.arange(n + -n % size), n - 1).reshape(-1, size)
    grouped = jax.tree.map(lambda x: jnp.asarray(x)[index], items)
    out = jax.lax.map(jax.vmap(function), grouped)
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:n], out)
