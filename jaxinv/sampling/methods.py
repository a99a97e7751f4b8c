"""Hamiltonian Monte Carlo by NumPyro's kernels, for many objects in one program.

NUTS: Hoffman & Gelman (2014, JMLR 15, 1593); HMC: Neal (2011, Handbook of MCMC, ch. 5), with trajectories of random
length. Each chain of each object has its own step size and mass matrix.
"""

from __future__ import annotations

import abc
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray
from numpyro.infer.hmc import hmc

from jaxinv.problem import Problem
from jaxinv.results.posterior import PosteriorRoute
from jaxinv.sampling.target import MOST_DENSE, Target


class Draws(NamedTuple):
    """What a method makes of one target.

    Attributes:
        x: `(n_chains, n_draws, n)`, coordinates of the target.
        stats: by ArviZ's names, `(n_chains, n_draws)`; for all draws of an object together, a scalar.
    """

    x: Array
    stats: dict[str, Array]


class Method(eqx.Module):
    """What turns one object's target into draws from it: a pure function, batched by whoever calls it."""

    @abc.abstractmethod
    def draw(self, target: Target, key: PRNGKeyArray) -> Draws:
        """Draws from, or from an approximation to, the target."""

    def check(self, problem: Problem) -> None:
        """Whether the method suits a problem.

        Raises:
            ValueError: it does not.
        """
        size = sum(problem.layout.sizes)
        if size > MOST_DENSE:
            raise ValueError(
                f"{type(self).__name__} makes a covariance matrix, and {size} numbers are inferred: take "
                "PerturbAndOptimize(), NUTS() or HMC()"
            )

    @property
    @abc.abstractmethod
    def shape(self) -> tuple[int, int]:
        """`(n_chains, n_draws)`."""

    @property
    @abc.abstractmethod
    def route(self) -> PosteriorRoute:
        """How its draws come about."""


