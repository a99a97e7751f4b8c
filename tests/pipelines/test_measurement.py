"""Continuum, noise and wavelength shift, measured on spectra whose values are known."""

import numpy as np
import pytest

from jaxinv.observation import StokesCube
from jaxinv.pipelines.measurement import continuum_samples, line_core, measure, sample_pixels
from jaxinv.spectra import find_lines

WAVELENGTH = 6300.8921 + 0.0214 * np.arange(112)
LINES = find_lines(["Fe I 6301.5", "Fe I 6302.5"])


def absorption(wavelength: np.ndarray, shift: float = 0.0, width: float = 0.06) -> np.ndarray:
    """Two Gaussian lines at their laboratory wavelengths plus `shift`."""
    depth = sum(0.6 * np.exp(-(((wavelength - shift - line.wavelength) / width) ** 2)) for line in LINES)
    return 1 - depth


def cube(
    sigma: float = 1e-3, shift: float = 0.0, level: float = 30000.0, shape: tuple[int, int] = (40, 30)
) -> StokesCube:
    rng = np.random.default_rng(1)
    values = rng.normal(0, sigma, (*shape, 4, len(WAVELENGTH)))
    values[:, :, 0] += absorption(WAVELENGTH, shift) * rng.uniform(0.8, 1.2, (*shape, 1))
    return StokesCube((level * values).astype(np.float32), WAVELENGTH, unit="DN")


USED = np.ones(len(WAVELENGTH), bool)


def test_continuum_and_noise_are_those_of_the_simulation() -> None:
    found = measure(cube(sigma=2e-3), LINES, USED)
    assert found.continuum == pytest.approx(30000, rel=0.01)
    np.testing.assert_allclose(found.sigma, 2e-3, rtol=0.05)


def test_noise_does_not_see_a_slope_or_a_fixed_pattern() -> None:
    observed = cube(sigma=1e-3)
    slope = 0.05 * np.linspace(-1, 1, len(WAVELENGTH)) * np.random.default_rng(0).normal(size=(40, 30, 1))
    pattern = 0.01 * np.random.default_rng(2).normal(size=len(WAVELENGTH))
    values = observed.values + 30000 * (slope + pattern)[:, :, None]
    found = measure(StokesCube(values, WAVELENGTH), LINES, USED)
    np.testing.assert_allclose(found.sigma, 1e-3, rtol=0.1)


@pytest.mark.parametrize("shift", [-0.08, -0.013, 0.0, 0.031])
def test_the_wavelength_shift_is_found(shift: float) -> None:
    found = measure(cube(shift=shift), LINES, USED)
    np.testing.assert_allclose(found.shift, shift, atol=1e-3)


def test_line_core_needs_a_line() -> None:
    assert np.isnan(line_core(WAVELENGTH, np.ones(112), LINES[0].wavelength))
    assert np.isnan(line_core(WAVELENGTH, 1 + 0.1 * (WAVELENGTH - 6301), LINES[0].wavelength))
    assert np.isnan(line_core(WAVELENGTH, absorption(WAVELENGTH), 6173.334))


def test_continuum_samples_avoid_the_lines() -> None:
    profile = absorption(WAVELENGTH)
    chosen = WAVELENGTH[continuum_samples(WAVELENGTH, profile, LINES)]
    assert len(chosen) > 10
    assert min(np.abs(chosen - line.wavelength).min() for line in LINES) > 0.3


def test_dead_pixels_are_not_looked_at() -> None:
    observed = cube()
    values = np.array(observed.values)
    values[3] = np.nan
    values[7] = -5
    spectra = sample_pixels(StokesCube(values, WAVELENGTH))
    assert len(spectra) == 38 * 30
    assert measure(StokesCube(values, WAVELENGTH), LINES, USED).continuum == pytest.approx(30000, rel=0.01)


@pytest.mark.parametrize(
    ("fill", "message"), [(np.nan, "all are NaN"), (0.0, "zero or negative"), (-3.0, "zero or negative")]
)
def test_a_map_without_light_is_refused(fill: float, message: str) -> None:
    empty = StokesCube(np.full((3, 4, 4, 112), fill, np.float32), WAVELENGTH)
    with pytest.raises(ValueError, match=message):
        measure(empty, LINES, USED)
