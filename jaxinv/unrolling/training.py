"""`unroll`: train a learned Levenberg-Marquardt loop on data that a problem simulates."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from jaxinv.coordinates import Layout
from jaxinv.observation import Observation
from jaxinv.optimize.normal import scales
from jaxinv.problem import Problem
from jaxinv.training.coding import ParameterCoding
from jaxinv.training.data import Conditions, DataCoding, Example, simulated
from jaxinv.training.loop import Keeper, train
from jaxinv.training.settings import Training
from jaxinv.unrolling.loop import Learned, Trace, period, run
from jaxinv.unrolling.settings import LearnedLM
from jaxinv.unrolling.unrolled import Unrolled


def unroll(
    problem: Problem,
    method: LearnedLM | None = None,
    training: Training | None = None,
    *,
    key: PRNGKeyArray,
    conditions: Conditions | None = None,
    keeper: Keeper | None = None,
    progress: bool = True,
) -> Unrolled:
    """Train a loop of a few steps that ends where converged Levenberg-Marquardt would.

    Args:
        problem: forward model (the exact one, or a surrogate), noise and prior.
        method: which loop, and by what it is judged.
        training: settings of the training.
        key: of all that is drawn.
        conditions: the range of noise levels and of what is known of each object.
        keeper: keeps the state of the training, so that it can be gone on with.
        progress: show a bar with the loss, the rate and the time left.

    Returns:
        The loop, to be called as `unrolled(problem, data)`.

    Raises:
        ValueError: a setting out of its range, or conditions that the problem does not know.
        TrainingError: the loss became infinite or NaN.
    """
    method, training, conditions = method or LearnedLM(), training or Training(), conditions or Conditions()
    conditions.check(problem)
    problem = problem.given(conditions.known)
    layout = problem.layout
    data_key, network_key, train_key = jax.random.split(key, 3)
    inputs = ParameterCoding.of(problem.prior, layout.names)
    scale = np.asarray(scales(problem, layout), np.float32)
    learned = Learned.new(method, inputs, scale, DataCoding.of(problem, conditions, data_key), network_key)

    def draw(problem: Problem, key: PRNGKeyArray) -> Example:
        return simulated(problem, conditions, key)

    def loss(networks: Any, problem: Problem, examples: Example) -> tuple[Array, dict[str, Array]]:
        trained = _with(learned, networks)
        terms = jax.vmap(lambda example: _terms(trained, problem, layout, example))(examples)
        terms = {name: jnp.mean(term) for name, term in terms.items()}
        return sum(terms.values(), jnp.zeros(())), terms

    trained = train(
        _networks(learned), loss, draw, problem, training, key=train_key, keeper=keeper, progress=progress,
        label="unrolling",
    )  # fmt: skip
    return Unrolled(_with(learned, trained.network), trained.curve, trained.best_step)


def _networks(learned: Learned) -> tuple[Any, Any]:
    """What is trained; a `None` stands for what the variant has not."""
    return learned.encoder, learned.step


def _with(learned: Learned, networks: tuple[Any, Any]) -> Learned:
    return eqx.tree_at(_networks, learned, networks, is_leaf=lambda x: x is None)


def _terms(learned: Learned, problem: Problem, layout: Layout, example: Example) -> dict[str, Array]:
    """The loss of one example by its terms."""
    guesses = problem.guess(example.observed, example.known)
    start = layout.ravel({name: value[0] for name, value in guesses.items()})
    exact = learned.settings.backpropagation == "rematerialized"
    trace = run(learned, problem, start, example.observed, example.known, exact=exact)
    values = example.observed.values if isinstance(example.observed, Observation) else example.observed
    n = jnp.maximum(jnp.sum(problem.noise.valid(values, example.observed)), 1)
    terms = {}
    if learned.settings.loss in ("misfit", "both"):
        # A trial that is not finite counts as a very bad one, without a gradient.
        costs = jnp.where(jnp.isfinite(trace.costs[1:]), trace.costs[1:], 1e8 * n)
        terms["misfit"] = jnp.mean(jnp.log1p(costs / n)) + jnp.log1p(trace.normal.cost / n)
    if learned.settings.loss in ("parameters", "both"):
        terms["parameters"] = _distance(learned, problem, layout, trace, example)
    return terms


def _distance(learned: Learned, problem: Problem, layout: Layout, trace: Trace, example: Example) -> Array:
    """How far the last trial and the best point are from the truth, by the curvature at the best point."""
    scale = jnp.asarray(learned.scale)
    truth = layout.ravel(example.parameters) / scale
    turn = period(problem, layout) / scale
    curvature = jax.lax.stop_gradient(trace.normal.curvature)

    def distance(vector: Array) -> Array:
        off = vector - truth
        off = jnp.where(jnp.isfinite(turn), off - turn * jnp.round(off / jnp.where(jnp.isfinite(turn), turn, 1)), off)
        square = jnp.sum(off * jnp.matmul(curvature, off, precision="highest"))
        return jnp.log1p(jnp.maximum(square, 0) / len(vector))

    return jnp.mean(jax.vmap(distance)(trace.vectors[1:])) + distance(trace.vector)
