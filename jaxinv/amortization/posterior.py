"""Train a normalizing flow on simulated objects: where the truth lies, seen from the normal approximation."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray
from tqdm import tqdm

from jaxinv import priors
from jaxinv.amortization.flow import FAR, Flow, log_density, summary
from jaxinv.amortization.settings import NormalizingFlow
from jaxinv.compute.groups import map_in_groups
from jaxinv.compute.small_matrices import solve_upper
from jaxinv.networks import Network
from jaxinv.observation import Observation
from jaxinv.optimize import fit
from jaxinv.problem import Problem
from jaxinv.sampling.programs import locate_all
from jaxinv.sampling.target import Target
from jaxinv.training.data import Conditions, Example, simulator
from jaxinv.training.loop import Keeper, train
from jaxinv.training.settings import Training

FLOW_TRAINING = Training(steps=3000, average=0.01, weight_decay=0.1)
"""Short: every example has cost a fit, and a network soon knows so few by heart."""
_TOGETHER = 2048
_JITTER = 0.1
"""Of the standardized context, lest the network knows an example by it."""
_HELD_OUT = 10
"""One example in so many is for validation."""


def train_flow(
    problem: Problem,
    method: NormalizingFlow,
    training: Training | None,
    *,
    key: PRNGKeyArray,
    conditions: Conditions,
    keeper: Keeper | None,
    progress: bool,
) -> Flow:
    """A flow trained on simulated objects, each fitted first; the arguments are those of `amortize`."""
    problem = problem.given(conditions.known)
    set_key, network_key, train_key = jax.random.split(key, 3)
    x, context = _examples(problem, conditions, method.examples, set_key, progress)
    far = np.any(~np.isfinite(x) | (np.abs(x) > FAR), axis=1) | ~np.all(np.isfinite(context), axis=1)
    x, context = x[~far], context[~far]
    if len(x) < 0.9 * method.examples:
        raise ValueError(
            f"{far.mean():.1%} of the fits end far from the truth: the flow describes posteriors about the fit's mode; "
            "narrow the prior, or give the fit more starts"
        )
    mean, spread = context.mean(0), np.maximum(context.std(0), 1e-3)
    network = Network.new("flow", method.network(x.shape[1], context.shape[1]), network_key)
    flow = Flow(network=network, mean=mean.astype(np.float32), spread=spread.astype(np.float32))
    standard = np.clip((context - mean) / spread, -5, 5).astype(np.float32)
    cut = len(x) // _HELD_OUT
    used, held = ((x[cut:], standard[cut:]), (x[:cut], standard[:cut]))

    def draw(context: Any, key: PRNGKeyArray) -> Any:
        which_key, near_key = jax.random.split(key)
        which = jax.random.randint(which_key, (), 0, len(context[0]))
        x, seen = jax.tree.map(lambda array: jnp.asarray(array)[which], context)
        return x, seen + _JITTER * jax.random.normal(near_key, seen.shape, seen.dtype)

    def loss(network: Network, _: Any, examples: Any) -> tuple[Array, dict[str, Array]]:
        value = -jnp.mean(jax.vmap(lambda x, c: log_density(network, x, c))(*examples))
        return value, {"log_density": -value}

    trained = train(
        network, loss, draw, used, training or FLOW_TRAINING, key=train_key, held_out=held, keeper=keeper,
        progress=progress, label="amortizing",
    )  # fmt: skip
    return eqx.tree_at(lambda f: f.network, flow, trained.network)


def _examples(
    problem: Problem, conditions: Conditions, n: int, key: PRNGKeyArray, progress: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of the truth, and context, of `n` simulated objects."""
    make = simulator(problem, conditions)
    parts = []
    with tqdm(total=n, unit="obj", desc="simulating", disable=not progress, dynamic_ncols=True) as bar:
        for start in range(0, n, _TOGETHER):
            keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(start, start + _TOGETHER))
            made = make(keys)
            ids = np.arange(start, start + _TOGETHER)
            found = fit(problem, Observation.of(made.observed, ids=ids), fixed=made.known)
            near = {name: np.asarray(found.parameters[name], np.float32) for name in problem.names}
            near = {
                name: np.where(np.isfinite(value), value, np.asarray(priors.centre(problem.prior[name]), np.float32))
                for name, value in near.items()
            }
            error = {name: np.asarray(found.standard_error[name], np.float32) for name in problem.names}
            inner = problem.given(made.known)
            place = locate_all(inner, made.observed, made.known, near, error)
            ring_keys = jax.vmap(lambda k: jax.random.fold_in(k, 1))(keys)
            parts.append(jax.tree.map(np.asarray, _seen(inner, made, place, ring_keys)))
            bar.update(min(_TOGETHER, n - start))
    x, context = (np.concatenate([part[k] for part in parts])[:n] for k in (0, 1))
    return x, context


@eqx.filter_jit
def _seen(problem: Problem, made: Example, place: Any, keys: Array) -> tuple[Array, Array]:
    def one(item: Any) -> tuple[Array, Array]:
        made, place, key = item
        target = Target(problem, made.observed, made.known, *place)
        z = target.coordinates.redrawn(target.coordinates.vector(made.parameters), key)
        x = solve_upper(target.factor.T, z - target.centre)
        return x, summary(target)

    return map_in_groups(one, (made, place, keys), 64)
