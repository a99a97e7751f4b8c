import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxinv import priors, spectra
from jaxinv.noise import Gaussian
from jaxinv.problem import Problem
from jaxinv.spectra.field_vector import TRANSVERSE, FieldVector, OpenFieldVector, hidden_field

VECTOR = OpenFieldVector(5000.0)
coordinate = st.floats(-60, 60).filter(lambda x: abs(x) > 1e-3)


scale = st.sampled_from([TRANSVERSE, 10.0, 140.0, 500.0])


@settings(max_examples=200, deadline=None)
@given(coordinate, coordinate, coordinate, scale)
def test_there_and_back(a: float, b: float, c: float, scale: float) -> None:
    with jax.enable_x64(True):
        z = jnp.array([a, b, c])
        vector = OpenFieldVector(5000.0, scale)
        parameters = vector.parameters(z)
        assert 0 < parameters["field_strength"] < 5000
        assert 0 <= parameters["inclination"] <= np.pi
        assert 0 <= parameters["azimuth"] < np.pi
        if 0.06 < parameters["field_strength"] < 4990 and 2e-3 < parameters["inclination"] < 3.139:
            np.testing.assert_allclose(vector.vector(parameters), z, rtol=1e-6, atol=1e-8)


@settings(max_examples=100, deadline=None)
@given(coordinate, coordinate, coordinate, scale)
def test_the_jacobian(a: float, b: float, c: float, scale: float) -> None:
    with jax.enable_x64(True):
        z, vector = jnp.array([a, b, c]), OpenFieldVector(5000.0, scale)

        def stacked(z: jax.Array) -> jax.Array:
            parameters = vector.parameters(z)
            return jnp.stack([parameters[name] for name in VECTOR.names])

        expected = np.linalg.slogdet(np.asarray(jax.jacfwd(stacked)(z)))[1]
        assert float(vector.log_volume(z)) == pytest.approx(expected, abs=1e-6)


def test_the_scale_is_the_transverse_field_that_noise_hides() -> None:
    found = {"field_strength": jnp.array(2800.0), "inclination": jnp.radians(3.0)}
    # B_t = 146.5 G and its error 58.6 G: that of B_t^2 is 2 * 146.5 * 58.6 G^2, 131 G squared.
    size = hidden_field(found, {"field_strength": jnp.array(5.0), "inclination": jnp.radians(1.2)})
    assert size == pytest.approx(131, rel=0.01)
    # Across the line of sight the field's own error counts: B^2 = (800 +- 4 G)^2 has an error of (80 G)^2.
    across = {"field_strength": jnp.array(800.0), "inclination": jnp.array(np.pi / 2)}
    size = hidden_field(across, {"field_strength": jnp.array(4.0), "inclination": jnp.radians(1.2)})
    assert size == pytest.approx(80, rel=0.01)
    # At a mode without a transverse field the inclination's error is without meaning; the scale is finite.
    for inclination, error in ((0.0, np.inf), (0.0, 1e6), (1.0, np.nan)):
        place = {"field_strength": jnp.array(2800.0), "inclination": jnp.array(inclination)}
        assert 10 <= hidden_field(place, {"field_strength": jnp.array(3.0), "inclination": jnp.array(error)}) <= 500


def test_signs(float64: None) -> None:
    # Towards the observer: a positive first coordinate; an azimuth of 0: along the second.
    towards = VECTOR.parameters(jnp.array([5.0, 1e-4, 0.0]))
    assert towards["inclination"] < 0.01
    across = VECTOR.parameters(jnp.array([0.0, 3.0, 0.0]))
    assert across["inclination"] == pytest.approx(np.pi / 2)
    assert across["azimuth"] == pytest.approx(0)
    turned = VECTOR.parameters(jnp.array([0.0, 0.0, 3.0]))
    assert turned["azimuth"] == pytest.approx(np.pi / 4)


@pytest.mark.parametrize("z", [(0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1e-20, 0.0), (1e4, 1e2, 0.0), (0.0, 3e4, 1e4)])
def test_gradients_are_finite_where_a_chain_can_go(z: tuple[float, ...]) -> None:
    def total(z: jax.Array) -> jax.Array:
        parameters = VECTOR.parameters(z)
        return VECTOR.log_volume(z) + 1e-3 * parameters["field_strength"] * jnp.cos(parameters["inclination"])

    value, gradient = jax.value_and_grad(total)(jnp.array(z))
    assert np.isfinite(value)
    assert np.all(np.isfinite(gradient))


def test_a_flat_prior_is_flat() -> None:
    # Uniform points of the coordinates near the origin, weighted by the Jacobian, are uniform in B and inclination.
    problem = Problem(
        spectra.MilneEddington(["Fe I 6302.5"], np.linspace(6302, 6303, 10)), Gaussian(1.0),
        spectra.milne_eddington_prior(),
    )  # fmt: skip
    assert problem.coordinates.blocks[0] == FieldVector(5000.0)
    assert isinstance(problem.coordinates.opened().blocks[0], OpenFieldVector)
    z = jax.random.uniform(jax.random.key(0), (200000, 3), minval=-3, maxval=3)
    parameters, jacobian = jax.vmap(VECTOR.parameters)(z), jax.vmap(VECTOR.log_volume)(z)
    inside = parameters["field_strength"] < 1.5  # wholly inside the box
    weights = np.asarray(jnp.where(inside, jnp.exp(jacobian), 0))
    mean = np.sum(weights * np.asarray(parameters["field_strength"])) / weights.sum()
    assert mean == pytest.approx(0.75, abs=0.02)
    sine = np.sum(weights * np.asarray(parameters["inclination"] < np.pi / 4)) / weights.sum()
    assert sine == pytest.approx(0.25, abs=0.02)


def test_only_for_the_whole_vector() -> None:
    whole = spectra.milne_eddington_prior()
    assert FieldVector.of(whole)
    assert FieldVector.of(whole | {"field_strength": dist.HalfNormal(500.0)})[0].maximum == np.inf
    assert not FieldVector.of(whole | {"azimuth": 0.3})
    assert not FieldVector.of(whole | {"inclination": dist.Uniform(0.0, 1.0)})
    assert not FieldVector.of(whole | {"field_strength": dist.Uniform(100.0, 500.0)})
    assert not FieldVector.of(whole | {"azimuth": priors.Cyclic(0.0, 2 * np.pi)})


def test_the_components_that_a_fit_moves_in(float64: None) -> None:
    vector = FieldVector(5000.0)
    at = {"field_strength": jnp.array(1500.0), "inclination": jnp.array(0.8), "azimuth": jnp.array(2.9)}
    z = vector.vector(at)
    across = 1500 * np.sin(0.8)
    np.testing.assert_allclose(z, [1500 * np.cos(0.8), across * np.cos(5.8), across * np.sin(5.8)])
    back = vector.parameters(z)
    for name, value in at.items():
        assert back[name] == pytest.approx(float(value), rel=1e-9)
    far = vector.project(10 * z)
    assert vector.parameters(far)["field_strength"] == pytest.approx(5000)
    assert vector.at_bound(vector.parameters(far))
    assert not vector.at_bound(at)
    np.testing.assert_array_equal(vector.project(z), z)
    for corner in ((0.0, 0.0, 0.0), (100.0, 0.0, 0.0), (-100.0, 1e-9, 0.0)):
        slope = jax.jacfwd(lambda z: jnp.stack(list(vector.parameters(z).values())))(jnp.array(corner))
        assert np.all(np.isfinite(slope))
