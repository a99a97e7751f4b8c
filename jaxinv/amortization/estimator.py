"""A network that answers with parameters and errors in one pass."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array
from numpy.typing import ArrayLike

from jaxinv.amortization.settings import PointEstimate
from jaxinv.compute import batch
from jaxinv.compute.devices import over_devices
from jaxinv.networks import Network
from jaxinv.observation import Observation
from jaxinv.optimize.assure import near_enough
from jaxinv.optimize.fit import Result, lapack_of, summarize, to_solution
from jaxinv.optimize.levenberg_marquardt import damped_step
from jaxinv.optimize.normal import in_units, quadratic_model, scales
from jaxinv.optimize.objective import Objective
from jaxinv.problem import Problem
from jaxinv.results.solution import Solution
from jaxinv.training import folder
from jaxinv.training.coding import ParameterCoding
from jaxinv.training.data import NOISES, DataCoding
from jaxinv.training.loop import Curve

_BATCH = 256


class PointEstimator(eqx.Module):
    """A trained network from data to parameters, made by `amortize`.

    Attributes:
        settings: what it was trained by.
        data: coding of the data.
        parameters: coding of its answer.
        pixel: network of one object.
        context: network over a map of its answers ("map"), or `None`.
        curve: of the training.
        best_step: of the training, whose weights were kept.
    """

    settings: PointEstimate = eqx.field(static=True)
    data: DataCoding
    parameters: ParameterCoding
    pixel: Network
    context: Network | None
    curve: Curve | None = None
    best_step: int = 0

    @staticmethod
    def new(settings: PointEstimate, data: DataCoding, parameters: ParameterCoding, key: Any) -> PointEstimator:
        """With random weights."""
        n_out = parameters.n_raw + (parameters.n_free if settings.loss == "truth" else 0)
        n_samples = data.mean.size // data.rows
        pixel_key, context_key = jax.random.split(key)
        own = {"width": settings.width, "depth": settings.depth}
        if settings.encoder == "spectrum":
            shape = {"n_channels": 2 * data.rows, "n_wavelength": n_samples, "n_more": data.n_more, "n_out": n_out}
            return PointEstimator(settings, data, parameters, Network.new("encoder", shape | own, pixel_key), None)
        n_in = 2 * data.rows * n_samples + data.n_more
        if settings.encoder == "dense":
            pixel = Network.new("residual", {"n_in": n_in, "n_out": n_out, **own}, pixel_key)
            return PointEstimator(settings, data, parameters, pixel, None)
        width = settings.width
        pixel = Network.new("residual", {"n_in": n_in, "n_out": width, "width": 2 * width, "depth": 2}, pixel_key)
        context = Network.new("map", {"n_in": width, "n_out": n_out, **own}, context_key)
        return PointEstimator(settings, data, parameters, pixel, context)

    def raw(self, problem: Problem, observed: Any, known: Any) -> Array:
        """The network's answer for one object; for a "map", for all objects of it, with two axes in front."""
        if self.context is None:
            return self._pixel(problem, observed, known)
        each = jax.vmap(jax.vmap(lambda o, k: self._pixel(problem, o, k)))
        return self.context(each(observed, known))

    def _pixel(self, problem: Problem, observed: Any, known: Any) -> Array:
        channels, more = self.data.encode(problem.noise, observed, known)
        if self.settings.encoder == "spectrum":
            return self.pixel(channels, more)
        return self.pixel(jnp.concatenate([channels.ravel(), more]))

    def decode(self, raw: Array) -> tuple[dict[str, Array], Array]:
        """Parameters of one object, and the log of their errors, `(n_free,)`, in the units of the coding."""
        n = self.parameters.n_raw
        return self.parameters.decode(raw[:n]), jnp.clip(raw[n:], -12.0, 3.0)

    def __call__(
        self, problem: Problem, data: ArrayLike | Observation, *, fixed: Mapping[str, ArrayLike] | None = None
    ) -> Solution:
        """As `fit(problem, data)`, in one pass.

        Errors are the network's own where it was trained with the truth; else those of the curvature at its answer. An
        answer that a Levenberg-Marquardt step would still improve is `Status.NOT_CONVERGED`; `assure` mends it.

        Args:
            problem: the one that the network was trained for, or one that differs in its noise or in what is known.
            data: `(*batch, *prediction_shape)`, or an `Observation` of that; of a "map" the last two axes of the batch
                are its rows and columns.
            fixed: parameters known for each object.

        Raises:
            ValueError: as `fit`; or the data are not of the kind that the network was trained for.
        """
        rows = batch.in_rows(problem, data, fixed)
        if rows.problem.names != self.parameters.names:
            raise ValueError(
                f"the network was trained to infer {', '.join(self.parameters.names)}; the problem infers "
                f"{', '.join(rows.problem.names)}"
            )
        self.data.check(rows.problem, rows.known)
        inputs = (rows.observed, rows.known)
        if self.context is None:
            arrays = over_devices(_objects, (self, rows.problem), inputs, lapack=lapack_of(rows.problem))
        else:
            if len(rows.shape) < 2:
                raise ValueError(f"the network was trained for maps; the data are a batch of {rows.shape}")
            maps = jax.tree.map(lambda x: x.reshape(-1, *rows.shape[-2:], *x.shape[1:]), inputs)
            arrays = over_devices(_maps, (self, rows.problem), maps, lapack=lapack_of(rows.problem))
            arrays = jax.tree.map(lambda x: x.reshape(rows.n, *x.shape[3:]), arrays)
        return to_solution(rows.problem, rows.known, arrays, rows.shape)

    def save(self, path: str | os.PathLike[str], problem: Problem, notes: Mapping[str, Any] | None = None) -> None:
        """Write networks, settings and codings to a folder, with what problem they were trained for.

        Args:
            path: the folder.
            problem: the one that it was trained for.
            notes: what else the card should say, as JSON can say it.

        Raises:
            OutputError: it cannot be written.
        """
        folder.save(path, self, {**folder.described_problem(problem, self.data.mean.shape), **(notes or {})})

    @staticmethod
    def load(path: str | os.PathLike[str], problem: Problem | None = None) -> PointEstimator:
        """What `save` wrote; `problem` is checked against the one that it was trained for.

        Raises:
            FolderError: the folder is not there, damaged, of another kind or version, or for another forward model.
        """
        found, card = folder.load(path, PointEstimator, (PointEstimate, ParameterCoding, DataCoding, *NOISES))
        if problem is not None:
            folder.check_forward(path, card, problem.forward)
        return dataclasses.replace(found, curve=None if found.curve is None else Curve(*found.curve))


