"""The compiled programs of the samplers: each works on a number of objects at once, on all devices."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxinv import priors
from jaxinv.compute.devices import mesh_of, place, spread
from jaxinv.compute.groups import map_in_groups
from jaxinv.noise import Samplewise
from jaxinv.observation import Observation
from jaxinv.problem import Problem
from jaxinv.sampling.diagnostics import Convergence, convergence, of_independent
from jaxinv.sampling.methods import Chains, Draws, Method
from jaxinv.sampling.target import Target, locate

_FEW = 4
"""Objects located, or drawn from an approximation, together on a CPU: its cache holds their predictions with
derivatives, or 64 predictions of each, and none waits long for another's mode."""
_TOGETHER = 125
"""Predictions made together for a p-value: a CPU's cache holds them."""
_TAILS, _REPLICATES = 250, 1000
"""Draws that a posterior predictive p-value is averaged over: of tails in closed form, or of data replicated for each,
so many that p < 0.01 can be told."""
_JUDGED = 1024
"""Scalars whose convergence is judged together."""
_PREDICTION = 0x9C
"""Folded into an object's key for its replicated data."""


@jax.jit
def object_keys(key: Array, indices: Array) -> Array:
    """A key for each object, whatever piece of a batch it is in."""
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(indices)


@jax.jit
def keys_of_turn(keys: Array, turn: int) -> Array:
    """The objects' keys for one of several methods that are tried in turn."""
    return jax.vmap(lambda key: jax.random.fold_in(key, turn))(keys)


def _mesh_for(method: Method, inputs: Any) -> Any:
    """All devices, if the objects can be spread over them; else none.

    Chains have a mass matrix each, in NumPyro's hands; an approximation may solve for each of its draws.
    """
    n, dimension = inputs[-1][1].shape
    return mesh_of(n, dimension**3 * (method.shape[0] if isinstance(method, Chains) else math.prod(method.shape)))


def _spread(function: Callable[..., Any], mesh: Any, *arguments: Any) -> Any:
    """`function` of one object over the first axis of all arguments."""
    return spread(jax.vmap(function), mesh, *arguments)


def _few(n: int) -> int:
    """How many of `n` objects are worked on together where each is done in one go."""
    return min(_FEW, n) if jax.default_backend() == "cpu" else n


@eqx.filter_jit
def count_valid(problem: Problem, observed: Any) -> Array:
    """Samples of each object that are not missing."""
    values = observed.values if isinstance(observed, Observation) else observed
    return jax.vmap(lambda v, o: jnp.sum(problem.noise.valid(v, o)))(values, observed)


@eqx.filter_jit
def locate_all(problem: Problem, observed: Any, known: Any, start: Any, error: Any) -> tuple[Any, Array, Array]:
    """Coordinates, centre and factor of the target of each object."""

    def one(item: Any) -> tuple[Any, Array, Array]:
        target = locate(problem, *item)
        return target.coordinates, target.centre, target.factor

    items = (observed, known, start, error)
    return map_in_groups(one, items, _few(len(jax.tree.leaves(items)[0])))


def begin(method: Chains, problem: Problem, inputs: Any, keys: Array) -> Any:
    """States of all chains before their warm-up; `inputs` are the data, what is known, and what `locate_all` found."""
    mesh = _mesh_for(method, inputs)
    inputs, keys = place(mesh, (inputs, keys))
    return _begin(method, problem, inputs, keys, mesh)


@eqx.filter_jit
def _begin(method: Chains, problem: Problem, inputs: Any, keys: Array, mesh: Any) -> Any:
    return _spread(lambda inputs, key: method.begin(_target(problem, inputs), key), mesh, inputs, keys)


def go_on(method: Chains, problem: Problem, inputs: Any, states: Any, n_steps: int, thin: int) -> tuple[Any, Draws]:
    """`n_steps` more of all chains, every `thin`-th one kept."""
    mesh = _mesh_for(method, inputs)
    inputs, states = place(mesh, (inputs, states))
    return _go_on(method, problem, inputs, states, jnp.asarray(n_steps), jnp.asarray(thin), mesh)


@eqx.filter_jit
def _go_on(
    method: Chains, problem: Problem, inputs: Any, states: Any, n_steps: Array, thin: Array, mesh: Any
) -> tuple[Any, Draws]:
    def go_on(inputs: Any, states: Any) -> tuple[Any, Draws]:
        return method.go_on(_target(problem, inputs), states, n_steps, thin)

    return _spread(go_on, mesh, inputs, states)


def draw_all(method: Method, problem: Problem, inputs: Any, keys: Array) -> Draws:
    """Draws of a method that is done in one go."""
    mesh = _mesh_for(method, inputs)
    inputs, keys = place(mesh, (inputs, keys))
    return _draw_all(method, problem, inputs, keys, mesh)


@eqx.filter_jit
def _draw_all(method: Method, problem: Problem, inputs: Any, keys: Array, mesh: Any) -> Draws:
    def draw(item: Any) -> Draws:
        inputs, key = item
        return method.draw(_target(problem, inputs), key)

    return spread(lambda *items: map_in_groups(draw, items, _few(len(keys))), mesh, inputs, keys)


def _target(problem: Problem, inputs: Any) -> Target:
    observed, known, place = inputs
    return Target(problem, observed, known, *place)


def judge(problem: Problem, inputs: Any, x: Array, keys: Array, chains: bool) -> dict[str, Any]:
    """Of each object: draws of its parameters, their convergence, misfit and posterior predictive p-value.

    `chains`: the draws are those of Markov chains, not independent.
    """
    inputs, x, keys = place(None, (inputs, x, keys))
    return _judge(problem, inputs, x, keys, chains)


