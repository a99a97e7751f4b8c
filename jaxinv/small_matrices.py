"""Cholesky factorization and triangular solves of one small matrix, in plain array operations.

A batch of small matrices is slow in LAPACK (one call for each), and not safe: jaxlib's kernels split a large batch
among the threads that run the program and wait for them, for ever where each thread waits, as it happens when a CPU is
used as so many devices as it has cores (seen with jaxlib 0.10.2). Larger matrices go to LAPACK, one by one.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import jax.scipy.linalg
from jaxtyping import Array

_SMALL = 24


def cholesky(matrix: Array) -> Array:
    """The lower triangular factor L of a symmetric `(n, n)` matrix, L L^T; NaN where it is not positive definite."""
    n = len(matrix)
    if n > _SMALL:
        return jnp.linalg.cholesky(matrix)
    columns: list[Array] = []
    below = jnp.arange(n)
    for j in range(n):
        column = matrix[:, j]
        for done in columns:
            column = column - done * done[j]
        columns.append(jnp.where(below >= j, column / jnp.sqrt(column[j]), 0))
    # A failure stays in its row and those below; all of the factor tells of it, as LAPACK's does.
    factor = jnp.stack(columns, axis=1)
    return jnp.where(jnp.all(jnp.isfinite(jnp.diagonal(factor))), factor, jnp.nan)


def solve_lower(factor: Array, right: Array) -> Array:
    """X of L x = `right`, `(n, ...)`."""
    n = len(factor)
    if n > _SMALL:
        return jax.scipy.linalg.solve_triangular(factor, right.reshape(n, -1), lower=True).reshape(right.shape)
    rest, out = right, []
    for j in range(n):
        out.append(rest[j] / factor[j, j])
        rest = rest - factor[:, j].reshape(n, *(1,) * (right.ndim - 1)) * out[-1]
    return jnp.stack(out)


def solve_upper(factor: Array, right: Array) -> Array:
    """X of L^T x = `right`, `(n, ...)`."""
    flipped = factor[::-1, ::-1].T  # lower triangular again
    return solve_lower(flipped, right[::-1])[::-1]


def cholesky_solve(factor: Array, right: Array) -> Array:
    """X of L L^T x = `right`, `(n, ...)`."""
    return solve_upper(factor, solve_lower(factor, right))
