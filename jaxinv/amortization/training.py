"""`amortize`: train a network that answers in one pass, on data that a problem simulates or on real ones."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray
from numpy.typing import ArrayLike

from jaxinv.amortization.estimator import PointEstimator
from jaxinv.amortization.flow import Flow
from jaxinv.amortization.posterior import train_flow
from jaxinv.amortization.settings import NormalizingFlow, PointEstimate
from jaxinv.amortization.simulation import Source
from jaxinv.compute import batch
from jaxinv.observation import Observation
from jaxinv.problem import Problem
from jaxinv.training.coding import ParameterCoding
from jaxinv.training.data import Conditions, DataCoding, Example
from jaxinv.training.loop import Keeper, train
from jaxinv.training.settings import Training

_BALANCE = 0.5
"""Exponent of the variance that weighs the likelihood's terms (beta-NLL; Seitzer et al. 2022, arXiv:2203.09168)."""


def amortize(
    problem: Problem,
    method: PointEstimate | NormalizingFlow | None = None,
    training: Training | None = None,
    *,
    key: PRNGKeyArray,
    data: ArrayLike | Observation | None = None,
    conditions: Conditions | None = None,
    keeper: Keeper | None = None,
    progress: bool = True,
) -> PointEstimator | Flow:
    """Train a network that answers for an object in one pass.

    Args:
        problem: forward model, noise and prior.
        method: a point estimate with errors (the default), or a posterior.
        training: settings of the training.
        key: of all that is drawn.
        data: real data, `(*batch, *prediction_shape)`, to be trained on beside simulated ones; of no use without
            `PointEstimate(loss="physics")`, since their truth is not known.
        conditions: the range of noise levels and of what is known of each object.
        keeper: keeps the state of the training, so that it can be gone on with.
        progress: show a bar with the loss, the rate and the time left.

    Returns:
        A `PointEstimator`, to be called as `estimator(problem, data)`; or a `Flow`, a method of `sample`.

    Raises:
        ValueError: a setting out of its range, data that the method cannot use, or conditions that the problem does not
            know.
        TrainingError: the loss became infinite or NaN.
    """
    method, conditions = method or PointEstimate(), conditions or Conditions()
    conditions.check(problem)
    if data is not None and (isinstance(method, NormalizingFlow) or method.loss != "physics"):
        raise ValueError('real data have no truth to train on: use PointEstimate(loss="physics"), or leave `data` out')
    if isinstance(method, NormalizingFlow):
        return train_flow(problem, method, training, key=key, conditions=conditions, keeper=keeper, progress=progress)
    training = training or Training()
    rows = None if data is None else batch.in_rows(problem, data, None)
    problem = problem.given(conditions.known)
    data_key, network_key, train_key = jax.random.split(key, 3)
    parameters = ParameterCoding.of(problem.prior, problem.names)
    coding = DataCoding.of(problem, conditions, data_key)
    estimator = PointEstimator.new(method, coding, parameters, network_key)
    source = Source.of(problem, conditions, method, rows)

    def loss(networks: Any, source: Source, examples: Example) -> tuple[Array, dict[str, Array]]:
        trained = _with(estimator, networks)

        def score(example: Example) -> Array:
            raw = trained.raw(source.problem, example.observed, example.known)
            one = _truth if method.loss == "truth" else _physics
            terms = (raw, example)
            if trained.context is not None:
                terms = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), terms)
                return jnp.mean(jax.vmap(lambda raw, example: one(trained, source.problem, raw, example))(*terms))
            return one(trained, source.problem, *terms)

        value = jnp.mean(jax.vmap(score)(examples))
        return value, {method.loss: value}

    trained = train(
        _networks(estimator), loss, Source.draw, source, training, key=train_key, keeper=keeper, progress=progress,
        label="amortizing",
    )  # fmt: skip
    estimator = _with(estimator, trained.network)
    where = lambda e: (e.curve, e.best_step)  # noqa: E731
    return eqx.tree_at(where, estimator, (trained.curve, trained.best_step), is_leaf=lambda x: x is None)


def _networks(estimator: PointEstimator) -> tuple[Any, Any]:
    return estimator.pixel, estimator.context


def _with(estimator: PointEstimator, networks: tuple[Any, Any]) -> PointEstimator:
    return eqx.tree_at(_networks, estimator, networks, is_leaf=lambda x: x is None)


def _truth(estimator: PointEstimator, problem: Problem, raw: Array, example: Example) -> Array:
    """Minus the log likelihood of the truth under the network's normal distribution, its terms balanced."""
    del problem
    found, log_error = estimator.decode(raw)
    off = estimator.parameters.difference(found, example.parameters)
    terms = 0.5 * (off * jnp.exp(-log_error)) ** 2 + log_error
    balanced = jnp.mean(jax.lax.stop_gradient(jnp.exp(2 * _BALANCE * log_error)) * terms)
    # The balance is for the gradient; networks are compared by the likelihood itself.
    return jax.lax.stop_gradient(jnp.mean(terms) - balanced) + balanced


def _physics(estimator: PointEstimator, problem: Problem, raw: Array, example: Example) -> Array:
    """The logarithm of the misfit of the prediction from the network's parameters: no truth is needed."""
    found, _ = estimator.decode(raw)
    residual = problem.residual({**example.known, **found}, example.observed)
    values = example.observed.values if isinstance(example.observed, Observation) else example.observed
    n = jnp.maximum(jnp.sum(problem.noise.valid(values, example.observed)), 1)
    return jnp.log1p(jnp.sum(residual**2) / n)


def numbers(estimator: PointEstimator) -> int:
    """Weights of a network."""
    return sum(int(np.size(x)) for x in jax.tree.leaves(_networks(estimator)))
