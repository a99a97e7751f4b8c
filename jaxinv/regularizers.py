"""Regularizers: priors of an array that are known up to their normalization, and by their proximal operators.

A regularizer is a sum of terms g(K x) with K linear: the log density is minus that sum. The prox of each g has a closed
form, and a proximal method needs no more. As it is a NumPyro distribution, it is an entry of a prior like all others.
"""

from __future__ import annotations

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array
from numpyro.distributions import constraints

_ITERATIONS = 200
"""Of the dual problem, for a prox without a closed form."""


class Term(eqx.Module):
    """g(K x): `penalty` and `prox` are g's, `analysis` and `synthesis` are K and its transpose, the identity here.

    Attributes:
        shape: of x.
    """

    shape: tuple[int, ...] = eqx.field(static=True)

    @abc.abstractmethod
    def penalty(self, coefficients: Array) -> Array:
        """g, a scalar."""

    @abc.abstractmethod
    def prox(self, coefficients: Array, step: Any) -> Array:
        """The z with the least |z - coefficients|^2 / 2 + step g(z)."""

    def analysis(self, x: Array) -> Array:
        """K x."""
        return x

    def synthesis(self, coefficients: Array) -> Array:
        """K transposed times coefficients."""
        return coefficients

    @property
    def unitary(self) -> bool:
        """Whether the transpose of K is its inverse."""
        return True

    @property
    def norm(self) -> float:
        """The largest singular value of K."""
        return 1.0

    @property
    def spectrum(self) -> Array | np.ndarray | float | None:
        """Eigenvalues of K^T K where the Fourier transform diagonalizes it, as `rfft2` orders them; else `None`."""
        return 1.0

    @property
    def bounds(self) -> tuple[float, float]:
        """Of x, outside of which g is infinite."""
        return -np.inf, np.inf

    @property
    def smooth(self) -> bool:
        """Whether g has two derivatives everywhere."""
        return False


