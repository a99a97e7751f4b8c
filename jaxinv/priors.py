"""A prior is a dict: parameter name -> NumPyro distribution, a number (fixed) or `Tied` (computed from others).

One statement serves every method: the support gives an optimizer its bounds and a sampler its coordinates, the log
density regularizes, the samples train networks and simulate data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jaxtyping import Array, PRNGKeyArray
from numpyro.distributions import constraints
from numpyro.distributions.transforms import biject_to

Prior = Mapping[str, Any]


class Cyclic(dist.Uniform):
    """Uniform on a circle: `high` is the same point as `low` (an azimuth: `Cyclic(0, pi)`).

    An optimizer wraps such a parameter. A sampler sees two unconstrained coordinates, a vector in the plane from `Ring`
    whose polar angle is the parameter: without an edge, so without divergences there.
    """

    @property
    def period(self) -> Array:
        """`high - low`."""
        return jnp.asarray(self.high, float) - jnp.asarray(self.low, float)  # pyright: ignore[reportArgumentType]


class Ring(dist.Distribution):
    """Vectors in the plane of any direction and a length near 1: the coordinates of a cyclic parameter.

    The length keeps away from 0, where a well-determined angle would make the density a narrow funnel.
    """

    support = constraints.real_vector  # pyright: ignore[reportAssignmentType]
    _length = dist.Normal(1.0, 0.1)

    def __init__(self) -> None:
        super().__init__(event_shape=(2,))

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> Array:
        """`(*sample_shape, 2)`."""
        turn, length = jax.random.split(key)
        angle = jax.random.uniform(turn, sample_shape, maxval=2 * jnp.pi)
        radius = self._length.sample(length, sample_shape)
        return radius[..., None] * jnp.stack([jnp.cos(angle), jnp.sin(angle)], -1)

    def log_prob(self, value: Array, intermediates: Any = None) -> Array:
        """The log density in the plane."""
        del intermediates
        radius = jnp.sqrt(jnp.sum(value**2, -1) + 1e-12)
        return self._length.log_prob(radius) - jnp.log(2 * jnp.pi * radius)


class Joint(eqx.Module):
    """Unconstrained coordinates of several parameters together, where the physics knows better ones than one by one.

    A sampler moves in straight lines; it is quick where the posterior is round in its coordinates. The coordinates of a
    subclass change nothing in the posterior, only the effort.
    """

    @property
    def name(self) -> str:
        """Under which the coordinates stand among the others; no parameter's name."""
        raise NotImplementedError

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters that it replaces."""
        raise NotImplementedError

    def constrain(self, z: Array, scale: Array | None = None) -> tuple[dict[str, Array], Array]:
        """Parameters from coordinates `(n,)`, and log |d parameters / d z|; `scale` as `scale_of` found it."""
        raise NotImplementedError

    def unconstrain(self, parameters: Mapping[str, Any], scale: Array | None = None) -> Array:
        """Coordinates `(n,)` from parameters; a value on an edge is first moved inside."""
        raise NotImplementedError

    def scale_of(self, parameters: Mapping[str, Any], error: Mapping[str, Any]) -> Array:
        """What adapts the coordinates to one object, from a fit's parameters and standard errors (NaN: unknown)."""
        raise NotImplementedError


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


def centre(distribution: dist.Distribution) -> Array:
    """The middle of a bounded support, the mean of an unbounded distribution."""
    lower, upper = bounds(distribution)
    middle = (lower + upper) / 2
    finite = jnp.isfinite(middle)
    return jnp.where(finite, middle, jnp.broadcast_to(jnp.asarray(distribution.mean, float), middle.shape))


def is_flat(distribution: dist.Distribution) -> bool:
    """Whether the log density is constant inside the support."""
    return isinstance(distribution, dist.Uniform | dist.ImproperUniform)


def project(prior: Prior, parameters: Mapping[str, Array]) -> dict[str, Array]:
    """The nearest parameters inside the support; cyclic ones are wrapped."""
    out = dict(parameters)
    for name, distribution in free(prior).items():
        value = out[name]
        if isinstance(distribution, Cyclic):
            low = jnp.asarray(distribution.low, value.dtype)
            out[name] = low + jnp.mod(value - low, jnp.asarray(distribution.period, value.dtype))
        else:
            lower, upper = bounds(distribution)
            out[name] = jnp.clip(value, lower.astype(value.dtype), upper.astype(value.dtype))
    return out


Softness = Mapping[str, Array]
"""How far from its bounds a parameter begins to be bent, in its own unit and shape, by name; the scale of a `Joint`."""


