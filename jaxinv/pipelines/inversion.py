"""Invert a map of Stokes spectra with a Milne-Eddington atmosphere: prepare, fit piece by piece, save, resume."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from jaxinv.compute.batch import filled
from jaxinv.compute.pieces import Pieces, join, n_done, remaining
from jaxinv.observation import Observation, StokesCube
from jaxinv.optimize import LevenbergMarquardt, fit, labels_of
from jaxinv.pipelines.config import InvertConfig
from jaxinv.pipelines.misfits import enough, misfit_limit, one_start, reached
from jaxinv.pipelines.preparation import Preparation, matching, prepare, provenance
from jaxinv.results.solution import Solution, SolutionMap, Status

_PER_CPU, _PER_ACCELERATOR = 8192, 65536
"""Pixels fitted and saved together, for each device of its kind."""


def invert(
    cube: StokesCube,
    config: InvertConfig | None = None,
    *,
    psf: tuple[np.ndarray, np.ndarray] | None = None,
    wavelength_offset: np.ndarray | None = None,
    network: Any = None,
    pieces: Pieces | None = None,
    progress: bool = True,
) -> SolutionMap:
    """Maps of the magnetic field, the velocity and the line parameters, with errors, from a Stokes cube.

    Args:
        cube: from `jaxinv.io.read_stokes` or `jaxinv.io.stokes_cube`.
        config: the options; the defaults where `None`.
        psf: `(offset [angstrom], transmission)` of the spectral profile, in place of `config.psf_fwhm`.
        wavelength_offset: `(ny, nx)` shift of each pixel's spectrum towards the red [angstrom], e.g. a cavity map.
        network: from `load_network`, for the method "learned", adapted or not; the shipped one for the observation's
            lines and wavelengths where `None`.
        pieces: keeps what is finished; pixels that it holds already are not fitted again.
        progress: show a bar with the rate and the time left.

    Returns:
        Maps with the input's world coordinates; a pixel that fails is flagged in `status`.

    Raises:
        ValueError, UnknownLineError: as `prepare`; or the network was trained for another instrument.
    """
    config = config or InvertConfig()
    if wavelength_offset is not None:
        wavelength_offset = matching(wavelength_offset, cube, config.region)
    ready = prepare(cube, config, psf=psf)
    pieces = {} if pieces is None else pieces
    n_pixels = ready.cube.n_pixels
    size = min(config.chunk_size or _chunk_size(), n_pixels)
    solver = LevenbergMarquardt(max_iterations=config.max_iterations, n_starts=config.starts)
    learned = None
    if config.method == "learned":
        learned = _learned(ready, config, wavelength_offset, solver, psf, network, progress)
    todo = remaining(pieces, n_pixels, size)

    def fit_some(pixels: np.ndarray, solver: LevenbergMarquardt) -> Solution:
        fixed = {} if wavelength_offset is None else {"wavelength_offset": wavelength_offset[pixels]}
        return fit_pixels(ready, pixels, size, fixed, solver, config.seed)

    done = n_done(pieces, n_pixels)
    with tqdm(
        total=n_pixels, initial=done, unit="px", disable=not progress, desc="inverting", dynamic_ncols=True
    ) as bar:
        if learned is None and todo and config.starts > 1:
            chi2 = reached(n_pixels, size, lambda pixels: fit_some(pixels, one_start(solver)))
            solver = dataclasses.replace(solver, enough=enough(chi2))
        for start, stop in todo:
            if learned is not None:
                found = learned(start, stop, size)
                pieces[start, stop] = {**_arrays(found.solution), "route": found.route}
            else:
                pieces[start, stop] = _arrays(fit_some(np.arange(start, stop), solver))
            bar.update(stop - start)
    arrays = join(pieces, n_pixels, {"status": Status.NOT_COMPUTED})
    known = () if wavelength_offset is None else ("wavelength_offset",)
    solution, route = _solution(arrays, labels_of(ready.problem.given(known)), ready.cube.map_shape)
    if learned is not None:
        solution, route = learned.mended(solution, route)
    if learned is not None and wavelength_offset is None:
        solution.parameters.pop("wavelength_offset", None)  # the network's own
    limit = misfit_limit(solution)
    poor = (solution.status <= Status.AT_BOUND) & (solution.chi2 > limit)
    solution = dataclasses.replace(solution, status=np.where(poor, Status.POOR_FIT, solution.status).astype(np.int16))
    units = ready.problem.forward.units
    return SolutionMap(
        solution,
        units={name: units[name] for name in solution.parameters},
        header=ready.cube.header,
        provenance={**provenance(ready, config), "poor_fit_above": f"{limit:.4g} in CHI2", **_origin(learned)},
        route=route,
    )


def _learned(
    ready: Preparation, config: InvertConfig, offset: Any, solver: Any, psf: Any, network: Any, progress: bool
) -> Any:
    # Here, since it imports Flax.
    from jaxinv.pipelines.learned import LearnedInversion, shipped_for, steps_for

    learned = LearnedInversion(network or shipped_for(ready), ready, config, offset, solver, psf)
    steps = 0 if learned.learned.adapted else steps_for(config, ready.cube.n_pixels)
    return learned.adapted(steps, progress=progress) if steps else learned


def adapt_network(
    cube: StokesCube,
    config: InvertConfig,
    *,
    psf: tuple[np.ndarray, np.ndarray] | None = None,
    wavelength_offset: np.ndarray | None = None,
    network: Any = None,
    progress: bool = True,
) -> Any:
    """The network that `invert` would use, trained on with the map itself: to be given to `invert`, and to be kept.

    Arguments are those of `invert`. `config.adapt` says for how many steps; where that is 0, or by default on a small
    map, the network is returned as it is.
    """
    if wavelength_offset is not None:
        wavelength_offset = matching(wavelength_offset, cube, config.region)
    ready = prepare(cube, config, psf=psf)
    return _learned(ready, config, wavelength_offset, LevenbergMarquardt(), psf, network, progress).learned


def _origin(learned: Any) -> dict[str, str]:
    """What the provenance says of a network."""
    if learned is None:
        return {}
    found = learned.learned
    return {"network": f"{found.path}, {found.card['weights_sha256'][:16]}", "network_adapted": found.adapted or "no"}


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
    parameters = {name: jnp.asarray(values[y, x]) for name, values in maps.parameters.items()}
    return observed, np.asarray(jax.vmap(ready.problem.forward)(parameters))


def _chunk_size() -> int:
    return (_PER_CPU if jax.default_backend() == "cpu" else _PER_ACCELERATOR) * len(jax.devices())


def fit_pixels(
    ready: Preparation,
    pixels: np.ndarray,
    size: int,
    fixed: Mapping[str, np.ndarray],
    solver: LevenbergMarquardt,
    seed: int,
) -> Solution:
    """Fit some neighbouring pixels, or a sample of all; filled up to `size`, so that all run one compiled program."""
    data, fixed = filled((Observation(ready.some_spectra(pixels), ids=pixels), dict(fixed)), size)
    solution = fit(ready.problem, data, fixed=fixed, solver=solver, seed=seed)
    return solution.each(lambda array: array[: len(pixels)])


def _arrays(solution: Solution) -> dict[str, np.ndarray]:
    """A solution as flat named arrays, for a store."""
    return {
        **{f"parameters/{name}": value for name, value in solution.parameters.items()},
        **{f"standard_error/{name}": value for name, value in solution.standard_error.items()},
        **{name: getattr(solution, name) for name in ("covariance", "chi2", "iterations", "starts", "status")},
    }


def _solution(
    arrays: dict[str, np.ndarray], labels: tuple[str, ...], map_shape: tuple[int, int]
) -> tuple[Solution, np.ndarray | None]:
    arrays = {name: value.reshape(*map_shape, *value.shape[1:]) for name, value in arrays.items()}

    def named(group: str) -> dict[str, np.ndarray]:
        return {name.split("/")[1]: value for name, value in arrays.items() if name.startswith(f"{group}/")}

    solution = Solution(
        parameters=named("parameters"),
        standard_error=named("standard_error"),
        covariance=arrays["covariance"],
        labels=labels,
        chi2=arrays["chi2"],
        iterations=arrays["iterations"],
        starts=arrays["starts"],
        status=arrays["status"],
    )
    return solution, arrays.get("route")
