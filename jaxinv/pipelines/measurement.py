"""What an observation tells about itself before it is inverted: continuum, noise, and where its wavelengths are off."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxinv.observation import StokesCube
from jaxinv.spectra.line import Line

TELLURIC = ((6301.90, 6302.10), (6302.66, 6302.87))
"""O2 lines at 6302.000 and 6302.764 angstrom (Pierce & Breckinridge 1973, The Kitt Peak Table of Photographic Solar
Spectrum Wavelengths), +-0.1 angstrom about each."""

_SAMPLE = 4096
"""Pixels that are looked at: enough for a noise level to 1 %."""

_BLOCKS = 16
"""Places along y where rows are looked at: few, since reading rows of a scan opens every slit's file."""

_CORE = 8e-6
"""Half width of the part of a line core that is a parabola, relative to the wavelength: 0.05 angstrom at 6302."""

_WEAK = 0.05
"""Largest polarization, in units of a pixel's own continuum, at which a line's core is where the line is: some 300 G.
A stronger field splits the line, and the deepest sample is then one of its sigma components."""

_REACH = 8e-5
"""How far from the laboratory wavelength a core is looked for, relative to it: 0.5 angstrom at 6302, 24 km/s."""


class Measurement(NamedTuple):
    """What was measured.

    Attributes:
        continuum: intensity, in the cube's unit, that the map's continuum has on average.
        sigma: `(4,)` noise of Stokes I, Q, U, V in units of the continuum.
        shift: of each line's mean core from the laboratory wavelength [angstrom], in weakly polarized pixels; NaN where
            there is no such pixel, or no core was found.
        weak: `(weakly polarized, all)` pixels that were looked at.
        profile: `(n_wavelength,)` mean intensity in units of the continuum.
    """

    continuum: float
    sigma: np.ndarray
    shift: np.ndarray
    profile: np.ndarray
    weak: tuple[int, int]


