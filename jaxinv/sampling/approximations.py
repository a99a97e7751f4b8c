"""Cheaper cousins of the chains: the normal approximation, variational inference, and importance weights on either."""

from __future__ import annotations

import abc
import math
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array, PRNGKeyArray
from numpyro import handlers
from numpyro.distributions import constraints
from numpyro.infer import SVI as Variational
from numpyro.infer import Trace_ELBO
from numpyro.optim import ClippedAdam

from jaxinv.compute.groups import map_in_groups
from jaxinv.results.posterior import PosteriorRoute
from jaxinv.sampling.diagnostics import smoothed_weights
from jaxinv.sampling.methods import Draws, Method
from jaxinv.sampling.target import Target

Approximant = Callable[[PRNGKeyArray, int], tuple[Array, Array]]
"""Independent draws `(n, dimension)` of x and their normalized log density `(n,)`."""


class Approximation(Method):
    """A density that can be drawn from and evaluated. One chain of independent draws.

    Attributes:
        n_draws: for each object.
        corrected: how its draws come about once `Importance` has corrected them.
    """

    n_draws: int = eqx.field(static=True, default=4000)
    corrected: ClassVar = PosteriorRoute.WEIGHTED

    def __check_init__(self) -> None:
        if self.n_draws < 100:
            raise ValueError(f"n_draws must be 100 or more; found {self.n_draws}")

    @property
    def shape(self) -> tuple[int, int]:
        return 1, self.n_draws

    @property
    def route(self) -> PosteriorRoute:
        return PosteriorRoute.APPROXIMATED

    @abc.abstractmethod
    def approximate(self, target: Target, key: PRNGKeyArray) -> tuple[Approximant, dict[str, Array]]:
        """The density, and scalars that describe how it was found."""

    def draw(self, target: Target, key: PRNGKeyArray) -> Draws:
        fit, place = jax.random.split(key)
        density, scalars = self.approximate(target, fit)
        x, log_q = density(place, self.n_draws)
        lp = map_in_groups(target.log_density, x, 64)
        return Draws(x[None], {"lp": lp[None], "log_q": log_q[None], **scalars})


class Laplace(Approximation):
    """The normal distribution at the mode, with the inverse of Levenberg-Marquardt's curvature as its covariance.

    In unconstrained coordinates, so draws respect every bound.

    Attributes:
        degrees: of freedom of Student's t distribution in its place, whose tails are heavier: a proposal for weights,
            which are unbounded where a proposal's tails are the lighter ones. Infinite: the normal distribution.
    """

    degrees: float = eqx.field(static=True, default=math.inf)

    def __check_init__(self) -> None:
        if not self.degrees > 0:
            raise ValueError(f"degrees must be above 0; found {self.degrees}")

    def approximate(self, target: Target, key: PRNGKeyArray) -> tuple[Approximant, dict[str, Array]]:
        del key

        def density(key: PRNGKeyArray, count: int) -> tuple[Array, Array]:
            x = student_t_draws(key, (count, target.dimension), self.degrees, target.centre.dtype)
            return x, student_t_density(x, self.degrees)

        return density, {}


def student_t_draws(key: PRNGKeyArray, shape: tuple[int, int], degrees: float, dtype: Any) -> Array:
    """Draws, `(count, n)`, of Student's t distribution in n dimensions; of the normal one at infinite degrees."""
    x = jax.random.normal(key, shape, dtype)
    if math.isinf(degrees):
        return x
    chi2 = 2 * jax.random.gamma(jax.random.fold_in(key, 1), degrees / 2, (shape[0], 1), dtype)
    return x * jnp.sqrt(degrees / chi2)


def student_t_density(x: Array, degrees: float) -> Array:
    """The log density of `x`, `(..., n)`, in the same distribution."""
    n, square = x.shape[-1], jnp.sum(x**2, -1)
    if math.isinf(degrees):
        return -square / 2 - n / 2 * math.log(2 * math.pi)
    norm = math.lgamma((degrees + n) / 2) - math.lgamma(degrees / 2) - n / 2 * math.log(degrees * math.pi)
    return norm - (degrees + n) / 2 * jnp.log1p(square / degrees)


def normal_guide(dimension: int) -> None:
    """A NumPyro guide of the site "x": a normal distribution with a full covariance."""
    loc = numpyro.param("loc", jnp.zeros(dimension))
    factor = numpyro.param("factor", jnp.eye(dimension), constraint=constraints.lower_cholesky)
    numpyro.sample("x", dist.MultivariateNormal(loc, scale_tril=factor))


