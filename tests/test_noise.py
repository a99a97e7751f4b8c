"""Noise models against SciPy's distributions, and the law that ties residual and log density together."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxinv as ji
from jaxinv.noise import Gaussian, Noise, Poisson, StudentT
from jaxinv.observation import Observation

RNG = np.random.default_rng(0)
PREDICTION = RNG.uniform(0.5, 30, (4, 6))
COUNTS = RNG.poisson(PREDICTION).astype(float)
VALUES = PREDICTION + RNG.normal(0, 2, PREDICTION.shape)
SIGMA = RNG.uniform(0.5, 3, (4, 1))
CASES = {
    "gaussian": (Gaussian(SIGMA), VALUES, scipy.stats.norm(PREDICTION, SIGMA).logpdf(VALUES)),
    "student": (StudentT(SIGMA, 3.5), VALUES, scipy.stats.t(3.5, PREDICTION, SIGMA).logpdf(VALUES)),
    "poisson": (Poisson(), COUNTS, scipy.stats.poisson(PREDICTION).logpmf(COUNTS)),
}


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", CASES)
def test_log_density_against_scipy(name: str) -> None:
    noise, data, expected = CASES[name]
    assert noise.log_density(jnp.asarray(PREDICTION), data) == pytest.approx(expected.sum(), rel=1e-10)
    mask = RNG.random(PREDICTION.shape) > 0.3
    masked = noise.log_density(jnp.asarray(PREDICTION), Observation(np.where(mask, data, 1e9), mask=mask))
    assert masked == pytest.approx(expected[mask].sum(), rel=1e-10)
    holes = np.where(mask, data, np.nan)
    assert noise.log_density(jnp.asarray(PREDICTION), holes) == pytest.approx(expected[mask].sum(), rel=1e-10)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", CASES)
@settings(max_examples=20, deadline=None)
@given(shift=st.floats(0.2, 3.0))
def test_residual_is_the_part_that_depends_on_the_prediction(name: str, shift: float) -> None:
    noise, data, _ = CASES[name]

    def constant(prediction: np.ndarray) -> float:
        density = noise.log_density(jnp.asarray(prediction), data)
        return float(density + jnp.sum(noise.residual(jnp.asarray(prediction), data) ** 2) / 2)

    assert constant(PREDICTION * shift) == pytest.approx(constant(PREDICTION), rel=1e-9)


@pytest.mark.parametrize("noise", [Gaussian(0.3), StudentT(0.3, 4.0), Poisson()])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_derivatives_are_finite_where_prediction_and_data_agree_or_are_missing(noise: Noise, dtype: type) -> None:
    with jax.enable_x64(dtype == np.float64):
        data = jnp.array([3.0, 5.0, jnp.nan, 0.0, jnp.inf], dtype)
        at = jnp.array([3.0, 5.0 * (1 + 1e-4), 2.0, 1.0, 4.0], dtype)
        residual, slope = noise.residual(at, data), jax.jacfwd(lambda p: noise.residual(p, data))(at)
        gradient = jax.grad(lambda p: noise.log_density(p, data))(at)
        for result in (residual, slope, gradient):
            assert result.dtype == dtype
            assert np.all(np.isfinite(result))
        assert residual[2] == residual[4] == 0
        assert slope[2, 2] == gradient[2] == 0


@pytest.mark.usefixtures("float64")
def test_poisson_deviance_is_smooth_through_zero() -> None:
    mean = 50.0
    counts = mean * (1 + np.linspace(-0.05, 0.05, 2001))
    residual = Poisson().residual(jnp.full(2001, mean), jnp.asarray(counts))
    exact = 2 * (mean - counts + counts * np.log(counts / mean))
    np.testing.assert_allclose(residual**2, exact, atol=1e-9)
    assert np.all(np.diff(residual) > 0)


def test_infinite_and_impossible_sigmas_leave_samples_out() -> None:
    noise = Gaussian(np.array([1.0, np.inf, 0.0, -1.0, np.nan]))
    assert list(noise.valid(jnp.ones(5), jnp.zeros(5))) == [True, False, False, False, False]
    np.testing.assert_array_equal(noise.residual(jnp.ones(5), jnp.zeros(5)), [-1, 0, 0, 0, 0])


@pytest.mark.parametrize(("noise", "variance"), [(Gaussian(2.0), 4.0), (StudentT(2.0, 10.0), 5.0), (Poisson(), 9.0)])
def test_simulated_noise_has_the_right_moments(noise: Noise, variance: float) -> None:
    drawn = noise.simulate(jax.random.key(0), jnp.full((400, 500), 9.0))
    assert np.mean(drawn) == pytest.approx(9, abs=0.03)
    assert np.var(drawn) == pytest.approx(variance, rel=0.02)


class Marginal(Noise):
    """Two frames of one unknown object, seen at a predicted gain; the object, standard normal, is integrated out.

    The prediction is `(n,)` gains, the data are `(2, n)` frames: each pair is normal with covariance g^2 + sigma^2 I.
    """

    def data_shape(self, prediction_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (2, *prediction_shape)

    def log_density(self, prediction, data):
        total, difference = (data[0] + data[1]) / np.sqrt(2), (data[0] - data[1]) / np.sqrt(2)
        variance = 2 * prediction**2 + 0.01
        logarithms = total**2 / variance + jnp.log(variance) + difference**2 / 0.01 + np.log(0.01)
        return -jnp.sum(logarithms) / 2 - prediction.size * np.log(2 * np.pi)

    def simulate(self, key, prediction):
        own, noise = jax.random.split(key)
        frames = prediction * jax.random.normal(own, prediction.shape)
        return frames + 0.1 * jax.random.normal(noise, (2, *prediction.shape))


def test_data_may_have_another_shape_than_the_prediction() -> None:
    gain = ji.Problem(lambda p: p["gain"] * jnp.ones(400), Marginal(), {"gain": dist.Uniform(0.1, 5.0)})
    assert gain.prediction_shape() == (400,)
    assert gain.data_shape() == (2, 400)
    truth, frames = gain.simulate(jax.random.key(0), (3,))
    assert frames.shape == (3, 2, 400)
    for g, data in zip(truth["gain"], frames, strict=True):
        exact = scipy.stats.multivariate_normal(np.zeros(2), g**2 + 0.01 * np.eye(2))
        assert gain.log_likelihood({"gain": g}, data) == pytest.approx(exact.logpdf(data.T).sum(), rel=1e-4)
        grid = jnp.linspace(0.1, 5, 500)
        best = grid[jnp.argmax(jax.vmap(lambda x, data=data: gain.log_likelihood({"gain": x}, data))(grid))]
        assert best == pytest.approx(float(g), rel=0.15)
    with pytest.raises(ValueError, match=r"shape \(400,\); Marginal noise takes \(2, 400\)"):
        ji.fit(gain, np.zeros(400))
    for solver in (ji.LevenbergMarquardt(), ji.GaussNewtonCG()):
        with pytest.raises(ValueError, match=r"needs residuals, which Marginal noise does not have: take solver=LBFGS"):
            ji.fit(gain, np.asarray(frames), solver=solver)
    with pytest.raises(ValueError, match="Marginal noise is no sum over samples, so it has no residuals"):
        gain.residual({"gain": 1.0}, frames[0])
    with pytest.raises(ValueError, match="Marginal noise takes no sigma"):
        ji.fit(gain, Observation(np.asarray(frames), sigma=0.1))
