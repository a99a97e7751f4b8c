"""An amortized posterior: a normalizing flow in coordinates in which the normal approximation is standard normal."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from jaxinv.networks import Network
from jaxinv.problem import Problem
from jaxinv.results.posterior import PosteriorRoute
from jaxinv.sampling.approximations import Approximant, Approximation
from jaxinv.sampling.target import Target
from jaxinv.training import folder

FAR = 30.0
"""Coordinates of a truth beyond which the fit has ended somewhere else; not trained on."""


class Flow(Approximation):
    """A density q(x | context) that was trained on simulated objects; made by `amortize`, used as `Laplace()` is.

    x are the target's coordinates: distances from the mode in units of the normal approximation's widths. The context
    is where the mode lies and how wide the approximation is. So the flow has to learn only how a posterior differs from
    a normal distribution; where it does not, it has nothing to do.

    Attributes:
        network: a `ConditionalFlow`.
        mean: of the context's numbers over the training set.
        spread: of the same.
    """

    corrected: ClassVar = PosteriorRoute.LEARNED
    network: Network = eqx.field(kw_only=True)
    mean: np.ndarray = eqx.field(kw_only=True)
    spread: np.ndarray = eqx.field(kw_only=True)

    def approximate(self, target: Target, key: PRNGKeyArray) -> tuple[Approximant, dict[str, Array]]:
        del key
        if target.dimension != self.dimension:
            raise ValueError(
                f"the flow was trained for posteriors in {self.dimension} coordinates; this problem's have "
                f"{target.dimension}: train one for it"
            )
        context = self.context(target)
        n, dtype = target.dimension, target.centre.dtype

        def density(key: PRNGKeyArray, count: int) -> tuple[Array, Array]:
            noise = jax.random.normal(key, (count, n), dtype)
            return jax.vmap(lambda e: self.network(e, context, method="transform"))(noise)

        return density, {}

    @property
    def dimension(self) -> int:
        """The number of coordinates of the posteriors that it was trained for."""
        return dict(self.network.settings)["n"]

    def log_density(self, target: Target, x: Array) -> Array:
        """Log q of coordinates `(n,)`, a scalar."""
        return self.network(x, self.context(target), method="log_density")

    def context(self, target: Target) -> Array:
        """What the flow is told of a target, standardized."""
        raw = summary(target)
        return jnp.clip((raw - self.mean.astype(raw.dtype)) / self.spread.astype(raw.dtype), -5, 5)

    def save(self, path: str | os.PathLike[str], problem: Problem, notes: Mapping[str, Any] | None = None) -> None:
        """Write the network and its codings to a folder, with what problem they were trained for.

        Args:
            path: the folder.
            problem: the one that it was trained for.
            notes: what else the card should say, as JSON can say it.

        Raises:
            OutputError: it cannot be written.
        """
        folder.save(path, self, {**folder.described_problem(problem, ()), **(notes or {})})

    @staticmethod
    def load(path: str | os.PathLike[str], problem: Problem | None = None) -> Flow:
        """What `save` wrote; `problem` is checked against the one that it was trained for.

        Raises:
            FolderError: the folder is not there, damaged, of another kind or version, or for another forward model.
        """
        found, card = folder.load(path, Flow)
        if problem is not None:
            folder.check_forward(path, card, problem.forward)
        return found


def summary(target: Target) -> Array:
    """Where the mode lies and how wide the normal approximation is, in numbers that do not range over decades."""
    width = jnp.sqrt(jnp.sum(target.factor**2, axis=1))
    unit = target.factor / width[:, None]
    correlation = jnp.matmul(unit, unit.T, precision="highest")
    upper = np.triu_indices(len(width), 1)
    return jnp.concatenate(
        [jnp.arcsinh(target.centre), jnp.arcsinh(target.centre / width), jnp.log(width), correlation[upper]]
    )
