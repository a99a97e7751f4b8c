"""The covariance of a fit: the inverse of the curvature at the minimum, as a matrix, its diagonal or an operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxinv import priors
from jaxinv.compute.small_matrices import cholesky, cholesky_solve
from jaxinv.linearization import MOST_DENSE
from jaxinv.optimize import conjugate_gradients
from jaxinv.optimize.normal import prior_cost, prior_curvature, quadratic_model, scales, whitened
from jaxinv.optimize.objective import Objective
from jaxinv.problem import Problem

_PROBES = 32
"""Random vectors from which standard errors are estimated where there are many."""
_TOGETHER = 8
"""Of them."""
_ACCURACY, _ROUGH = 1e-4, 2e-2
"""Relative residuals of solutions with the curvature: of what a user multiplies, and of what an estimate needs."""
_PRODUCTS = 1000
"""At most, for one solution with the curvature."""


def inverse(curvature: Array) -> Array:
    """The inverse by Cholesky factorization of the unit-diagonal matrix; NaN where it is not positive definite.

    What the data do not feel at all (an azimuth without a field) is NaN by itself, and the others are as without it.
    """
    diagonal = jnp.diagonal(curvature)
    felt = diagonal > 0
    both = felt[:, None] & felt
    size = jnp.sqrt(jnp.where(felt, diagonal, 1))
    one = jnp.eye(len(size), dtype=curvature.dtype)
    matrix = jnp.where(both, curvature / (size[:, None] * size), one)
    return jnp.where(both, cholesky_solve(cholesky(matrix), one) / (size[:, None] * size), jnp.nan)


def curvature(objective: Objective, vector: Array) -> Array:
    """Half the Hessian of the objective by the parameters, at parameters `(n_free,)`: Gauss-Newton's, of residuals."""
    problem, layout = objective.problem, objective.layout
    if objective.samplewise:
        one = jnp.ones_like(vector)
        return quadratic_model(problem, layout, one, vector, objective.data, objective.known).curvature
    return jax.hessian(lambda v: _half(objective, v))(vector)


def solver_of(objective: Objective, vector: Array) -> Callable[[Array], Array]:
    """The covariance times a vector, by conjugate gradients; no matrix is made."""
    return _system(objective, vector, _ACCURACY)[0]


def _system(objective: Objective, vector: Array, accuracy: float) -> tuple[Callable[[Array], Array], Array, Array]:
    """`solver_of`; typical sizes of the parameters; and the least variances that they may have."""
    layout = objective.layout
    scale = scales(objective.problem, layout).astype(vector.dtype)
    product = _product(objective, vector)
    scaled = lambda v: scale * product(scale * v)  # noqa: E731
    diagonal = conjugate_gradients.diagonal_of(scaled, layout.sizes, vector.dtype)

    def solve(right: Array) -> Array:
        found = conjugate_gradients.solve(scaled, scale * right, diagonal, tolerance=accuracy, most=_PRODUCTS)
        return scale * found

    return solve, scale, scale**2 / diagonal


def variances(objective: Objective, vector: Array) -> Array:
    """The diagonal of the covariance, `(n_free,)`: exact up to a hundred parameters, estimated above.

    The estimate (Bekas, Kokiopoulou & Saad 2007) has a relative error of about 0.18 times the root of the sum of
    squared correlations with other parameters.
    """
    if len(vector) <= MOST_DENSE:
        return jnp.diagonal(inverse(curvature(objective, vector)))
    solve, scale, least = _system(objective, vector, _ROUGH)

    def some(total: Array, key: Array) -> tuple[Array, None]:
        signs = jax.random.rademacher(key, (_TOGETHER, len(vector)), vector.dtype)
        return total + jnp.sum(signs * jax.vmap(solve)(signs / scale) * scale, axis=0), None

    total, _ = jax.lax.scan(some, jnp.zeros_like(vector), jax.random.split(jax.random.key(1), _PROBES // _TOGETHER))
    return jnp.maximum(total / _PROBES, 0.1 * least)


def tied_errors(objective: Objective, vector: Array, times: Callable[[Array], Array]) -> dict[str, Array]:
    """Standard errors of the tied parameters; `times` multiplies by the covariance."""
    problem, layout, known = objective.problem, objective.layout, objective.known
    ties = priors.tied(problem.prior)
    if not ties:
        return {}
    chain = jax.jacrev(lambda v: {n: problem.complete({**known, **layout.unravel(v)})[n] for n in ties})(vector)

    def error(by: Array) -> Array:
        rows = by.reshape(-1, len(vector))
        return jnp.sqrt(jax.vmap(lambda row: jnp.sum(row * times(row)))(rows)).reshape(by.shape[:-1])

    return {name: error(by) for name, by in chain.items()}


def _half(objective: Objective, vector: Array) -> Array:
    problem, layout = objective.problem, objective.layout
    prediction = problem.predict({**objective.known, **layout.unravel(vector)})
    return (objective.misfit(prediction) + prior_cost(problem, layout, vector)) / 2


def _product(objective: Objective, vector: Array) -> Callable[[Array], Array]:
    """`curvature` times a vector."""
    problem, layout = objective.problem, objective.layout
    if not objective.samplewise:
        return jax.linearize(jax.grad(lambda v: _half(objective, v)), vector)[1]
    found = problem.linearize({**objective.known, **layout.unravel(vector)})
    _, whitening = whitened(problem, found.prediction, objective.data)
    curved = prior_curvature(problem, layout, vector)

    def product(step: Array) -> Array:
        return layout.ravel(found.vjp(whitening**2 * found.jvp(layout.unravel(step)))) + curved(step)

    return product


class CovarianceOperator(eqx.Module):
    """The covariance of a fit with many parameters: `operator @ vectors`.

    Attributes:
        problem: without what is known of each object.
        data: of each object, with the batch axes in front.
        known: parameters known of each.
        vector: `(*batch, n_free)` best parameters.
    """

    problem: Problem
    data: Any
    known: Mapping[str, Any]
    vector: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """`(*batch, n_free, n_free)`."""
        return (*self.vector.shape, self.vector.shape[-1])

    def __matmul__(self, vectors: Any) -> np.ndarray:
        """The covariance times `(*batch, n_free)`, as NumPy array."""
        vectors = np.asarray(vectors, self.vector.dtype)
        if vectors.shape != self.vector.shape:
            raise ValueError(f"the vectors have the shape {vectors.shape}; expected {self.vector.shape}")
        n_batch = self.vector.ndim - 1
        flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[n_batch:]), (self.data, self.known, self.vector, vectors))
        return np.asarray(_times(self.problem, flat)).reshape(vectors.shape)

    def each(self, change: Callable[[Any], Any]) -> CovarianceOperator:
        """With every array changed alike, as `Solution.each` does."""
        data, known, vector = jax.tree.map(change, (self.data, self.known, self.vector))
        return CovarianceOperator(self.problem, data, known, vector)


@eqx.filter_jit
def _times(problem: Problem, inputs: Any) -> Array:
    def one(item: Any) -> Array:
        data, known, vector, right = item
        return solver_of(Objective(problem, data, known), vector)(right)

    return jax.lax.map(one, inputs)
