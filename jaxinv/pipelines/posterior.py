"""Posteriors of a map of Stokes spectra: calibrate, fit and sample piece by piece, summarize, resume."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar

import jax
import numpy as np

from jaxinv import priors
from jaxinv.compute.batch import in_rows
from jaxinv.compute.progress import Advance
from jaxinv.compute.run import Run, Work
from jaxinv.compute.store import Store
from jaxinv.compute.workers import Workers
from jaxinv.observation import StokesCube
from jaxinv.optimize import LevenbergMarquardt
from jaxinv.pipelines.config import SampleConfig
from jaxinv.pipelines.density import TrainedDensity, density_for
from jaxinv.pipelines.inversion import FitPixels
from jaxinv.pipelines.options import OptionError
from jaxinv.pipelines.preparation import Preparation, info, prepare
from jaxinv.pipelines.stratified import FitCycles, cycles, nodes_of, with_depth
from jaxinv.problem import Problem
from jaxinv.results.posterior import Posterior, PosteriorMap, PosteriorStatus
from jaxinv.results.product import product_of
from jaxinv.sampling import HMC, NUTS, SVI, Auto, Importance, Laplace, draw, predict
from jaxinv.sampling.approximations import Approximation
from jaxinv.sampling.calibration import CalibrationRun
from jaxinv.sampling.methods import Method
from jaxinv.sampling.runs import default_group
from jaxinv.sampling.sampler import bytes_per_object
from jaxinv.spectra.lte.nodes import Nodes

_GROUPS = 64
"""Compiled programs' worth of pixels in a piece: what a resumed run loses at most."""


def method_of(config: SampleConfig, density: TrainedDensity | None = None) -> Method | Auto:
    """The sampler that the options describe.

    Args:
        config: the options.
        density: what `auto` tries after the normal approximation.
    """
    chains: dict[str, Any] = {
        "n_chains": config.chains,
        "n_warmup": config.warmup,
        "n_draws": config.draws,
        "target_accept": config.target_accept,
        "max_doublings": config.max_doublings,
        "r_hat": config.r_hat,
        "ess": config.ess,
    }
    if config.method == "nuts":
        return NUTS(**chains, max_tree_depth=config.max_tree_depth)
    hmc = HMC(**chains, max_steps=config.max_steps)
    if config.method == "hmc":
        return hmc
    if config.method == "auto":
        bases: list[Approximation] = [Laplace(degrees=config.degrees)]
        if density is not None:
            bases.append(density.flow)
        bases = [dataclasses.replace(base, n_draws=config.chains * config.draws) for base in bases]
        return Auto(*(Importance(base, config.proposals) for base in bases), hmc)
    n_draws = 4 * config.draws
    svi = SVI(
        n_draws=n_draws,
        n_steps=config.svi_steps,
        n_particles=config.svi_particles,
        learning_rate=config.svi_learning_rate,
    )
    if config.method == "svi":
        return svi
    if config.method == "laplace":
        return Laplace(n_draws=n_draws)
    base = svi if config.base == "svi" else Laplace(n_draws=n_draws, degrees=config.degrees)
    return Importance(base, config.proposals)


def sample_maps(
    cube: StokesCube | Preparation,
    config: SampleConfig | None = None,
    *,
    psf: tuple[np.ndarray, np.ndarray] | None = None,
    wavelength_offset: np.ndarray | None = None,
    store: Store | None = None,
    workers: Workers | None = None,
    progress: bool = True,
) -> PosteriorMap:
    """Medians, 16 % and 84 % quantiles and diagnostics of the posterior of every pixel.

    Args:
        cube: from `jaxinv.io.read_stokes` or `jaxinv.io.stokes_cube`; or what `prepare` made of one, with which the
            next three go.
        config: the options; the defaults where `None`.
        psf: `(offset [angstrom], transmission)` of the spectral profile, in place of `config.psf_fwhm`.
        wavelength_offset: `(ny, nx)` shift of each pixel's spectrum towards the red [angstrom].
        store: keeps what is finished (`PosteriorRun(...).store(path)`); pixels that it holds are not sampled again.
        workers: who does it, `Workers(2)` or `Workers(scheduler=...)`; this process where `None`.
        progress: show a bar with draws per second, divergences so far and the time left.

    Raises:
        ValueError, UnknownLineError: as `prepare`; before anything is compiled.
    """
    if not isinstance(cube, Preparation):
        cube = prepare(cube, config or SampleConfig(), psf=psf, wavelength_offset=wavelength_offset)
    return PosteriorRun(cube).into(store, workers=workers, progress=progress)


