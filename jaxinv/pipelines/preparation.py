"""An observation made ready: lines and samples chosen, continuum, noise, wavelengths measured, the problem stated."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpyro.distributions as dist

from jaxinv.forward import Forward, Parameter
from jaxinv.noise import Gaussian
from jaxinv.observation import Observation, StokesCube
from jaxinv.pipelines.config import InvertConfig
from jaxinv.pipelines.measurement import TELLURIC, Measurement, measure
from jaxinv.pipelines.options import check_known
from jaxinv.priors import Smooth
from jaxinv.problem import Problem
from jaxinv.results.product import options_text, plain
from jaxinv.spectra.constants import SPEED_OF_LIGHT
from jaxinv.spectra.instrument import Macroturbulence, SpectralPSF
from jaxinv.spectra.line import Line
from jaxinv.spectra.line_table import LINES
from jaxinv.spectra.lines import find_lines
from jaxinv.spectra.lte.nodes import Nodes, stratified_prior
from jaxinv.spectra.lte.synthesis import LTE
from jaxinv.spectra.milne_eddington import MilneEddington, milne_eddington_prior
from jaxinv.spectra.scene import StrayLight

_COARSE = 4e-6
"""Spacing of a stratified model's wavelengths in front of a spectral profile, relative to the wavelength: an error
below 1e-4 of the continuum in most spectra, 1e-3 at worst (`SpectralPSF`), for half the time."""
_NOISELESS = 1e-6
"""Noise, in units of the continuum, below which it is that of computing: it would take 1e12 photons."""


class Preparation(NamedTuple):
    """An inversion ready to run.

    Attributes:
        cube: the observation, or the part of it that `region` names.
        problem: forward model, noise and prior, in units of the continuum.
        lines: the lines of the forward model.
        used: `(n_wavelength,)`, the samples that take part.
        shift: what was added to the file's wavelengths [angstrom].
        measured: what was measured.
        sigma: `(4,)` noise in units of the continuum, weights included.
        config: the options.
        psf: `(offset [angstrom], transmission)` of the spectral profile, where it is a table.
        offset: `(n_pixels,)` shift of each pixel's spectrum towards the red [angstrom], if it is known.
        atmosphere: the stratification that the temperature is inferred relative to, where it is not a standard model.
    """

    cube: StokesCube
    problem: Problem
    lines: tuple[Line, ...]
    used: np.ndarray
    shift: float
    measured: Measurement
    sigma: np.ndarray
    config: InvertConfig
    psf: tuple[np.ndarray, np.ndarray] | None = None
    offset: np.ndarray | None = None
    atmosphere: Mapping[str, Any] | None = None

    def coarser(self, cycle: int) -> Problem:
        """The problem of an earlier cycle, with fewer nodes."""
        forward, prior = stated(
            self.config, self.lines, self.wavelength, self.measured.profile, self.psf, self.atmosphere, cycle
        )
        return Problem(forward, self.problem.noise, prior)

    @property
    def wavelength(self) -> np.ndarray:
        """`(n_used,)` calibrated wavelengths of the samples that take part [angstrom]."""
        return self.cube.wavelength[self.used] + self.shift

    def spectra(self, start: int, stop: int) -> np.ndarray:
        """Pixels `start` to `stop` in units of the continuum, `(n, 4, n_used)`, NaN where a sample is missing."""
        values = self.cube.pixels(start, stop)[..., self.used] / np.float32(self.measured.continuum)
        if self.cube.mask is not None:
            mask = np.broadcast_to(self.cube.mask, self.cube.values.shape)
            nx = self.cube.map_shape[1]
            y, x = np.divmod(np.arange(start, stop), nx)
            values = np.where(mask[y, x][..., self.used], values, np.nan)
        brightest = np.max(np.nan_to_num(values[:, 0], nan=-np.inf), axis=-1, initial=-np.inf)
        values[~(brightest > 0)] = np.nan  # a dead pixel
        return values

    def observed(self, pixels: np.ndarray) -> Observation:
        """Any pixels in increasing order, `(n, 4, n_used)`; runs of neighbours are read together."""
        runs = np.split(pixels, np.flatnonzero(np.diff(pixels) != 1) + 1)
        return Observation(np.concatenate([self.spectra(int(r[0]), int(r[-1]) + 1) for r in runs]), ids=pixels)

    def known(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """What is known of each of these pixels."""
        return {} if self.offset is None else {"wavelength_offset": self.offset[pixels]}


def prepare(
    cube: StokesCube,
    config: InvertConfig | None = None,
    *,
    psf: tuple[np.ndarray, np.ndarray] | None = None,
    wavelength_offset: np.ndarray | None = None,
    atmosphere: Mapping[str, Any] | None = None,
    lines: Sequence[Line] | None = None,
) -> Preparation:
    """Choose lines and samples, measure continuum, noise and wavelength shift, and state the problem.

    Args:
        cube: the observation.
        config: the options; the defaults where `None`.
        psf: `(offset [angstrom], transmission)` of the spectral profile, in place of `config.psf_fwhm`.
        wavelength_offset: `(ny, nx)` shift of each pixel's spectrum towards the red [angstrom], e.g. a cavity map.
        atmosphere: a stratification as `spectra.Nodes` takes it, in place of the standard model `config.atmosphere`.
        lines: in place of `config.lines`, with numbers of your own.

    Raises:
        ValueError, UnknownLineError: what the options ask for does not fit the data; says which and why.
    """
    config = config or InvertConfig()
    offset = None if wavelength_offset is None else _matching(wavelength_offset, cube, config.region)
    cube = cut(cube, config.region)
    used = _used(cube.wavelength, config)
    if lines is None:
        lines = find_lines(config.lines) if config.lines else _covered(cube.wavelength[used])
    lines = tuple(lines)
    _check_cover(lines, cube.wavelength[used])
    measured = measure(cube, lines, used, config.continuum)
    shift = _shift(measured, lines, config)
    wavelength = cube.wavelength[used] + shift
    sigma = _sigma(measured, config)
    forward, prior = stated(config, lines, wavelength, measured.profile, psf, atmosphere)
    problem = Problem(forward, Gaussian(sigma[:, None]), prior)
    return Preparation(cube, problem, lines, used, shift, measured, sigma, config, psf, offset, atmosphere)


def cut(cube: StokesCube, region: tuple[int, ...]) -> StokesCube:
    """The part `x0, x1, y0, y1` of a map, in its place on the sky; all of it where `region` is empty."""
    if not region:
        return cube
    x0, x1, y0, y1 = region
    ny, nx = cube.map_shape
    if not (0 <= x0 < x1 <= nx and 0 <= y0 < y1 <= ny):
        raise ValueError(f"the region x {x0}:{x1}, y {y0}:{y1} does not lie in the map, which has x 0:{nx}, y 0:{ny}")
    mask = cube.mask
    if mask is not None:
        mask = np.broadcast_to(mask, cube.values.shape)[y0:y1, x0:x1]
    header = dict(cube.header)
    for axis, start in ((1, x0), (2, y0)):
        if f"CRPIX{axis}" in header:
            header[f"CRPIX{axis}"] = header[f"CRPIX{axis}"] - start
    # Through a slice of rows, which is all that a lazy array offers.
    values = np.asarray(cube.values[y0:y1])[:, x0:x1]
    return dataclasses.replace(cube, values=values, mask=mask, header=header)


def _matching(offset: np.ndarray, cube: StokesCube, region: tuple[int, ...]) -> np.ndarray:
    """Wavelength offsets `(ny, nx)` as one number for each pixel that takes part."""
    offset = np.asarray(offset, np.float32)
    if offset.shape != cube.map_shape:
        raise ValueError(f"the wavelength offsets have the shape {offset.shape}; the map has {cube.map_shape} (y, x)")
    if region:
        offset = offset[region[2] : region[3], region[0] : region[1]]
    return offset.ravel()


def _used(wavelength: np.ndarray, config: InvertConfig) -> np.ndarray:
    low, high = config.wavelength_range or (-np.inf, np.inf)
    used = (wavelength >= low) & (wavelength <= high)
    for start, end in (*config.exclude, *(TELLURIC if config.telluric else ())):
        used &= ~((wavelength >= start) & (wavelength <= end))
    if used.sum() < 3:
        raise ValueError(
            f"the wavelength range and exclusions leave {used.sum()} of {len(wavelength)} samples, which run from "
            f"{wavelength[0]:.3f} to {wavelength[-1]:.3f} angstrom: widen the range"
        )
    return used


def _covered(wavelength: np.ndarray) -> tuple[Line, ...]:
    lines = tuple(
        line
        for line in LINES
        if line.wavelength * 1e-5 < min(line.wavelength - wavelength[0], wavelength[-1] - line.wavelength)
        and np.min(np.abs(wavelength - line.wavelength)) < 5e-5 * line.wavelength
    )
    if not lines:
        raise ValueError(
            f"no known line lies between {wavelength[0]:.3f} and {wavelength[-1]:.3f} angstrom: name the lines "
            "(`jaxinv lines` lists them), or check the unit of the wavelengths"
        )
    return lines


def _check_cover(lines: tuple[Line, ...], wavelength: np.ndarray) -> None:
    for line in lines:
        if np.min(np.abs(wavelength - line.wavelength)) > 1e-4 * line.wavelength:
            raise ValueError(
                f"the data run from {wavelength[0]:.3f} to {wavelength[-1]:.3f} angstrom and do not cover "
                f"{line.name} at {line.wavelength:.3f}: choose other lines, or check the unit of the wavelengths"
            )


def _shift(measured: Measurement, lines: tuple[Line, ...], config: InvertConfig) -> float:
    if config.wavelength_shift is not None:
        return config.wavelength_shift
    found = np.isfinite(measured.shift)
    if not measured.weak[0]:
        warnings.warn(
            f"all of {measured.weak[1]} pixels looked at are strongly polarized, and a strong field "
            "displaces a line's core: the wavelengths are used as they are; give `wavelength_shift`",
            stacklevel=3,
        )
        return 0.0
    if not found.any():
        warnings.warn("no line core was found to calibrate the wavelengths: they are used as they are", stacklevel=3)
        return 0.0
    centres = np.array([line.wavelength for line in lines])
    apart = np.ptp(measured.shift[found] / centres[found]) * SPEED_OF_LIGHT
    if apart > 2.0:
        warnings.warn(
            f"the mean line cores disagree by {apart:.1f} km/s about the zero of velocity (strong fields that split a "
            "line, a wrong line or step): the wavelengths are used as they are; give `wavelength_shift`",
            stacklevel=3,
        )
        return 0.0
    return -float(np.mean(measured.shift[found]))


def _sigma(measured: Measurement, config: InvertConfig) -> np.ndarray:
    if config.sigma:
        sigma = np.broadcast_to(np.array(config.sigma, float), (4,))
    else:
        sigma = measured.sigma.copy()
        sigma[0] = np.hypot(sigma[0], config.model_error)
        if not np.all(sigma > _NOISELESS):
            found = " ".join(f"{value:.2g}" for value in measured.sigma)
            raise ValueError(
                f"the noise measured in the continuum is {found} of it in I, Q, U, V, less than any detector's "
                "(are the spectra computed?): give `sigma`, the noise to fit them to, e.g. 1e-3"
            )
    with np.errstate(divide="ignore"):
        return sigma / np.array(config.weights)


def stated(
    config: InvertConfig,
    lines: tuple[Line, ...],
    wavelength: np.ndarray,
    profile: np.ndarray | None = None,
    psf: tuple[np.ndarray, np.ndarray] | None = None,
    atmosphere: Mapping[str, Any] | None = None,
    cycle: int = -1,
) -> tuple[Forward, dict[str, Any]]:
    """The atmosphere and what happens to its light, and the prior that the options ask for.

    Args:
        config: the options.
        lines: of the forward model.
        wavelength: `(n_wavelength,)` [angstrom].
        profile: of the stray light, if there is any.
        psf: `(offset [angstrom], transmission)` of the spectral profile, in place of `config.psf_fwhm`.
        atmosphere: in place of the standard model that the options name.
        cycle: whose nodes; the last one's.
    """
    stage, grid, extra = None, wavelength, {}
    stratified = config.model == "lte"
    spacing = _COARSE * float(np.mean(wavelength)) if stratified else None
    if psf is not None:
        stage = SpectralPSF.tabulated(wavelength, *psf, spacing=spacing)
    elif config.psf_fwhm is not None:
        stage = SpectralPSF.gaussian(wavelength, config.psf_fwhm, spacing=spacing)
    if stage is not None:
        grid = np.asarray(stage.model_wavelength)
    model = _nodes(config, lines, grid, atmosphere, cycle) if stratified else _milne_eddington(config, lines, grid)
    forward: Forward = model
    if config.macroturbulence:
        forward = forward >> Macroturbulence(grid)
        extra["macroturbulence"] = dist.Uniform(0.0, 5.0)
    if stage is not None:
        forward = forward >> stage
    if config.stray_light:
        forward = forward >> StrayLight(profile)
        extra["filling_factor"] = dist.Uniform(0.0, 1.0)
    if isinstance(model, Nodes):
        prior = stratified_prior(model, **extra)
    else:
        prior = milne_eddington_prior(wavelength=float(np.mean(wavelength)), **extra)
    for name, ends in plain_options(forward, "bounds", config.bounds).items():
        entry, flat = prior.get(name), dist.Uniform(*ends)
        if isinstance(entry, Smooth):
            prior[name] = Smooth(*ends, entry.step, entry.trend)
        else:
            shape = forward.shapes.get(name, ())
            prior[name] = flat.expand(shape).to_event(1) if shape else flat
    return forward, prior | plain_options(forward, "fixed", config.fixed)


def _milne_eddington(config: InvertConfig, lines: tuple[Line, ...], grid: np.ndarray) -> MilneEddington:
    return MilneEddington(
        lines,
        grid,
        mu=config.mu,
        relative_strengths=config.relative_strengths or None,
        effective_triplet=config.effective_triplet,
    )


def _nodes(
    config: InvertConfig, lines: tuple[Line, ...], grid: np.ndarray, atmosphere: Mapping[str, Any] | None, cycle: int
) -> Nodes:
    """A stratified atmosphere; what is fixed is the same at all depths."""
    deepest, highest, n = config.log_tau
    model = LTE(
        lines,
        grid,
        np.linspace(deepest, highest, int(n)),
        mu=config.mu,
        composition=config.abundances,
        hydrostatic=True,
        local_continuum=True,
    )
    known = [name for name, parameter in model.parameters.items() if parameter.shape]
    check_known(config.nodes, known, "nodes: ")
    counts = {name: config.nodes.get(name, (1,)) for name in known}
    counts |= dict.fromkeys(set(config.fixed) & set(known), (1,))
    each = {name: given[min(cycle, len(given) - 1) if cycle >= 0 else -1] for name, given in counts.items()}
    return Nodes(model, each, config.atmosphere if atmosphere is None else atmosphere)


def n_cycles(config: InvertConfig) -> int:
    """How often a stratification is fitted, with more nodes each time."""
    return max((len(counts) for counts in config.nodes.values()), default=1) if config.model == "lte" else 1


def plain_options(forward: Forward, option: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Values of parameters as options state them, angles in degrees, in the model's units.

    Raises:
        ValueError: a value lies outside the range that has a meaning; says which.
    """
    out = {}
    for name, value in given.items():
        declared = forward.parameters.get(name, Parameter())
        degrees, low, high = declared.unit == "rad", declared.lowest, declared.highest
        numbers = np.radians(value) if degrees else np.asarray(value, float)
        if np.any(numbers < low - 1e-9) or np.any(numbers > high + 1e-9):
            shown = [np.degrees(x) if degrees else x for x in (low, high)]
            unit = " degrees" if degrees else f" {declared.unit}".rstrip()
            said = ":".join(f"{x:g}" for x in np.atleast_1d(value))
            raise ValueError(
                f"the option {option!r} gives {name} the value {said}; it lies from {shown[0]:g} to {shown[1]:g}{unit}"
            )
        numbers = np.clip(numbers, low, high)
        out[name] = float(numbers) if numbers.ndim == 0 else tuple(map(float, numbers))
    return out


