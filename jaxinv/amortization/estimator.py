"""A network that answers with parameters and errors in one pass."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import ArrayLike

from jaxinv.amortization.coding import AnswerCoding, DataCoding, Seen, turned
from jaxinv.amortization.settings import PointEstimate
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
from jaxinv.training.coding import ParameterCoding
from jaxinv.training.data import NOISES
from jaxinv.training.loop import Curve

_BATCH = 256
_LOWEST, _HIGHEST = -12.0, 3.0
"""Of the logarithm of an error, in standard deviations of the parameter."""


class PointEstimator(eqx.Module):
    """A trained network from data to parameters, made by `amortize`.

    Attributes:
        settings: what it was trained by.
        data: coding of the data.
        answer: coding of its answer.
        network: from data to the answer.
        errors: from the answer and the noise to the logarithm of the answer's errors.
        factor: `(n_free,)` on those errors, so that 90 % intervals hold the truth in 90 % of simulated objects.
        coverage: `(n_free,)` in how many they do, measured on others.
        curve: of the training.
        best_step: of the training, whose weights were kept.
    """

    settings: PointEstimate = eqx.field(static=True)
    data: DataCoding
    answer: AnswerCoding
    network: Network
    errors: Network
    factor: np.ndarray
    coverage: np.ndarray
    curve: Curve | None = None
    best_step: int = 0

    @staticmethod
    def new(settings: PointEstimate, data: DataCoding, answer: AnswerCoding, key: Any) -> PointEstimator:
        """With random weights."""
        own = {"width": settings.width, "depth": settings.depth, "n_out": answer.size}
        network_key, error_key = jax.random.split(key)
        if settings.encoder == "spectrum":
            shape = {"n_channels": data.rows, "n_wavelength": data.n, "n_more": data.n_more}
            network = Network.new("encoder", shape | own, network_key)
        else:
            network = Network.new("residual", {"n_in": data.rows * data.n + data.n_more, **own}, network_key)
        n_free = len(answer.deviation)
        errors = Network.new(
            "mlp", {"n_in": answer.size + data.n_more, "n_out": n_free, "width": 64, "depth": 2}, error_key
        )
        one = np.ones(n_free, np.float32)
        return PointEstimator(settings, data, answer, network, errors, one, np.full_like(one, np.nan))

    def check(self, problem: Problem, known: Mapping[str, Any]) -> None:
        """Whether the network was trained for a problem like this.

        Raises:
            ValueError: it was not; says what differs.
        """
        if problem.names != self.answer.names:
            raise ValueError(
                f"the network was trained to infer {', '.join(self.answer.names)}; the problem infers "
                f"{', '.join(problem.names)}"
            )
        self.data.check(problem, known)

    def without_history(self) -> PointEstimator:
        """The same without the curve of its training, on whose length a program would depend."""
        return dataclasses.replace(self, curve=None, best_step=0)

    def raw(self, seen: Seen) -> Array:
        """The network's answer for one object, `(size,)`."""
        channels = seen.channels.astype(jnp.float32)
        if self.settings.encoder == "spectrum":
            return self.network(channels, seen.more.astype(jnp.float32))
        return self.network(jnp.concatenate([channels.ravel(), seen.more.astype(jnp.float32)]))

    def log_error(self, raw: Array, seen: Seen) -> Array:
        """The logarithm of the answer's errors in the frame, before `factor`, in standard deviations of a parameter."""
        inputs = jnp.concatenate([jax.lax.stop_gradient(raw), seen.more.astype(raw.dtype)])
        return jnp.clip(self.errors(inputs), _LOWEST, _HIGHEST)

    def start(self, problem: Problem, observed: Any, known: Mapping[str, Any]) -> tuple[dict[str, Array], Array]:
        """Parameters of one object inside the support, and whether its data are like those of the training."""
        seen = self.data.encode(problem, observed, known)
        return self._parameters(problem, self.raw(seen), seen, known), self.data.inside(seen)

    def _parameters(self, problem: Problem, raw: Array, seen: Seen, known: Mapping[str, Any]) -> dict[str, Array]:
        found = problem.canonical({**known, **self.answer.decode(problem, raw, seen.element)})
        return {name: found[name] for name in problem.names}

    def __call__(
        self, problem: Problem, data: ArrayLike | Observation, *, fixed: Mapping[str, ArrayLike] | None = None
    ) -> Solution:
        """As `fit(problem, data)`, in one pass and without a look at the forward model but for chi2.

        Standard errors are the network's own; `coverage` says how often they hold on simulated data. The status says
        no more than whether the data are like those of the training (`Status.NOT_CONVERGED`: they are not): `unroll`
        with this network as its start tells how near an answer is to its minimum, and `assure` mends it.

        Args:
            problem: the one that the network was trained for, or one that differs in its noise or in what is known.
            data: `(*batch, *prediction_shape)`, or an `Observation` of that.
            fixed: parameters known for each object.

        Raises:
            ValueError: as `fit`; or the data are not of the kind that the network was trained for.
        """
        rows = batch.in_rows(problem, data, fixed)
        self.check(rows.problem, rows.known)
        common = (self.without_history(), rows.problem)
        arrays = over_devices(_objects, common, (rows.observed, rows.known), lapack=lapack_of(rows.problem))
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
        found, card = folder.load(path, PointEstimator, PARTS)
        if problem is not None:
            folder.check_forward(path, card, problem.forward)
        return dataclasses.replace(found, curve=None if found.curve is None else Curve(*found.curve))


PARTS = (PointEstimate, AnswerCoding, ParameterCoding, DataCoding, *NOISES)
"""Classes that a point estimator is made of."""


def _objects(common: Any, inputs: Any) -> dict[str, Any]:
    return map_in_groups(lambda item: _answer(*common, *item), inputs, _BATCH)


def _answer(estimator: PointEstimator, problem: Problem, observed: Any, known: Any) -> dict[str, Any]:
    """The network's answer, its errors, and its misfit by the exact forward model."""
    values = observed.values if isinstance(observed, Observation) else observed
    seen = estimator.data.encode(problem, observed, known)
    raw = estimator.raw(seen)
    layout = problem.layout
    vector = layout.ravel(estimator._parameters(problem, raw, seen, known)).astype(values.dtype)
    one = jnp.ones((), jnp.int32)
    n_valid = jnp.sum(problem.noise.valid(values, observed))
    result = Result(vector, None, estimator.data.inside(seen), one, one)
    out = summarize(Objective(problem, observed, known), result, n_valid, kind="none")
    error = jnp.exp(estimator.log_error(raw, seen)) * estimator.factor * estimator.answer.deviation
    if seen.element is not None:  # from the frame to the data
        there = estimator.answer.decode(problem, raw, None)
        _, moved = jax.jvp(lambda p: turned(problem, seen.element, p), (there,), (layout.unravel(error),))
        error = jnp.abs(layout.ravel(moved))
    blank = jnp.isnan(out["chi2"])
    out["standard_error"] |= layout.unravel(jnp.where(blank, jnp.nan, error).astype(values.dtype))
    return out
