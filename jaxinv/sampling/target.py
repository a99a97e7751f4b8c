"""The posterior of one object in coordinates in which it is nearly a standard normal distribution.

z = centre + L x: `centre` is the mode in the problem's opened coordinates and L L^T the inverse of the curvature
there, so one step size suits all directions of x and a sampler's mass matrix starts as the identity.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxinv import priors
from jaxinv.compute.small_matrices import cholesky, cholesky_solve, positive_part, solve_upper
from jaxinv.coordinates import Coordinates, Interval
from jaxinv.noise import Samplewise
from jaxinv.problem import Problem

MOST_DENSE = 1000
"""Coordinates up to which a posterior has a matrix that makes it round."""
_STEPS = 25
_FIRST_DAMPING, _LEAST_DAMPING, _HOPELESS = 0.08, 1e-6, 1e4
_GAIN = 1e-4
"""Of the log density that a step would gain: less, and the mode is found."""


class Target(eqx.Module):
    """One object's posterior.

    Attributes:
        problem: forward model, noise and prior.
        observed: the object's data, an array or an `Observation`.
        known: parameters known for the object.
        coordinates: opened, and adapted to the object.
        centre: `(n,)`, the mode in them.
        factor: `(n, n)`, L; of what is too large for a matrix a diagonal, `(n,)`.
    """

    problem: Problem
    observed: Any
    known: dict[str, Array]
    coordinates: Coordinates
    centre: Array
    factor: Array

    @property
    def dimension(self) -> int:
        """The number of coordinates, n."""
        return self.centre.shape[-1]

    def parameters(self, x: Array) -> dict[str, Array]:
        """The inferred parameters at `x`, `(n,)`."""
        return self.coordinates.parameters(self.moved(x))

    @property
    def large(self) -> bool:
        """Whether there is a diagonal alone."""
        return self.factor.ndim == 1

    def moved(self, x: Array) -> Array:
        """The coordinates z at `x`."""
        return self.centre + (self.factor * x if self.large else jnp.matmul(self.factor, x, precision="highest"))

    def log_density(self, x: Array) -> Array:
        """The unnormalized log density of `x`; very small, but finite, where the model overflows."""
        value = self.problem.log_density(self.coordinates, self.moved(x), self.observed, self.known)
        return jnp.where(jnp.isfinite(value), value, -1e12)


def locate(
    problem: Problem, observed: Any, known: dict[str, Array], near: dict[str, Array], error: dict[str, Array]
) -> Target:
    """The target of one object, from parameters near its mode: some damped Newton steps in opened coordinates.

    `error` holds the standard errors of `near`, NaN where there are none.
    """
    coordinates = problem.coordinates.opened(near, error)
    z = coordinates.vector(near)
    if len(z) > MOST_DENSE:  # no matrix; the mode is where the fit has found it
        return Target(problem, observed, known, coordinates, z, _sizes(coordinates, error).astype(z.dtype))
    floor = coordinates.floor(z).astype(z.dtype)
    constrained = coordinates.parameters

    def objective(z: Array) -> Array:
        return -problem.log_density(coordinates, z, observed, known)

    def prior(z: Array) -> Array:
        return -priors.log_prob(problem.prior, constrained(z)) - coordinates.log_volume(z)

    def curvature(z: Array) -> tuple[Array, Array]:
        """Gradient, and Gauss-Newton curvature of the likelihood with the convex part of the prior's.

        Of a noise without residuals, the convex part of it all.
        """
        if not isinstance(problem.noise, Samplewise):
            gradient, hessian = _derivatives(objective, z)
            return gradient, positive_part(hessian) + jnp.diag(floor)
        free, tangent = jax.linearize(constrained, z)
        chain = jax.vmap(tangent, out_axes=-1)(jnp.eye(len(z), dtype=z.dtype))
        residual, pull = jax.linearize(lambda p: problem.residual({**known, **p}, observed).ravel(), free)
        columns = jax.vmap(pull, in_axes=-1, out_axes=-1)(chain)
        slope, hessian = _derivatives(prior, z)
        gradient = jnp.matmul(columns.T, residual, precision="highest") + slope
        matrix = jnp.matmul(columns.T, columns, precision="highest") + positive_part(hessian) + jnp.diag(floor)
        return gradient, matrix

    def step(state: _Search) -> _Search:
        found = objective(state.proposal)
        better = found < state.cost
        damping = jnp.maximum(jnp.where(better, state.damping / 8, state.damping * 5), _LEAST_DAMPING)
        z, cost = jnp.where(better, state.proposal, state.z), jnp.where(better, found, state.cost)
        gradient, matrix = curvature(z)
        factor, size = _unit_cholesky(matrix, _LEAST_DAMPING)
        gain = jnp.dot(gradient, cholesky_solve(factor, gradient / size) / size) / 2
        done = (gain < _GAIN) | (damping > _HOPELESS) | (state.k == _STEPS)
        factor, size = _unit_cholesky(matrix, damping)
        proposal = z - cholesky_solve(factor, gradient / size) / size
        return _Search(state.k + 1, z, proposal, cost, damping, matrix, done)

    found = _Search(
        jnp.zeros((), jnp.int32), z, z, jnp.asarray(jnp.inf, z.dtype), jnp.asarray(_FIRST_DAMPING, z.dtype),
        jnp.eye(len(z), dtype=z.dtype), jnp.zeros((), bool),
    )  # fmt: skip
    found = jax.lax.while_loop(lambda state: ~state.done, step, found)
    z = found.z
    factor, size = _unit_cholesky(found.matrix, _LEAST_DAMPING)
    inverse = solve_upper(factor, jnp.eye(len(z), dtype=z.dtype))
    return Target(problem, observed, known, coordinates, z, inverse / size[:, None])


def _sizes(coordinates: Coordinates, error: dict[str, Array]) -> Array:
    """`(n,)`: the standard error of each coordinate that is a parameter itself; else, or where unknown, its scale."""
    parts = []
    for block in coordinates.blocks:
        size = block.scale()
        if isinstance(block, Interval) and block.offset is None:
            own = jnp.ravel(error[block.name])
            size = jnp.where(jnp.isfinite(own) & (own > 0), own, size)
        parts.append(size)
    return jnp.concatenate(parts)


def _derivatives(function: Callable[[Array], Array], z: Array) -> tuple[Array, Array]:
    """Gradient and Hessian matrix, from one program."""
    gradient, push = jax.linearize(jax.grad(function), z)
    return gradient, jax.vmap(push)(jnp.eye(len(z), dtype=z.dtype))


class _Search(NamedTuple):
    """On the way to the mode."""

    k: Array
    z: Array
    proposal: Array  # where to look next
    cost: Array
    damping: Array
    matrix: Array  # the curvature at z
    done: Array


def _unit_cholesky(matrix: Array, damping: Any) -> tuple[Array, Array]:
    """Cholesky factor of the matrix scaled to a unit diagonal, plus `damping` there; and the scale."""
    diagonal = jnp.diagonal(matrix)
    size = jnp.sqrt(jnp.where(diagonal > 0, diagonal, 1))
    scaled = matrix / (size[:, None] * size)
    return cholesky(scaled + damping * jnp.eye(len(size), dtype=matrix.dtype)), size
