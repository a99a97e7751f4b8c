"""`amortize`: train a network that answers in one pass, on data that a problem simulates or on real ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray
from numpy.typing import ArrayLike

from jaxinv import priors
from jaxinv.amortization.coding import AnswerCoding, DataCoding, framed
from jaxinv.amortization.estimator import PointEstimator
from jaxinv.amortization.flow import Flow
from jaxinv.amortization.images import ImageEstimator, train_images
from jaxinv.amortization.posterior import train_flow
from jaxinv.amortization.settings import ImageEstimate, NormalizingFlow, PointEstimate
from jaxinv.amortization.simulation import Lesson, Source
from jaxinv.compute import batch
from jaxinv.compute.groups import map_in_groups
from jaxinv.observation import Observation
from jaxinv.optimize.normal import whitened
from jaxinv.problem import Problem
from jaxinv.training.data import Conditions, simulated
from jaxinv.training.loop import Keeper, train
from jaxinv.training.settings import Training

_SIMULATED, _REAL = 9, 2
"""A misfit of the number of samples divided by this is where its logarithm begins to count: less of data without noise
than of noisy ones, whose misfit does not fall below their number."""
_TRUTH = 0.1
"""Weight of the true parameters beside the misfit ..."""
_FAR = 100.0
"""... which they have alone where the misfit of a sample is far above this: the way through it would be long."""
_STEEPEST = 30.0
"""Largest gradient of one example, by the network's answer: one hard example must not outweigh a batch."""
_JUDGED = 8192
"""Simulated objects on which the errors are calibrated, and as many on which their coverage is measured."""


ADAPTATION = Training(
    optimizer="muon", steps=300, batch_size=256, learning_rate=3e-3, warmup=0.2, average=0.05, evaluate=300,
    n_validation=256,
)  # fmt: skip
"""How a trained network is trained on with real data: a hundred steps are enough for most of it."""


def amortize(
    problem: Problem,
    method: PointEstimate | ImageEstimate | NormalizingFlow | None = None,
    training: Training | None = None,
    *,
    key: PRNGKeyArray,
    data: ArrayLike | Observation | None = None,
    fixed: Mapping[str, ArrayLike] | None = None,
    conditions: Conditions | None = None,
    keeper: Keeper | None = None,
    progress: bool = True,
) -> PointEstimator | ImageEstimator | Flow:
    """Train a network that answers for an object in one pass.

    Args:
        problem: forward model, noise and prior.
        method: a point estimate with errors (the default), an image, or a posterior.
        training: settings of the training; those of a posterior are by default of a short one.
        key: of all that is drawn.
        data: real data, `(*batch, *prediction_shape)`, to be trained on beside simulated ones, or alone
            (`PointEstimate(real=1)`): scored by the misfit, since their truth is not known. For an
            `ImageEstimate(loss="pairs")`, pairs with independent noise, `(n, 2, *prediction_shape)`.
        fixed: parameters known of each real object.
        conditions: the range of noise levels and of what is known of each object.
        keeper: keeps the state of the training, so that it can be gone on with.
        progress: show a bar with the loss, the rate and the time left.

    Returns:
        A `PointEstimator` or `ImageEstimator`, to be called as `estimator(problem, data)`; or a `Flow`, a method of
        `sample`.

    Raises:
        ValueError: a setting out of its range, data that the method cannot use, or conditions that the problem does not
            know.
        TrainingError: the loss became infinite or NaN.
    """
    method, conditions = method or PointEstimate(), conditions or Conditions()
    conditions.check(problem)
    if isinstance(method, ImageEstimate):
        if fixed:
            raise ValueError(f"an image estimate is told nothing but the noise; `fixed` names {[*fixed]}")
        return train_images(
            problem, method, training, key=key, data=data, conditions=conditions, keeper=keeper, progress=progress
        )
    if data is not None and (isinstance(method, NormalizingFlow) or method.loss != "misfit"):
        raise ValueError('real data have no truth to train on: use PointEstimate(loss="misfit"), or leave `data` out')
    if isinstance(method, NormalizingFlow):
        return train_flow(problem, method, training, key=key, conditions=conditions, keeper=keeper, progress=progress)
    rows = None if data is None else batch.in_rows(problem, data, fixed)
    problem = problem.given({*conditions.known, *(rows.known if rows else ())})
    data_key, answer_key, network_key, train_key, judge_key = jax.random.split(key, 5)
    coding = DataCoding.of(problem, conditions, data_key)
    estimator = PointEstimator.new(method, coding, AnswerCoding.of(problem, conditions, answer_key), network_key)
    source = Source.of(problem, conditions, rows, method.real)
    training = training or Training(average=0.005)
    estimator = taught(estimator, source, training, key=train_key, keeper=keeper, progress=progress)
    return judged(estimator, problem, conditions, judge_key)