class Chains(Method):
    """Markov chains that can be gone on with.

    Attributes:
        n_chains: chains for each object, started over-dispersed about the mode.
        n_warmup: steps of each chain in which step size and mass matrix adapt; not kept.
        n_draws: steps of each chain that are kept.
        target_accept: the mean acceptance probability that the step size is adapted to.
        max_doublings: an object whose chains do not agree yet goes on for as many steps again, at most so many times;
            every second draw is kept each time, so all objects have the same number of draws.
        r_hat: chains agree where R-hat of every parameter is below this ...
        ess: ... and its bulk and tail effective sample sizes are above this.
    """

    n_chains: int = eqx.field(static=True, default=4)
    n_warmup: int = eqx.field(static=True, default=400)
    n_draws: int = eqx.field(static=True, default=1000)
    target_accept: float = eqx.field(static=True, default=0.9)
    max_doublings: int = eqx.field(static=True, default=4)
    r_hat: float = eqx.field(static=True, default=1.01)
    ess: float = eqx.field(static=True, default=400.0)

    def check(self, problem: Problem) -> None:
        del problem

    def __check_init__(self) -> None:
        for name, least in (("n_chains", 1), ("n_warmup", 1), ("n_draws", 4), ("max_doublings", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be {least} or more; found {getattr(self, name)}")
        if not 0 < self.target_accept < 1:
            raise ValueError(f"target_accept is a probability between 0 and 1; found {self.target_accept}")

    @property
    def shape(self) -> tuple[int, int]:
        return self.n_chains, self.n_draws

    @property
    def route(self) -> PosteriorRoute:
        return PosteriorRoute.CHAINS

    @abc.abstractmethod
    def kernel(self, target: Target) -> tuple[Any, Any]:
        """`(init, step)`: `init(x, key)` gives a state, `step(i, state)` the one after it, i counting the steps."""

    def begin(self, target: Target, key: PRNGKeyArray) -> Any:
        """States of all chains before their warm-up."""

        def one(key: PRNGKeyArray) -> Any:
            init, _ = self.kernel(target)
            place, start = jax.random.split(key)
            x = 1.5 * jax.random.normal(place, (target.dimension,), target.centre.dtype)
            return init(jnp.where(target.log_density(x) > -1e11, x, 0.1 * x), start)

        return jax.vmap(one)(jax.random.split(key, self.n_chains))

    def go_on(self, target: Target, states: Any, n_steps: Any, thin: Any) -> tuple[Any, Draws]:
        """`n_steps` more of each chain, of which every `thin`-th one is kept; at most `n_draws` are.

        One program serves the warm-up, whose draws are of no use, and the draws, however far apart. Divergences are
        counted, leapfrog steps too, and acceptance is averaged, over all steps, kept or not.
        """

        def one(state: Any) -> tuple[Any, Draws]:
            _, step = self.kernel(target)
            dtype = target.centre.dtype
            counts = {"diverging": jnp.int32, "n_steps": jnp.int32, "acceptance_rate": dtype}
            values = {"energy": dtype, "tree_depth": jnp.int32, "step_size": dtype, "lp": dtype}
            x = jnp.zeros((self.n_draws, target.dimension), dtype)
            stats = {name: jnp.zeros(self.n_draws, kind) for name, kind in (counts | values).items()}

            def turn(k: Array, carry: tuple[Any, Draws]) -> tuple[Any, Draws]:
                state, draws = carry
                state = step(k, state)
                slot = jnp.minimum(k // thin, self.n_draws - 1)
                more = {
                    "diverging": state.diverging,
                    "n_steps": state.num_steps,
                    "acceptance_rate": state.accept_prob / thin,
                }
                last = {
                    "energy": state.energy,
                    "tree_depth": jnp.ceil(jnp.log2(state.num_steps + 1)),
                    "step_size": state.adapt_state.step_size,
                    "lp": -state.potential_energy,
                }
                stats = {name: draws.stats[name].at[slot].add(jnp.astype(more[name], counts[name])) for name in more}
                stats |= {name: draws.stats[name].at[slot].set(jnp.astype(last[name], values[name])) for name in last}
                return state, Draws(draws.x.at[slot].set(state.z), stats)

            return jax.lax.fori_loop(0, n_steps, turn, (state, Draws(x, stats)))

        return jax.vmap(one)(states)

    def draw(self, target: Target, key: PRNGKeyArray) -> Draws:
        warm, _ = self.go_on(target, self.begin(target, key), self.n_warmup, self.n_warmup)
        return self.go_on(target, warm, self.n_draws, 1)[1]


class NUTS(Chains):
    """The no-U-turn sampler.

    Attributes:
        max_tree_depth: at most 2^depth - 1 leapfrog steps for a draw.
    """

    max_tree_depth: int = eqx.field(static=True, default=8)

    def __check_init__(self) -> None:
        if self.max_tree_depth < 1:
            raise ValueError(f"max_tree_depth must be 1 or more; found {self.max_tree_depth}")

    def kernel(self, target: Target) -> tuple[Any, Any]:
        init, sample = hmc(potential_fn=lambda x: -target.log_density(x), algo="NUTS")

        def start(x: Array, key: PRNGKeyArray) -> Any:
            return init(
                x,
                self.n_warmup,
                step_size=0.5,
                **_masses(target),
                target_accept_prob=self.target_accept,
                max_tree_depth=self.max_tree_depth,
                rng_key=key,
            )

        start(jnp.zeros_like(target.centre), jax.random.key(0))  # NumPyro's kernel is set up by its `init`
        return start, lambda i, state: sample(state)


class HMC(Chains):
    """Hamiltonian Monte Carlo with 1 to `max_steps` leapfrog steps, another number for each step of the chain.

    All objects take the same number, so that none waits for another: two to three times quicker than NUTS for the same
    number of draws, at a somewhat lower effective sample size of each.

    Attributes:
        max_steps: of the longest trajectory.
    """

    max_steps: int = eqx.field(static=True, default=12)

    def __check_init__(self) -> None:
        if self.max_steps < 1:
            raise ValueError(f"max_steps must be 1 or more; found {self.max_steps}")

    def kernel(self, target: Target) -> tuple[Any, Any]:
        init, sample = hmc(potential_fn=lambda x: -target.log_density(x), algo="HMC")

        def start(x: Array, key: PRNGKeyArray) -> Any:
            return init(
                x,
                self.n_warmup,
                step_size=0.5,
                **_masses(target),
                target_accept_prob=self.target_accept,
                trajectory_length=1.0,
                rng_key=key,
            )

        start(jnp.zeros_like(target.centre), jax.random.key(0))

        def step(i: Any, state: Any) -> Any:
            # The same for every object: the lengths need to vary, not to be unknown.
            n = jax.random.randint(jax.random.fold_in(jax.random.key(0), i), (), 1, self.max_steps + 1)
            # A little less than n steps, which NumPyro rounds up to n.
            return sample(state._replace(trajectory_length=state.adapt_state.step_size * (n - 1e-3)))

        return start, step


def _masses(target: Target) -> dict[str, Any]:
    """The mass matrix that adaptation begins with, the identity: of very many coordinates its diagonal alone."""
    if target.large:
        return {"inverse_mass_matrix": jnp.ones(target.dimension, target.centre.dtype), "dense_mass": False}
    return {"inverse_mass_matrix": jnp.eye(target.dimension, dtype=target.centre.dtype), "dense_mass": True}
