"""A network in the place of a forward model: the same signature, and it knows where it was trained."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array

from jaxinv import priors
from jaxinv.emulation.report import Report
from jaxinv.forward import Forward, Parameter, Parameters, Sequential
from jaxinv.knowledge import Knowledge
from jaxinv.networks import Network
from jaxinv.training import folder
from jaxinv.training.coding import ParameterCoding


class OutputCoding(eqx.Module):
    """A prediction as an affine function of a network's output: mean + basis (or each element's scale) times output.

    Attributes:
        mean: `(n,)` of the flat prediction.
        scale: `(n,)` of each element, or `(n_components,)` of each principal component.
        basis: `(n, n_components)` orthonormal principal components, or `None`.
    """

    mean: np.ndarray
    scale: np.ndarray
    basis: np.ndarray | None

    @property
    def size(self) -> int:
        """The length of the network's output."""
        return len(self.scale)

    def decode(self, output: Array) -> Array:
        """The flat prediction `(n,)`."""
        scaled = output * self.scale.astype(output.dtype)
        if self.basis is not None:
            scaled = jnp.matmul(self.basis.astype(output.dtype), scaled, precision="highest")
        return jnp.asarray(self.mean, output.dtype) + scaled


class EmulatedCore(Forward):
    """The network's part of a surrogate: the core of a forward model (`Forward.factors`).

    Attributes:
        network: parameters' features -> coded prediction.
        inputs: the features.
        outputs: the coding of the prediction.
        fixed: parameters of the core that the prior held at a value: the network knows no other.
        shape: of the core's prediction.
        own_units: name and unit of each input.
    """

    network: Network
    inputs: ParameterCoding
    outputs: OutputCoding
    fixed: dict[str, Any]
    shape: tuple[int, ...] = eqx.field(static=True)
    own_units: tuple[tuple[str, str], ...] = eqx.field(static=True)

    @property
    def parameters(self) -> dict[str, Parameter]:
        shapes = {name: tuple(low.shape) for name, low in zip(self.inputs.names, self.inputs.lower, strict=True)}
        return {name: Parameter(unit, shapes[name]) for name, unit in self.own_units}

    def __call__(self, parameters: Parameters) -> Array:
        self.need(parameters)
        output = self.network(self.inputs.encode(parameters))
        prediction = self.outputs.decode(output).reshape(self.shape)
        return jnp.where(self.inputs.inside(parameters), prediction, jnp.nan)

    def value_and_jacobian(self, parameters: Parameters) -> tuple[Array, dict[str, Array]]:
        parameters = {name: jnp.asarray(value) for name, value in parameters.items() if name in self.inputs.names}
        # The value comes along with the derivatives: one pass through the network for all.
        derivatives, value = jax.jacfwd(lambda p: (self(p),) * 2, has_aux=True)(parameters)
        return value, derivatives

    def check(self, prior: priors.Prior) -> None:
        super().check(prior)
        circles = priors.circles(prior)
        for name, entry in prior.items():
            k = self.inputs.names.index(name)
            if name in circles or isinstance(entry, priors.Tied) or self.inputs.kinds[k] == "cyclic":
                continue
            if isinstance(entry, dist.Distribution):
                if self.inputs.kinds[k] == "free":
                    continue
                low, high = (np.asarray(x) for x in priors.bounds(entry))
            else:
                low = high = np.asarray(entry)
            least, most = self.inputs.lower[k], self.inputs.upper[k]
            margin = 1e-5 * (most - least)
            if np.any(low < least - margin) or np.any(high > most + margin):
                raise ValueError(
                    f"the prior of {name!r} reaches from {low.min():g} to {high.max():g} but the surrogate was trained "
                    f"from {least.min():g} to {most.max():g}: narrow the prior, or train a surrogate for it"
                )


