"""Two atmospheres in one resolution element: limits, derivatives, a fit that tells them apart, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinv as ji
from jaxinv import spectra

WAVELENGTH = np.linspace(6302.1, 6302.9, 41)
MODEL = spectra.MilneEddington("Fe I 6302.5", WAVELENGTH)
ONE = {
    "field_strength": 1600.0, "inclination": 0.6, "azimuth": 0.8, "velocity": 0.5, "doppler_width": 0.03,
    "line_strength": 12.0, "damping": 0.3, "source_constant": 0.3, "source_slope": 0.7,
}  # fmt: skip
TWO = ONE | {"field_strength": 150.0, "velocity": -1.5, "source_slope": 0.8}
BOTH = ONE | {f"{name}_2": x for name, x in TWO.items()} | {"filling_factor": 0.6}


def test_light_adds_up() -> None:
    both = spectra.Components(MODEL)
    np.testing.assert_allclose(both(BOTH), 0.6 * MODEL(ONE) + 0.4 * MODEL(TWO), atol=1e-6)
    np.testing.assert_allclose(both(BOTH | {"filling_factor": 1.0}), MODEL(ONE), atol=1e-6)
    assert both.parameters["field_strength_2"].unit == "G"
    assert "mu_2" not in both.parameters
    shared = spectra.Components(MODEL, shared=["azimuth"])
    assert "azimuth_2" not in shared.parameters
    turned = {name: x for name, x in BOTH.items() if name != "azimuth_2"}
    np.testing.assert_allclose(shared(turned), both(BOTH), atol=1e-6)


@pytest.mark.usefixtures("float64")
def test_the_jacobian_by_automatic_differentiation() -> None:
    both = spectra.Components(MODEL, shared=["azimuth"])
    p = {name: jnp.asarray(x) for name, x in BOTH.items() if name != "azimuth_2"}
    value, jacobian = both.value_and_jacobian(p)
    expected = jax.jacfwd(lambda p: both(p))(p)
    np.testing.assert_allclose(value, both(p), atol=1e-12)
    for name, x in expected.items():
        np.testing.assert_allclose(jacobian[name], x, atol=1e-12, err_msg=name)


def test_a_fit_tells_them_apart() -> None:
    """A strong field in six tenths, with its own velocity; what they have in common is shared."""
    alike = ["inclination", "azimuth", "doppler_width", "line_strength", "damping", "source_constant", "source_slope"]
    both = spectra.Components(MODEL, shared=alike)
    truth = ONE | {"field_strength_2": 100.0, "velocity_2": -1.5, "filling_factor": 0.6}
    prior = spectra.components_prior(both, spectra.milne_eddington_prior())
    assert set(prior) == {*ONE, "field_strength_2", "velocity_2", "filling_factor"}
    data = np.asarray(both(truth)) + np.random.default_rng(0).normal(0, 5e-4, (4, 41))
    found = ji.fit(ji.Problem(both, ji.noise.Gaussian(5e-4), prior), data)
    assert found.chi2 < 1.3
    for name in ("field_strength", "velocity", "velocity_2", "filling_factor"):
        assert abs(found.parameters[name] - truth[name]) < 4 * found.standard_error[name], name


def test_what_does_not_go_together() -> None:
    with pytest.raises(ValueError, match="not both"):
        spectra.Components(MODEL, shared=["temperature"])
    with pytest.raises(ValueError, match="two things"):
        spectra.Components(MODEL >> spectra.StrayLight(np.ones(41)), MODEL)
    with pytest.raises(KeyError, match="filling_factor"):
        spectra.Components(MODEL)({name: x for name, x in BOTH.items() if name != "filling_factor"})
