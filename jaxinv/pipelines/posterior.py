"""Posteriors of a map of Stokes spectra: calibrate, fit and sample piece by piece, summarize, resume."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from jaxinv.compute.batch import filled
from jaxinv.compute.pieces import Pieces, join, n_done, remaining
from jaxinv.observation import Observation, StokesCube
from jaxinv.optimize import LevenbergMarquardt, fit
from jaxinv.pipelines.config import SampleConfig
from jaxinv.pipelines.preparation import Preparation, matching, prepare, provenance
from jaxinv.results.calibration import CalibrationReport
from jaxinv.results.posterior import Posterior, PosteriorMap, PosteriorStatus
from jaxinv.sampling import HMC, NUTS, SVI, Importance, Laplace, calibrate, draw, predict
from jaxinv.sampling.methods import Method
from jaxinv.sampling.runs import Advance
from jaxinv.sampling.sampler import advance_of, bytes_per_object, default_group, progress_bar

Keep = Callable[[int, int, dict[str, np.ndarray]], None]
"""Takes the draws `(stop - start, n_chains, n_draws)` of pixels `start` to `stop`, by parameter."""

_MAPS = ("median", "lower", "upper", "r_hat", "ess", "scalars")
_GROUPS = 8
"""Compiled programs' worth of pixels in a piece: what a resumed run loses at most."""


def method_of(config: SampleConfig) -> Method:
    """The sampler that the options describe."""
    if config.method in ("nuts", "hmc"):
        return (NUTS if config.method == "nuts" else HMC)(
            n_chains=config.chains,
            n_warmup=config.warmup,
            n_draws=config.draws,
            target_accept=config.target_accept,
            max_doublings=config.max_doublings,
        )
    n_draws = 4 * config.draws
    if config.method == "importance":
        return Importance(Laplace(n_draws=n_draws))
    return (Laplace if config.method == "laplace" else SVI)(n_draws=n_draws)


def sample_maps(
    cube: StokesCube,
    config: SampleConfig | None = None,
    *,
    psf: tuple[np.ndarray, np.ndarray] | None = None,
    wavelength_offset: np.ndarray | None = None,
    pieces: Pieces | None = None,
    keep: Keep | None = None,
    progress: bool = True,
) -> PosteriorMap:
    """Medians, 16 % and 84 % quantiles and diagnostics of the posterior of every pixel.

    Args:
        cube: from `jaxinv.io.read_stokes` or `jaxinv.io.stokes_cube`.
        config: the options; the defaults where `None`.
        psf: `(offset [angstrom], transmission)` of the spectral profile, in place of `config.psf_fwhm`.
        wavelength_offset: `(ny, nx)` shift of each pixel's spectrum towards the red [angstrom].
        pieces: keeps the summaries of what is finished; pixels that it holds already are not sampled again.
        keep: takes each piece's draws, every `config.thin`-th one, before its summaries are kept.
        progress: show a bar with draws per second, divergences so far and the time left.

    Raises:
        ValueError, UnknownLineError: as `prepare`; before anything is compiled.
    """
    config = config or SampleConfig()
    if wavelength_offset is not None:
        wavelength_offset = matching(wavelength_offset, cube, config.region)
    ready = prepare(cube, config, psf=psf)
    method = method_of(config)
    pieces = {} if pieces is None else pieces
    n_pixels = ready.cube.n_pixels
    size = min(config.chunk_size or _chunk_size(ready, method, config.memory), n_pixels)
    with progress_bar(n_pixels, progress, n_done(pieces, n_pixels)) as bar:
        advance = advance_of(bar)
        for start, stop in remaining(pieces, n_pixels, size):
            fixed = {} if wavelength_offset is None else {"wavelength_offset": wavelength_offset[start:stop]}
            posterior = _sample_piece(ready, method, config, start, stop, size, fixed, advance)
            if keep is not None:
                keep(
                    start, stop, {name: x[:, :, config.thin - 1 :: config.thin] for name, x in posterior.draws.items()}
                )
            pieces[start, stop] = _summary(posterior)
    return _joined(ready, config, join(pieces, n_pixels, {"status": PosteriorStatus.NOT_COMPUTED}))


def posterior_predictive(
    ready: Preparation, config: SampleConfig, pixel: tuple[int, int], *, n: int = 200
) -> tuple[np.ndarray, np.ndarray, Posterior]:
    """One pixel's spectra `(4, n_used)`, replicated spectra `(n, 4, n_used)`, and its posterior.

    Args:
        ready: what `prepare` returned.
        config: the options.
        pixel: `(y, x)`.
        n: replicated spectra.
    """
    index = pixel[0] * ready.cube.map_shape[1] + pixel[1]
    spectra = ready.spectra(index, index + 1)
    key = jax.random.key(config.seed)
    data = Observation(spectra, ids=np.array([index]))
    posterior = draw(ready.problem, data, key=key, method=method_of(config))
    return spectra[0], predict(ready.problem, data, posterior, key=key, n=n)[0], posterior


def calibrate_observation(
    ready: Preparation, config: SampleConfig, n: int, *, pieces: Pieces | None = None, progress: bool = True
) -> CalibrationReport:
    """Simulation-based calibration on the problem of an observation: its lines, wavelengths, noise and prior.

    Args:
        ready: what `prepare` returned.
        config: the options; `bounds` narrow the prior, and with it the population that is simulated.
        n: simulated pixels.
        pieces: keeps what is finished.
        progress: show a bar.
    """
    key = jax.random.key(config.seed)
    return calibrate(ready.problem, method_of(config), n, key=key, pieces=pieces, progress=progress)


def _chunk_size(ready: Preparation, method: Method, memory: float) -> int:
    fits = int(memory * 2**30 / bytes_per_object(ready.problem, method))
    return int(np.clip(fits, 1, _GROUPS * default_group(method) * len(jax.devices())))


def _sample_piece(
    ready: Preparation,
    method: Method,
    config: SampleConfig,
    start: int,
    stop: int,
    size: int,
    fixed: Mapping[str, np.ndarray],
    advance: Advance,
) -> Posterior:
    solver = LevenbergMarquardt(max_iterations=config.max_iterations, n_starts=config.starts)
    data, fixed = filled((Observation(ready.spectra(start, stop), ids=np.arange(start, stop)), dict(fixed)), size)
    modes = fit(ready.problem, data, fixed=fixed, solver=solver, seed=config.seed)
    key = jax.random.key(config.seed)
    found = draw(ready.problem, data, key=key, method=method, fixed=fixed, initial=modes, advance=advance)
    return found.each(lambda x: x[: stop - start])


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


def _joined(ready: Preparation, config: SampleConfig, flat: dict[str, np.ndarray]) -> PosteriorMap:
    arrays: dict[str, Any] = {name: values.reshape(ready.cube.map_shape) for name, values in flat.items()}

    def named(group: str) -> dict[str, np.ndarray]:
        return {name.split("/")[1]: value for name, value in arrays.items() if name.startswith(f"{group}/")}

    units = ready.problem.forward.units
    maps = {group: named(group) for group in _MAPS}
    return PosteriorMap(
        **maps,
        status=arrays["status"],
        units={name: units[name] for name in maps["median"]},
        header=ready.cube.header,
        provenance=provenance(ready, config),
    )
