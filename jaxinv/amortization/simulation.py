"""What a network is trained on: simulated objects, maps of them that are smooth as real ones are, and real data."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from jaxinv import priors
from jaxinv.amortization.settings import PointEstimate
from jaxinv.compute.batch import Rows
from jaxinv.observation import Observation
from jaxinv.problem import Problem
from jaxinv.training.data import Conditions, Example, at_level, level, simulated


class Source(eqx.Module):
    """Where examples come from.

    Attributes:
        problem: without the parameters that are known.
        conditions: their ranges.
        settings: patch size, correlation length, share of real data.
        real: `(n, *prediction_shape)`, or maps `(n, ny, nx, *prediction_shape)`; `None` where there are none.
    """

    problem: Problem
    conditions: Conditions
    settings: PointEstimate = eqx.field(static=True)
    real: Any

    @staticmethod
    def of(problem: Problem, conditions: Conditions, settings: PointEstimate, rows: Rows | None) -> Source:
        """With real data as `in_rows` returned them.

        Raises:
            ValueError: the data are no map, or one that is smaller than a patch.
        """
        if rows is None:
            return Source(problem, conditions, settings, None)
        if conditions.known:
            raise ValueError("real data bring nothing that would be known of them: leave `known` out of the conditions")
        real = rows.observed
        if not isinstance(real, Observation):
            sigma = np.broadcast_to(np.asarray(rows.problem.noise.sigma, rows.dtype), real.shape)
            real = Observation(real, sigma)
        if settings.encoder == "map":
            if len(rows.shape) < 2 or min(rows.shape[-2:]) < settings.patch:
                raise ValueError(
                    f"the data are a batch of {rows.shape}; patches of {settings.patch} pixels need a map of that size"
                )
            real = jax.tree.map(lambda x: x.reshape(-1, *rows.shape[-2:], *x.shape[1:]), real)
        return Source(problem, conditions, settings, real)

    @property
    def _shape(self) -> tuple[int, ...]:
        return self.problem.prediction_shape(self.conditions.known)

    def draw(self, key: PRNGKeyArray) -> Example:
        """One example: an object, or a patch of a map."""
        pick, real_key, key = jax.random.split(key, 3)
        made = self._patch(key) if self.settings.encoder == "map" else simulated(self.problem, self.conditions, key)
        if self.real is None:
            return made
        chosen = jax.random.uniform(pick) < self.settings.real
        found, own = self._real(real_key), made.observed
        if not isinstance(own, Observation):
            own = Observation(own, jnp.broadcast_to(jnp.asarray(self.problem.noise.sigma), own.shape))
        return made._replace(observed=jax.tree.map(lambda a, b: jnp.where(chosen, a, b.astype(a.dtype)), found, own))

    def _real(self, key: PRNGKeyArray) -> Observation:
        """A real object or patch, with noise added up to a level from the conditions."""
        which, place, noise_key, level_key = jax.random.split(key, 4)
        n = len(self.real.values)
        found = jax.tree.map(lambda x: jnp.asarray(x)[jax.random.randint(which, (), 0, n)], self.real)
        if self.settings.encoder == "map":
            size = self.settings.patch
            ny, nx = found.values.shape[:2]
            corner = jax.random.randint(place, (2,), 0, jnp.array([ny - size + 1, nx - size + 1]))
            cut = lambda x: jax.lax.dynamic_slice_in_dim(  # noqa: E731
                jax.lax.dynamic_slice_in_dim(x, corner[0], size, 0), corner[1], size, 1
            )
            found = jax.tree.map(cut, found)
        factor = jnp.maximum(level(self.conditions, self._shape, level_key), 1.0)
        extra = jnp.sqrt(factor**2 - 1) * found.sigma * jax.random.normal(noise_key, found.values.shape)
        return Observation(found.values + extra, factor * found.sigma)

    def _patch(self, key: PRNGKeyArray) -> Example:
        """A simulated patch: each pixel follows the prior, and its neighbours are like it."""
        field_key, noise_key, level_key, known_key = jax.random.split(key, 4)
        size = self.settings.patch
        known = {
            name: jnp.broadcast_to(value, (size, size, *value.shape))
            for name, value in priors.sample(self.conditions.known, known_key).items()
        }
        parameters = {}
        for k, name in enumerate(self.problem.names):
            distribution = self.conditions.drawn.get(name, self.problem.prior[name])
            z = _smooth(jax.random.fold_in(field_key, k), size, distribution.shape(), self.settings.correlation)
            share = jax.scipy.stats.norm.cdf(z)
            parameters[name] = jnp.asarray(distribution.icdf(jnp.clip(share, 1e-6, 1 - 1e-6)))
        scaled = at_level(self.problem, level(self.conditions, self._shape, level_key))

        def observe(parameters: Any, known: Any, key: PRNGKeyArray) -> Array:
            return scaled.noise.simulate(key, scaled.predict({**known, **parameters}))

        keys = jax.random.split(noise_key, (size, size))
        values = jax.vmap(jax.vmap(observe))(parameters, known, keys)
        if scaled.noise.sigma is None:
            return Example(parameters, known, values)
        sigma = jnp.broadcast_to(jnp.asarray(scaled.noise.sigma, values.dtype), values.shape)
        return Example(parameters, known, Observation(values, sigma))


def _smooth(key: PRNGKeyArray, size: int, shape: tuple[int, ...], length: float) -> Array:
    """A standard normal field `(size, size, *shape)` with a Gaussian correlation of this length in pixels."""
    reach = int(np.ceil(2 * length))
    offset = np.arange(-reach, reach + 1)
    kernel = np.exp(-((offset / length) ** 2))
    kernel = jnp.asarray(kernel / np.sqrt(np.sum(kernel**2)))
    white = jax.random.normal(key, (size + 2 * reach, size + 2 * reach, *shape))
    rows = np.arange(size)[:, None] + np.arange(2 * reach + 1)
    field = jnp.tensordot(white[rows], kernel, axes=(1, 0))
    # the axis of the columns stands first after the rows' own
    field = jnp.tensordot(jnp.moveaxis(field, 1, 0)[rows], kernel, axes=(1, 0))
    return jnp.moveaxis(field, 0, 1)
