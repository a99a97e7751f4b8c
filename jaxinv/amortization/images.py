"""A network that answers with an image in one pass, trained on true images or on pairs of noisy ones."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray
from numpy.typing import ArrayLike

from jaxinv import priors
from jaxinv.amortization.settings import ImageEstimate
from jaxinv.compute import batch
from jaxinv.compute.devices import over_devices
from jaxinv.compute.groups import map_in_groups
from jaxinv.networks import Network
from jaxinv.observation import Observation
from jaxinv.optimize.fit import Result, lapack_of, summarize, to_solution
from jaxinv.optimize.objective import Objective
from jaxinv.problem import Problem
from jaxinv.results.solution import Solution
from jaxinv.training import folder
from jaxinv.training.data import Conditions, at_level
from jaxinv.training.loop import Curve, Keeper, train
from jaxinv.training.settings import Training

IMAGE_TRAINING = Training(
    steps=4000, batch_size=16, learning_rate=1e-3, average=0.01, evaluate=200, n_validation=256, patience=1000
)
"""Of networks that answer with an image: every example has thousands of pixels."""
_TOGETHER = 32
_GAIN = 64
"""Draws of noise from which its size in the network's input is measured."""
_HELD_OUT = 10
"""Of examples that are kept, one in so many is for validation."""


class ImageEstimator(eqx.Module):
    """A trained network from data to an image, made by `amortize` with an `ImageEstimate`.

    The network sees the classical image of the data (`Knowledge.inverse`: the data themselves where a mask or nothing
    lies between, filtered back-projection for tomography) and how much noise is in it.

    Attributes:
        settings: what it was trained by.
        network: `(image, sigma) -> image`.
        gain: the noise of the classical image for each unit of that of the data.
        curve: of the training.
        best_step: of the training, whose weights were kept.
    """

    settings: ImageEstimate = eqx.field(static=True)
    network: Network
    gain: Any
    curve: Curve | None = None
    best_step: int = 0

    def refine(self, image: Any, sigma: Any) -> Array:
        """The network alone: an image without its noise, for `imaging.Denoiser` and plain use.

        Args:
            image: `(ny, nx)`, of any size and in any unit.
            sigma: the standard deviation of its noise, in the same unit.
        """
        image = jnp.asarray(image)
        image = image if jnp.issubdtype(image.dtype, jnp.inexact) else image.astype(float)
        return self.network(image.astype(jnp.float32), jnp.asarray(sigma, jnp.float32)).astype(image.dtype)

    def without_history(self) -> ImageEstimator:
        """The same without the curve of its training, on whose length a program would depend."""
        return dataclasses.replace(self, curve=None, best_step=0)

    def __call__(
        self, problem: Problem, data: ArrayLike | Observation, *, fixed: Mapping[str, ArrayLike] | None = None
    ) -> Solution:
        """As `fit(problem, data)`, in one pass; the forward model is asked for chi2 only.

        There are no standard errors: they are NaN. Missing samples are replaced by the mean of the others before the
        classical image is made; where many are missing, use the network as the prior of a fit (`imaging.Denoiser`).

        Args:
            problem: of the kind that the network was trained for; the size of the image is free.
            data: `(*batch, *prediction_shape)`, or an `Observation` of that.
            fixed: as in `fit`.

        Raises:
            ValueError: as `fit`; or the problem is not one of an image.
        """
        rows = batch.in_rows(problem, data, fixed)
        check_problem(rows.problem)
        common = (self.without_history(), rows.problem)
        arrays = over_devices(_objects, common, (rows.observed, rows.known), lapack=lapack_of(rows.problem))
        return to_solution(rows.problem, rows.known, arrays, rows.shape)

    def save(self, path: str | os.PathLike[str], problem: Problem, notes: Mapping[str, Any] | None = None) -> None:
        """Write the network and its settings to a folder, with what problem it was trained for.

        Args:
            path: the folder.
            problem: the one that it was trained for.
            notes: what else the card should say, as JSON can say it.

        Raises:
            OutputError: it cannot be written.
        """
        shape = problem.prediction_shape()
        folder.save(path, self, {**folder.described_problem(problem, shape), **(notes or {})})

    @staticmethod
    def load(path: str | os.PathLike[str]) -> ImageEstimator:
        """What `save` wrote.

        Raises:
            FolderError: the folder is not there, damaged, or of another kind or version.
        """
        found, _ = folder.load(path, ImageEstimator, (ImageEstimate,))
        return dataclasses.replace(found, curve=None if found.curve is None else Curve(*found.curve))


def check_problem(problem: Problem) -> None:
    """Whether a problem is one of an image with a classical inverse and noise of a known size.

    Raises:
        ValueError: it is not; says what is missing.
    """
    shapes = [problem.prior[name].shape() for name in problem.names]
    if problem.forward.knowledge.inverse is None or len(shapes) != 1 or len(shapes[0]) != 2:
        raise ValueError(
            f"an image estimate is for one image through an operator of jaxinv.imaging; the problem infers "
            f"{', '.join(problem.names)} through a {type(problem.forward).__name__}"
        )
    if problem.noise.sigma is None:
        raise ValueError(f"an image estimate needs noise with a sigma; {type(problem.noise).__name__} noise has none")


