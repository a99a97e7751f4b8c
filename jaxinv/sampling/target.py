"""The posterior of one object in coordinates in which it is nearly a standard normal distribution.

z = centre + L x: `centre` is the mode in the problem's unconstrained coordinates and L L^T the inverse of the curvature
there, so one step size suits all directions of x and a sampler's mass matrix starts as the identity.
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.flatten_util import ravel_pytree
from jaxtyping import Array

from jaxinv import priors
from jaxinv.problem import Problem
from jaxinv.small_matrices import cholesky, cholesky_solve, positive_part, solve_upper

_FLAT = 0.25
"""Curvature of a direction that the data do not determine, for coordinates of order 1."""
_STEPS = 25


class Target(eqx.Module):
    """One object's posterior.

    Attributes:
        problem: forward model, noise and prior.
        observed: the object's data, an array or an `Observation`.
        known: parameters known for the object.
        softness: how far from its bounds each parameter begins to be bent, and the scale of each joint.
        centre: `(n,)`, the mode in unconstrained coordinates.
        factor: `(n, n)`, L.
    """

    problem: Problem
    observed: Any
    known: dict[str, Array]
    softness: dict[str, Array]
    centre: Array
    factor: Array

    @property
    def dimension(self) -> int:
        """The number of coordinates, n."""
        return self.centre.shape[-1]

    def parameters(self, x: Array) -> dict[str, Array]:
        """The inferred parameters at `x`, `(n,)`."""
        z = self.centre + jnp.matmul(self.factor, x, precision="highest")
        return self.problem.constrain(_unravel(self.problem, z), self.softness)

    def log_density(self, x: Array) -> Array:
        """The unnormalized log density of `x`; very small, but finite, where the model overflows."""
        z = self.centre + jnp.matmul(self.factor, x, precision="highest")
        value = self.problem.log_density(_unravel(self.problem, z), self.observed, self.known, self.softness)
        return jnp.where(jnp.isfinite(value), value, -1e12)


def locate(
    problem: Problem, observed: Any, known: dict[str, Array], near: dict[str, Array], error: dict[str, Array]
) -> Target:
    """The target of one object, from parameters near its mode: some damped Newton steps in unconstrained coordinates.

    `error` holds the standard errors of `near`, NaN where there are none.
    """
    softness = {name: _softness(problem.prior[name], error[name]) for name in problem.names}
    softness |= {joint.name: joint.scale_of({**known, **near}, error) for joint in problem.joints}
    z = ravel_pytree(problem.unconstrain(near, softness))[0]
    floor = _floor(problem, softness, z).astype(z.dtype)

    def objective(z: Array) -> Array:
        return -problem.log_density(_unravel(problem, z), observed, known, softness)

    def prior(z: Array) -> Array:
        return -priors.log_density_unconstrained(problem.prior, _unravel(problem, z), problem.joints, softness)

    def constrained(z: Array) -> dict[str, Array]:
        return problem.constrain(_unravel(problem, z), softness)

    def curvature(z: Array) -> tuple[Array, Array]:
        """Gradient, and Gauss-Newton curvature of the likelihood with the convex part of the prior's."""
        chain = jax.jacfwd(constrained)(z)
        free = constrained(z)
        residual, pull = jax.linearize(lambda p: problem.residual({**known, **p}, observed).ravel(), free)
        columns = jax.vmap(pull, in_axes=-1, out_axes=-1)(chain)
        convex = positive_part(jax.hessian(prior)(z))
        gradient = jnp.matmul(columns.T, residual, precision="highest") + jax.grad(prior)(z)
        return gradient, jnp.matmul(columns.T, columns, precision="highest") + convex + jnp.diag(floor)

    def step(k: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
        z, cost, damping, _ = state
        gradient, matrix = curvature(z)
        factor, size = _unit_cholesky(matrix, damping)
        move = cholesky_solve(factor, gradient / size) / size
        proposal = z - move
        found = objective(proposal)
        better = (found < cost) & (k < _STEPS)  # the last turn is for the curvature
        damping = jnp.clip(jnp.where(better, damping / 8, damping * 5), 1e-6, 1e6)
        return jnp.where(better, proposal, z), jnp.where(better, found, cost), damping, matrix

    start = (z, objective(z), jnp.asarray(1e-2, z.dtype), jnp.zeros((len(z), len(z)), z.dtype))
    z, _, _, matrix = jax.lax.fori_loop(0, _STEPS + 1, step, start)
    factor, size = _unit_cholesky(matrix, 1e-6)
    inverse = solve_upper(factor, jnp.eye(len(z), dtype=z.dtype))
    return Target(problem, observed, known, softness, z, inverse / size[:, None])


def _unit_cholesky(matrix: Array, damping: Any) -> tuple[Array, Array]:
    """Cholesky factor of the matrix scaled to a unit diagonal, plus `damping` there; and the scale."""
    diagonal = jnp.diagonal(matrix)
    size = jnp.sqrt(jnp.where(diagonal > 0, diagonal, 1))
    scaled = matrix / (size[:, None] * size)
    return cholesky(scaled + damping * jnp.eye(len(size), dtype=matrix.dtype)), size


def _unravel(problem: Problem, z: Array) -> dict[str, Array]:
    return ravel_pytree(_template(problem))[1](z)


def _template(problem: Problem) -> dict[str, Array]:
    """Coordinates of the right names and shapes."""
    centre = {name: priors.centre(problem.prior[name]) for name in problem.names}
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(problem.unconstrain, centre))


def _softness(distribution: dist.Distribution, error: Array) -> Array:
    """A third of the standard error, so that what lies beyond a bound is not longer than what lies before it."""
    lower, upper = priors.bounds(distribution)
    range_ = upper - lower
    known = jnp.isfinite(error) & (error > 0)
    typical = jnp.where(jnp.isfinite(range_), range_, 1.0).astype(error.dtype)
    softness = jnp.where(known, error, typical) / 3
    return jnp.where(jnp.isfinite(range_), jnp.clip(softness, 1e-5 * typical, typical / 5), softness)


def _floor(problem: Problem, softness: dict[str, Array], z: Array) -> Array:
    """Least curvature of each coordinate: none where the parameter is unbounded, and its prior sets the scale."""
    template = _template(problem)
    # Joint and cyclic coordinates are of order 1 where they are not determined, and may be far larger where they are.
    out = {name: jnp.full(x.shape, _FLAT / (1 + jnp.sum(x**2))) for name, x in _unravel(problem, z).items()}
    for name, x in template.items():
        distribution = problem.prior.get(name)
        if distribution is None or isinstance(distribution, priors.Cyclic):
            continue
        lower, upper = priors.bounds(distribution)
        both = jnp.isfinite(upper - lower)
        one = jnp.isfinite(upper) | jnp.isfinite(lower)
        least = jnp.where(
            both, 4 / jnp.where(both, upper - lower, 1) ** 2, jnp.where(one, 1e-4 / softness[name] ** 2, 0.0)
        )
        out[name] = jnp.broadcast_to(least, x.shape)
    return ravel_pytree(out)[0]
