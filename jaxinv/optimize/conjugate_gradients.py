"""Positive definite systems that are known by their products alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import jax.scipy.sparse.linalg
import numpy as np
from jaxtyping import Array

_FEW = 4
"""Elements of a block whose diagonal is taken exactly."""
_PROBES = 8


def diagonal_of(product: Callable[[Array], Array], sizes: Sequence[int], dtype: Any) -> Array:
    """An estimate, above 0, of the diagonal of a positive operator, good enough for a preconditioner.

    Bekas, Kokiopoulou & Saad 2007, Appl. Numer. Math. 57, 1214: the mean of v * (A v) over vectors of random signs,
    drawn to the mean of its block by as much as its scatter within the block is the estimate's own noise. Exact for
    blocks of few elements.

    Args:
        product: A times a vector.
        sizes: of the blocks of the vector, each of which has one parameter's elements.
        dtype: of the vector.
    """
    large = np.concatenate([np.full(size, size > _FEW) for size in sizes])
    block = np.repeat(np.arange(len(sizes)), sizes)
    found = jnp.zeros(len(large), dtype)
    exact = np.flatnonzero(~large)
    if exact.size:
        unit = jnp.zeros((exact.size, len(large)), dtype).at[np.arange(exact.size), exact].set(1)
        found = found.at[exact].set(jax.lax.map(product, unit)[np.arange(exact.size), exact])
    if large.any():
        signs = jax.random.rademacher(jax.random.key(0), (_PROBES, len(large)), dtype) * large.astype(dtype)
        each = signs * jax.lax.map(product, signs)
        mean = jnp.mean(each, axis=0)

        def typical(x: Array) -> Array:
            return (jax.ops.segment_sum(x, block, len(sizes)) / np.asarray(sizes))[block]

        scatter, noise = typical((mean - typical(mean)) ** 2), typical(jnp.var(each, axis=0, ddof=1)) / _PROBES
        real = jnp.maximum(scatter - noise, 0) / jnp.where(scatter > 0, scatter, 1)
        mean = typical(mean) + real * (mean - typical(mean))
        found = jnp.where(large, jnp.maximum(mean, 0.01 * jnp.abs(typical(mean))), found)
    return jnp.maximum(found, 1e-6 * jnp.max(found) + jnp.finfo(dtype).tiny)


def solve(product: Callable[[Array], Array], right: Array, diagonal: Array, *, tolerance: Any, most: int) -> Array:
    """The solution of A x = `right` by preconditioned conjugate gradients, to a relative residual of `tolerance`."""
    return jax.scipy.sparse.linalg.cg(product, right, tol=tolerance, maxiter=most, M=lambda r: r / diagonal)[0]