class _Lesson(NamedTuple):
    """An image with noise of a standard deviation, and what should come of it: `(ny, nx)`, `()`, `(ny, nx)`."""

    image: Any
    sigma: Any
    target: Any


class _Place(NamedTuple):
    """A kept lesson, and some of its pixels."""

    which: Array
    pixels: Array


def train_images(
    problem: Problem, method: ImageEstimate, training: Training | None, *, key: PRNGKeyArray,
    data: ArrayLike | Observation | None, conditions: Conditions, keeper: Keeper | None, progress: bool,
) -> ImageEstimator:  # fmt: skip
    """A network trained on images; the arguments are those of `amortize`.

    Raises:
        ValueError: the problem is not one of an image, the conditions know a parameter, or data that are no pairs.
    """
    check_problem(problem)
    if conditions.known:
        raise ValueError(f"an image estimate is told nothing but the noise; the conditions name {[*conditions.known]}")
    if data is not None and method.loss != "pairs":
        raise ValueError('real images have no truth: give pairs of them with ImageEstimate(loss="pairs")')
    network_key, gain_key, set_key, train_key = jax.random.split(key, 4)
    network = Network.new(*method.architecture, network_key)
    gain = _gain(problem, gain_key)
    local, kept = method.network == "local", None
    if data is not None:
        kept = _pairs(problem, gain, data)
    elif local:
        kept = _simulated(problem, conditions, method, gain, set_key)
    unit = jnp.asarray(gain * _rms(problem.noise.sigma), jnp.float32)

    def made(context: Any, key: PRNGKeyArray) -> _Lesson:
        return _lesson(context, conditions, method.loss, gain, key)

    def picked(context: _Lesson, key: PRNGKeyArray) -> _Place:
        which_key, pixel_key = jax.random.split(key)
        n, *shape = context.image.shape
        which = jax.random.randint(which_key, (), 0, n)
        high = jnp.array(shape) if local else jnp.ones(2, int)
        return _Place(which, jax.random.randint(pixel_key, (method.pixels if local else 1, 2), 0, high))

    def loss(network: Network, context: Any, examples: Any) -> tuple[Array, dict[str, Array]]:
        if local:
            where = (examples.which[:, None], examples.pixels[..., 0], examples.pixels[..., 1])
            sigma, target = jnp.asarray(context.sigma)[examples.which], jnp.asarray(context.target)[where]
            images = jnp.asarray(context.image)
            found = jax.vmap(lambda s, p, w: network(images, s, p, w, method="at"))(
                sigma, examples.pixels, examples.which
            )
        else:
            lessons = examples if kept is None else jax.tree.map(lambda x: jnp.asarray(x)[examples.which], context)
            sigma, target = lessons.sigma, lessons.target
            found = jax.vmap(network)(lessons.image, sigma)
        square = jnp.mean((found - target) ** 2, tuple(range(1, target.ndim)))
        # Between squares, to which the noisiest contribute most, and squares in units of sigma, where they would least.
        return jnp.mean(square / (sigma * unit)), {"relative": jnp.mean(square / sigma**2)}

    cut = 0 if kept is None else 2 * max(len(kept.image) // 2 // _HELD_OUT, 1)  # whole pairs
    used, held = (problem, None) if kept is None else (
        jax.tree.map(lambda x: x[cut:], kept), jax.tree.map(lambda x: x[:cut], kept)
    )  # fmt: skip
    trained = train(
        network, loss, made if kept is None else picked, used, training or IMAGE_TRAINING, key=train_key, held_out=held,
        keeper=keeper, progress=progress, label="amortizing",
    )  # fmt: skip
    return ImageEstimator(method, trained.network, np.float32(gain), trained.curve, trained.best_step)


def _rms(sigma: Any) -> float:
    return float(np.sqrt(np.mean(np.asarray(sigma, float) ** 2)))


def _classical(problem: Problem, values: Array, observed: Any) -> Array:
    """The classical image of one object's data, float32."""
    inverse, (name,) = problem.forward.knowledge.inverse, problem.names
    assert inverse is not None
    valid = problem.noise.valid(values, observed)
    return inverse(jnp.where(valid, values, 0), valid)[name].astype(jnp.float32)


def _gain(problem: Problem, key: PRNGKeyArray) -> float:
    """How large noise of the size 1 is in the classical image."""
    shape, sigma = problem.prediction_shape(), jnp.asarray(problem.noise.sigma, float)

    def one(key: PRNGKeyArray) -> Array:
        noise = sigma * jax.random.normal(key, shape)
        return jnp.mean(_classical(problem, noise, noise) ** 2)

    square = jax.jit(lambda keys: jnp.mean(jax.lax.map(one, keys)))(jax.random.split(key, _GAIN))
    return math.sqrt(float(square)) / _rms(problem.noise.sigma)


def _lesson(problem: Problem, conditions: Conditions, loss: str, gain: float, key: PRNGKeyArray) -> _Lesson:
    """A simulated object, under conditions drawn from their ranges."""
    level_key, prior_key, *noise_keys = jax.random.split(key, 4)
    low, high = (math.log(x) for x in conditions.noise)
    factor = jnp.exp(jax.random.uniform(level_key, minval=low, maxval=high))
    parameters = priors.sample({**problem.prior, **conditions.drawn}, prior_key)
    noise, clean = at_level(problem, factor).noise, problem.predict(parameters)
    first, second = (_classical(problem, x, x) for x in (noise.simulate(k, clean) for k in noise_keys))
    (name,) = problem.names
    target = second if loss == "pairs" else parameters[name].astype(jnp.float32)
    sigma = gain * factor * jnp.sqrt(jnp.mean(jnp.asarray(problem.noise.sigma) ** 2))
    return _Lesson(first, sigma.astype(jnp.float32), target)


def _simulated(
    problem: Problem, conditions: Conditions, method: ImageEstimate, gain: float, key: PRNGKeyArray
) -> _Lesson:
    make = jax.jit(
        lambda keys: map_in_groups(lambda k: _lesson(problem, conditions, method.loss, gain, k), keys, _TOGETHER)
    )
    keys = jax.random.split(key, method.examples)
    parts = [jax.tree.map(np.asarray, make(keys[k : k + _TOGETHER])) for k in range(0, len(keys), _TOGETHER)]
    return jax.tree.map(lambda *x: np.concatenate(x), *parts)


def _pairs(problem: Problem, gain: float, data: ArrayLike | Observation) -> _Lesson:
    """Real pairs, each image once the input and once the target.

    Raises:
        ValueError: they are no pairs, fewer than two, or hold no finite sample.
    """
    observed = data if isinstance(data, Observation) else Observation.of(np.asarray(data, np.float32))
    shape = (2, *problem.prediction_shape())
    if observed.values.shape[1:] != shape:
        raise ValueError(f"pairs of observations have the shape {('n', *shape)}; found {observed.values.shape}")
    if len(observed.values) < 2:
        raise ValueError("one pair is both trained on and judged by: give two or more, parts of a larger image perhaps")
    rows = batch.in_rows(problem, observed, None)
    if not np.isfinite(rows.observed.values if isinstance(rows.observed, Observation) else rows.observed).any():
        raise ValueError("the pairs hold no finite sample")

    def one(item: Any) -> tuple[Array, Array]:
        values = item.values if isinstance(item, Observation) else item
        sigma = item.sigma if isinstance(item, Observation) and item.sigma is not None else problem.noise.sigma
        valid = problem.noise.valid(values, item)
        sigma = jnp.broadcast_to(jnp.asarray(sigma, values.dtype), values.shape)
        square = jnp.sum(jnp.where(valid, sigma, 0) ** 2) / jnp.maximum(jnp.sum(valid), 1)
        return _classical(problem, values, item), gain * jnp.sqrt(square)

    images, sigma = jax.jit(lambda x: map_in_groups(one, x, _TOGETHER))(rows.observed)
    images, sigma = np.asarray(images).reshape(-1, 2, *images.shape[1:]), np.asarray(sigma).reshape(-1, 2)
    inputs, targets = (x.reshape(-1, *images.shape[2:]) for x in (images, images[:, ::-1]))
    return _Lesson(inputs, sigma.ravel().astype(np.float32), targets)


def _objects(common: Any, inputs: Any) -> dict[str, Any]:
    return map_in_groups(lambda item: _answer(*common, *item), inputs, 1)


def _answer(estimator: ImageEstimator, problem: Problem, observed: Any, known: Any) -> dict[str, Any]:
    values = observed.values if isinstance(observed, Observation) else observed
    valid = problem.noise.valid(values, observed)
    given = observed.sigma if isinstance(observed, Observation) and observed.sigma is not None else problem.noise.sigma
    sigma = jnp.broadcast_to(jnp.asarray(given, values.dtype), values.shape)
    n_valid = jnp.sum(valid)
    rms = jnp.sqrt(jnp.sum(jnp.where(valid, sigma, 0) ** 2) / jnp.maximum(n_valid, 1))
    image = estimator.refine(_classical(problem, values, observed), estimator.gain * rms)
    (name,) = problem.names
    found = problem.canonical({**known, name: image.astype(values.dtype)})
    vector = problem.layout.ravel({name: found[name]}).astype(values.dtype)
    one = jnp.ones((), jnp.int32)
    result = Result(vector, None, jnp.asarray(True), one, one)
    return summarize(Objective(problem, observed, known), result, n_valid, kind="none")
