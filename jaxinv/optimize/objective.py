"""What is minimized for one object: minus twice the log posterior, without constants, as a function of coordinates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxinv.coordinates import Coordinates, Layout
from jaxinv.noise import Samplewise
from jaxinv.optimize.normal import prior_cost, prior_curvature, whitened
from jaxinv.problem import Problem


class Slope(NamedTuple):
    """The objective near a point.

    Attributes:
        cost: a scalar.
        gradient: half its gradient by the coordinates.
    """

    cost: Array
    gradient: Array


class Objective(eqx.Module):
    """The objective of one object: squared whitened residuals, or -2 log density of a noise that has none, and prior.

    The prior counts as a density of the parameters, so that the minimum does not depend on the coordinates.

    Attributes:
        problem: without what is known of the object.
        data: what the noise accepts.
        known: parameters known of the object.
        unit: `(size,)` by which steps are measured in each coordinate, where more is known than the prior's width.
    """

    problem: Problem
    data: Any
    known: dict[str, Any]
    unit: Array | None = None

    @property
    def coordinates(self) -> Coordinates:
        """The vector that a solver moves."""
        return self.problem.coordinates

    def scale(self) -> Array:
        """`(size,)` by which steps are measured: the coordinates' scales, unless others are given."""
        return self.coordinates.scale() if self.unit is None else self.unit

    @property
    def layout(self) -> Layout:
        """The order of the parameters."""
        return self.problem.layout

    @property
    def samplewise(self) -> bool:
        """Whether there are residuals."""
        return isinstance(self.problem.noise, Samplewise)

    def misfit(self, prediction: Array) -> Array:
        """What the data add to the cost."""
        return self.problem.noise.misfit(prediction, self.data)

    def cost(self, vector: Array) -> Array:
        """The objective, a scalar, at coordinates `(size,)`."""
        parameters = self.coordinates.parameters(vector)
        prior = prior_cost(self.problem, self.layout, self.layout.ravel(parameters))
        return self.misfit(self.problem.predict({**self.known, **parameters})) + prior

    def slope(self, vector: Array) -> Slope:
        """The objective and half its gradient, by the transpose of the forward model's linearization."""
        parameters, pull = jax.vjp(self.coordinates.parameters, vector)
        found = self.problem.linearize({**self.known, **parameters})
        misfit, cotangent = jax.value_and_grad(self.misfit)(found.prediction)
        prior, own = jax.value_and_grad(self._prior)(parameters)
        by = jax.tree.map(lambda a, b: (a + b) / 2, found.vjp(cotangent), own)
        return Slope(misfit + prior, pull(by)[0])

    def quadratic(self, vector: Array) -> tuple[Slope, Callable[[Array], Array]]:
        """The same, and half the Gauss-Newton Hessian as a function of a vector.

        Raises:
            ValueError: the noise has no residuals.
        """
        parameters, push = jax.linearize(self.coordinates.parameters, vector)
        pull = jax.linear_transpose(push, vector)
        found = self.problem.linearize({**self.known, **parameters})
        residual, whitening = whitened(self.problem, found.prediction, self.data)
        prior, own = jax.value_and_grad(self._prior)(parameters)
        by = jax.tree.map(lambda a, b: a + b / 2, found.vjp(whitening * residual), own)
        slope = Slope(jnp.sum(residual**2) + prior, pull(by)[0])
        curved = prior_curvature(self.problem, self.layout, self.layout.ravel(parameters))

        def product(step: Array) -> Array:
            tangents = push(step)
            by = found.vjp(whitening**2 * found.jvp(tangents))
            own = self.layout.unravel(curved(self.layout.ravel(tangents)))
            return pull(jax.tree.map(jnp.add, by, own))[0]

        return slope, product

    def inside(self, vector: Array) -> Array:
        """The equivalent or nearest point of the prior's support."""
        coordinates = self.coordinates
        if not coordinates.folds:
            moved = self.problem.canonical({**self.known, **coordinates.parameters(vector)})
            vector = coordinates.vector(moved)
        return coordinates.project(vector)

    def _prior(self, parameters: dict[str, Array]) -> Array:
        return prior_cost(self.problem, self.layout, self.layout.ravel(parameters))
