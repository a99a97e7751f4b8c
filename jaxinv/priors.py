"""A prior is a dict: parameter name -> NumPyro distribution, a number (fixed) or `Tied` (computed from others).

One statement serves every method: the support gives an optimizer its bounds and a sampler its coordinates, the log
density regularizes, the samples train networks and simulate data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, PRNGKeyArray
from numpyro.distributions import constraints

Prior = Mapping[str, Any]


class Cyclic(dist.Uniform):
    """Uniform on a circle: `high` is the same point as `low` (an azimuth: `Cyclic(0, pi)`).

    An optimizer wraps such a parameter. A sampler sees two unconstrained coordinates, a vector in the plane whose polar
    angle is the parameter (`coordinates.Circle`): without an edge, so without divergences there.
    """

    @property
    def period(self) -> Array:
        """`high - low`."""
        return jnp.asarray(self.high, float) - jnp.asarray(self.low, float)  # pyright: ignore[reportArgumentType]


RADIUS = dist.Normal(1.0, 0.1)
"""Length of the vector in the plane that stands for a cyclic parameter where there must be no edge."""


class Ring(dist.Distribution):
    """Vectors in the plane of any direction and a length near 1: what a NumPyro model has for a cyclic parameter."""

    support = constraints.real_vector  # pyright: ignore[reportAssignmentType]

    def __init__(self) -> None:
        super().__init__(event_shape=(2,))

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> Array:
        """`(*sample_shape, 2)`."""
        turn, length = jax.random.split(key)
        angle = jax.random.uniform(turn, sample_shape, maxval=2 * jnp.pi)
        radius = RADIUS.sample(length, sample_shape)
        return radius[..., None] * jnp.stack([jnp.cos(angle), jnp.sin(angle)], -1)

    def log_prob(self, value: Array, intermediates: Any = None) -> Array:
        """The log density in the plane."""
        del intermediates
        radius = jnp.sqrt(jnp.sum(value**2, -1) + 1e-12)
        return RADIUS.log_prob(radius) - jnp.log(2 * jnp.pi * radius)


class Smooth(dist.Distribution):
    """Numbers along an axis, each within bounds, that change little from one to the next.

    The first is uniform; each other one is normal about the one before plus the change of the trend, truncated to its
    bounds. Optimizers and samplers see the bounds.

    Args:
        low: `(n,)`, the lowest value of each number.
        high: `(n,)`, the highest.
        step: `(n - 1,)` or one number, standard deviation of the change from one to the next.
        trend: `(n,)`, of which the differences are what is expected; none where left out.

    Raises:
        ValueError: fewer than two numbers, another shape, a step that is not above 0, or low not below high.
    """

    arg_constraints: ClassVar = {
        "low": constraints.real_vector,
        "high": constraints.real_vector,
        "step": constraints.positive,
        "trend": constraints.real_vector,
    }
    reparametrized_params: ClassVar = []

    def __init__(self, low: Any, high: Any, step: Any, trend: Any = 0.0, *, validate_args: bool | None = None) -> None:
        shape = np.broadcast_shapes(np.shape(low), np.shape(high), np.shape(trend))
        if len(shape) != 1 or shape[0] < 2:
            raise ValueError(f"a smooth prior is of a row of 2 numbers or more; found the shape {shape}")
        try:
            steps = np.broadcast_to(np.asarray(step, float), (shape[0] - 1,))
            good = np.all(steps > 0) and np.all(np.asarray(low, float) < np.asarray(high, float))
        except jax.errors.TracerArrayConversionError:
            good = True
        except ValueError:
            raise ValueError(f"`step` is one number or {shape[0] - 1}; found the shape {np.shape(step)}") from None
        if not good:
            raise ValueError("a smooth prior needs steps above 0, and each `low` below its `high`")
        self.low, self.high, self.trend = (jnp.broadcast_to(jnp.asarray(x, float), shape) for x in (low, high, trend))
        self.step = jnp.broadcast_to(jnp.asarray(step, float), (shape[0] - 1,))
        super().__init__(event_shape=shape, validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=1)  # pyright: ignore[reportArgumentType]
    def support(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Between the bounds."""
        return constraints.independent(constraints.interval(self.low, self.high), 1)

    @property
    def mean(self) -> Array:
        """The middle between the bounds."""
        return (self.low + self.high) / 2

    @property
    def variance(self) -> Array:
        """That of a number that is uniform within its bounds."""
        return (self.high - self.low) ** 2 / 12

    def _next(self, before: Array, low: Array, high: Array, step: Array, change: Array) -> Any:
        return dist.TruncatedNormal(before + change, step, low=low, high=high, validate_args=False)

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> Array:
        """`(*sample_shape, n)`."""
        keys = jax.random.split(key, self.event_shape[0])
        first = jax.random.uniform(keys[0], sample_shape, minval=self.low[0], maxval=self.high[0])
        change = jnp.diff(self.trend)

        def advance(before: Array, item: Any) -> tuple[Array, Array]:
            key, *numbers = item
            found = self._next(before, *numbers).sample(key, sample_shape if before.ndim == 0 else ())
            return found, found

        _, rest = jax.lax.scan(advance, first, (keys[1:], self.low[1:], self.high[1:], self.step, change))
        return jnp.concatenate([first[..., None], jnp.moveaxis(rest, 0, -1)], -1)

    def log_prob(self, value: Array, intermediates: Any = None) -> Array:
        """The log density."""
        del intermediates
        rest = self._next(value[..., :-1], self.low[1:], self.high[1:], self.step, jnp.diff(self.trend))
        return jnp.sum(rest.log_prob(value[..., 1:]), -1) - jnp.log(self.high[0] - self.low[0])


