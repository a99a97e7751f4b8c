"""Cholesky factorization and triangular solves of one small matrix, in plain array operations.

As loops over columns: written out, they take five times as long to compile, and five to nine times as long to run where
they are differentiated. Alone and forwards they are up to twice as quick, which a fit does not notice.

A batch of small matrices is slow in LAPACK (one call for each), and not safe: jaxlib's kernels split a large batch
among the threads that run the program and wait for them, for ever where each thread waits, as it happens when a CPU is
used as so many devices as it has cores (seen with jaxlib 0.10.2). Larger matrices go to LAPACK: `lapack_work` is what
a program tells `devices.mesh_of` of them, which then keeps it on one device.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import jax.scipy.linalg
from jaxtyping import Array

_SMALL = 24


def lapack_work(n: int) -> int:
    """Operations that the factorization of one `(n, n)` matrix leaves to LAPACK."""
    return n**3 if n > _SMALL else 0


def cholesky(matrix: Array) -> Array:
    """The lower triangular factor L of a symmetric `(n, n)` matrix, L L^T; NaN where it is not positive definite."""
    n = len(matrix)
    if n > _SMALL:
        return jnp.linalg.cholesky(matrix)
    below = jnp.arange(n)

    def eliminate(j: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        factor, rest = state
        column = jnp.where(below >= j, rest[:, j] / jnp.sqrt(rest[j, j]), 0)
        return factor.at[:, j].set(column), rest - column[:, None] * column

    factor, _ = jax.lax.fori_loop(0, n, eliminate, (jnp.zeros_like(matrix), matrix))
    # A failure stays in its row and those below; all of the factor tells of it, as LAPACK's does.
    return jnp.where(jnp.all(jnp.isfinite(jnp.diagonal(factor))), factor, jnp.nan)


def solve_lower(factor: Array, right: Array) -> Array:
    """X of L x = `right`, `(n, ...)`."""
    n = len(factor)
    if n > _SMALL:
        return jax.scipy.linalg.solve_triangular(factor, right.reshape(n, -1), lower=True).reshape(right.shape)
    right = right + jnp.zeros_like(factor[0, 0])  # so that it varies over devices where the factor does
    columns = factor.reshape(n, n, *(1,) * (right.ndim - 1))

    def eliminate(j: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        found, rest = state
        one = rest[j] / factor[j, j]
        return found.at[j].set(one), rest - columns[:, j] * one

    return jax.lax.fori_loop(0, n, eliminate, (jnp.zeros_like(right), right))[0]


def solve_upper(factor: Array, right: Array) -> Array:
    """X of L^T x = `right`, `(n, ...)`."""
    flipped = factor[::-1, ::-1].T  # lower triangular again
    return solve_lower(flipped, right[::-1])[::-1]


def cholesky_solve(factor: Array, right: Array) -> Array:
    """X of L L^T x = `right`, `(n, ...)`."""
    return solve_upper(factor, solve_lower(factor, right))


def positive_part(matrix: Array) -> Array:
    """A symmetric `(n, n)` matrix as it is where it is positive semi-definite; else its negative eigenvalues set to 0.

    The latter in units in which the diagonal is +-1, by Newton and Schulz's iteration for the matrix sign (Higham 2008,
    Functions of Matrices, eq. 5.22): products only, which no batch of matrices has to wait for.
    """
    if len(matrix) == 1:
        return jnp.maximum(matrix, 0)
    diagonal = jnp.abs(jnp.diagonal(matrix))
    size = jnp.sqrt(jnp.where(diagonal > 0, diagonal, 1))
    scaled = matrix / (size[:, None] * size)
    few = 8 * len(matrix) * jnp.finfo(matrix.dtype).eps
    definite = jnp.all(jnp.isfinite(cholesky(scaled + few * jnp.eye(len(matrix), dtype=matrix.dtype))))
    product = lambda a, b: jnp.matmul(a, b, precision="highest")  # noqa: E731
    largest = jnp.sqrt(jnp.sum(scaled**2))
    sign = scaled / jnp.where(largest > 0, largest, 1)
    sign = jax.lax.fori_loop(0, 40, lambda _, x: 1.5 * x - 0.5 * product(x, product(x, x)), sign)
    part = (scaled + product(scaled, sign)) / 2
    part = (part + part.T) / 2 * (size[:, None] * size)
    return jnp.where(definite, matrix, part)
