"""Stray light and continuum against sums written out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxinv.spectra.milne_eddington import MilneEddington
from jaxinv.spectra.scene import Continuum, StrayLight

WAVELENGTH = 6302.0 + 0.02 * np.arange(40)
RNG = np.random.default_rng(0)
STOKES = RNG.uniform(-1, 1, (4, 40))
QUIET = RNG.uniform(0.5, 1, 40)
POLARIZED = RNG.uniform(-1, 1, (4, 40))


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


@settings(deadline=None)
@given(st.floats(0, 1))
def test_stray_light_dilutes_polarization_and_fills_intensity(f):
    found = StrayLight(QUIET)({"filling_factor": f}, jnp.asarray(STOKES))
    np.testing.assert_allclose(found[0], f * STOKES[0] + (1 - f) * QUIET, atol=1e-14)
    np.testing.assert_allclose(found[1:], f * STOKES[1:], atol=1e-14)


@pytest.mark.parametrize("profile", [QUIET, POLARIZED])
def test_one_profile_or_one_for_each_pixel(profile):
    known = {"filling_factor": 0.3, "stray_light": profile}
    found = StrayLight(shape=profile.shape)(known, jnp.asarray(STOKES))
    np.testing.assert_array_equal(found, StrayLight(profile)({"filling_factor": 0.3}, jnp.asarray(STOKES)))
    assert StrayLight(shape=profile.shape).units == {"filling_factor": "", "stray_light": ""}
    assert StrayLight(shape=profile.shape).shapes == {"stray_light": profile.shape}
    assert StrayLight(profile).units == {"filling_factor": ""}
    assert StrayLight(profile).shapes == {}


def test_edges_of_the_filling_factor():
    stage = StrayLight(POLARIZED)
    full, empty = (stage({"filling_factor": f}, jnp.asarray(STOKES)) for f in (1.0, 0.0))
    np.testing.assert_array_equal(full, STOKES)
    np.testing.assert_array_equal(empty, POLARIZED)
    for f in (0.0, 1.0):
        for derivative in (jax.jacfwd, jax.jacrev):
            slope = derivative(lambda f: stage({"filling_factor": f}, jnp.asarray(STOKES)))(f)
            np.testing.assert_allclose(slope, STOKES - POLARIZED, atol=1e-14)
    hidden = MilneEddington(["Fe I 6302.5"], WAVELENGTH) >> stage
    parameters = {
        "field_strength": 0.0,
        "inclination": 0.0,
        "azimuth": 0.0,
        "velocity": 0.0,
        "doppler_width": 0.03,
        "line_strength": 5.0,
        "damping": 0.0,
        "source_constant": 0.3,
        "source_slope": 0.7,
        "filling_factor": 0.0,
    }
    value, jacobian = hidden.value_and_jacobian(parameters)
    np.testing.assert_allclose(value, POLARIZED, atol=1e-14)
    assert all(np.all(np.isfinite(column)) for column in jacobian.values())
    assert not np.any(jacobian["velocity"])
    gradient = jax.grad(lambda p: jnp.sum(hidden(p) ** 2))(parameters)
    assert all(np.isfinite(x) for x in gradient.values())


def test_bad_stray_light():
    with pytest.raises(ValueError, match="found neither"):
        StrayLight()
    with pytest.raises(ValueError, match="found both"):
        StrayLight(QUIET, shape=(40,))
    with pytest.raises(ValueError, match=r"found \(3, 40\)"):
        StrayLight(STOKES[:3])
    with pytest.raises(ValueError, match=r"found \(2, 4, 40\)"):
        StrayLight(shape=(2, 4, 40))
    with pytest.raises(ValueError, match="must be finite"):
        StrayLight(np.where(QUIET > 0.9, np.nan, QUIET))
    with pytest.raises(ValueError, match=r"shape \(39,\) but the prediction \(4, 40\)"):
        StrayLight(QUIET[1:])({"filling_factor": 0.5}, jnp.asarray(STOKES))
    with pytest.raises(KeyError, match="'filling_factor' is missing"):
        StrayLight(QUIET)({}, jnp.asarray(STOKES))
    with pytest.raises(KeyError, match="'stray_light' is missing"):
        StrayLight(shape=(40,))({"filling_factor": 0.5}, jnp.asarray(STOKES))


@settings(deadline=None)
@given(st.floats(0.1, 1e4), st.floats(-0.5, 0.5))
def test_continuum_level_and_slope(level, slope):
    stage = Continuum(WAVELENGTH)
    found = stage({"continuum": level, "continuum_slope": slope}, jnp.asarray(STOKES))
    expected = STOKES * level * (1 + slope * (WAVELENGTH - np.mean(WAVELENGTH)))
    np.testing.assert_allclose(found, expected, rtol=1e-11)
    flat = stage({"continuum": level}, jnp.asarray(STOKES))
    np.testing.assert_allclose(flat, level * STOKES, rtol=1e-14)


def test_continuum_about_a_reference():
    stage = Continuum(WAVELENGTH, reference=WAVELENGTH[7])
    found = stage({"continuum": 2.0, "continuum_slope": 0.3}, jnp.ones((4, 40)))
    assert found[0, 7] == 2.0
    assert found[3, 8] == pytest.approx(2 * (1 + 0.3 * 0.02))
    assert stage.units == {"continuum": "", "continuum_slope": "Angstrom-1"}


def test_continuum_derivatives():
    stage = Continuum(WAVELENGTH)
    at = {"continuum": 2.0, "continuum_slope": 0.1}
    jacobian = jax.jacrev(lambda p: stage(p, jnp.asarray(STOKES)))(at)
    distance = WAVELENGTH - WAVELENGTH.mean()
    np.testing.assert_allclose(jacobian["continuum"], STOKES * (1 + 0.1 * distance), atol=1e-12)
    np.testing.assert_allclose(jacobian["continuum_slope"], 2 * STOKES * distance, atol=1e-12)


def test_bad_continuum():
    with pytest.raises(ValueError, match=r"found the shape \(2, 20\)"):
        Continuum(WAVELENGTH.reshape(2, 20))
    with pytest.raises(ValueError, match="`reference` must be a wavelength"):
        Continuum(WAVELENGTH, reference=np.nan)
    with pytest.raises(ValueError, match="built for 40 wavelengths but the prediction has 39"):
        Continuum(WAVELENGTH)({"continuum": 1.0}, jnp.ones((4, 39)))
    with pytest.raises(KeyError, match="'continuum' is missing"):
        Continuum(WAVELENGTH)({}, jnp.ones((4, 40)))


def test_single_precision_stays_single():
    with jax.enable_x64(False):
        stokes = jnp.asarray(STOKES, jnp.float32)
        for stage, known in [
            (StrayLight(QUIET), {"filling_factor": jnp.float32(0.4)}),
            (Continuum(WAVELENGTH), {"continuum": jnp.float32(3), "continuum_slope": jnp.float32(0.1)}),
        ]:
            found = stage(known, stokes)
            assert found.dtype == jnp.float32
            np.testing.assert_allclose(found, stage({k: float(v) for k, v in known.items()}, stokes), atol=1e-6)
