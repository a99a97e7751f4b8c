"""Composition of forward models: values and Jacobians against plain differentiation and finite differences."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinv.forward import Forward, Parameter, Sequential, Stage
from jaxinv.knowledge import Knowledge
from jaxinv.spectra.instrument import Macroturbulence, SpectralPSF
from jaxinv.spectra.milne_eddington import MilneEddington
from jaxinv.spectra.scene import Continuum, StrayLight

WAVELENGTH = 6302.0 + 0.03 * np.arange(30)
ATMOSPHERE = {
    "field_strength": 1200.0,
    "inclination": 0.7,
    "azimuth": 0.4,
    "velocity": 0.5,
    "doppler_width": 0.03,
    "line_strength": 8.0,
    "damping": 0.3,
    "source_constant": 0.3,
    "source_slope": 0.6,
}
REST = {"macroturbulence": 0.9, "filling_factor": 0.6, "continuum": 1.3, "continuum_slope": 0.05}


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


class Polynomial(Forward):
    """A cubic of coefficients (an array parameter) plus an offset, with a Jacobian that says whether it was used."""

    calls: list = eqx.field(static=True, default_factory=list)

    @property
    def parameters(self):
        return {"coefficients": Parameter("m", shape=(3,)), "offset": Parameter("s")}

    def __call__(self, parameters):
        x = jnp.linspace(0.0, 1.0, 8).reshape(2, 4)
        c = jnp.asarray(parameters["coefficients"], float)
        return c[0] * x + c[1] * x**2 + c[2] * x**3 + parameters["offset"]

    def value_and_jacobian(self, parameters):
        self.calls.append(sorted(parameters))
        return super().value_and_jacobian(parameters)

    @property
    def knowledge(self):
        return Knowledge(
            guess=lambda values, valid: {"offset": jnp.mean(jnp.where(valid, values, 0))[None]},
            canonical=lambda parameters: {**parameters, "offset": jnp.abs(parameters["offset"])},
        )


class Power(Stage):
    """Nonlinear in the prediction, and reads a parameter of the forward model besides its own."""

    @property
    def parameters(self):
        return {"exponent": Parameter(), "offset": Parameter("s")}

    def __call__(self, parameters, prediction):
        return (2 + prediction) ** parameters["exponent"] + parameters["offset"] * prediction


class Half(Stage):
    """Every second sample: changes the prediction's shape, reads an array."""

    @property
    def parameters(self):
        return {"gain": Parameter("K", shape=(2,))}

    def __call__(self, parameters, prediction):
        return prediction[:, ::2] * jnp.broadcast_to(jnp.asarray(parameters["gain"], float), (2, 2))

    def undo(self, values, valid):
        return jnp.repeat(values, 2, axis=-1), jnp.repeat(valid, 2, axis=-1)


TOY = {"coefficients": np.array([0.3, -0.2, 0.5]), "offset": 0.1, "exponent": 1.7, "gain": np.array([2.0, 3.0])}


def observatory(profile_shape=None):
    psf = SpectralPSF.gaussian(WAVELENGTH, 0.04)
    stray = StrayLight(1 - 0.1 * np.ones(30)) if profile_shape is None else StrayLight(shape=profile_shape)
    atmosphere = MilneEddington(["Fe I 6302.5"], psf.model_wavelength)
    return atmosphere >> psf >> Macroturbulence(WAVELENGTH) >> stray >> Continuum(WAVELENGTH)


def assert_jacobian(model, parameters, names, tolerance=1e-10):
    value, jacobian = model.value_and_jacobian(parameters)
    np.testing.assert_allclose(value, model(parameters), atol=1e-13)
    parameters = {name: jnp.asarray(x, float) for name, x in parameters.items()}
    plain = jax.jacfwd(lambda p: model(p))(parameters)
    assert set(jacobian) == set(names)
    for name in names:
        assert jacobian[name].shape == value.shape + parameters[name].shape
        scale = np.abs(plain[name]).max()
        np.testing.assert_allclose(jacobian[name], plain[name], atol=tolerance * scale, err_msg=name)