def _objects(common: Any, inputs: Any) -> dict[str, Any]:
    estimator, problem = common

    def one(item: Any) -> dict[str, Any]:
        return _answer(estimator, problem, estimator.raw(problem, *item), *item)

    return jax.lax.map(one, inputs, batch_size=_BATCH)


def _maps(common: Any, inputs: Any) -> dict[str, Any]:
    estimator, problem = common

    def one(item: Any) -> dict[str, Any]:
        raw = estimator.raw(problem, *item)
        flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), (raw, *item))
        found = jax.lax.map(lambda x: _answer(estimator, problem, *x), flat, batch_size=_BATCH)
        return jax.tree.map(lambda x: x.reshape(*raw.shape[:2], *x.shape[1:]), found)

    return jax.lax.map(one, inputs)


def _answer(estimator: PointEstimator, problem: Problem, raw: Array, observed: Any, known: Any) -> dict[str, Any]:
    """The network's answer judged by the exact forward model."""
    layout = problem.layout
    values = observed.values if isinstance(observed, Observation) else observed
    scale = scales(problem, layout).astype(values.dtype)
    parameters, log_error = estimator.decode(raw)
    parameters = {name: jnp.asarray(x, values.dtype) for name, x in problem.canonical({**known, **parameters}).items()}
    vector = layout.ravel(parameters) / scale
    normal = quadratic_model(problem, layout, scale, vector, observed, known)
    gain = damped_step(normal, jnp.asarray(1e-3, values.dtype), jnp.zeros(len(vector), bool))[1]
    one = jnp.ones((), jnp.int32)
    at = Result(vector, normal, near_enough(gain, normal.cost), one, one)
    result = Result(*in_units(at, scale), *at[2:])
    n_valid = jnp.sum(problem.noise.valid(values, observed))
    out = summarize(Objective(problem, observed, known), result, n_valid)
    if estimator.settings.loss == "truth":
        error = jnp.exp(log_error) * estimator.parameters.slopes(parameters)
        error = jnp.where(jnp.isfinite(out["chi2"]), error, jnp.nan)
        out["standard_error"] |= layout.unravel(error)
        out["covariance"] = jnp.diag(error**2)
    return out