def adapt(
    estimator: PointEstimator,
    problem: Problem,
    data: ArrayLike | Observation,
    training: Training | None = None,
    *,
    key: PRNGKeyArray,
    fixed: Mapping[str, ArrayLike] | None = None,
    noise: tuple[float, float] = (1.0, 1.2),
    progress: bool = True,
) -> PointEstimator:
    """Train a network on with real data alone, by the misfit of its answers: no truth, no simulation.

    Args:
        estimator: a trained network.
        problem: the one that it was trained for, with the noise of the data.
        data: `(*batch, *prediction_shape)`.
        training: settings; by default `ADAPTATION`, of 300 steps.
        key: of all that is drawn.
        fixed: parameters known of each object.
        noise: range of factors on sigma up to which noise is added, lest the network learns the data by heart.
        progress: show a bar.

    Returns:
        The same network with adapted weights.

    Raises:
        ValueError: the data are not of the kind that the network was trained for.
    """
    rows = batch.in_rows(problem, data, fixed)
    estimator.check(rows.problem, rows.known)
    conditions = Conditions(noise=noise)
    source = Source.of(rows.problem, conditions, rows, 1.0)
    return taught(estimator, source, training or ADAPTATION, key=key, progress=progress)


def taught(
    estimator: PointEstimator, source: Source, training: Training, *, key: PRNGKeyArray, keeper: Keeper | None = None,
    progress: bool = True,
) -> PointEstimator:  # fmt: skip
    """The estimator after a training."""

    def loss(networks: Any, source: Source, lessons: Lesson) -> tuple[Array, dict[str, Array]]:
        trained = with_networks(estimator, networks)
        terms = jax.vmap(lambda lesson: terms_of(trained, source.problem, lesson))(lessons)
        terms = {name: jnp.mean(term) for name, term in terms.items()}
        return sum(terms.values(), jnp.zeros(())), terms

    trained = train(
        networks_of(estimator), loss, Source.draw, source, training, key=key, keeper=keeper, progress=progress,
        label="amortizing",
    )  # fmt: skip
    found = with_networks(estimator, trained.network)
    return dataclasses.replace(found, curve=trained.curve, best_step=trained.best_step)


def networks_of(estimator: PointEstimator) -> tuple[Any, Any]:
    """What is trained."""
    return estimator.network, estimator.errors


def with_networks(estimator: PointEstimator, networks: tuple[Any, Any]) -> PointEstimator:
    """The estimator with other weights."""
    return eqx.tree_at(networks_of, estimator, networks)


def terms_of(estimator: PointEstimator, problem: Problem, lesson: Lesson) -> dict[str, Array]:
    """The loss of one lesson by its terms."""
    example, truthful = lesson.example, jnp.where(lesson.real, 0.0, 1.0)
    seen = estimator.data.encode(problem, example.observed, example.known)
    raw = estimator.raw(seen)
    in_frame = framed(problem, example)
    truth = jax.lax.stop_gradient(estimator.answer.vector(problem, in_frame))

    def score(raw: Array) -> tuple[Array, dict[str, Array]]:
        # The distance of each coordinate, in standard deviations of the training, linear where it is large.
        distance = truthful * jnp.mean(jnp.sqrt(1 + (raw - truth) ** 2) - 1)
        if estimator.settings.loss == "truth":
            return distance, {"truth": distance}
        parameters = estimator.answer.decode(problem, raw, seen.element)
        square, n = misfit(problem, parameters, example.known, lesson.target)
        usual = n / jnp.where(lesson.real, _REAL, _SIMULATED)
        far = truthful * jax.lax.stop_gradient(square / (square + _FAR * n))
        terms = {"misfit": (1 - far) * jnp.log1p(square / usual), "truth": (_TRUTH + far) * distance}
        return terms["misfit"] + terms["truth"], terms

    (_, terms), slope = jax.value_and_grad(score, has_aux=True)(jax.lax.stop_gradient(raw))
    size = jnp.sqrt(jnp.sum(slope**2))
    slope = jnp.where(jnp.isfinite(size), slope / jnp.maximum(size / _STEEPEST, 1), 0)
    terms = {name: jax.lax.stop_gradient(term) for name, term in terms.items()}
    first = next(iter(terms))
    terms[first] = terms[first] + jnp.dot(raw - jax.lax.stop_gradient(raw), jax.lax.stop_gradient(slope))
    terms["errors"] = truthful * _error_loss(estimator, problem, raw, seen, in_frame)
    return terms