class PosteriorRun(Run[PosteriorMap]):
    """The posteriors of a map.

    Args:
        ready: the observation, prepared with a `SampleConfig`.
        density: a trained density that `auto` tries after the normal approximation; by default the one that comes with
            the package for these lines, if there is one.
        keep_draws: the store gets every `config.thin`-th draw, too: arrays `posterior/...` with the axes chain, draw.

    Attributes:
        ready: the observation.
        config: its options.
        method: the sampler.
        density: the trained density that it tries, or `None`.

    Raises:
        FolderError: the density is one of other parameters than are inferred.
    """

    label = "sampling"
    missing: ClassVar = {"status": PosteriorStatus.NOT_COMPUTED}

    def __init__(self, ready: Preparation, density: TrainedDensity | None = None, *, keep_draws: bool = False) -> None:
        assert isinstance(ready.config, SampleConfig)
        self.ready, self.config, self._keep = ready, ready.config, keep_draws
        self.density = _density(ready, density)
        self.method = method_of(ready.config, self.density)
        self.nodes = nodes_of(ready.problem.forward) if ready.config.model == "lte" else None
        units = ready.problem.forward.units.items()
        groups = ("median", "lower", "upper", "posterior")
        self.units = {f"{group}/{name}": unit for group in groups for name, unit in units}
        self.axes: dict[str, tuple[str, ...]] = {"posterior": ("chain", "draw")}
        if self.nodes is not None:
            several = [name for name, at in self.nodes.positions if len(at) > 1]
            self.axes |= {f"posterior/{name}": ("chain", "draw", f"{name}_node") for name in several}
            deep = [f"{group}/{name}" for group in groups[:3] for name in with_depth(self.nodes)]
            self.axes |= dict.fromkeys(deep, ("log_tau",))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.ready.cube.map_shape

    @property
    def size(self) -> int:
        if self.config.chunk_size:
            return self.config.chunk_size
        fits = int(self.config.memory * 2**30 / bytes_per_object(self.ready.problem, self.method))
        group = default_group(self.method, math.prod(self.ready.problem.prediction_shape()))
        return int(np.clip(fits, 1, _GROUPS * group * len(jax.devices())))

    def read(self, start: int, stop: int) -> Any:
        pixels = np.arange(start, stop)
        return self.ready.observed(pixels), self.ready.known(pixels)

    def work(self) -> Work:
        thin = self.config.thin if self._keep else 0
        return SamplePixels(self.ready.problem, self.method, _modes(self.ready), self.config.seed, thin, self.nodes)

    def info(self) -> dict[str, Any]:
        circles = priors.circles(self.ready.problem.prior).items()
        periods = {name: [float(low), float(period)] for name, (low, period) in circles if not np.shape(low)}
        made = info("posterior", self.ready, periods=periods)
        if self.nodes is not None:
            made["depth"] = self.nodes.log_tau.tolist()
        if self.density is not None:
            made["provenance"]["density"] = self.density.origin
        return made

    def result(self, store: Store) -> PosteriorMap:
        draws = {name.split("/")[1]: store.lazy(name) for name in store.names("posterior")}
        return product_of(store.arrays(without="posterior"), store.attributes["product"], draws=draws)


@dataclasses.dataclass(frozen=True)
class SamplePixels:
    """Samples the posteriors of the pixels of a piece.

    Attributes:
        problem: of each pixel.
        method: the sampler.
        modes: what finds where to begin.
        seed: of the draws.
        thin: how often a draw is kept; 0: never.
        nodes: of a stratified atmosphere, of which the summaries are at every depth.
    """

    problem: Problem
    method: Method | Auto
    modes: FitPixels | FitCycles
    seed: int
    thin: int
    nodes: Nodes | None = None

    def __call__(self, inputs: Any, advance: Advance) -> dict[str, np.ndarray]:
        rows = in_rows(self.problem, *inputs)
        modes = self.modes.solve(inputs)
        key = jax.random.key(self.seed)
        posterior = draw(self.problem, rows, key=key, method=self.method, initial=modes, advance=advance)
        kept = {}
        if self.thin:
            kept = {f"posterior/{name}": x[:, :, self.thin - 1 :: self.thin] for name, x in posterior.draws.items()}
        return {**(_summary(posterior) if self.nodes is None else _deep_summary(posterior, self.nodes)), **kept}