def sample_pixels(cube: StokesCube) -> np.ndarray:
    """Spectra from rows all over the map, `(n, 4, n_wavelength)`; pixels that are not finite or not bright left out."""
    ny, nx = cube.map_shape
    if cube.n_pixels <= 2 * _SAMPLE:
        spectra = cube.pixels(0, cube.n_pixels)
    else:
        rows = max(1, _SAMPLE // (_BLOCKS * nx))
        starts = np.unique(np.linspace(0, ny - rows, _BLOCKS).round().astype(int))
        spectra = np.concatenate([cube.pixels(y * nx, (y + rows) * nx) for y in starts])
        spectra = spectra[:: max(1, len(spectra) // _SAMPLE)]
    intensity = spectra[:, 0]
    good = np.isfinite(spectra).any(axis=(1, 2)) & (np.nan_to_num(np.nanmax(intensity, axis=1, initial=0)) > 0)
    if not good.any():
        found = "all are NaN" if not np.isfinite(spectra).any() else "Stokes I is zero or negative everywhere"
        raise ValueError(f"no pixel of the map has a usable spectrum: {found}; check the file and its Stokes axis")
    return spectra[good]


def measure(cube: StokesCube, lines: Sequence[Line], used: np.ndarray, continuum: float | None = None) -> Measurement:
    """Measure continuum, noise and wavelength shift on a sample of the map.

    Args:
        cube: the observation.
        lines: whose cores are looked for.
        used: `(n_wavelength,)`, `False` for samples to leave out.
        continuum: intensity that is to count as 1, in the cube's unit; measured when `None`.
    """
    spectra = sample_pixels(cube)[..., used]
    wavelength = cube.wavelength[used]
    with np.errstate(invalid="ignore"):
        mean = np.nanmean(spectra[:, 0], axis=0)
    flat = continuum_samples(wavelength, mean, lines)
    if continuum is None:
        continuum = float(np.nanmedian(np.nanmean(spectra[:, 0][:, flat], axis=1)))
    if not continuum > 0:
        raise ValueError(f"the continuum intensity is {continuum:g}, not above 0: check Stokes I, or give `continuum`")
    spectra = spectra / continuum
    # Where there is no continuum, the brightness of pixels differs by far more than their noise.
    smooth = flat if len(_middle(flat)) else _smoothest(mean)
    sigma = np.array([_noise(spectra[:, k], flat if k else smooth) for k in range(4)])
    weak = weakly_polarized(spectra, flat, float(np.max(sigma[1:])))
    shift = np.full(len(lines), np.nan)
    if weak.any():
        profile = np.nanmean(spectra[weak, 0], axis=0)
        shift = np.array([line_core(wavelength, profile, line.wavelength) - line.wavelength for line in lines])
    found = (int(weak.sum()), len(weak))
    return Measurement(continuum, sigma, shift, np.nanmean(spectra[:, 0], axis=0), found)


def weakly_polarized(spectra: np.ndarray, flat: np.ndarray, sigma: float) -> np.ndarray:
    """`(n,)`, `True` for the less polarized half of spectra `(n, 4, n_wavelength)`, where that is weak at all.

    Args:
        spectra: in units of the continuum.
        flat: samples of the continuum.
        sigma: noise of the polarization.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # spectra without a single value
        polarization = np.nanmax(np.abs(spectra[:, 1:]), axis=(1, 2))
        own = np.nanmean(spectra[:, 0][:, flat], axis=1)
    weak = polarization <= np.maximum(_WEAK * own, 5 * sigma)
    return weak & (polarization <= np.nanmedian(polarization[weak])) if weak.any() else weak


def continuum_samples(wavelength: np.ndarray, profile: np.ndarray, lines: Sequence[Line]) -> np.ndarray:
    """Indices of the samples that look like continuum: bright, and away from the lines; at least one."""
    distance = np.min([np.abs(wavelength / line.wavelength - 1) for line in lines], axis=0)
    bright = profile > 0.97 * np.nanmax(profile)
    chosen = np.flatnonzero(bright & (distance > 5e-5))
    return chosen if len(chosen) else np.array([int(np.nanargmax(profile))])


def line_core(wavelength: np.ndarray, profile: np.ndarray, centre: float) -> float:
    """The wavelength of a line's core by a parabola through its deepest samples; NaN where there is no core."""
    near = np.flatnonzero((np.abs(wavelength - centre) < _REACH * centre) & np.isfinite(profile))
    if len(near) < 3:
        return np.nan
    deepest = near[np.argmin(profile[near])]
    if deepest in (near[0], near[-1]):
        return np.nan
    core = near[np.abs(wavelength[near] - wavelength[deepest]) < _CORE * centre]
    if len(core) < 5:
        core = np.sort(near[np.argsort(np.abs(wavelength[near] - wavelength[deepest]))[:5]])
    offset = wavelength[core] - wavelength[deepest]
    curvature, slope, _ = np.polyfit(offset, profile[core], 2)
    if not curvature > 0:
        return np.nan
    return float(wavelength[deepest] + np.clip(-slope / (2 * curvature), offset[0], offset[-1]))


def _middle(samples: np.ndarray) -> np.ndarray:
    """Those whose neighbours on both sides are among them."""
    return samples[np.isin(samples - 1, samples) & np.isin(samples + 1, samples)]


def _smoothest(profile: np.ndarray) -> np.ndarray:
    """Three neighbouring samples where a mean profile is nearest to a straight line."""
    bend = np.abs(profile[:-2] - 2 * profile[1:-1] + profile[2:])
    return int(np.nanargmin(bend)) + np.arange(3)


def _noise(spectra: np.ndarray, flat: np.ndarray) -> float:
    """Standard deviation of independent noise in `(n_pixel, n_wavelength)` at the samples `flat`, robust.

    From second differences of neighbouring samples, which a continuum's slope or a weak blend hardly touches, less
    what all pixels share; where there are no three neighbours, from the scatter between pixels.
    """
    middle = _middle(flat)
    if len(middle):
        deviation = (spectra[:, middle - 1] - 2 * spectra[:, middle] + spectra[:, middle + 1]) / np.sqrt(6)
    else:
        deviation = spectra[:, flat]
    if len(deviation) > 10:
        deviation = deviation - np.nanmedian(deviation, axis=0)
    return float(1.4826 * np.nanmedian(np.abs(deviation)))