class Surrogate(Forward):
    """A trained network that stands for a forward model, made by `emulate`.

    The network gives the model's core; the stages behind it, which cost little, are the model's own. Called with
    parameters outside the support of the prior that it was trained on, it returns NaN, which a fit rejects and a
    sampler leaves: it does not extrapolate. A `Problem` whose prior reaches beyond is refused when it is made.

    Attributes:
        core: the network with its codings.
        exact: the forward model itself: its stages, first guesses and symmetries.
        report: how good it was on fresh draws when it was trained.
        prior: what it was trained on, in words.
    """

    core: EmulatedCore
    exact: Forward
    report: Report | None = eqx.field(static=True, default=None)
    prior: str = eqx.field(static=True, default="")

    @property
    def parameters(self) -> dict[str, Parameter]:
        inputs, core = self.core.parameters, self.exact.factors()[0].parameters
        exact = self.exact.parameters.items()
        return {name: parameter for name, parameter in exact if name in inputs or name not in core}

    @property
    def knowledge(self) -> Knowledge:
        """The forward model's, of what the surrogate reads and what its exact stages still do."""

        def guess(values: Array, valid: Array) -> dict[str, Array]:
            return {name: x for name, x in exact.guess(values, valid).items() if name in self.parameters}

        def canonical(parameters: Parameters) -> dict[str, Any]:
            moved = exact.canonical({**self.core.fixed, **parameters})
            return {name: moved[name] for name in parameters}

        exact, learned = self.exact.knowledge, self.core.parameters
        # A closed form is exact only where the stages give it, not the network.
        rotation = exact.rotation if exact.rotation and exact.rotation.name not in learned else None
        affine = exact.affine if exact.affine and not {*exact.affine} & {*learned} else None
        return exact._replace(guess=guess, canonical=canonical, rotation=rotation, affine=affine, working_set=0)

    @property
    def _whole(self) -> Forward:
        stages = self.exact.factors()[1]
        return Sequential(self.core, stages) if stages else self.core

    def __call__(self, parameters: Parameters) -> Array:
        return self._whole(parameters)

    def value_and_jacobian(self, parameters: Parameters) -> tuple[Array, dict[str, Array]]:
        return self._whole.value_and_jacobian(parameters)

    def inside(self, parameters: Parameters) -> Array:
        """Whether the parameters of one object lie in the support that the network was trained on."""
        return self.core.inputs.inside(parameters)

    def check(self, prior: priors.Prior) -> None:
        super().check(prior)
        self.core.check({name: entry for name, entry in prior.items() if name in self.core.units})

    def save(self, path: str | os.PathLike[str], notes: Mapping[str, Any] | None = None) -> None:
        """Write the network, its codings, the prior, what forward model it stands for, and the report to a folder.

        Args:
            path: the folder.
            notes: what else the card should say, as JSON can say it.

        Raises:
            OutputError: it cannot be written.
        """
        report = None if self.report is None else dataclasses.asdict(self.report)
        card = {"forward": folder.described(self.exact, self.core.shape), "prior": self.prior, "report": report}
        folder.save(path, self.core, {**card, **(notes or {})})

    @staticmethod
    def load(path: str | os.PathLike[str], forward: Forward) -> Surrogate:
        """The surrogate that `save` wrote for a forward model.

        Raises:
            FolderError: the folder is not there, damaged, of another kind or version, or for another forward model.
        """
        core, card = folder.load(path, EmulatedCore, (ParameterCoding, OutputCoding))
        folder.check_forward(path, card, forward)
        report = card.get("report")
        return Surrogate(core, forward, Report.of(report) if report else None, card.get("prior", ""))


def output_coding(predictions: np.ndarray, components: int) -> tuple[OutputCoding, np.ndarray]:
    """The coding of predictions `(n_draws, n)`, and what it leaves out of each, `(n_draws, n)`.

    Args:
        predictions: of draws from the prior.
        components: principal components; 0: each element for itself, without loss.
    """
    mean = predictions.mean(axis=0, dtype=np.float64)
    centred = predictions - mean
    if not components:
        deviation = centred.std(axis=0)
        scale = np.maximum(deviation, 1e-3 * max(deviation.max(), np.finfo(np.float32).tiny))
        return OutputCoding(mean.astype(np.float32), scale.astype(np.float32), None), np.zeros_like(centred)
    _, values, rows = np.linalg.svd(centred, full_matrices=False)
    basis = rows[:components].T
    scale = values[:components] / np.sqrt(len(predictions))
    left = centred - centred @ basis @ basis.T
    scale = np.maximum(scale, 1e-6 * scale[0])
    return OutputCoding(mean.astype(np.float32), scale.astype(np.float32), basis.astype(np.float32)), left
