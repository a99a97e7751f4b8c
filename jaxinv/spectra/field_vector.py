"""Coordinates in which a problem of a magnetic field is round.

For a fit: B_los, and the transverse field B_t as a vector at twice the azimuth. No edge, no angle, and one point for
each field (LL04 do not tell an azimuth from the opposite one).

For a posterior, the same where the field is strong. In a weak field Stokes V measures B_los = B cos(inclination), and Q
and U measure B_t^2 (cos, sin)(2 azimuth) with B_t = B sin(inclination) (Landi Degl'Innocenti & Landolfi 2004, secs.
9.5, 9.6). In (B, inclination, azimuth) a posterior is then a thin curved sheet, in which a sampler has to turn often on
a long way. Here it is nearly round: one coordinate grows with B_los, and two are a plane whose polar angle is twice the
azimuth and whose radius grows with B_t^2. Close to B = 0 and to B_t = 0, nearer than what noise hides, the radii follow
the square root instead. There the volume element is d B d inclination d azimuth without any singular factor, so a flat
prior is flat in these coordinates too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxinv import priors
from jaxinv.coordinates import Block

LONGITUDINAL = 2.0
"""Field [G] along the line of sight below which the coordinate follows the square root: what noise of 1e-3 hides."""
TRANSVERSE = 40.0
"""The same across the line of sight [G], where no fit tells what noise hides. Both change the sampler's effort, never
its result."""
_TINY = 1e-24
_NAMES = ("field_strength", "inclination", "azimuth")


class _OfField(Block):
    """Three coordinates of field strength, inclination and azimuth.

    Attributes:
        maximum: upper limit of the field strength [G]; may be infinite.
    """

    maximum: float = eqx.field(static=True, default=math.inf)

    @property
    def names(self) -> tuple[str, ...]:
        return _NAMES

    @property
    def size(self) -> int:
        return 3


class FieldVector(_OfField):
    """(B cos(inclination), B sin(inclination) cos(2 azimuth), B sin(inclination) sin(2 azimuth)) [G]."""

    @staticmethod
    def of(prior: priors.Prior) -> tuple[FieldVector, ...]:
        """One, if all three are free scalars on [0, maximum], [0, pi] and the circle [0, pi); else none."""
        free = priors.free(prior)
        chosen = [free.get(name) for name in _NAMES]
        if any(entry is None or entry.shape() for entry in chosen) or "azimuth" not in priors.circles(prior):
            return ()
        ends = [priors.limits(entry) for entry in chosen if entry is not None]
        if None in ends:
            return ()  # bounds that are traced cannot be looked at
        (low, high), *angles = (end for end in ends if end is not None)
        if low != 0 or any(abs(x - y) > 1e-6 for end in angles for x, y in zip(end, (0, math.pi), strict=True)):
            return ()
        return (FieldVector(high),)

    @property
    def folds(self) -> bool:
        return True

    def vector(self, parameters: Mapping[str, Any]) -> Array:
        field, inclination, azimuth = (jnp.asarray(parameters[name]) for name in _NAMES)
        across = field * jnp.sin(inclination)
        return jnp.stack([field * jnp.cos(inclination), across * jnp.cos(2 * azimuth), across * jnp.sin(2 * azimuth)])

    def parameters(self, vector: Array) -> dict[str, Array]:
        along, x, y = vector
        square = x**2 + y**2
        across = jnp.sqrt(square + _TINY)
        # At the origin the angles have no value and no derivative: 0 does no harm.
        azimuth = jnp.mod(jnp.arctan2(y, jnp.where(square > _TINY, x, 1)) / 2, jnp.pi)
        total = square + along**2
        inclination = jnp.arctan2(across, jnp.where(total > _TINY, along, 1))
        return {"field_strength": jnp.sqrt(total + _TINY), "inclination": inclination, "azimuth": azimuth}

    def scale(self) -> Array:
        return jnp.full(3, 1000.0)

    def project(self, vector: Array) -> Array:
        if not math.isfinite(self.maximum):
            return vector
        field = jnp.sqrt(jnp.sum(vector**2) + _TINY)
        return vector * jnp.minimum(1, self.maximum / field)

    def at_bound(self, parameters: Mapping[str, Any]) -> Array:
        return jnp.asarray(parameters["field_strength"]) >= self.maximum * (1 - 1e-6)

    def opened(self, near: Mapping[str, Any] | None = None, error: Mapping[str, Any] | None = None) -> Block:
        hidden = TRANSVERSE if near is None or error is None else hidden_field(near, error)
        return OpenFieldVector(self.maximum, jnp.asarray(hidden))


class OpenFieldVector(_OfField):
    """Three coordinates of field strength, inclination and azimuth without an edge.

    With X the field strength (before a hyperbolic tangent, where it has an upper limit), L = LONGITUDINAL, T the
    hidden field and q^2 = X^2 + L X, they are q cos(inclination) / L, s cos(2 azimuth) and s sin(2 azimuth), where s is
    the solution of q sin(inclination) = T s^2 / (1 + s^6)^(1/4).

    Attributes:
        hidden: the transverse field that noise hides [G].
    """

    hidden: Any = TRANSVERSE

    def parameters(self, vector: Array) -> dict[str, Array]:
        return self._constrained(vector)[0]

    def log_volume(self, vector: Array) -> Array:
        return self._constrained(vector)[1]

    def _constrained(self, z: Array) -> tuple[dict[str, Array], Array]:
        transverse = jnp.asarray(self.hidden, z.dtype)
        s2 = z[1] ** 2 + z[2] ** 2
        s6 = s2**3
        along = LONGITUDINAL * z[0]
        across = transverse * s2 * (1 + s6) ** -0.25
        radius = along**2 + across**2
        field = 2 * radius / (LONGITUDINAL + jnp.sqrt(LONGITUDINAL**2 + 4 * radius))
        # At the origin the angles have no value and no derivative: 0 does no harm.
        azimuth = jnp.mod(jnp.arctan2(z[2], jnp.where(s2 > _TINY, z[1], 1)) / 2, jnp.pi)
        inclination = jnp.arctan2(across, jnp.where(radius > _TINY, along, 1))
        # d z_0 d across = (X + L / 2) d X d inclination / L;  d z_1 d z_2 = 2 s d s d azimuth
        jacobian = (
            jnp.log(LONGITUDINAL * transverse / 2)
            + jnp.log(2 + s6 / 2)
            - 1.25 * jnp.log1p(s6)
            - jnp.log(field + LONGITUDINAL / 2)
        )
        if math.isfinite(self.maximum):
            t = jnp.tanh(field / self.maximum)
            field, jacobian = self.maximum * t, jacobian + jnp.log1p(-(jnp.minimum(t, 1 - 1e-6) ** 2))
        return {"field_strength": field, "inclination": inclination, "azimuth": azimuth}, jacobian

    def vector(self, parameters: Mapping[str, Any]) -> Array:
        transverse = self.hidden
        field = jnp.maximum(jnp.asarray(parameters["field_strength"]), 0.05)
        if math.isfinite(self.maximum):
            field = self.maximum * jnp.arctanh(jnp.minimum(field / self.maximum, 1 - 1e-4))
        inclination = jnp.clip(jnp.asarray(parameters["inclination"]), 1e-3, math.pi - 1e-3)
        radius = jnp.sqrt(field**2 + LONGITUDINAL * field)
        # s from across / T = s^2 / (1 + s^6)^(1/4): Newton's method in logarithms, from the larger asymptote.
        height = jnp.log(radius * jnp.sin(inclination) / transverse)
        log_s = jnp.maximum(height / 2, 2 * height)

        def newton(_: Any, log_s: Array) -> Array:
            s6 = jnp.exp(6 * jnp.minimum(log_s, 14.0))
            return log_s - (2 * log_s - jnp.log1p(s6) / 4 - height) / (2 - 1.5 * s6 / (1 + s6))

        s = jnp.exp(jax.lax.fori_loop(0, 12, newton, log_s))
        turn = 2 * jnp.asarray(parameters["azimuth"])
        return jnp.stack([radius * jnp.cos(inclination) / LONGITUDINAL, s * jnp.cos(turn), s * jnp.sin(turn)])


def hidden_field(parameters: Mapping[str, Any], error: Mapping[str, Any]) -> Array:
    """T, the transverse field that noise hides: T^2 is the error of B_t^2, its two parts as if independent."""
    field, inclination = (jnp.asarray(parameters[name]) for name in _NAMES[:2])
    by_field = 2 * field * jnp.sin(inclination) ** 2 * error["field_strength"]
    by_inclination = field**2 * jnp.sin(2 * inclination) * error["inclination"]
    size = jnp.sqrt(jnp.hypot(by_field, by_inclination))
    return jnp.where(jnp.isfinite(size), jnp.clip(size, 10.0, 500.0), TRANSVERSE).astype(field.dtype)


def canonical_field(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The same profiles with field strength >= 0, inclination in [0, pi] and azimuth in [0, pi).

    Exact: (B, gamma) and (-B, pi - gamma) are one vector; so are gamma and -gamma with chi + pi, which LL04's
    equations do not distinguish from chi.
    """
    strength, inclination, azimuth = (jnp.asarray(parameters[name]) for name in _NAMES)
    inclination = jnp.where(strength < 0, jnp.pi - inclination, inclination)
    inclination = jnp.abs(jnp.mod(inclination + jnp.pi, 2 * jnp.pi) - jnp.pi)
    return {
        **parameters,
        "field_strength": jnp.abs(strength),
        "inclination": inclination,
        "azimuth": jnp.mod(azimuth, jnp.pi),
    }
