"""Invert a map of Stokes spectra: prepare, fit piece by piece, judge, resume."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxinv.compute.batch import filled
from jaxinv.compute.progress import Advance
from jaxinv.compute.run import Run, Work
from jaxinv.compute.store import Store
from jaxinv.compute.workers import Workers
from jaxinv.observation import StokesCube
from jaxinv.optimize import LevenbergMarquardt, fit, labels_of
from jaxinv.pipelines.config import InvertConfig
from jaxinv.pipelines.misfits import enough, misfit_limit, one_start, reached
from jaxinv.pipelines.preparation import Preparation, info, prepare
from jaxinv.problem import Problem
from jaxinv.results.product import product_of
from jaxinv.results.solution import Solution, SolutionMap, Status

_PER_CPU, _PER_ACCELERATOR = 8192, 65536
"""Pixels fitted and saved together, for each device of its kind."""


def invert(
    cube: StokesCube | Preparation,
    config: InvertConfig | None = None,
    *,
    psf: tuple[np.ndarray, np.ndarray] | None = None,
    wavelength_offset: np.ndarray | None = None,
    atmosphere: Mapping[str, Any] | None = None,
    network: Any = None,
    store: Store | None = None,
    workers: Workers | None = None,
    progress: bool = True,
) -> SolutionMap:
    """Maps of the magnetic field, the velocity and the line parameters, with errors, from a Stokes cube.

    Args:
        cube: from `jaxinv.io.read_stokes` or `jaxinv.io.stokes_cube`; or what `prepare` made of one, with which the
            next four go.
        config: the options; the defaults where `None`.
        psf: `(offset [angstrom], transmission)` of the spectral profile, in place of `config.psf_fwhm`.
        wavelength_offset: `(ny, nx)` shift of each pixel's spectrum towards the red [angstrom], e.g. a cavity map.
        atmosphere: a stratification as `spectra.Nodes` takes it, in place of the standard model `config.atmosphere`
            (model "lte").
        network: from `load_network`, for the method "learned", adapted or not; the shipped one for the observation's
            lines and wavelengths where `None`.
        store: keeps what is finished (`plan_inversion(...).store(path)`); pixels that it holds are not fitted again.
        workers: who does it, `Workers(2)` or `Workers(scheduler=...)`; this process where `None`.
        progress: show a bar with the rate and the time left.

    Returns:
        Maps with the input's world coordinates; a pixel that fails is flagged in `status`. Of the model "lte", maps
        with depth (`pipelines.stratified`).

    Raises:
        ValueError, UnknownLineError: as `prepare`; or the network was trained for another instrument.
    """
    if not isinstance(cube, Preparation):
        cube = prepare(cube, config, psf=psf, wavelength_offset=wavelength_offset, atmosphere=atmosphere)
    return plan_inversion(cube, network, progress=progress).into(store, workers=workers, progress=progress)


def plan_inversion(ready: Preparation, network: Any = None, *, progress: bool = False) -> InversionRun:
    """An inversion that is ready to run; for the method "learned", its network is adapted to the map here.

    Arguments are those of `invert`.

    Raises:
        ValueError: the network was trained for another instrument.
    """
    if ready.config.model == "lte":
        # Here, since it is made of what is below.
        from jaxinv.pipelines.stratified import StratifiedRun

        return StratifiedRun(ready)
    if ready.config.method != "learned":
        return InversionRun(ready)
    # Here, since it imports Flax.
    from jaxinv.pipelines.learned import LearnedRun, shipped_for, steps_for

    run = LearnedRun(ready, network or shipped_for(ready))
    steps = 0 if run.learned.adapted else steps_for(ready.config, ready.cube.n_pixels)
    return run.adapted(steps, progress=progress) if steps else run


def adapt_network(ready: Preparation, network: Any = None, *, progress: bool = True) -> Any:
    """The network that `invert` would use, trained on with the map itself: to be given to `invert`, and to be kept.

    Arguments are those of `invert`. `config.adapt` says for how many steps; where that is 0, or by default on a small
    map, the network is returned as it is.
    """
    return plan_inversion(ready, network, progress=progress).learned


class InversionRun(Run[SolutionMap]):
    """The inversion of a map by Levenberg-Marquardt.

    Attributes:
        ready: the observation.
        problem: what is solved.
        solver: how.
        learned: the network, if there is one.
    """

    label = "inverting"
    missing: ClassVar = {"status": Status.NOT_COMPUTED}
    axes: Mapping[str, tuple[str, ...]] = {"covariance": ("parameter", "parameter_")}

    def __init__(self, ready: Preparation) -> None:
        self.ready, self.problem, self.learned = ready, ready.problem, None
        config = ready.config
        self.solver = LevenbergMarquardt(max_iterations=config.max_iterations, n_starts=config.starts)
        units = ready.problem.forward.units.items()
        self.units = {f"{group}/{name}": unit for group in ("parameters", "standard_error") for name, unit in units}

    @property
    def shape(self) -> tuple[int, ...]:
        return self.ready.cube.map_shape

    @property
    def size(self) -> int:
        each = _PER_CPU if jax.default_backend() == "cpu" else _PER_ACCELERATOR
        return self.ready.config.chunk_size or each * len(jax.devices())

    def known(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """What is known of each of these pixels."""
        return self.ready.known(pixels)

    def inputs(self, pixels: np.ndarray) -> Any:
        """Of any pixels: spectra, and what is known of them."""
        return self.ready.observed(pixels), self.known(pixels)

    def read(self, start: int, stop: int) -> Any:
        return self.inputs(np.arange(start, stop))

    def work(self) -> Work:
        config, solver = self.ready.config, self.solver
        if config.starts > 1:
            # What converged fits from one start reach on a sample of the map is good enough for its other pixels.
            first = FitPixels(self.problem, one_start(solver), config.seed)
            solver = dataclasses.replace(solver, enough=enough(self.reached(first.solve)))
        return FitPixels(self.problem, solver, config.seed, config.covariance)

    def reached(self, solve: Any) -> np.ndarray:
        """The chi2 that a function of inputs reaches on a sample of the map."""
        n, size = self.ready.cube.n_pixels, min(self.size, self.ready.cube.n_pixels)

        def some(pixels: np.ndarray) -> Solution:
            return solve(filled(self.inputs(pixels), size)).each(lambda x: x[: len(pixels)])

        return reached(n, size, some)

    def info(self) -> dict[str, Any]:
        given = self.problem.given(tuple(self.known(np.arange(1))))
        return info("solution", self.ready, labels=list(labels_of(given)))

    def result(self, store: Store) -> SolutionMap:
        self.finish(store)
        said = store.attributes
        found: SolutionMap = product_of(store.arrays(), said["product"])
        limit = said.get("poor_fit_above")
        if limit is None:
            limit = misfit_limit(found.solution)
            store.describe(poor_fit_above=limit)
        poor = (found.status <= Status.AT_BOUND) & (found.chi2 > limit)
        if poor.any():
            status = np.where(poor, Status.POOR_FIT, found.status).astype(np.int16)
            store.replace("status", status)
            found = dataclasses.replace(found, solution=dataclasses.replace(found.solution, status=status))
        more = {"poor_fit_above": f"{limit:.4g} in CHI2", **self.origin()}
        return dataclasses.replace(found, provenance={**found.provenance, **more})

    def finish(self, store: Store) -> None:
        """What can be done only when all pixels are."""

    def origin(self) -> dict[str, str]:
        """What the provenance says beside the options."""
        return {}


@dataclasses.dataclass(frozen=True)
class FitPixels:
    """Fits the pixels of a piece."""

    problem: Problem
    solver: LevenbergMarquardt
    seed: int
    covariance: bool = False

    def solve(self, inputs: Any) -> Solution:
        data, known = inputs
        return fit(self.problem, data, fixed=known, solver=self.solver, seed=self.seed)

    def __call__(self, inputs: Any, advance: Advance) -> dict[str, np.ndarray]:
        return self.solve(inputs).to_arrays(covariance=self.covariance)


def fitted_profiles(
    ready: Preparation, maps: SolutionMap, pixels: list[tuple[int, int]]
) -> tuple[np.ndarray, np.ndarray]:
    """Observed and fitted spectra of chosen pixels, `(n, 4, n_used)` each, in units of the continuum.

    Args:
        ready: what `prepare` returned for the same cube and options.
        maps: what `invert` returned.
        pixels: `(y, x)` of each.
    """
    nx = ready.cube.map_shape[1]
    observed = np.concatenate([ready.spectra(y * nx + x, y * nx + x + 1) for y, x in pixels])
    y, x = np.array(pixels).T
    forward, parameters = ready.problem.forward, {name: values[y, x] for name, values in maps.parameters.items()}
    if maps.depth is not None:
        from jaxinv.pipelines.stratified import in_nodes

        parameters = in_nodes(forward, parameters)
    parameters = {name: jnp.asarray(values) for name, values in parameters.items() if name in forward.units}
    return observed, np.asarray(jax.lax.map(forward, parameters))
