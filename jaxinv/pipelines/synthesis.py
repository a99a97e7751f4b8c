"""Stokes spectra of maps of parameters, as an instrument records them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import numpy as np

from jaxinv.forward import Forward
from jaxinv.observation import StokesCube
from jaxinv.pipelines.config import SynthesizeConfig
from jaxinv.pipelines.preparation import plain_options
from jaxinv.spectra.instrument import SpectralPSF
from jaxinv.spectra.milne_eddington import MilneEddington

_CHUNK = 1024
"""Pixels synthesized together."""


def synthesize(
    parameters: Mapping[str, Any],
    config: SynthesizeConfig | None = None,
    *,
    wavelength: np.ndarray | None = None,
    psf: tuple[np.ndarray, np.ndarray] | None = None,
    header: Mapping[str, Any] | None = None,
) -> StokesCube:
    """Milne-Eddington spectra of parameters that are maps `(ny, nx)` or numbers.

    Args:
        parameters: by name, in the units of `MilneEddington`; joined by `config.parameters` (angles in degrees).
        config: lines, wavelengths, instrument, noise; the defaults where `None`.
        wavelength: `(n_wavelength,)` in angstrom, in place of `config.wavelength`.
        psf: `(offset [angstrom], transmission)` of the spectral profile, in place of `config.psf_fwhm`.
        header: FITS cards of the spatial axes, for the cube.

    Raises:
        ValueError, KeyError: a parameter is missing, unknown or not finite, or shapes do not fit; says which.
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
    values = predict_maps(forward, maps)
    finite = np.all([np.isfinite(x) for x in maps.values()], axis=0)
    if not np.isfinite(values[finite]).all():
        raise ValueError("these parameters give spectra that are no numbers: they are too large or too small")
    if config.noise:
        values += np.random.default_rng(config.seed).normal(0, config.noise, values.shape).astype(np.float32)
    return StokesCube(values, wavelength, header=dict(header or {}))


def predict_maps(forward: Forward, maps: Mapping[str, np.ndarray]) -> np.ndarray:
    """The prediction of every pixel, `(ny, nx, *prediction_shape)` float32, a bounded number at a time."""
    shape = np.shape(next(iter(maps.values())))[:2]
    n = int(np.prod(shape))
    flat = {name: np.asarray(value, np.float32).reshape(n, *np.shape(value)[2:]) for name, value in maps.items()}
    size = min(_CHUNK, n)
    predict = eqx.filter_jit(lambda model, piece: jax.vmap(model)(piece))
    pieces = []
    for start in range(0, n, size):
        count = min(size, n - start)
        take = np.minimum(np.arange(start, start + size), n - 1)
        pieces.append(np.asarray(predict(forward, {name: value[take] for name, value in flat.items()}))[:count])
    return np.concatenate(pieces).reshape(*shape, *pieces[0].shape[1:])


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
