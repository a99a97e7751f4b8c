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

    Bekas, Kokiopoulou & Saad 2007, Appl. Numer. Math. 57, 1214: the mean of v * (A v) over vectors of random signs;
    exact for blocks of few elements.

    Args:
        product: A times a vector.
        sizes: of the blocks of the vector; the elements of a large one are alike to within an order of magnitude or so.
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
        mean = jnp.mean(signs * jax.lax.map(product, signs), axis=0)
        typical = jax.ops.segment_sum(mean, block, len(sizes)) / np.asarray(sizes)
        found = jnp.where(large, jnp.maximum(mean, 0.1 * jnp.abs(typical[block])), found)
    return jnp.maximum(found, 1e-6 * jnp.max(found) + jnp.finfo(dtype).tiny)


def solve(product: Callable[[Array], Array], right: Array, diagonal: Array, *, tolerance: Any, most: int) -> Array:
    """The solution of A x = `right` by preconditioned conjugate gradients, to a relative residual of `tolerance`."""
    return jax.scipy.sparse.linalg.cg(product, right, tol=tolerance, maxiter=most, M=lambda r: r / diagonal)[0]