def constrain(
    prior: Prior, z: Mapping[str, Array], joints: Sequence[Joint] = (), softness: Softness | None = None
) -> dict[str, Array]:
    """Parameters from unconstrained coordinates (one object); a cyclic parameter's have a last axis of length 2.

    A bounded parameter's coordinate is that of NumPyro's bijection (a logit) or, with `softness`, the parameter itself,
    bent only near its bounds: what is linear in the parameters stays so.
    """
    return _constrain(prior, z, joints, softness)[0]


def unconstrain(
    prior: Prior, parameters: Mapping[str, Any], joints: Sequence[Joint] = (), softness: Softness | None = None
) -> dict[str, Array]:
    """The inverse of `constrain`; a cyclic parameter goes to the unit circle.

    A value on the edge of the support is first moved inside by 1e-5 of its range, since the edge lies at infinity.
    """
    out = {joint.name: joint.unconstrain(parameters, (softness or {}).get(joint.name)) for joint in joints}
    for name, distribution in _alone(prior, joints).items():
        value = jnp.asarray(parameters[name])
        lower, upper = bounds(distribution)
        if isinstance(distribution, Cyclic):
            angle = 2 * jnp.pi * (value - jnp.asarray(distribution.low)) / distribution.period
            out[name] = jnp.stack([jnp.cos(angle), jnp.sin(angle)], -1)
        elif softness is None:
            width = jnp.where(jnp.isfinite(upper - lower), upper - lower, 1.0)
            inside = jnp.clip(value, lower + 1e-5 * width, upper - 1e-5 * width)
            out[name] = biject_to(_support(distribution)).inv(inside)
        else:
            out[name] = _unbent(value, lower, upper, softness[name])
    return out


def log_density_unconstrained(
    prior: Prior, z: Mapping[str, Array], joints: Sequence[Joint] = (), softness: Softness | None = None
) -> Array:
    """The log density of the coordinates `z` (Jacobian included), finite everywhere; a scalar."""
    parameters, total = _constrain(prior, z, joints, softness)
    for name, distribution in free(prior).items():
        if isinstance(distribution, Cyclic):
            if name in z:
                total = total + jnp.sum(Ring().log_prob(z[name]))
            else:
                total = total - jnp.sum(jnp.log(distribution.period))
        else:
            total = total + jnp.sum(distribution.log_prob(parameters[name]))
    return total


def _alone(prior: Prior, joints: Sequence[Joint]) -> dict[str, dist.Distribution]:
    joined = {name for joint in joints for name in joint.names}
    return {name: distribution for name, distribution in free(prior).items() if name not in joined}


def _constrain(
    prior: Prior, z: Mapping[str, Array], joints: Sequence[Joint], softness: Softness | None
) -> tuple[dict[str, Array], Array]:
    """Parameters, and log |d parameters / d z| of those that have as many coordinates as values."""
    total = jnp.zeros(())
    out: dict[str, Array] = {}
    for joint in joints:
        values, jacobian = joint.constrain(z[joint.name], (softness or {}).get(joint.name))
        out |= values
        total = total + jacobian
    for name, distribution in _alone(prior, joints).items():
        if isinstance(distribution, Cyclic):
            x, y = z[name][..., 0], z[name][..., 1]
            turn = jnp.mod(jnp.arctan2(y, jnp.where((x == 0) & (y == 0), 1, x)) / (2 * jnp.pi), 1)
            out[name] = jnp.asarray(distribution.low) + distribution.period * turn
        elif softness is None:
            transform = biject_to(_support(distribution))
            out[name] = transform(z[name])
            total = total + jnp.sum(transform.log_abs_det_jacobian(z[name], out[name]))
        else:
            out[name], jacobian = _bent(z[name], *bounds(distribution), softness[name])
            total = total + jnp.sum(jacobian)
    return {name: out[name] for name in free(prior)}, total


def _bent(z: Array, lower: Array, upper: Array, softness: Array) -> tuple[Array, Array]:
    """`z` itself far from the bounds, bent so as to stay between them; and the log of the derivative."""
    below, above = (lower.astype(z.dtype) - z) / softness, (z - upper.astype(z.dtype)) / softness
    value = z + softness * (jax.nn.softplus(below) - jax.nn.softplus(above))
    # 1 / (1 + e^below) - 1 / (1 + e^-above), as a product, which does not cancel
    width = jnp.expm1(below + above)
    derivative = -jax.nn.softplus(below) - jax.nn.softplus(above) + jnp.log(-width)
    return jnp.clip(value, lower.astype(z.dtype), upper.astype(z.dtype)), derivative


def _unbent(value: Array, lower: Array, upper: Array, softness: Array) -> Array:
    """The inverse of `_bent`."""
    least = 1e-3 * softness
    value = jnp.clip(value, lower + least, upper - least)
    bend = lambda distance: jnp.log(-jnp.expm1(-distance / softness))  # noqa: E731
    return value + softness * (bend(value - lower) - bend(upper - value))