@eqx.filter_jit
def _judge(problem: Problem, inputs: Any, x: Array, keys: Array, chains: bool) -> dict[str, Any]:
    def one(item: Any) -> dict[str, Any]:
        inputs, x, key = item
        observed, known, _ = inputs
        target = _target(problem, inputs)
        free = jax.vmap(jax.vmap(target.parameters))(x)
        tied = priors.tied(problem.prior)

        def derived(parameters: dict[str, Array]) -> dict[str, Array]:
            everything = problem.complete({**known, **parameters})
            return {name: everything[name] for name in tied}

        found = _convergence(problem, free, convergence if chains else of_independent)
        chi2, p_value = _misfit(problem, observed, known, free, jax.random.fold_in(key, _PREDICTION))
        return {
            "draws": {**free, **(jax.vmap(jax.vmap(derived))(free) if tied else {})},
            "r_hat": {name: value.r_hat for name, value in found.items()},
            "ess_bulk": {name: value.ess_bulk for name, value in found.items()},
            "ess_tail": {name: value.ess_tail for name, value in found.items()},
            "scalars": {"chi2": chi2, "p_value": p_value},
        }

    return jax.lax.map(one, (inputs, x, keys))


def _convergence(
    problem: Problem, draws: dict[str, Array], judged: Callable[[Array], Convergence]
) -> dict[str, Convergence]:
    """The convergence of each element of each parameter, `(*parameter_shape)`; of an angle, the worst of two parts."""
    circles = priors.circles(problem.prior)

    def columns(name: str) -> Array:
        value = draws[name].reshape(*draws[name].shape[:2], -1)
        if name in circles:
            low, period = (jnp.ravel(x) for x in circles[name])
            phase = jnp.moveaxis(2 * jnp.pi * (value - low) / period, -1, 0)
            return jnp.stack([jnp.cos(phase), jnp.sin(phase)])
        return jnp.moveaxis(value, -1, 0)[None]

    parts = {name: columns(name) for name in draws}
    together = jnp.concatenate([x.reshape(-1, *x.shape[2:]) for x in parts.values()])
    # All in one: the program is as large as for one of them.
    found, first = map_in_groups(judged, together, _JUDGED), 0
    out = {}
    for name, x in parts.items():
        n_parts, size = x.shape[:2]
        r_hat, bulk, tail = (each[first : first + n_parts * size].reshape(n_parts, size) for each in found)
        worst = Convergence(r_hat.max(0), bulk.min(0), tail.min(0))
        out[name] = jax.tree.map(lambda x, shape=draws[name].shape[2:]: x.reshape(shape), worst)
        first += n_parts * size
    return out


def _misfit(problem: Problem, observed: Any, known: Any, free: dict[str, Array], key: Array) -> tuple[Array, Array]:
    """Posterior mean of the misfit per sample (NaN without residuals), and its posterior predictive p-value.

    Gelman, Meng & Stern 1996, Statistica Sinica 6, 733: the probability, over draws of the parameters and of new data,
    that the new data's misfit exceeds that of the real ones.
    """
    exact = problem.noise.tail(jnp.ones(()), jnp.ones(())) is not None
    n_draws = _TAILS if exact else _REPLICATES
    draws = _some(free, n_draws)
    values = observed.values if isinstance(observed, Observation) else observed
    n_valid = jnp.maximum(jnp.sum(problem.noise.valid(values, observed)), 1)

    def one(item: tuple[dict[str, Array], Array]) -> tuple[Array, Array]:
        parameters, key = item
        prediction = problem.predict({**known, **parameters})
        real = problem.noise.misfit(prediction, observed)
        exceeds = problem.noise.tail(real, n_valid)
        if exceeds is None:
            replicate = _with_noise(problem, observed, prediction, key)
            exceeds = problem.noise.misfit(prediction, replicate) >= real
        return real, exceeds.astype(real.dtype)

    real, exceeds = map_in_groups(one, (draws, jax.random.split(key, n_draws)), _TOGETHER)
    chi2 = jnp.mean(real) / n_valid if isinstance(problem.noise, Samplewise) else jnp.asarray(jnp.nan, real.dtype)
    return chi2, jnp.mean(exceeds)


def _some(free: dict[str, Array], n: int) -> dict[str, Array]:
    def pick(x: Array) -> Array:
        flat = x.reshape(-1, *x.shape[2:])
        return flat[jnp.linspace(0, len(flat) - 1, n).astype(int)]

    return {name: pick(x) for name, x in free.items()}


def _with_noise(problem: Problem, observed: Any, prediction: Array, key: Array) -> Any:
    """Replicated data with the sigma and the gaps of the real ones."""
    noise = problem.noise
    values = observed.values if isinstance(observed, Observation) else observed
    valid = noise.valid(values, observed)
    if isinstance(observed, Observation):
        sigma = jnp.where(valid, observed.sigma, 1)
        noise = noise.with_sigma(sigma)
    drawn = jnp.where(valid, noise.simulate(key, prediction), jnp.nan)
    return Observation(drawn, observed.sigma) if isinstance(observed, Observation) else drawn


@eqx.filter_jit
def replicate(problem: Problem, observed: Any, known: Any, draws: Any, keys: Array) -> Array:
    """Data with noise for each draw of each object, `(n, n_draws, *prediction_shape)`."""

    def one(item: Any) -> Array:
        observed, known, draws, key = item

        def replicate(parameters: dict[str, Array], key: Array) -> Array:
            out = _with_noise(problem, observed, problem.predict({**known, **parameters}), key)
            return out.values if isinstance(out, Observation) else out

        return jax.vmap(replicate)(draws, jax.random.split(key, len(jax.tree.leaves(draws)[0])))

    return jax.lax.map(one, (observed, known, draws, keys))
