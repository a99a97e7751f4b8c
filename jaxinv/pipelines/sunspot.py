"""A simulated sunspot region as Hinode/SP would see it: a map whose truth is known.

Not a magnetohydrostatic model: maps with the sizes, correlations and ranges that inversions of real spots find
(umbra 2.5-3 kG and vertical, field inclined outwards to 80 degrees at the penumbra's edge, Evershed flow along it, and
granulation outside: Solanki 2003, A&A Rev. 11, 153; Borrero & Ichimoto 2011, Living Rev. Sol. Phys. 8, 4).
"""

from __future__ import annotations

import numpy as np

from jaxinv.forward import Forward
from jaxinv.observation import StokesCube
from jaxinv.pipelines.synthesis import SynthesisRun
from jaxinv.spectra.instrument import SpectralPSF
from jaxinv.spectra.milne_eddington import MilneEddington

HINODE_WAVELENGTH = 6300.8921 + 0.0214 * np.arange(112)
"""Samples of a Hinode/SP spectrum [angstrom]."""

HINODE_FWHM = 0.025
"""Width of Hinode/SP's spectral profile [angstrom] (Lites et al. 2013, Sol. Phys. 283, 579)."""

_PIXEL = (0.1486, 0.1599)
"""Step and pixel of a normal map [arcsec], x and y (the same paper)."""


def sunspot_parameters(shape: tuple[int, int] = (96, 96), *, seed: int = 0) -> dict[str, np.ndarray]:
    """Maps `(ny, nx)` of the nine Milne-Eddington parameters of a spot in the middle of granulation.

    The field points towards the observer in the umbra; weak patches of both polarities lie outside. The source
    function is in units of the quiet Sun's continuum. The same `seed` gives the same region.
    """
    ny, nx = shape
    if min(shape) < 8:
        raise ValueError(f"a sunspot region needs at least 8 x 8 pixels; found {shape}")
    rng = np.random.default_rng(seed)
    size = min(shape)
    y, x = np.mgrid[:ny, :nx]
    dy, dx = y - (ny - 1) / 2, x - (nx - 1) / 2
    angle = np.arctan2(dy, dx)
    wobble = 1 + 0.12 * _field(rng, shape, 0.25 * size)
    radius = np.hypot(dx, dy) / (0.36 * size) * wobble  # 1 at the penumbra's outer edge
    filaments = _radial_texture(rng, angle, radius)
    umbra = _edge(0.42 + 0.05 * filaments - radius, 0.04)
    spot = _edge(1.0 + 0.08 * filaments - radius, 0.04)
    penumbra = spot - umbra * spot

    grain = max(3.0, size / 22)
    granules = _field(rng, shape, grain) + 0.5 * _field(rng, shape, grain / 2)
    granules /= granules.std()
    network = np.clip(_field(rng, shape, 0.08 * size) - 1.3, 0, None) * np.sign(_field(rng, shape, 0.2 * size))

    vertical = 2900 * np.exp(-((radius / 0.62) ** 2)) + 250 * penumbra
    horizontal = 1900 * np.clip(radius, 0, None) * np.exp(-((radius / 0.75) ** 2)) * (1 + 0.25 * penumbra * filaments)
    fade = _edge(1.1 - radius, 0.05)
    weak = 40 + 60 * np.abs(_field(rng, shape, grain))
    turn = _field(rng, shape, 2 * grain)
    bx = horizontal * np.cos(angle) * fade + weak * np.cos(3 * turn) * (1 - spot)
    by = horizontal * np.sin(angle) * fade + weak * np.sin(3 * turn) * (1 - spot)
    bz = vertical * fade + 900 * network * (1 - spot) + 30 * granules * (1 - spot)
    strength = np.sqrt(bx**2 + by**2 + bz**2)

    quiet = 1 - spot
    evershed = 2.2 * penumbra * (1 + 0.5 * filaments) * np.clip(radius, 0, 1)
    # The spot is seen from 20 degrees to the side: the radial outflow moves away on the right, towards us on the left.
    velocity = 0.34 * evershed * np.cos(angle) - 0.55 * granules * quiet - 0.2 * umbra * _field(rng, shape, grain)
    brightness = 1 + 0.09 * granules * quiet - 0.82 * umbra - 0.22 * penumbra * (1 - 0.5 * filaments)
    brightness = np.clip(brightness, 0.14, 1.4)
    soft = _field(rng, shape, 2 * grain)
    constant = brightness * (0.32 + 0.06 * umbra + 0.02 * soft)
    return {
        "field_strength": strength,
        "inclination": np.arccos(np.clip(bz / np.maximum(strength, 1e-6), -1, 1)),
        "azimuth": np.mod(np.arctan2(by, bx), np.pi),
        "velocity": velocity,
        "doppler_width": 0.030 + 0.002 * soft + 0.002 * granules * quiet - 0.004 * umbra,
        "line_strength": np.clip(16 + 3 * soft + 10 * umbra - 2 * granules * quiet, 3, 60),
        "damping": np.clip(0.35 + 0.05 * _field(rng, shape, grain) + 0.2 * umbra, 0.05, 1.5),
        "source_constant": constant,
        "source_slope": brightness - constant,
    }


