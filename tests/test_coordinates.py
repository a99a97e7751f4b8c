"""One vector for each object: there and back, its volume, its edges."""

import copy

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.stats

from jaxinv import coordinates, priors
from jaxinv.coordinates import Circle, Coordinates, Interval, Layout, logarithm
from tests.test_priors import BOUNDS

MIXED = {
    "width": dist.Uniform(0.01, 0.2).expand((2,)),
    "speed": dist.Normal(1.0, 3.0),
    "turn": priors.Cyclic(0.5, 2.5),
    "damping": dist.Uniform(0.0, 3.0),
    "known": 4.0,
}
NAMES = ("width", "speed", "turn", "damping")
MIXED_AT = {"width": np.array([0.05, 0.1]), "speed": np.array(-2.0), "turn": np.array(2.0), "damping": np.array(0.4)}


def mixed() -> Coordinates:
    return Coordinates.of(MIXED, NAMES, (*logarithm(MIXED, "width"), *logarithm(MIXED, "damping", 0.02)))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("opened", [False, True])
def test_there_and_back_with_the_chain_and_the_volume(opened: bool) -> None:
    made = mixed()
    assert made.layout == Layout(NAMES, ((2,), (), (), ()))
    assert made.layout.labels == ("width[0]", "width[1]", "speed", "turn", "damping")
    if opened:
        error = {name: 0.1 * jnp.abs(x) for name, x in MIXED_AT.items()}
        made = made.opened(MIXED_AT, error)
    vector = made.vector(MIXED_AT)
    assert vector.shape == (made.size,) == (6 if opened else 5,)
    back = made.parameters(vector)
    for name, value in MIXED_AT.items():
        np.testing.assert_allclose(back[name], value, rtol=1e-6, err_msg=name)
    chain = made.chain(vector)
    for k, step in enumerate(1e-6 * np.eye(made.size)):
        slope = (made.layout.ravel(made.parameters(vector + step)) - made.layout.ravel(back)) / 1e-6
        np.testing.assert_allclose(chain[:, k], slope, atol=1e-4)
    if not opened:
        assert made.log_volume(vector) == pytest.approx(np.linalg.slogdet(chain)[1], rel=1e-6)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("distribution", "low", "high"), BOUNDS[:-1], ids=lambda x: type(x).__name__)
def test_the_density_of_opened_coordinates_is_one(distribution: dist.Distribution, low: float, high: float) -> None:
    # A copy: what a distribution computes once and keeps would stay in float64 for other tests.
    prior = {"x": copy.deepcopy(distribution)}
    for offset in [None, 0.3] if low >= 0 else [None]:
        given = () if offset is None else logarithm(prior, "x", offset)
        made = Coordinates.of(prior, ("x",), given).opened()
        for x in priors.sample(prior, jax.random.key(1), (20,))["x"]:
            z = made.vector({"x": x})
            assert made.parameters(z)["x"] == pytest.approx(float(x), rel=1e-3, abs=1e-3)

        def density(z: jax.Array, made: Coordinates = made) -> jax.Array:
            return priors.log_prob(prior, made.parameters(z[None])) + made.log_volume(z[None])

        grid = jnp.linspace(-60, 60, 240001)
        total = np.trapezoid(np.exp(jax.vmap(density)(grid)), grid)
        assert total == pytest.approx(1, rel=2e-2)
        slope = jax.vmap(jax.grad(density))(jnp.array([-30.0, 30.0]))
        assert np.all(np.isfinite(slope))


