"""Named parameters and data as the numbers that a network reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from jaxinv import priors

_FAR = 4.5
"""Standard deviations of an unbounded prior beyond which nothing was trained."""


class ParameterCoding(eqx.Module):
    """What a network sees of parameters with a prior, all of order 1.

    A cyclic one becomes a cosine and a sine; one with bounds runs from -1 to 1, and where its positive bounds lie more
    than a factor of 20 apart its logarithm does so too; any other is standardized.

    Attributes:
        names: the parameters in order.
        kinds: "cyclic", "bounded", "logarithmic" or "free" for each.
        lower: lower bounds, or `_FAR` standard deviations below the mean; each in the parameter's shape.
        upper: the same above.
    """

    names: tuple[str, ...] = eqx.field(static=True)
    kinds: tuple[str, ...] = eqx.field(static=True)
    lower: tuple[np.ndarray, ...]
    upper: tuple[np.ndarray, ...]

    @staticmethod
    def of(prior: priors.Prior, order: tuple[str, ...]) -> ParameterCoding:
        """The coding of the free parameters of a prior, in the order given."""
        free = priors.free(prior)
        names = tuple(name for name in order if name in free)
        kinds, lower, upper = [], [], []
        circles = priors.circles(prior)
        for name in names:
            distribution = free[name]
            low, high = (np.asarray(x, np.float64) for x in priors.bounds(distribution))
            bounded = bool(np.all(np.isfinite(high - low)))
            wide = bounded and bool(np.all((low > 0) & (high > 20 * low)))
            if not bounded:
                mean = np.broadcast_to(np.asarray(distribution.mean, np.float64), low.shape)
                spread = _FAR * np.sqrt(np.broadcast_to(np.asarray(distribution.variance, np.float64), low.shape))
                if not np.all(np.isfinite(spread)):
                    raise ValueError(
                        f"the prior of {name!r} has neither two bounds nor a finite variance: a network cannot be "
                        "trained over all of it"
                    )
                low, high = np.maximum(low, mean - spread), np.minimum(high, mean + spread)
            kinds.append("cyclic" if name in circles else "logarithmic" if wide else "bounded" if bounded else "free")
            lower.append(low)
            upper.append(high)
        return ParameterCoding(names, tuple(kinds), tuple(lower), tuple(upper))

    @property
    def size(self) -> int:
        """The number of features."""
        return sum((2 if kind in ("cyclic", "logarithmic") else 1) * low.size for kind, low in self._each())

    def _each(self) -> list[tuple[str, np.ndarray]]:
        return list(zip(self.kinds, self.lower, strict=True))

    def encode(self, parameters: Mapping[str, Any]) -> Array:
        """`(size,)` from named parameters of one object."""
        out = []
        for name, kind, low, high in zip(self.names, self.kinds, self.lower, self.upper, strict=True):
            value = jnp.asarray(parameters[name])
            dtype = jnp.result_type(value, jnp.float32)
            value = value.astype(dtype)
            share = (value - low.astype(dtype)) / (high - low).astype(dtype)
            if kind == "cyclic":
                out += [jnp.cos(2 * jnp.pi * share), jnp.sin(2 * jnp.pi * share)]
            else:
                out.append((4.0 if kind == "free" else 2.0) * share - (2.0 if kind == "free" else 1.0))
            if kind == "logarithmic":
                ratio = jnp.log(high / low).astype(dtype)
                out.append(2 * jnp.log(jnp.maximum(value, low.astype(dtype)) / low.astype(dtype)) / ratio - 1)
        return jnp.concatenate([jnp.ravel(x) for x in out])

    def near(self, parameters: Mapping[str, Array], key: PRNGKeyArray, share: float) -> dict[str, Array]:
        """Parameters moved at random by about such a share of their ranges, each kept inside."""
        out = {}
        for k, (name, kind, low, high) in enumerate(zip(self.names, self.kinds, self.lower, self.upper, strict=True)):
            value = jnp.asarray(parameters[name])
            low, high = low.astype(value.dtype), high.astype(value.dtype)
            step = share * jax.random.normal(jax.random.fold_in(key, k), value.shape, value.dtype)
            if kind == "logarithmic":
                value = value * jnp.exp(step * jnp.log(high / low))
            else:
                value = value + step * (high - low)
            value = low + jnp.mod(value - low, high - low) if kind == "cyclic" else jnp.clip(value, low, high)
            out[name] = value
        return out

    def inside(self, parameters: Mapping[str, Any]) -> Array:
        """Whether all parameters of one object lie where the network was trained; the edges, to rounding, do."""
        ok = jnp.asarray(True)
        for name, kind, low, high in zip(self.names, self.kinds, self.lower, self.upper, strict=True):
            if kind != "cyclic":
                value, margin = jnp.asarray(parameters[name]), 1e-5 * (high - low)
                ok = ok & jnp.all((value >= low - margin) & (value <= high + margin))
        return ok
