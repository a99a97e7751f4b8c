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

from jaxinv.compute.groups import map_in_groups
from jaxinv.networks import Network
from jaxinv.problem import Problem
from jaxinv.results.posterior import PosteriorRoute
from jaxinv.sampling.approximations import Approximant, Approximation, student_t_density, student_t_draws
from jaxinv.sampling.target import Target
from jaxinv.training import folder

FAR = 30.0
"""Coordinates of a truth beyond which the fit has ended somewhere else; not trained on."""


_DEGREES = 5.0
"""Of freedom of the noise."""
_ASIDE, _LARGE = (-3.0, -1.5, 1.5, 3.0), 100.0
"""Standard deviations from the mode at which the departure from normal is looked at; and as large as it is told."""


class Flow(Approximation):
    """A density q(x | context) that was trained on simulated objects; made by `amortize`, used as `Laplace()` is.

    x are the target's coordinates: distances from the mode in units of the normal approximation's widths. The context
    is where the mode lies, how wide the approximation is and how the posterior departs from it along each axis. So the
    flow has to learn only how a posterior differs from a normal distribution; where it does not, it has little to do.
    Its noise is Student's t, so that its tails are heavy enough to be corrected by weights.

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

        def density(key: PRNGKeyArray, count: int) -> tuple[Array, Array]:
            noise = student_t_draws(key, (count, target.dimension), _DEGREES, target.centre.dtype)
            x, change = jax.vmap(lambda e: self.network(e, context, method="transform"))(noise)
            return x, student_t_density(noise, _DEGREES) - change

        return density, {}

    @property
    def dimension(self) -> int:
        """The number of coordinates of the posteriors that it was trained for."""
        return dict(self.network.settings)["n"]

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
        if dict(found.network.settings)["n_context"] != _length(found.dimension):
            raise folder.FolderError(f"{path} holds a density that another version of jaxinv trained: train it anew")
        if problem is not None:
            folder.check_forward(path, card, problem.forward)
        return found


def log_density(network: Network, x: Array, context: Array) -> Array:
    """Log q of coordinates `(n,)`, given a standardized context."""
    noise, change = network(x, context, method="invert")
    return student_t_density(noise, _DEGREES) + change


def _length(n: int) -> int:
    """Of the summary of a target in `n` dimensions."""
    return 3 * n + n * (n - 1) // 2 + len(_ASIDE) * n


def summary(target: Target) -> Array:
    """Where the mode lies, how wide the normal approximation is there, and how the posterior departs from it.

    The departure is that of the log density on both sides along each axis. All in numbers that do not range over
    decades.
    """
    width = jnp.sqrt(jnp.sum(target.factor**2, axis=1))
    unit = target.factor / width[:, None]
    correlation = jnp.matmul(unit, unit.T, precision="highest")
    upper = np.triu_indices(len(width), 1)
    axes = jnp.eye(len(width), dtype=width.dtype)
    points = jnp.concatenate([s * axes for s in _ASIDE])
    density = map_in_groups(target.log_density, jnp.concatenate([0 * axes[:1], points]), 64)
    departure = density[1:] - density[0] + jnp.sum(points**2, axis=1) / 2
    return jnp.concatenate(
        [
            jnp.arcsinh(target.centre),
            jnp.arcsinh(target.centre / width),
            jnp.log(width),
            correlation[upper],
            jnp.arcsinh(jnp.clip(departure, -_LARGE, _LARGE)),
        ]
    )