class Tied(eqx.Module):
    """A parameter that is a function of other, free or fixed, ones: `Tied("doppler_width", lambda width: 1.5 * width)`.

    Args:
        of: the name or names that it depends on; not themselves tied.
        function: takes their values in that order; the identity by default.
    """

    of: tuple[str, ...] = eqx.field(static=True)
    function: Callable[..., Any] = eqx.field(static=True)

    def __init__(self, of: str | tuple[str, ...], function: Callable[..., Any] = lambda value: value) -> None:
        self.of = (of,) if isinstance(of, str) else tuple(of)
        self.function = function

    def __call__(self, parameters: Mapping[str, Any]) -> Any:
        return self.function(*(parameters[name] for name in self.of))


def _support(distribution: dist.Distribution) -> Any:
    return distribution.support


def free(prior: Prior) -> dict[str, dist.Distribution]:
    """The entries that are inferred."""
    return {name: entry for name, entry in prior.items() if isinstance(entry, dist.Distribution)}


def tied(prior: Prior) -> dict[str, Tied]:
    """The entries that are computed from others."""
    return {name: entry for name, entry in prior.items() if isinstance(entry, Tied)}


def fixed(prior: Prior) -> dict[str, Any]:
    """The entries that are known."""
    return {name: entry for name, entry in prior.items() if not isinstance(entry, dist.Distribution | Tied)}


def sample(prior: Prior, key: PRNGKeyArray, shape: tuple[int, ...] = ()) -> dict[str, Array]:
    """Draws of the free parameters, `(*shape, *parameter_shape)` each; a name's draws do not depend on the others."""
    names = sorted(free(prior))
    keys = jax.random.split(key, max(len(names), 1))
    return {name: prior[name].sample(k, shape) for name, k in zip(names, keys, strict=False)}


def log_density(prior: Prior, parameters: Mapping[str, Any]) -> Array:
    """The log density of one object's free parameters, summed over them; -inf outside the support."""
    total = jnp.zeros(())
    for name, distribution in free(prior).items():
        value = parameters[name]
        inside = _support(distribution)(value)
        harmless = jnp.where(inside, value, centre(distribution))
        total = total + jnp.sum(jnp.where(inside, distribution.log_prob(harmless), -jnp.inf))
    return total