def _error_loss(estimator: PointEstimator, problem: Problem, raw: Array, seen: Any, truth: Any) -> Array:
    """Minus the log density of the answer's distance from the truth, with heavy tails, so that the core counts."""
    raw = jax.lax.stop_gradient(raw)
    found = estimator.answer.decode(problem, raw, None)
    off = distances(problem, found, truth) / estimator.answer.deviation.astype(raw.dtype)
    log_error = estimator.log_error(raw, seen)
    return jnp.mean(log_error + 2.5 * jnp.log1p((off * jnp.exp(-log_error)) ** 2 / 4))


def distances(problem: Problem, found: Mapping[str, Array], truth: Mapping[str, Array]) -> Array:
    """`(n_free,)` differences of parameters; of cyclic ones the short way around."""
    out, circles = [], priors.circles(problem.prior)
    for name in problem.layout.names:
        off = jnp.asarray(found[name]) - truth[name]
        if name in circles:
            period = circles[name][1].astype(off.dtype)
            off = off - period * jnp.round(off / period)
        out.append(jnp.ravel(off))
    return jnp.concatenate(out)


def misfit(problem: Problem, parameters: Mapping[str, Array], known: Any, target: Any) -> tuple[Array, Array]:
    """The sum of squared residuals at the nearest parameters of the support, and the number of samples.

    Its gradient is J^T r, from one evaluation of the forward model with its Jacobian, without second derivatives; it
    does not lead out of the support.
    """
    names = problem.names
    here = jax.lax.stop_gradient(problem.canonical({**known, **parameters}))
    found = problem.linearize({**known, **{name: here[name] for name in names}})
    residual, whitening = whitened(problem, found.prediction, target)
    by = found.vjp(whitening * residual)
    square = jnp.sum(residual**2)
    through = jnp.zeros((), square.dtype)
    for name in names:
        lower, upper = (edge.astype(here[name].dtype) for edge in priors.bounds(problem.prior[name]))
        away = ((here[name] <= lower) & (by[name] > 0)) | ((here[name] >= upper) & (by[name] < 0))
        if name in priors.circles(problem.prior):
            away = jnp.zeros_like(away)
        slope = jax.lax.stop_gradient(jnp.where(away, 0, 2 * by[name]))
        given = jnp.asarray(parameters[name])
        through = through + jnp.sum(slope * (given - jax.lax.stop_gradient(given)))
    values = target.values if isinstance(target, Observation) else target
    n = jnp.maximum(jnp.sum(problem.noise.valid(values, target)), 1)
    return jax.lax.stop_gradient(square) + through, n


def judged(estimator: PointEstimator, problem: Problem, conditions: Conditions, key: PRNGKeyArray) -> PointEstimator:
    """The estimator with its errors scaled so that 90 % intervals hold the truth in 90 % of simulated objects.

    How many they do hold is then measured on others.
    """

    def one(key: PRNGKeyArray) -> Array:
        example = simulated(problem, conditions, key)
        seen = estimator.data.encode(problem, example.observed, example.known)
        raw = estimator.raw(seen)
        parameters = estimator.answer.decode(problem, raw, None)
        off = distances(problem, parameters, framed(problem, example))
        return jnp.abs(off) / (jnp.exp(estimator.log_error(raw, seen)) * estimator.answer.deviation)

    run = jax.jit(lambda key: map_in_groups(one, jax.random.split(key, _JUDGED), 256))
    first, second = (np.asarray(run(k)) for k in jax.random.split(key))
    factor = (np.quantile(first, 0.9, axis=0) / 1.6449).astype(np.float32)
    coverage = np.mean(second <= 1.6449 * factor, axis=0).astype(np.float32)
    return dataclasses.replace(estimator, factor=factor, coverage=coverage)