def info(kind: str, ready: Preparation, **more: Any) -> dict[str, Any]:
    """Of the product that comes of an observation: see `jaxinv.results.product.Product.info`."""
    profile = ready.psf
    return {
        "kind": kind,
        "units": dict(ready.problem.forward.units),
        "header": {key: plain(value) for key, value in ready.cube.header.items()},
        "provenance": provenance(ready),
        "profile": None if profile is None else np.stack(profile).tolist(),
        **more,
    }


def provenance(ready: Preparation) -> dict[str, str]:
    """How a result was made: version, lines, what was measured, options."""
    from jaxinv import __version__

    measured, lines = ready.measured, ready.lines
    velocity = measured.shift / np.array([line.wavelength for line in lines]) * SPEED_OF_LIGHT
    return {
        "version": __version__,
        "lines": ", ".join(line.name for line in lines),
        "continuum": f"{measured.continuum:.6g} {ready.cube.unit}".strip(),
        "sigma": " ".join(f"{value:.3g}" for value in ready.sigma),
        "sigma_measured": " ".join(f"{value:.3g}" for value in measured.sigma),
        "wavelength_shift": f"{ready.shift:.5f} Angstrom",
        "weakly_polarized": f"{measured.weak[0]} of {measured.weak[1]} pixels looked at, for the shift",
        "line_core_velocity": " ".join(f"{value:.3f}" for value in velocity) + " km/s before the shift",
        "options": options_text(dataclasses.asdict(ready.config)),
    }
