"""Splitting methods: the misfit's quadratic and the prior's prox in turn, on copies that are drawn together.

The quadratic is solved in one division where the Fourier transform diagonalizes both the operator and the prior's
analysis and the noise is the same everywhere; else by conjugate gradients that this division preconditions.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxinv.noise import Samplewise
from jaxinv.optimize import fixed_point
from jaxinv.optimize.normal import whitened
from jaxinv.optimize.objective import Objective
from jaxinv.optimize.proximal import Proximal, check_image, image_of, is_linear, linear_at
from jaxinv.optimize.translation_invariant import nearest_spectrum
from jaxinv.problem import Problem

_BALANCED = 150
"""Steps after which the coupling no longer changes."""
_EVERY = 10


class _Quadratic(NamedTuple):
    """Half the misfit of a linear model: x.H x / 2 - right.x.

    Attributes:
        right: A^T W d, the image's shape.
        weights: W, the data's shape.
        spectrum: of H, or what is near it.
        analyses: of the sum of K^T K, or what is near it.
        exact: whether both are what they stand for.
    """

    right: Array
    weights: Array
    spectrum: Array
    analyses: Array
    exact: Array


class _Splitting(Proximal):
    """What the two methods share.

    Attributes:
        accuracy: relative residual to which the quadratic is solved where that takes conjugate gradients; well below
            the tolerance, which is not met otherwise.
        products: of the operator and its transpose, at most, for each step.
        tolerance: see `Proximal`, as for the rest.
    """

    accuracy: float = 1e-5
    products: int = eqx.field(static=True, default=50)

    def check(self, problem: Problem) -> None:
        _, terms = check_image(problem, type(self).__name__)
        gaussian = isinstance(problem.noise, Samplewise) and problem.noise.sum_of_squares
        if not (gaussian and is_linear(problem)):
            raise ValueError(
                f"{type(self).__name__} needs a linear operator with Gaussian noise: take solver=FISTA(), or PDHG()"
            )
        if not terms:
            raise ValueError(f"{type(self).__name__} needs a prior with a prox; with a flat one, take GaussNewtonCG()")

    def setup(self, objective: Objective) -> _Quadratic:
        problem = objective.problem
        name, terms = image_of(problem)
        zero = jnp.zeros(problem.prior[name].shape())
        found = linear_at(objective, {name: zero})
        residual, whitening = whitened(problem, found.prediction, objective.data)
        right, weights = -found.vjp(whitening * residual)[name], whitening**2
        exact = jnp.min(weights) >= (1 - 1e-5) * jnp.max(weights)
        if found.spectrum is not None:
            spectrum = jnp.asarray(found.spectrum, right.dtype) * jnp.mean(weights)
        else:
            spectrum, exact = nearest_spectrum(lambda x: _normal(found, name, weights, x), zero), jnp.asarray(False)
        analyses = jnp.zeros((), right.dtype)
        for term in terms:
            own = term.spectrum
            if own is None:
                own, exact = nearest_spectrum(lambda x, t=term: t.synthesis(t.analysis(x)), zero), jnp.asarray(False)
            analyses = analyses + jnp.asarray(own, right.dtype)
        return _Quadratic(right, weights, spectrum, analyses, exact)

    def solved(self, objective: Objective, setup: _Quadratic, coupling: Array, right: Array, start: Array) -> Array:
        """The x with H x + coupling sum K^T K x = setup.right + right."""
        name, terms = image_of(objective.problem)
        found = linear_at(objective, {name: jnp.zeros_like(start)})
        total = setup.spectrum + coupling * setup.analyses
        inverse = 1 / jnp.maximum(total, 1e-7 * jnp.max(total))

        def divided(x: Array) -> Array:
            return jnp.fft.irfft2(jnp.fft.rfft2(x) * inverse, s=x.shape)

        def product(x: Array) -> Array:
            own = sum((term.synthesis(term.analysis(x)) for term in terms), jnp.zeros_like(x))
            return _normal(found, name, setup.weights, x) + coupling * own

        def solve(_: Any, right: Array) -> Array:
            start_ = jax.lax.stop_gradient(start)
            return jax.lax.cond(
                setup.exact,
                lambda: divided(right),
                lambda: _conjugate_gradients(product, divided, right, start_, self.accuracy, self.products),
            )

        return jax.lax.custom_linear_solve(product, setup.right + right, solve, symmetric=True)


class ADMM(_Splitting):
    """The alternating direction method of multipliers: every term of the prior on a copy of its own.

    Boyd et al. (2011, Found. Trends Mach. Learn. 3, 1), scaled. With `Denoiser` as the prior it is plug-and-play ADMM.

    Attributes:
        coupling: rho; 0: begun where misfit and prior weigh the same in the quadratic, and balanced in the first steps
            by the relative residuals (Wohlberg 2017).
        relaxation: 1 to 1.9.
        accuracy: relative residual to which the quadratic is solved where that takes conjugate gradients; well below
            the tolerance, which is not met otherwise.
        products: of the operator and its transpose, at most, for each step.
        tolerance: see `Proximal`, as for the rest.
    """

    coupling: float = 0.0
    relaxation: float = 1.0

    def start(self, objective: Objective, setup: Any, parameters: dict[str, Array]) -> tuple[Any, Any]:
        ((name, x),) = parameters.items()
        _, terms = image_of(objective.problem)
        split = tuple(term.analysis(x) for term in terms)
        return ({name: x}, split, tuple(jnp.zeros_like(z) for z in split)), _coupled(self.coupling, setup)

    def move(self, objective: Objective, setup: Any, point: Any, aside: Any) -> tuple[Any, Any]:
        before, split, duals = point
        ((name, x),) = before.items()
        _, terms = image_of(objective.problem)
        coupling, count = aside
        right = sum((t.synthesis(z - u) for t, z, u in zip(terms, split, duals)), jnp.zeros_like(x))
        x = self.solved(objective, setup, coupling, coupling * right, x)
        seen = [term.analysis(x) for term in terms]
        mixed = [self.relaxation * k + (1 - self.relaxation) * z for k, z in zip(seen, split, strict=True)]
        new = tuple(t.prox(k + u, 1 / coupling) for t, k, u in zip(terms, mixed, duals, strict=True))
        duals = tuple(u + k - z for u, k, z in zip(duals, mixed, new, strict=True))
        factor = jnp.ones_like(coupling)
        if not isinstance(self.coupling, int | float) or self.coupling == 0:
            factor = self._balance(terms, seen, new, split, duals, coupling, count)
            duals = jax.tree.map(lambda u: u / factor, duals)
        return ({name: x}, new, duals), (coupling * factor, count + 1)

    def change(self, gone: Any, new: Any) -> Array:
        """Of the image, and of the multipliers in units of the copies: the primal residual."""
        (moved, _, gap), (image, split, _) = gone, new
        square = sum(jnp.sum(x**2) for x in gap) / jnp.maximum(sum(jnp.sum(z**2) for z in split), 1e-30)
        return jnp.sqrt(fixed_point.relative(moved, image) ** 2 + square)

    def _balance(self, terms: Any, seen: Any, new: Any, split: Any, duals: Any, coupling: Array, count: Array) -> Array:
        """The factor on the coupling that makes the relative primal and dual residuals alike."""

        def factor() -> Array:
            size = lambda parts: jnp.sqrt(sum(jnp.sum(x**2) for x in parts))  # noqa: E731
            gap = size([k - z for k, z in zip(seen, new, strict=True)])
            primal = gap / jnp.maximum(jnp.maximum(size(seen), size(new)), 1e-30)
            moved = size([t.synthesis(z - old) for t, z, old in zip(terms, new, split, strict=True)])
            dual = moved / jnp.maximum(size([t.synthesis(u) for t, u in zip(terms, duals, strict=True)]), 1e-30)
            return jnp.clip(jnp.sqrt(primal / jnp.maximum(dual, 1e-30)), 0.2, 5.0)

        due = (count < _BALANCED) & (count % _EVERY == _EVERY - 1) & (self.coupling == 0)
        return jax.lax.stop_gradient(jax.lax.cond(due, factor, lambda: jnp.ones_like(coupling)))

    def final(self, aside: Any) -> Any:
        return aside[0], jnp.asarray(_BALANCED, jnp.int32)

    def parameters(self, point: Any) -> dict[str, Array]:
        return point[0]


class HQS(_Splitting):
    """Half-quadratic splitting: as `ADMM` without multipliers, the coupling growing from step to step.

    Geman & Yang (1995, IEEE Trans. Image Process. 4, 932); with a denoiser as the prior plug-and-play restoration
    (Zhang et al. 2021, IEEE TPAMI 44, 6360), whose sigma in the k-th step is that of `Denoiser` / sqrt(coupling). It
    ends after `steps`, near the answer, not at it.

    Attributes:
        first: the coupling of the first step; 0: where misfit and prior weigh the same in the quadratic.
        last: that of the last step; 0: a thousand times the first.
        steps: from one to the other, in equal ratios.
        accuracy: relative residual to which the quadratic is solved where that takes conjugate gradients; well below
            the tolerance, which is not met otherwise.
        products: of the operator and its transpose, at most, for each step.
        tolerance: not used.
    """

    first: float = 0.0
    last: float = 0.0
    steps: int = eqx.field(static=True, default=30)

    def start(self, objective: Objective, setup: Any, parameters: dict[str, Array]) -> tuple[Any, Any]:
        ((name, x),) = parameters.items()
        _, terms = image_of(objective.problem)
        coupling, count = _coupled(self.first, setup)
        last = jnp.where(jnp.asarray(self.last) > 0, self.last, 1e3 * coupling).astype(coupling.dtype)
        return ({name: x}, tuple(term.analysis(x) for term in terms)), (coupling, last, count)

    def move(self, objective: Objective, setup: Any, point: Any, aside: Any) -> tuple[Any, Any]:
        before, split = point
        ((name, x),) = before.items()
        _, terms = image_of(objective.problem)
        first, last, count = aside
        part = jnp.minimum(count, self.steps - 1) / max(self.steps - 1, 1)
        coupling = first * (last / first) ** part.astype(first.dtype)
        right = sum((t.synthesis(z) for t, z in zip(terms, split)), jnp.zeros_like(x))
        x = self.solved(objective, setup, coupling, coupling * right, x)
        new = tuple(term.prox(term.analysis(x), 1 / coupling) for term in terms)
        return ({name: x}, new), (first, last, count + 1)

    def done(self, state: Any) -> Array:
        return state.aside[2] >= self.steps

    def parameters(self, point: Any) -> dict[str, Array]:
        return point[0]


def _coupled(given: Any, setup: _Quadratic) -> tuple[Array, Array]:
    """The first coupling, and a counter."""
    alike = jnp.mean(setup.spectrum) / jnp.mean(setup.analyses)
    coupling = jnp.where(jnp.asarray(given) > 0, given, jnp.where(alike > 0, alike, 1))
    return jax.lax.stop_gradient(coupling.astype(setup.right.dtype)), jnp.zeros((), jnp.int32)


def _normal(found: Any, name: str, weights: Array, x: Array) -> Array:
    return found.vjp(weights * found.jvp({name: x}))[name]


def _conjugate_gradients(product: Any, divided: Any, right: Array, start: Array, accuracy: Any, most: int) -> Array:
    """The solution to a relative residual of `accuracy`, from `start`."""

    class Search(NamedTuple):
        x: Array
        residual: Array
        direction: Array
        size: Array
        count: Array

    enough = accuracy**2 * jnp.sum(right**2)

    def done(state: Search) -> Array:
        return ~(jnp.sum(state.residual**2) > enough)

    def turn(state: Search) -> Search:
        # The first turn measures where the start stands; each turn applies the product once.
        fresh = state.count == 0
        applied = product(jnp.where(fresh, state.x, state.direction))
        curvature = jnp.sum(state.direction * applied)
        length = jnp.where(fresh | (curvature <= 0), 0, state.size / jnp.where(curvature > 0, curvature, 1))
        x = state.x + length * state.direction
        residual = jnp.where(fresh, right - applied, state.residual - length * applied)
        better = divided(residual)
        size = jnp.sum(residual * better)
        kept = jnp.where(fresh, 0, size / jnp.where(state.size > 0, state.size, 1))
        return Search(x, residual, better + kept * state.direction, size, state.count + 1)

    zero = jnp.zeros_like(right)
    begin = Search(start, zero, zero, jnp.zeros((), right.dtype), jnp.zeros((), jnp.int32))
    return fixed_point.until(turn, done, begin, most + 1)[0].x
