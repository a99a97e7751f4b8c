"""Stokes spectra of maps of parameters, as an instrument records them."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import numpy as np

from jaxinv.compute.devices import over_devices
from jaxinv.compute.groups import map_in_groups
from jaxinv.compute.progress import Advance
from jaxinv.compute.run import Run, Work
from jaxinv.compute.store import Store
from jaxinv.forward import Forward
from jaxinv.observation import StokesCube
from jaxinv.pipelines.config import SynthesizeConfig
from jaxinv.pipelines.preparation import plain_options
from jaxinv.spectra.instrument import SpectralPSF
from jaxinv.spectra.milne_eddington import MilneEddington

_TOGETHER, _IN_CACHE = 8192, 256
"""Pixels synthesized and saved together, for each device; and of these at the same time."""


def synthesize(
    parameters: Mapping[str, Any],
    config: SynthesizeConfig | None = None,
    *,
    wavelength: np.ndarray | None = None,
    psf: tuple[np.ndarray, np.ndarray] | None = None,
    header: Mapping[str, Any] | None = None,
    store: Store | None = None,
    progress: bool = False,
) -> StokesCube:
    """Milne-Eddington spectra of parameters that are maps `(ny, nx)` or numbers.

    Args:
        parameters: by name, in the units of `MilneEddington`; joined by `config.parameters` (angles in degrees).
        config: lines, wavelengths, instrument, noise; the defaults where `None`.
        wavelength: `(n_wavelength,)` in angstrom, in place of `config.wavelength`.
        psf: `(offset [angstrom], transmission)` of the spectral profile, in place of `config.psf_fwhm`.
        header: FITS cards of the spatial axes, for the cube.
        store: keeps what is finished (`plan_synthesis(...).store(path)`), on disk where the cube is large.
        progress: show a bar.

    Raises:
        ValueError, KeyError: a parameter is missing, unknown or not finite, or shapes do not fit; says which.
    """
    return plan_synthesis(parameters, config, wavelength=wavelength, psf=psf, header=header).into(
        store, progress=progress
    )


def plan_synthesis(
    parameters: Mapping[str, Any],
    config: SynthesizeConfig | None = None,
    *,
    wavelength: np.ndarray | None = None,
    psf: tuple[np.ndarray, np.ndarray] | None = None,
    header: Mapping[str, Any] | None = None,
) -> SynthesisRun:
    """A synthesis that is ready to run; arguments are those of `synthesize`.

    Raises:
        ValueError, KeyError: as `synthesize`.
    """
    config = config or SynthesizeConfig()
    if wavelength is None:
        first, last, n = config.wavelength
        wavelength = np.linspace(first, last, int(n))
    stage, grid = None, wavelength
    if psf is not None:
        stage = SpectralPSF.tabulated(wavelength, *psf)
    elif config.psf_fwhm is not None:
        stage = SpectralPSF.gaussian(wavelength, config.psf_fwhm)
    if stage is not None:
        grid = stage.model_wavelength
    forward: Forward = MilneEddington(
        config.lines,
        grid,
        mu=config.mu,
        relative_strengths=config.relative_strengths or None,
        effective_triplet=config.effective_triplet,
    )
    if stage is not None:
        forward = forward >> stage
    maps = _maps(forward, {**parameters, **plain_options(forward, "parameters", config.parameters)})
    return SynthesisRun(forward, maps, wavelength, header=header, noise=config.noise, seed=config.seed)


class SynthesisRun(Run[StokesCube]):
    """Spectra of maps of parameters.

    Args:
        forward: the atmosphere and the instrument.
        maps: `(ny, nx)` of every parameter.
        wavelength: `(n_wavelength,)` [angstrom].
        header: FITS cards of the spatial axes.
        noise: standard deviation, in units of the continuum.
        seed: of the noise.
    """

    label = "synthesizing"
    axes: ClassVar = {"spectra": ("stokes", "wavelength")}

    def __init__(
        self,
        forward: Forward,
        maps: Mapping[str, np.ndarray],
        wavelength: np.ndarray,
        *,
        header: Mapping[str, Any] | None = None,
        noise: float = 0.0,
        seed: int = 0,
    ) -> None:
        self._shape = np.shape(next(iter(maps.values())))[:2]
        self._flat = {
            name: np.asarray(value, np.float32).reshape(-1, *np.shape(value)[2:]) for name, value in maps.items()
        }
        self._work = PredictPixels(forward, noise, seed)
        self._wavelength, self._header = wavelength, dict(header or {})

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    @property
    def size(self) -> int:
        return _TOGETHER * len(jax.devices())

    def read(self, start: int, stop: int) -> Any:
        ids = np.arange(start, stop, dtype=np.uint32)
        return {name: x[start:stop] for name, x in self._flat.items()}, ids

    def work(self) -> Work:
        return self._work

    def result(self, store: Store) -> StokesCube:
        return StokesCube(store.lazy("spectra"), self._wavelength, header=self._header)


@dataclasses.dataclass(frozen=True)
class PredictPixels:
    """Predicts the spectra of the pixels of a piece."""

    forward: Forward
    noise: float
    seed: int

    def __call__(self, inputs: Any, advance: Advance) -> dict[str, np.ndarray]:
        parameters, _ = inputs
        spectra = over_devices(_predict, (self.forward, jax.random.key(self.seed), np.float32(self.noise)), inputs)
        finite = np.all([np.isfinite(x.reshape(len(x), -1)).all(1) for x in parameters.values()], axis=0)
        if not np.isfinite(spectra[finite]).all():
            raise ValueError("these parameters give spectra that are no numbers: they are too large or too small")
        return {"spectra": spectra}


def _predict(common: Any, inputs: Any) -> Any:
    forward, key, noise = common

    def one(item: Any) -> Any:
        parameters, identity = item
        spectrum = forward(parameters)
        return spectrum + noise * jax.random.normal(jax.random.fold_in(key, identity), spectrum.shape, spectrum.dtype)

    return map_in_groups(one, inputs, _IN_CACHE)


def _maps(forward: Forward, parameters: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Maps `(ny, nx)` of every parameter; numbers are the same everywhere."""
    unknown = [name for name in parameters if name not in forward.units]
    if unknown:
        raise ValueError(f"the model has no parameter {unknown[0]!r} (it reads {', '.join(forward.units)})")
    shapes = {np.shape(value) for value in parameters.values() if np.ndim(value)}
    if len(shapes) > 1 or any(len(shape) != 2 for shape in shapes):
        raise ValueError(f"the maps of parameters must all be (ny, nx); found the shapes {sorted(shapes)}")
    shape = shapes.pop() if shapes else (1, 1)
    maps = {name: np.broadcast_to(np.asarray(value, np.float32), shape) for name, value in parameters.items()}
    for name, values in maps.items():
        low, high = forward.parameters[name].lowest, forward.parameters[name].highest
        outside = (values < low * (1 - 1e-6) - 1e-9) | (values > high * (1 + 1e-6))
        if np.any(outside):
            unit = f" {forward.units[name]}".rstrip()
            raise ValueError(
                f"{name} is {values[outside][0]:g}{unit} in {np.sum(outside)} of {values.size} pixels; it lies from "
                f"{low:g} to {high:g}{unit}"
            )
    missing = np.any([~np.isfinite(values) for values in maps.values()], axis=0)
    if missing.all():
        raise ValueError("there is no pixel all of whose parameters are finite numbers: nothing can be synthesized")
    if missing.any():
        warnings.warn(
            f"{missing.sum()} of {missing.size} pixels have no parameters: their spectra are NaN", stacklevel=3
        )
    return maps
