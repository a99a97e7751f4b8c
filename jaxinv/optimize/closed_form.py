"""What has a closed-form best value given all other parameters is set to it, at next to no cost.

Variable projection (Golub & Pereyra 1973, SIAM J. Numer. Anal. 10, 413) of what `Knowledge` calls a rotation and affine
parameters. It holds for Gaussian noise, and for parameters with flat priors to which nothing is tied; elsewhere such a
value would not be the best.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxinv import priors
from jaxinv.knowledge import Affine, Rotation
from jaxinv.observation import Observation
from jaxinv.optimize.normal import Normal
from jaxinv.problem import Problem


def of(problem: Problem) -> tuple[Rotation | None, Affine | None]:
    """What the problem has; nothing where it does not hold."""
    knowledge = problem.forward.knowledge
    flat = {name for name in problem.names if priors.is_flat(problem.prior[name]) and not problem.prior[name].shape()}
    flat -= {name for tie in priors.tied(problem.prior).values() for name in tie.of}
    gaussian = problem.samplewise.sum_of_squares
    rotation, affine = knowledge.rotation, knowledge.affine
    return (
        rotation if gaussian and rotation and rotation.name in flat else None,
        affine if gaussian and affine and {affine.constant, affine.slope} <= flat else None,
    )


def turned(
    problem: Problem, parameters: dict[str, Array], prediction: Array, data: Any
) -> tuple[dict[str, Array], Any]:
    """The best parameters that a rotation leads to, and the data turned back, so that the prediction stays what it was.

    Sums of squares are kept, so the quadratic model for the data turned back is that of the turned prediction.
    """
    rotation, _ = of(problem)
    if rotation is None:
        return parameters, data
    weights = problem.samplewise.weights(prediction, data)
    values = jnp.where(weights > 0, data.values if isinstance(data, Observation) else data, 0)
    turn = rotation.best(prediction, values, weights)
    back = jnp.where(weights > 0, rotation.turn(values, -turn), jnp.nan)
    data = data._replace(values=back) if isinstance(data, Observation) else back
    moved = priors.project(problem.prior, {**parameters, rotation.name: parameters[rotation.name] + turn})
    return {**parameters, rotation.name: moved[rotation.name]}, data


def regressed(problem: Problem, parameters: dict[str, Array], normal: Normal) -> tuple[dict[str, Array], Normal]:
    """The best parameters of an affine pair, where they lie in the prior's support, and the quadratic model there.

    `normal` is that of the squared residuals, without other parameters' priors. The residuals are linear in the two;
    every other derivative scales with the slope.
    """
    _, affine = of(problem)
    if affine is None:
        return parameters, normal
    names = (affine.constant, affine.slope)
    first = dict(zip(problem.layout.names, np.cumsum([0, *problem.layout.sizes]), strict=False))
    pair = np.array([first[name] for name in names])
    (cc, cs), (_, ss) = normal.curvature[pair[:, None], pair]
    c, s = normal.gradient[pair]
    determinant = cc * ss - cs**2
    safe = determinant > 1e-5 * cc * ss
    determinant = jnp.where(safe, determinant, 1)
    change = jnp.stack([cs * s - ss * c, cs * c - cc * s]) / determinant
    slope = parameters[affine.slope]
    ratio = 1 + change[1] / jnp.where(slope == 0, 1, slope)
    good = safe & (ratio > 1e-3) & (ratio < 1e3)
    for name, x in zip(names, change, strict=True):
        lower, upper = priors.bounds(problem.prior[name])
        good = good & (parameters[name] + x >= lower) & (parameters[name] + x <= upper)
    change, ratio = jnp.where(good, change, 0), jnp.where(good, ratio, 1)
    moved = {name: parameters[name] + x for name, x in zip(names, change, strict=True)}
    others = np.ones(len(normal.gradient), bool)
    others[pair] = False
    size = jnp.where(others, ratio, 1)
    by_pair = jnp.matmul(change, normal.curvature[pair], precision="highest")
    cost = normal.cost + jnp.sum(change * (2 * normal.gradient[pair] + by_pair[pair]))
    gradient = size * (normal.gradient + by_pair)
    curvature = size[:, None] * normal.curvature * size
    return {**parameters, **moved}, Normal(jnp.maximum(cost, 0), gradient, curvature)