class SVI(Approximation):
    """Stochastic variational inference (Hoffman et al. 2013, JMLR 14, 1303): the density nearest the posterior.

    Attributes:
        guide: a NumPyro guide: a function of the dimension with parameters of its own that samples a site "x" from a
            distribution with a density (`normal_guide` is the default, and an example).
        n_steps: of the optimizer.
        n_particles: draws for each estimate of the gradient.
        learning_rate: at the first step; a tenth of a thousandth of it at the last.
    """

    guide: Callable[[int], None] = eqx.field(static=True, default=normal_guide)
    n_steps: int = eqx.field(static=True, default=600)
    n_particles: int = eqx.field(static=True, default=16)
    learning_rate: float = eqx.field(static=True, default=0.02)

    def __check_init__(self) -> None:
        for name, least in (("n_steps", 10), ("n_particles", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be {least} or more; found {getattr(self, name)}")

    def approximate(self, target: Target, key: PRNGKeyArray) -> tuple[Approximant, dict[str, Array]]:
        n = target.dimension

        def model() -> None:
            flat = dist.ImproperUniform(constraints.real_vector, (), (n,))
            numpyro.factor("target", target.log_density(jnp.asarray(numpyro.sample("x", flat))))

        def guide() -> None:
            self.guide(n)

        rate = lambda i: self.learning_rate * 1e-4 ** (i / self.n_steps)  # noqa: E731
        inference = Variational(model, guide, ClippedAdam(rate), Trace_ELBO(self.n_particles))
        state, losses = jax.lax.scan(lambda state, _: inference.update(state), inference.init(key), None, self.n_steps)
        found = inference.get_params(state)

        def density(key: PRNGKeyArray, count: int) -> tuple[Array, Array]:
            def one(key: PRNGKeyArray) -> tuple[Array, Array]:
                trace = handlers.trace(handlers.seed(handlers.substitute(guide, data=found), key)).get_trace()
                site: Any = trace["x"]
                return site["value"], site["fn"].log_prob(site["value"])

            return jax.vmap(one)(jax.random.split(key, count))

        return density, {"elbo": -jnp.mean(losses[-self.n_steps // 10 :])}


class Importance(Method):
    """An approximation corrected by Pareto-smoothed importance weights (Vehtari et al. 2024, JMLR 25, 72).

    Draws are taken again with the probability of their weights, so they stand for the posterior without weights. The
    shape of the weights' tail, `pareto_k`, and their effective number, `weights_ess`, tell whether to rely on them.

    Attributes:
        base: the approximation, `Laplace(degrees=10)` by default; its `n_draws` are kept.
        proposals: how many of its draws are weighed, at least as many as are kept.
    """

    base: Approximation
    proposals: int = eqx.field(static=True, default=4000)

    def __init__(self, base: Approximation | None = None, proposals: int = 4000) -> None:
        self.base = Laplace(degrees=10.0) if base is None else base
        if not isinstance(self.base, Approximation):
            raise ValueError(f"Importance corrects Laplace(), SVI() or a trained density; found {base!r}")
        if proposals < 100:
            raise ValueError(f"proposals must be 100 or more; found {proposals}")
        self.proposals = max(proposals, self.base.n_draws)

    @property
    def shape(self) -> tuple[int, int]:
        return self.base.shape

    @property
    def route(self) -> PosteriorRoute:
        return self.base.corrected

    def draw(self, target: Target, key: PRNGKeyArray) -> Draws:
        fit, place, pick = jax.random.split(key, 3)
        density, scalars = self.base.approximate(target, fit)
        n = self.base.n_draws
        x, log_q = density(place, self.proposals)
        lp = map_in_groups(target.log_density, x, 64)
        weights, pareto_k = smoothed_weights(lp - log_q)
        size = 1 / jnp.sum(jnp.exp(2 * weights))
        # Systematic resampling: one uniform number for all draws has the least variance.
        edges = jnp.cumsum(jnp.exp(weights))
        grid = (jnp.arange(n) + jax.random.uniform(pick)) / n * edges[-1]
        chosen = jax.random.permutation(jax.random.fold_in(pick, 1), jnp.searchsorted(edges, grid))
        chosen = jnp.clip(chosen, 0, len(x) - 1)
        stats = {"lp": lp[chosen][None], "log_q": log_q[chosen][None], **scalars}
        return Draws(x[chosen][None], stats | {"pareto_k": pareto_k, "weights_ess": size})
