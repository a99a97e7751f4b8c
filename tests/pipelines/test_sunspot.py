"""The simulated region is a sunspot, the same for the same seed, inside the prior, with the noise it should have."""

import numpy as np
import pytest

from jaxinv import priors
from jaxinv.pipelines import SynthesizeConfig, simulate_observation, sunspot_parameters, synthesize
from jaxinv.spectra import milne_eddington_prior


def test_it_is_a_spot_and_repeats() -> None:
    maps, again = sunspot_parameters((64, 80), seed=3), sunspot_parameters((64, 80), seed=3)
    other = sunspot_parameters((64, 80), seed=4)
    y, x = np.mgrid[:64, :80]
    radius = np.hypot(y - 31.5, x - 39.5)
    umbra, far = radius < 5, radius > 38
    assert np.median(maps["field_strength"][umbra]) > 2000
    assert np.median(maps["field_strength"][far]) < 300
    assert np.median(maps["inclination"][umbra]) < 0.3
    assert np.median(maps["source_slope"][umbra]) < 0.3 * np.median(maps["source_slope"][far])
    for name, values in maps.items():
        np.testing.assert_array_equal(values, again[name])
        assert not np.array_equal(values, other[name])
        lower, upper = priors.bounds(milne_eddington_prior()[name])
        assert values.min() >= lower, name
        assert values.max() <= upper, name
    # Bright granules rise: blue shift.
    assert np.corrcoef(maps["source_slope"][far], maps["velocity"][far])[0, 1] < -0.5


def test_the_observation_has_the_noise_of_the_request() -> None:
    maps = sunspot_parameters((12, 12))
    quiet, noisy = simulate_observation(maps, sigma=0.0), simulate_observation(maps, sigma=2e-3, seed=1)
    assert quiet.values.shape == (12, 12, 4, 112)
    assert np.std(noisy.values - quiet.values) == pytest.approx(2e-3, rel=0.02)
    assert quiet.header["CTYPE1"] == "HPLN-TAN"


def test_a_region_needs_room() -> None:
    with pytest.raises(ValueError, match="at least 8 x 8"):
        sunspot_parameters((4, 40))


def test_synthesis_of_maps_and_numbers() -> None:
    maps = sunspot_parameters((9, 10))
    config = SynthesizeConfig(psf_fwhm=0.025)
    cube = synthesize(maps, config)
    wavelength = simulate_observation(maps, sigma=0.0)
    np.testing.assert_allclose(cube.values, wavelength.values, atol=2e-3)
    one = synthesize({name: float(value[2, 3]) for name, value in maps.items()}, config)
    np.testing.assert_allclose(one.values[0, 0], cube.values[2, 3], atol=1e-5)
    with pytest.raises(ValueError, match="no parameter 'field'"):
        synthesize({"field": 1.0})
    with pytest.raises(ValueError, match="must all be"):
        synthesize({**maps, "damping": np.ones((3, 3))})
    with pytest.raises(KeyError, match=r"'inclination' \[rad\], .* are missing"):
        synthesize({"field_strength": 1.0})
