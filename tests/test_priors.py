"""One statement, four uses: bounds, coordinates, density and samples of a prior."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.stats

from jaxinv import priors

BOUNDS = [
    (dist.Uniform(-1.0, 3.0), -1, 3),
    (dist.Normal(2.0, 1.0), -np.inf, np.inf),
    (dist.HalfNormal(2.0), 0, np.inf),
    (dist.LogNormal(0.0, 1.0), 0, np.inf),
    (dist.Exponential(1.0), 0, np.inf),
    (dist.TruncatedNormal(0.0, 1.0, low=-0.5, high=2.0), -0.5, 2),
    (dist.Beta(2.0, 2.0), 0, 1),
    (dist.StudentT(3.0), -np.inf, np.inf),
    (priors.Cyclic(0.0, np.pi), 0, np.pi),
]


@pytest.mark.parametrize(("distribution", "low", "high"), BOUNDS, ids=lambda x: type(x).__name__)
def test_bounds_are_those_of_the_support(distribution: dist.Distribution, low: float, high: float) -> None:
    lower, upper = priors.bounds(distribution)
    np.testing.assert_allclose([lower, upper], [low, high], rtol=1e-6)
    array = distribution.expand((3,))
    assert priors.bounds(array)[0].shape == (3,)
    assert priors.bounds(array.to_event(1))[0].shape == (3,)
    drawn = priors.sample({"x": distribution}, jax.random.key(0), (1000,))["x"]
    assert np.all((drawn >= lower) & (drawn <= upper))
    centre = priors.centre(distribution)
    assert np.isfinite(centre)


def test_bounds_of_what_has_none() -> None:
    for distribution in (dist.Dirichlet(jnp.ones(3)), dist.Poisson(2.0), dist.Categorical(jnp.ones(3) / 3)):
        with pytest.raises(ValueError, match=f"interval.*{type(distribution).__name__}"):
            priors.bounds(distribution)


def test_projection_wraps_what_is_cyclic() -> None:
    prior = {"angle": priors.Cyclic(0.0, np.pi)}
    wrapped = priors.project(prior, {"angle": jnp.asarray([-0.1, 0.5, 3.2])})["angle"]
    np.testing.assert_allclose(wrapped, [np.pi - 0.1, 0.5, 3.2 - np.pi], atol=1e-6)
    low, period = priors.circles(prior | {"x": dist.Normal(0, 1)})["angle"]
    assert (low, period) == (0, pytest.approx(np.pi))


def test_projection_clips_to_the_support() -> None:
    prior = {"x": dist.Uniform(0.0, 1.0), "y": dist.Normal(0, 1), "z": 3.0}
    out = priors.project(prior, {"x": jnp.asarray(2.0), "y": jnp.asarray(-50.0)})
    assert (out["x"], out["y"]) == (1, -50)


def test_density_of_the_parameters() -> None:
    prior = {"x": dist.Uniform(0.0, 4.0), "y": dist.Normal(1.0, 2.0), "z": 5.0, "t": priors.Tied("x")}
    inside = priors.log_density(prior, {"x": 1.0, "y": 0.0})
    assert inside == pytest.approx(-np.log(4) + scipy.stats.norm(1, 2).logpdf(0), rel=1e-5)
    assert priors.log_density(prior, {"x": 9.0, "y": 0.0}) == -np.inf
    assert list(priors.free(prior)) == ["x", "y"]
    assert list(priors.tied(prior)) == ["t"]
    assert priors.fixed(prior) == {"z": 5.0}


@pytest.mark.usefixtures("float64")
def test_smooth_is_a_density_that_its_draws_follow() -> None:
    low, high, trend = np.array([0.0, -1.0, 0.0]), np.array([1.0, 1.0, 2.0]), np.array([0.0, 0.3, 0.6])
    prior = priors.Smooth(low, high, [0.4, 0.8], trend)
    x = [np.linspace(a, b, 60) for a, b in zip(low, high)]
    grid = np.stack(np.meshgrid(*x, indexing="ij"), -1)
    density = np.exp(np.asarray(prior.log_prob(grid)))
    axes = (2, 1, 0)
    whole = density
    for axis in axes:
        whole = np.trapezoid(whole, x[axis], axis=axis)
    assert whole == pytest.approx(1, abs=1e-3)
    draws = np.asarray(prior.sample(jax.random.key(0), (20000,)))
    assert draws.shape == (20000, 3)
    assert np.all((draws >= low) & (draws <= high))
    assert np.all(np.asarray(prior.support(draws)))
    last = np.trapezoid(np.trapezoid(density, x[0], axis=0), x[1], axis=0)
    mean = np.trapezoid(last * x[2], x[2])
    assert draws[:, 2].mean() == pytest.approx(mean, abs=4 * draws[:, 2].std() / np.sqrt(20000))
    lower, upper = priors.bounds(prior)
    np.testing.assert_array_equal(lower, low)
    np.testing.assert_array_equal(upper, high)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [((0.0, 1.0, 1.0), "a row"), ((np.zeros(3), 1.0, np.ones(3)), "2"), ((np.zeros(3), 1.0, 0.0), "above 0"),
     ((np.ones(3), 1.0, 1.0), "below")],
)  # fmt: skip
def test_bad_smooth(arguments: tuple, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        priors.Smooth(*arguments)
