"""Linearizations: both forms are one operator, its transpose is its transpose, and what physics knows of it is used."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jaxtyping import Array

import jaxinv as ji
from jaxinv import linearization
from jaxinv.forward import Forward, Parameter, Parameters, Stage
from jaxinv.linearization import Dense, Linearization, Operator
from tests.models import Polynomial

pytestmark = pytest.mark.usefixtures("float64")


def at_a_point() -> dict[str, Array]:
    return {"coefficients": jnp.asarray([0.3, -1.0, 0.7]), "scale": jnp.asarray(1.5)}


class Gain(Stage):
    """The prediction times a gain, plus the square of it times the scale that the model reads too."""

    @property
    def parameters(self) -> dict[str, Parameter]:
        return {"gain": Parameter(), "scale": Parameter()}

    def __call__(self, parameters: Parameters, prediction: Array) -> Array:
        return parameters["gain"] * prediction + parameters["scale"] * prediction**2


@pytest.fixture(params=[Dense, Operator])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> type[Linearization]:
    """The form that a few numbers take, and the one that more than the most would."""
    monkeypatch.setattr("jaxinv.forward.MOST_DENSE", linearization.MOST_DENSE if request.param is Dense else 0)
    return request.param


def check(found: Linearization, function: Callable[[dict[str, Array]], Array], at: dict[str, Array]) -> None:
    expected = jax.jacfwd(function)(at)
    np.testing.assert_allclose(found.prediction, function(at), rtol=1e-12)
    assert {name: value.shape for name, value in at.items()} == found.shapes
    for name, value in found.jacobian.items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-12, atol=1e-12)
    rng = np.random.default_rng(0)
    tangent = {name: jnp.asarray(rng.normal(size=value.shape)) for name, value in at.items()}
    cotangent = jnp.asarray(rng.normal(size=found.prediction.shape))
    pushed, pulled = found.jvp(tangent), found.vjp(cotangent)
    np.testing.assert_allclose(pushed, jax.jvp(function, (at,), (tangent,))[1], rtol=1e-12, atol=1e-12)
    assert float(jnp.sum(pushed * cotangent)) == pytest.approx(
        float(sum(jnp.sum(pulled[name] * tangent[name]) for name in at)), rel=1e-12
    )
    rows = np.concatenate([np.reshape(expected[name], (pushed.size, -1)) for name in found.shapes], axis=1)
    weights = rng.uniform(0.5, 2, pushed.shape)
    normal = rows.T @ np.diag(weights.ravel() ** 2) @ rows
    np.testing.assert_allclose(found.normal(jnp.asarray(weights)), normal, rtol=1e-11)


def test_a_model(form: type[Linearization]) -> None:
    model = Polynomial()
    at = at_a_point()
    found = model.linearize(at, ["coefficients", "scale"])
    assert isinstance(found, form)
    check(found, model, at)
    some = model.linearize(at, ["scale"])
    check(some, lambda p: model({**at, **p}), {"scale": at["scale"]})


def test_a_model_and_its_stages(form: type[Linearization]) -> None:
    model = Polynomial() >> Gain() >> Gain()
    at = {**at_a_point(), "gain": jnp.asarray(0.8)}
    found = model.linearize(at, list(at))
    assert isinstance(found, form)
    check(found, model, at)


def test_ties_are_followed(form: type[Linearization]) -> None:
    prior = {
        "coefficients": dist.Normal(0.0, 1.0).expand((3,)).to_event(1),
        "scale": ji.Tied("coefficients", lambda c: 1 + jnp.sum(c**2)),
    }
    problem = ji.Problem(Polynomial(), 0.1, prior)
    at = {"coefficients": at_a_point()["coefficients"]}
    found = problem.linearize(at)
    assert isinstance(found, form)
    check(found, problem.predict, at)


def test_a_prediction_may_be_complex(form: type[Linearization]) -> None:
    """Transfer functions are: a real number comes out of its real cotangent."""
    model = ji.Problem(
        lambda p: jnp.exp(1j * p["phase"] * jnp.arange(3.0)), ji.noise.Gaussian(1.0), {"phase": dist.Normal(0.0, 1.0)}
    ).forward
    at = {"phase": jnp.asarray(0.4)}
    found = model.linearize(at, ["phase"])
    assert isinstance(found, form)
    cotangent = jnp.asarray([1.0, 2 - 1j, 0.5j])
    (expected,) = jax.vjp(model, at)[1](cotangent)
    assert float(found.vjp(cotangent)["phase"]) == pytest.approx(float(expected["phase"]), rel=1e-12)
    np.testing.assert_allclose(found.jvp({"phase": 1.0}), found.jacobian["phase"], rtol=1e-12)


class Own(Forward):
    """Twice its parameter, by an operator that counts how often its transpose was asked for."""

    calls: list[str]

    @property
    def parameters(self) -> dict[str, Parameter]:
        return {"image": Parameter(shape=(3,)), "level": Parameter()}

    def __call__(self, parameters: Parameters) -> Array:
        return 2 * parameters["image"] + parameters["level"]

    def linearize(self, parameters: Parameters, names: object) -> Operator:
        def pull(cotangent: Array) -> dict[str, Array]:
            self.calls.append("own")
            return {"image": 2 * cotangent, "level": jnp.sum(cotangent)}

        shapes = {"image": (3,), "level": ()}
        return Operator(self(parameters), shapes, lambda t: 2 * t["image"] + t["level"], pull)


def test_the_operator_of_the_physics_survives_stages_and_ties() -> None:
    calls: list[str] = []
    prior = {
        "image": dist.Normal(0.0, 1.0).expand((3,)).to_event(1),
        "level": ji.Tied("image", jnp.sum),
        "gain": dist.Normal(1.0, 0.1),
        "scale": 0.5,
    }
    problem = ji.Problem(Own(calls) >> Gain(), 0.1, prior)
    at = {"image": jnp.asarray([1.0, 2.0, -1.0]), "gain": jnp.asarray(0.7)}
    check(problem.linearize(at), problem.predict, at)
    assert calls == ["own"]
