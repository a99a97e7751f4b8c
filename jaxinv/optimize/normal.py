"""The quadratic model of one object's objective: sum of squared whitened residuals, and what the prior adds."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.scipy.linalg
from jaxtyping import Array

from jaxinv import priors
from jaxinv.compute.small_matrices import positive_part
from jaxinv.coordinates import Layout
from jaxinv.linearization import Linearization
from jaxinv.problem import Problem


class Normal(NamedTuple):
    """A quadratic model of the objective at a point: cost, half its gradient, half its curvature."""

    cost: Array
    gradient: Array
    curvature: Array


def scales(problem: Problem, layout: Layout) -> Array:
    """A typical size of each inferred scalar, `(n_free,)`: the prior's standard deviation where it is finite."""
    out = []
    for name in layout.names:
        distribution = problem.prior[name]
        deviation = jnp.sqrt(jnp.broadcast_to(jnp.asarray(distribution.variance, float), distribution.shape()))
        out.append(jnp.ravel(jnp.where(jnp.isfinite(deviation) & (deviation > 0), deviation, 1.0)))
    return jnp.concatenate(out)


def quadratic_model(problem: Problem, layout: Layout, scale: Array, vector: Array, data: Any, known: Any) -> Normal:
    """The objective of one problem at `vector` and its first two derivatives.

    Cost |r|^2 - 2 log(prior / prior at its centre), half its gradient, and half its Gauss-Newton Hessian.
    """
    found = problem.linearize({**known, **layout.unravel(vector * scale)})
    return with_prior(problem, layout, scale, vector, normal_of(problem, scale, found, data))


def normal_of(problem: Problem, scale: Any, found: Linearization, data: Any) -> Normal:
    """The quadratic model of the squared residuals alone, for parameters in units of `scale` (`None`: 1)."""
    residual, whitening = whitened(problem, found.prediction, data)
    gradient = problem.layout.ravel(found.vjp(whitening * residual))
    curvature = found.normal(whitening)
    if scale is not None:
        gradient, curvature = gradient * scale, curvature * (scale[:, None] * scale)
    return Normal(jnp.sum(residual**2), gradient, curvature)


def whitened(problem: Problem, prediction: Array, data: Any) -> tuple[Array, Array]:
    """Residuals, and the derivative of each by its sample of the prediction."""
    return jax.jvp(lambda p: problem.samplewise.residual(p, data), (prediction,), (jnp.ones_like(prediction),))


def with_prior(problem: Problem, layout: Layout, scale: Any, vector: Array, normal: Normal) -> Normal:
    """With what the prior adds at `vector`, which is in units of `scale` (`None`: 1)."""
    if all(priors.is_flat(problem.prior[name]) for name in layout.names):
        return normal
    scale = jnp.ones(len(vector), vector.dtype) if scale is None else scale

    def cost(vector: Array) -> Array:
        return prior_cost(problem, layout, vector * scale) / 2

    value, (slope, push) = cost(vector), jax.linearize(jax.grad(cost), vector)
    # Without what would make a step go uphill.
    if all(priors.is_separable(problem.prior[name]) for name in layout.names):
        curvature = jnp.diag(jnp.maximum(push(jnp.ones_like(vector)), 0))
    else:
        curvature = positive_part(jax.vmap(push)(jnp.eye(len(vector), dtype=vector.dtype)))
    return Normal(normal.cost + 2 * value, normal.gradient + slope, normal.curvature + curvature)


def prior_cost(problem: Problem, layout: Layout, vector: Array) -> Array:
    """What the prior adds to the cost at parameters `(n_free,)`: -2 log(prior / prior at its centre)."""
    total = jnp.zeros((), vector.dtype)
    for name, value in layout.unravel(vector).items():
        if not priors.is_flat(problem.prior[name]):
            total = total + 2 * _cost(problem.prior[name], value)
    return total


def prior_curvature(problem: Problem, layout: Layout, vector: Array) -> Callable[[Array], Array]:
    """What `with_prior` adds to the curvature, as a function of a vector `(n_free,)`; no matrix is made.

    Of a prior that is no sum over elements the whole Hessian, also where it is not convex.
    """
    products = []
    for name, value in layout.unravel(vector).items():
        cost = partial(_cost, problem.prior[name])
        if priors.is_flat(problem.prior[name]):
            products.append(jnp.zeros_like)
        elif priors.is_separable(problem.prior[name]):
            diagonal = jnp.maximum(jax.jvp(jax.grad(cost), (value,), (jnp.ones_like(value),))[1], 0)
            products.append(partial(jnp.multiply, diagonal))
        else:
            products.append(jax.linearize(jax.grad(cost), value)[1])

    def product(step: Array) -> Array:
        parts = layout.unravel(step).values()
        return jnp.concatenate([jnp.ravel(one(part)) for one, part in zip(products, parts, strict=True)])

    return product


def _cost(distribution: Any, value: Array) -> Array:
    """Minus the log density, 0 at the centre."""
    # Not priors.log_density: on the edge of the support, where a bound holds a parameter, it may be -inf.
    return -jnp.sum(distribution.log_prob(value) - distribution.log_prob(priors.centre(distribution)))