def posterior_predictive(
    ready: Preparation, pixel: tuple[int, int], *, n: int = 200
) -> tuple[np.ndarray, np.ndarray, Posterior]:
    """One pixel's spectra `(4, n_used)`, replicated spectra `(n, 4, n_used)`, and its posterior.

    Args:
        ready: what `prepare` returned for a `SampleConfig`.
        pixel: `(y, x)`.
        n: replicated spectra.
    """
    index = pixel[0] * ready.cube.map_shape[1] + pixel[1]
    config, data = ready.config, ready.observed(np.array([index]))
    assert isinstance(config, SampleConfig)
    key = jax.random.key(config.seed)
    method, modes = method_of(config, _density(ready, None)), _modes(ready).solve((data, {}))
    posterior = draw(ready.problem, data, key=key, method=method, initial=modes)
    return data.values[0], predict(ready.problem, data, posterior, key=key, n=n)[0], posterior


def plan_calibration(ready: Preparation, n: int, density: TrainedDensity | None = None) -> CalibrationRun:
    """Simulation-based calibration on the problem of an observation: its lines, wavelengths, noise and prior.

    Args:
        ready: what `prepare` returned for a `SampleConfig`; its `bounds` narrow the prior, and with it the population
            that is simulated.
        n: simulated pixels.
        density: as for `PosteriorRun`.

    Raises:
        OptionError: the model is "lte".
    """
    assert isinstance(ready.config, SampleConfig)
    if ready.config.model == "lte":  # whose modes are found in cycles
        raise OptionError("the option 'model' takes milne-eddington where posteriors are calibrated; found lte")
    method = method_of(ready.config, _density(ready, density))
    return CalibrationRun(ready.problem, method, n, key=jax.random.key(ready.config.seed))


def _density(ready: Preparation, given: TrainedDensity | None) -> TrainedDensity | None:
    """The density that `auto` tries."""
    if ready.config.method != "auto":
        return None
    if given is not None:
        given.check(ready.problem)
        return given
    return density_for(ready) if ready.config.model != "lte" else None


def _modes(ready: Preparation) -> FitPixels | FitCycles:
    """What finds where to begin."""
    config = ready.config
    solver = LevenbergMarquardt(max_iterations=config.max_iterations, n_starts=config.starts)
    if config.model == "lte":
        return FitCycles(cycles(ready), solver, config.seed)
    return FitPixels(ready.problem, solver, config.seed)


def _deep_summary(posterior: Posterior, nodes: Nodes) -> dict[str, np.ndarray]:
    """As `_summary`, of the stratifications that draws of values at nodes are."""
    one = (-1,) * (np.ndim(posterior.status) > 0)
    deep = [name for name, at in nodes.positions if name in with_depth(nodes) and name in posterior.draws]
    draws, periods = dict(posterior.draws), dict(posterior.periods)
    for name in deep:
        values = draws[name] if len(dict(nodes.positions)[name]) > 1 else draws[name][..., None]
        draws[name] = np.asarray(nodes.between(name, values))
        if name in periods:
            low, period = periods[name]
            periods[name] = (float(np.ravel(low)[0]), float(np.ravel(period)[0]))
    found = _summary(dataclasses.replace(posterior, draws=draws, periods=periods))
    for name in deep:
        for group, worst in (("r_hat", np.max), ("ess", np.min)):
            values = found[f"{group}/{name}"]
            found[f"{group}/{name}"] = worst(values.reshape(*posterior.status.shape, *one), -1)
    return found


def _summary(posterior: Posterior) -> dict[str, np.ndarray]:
    """A piece as flat named arrays, for a store."""
    maps = {
        "median": posterior.median(),
        "lower": posterior.quantile(0.16),
        "upper": posterior.quantile(0.84),
        "r_hat": posterior.r_hat,
        "ess": {name: np.minimum(x, posterior.ess_tail[name]) for name, x in posterior.ess_bulk.items()},
        "scalars": posterior.scalars,
    }
    flat = {f"{part}/{name}": x for part, values in maps.items() for name, x in values.items()}
    return {**flat, "status": posterior.status}