def simulate_observation(
    parameters: dict[str, np.ndarray],
    forward: Forward | None = None,
    wavelength: np.ndarray | None = None,
    *,
    sigma: float = 1e-3,
    seed: int = 0,
) -> StokesCube:
    """What a spectropolarimeter records of these maps.

    Args:
        parameters: maps `(ny, nx)` by name.
        forward: the atmosphere and instrument; by default Fe I 6301.5 and 6302.5 through Hinode/SP.
        wavelength: `(n_wavelength,)` of its samples [angstrom]; Hinode/SP's by default.
        sigma: noise of every Stokes parameter in units of the quiet Sun's continuum.
        seed: of the noise.
    """
    forward = hinode_forward() if forward is None else forward
    wavelength = HINODE_WAVELENGTH if wavelength is None else wavelength
    clean = SynthesisRun(forward, parameters, wavelength).into()
    values = np.asarray(clean.values[:])
    values += np.random.default_rng(seed).normal(0, sigma, values.shape).astype(np.float32)
    return StokesCube(values, wavelength, header=_header(values.shape[:2]))


def hinode_forward() -> Forward:
    """Fe I 6301.5 and 6302.5 seen through Hinode/SP's spectral profile."""
    instrument = SpectralPSF.gaussian(HINODE_WAVELENGTH, HINODE_FWHM)
    return MilneEddington(["Fe I 6301.5", "Fe I 6302.5"], instrument.model_wavelength) >> instrument


def _header(shape: tuple[int, ...]) -> dict[str, str | float]:
    ny, nx = shape
    return {
        "CTYPE1": "HPLN-TAN",
        "CTYPE2": "HPLT-TAN",
        "CUNIT1": "arcsec",
        "CUNIT2": "arcsec",
        "CRPIX1": (nx + 1) / 2,
        "CRPIX2": (ny + 1) / 2,
        "CRVAL1": 0.0,
        "CRVAL2": 0.0,
        "CDELT1": _PIXEL[0],
        "CDELT2": _PIXEL[1],
        "TELESCOP": "SIMULATED",
        "INSTRUME": "SP",
        "DATE-OBS": "2007-02-27T00:20:10.000",
    }


def _edge(distance: np.ndarray, width: float) -> np.ndarray:
    """1 inside (positive distance), 0 outside, smooth over `width`."""
    return 0.5 * (1 + np.tanh(distance / width))


def _field(rng: np.random.Generator, shape: tuple[int, int], length: float) -> np.ndarray:
    """Gaussian random field of unit variance, correlated over `length` pixels."""
    frequency = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None, :])
    smooth = np.exp(-((np.pi * frequency * length) ** 2) / 4)
    field = np.fft.irfft2(np.fft.rfft2(rng.normal(size=shape)) * smooth, s=shape)
    return (field - field.mean()) / max(field.std(), 1e-12)


def _radial_texture(rng: np.random.Generator, angle: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Filaments: bright and dark rays about the centre, of unit variance, slowly changing outwards."""
    total = np.zeros_like(angle)
    for waves in range(6, 30):
        amplitude, phase, twist = rng.normal(), rng.uniform(0, 2 * np.pi), rng.normal(0, 1.5)
        total += amplitude * np.cos(waves * angle + phase + twist * radius)
    return total / total.std()
