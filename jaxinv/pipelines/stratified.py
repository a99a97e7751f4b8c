"""Invert a map with a stratified atmosphere: cycles of more and more nodes, then every quantity at every depth."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxinv.compute.progress import Advance
from jaxinv.compute.run import Work
from jaxinv.forward import Forward, Sequential
from jaxinv.optimize import LevenbergMarquardt, fit
from jaxinv.pipelines.inversion import FitPixels, InversionRun
from jaxinv.pipelines.misfits import enough, one_start
from jaxinv.pipelines.preparation import Preparation, n_cycles
from jaxinv.problem import Problem
from jaxinv.results.solution import Solution
from jaxinv.spectra.lte.nodes import Nodes
from jaxinv.spectra.lte.stratification import geometric_height

_PER_CPU, _PER_ACCELERATOR = 64, 16384
"""Pixels fitted and saved together, for each device of its kind."""
_OF_GAS = {"electron_pressure": "erg/cm3", "gas_pressure": "erg/cm3", "height": "km"}
"""What follows from the temperature, and its FITS unit."""


class StratifiedRun(InversionRun):
    """The inversion of a map by nodes; its parameters are stratifications, `(ny, nx, n_depth)`.

    Those that have one node, or none, are maps; with them come the electron and the gas pressure and the height.

    Attributes:
        problems: one for each cycle, the last one `problem`.
        nodes: what describes the stratification in the last cycle.
    """

    def __init__(self, ready: Preparation) -> None:
        super().__init__(ready)
        self.problems = cycles(ready)
        self.nodes = nodes_of(ready.problem.forward)
        deep = with_depth(self.nodes)
        self.units = {**self.units, **{f"parameters/{name}": unit for name, unit in _OF_GAS.items()}}
        self.axes = {
            **type(self).axes,
            **{f"{group}/{name}": ("log_tau",) for group in ("parameters", "standard_error") for name in deep},
            **{f"parameters/{name}": ("log_tau",) for name in _OF_GAS},
        }

    @property
    def size(self) -> int:
        each = _PER_CPU if jax.default_backend() == "cpu" else _PER_ACCELERATOR
        return self.ready.config.chunk_size or each * len(jax.devices())

    def work(self) -> Work:
        config, solver = self.ready.config, self.solver
        if config.starts > 1:
            first = FitPixels(self.problems[0], one_start(solver), config.seed)
            solver = dataclasses.replace(solver, enough=enough(self.reached(first.solve)))
        return FitCycles(self.problems, solver, config.seed, config.covariance)

    def info(self) -> dict[str, Any]:
        found = super().info()
        found["units"] = {**found["units"], **self.nodes.model.units, **_OF_GAS}
        return {**found, "depth": self.nodes.log_tau.tolist()}


@dataclasses.dataclass(frozen=True)
class FitCycles:
    """Fits the pixels of a piece, each cycle from where the one before ended.

    Attributes:
        problems: one for each cycle.
        solver: of the first; the others take one start.
        seed: of the starting points.
        covariance: whether the covariance of the nodes is kept.
    """

    problems: tuple[Problem, ...]
    solver: LevenbergMarquardt
    seed: int
    covariance: bool = False

    def solve(self, inputs: Any) -> Solution:
        """The solution of the last cycle, in its nodes."""
        data, known = inputs
        first, *others = self.problems
        found = fit(first, data, fixed=known, solver=self.solver, seed=self.seed)
        last, solver = first, dataclasses.replace(self.solver, n_starts=1)
        for problem in others:
            fine = nodes_of(problem.forward)
            start = {**found.parameters, **fine.at_nodes(_stratified(nodes_of(last.forward), found.parameters))}
            start = {name: x for name, x in start.items() if name in problem.layout.names and name not in known}
            again = fit(problem, data, fixed=known, initial=start, solver=solver, seed=self.seed)
            more = {name: getattr(found, name) + getattr(again, name) for name in ("iterations", "starts")}
            found, last = dataclasses.replace(again, **more), problem
        return found

    def __call__(self, inputs: Any, advance: Advance) -> dict[str, np.ndarray]:
        found = self.solve(inputs)
        arrays = found.to_arrays(covariance=self.covariance)
        nodes = nodes_of(self.problems[-1].forward)
        deep = _stratified(nodes, found.parameters)
        arrays |= {f"parameters/{name}": deep[name] for name in (*with_depth(nodes), *_OF_GAS)}
        for name, _ in nodes.positions:
            if f"standard_error/{name}" in arrays and name in with_depth(nodes):
                columns = [k for k, label in enumerate(found.labels) if label.partition("[")[0] == name]
                matrix = found.covariance[..., columns, :][..., columns]
                weights = nodes.weights[name]
                variance = np.einsum("di,...ij,dj->...d", weights, matrix, weights)
                arrays[f"standard_error/{name}"] = np.sqrt(np.maximum(variance, 0)).astype(matrix.dtype)
        return arrays


def cycles(ready: Preparation) -> tuple[Problem, ...]:
    """A problem for each cycle, the last one the observation's own."""
    return (*(ready.coarser(k) for k in range(n_cycles(ready.config) - 1)), ready.problem)


def nodes_of(forward: Forward) -> Nodes:
    """The stratified atmosphere of a model with its instrument."""
    first = forward.first if isinstance(forward, Sequential) else forward
    if not isinstance(first, Nodes):
        raise TypeError(f"a {type(first).__name__} has no nodes")
    return first


def with_depth(nodes: Nodes) -> tuple[str, ...]:
    """Quantities that change with depth."""
    one = {name for name, at in nodes.positions if len(at) == 1 and name != "temperature"}
    return tuple(name for name in nodes.reference if name not in one)


def _stratified(nodes: Nodes, parameters: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every quantity of every pixel at every depth, and what follows from the temperature."""
    own = {name: jnp.asarray(parameters[name]) for name, _ in nodes.positions}
    return {name: np.asarray(x) for name, x in _at_all_depths(nodes, own).items()}


@eqx.filter_jit
def _at_all_depths(nodes: Nodes, parameters: dict[str, Array]) -> dict[str, Array]:
    def one(parameters: dict[str, Array]) -> dict[str, Array]:
        found = nodes.stratification(parameters)
        state = nodes.model.gas.state(found["temperature"], found["electron_pressure"])
        height = geometric_height(nodes.log_tau, state)
        return {**found, "gas_pressure": state.gas_pressure, "height": height}

    return jax.vmap(one)(parameters)


def in_nodes(forward: Forward, parameters: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A model's parameters from what `StratifiedRun` gives: stratifications at their nodes."""
    nodes = nodes_of(forward)
    deep, n_depth = with_depth(nodes), len(nodes.log_tau)
    whole = {
        name: parameters[name] if name in deep else np.repeat(parameters[name][..., None], n_depth, -1)
        for name, _ in nodes.positions
    }
    return {**parameters, **nodes.at_nodes(whole)}
