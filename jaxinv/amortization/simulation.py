"""What a network is trained on: simulated objects, and real data, turned and with more noise."""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from jaxinv import priors
from jaxinv.compute.batch import Rows
from jaxinv.observation import Observation
from jaxinv.problem import Problem
from jaxinv.training.data import Conditions, Example, level, simulated


class Lesson(NamedTuple):
    """What one example teaches.

    Attributes:
        example: of real data, the parameters mean nothing, and `clean` are the data.
        target: what the prediction is compared with.
        real: whether the data are real, so that there is no truth.
    """

    example: Example
    target: Observation
    real: Array


class Source(eqx.Module):
    """Where lessons come from.

    Attributes:
        problem: without the parameters that are known.
        conditions: their ranges.
        real: real data and what is known of each, `(n, ...)` each; `None` where there are none.
        share: of the lessons that are real.
    """

    problem: Problem
    conditions: Conditions
    real: tuple[Observation, dict[str, Any]] | None
    share: float = eqx.field(static=True)

    @staticmethod
    def of(problem: Problem, conditions: Conditions, rows: Rows | None, share: float) -> Source:
        """With real data as `in_rows` returned them.

        Raises:
            ValueError: of real data something is not known that the network is told.
        """
        if rows is None:
            return Source(problem, conditions, None, 0.0)
        missing = [name for name in conditions.known if name not in rows.known]
        extra = [name for name in rows.known if name not in conditions.known and share < 1]
        if extra:
            raise ValueError(f"{extra[0]!r} is known of the real data only: let the conditions draw it, too")
        if missing:
            raise ValueError(f"the network is told {missing[0]!r} of each object: give it with the data as `fixed`")
        found = rows.observed
        if not isinstance(found, Observation):
            sigma = np.broadcast_to(np.asarray(_sigma(rows.problem), rows.dtype), found.shape)
            found = Observation(found, sigma)
        usable = np.isfinite(found.values).reshape(rows.n, -1).any(axis=1)
        if not usable.any():
            raise ValueError("the real data hold no finite sample")
        real = jax.tree.map(lambda x: np.asarray(x)[usable], (found, rows.known))
        return Source(problem, conditions, real, share)

    def draw(self, key: PRNGKeyArray) -> Lesson:
        """One lesson."""
        if self.real is not None and self.share >= 1:
            return self._real(key)
        pick, real_key, key = jax.random.split(key, 3)
        example = simulated(self.problem, self.conditions, key)
        # A misfit in units of less noise than the nominal teaches nothing more.
        sigma = jnp.broadcast_to(jnp.asarray(_sigma(self.problem), example.clean.dtype), example.clean.shape)
        if isinstance(example.observed, Observation):
            sigma = jnp.maximum(sigma, example.observed.sigma)
        made = Lesson(example, Observation(example.clean, sigma), jnp.asarray(False))
        if self.real is None:
            return made
        chosen = jax.random.uniform(pick) < self.share
        other = self._real(real_key)
        own = example.observed
        if not isinstance(own, Observation):
            own = Observation(own, jnp.broadcast_to(jnp.asarray(_sigma(self.problem)), own.shape))
        made = made._replace(example=example._replace(observed=own))
        return jax.tree.map(lambda a, b: jnp.where(chosen, a, jnp.asarray(b, a.dtype)), other, made)

    def _real(self, key: PRNGKeyArray) -> Lesson:
        """A real object, turned by an exact symmetry, with noise added up to a level from the conditions."""
        which, turn_key, noise_key, level_key = jax.random.split(key, 4)
        assert self.real is not None
        index = jax.random.randint(which, (), 0, len(self.real[0].values))
        (values, sigma, *_), known = jax.tree.map(lambda x: jnp.asarray(x)[index], self.real)
        symmetry = self.problem.symmetry
        if symmetry is not None:
            valid = self.problem.noise.valid(values, Observation(values, sigma))
            weight = jnp.where(valid, sigma, 0)
            alike = [jnp.all(weight[np.array(group)] == weight[group[0]]) for group in symmetry.mixed]
            drawn = symmetry.data(symmetry.draw(turn_key), jnp.where(valid, values, 0))
            same = jnp.all(jnp.stack([jnp.asarray(True), *alike]))
            values = jnp.where(valid & same, drawn, values)
        factor = jnp.maximum(level(self.conditions, values.shape, level_key), 1.0)
        extra = jnp.sqrt(factor**2 - 1) * sigma * jax.random.normal(noise_key, values.shape)
        observed = Observation(values + extra, factor * sigma)
        nothing = {name: priors.centre(self.problem.prior[name]).astype(values.dtype) for name in self.problem.names}
        return Lesson(Example(nothing, known, observed, values), observed, jnp.asarray(True))


def _sigma(problem: Problem) -> Any:
    return 1.0 if problem.noise.sigma is None else problem.noise.sigma