class Regularizer(dist.Distribution):
    """A prior of one array as a sum of terms; `a + b` has the terms of both.

    Args:
        terms: of arrays of the same shape.

    Raises:
        ValueError: none, or for arrays of different shapes.
    """

    pytree_data_fields = ("terms",)

    terms: tuple[Term, ...]

    def __init__(self, terms: tuple[Term, ...]) -> None:
        self.terms = tuple(terms)
        shapes = {term.shape for term in self.terms}
        if len(shapes) != 1:
            raise ValueError(f"a regularizer is a sum of terms for arrays of one shape; found {sorted(shapes)}")
        super().__init__(event_shape=shapes.pop())

    def __add__(self, other: Regularizer) -> Regularizer:
        return Regularizer((*self.terms, *other.terms))

    @constraints.dependent_property(is_discrete=False, event_dim=2)  # pyright: ignore[reportArgumentType]
    def support(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Where no term is infinite."""
        lower = max(term.bounds[0] for term in self.terms)
        upper = min(term.bounds[1] for term in self.terms)
        if np.isfinite(lower) and np.isfinite(upper):
            each = constraints.interval(lower, upper)
        elif np.isfinite(lower):
            each = constraints.greater_than_eq(lower)
        else:
            each = constraints.less_than_eq(upper) if np.isfinite(upper) else constraints.real
        return constraints.independent(each, len(self.event_shape))

    @property
    def smooth(self) -> bool:
        """Whether the log density has two derivatives everywhere, so that any method works with it."""
        return all(term.smooth for term in self.terms)

    @property
    def mean(self) -> Array:
        """Zeros, or the nearest to them in the support: where methods start that know nothing better."""
        lower = max(term.bounds[0] for term in self.terms)
        upper = min(term.bounds[1] for term in self.terms)
        return jnp.full(self.event_shape, min(max(0.0, lower), upper), float)

    @property
    def variance(self) -> Array:
        """Not known."""
        return jnp.full(self.event_shape, jnp.inf)

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> Array:
        """Raises: a sum of penalties is no recipe for draws.

        Raises:
            ValueError: always.
        """
        del key, sample_shape
        raise ValueError(
            f"{type(self).__name__} is a penalty, from which nothing can be drawn: give the parameter a distribution "
            "(imaging.PowerSpectrum) where draws are needed"
        )

    def log_prob(self, value: Array, intermediates: Any = None) -> Array:
        """The log density without its normalization: minus the sum of the terms; `(*batch, *shape) -> batch`."""
        del intermediates
        value = jnp.asarray(value)

        def one(x: Array) -> Array:
            return -sum((term.penalty(term.analysis(x)) for term in self.terms), jnp.zeros((), x.dtype))

        batch = value.shape[: value.ndim - len(self.event_shape)]
        if not batch:
            return one(value)
        return jax.vmap(one)(value.reshape(-1, *self.event_shape)).reshape(batch)

    def log_density(self, value: Array) -> Array:
        """`log_prob`."""
        return self.log_prob(value)

    def prox(self, value: Array, step: Any, iterations: int = _ITERATIONS) -> Array:
        """The x with the least |x - value|^2 / 2 - step log density(x).

        Exact for one term whose K is unitary. Else by accelerated projected gradients of the dual problem (Beck &
        Teboulle 2009, IEEE Trans. Image Process. 18, 2419) with that many iterations.

        Args:
            value: `shape`.
            step: above 0.
            iterations: of the dual problem.
        """
        value = jnp.asarray(value)
        if len(self.terms) == 1 and self.terms[0].unitary:
            (term,) = self.terms
            return term.synthesis(term.prox(term.analysis(value), step))
        length = 1 / sum(term.norm**2 for term in self.terms)

        def primal(duals: tuple[Array, ...]) -> Array:
            return value - sum((t.synthesis(u) for t, u in zip(self.terms, duals)), jnp.zeros_like(value))

        def advance(carry: Any, _: None) -> tuple[Any, None]:
            duals, ahead, pace = carry
            x = primal(ahead)
            moved = [u + length * t.analysis(x) for t, u in zip(self.terms, ahead)]
            # The prox of the conjugate of step g, by Moreau's identity.
            new = tuple(m - length * t.prox(m / length, step / length) for t, m in zip(self.terms, moved))
            following = (1 + jnp.sqrt(1 + 4 * pace**2)) / 2
            ahead = jax.tree.map(lambda a, b: a + (pace - 1) / following * (a - b), new, duals)
            return (new, ahead, following), None

        zero = tuple(jnp.zeros_like(term.analysis(value)) for term in self.terms)
        (duals, _, _), _ = jax.lax.scan(advance, (zero, zero, jnp.ones((), value.dtype)), length=iterations)
        return primal(duals)


class Correlated(Regularizer):
    """A normal prior of one array with correlations that a linear map takes away: x = mean + C^(1/2) white.

    Methods work in the white array, in which the prior is as round as it can be. A subclass defines the three methods.
    """

    @abc.abstractmethod
    def coloured(self, white: Array) -> Array:
        """The array, `shape`, of white noise of the standard deviation 1."""

    @abc.abstractmethod
    def whitened(self, value: Array) -> Array:
        """The inverse of `coloured`."""

    @property
    @abc.abstractmethod
    def log_scale(self) -> Array:
        """Log |det C^(1/2)|."""

    @property
    def power(self) -> Any:
        """Eigenvalues of C where the Fourier transform diagonalizes it, as `rfft2` orders them; else `None`."""
        return None

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> Array:
        """`(*sample_shape, *shape)`."""
        white = jax.random.normal(key, (*sample_shape, *self.event_shape))
        found = jax.vmap(self.coloured)(white.reshape(-1, *self.event_shape))
        return found.reshape(white.shape)

    def log_prob(self, value: Array, intermediates: Any = None) -> Array:
        """The log density, normalized."""
        n = int(np.prod(self.event_shape))
        return super().log_prob(value, intermediates) - self.log_scale - n / 2 * float(np.log(2 * np.pi))
