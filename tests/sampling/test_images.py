"""Posteriors of images, against the exact normal distribution; and what is wrong in one line."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import jaxinv as ji
from jaxinv import imaging

SHAPE, SIGMA = (36, 32), 0.1
SHEAR = imaging.KaiserSquires(SHAPE)
PRIOR = imaging.PowerSpectrum(SHAPE, lambda f: 0.2 / (1 + (f / 0.1) ** 2))
PROBLEM = ji.Problem(SHEAR, ji.noise.Gaussian(SIGMA), {"image": PRIOR})


@pytest.fixture(scope="module")
def masked() -> tuple[np.ndarray, ji.Observation, np.ndarray, np.ndarray]:
    """A truth, its shear with noise and a hole, and the exact mean and standard deviation."""
    truth, data = PROBLEM.simulate(jax.random.key(0))
    mask = np.ones((2, *SHAPE), bool)
    mask[:, 8:16, 10:20] = False
    n = SHAPE[0] * SHAPE[1]
    units = jnp.eye(n).reshape(n, *SHAPE)
    matrix = np.asarray(jax.jit(jax.vmap(SHEAR))(units)).reshape(n, -1).astype(float)
    prior = np.asarray(jax.vmap(lambda x: PRIOR.coloured(PRIOR.coloured(x)))(units)).reshape(n, n).astype(float)
    weights = mask.ravel() / SIGMA**2
    covariance = np.linalg.inv((matrix * weights) @ matrix.T + np.linalg.inv(prior))
    mean = covariance @ (matrix @ (weights * np.asarray(data).ravel()))
    deviation = np.sqrt(np.diag(covariance))
    values = np.where(mask, data, np.nan).astype(np.float32)
    return np.asarray(truth["image"]), ji.Observation(values), mean.reshape(SHAPE), deviation.reshape(SHAPE)


def test_perturb_and_optimize_draws_from_the_exact_posterior(masked: tuple) -> None:
    truth, observed, mean, deviation = masked
    found = ji.draw(PROBLEM, observed, key=jax.random.key(1), method=ji.PerturbAndOptimize(n_draws=1000))
    assert found.status == ji.PosteriorStatus.CONVERGED
    assert found.scalars["route"] == ji.PosteriorRoute.PERTURBED
    draws = found.draws["image"][0]
    ratio = found.standard_deviation()["image"] / deviation
    assert ratio.mean() == pytest.approx(1, abs=0.01)
    assert ratio.std() < 0.03  # that of 1000 draws is 0.022
    assert np.std((draws.mean(0) - mean) / deviation) * np.sqrt(1000) == pytest.approx(1, abs=0.15)
    assert 0.92 < np.mean(np.abs(truth - mean) < 1.96 * found.standard_deviation()["image"]) < 0.98
    # Not the pixels alone: a direction in which they are correlated.
    along = draws.reshape(1000, -1) @ np.ones(mean.size) / mean.size
    assert along.std() == pytest.approx(float(np.sqrt(PRIOR.power[0, 0] / mean.size)), rel=0.1)  # the mean has no shear


@pytest.mark.slow
def test_nuts_in_white_coordinates(masked: tuple) -> None:
    _, observed, mean, deviation = masked
    method = ji.NUTS(n_chains=2, n_warmup=150, n_draws=150, max_doublings=0, max_tree_depth=5)
    found = ji.draw(PROBLEM, observed, key=jax.random.key(2), method=method)
    assert found.r_hat["image"].max() < 1.1
    assert (found.standard_deviation()["image"] / deviation).mean() == pytest.approx(1, abs=0.03)
    off = found.draws["image"].mean((0, 1)) - mean
    assert np.std(off / deviation) < 0.2


def test_few_unknowns_have_a_matrix() -> None:
    shape = (8, 6)
    prior = imaging.PowerSpectrum(shape, lambda f: 0.2 / (1 + (f / 0.1) ** 2))
    problem = ji.Problem(imaging.KaiserSquires(shape), ji.noise.Gaussian(SIGMA), {"image": prior})
    _, data = problem.simulate(jax.random.key(0))
    found = ji.draw(problem, data, key=jax.random.key(1), method=ji.PerturbAndOptimize(n_draws=2000))
    units = jnp.eye(48).reshape(48, *shape)
    matrix = np.asarray(jax.vmap(problem.forward)(units)).reshape(48, -1)
    own = np.asarray(jax.vmap(lambda x: prior.coloured(prior.coloured(x)))(units)).reshape(48, 48)
    exact = np.sqrt(np.diag(np.linalg.inv(matrix @ matrix.T / SIGMA**2 + np.linalg.inv(own))))
    ratio = found.standard_deviation()["image"].ravel() / exact
    assert ratio.mean() == pytest.approx(1, abs=0.01)
    assert ratio.std() < 0.03


def test_many_unknowns_without_correlations_move_by_their_errors() -> None:
    """1200 normal parameters, each seen once: chains start and step in units of the fit's errors."""
    scale = np.logspace(-3, 1, 1200)
    prior = {"x": dist.Normal(0.0, 10 * scale).to_event(1)}
    problem = ji.Problem(lambda p: p["x"], ji.noise.Gaussian(scale), prior)
    _, data = problem.simulate(jax.random.key(0))
    method = ji.HMC(n_chains=2, n_warmup=60, n_draws=100, max_doublings=0)
    found = ji.draw(problem, data, key=jax.random.key(1), method=method)
    ratio = found.standard_deviation()["x"] / (scale * np.sqrt(100 / 101))
    assert ratio.mean() == pytest.approx(1, abs=0.06)
    assert found.r_hat["x"].max() < 1.2


def test_what_is_wrong_is_said() -> None:
    data = np.zeros((2, *SHAPE), np.float32)
    with pytest.raises(ValueError, match="Laplace makes a covariance matrix, and 1152 numbers are inferred: take Pert"):
        ji.draw(PROBLEM, data, key=jax.random.key(0), method=ji.Laplace())
    flat = {"image": dist.Normal(0.0, 1.0).expand(SHAPE).to_event(2)}
    with pytest.raises(ValueError, match="PerturbAndOptimize needs correlated normal priors; that of 'image' is a"):
        ji.draw(ji.Problem(SHEAR, SIGMA, flat), data, key=jax.random.key(0), method=ji.PerturbAndOptimize())
    with pytest.raises(ValueError, match="n_draws must be 4 or more; found 1"):
        ji.PerturbAndOptimize(n_draws=1)