def bounds(distribution: dist.Distribution) -> tuple[Array, Array]:
    """The lowest and highest value of each element, infinite where there is none.

    Raises:
        ValueError: the support is not an interval for each element (a simplex, a covariance, an integer).
    """
    support = _support(distribution)
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    shape = distribution.shape()
    lower, upper = getattr(support, "lower_bound", -jnp.inf), getattr(support, "upper_bound", jnp.inf)
    unbounded = support is constraints.real or support is constraints.real_vector
    if support.is_discrete or not (unbounded or hasattr(support, "lower_bound") or hasattr(support, "upper_bound")):
        raise ValueError(
            f"an optimizer needs an interval for each parameter; {type(distribution).__name__} has the support "
            f"{type(support).__name__}: use a distribution on a real interval"
        )
    return jnp.broadcast_to(jnp.asarray(lower, float), shape), jnp.broadcast_to(jnp.asarray(upper, float), shape)


def limits(distribution: dist.Distribution) -> tuple[float, float] | None:
    """The lowest and the highest value of any element as plain numbers; `None` where they are traced."""
    support: Any = _support(distribution)
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    try:
        lower = np.min(getattr(support, "lower_bound", -np.inf))
        upper = np.max(getattr(support, "upper_bound", np.inf))
    except jax.errors.TracerArrayConversionError:
        return None
    return float(lower), float(upper)


def centre(distribution: dist.Distribution) -> Array:
    """The middle of a bounded support, the mean of an unbounded distribution."""
    lower, upper = bounds(distribution)
    middle = (lower + upper) / 2
    finite = jnp.isfinite(middle)
    return jnp.where(finite, middle, jnp.broadcast_to(jnp.asarray(distribution.mean, float), middle.shape))


def is_flat(distribution: dist.Distribution) -> bool:
    """Whether the log density is constant inside the support."""
    return isinstance(_base(distribution), dist.Uniform | dist.ImproperUniform)


def is_separable(distribution: dist.Distribution) -> bool:
    """Whether the log density is a sum over elements."""
    return not _base(distribution).event_shape


def _base(distribution: dist.Distribution) -> dist.Distribution:
    """Of an array of parameters with the same prior, the prior of one."""
    while isinstance(distribution, dist.ExpandedDistribution | dist.Independent):
        distribution = distribution.base_dist
    return distribution


def log_prob(prior: Prior, parameters: Mapping[str, Any]) -> Array:
    """As `log_density`, of parameters that are known to be inside the support."""
    return sum((jnp.sum(d.log_prob(parameters[name])) for name, d in free(prior).items()), jnp.zeros(()))


def circles(prior: Prior) -> dict[str, tuple[Array, Array]]:
    """Of each cyclic parameter, where its circle is cut and the period, in its shape."""
    out = {}
    for name, entry in free(prior).items():
        one = _base(entry)
        if isinstance(one, Cyclic):
            low, period = (jnp.broadcast_to(jnp.asarray(x, float), entry.shape()) for x in (one.low, one.period))
            out[name] = (low, period)
    return out


def project(prior: Prior, parameters: Mapping[str, Array]) -> dict[str, Array]:
    """The nearest parameters inside the support; cyclic ones are wrapped."""
    out = dict(parameters)
    round_ = circles(prior)
    for name, distribution in free(prior).items():
        value = jnp.asarray(out[name])
        if name in round_:
            low, period = (x.astype(value.dtype) for x in round_[name])
            out[name] = low + jnp.mod(value - low, period)
        else:
            lower, upper = bounds(distribution)
            out[name] = jnp.clip(value, lower.astype(value.dtype), upper.astype(value.dtype))
    return out
