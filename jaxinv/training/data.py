"""Simulated training data over a range of conditions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from jaxinv import priors
from jaxinv.compute.groups import map_in_groups
from jaxinv.noise import Gaussian, Poisson, StudentT
from jaxinv.observation import Observation
from jaxinv.problem import Problem

NOISES = (Gaussian, StudentT, Poisson)
"""Kinds of noise that can be written with a network and read again."""


class Conditions(eqx.Module):
    """What varies between observations that one network is to serve, and which of them it sees most.

    Attributes:
        noise: smallest and largest factor on the noise's sigma; drawn evenly in its logarithm, for each row of the
            prediction (each Stokes parameter) by itself.
        known: prior of parameters that are known for each object when the network is used (a wavelength offset).
        drawn: distributions that examples are drawn from in place of the prior's, inside its support: more weak
            fields, say, than a flat prior has.

    Raises:
        ValueError: a range with the larger number first.
    """

    noise: tuple[float, float] = eqx.field(static=True, default=(1.0, 1.0))
    known: dict[str, Any] = eqx.field(default_factory=dict)
    drawn: dict[str, Any] = eqx.field(default_factory=dict)

    def __check_init__(self) -> None:
        low, high = self.noise
        if not 0 < low <= high:
            raise ValueError(
                f"the range of noise factors takes two numbers above 0, the lower first; found {self.noise}"
            )

    def check(self, problem: Problem) -> None:
        """Whether a problem can be observed under these conditions.

        Raises:
            ValueError: they name what is no parameter, draw from beyond the prior, or the noise has no sigma to vary.
        """
        for name in self.known:
            if name not in problem.forward.units:
                raise ValueError(
                    f"the conditions name {name!r}, which is no parameter of the forward model "
                    f"(it reads {', '.join(problem.forward.units)})"
                )
        for name, distribution in self.drawn.items():
            if name not in problem.names:
                raise ValueError(
                    f"the conditions draw {name!r}, which the problem does not infer (it infers "
                    f"{', '.join(problem.names)})"
                )
            wide, narrow = priors.bounds(problem.prior[name]), priors.bounds(distribution)
            if np.any(narrow[0] < wide[0]) or np.any(narrow[1] > wide[1]):
                raise ValueError(f"the conditions draw {name!r} from beyond the bounds of its prior: narrow them")
        if self.noise != (1.0, 1.0) and problem.noise.sigma is None:
            raise ValueError(f"{type(problem.noise).__name__} noise has no sigma whose level could vary")


class Example(NamedTuple):
    """An object to learn from.

    Attributes:
        parameters: the true ones.
        known: what is known of it.
        observed: its data.
        clean: what they would be without noise.
    """

    parameters: dict[str, Array]
    known: dict[str, Array]
    observed: Any
    clean: Array


def simulated(problem: Problem, conditions: Conditions, key: PRNGKeyArray) -> Example:
    """One example, under conditions drawn from their ranges.

    Args:
        problem: without the parameters that are known.
        conditions: their ranges.
        key: random key.
    """
    known_key, level_key, prior_key, noise_key = jax.random.split(key, 4)
    known = priors.sample(conditions.known, known_key)
    parameters = priors.sample({**problem.prior, **conditions.drawn}, prior_key)
    clean = problem.predict({**parameters, **known})
    if conditions.noise == (1.0, 1.0):
        return Example(parameters, known, problem.noise.simulate(noise_key, clean), clean)
    noise = at_level(problem, level(conditions, clean.shape, level_key)).noise
    sigma = jnp.broadcast_to(jnp.asarray(noise.sigma, clean.dtype), clean.shape)
    return Example(parameters, known, Observation(noise.simulate(noise_key, clean), sigma), clean)


def simulator(problem: Problem, conditions: Conditions) -> Callable[[PRNGKeyArray], Example]:
    """The compiled `simulated` of many keys: examples with a leading axis."""
    return jax.jit(lambda keys: map_in_groups(lambda key: simulated(problem, conditions, key), keys, 64))


def level(conditions: Conditions, shape: tuple[int, ...], key: PRNGKeyArray) -> Array:
    """Factors on sigma, one for each row of a prediction of this shape, drawn evenly in their logarithm."""
    low, high = (math.log(x) for x in conditions.noise)
    rows = (shape[0], *(1,) * (len(shape) - 1)) if len(shape) > 1 else ()
    return jnp.exp(jax.random.uniform(key, rows, minval=low, maxval=high))


def at_level(problem: Problem, factor: Array) -> Problem:
    """The problem with its sigma, if it has one, times a factor."""
    if problem.noise.sigma is None:
        return problem
    return eqx.tree_at(lambda p: p.noise, problem, problem.noise.with_sigma(jnp.asarray(problem.noise.sigma) * factor))