def test_composition_is_function_composition():
    first, power, half = Polynomial(), Power(), Half()
    model = first >> power >> half
    assert isinstance(model, Sequential)
    assert model.first is first
    assert model.stages == (power, half)
    np.testing.assert_array_equal(model(TOY), half(TOY, power(TOY, first(TOY))))
    assert model.units == {"coefficients": "m", "offset": "s", "exponent": "", "gain": "K"}
    assert list(model.units) == ["coefficients", "offset", "exponent", "gain"]
    assert model.shapes == {"coefficients": (3,), "gain": (2,)}


def test_what_is_optional_may_be_left_out_and_the_first_reader_says_the_rest():
    class Needs(Stage):
        @property
        def parameters(self):
            return {"mu": Parameter("rad"), "own": Parameter(lowest=0.0, optional=True)}

    atmosphere = MilneEddington(["Fe I 6302.5"], WAVELENGTH)
    assert [name for name, p in atmosphere.parameters.items() if p.optional] == ["wavelength_offset", "mu"]
    declared = (atmosphere >> Needs()).parameters
    assert declared["mu"] == Parameter("", (), 0.0, 1.0, optional=False)
    assert declared["own"] == Parameter(lowest=0.0, optional=True)
    with pytest.raises(KeyError, match=r"'field_strength' \[G\], .* are missing"):
        atmosphere({})


def test_jacobian_with_arrays_shared_parameters_and_a_new_shape():
    first = Polynomial()
    assert_jacobian(first >> Power() >> Half(), TOY, TOY)
    assert first.calls == [["coefficients", "offset"]]  # by the first model's own Jacobian, of what it reads


def test_jacobian_of_the_parameters_given_only():
    model = Polynomial() >> Half()
    given = {name: TOY[name] for name in ("coefficients", "offset", "gain")}
    assert_jacobian(model, given, given)


def test_jacobian_of_whole_numbers():
    given = {"coefficients": np.array([1, 2, 3]), "offset": 1, "exponent": 2, "gain": np.array([1, 4])}
    assert_jacobian(Polynomial() >> Power() >> Half(), given, given)


class Constant(Forward):
    """A model without parameters, such as a stored spectrum."""

    @property
    def parameters(self):
        return {}

    def __call__(self, parameters):
        return jnp.linspace(0.5, 1.0, 120).reshape(4, 30)

    def value_and_jacobian(self, parameters):
        return self(parameters), {}


def test_jacobian_of_stages_alone():
    parameters = {name: REST[name] for name in ("macroturbulence", "continuum")}
    assert_jacobian(Constant() >> Macroturbulence(WAVELENGTH) >> Continuum(WAVELENGTH), parameters, parameters)


def test_jacobian_of_an_observatory():
    parameters = ATMOSPHERE | REST
    model = observatory()
    assert_jacobian(model, parameters, parameters)
    value, jacobian = jax.jit(lambda p: model.value_and_jacobian(p))(parameters)
    for name, x in parameters.items():
        step = 1e-4 * max(abs(x), 1e-2)
        plus, minus = (model(parameters | {name: x + sign * step}) for sign in (1, -1))
        difference = np.asarray(plus - minus) / (2 * step)
        np.testing.assert_allclose(jacobian[name], difference, atol=2e-6 * np.abs(difference).max(), err_msg=name)
    assert value.shape == (4, 30)


@pytest.mark.parametrize("shape", [(30,), (4, 30)])
def test_jacobian_with_a_profile_for_each_pixel(shape):
    profile = np.random.default_rng(0).uniform(0.5, 1, shape)
    parameters = ATMOSPHERE | REST | {"stray_light": profile, "wavelength_offset": 0.01}
    assert_jacobian(observatory(shape), parameters, parameters)


def test_the_derivative_by_a_known_profile_costs_nothing_where_it_is_not_read():
    def flops(model, known):
        def inferred(parameters):
            value, jacobian = model.value_and_jacobian(parameters | known)
            return value, {name: jacobian[name] for name in parameters}

        return jax.jit(inferred).lower(ATMOSPHERE | REST).compile().cost_analysis()["flops"]  # pyright: ignore[reportOptionalSubscript]

    assert flops(observatory((4, 30)), {"stray_light": jnp.ones((4, 30))}) < 1.1 * flops(observatory(), {})