def test_a_circle_has_no_edge() -> None:
    prior = {"angle": priors.Cyclic(0.0, np.pi)}
    ring = Coordinates.of(prior, ("angle",)).opened()
    z = jax.random.normal(jax.random.key(0), (4000, 2))
    angle = jax.vmap(lambda z: ring.parameters(z)["angle"])(z)
    assert scipy.stats.kstest(np.asarray(angle), "uniform", (0, np.pi)).pvalue > 0.01
    for x in (0.0, 0.3, 2.0, 3.1):
        back = ring.parameters(ring.vector({"angle": jnp.asarray(x)}))["angle"]
        assert np.sin(2 * (float(back) - x)) == pytest.approx(0, abs=1e-5)
        far = ring.redrawn(ring.vector({"angle": jnp.asarray(x)}), jax.random.key(1))
        assert np.sin(2 * (float(ring.parameters(far)["angle"]) - x)) == pytest.approx(0, abs=1e-5)
        assert 0.5 < np.linalg.norm(far) < 1.5
    at_origin = jax.grad(lambda z: ring.parameters(z)["angle"])(jnp.zeros(2))
    assert np.all(np.isfinite(at_origin))
    # Its density in the plane, with that of the angle, is normalized.
    side = jnp.linspace(-2, 2, 401)
    grid = jnp.stack(jnp.meshgrid(side, side), -1).reshape(-1, 2)
    density = jax.vmap(lambda z: priors.log_prob(prior, ring.parameters(z)) + ring.log_volume(z))(grid)
    assert np.sum(np.exp(density)) * 1e-4 == pytest.approx(1, rel=1e-3)


def test_edges_hold_what_would_leave_and_let_go_what_would_return() -> None:
    made = mixed()
    vector = made.vector({**MIXED_AT, "turn": np.array(5.0), "width": np.array([0.001, 0.7])})
    inside = made.project(vector)
    found = made.parameters(inside)
    np.testing.assert_allclose(found["width"], [0.01, 0.2], rtol=1e-6)
    assert 0.5 <= found["turn"] < 2.5
    assert found["turn"] == pytest.approx(1.0)
    assert made.at_bound(found)
    assert not made.at_bound(MIXED_AT)
    outwards = jnp.array([1.0, -1.0, 1.0, 1.0, 1.0])
    np.testing.assert_array_equal(made.held(inside, outwards), [True, True, False, False, False])
    np.testing.assert_array_equal(made.held(inside, -outwards), [False] * 5)
    # On a bound, where rounding may lead beyond it, a parameter can still be moved.
    assert np.all(np.diagonal(made.chain(inside)) > 0)


def test_logarithms_only_of_what_is_positive() -> None:
    prior = {"a": dist.HalfNormal(1.0), "b": dist.Normal(0.0, 1.0), "c": 2.0, "d": dist.Uniform(-0.5, 1.0)}
    assert logarithm(prior, "a") == (Interval("a", 0.0),)
    assert logarithm(prior, "d", 0.5)
    for name in ("b", "c", "d", "e"):
        assert logarithm(prior, name) == ()


@pytest.mark.parametrize(("low", "high", "softness"), [(0.0, 1.0, 0.1), (0.0, np.inf, 0.3), (-np.inf, np.inf, 1.0)])
def test_soft_bounds(low: float, high: float, softness: float, float64: None) -> None:
    lower, upper = jnp.asarray(low), jnp.asarray(high)
    z = jnp.linspace(-0.4, 1.3, 41)
    value, log_derivative = coordinates._bent(z, lower, upper, jnp.asarray(softness))
    assert np.all((value > low) & (value < high))
    derivative = jax.vmap(jax.grad(lambda z: coordinates._bent(z, lower, upper, jnp.asarray(softness))[0]))(z)
    np.testing.assert_allclose(np.exp(log_derivative), derivative, rtol=1e-9)
    np.testing.assert_allclose(coordinates._unbent(value, lower, upper, jnp.asarray(softness)), z, atol=1e-9)
    for far in (-1e3, 1e3):
        slope = jax.grad(lambda z: coordinates._bent(z, lower, upper, jnp.asarray(softness))[1])(far)
        assert np.isfinite(slope)


def test_arrays_of_angles() -> None:
    prior = {"angle": priors.Cyclic(0.0, np.pi).expand((3,))}
    for made in (Coordinates.of(prior, ("angle",)), Coordinates.of(prior, ("angle",)).opened()):
        assert isinstance(made.blocks[0], Circle)
        at = jnp.array([0.1, 1.0, 3.0])
        np.testing.assert_allclose(made.parameters(made.vector({"angle": at}))["angle"], at, rtol=1e-5)