def test_batches_and_compilation_change_nothing():
    model = observatory()
    parameters = {name: jnp.asarray(x) * jnp.array([0.9, 1.0, 1.1]) for name, x in (ATMOSPHERE | REST).items()}
    values, jacobians = jax.jit(jax.vmap(lambda p: model.value_and_jacobian(p)))(parameters)
    for k in range(3):
        value, jacobian = model.value_and_jacobian({name: x[k] for name, x in parameters.items()})
        np.testing.assert_allclose(values[k], value, atol=1e-13)
        for name, column in jacobian.items():
            np.testing.assert_allclose(jacobians[name][k], column, atol=1e-12 * np.abs(column).max() + 1e-18)


def test_reverse_mode_and_second_derivatives():
    model = observatory()
    parameters = {name: jnp.asarray(x) for name, x in (ATMOSPHERE | REST).items()}
    loss = lambda p: jnp.sum((model(p) - 0.5) ** 2)  # noqa: E731
    value, jacobian = model.value_and_jacobian(parameters)
    gradient = jax.grad(loss)(parameters)
    for name, column in jacobian.items():
        expected = np.sum(2 * (value - 0.5) * column)
        assert float(gradient[name]) == pytest.approx(float(expected), rel=1e-9, abs=1e-12)
    hessian = jax.jacfwd(jax.grad(loss))(parameters)
    for name in ("velocity", "macroturbulence", "filling_factor"):
        step = 1e-4 * parameters[name]
        plus, minus = (jax.grad(loss)(parameters | {name: parameters[name] + s * step}) for s in (1, -1))
        for other in ("field_strength", "velocity", "macroturbulence"):
            difference = (plus[other] - minus[other]) / (2 * step)
            assert float(hessian[other][name]) == pytest.approx(float(difference), rel=1e-5, abs=1e-7)


def test_single_precision():
    parameters = ATMOSPHERE | REST
    expected, exact = observatory().value_and_jacobian(parameters)
    with jax.enable_x64(False):
        single = {name: jnp.float32(x) for name, x in parameters.items()}
        value, jacobian = observatory().value_and_jacobian(single)
        assert value.dtype == jnp.float32
        assert all(column.dtype == jnp.float32 for column in jacobian.values())
    np.testing.assert_allclose(value, expected, atol=5e-6)
    for name, column in jacobian.items():
        np.testing.assert_allclose(column, exact[name], atol=2e-4 * np.abs(exact[name]).max(), err_msg=name)


def test_guess_sees_the_data_before_the_stages():
    model = Polynomial() >> Half()
    values = jnp.array([[1.0, 2.0], [3.0, 4.0]])
    valid = jnp.array([[True, True], [True, False]])
    assert float(model.knowledge.guess(values, valid)["offset"][0]) == pytest.approx((1 + 2 + 3) * 2 / 8)


def test_guess_through_an_instrument_finds_velocity_and_field():
    model = observatory()
    data = model(ATMOSPHERE | REST | {"filling_factor": 1.0, "continuum_slope": 0.0})
    guess = model.knowledge.guess(data, jnp.ones((4, 30), bool))
    assert float(guess["velocity"][0]) == pytest.approx(0.5, abs=0.2)
    assert float(guess["field_strength"][0] * jnp.cos(guess["inclination"][0])) == pytest.approx(
        1200 * np.cos(0.7), rel=0.25
    )


def test_canonical_is_the_first_models():
    moved = (Polynomial() >> Power()).knowledge.canonical({**TOY, "offset": -0.1})
    assert moved["offset"] == 0.1
    assert moved["exponent"] == TOY["exponent"]


def test_defaults_of_the_base_classes():
    assert Forward().knowledge.guess(jnp.ones(3), jnp.ones(3, bool)) == {}
    assert Forward().knowledge.canonical({"a": 1}) == {"a": 1}
    assert Forward().knowledge.coordinates({}) == ()
    assert Stage().parameters == {}
    values, valid = Stage().undo(jnp.ones(3), jnp.ones(3, bool))
    assert values.shape == valid.shape == (3,)
    with pytest.raises(NotImplementedError):
        Forward()({})
    with pytest.raises(NotImplementedError):
        Stage()({}, jnp.ones(3))
