import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinv.sampling.diagnostics import bfmi, convergence, effective_sample_size, reliable_pareto_k, smoothed_weights

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    arviz = pytest.importorskip("arviz")


def chains(kind: str, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((4, 800))
    if kind == "autoregressive":
        for k in range(1, 800):
            x[:, k] = 0.8 * x[:, k - 1] + 0.6 * x[:, k]
    elif kind == "antithetic":
        for k in range(1, 800):
            x[:, k] = -0.4 * x[:, k - 1] + np.sqrt(1 - 0.16) * x[:, k]
    elif kind == "apart":
        x += np.arange(4)[:, None] * 0.3
    elif kind == "different widths":
        x *= np.array([1, 1, 1, 2.0])[:, None]
    elif kind == "drifting":
        x += np.linspace(0, 1, 800)
    elif kind == "heavy tails":
        x = rng.standard_cauchy((4, 800))
    elif kind == "ties":
        x = np.round(x, 1)
    return x


KINDS = ["white", "autoregressive", "antithetic", "apart", "different widths", "drifting", "heavy tails", "ties"]


@pytest.mark.parametrize("kind", KINDS)
def test_convergence_is_arviz_convergence(kind: str, float64: None) -> None:
    x = chains(kind)
    found = convergence(jnp.asarray(x))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = [float(arviz.rhat(x)), float(arviz.ess(x, method="bulk")), float(arviz.ess(x, method="tail"))]
    assert float(found.r_hat) == pytest.approx(expected[0], abs=2e-4)
    assert float(found.ess_bulk) == pytest.approx(expected[1], rel=0.01)
    assert float(found.ess_tail) == pytest.approx(expected[2], rel=0.02)


def test_float32_is_enough() -> None:
    x = chains("autoregressive")
    single = convergence(jnp.asarray(x, jnp.float32))
    with jax.enable_x64(True):
        double = convergence(jnp.asarray(x))
    for a, b in zip(single, double, strict=True):
        assert float(a) == pytest.approx(float(b), rel=5e-3)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_effective_sample_size_of_an_autoregressive_series(rho: float) -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((4, 20000))
    for k in range(1, x.shape[1]):
        x[:, k] = rho * x[:, k - 1] + np.sqrt(1 - rho**2) * x[:, k]
    assert float(effective_sample_size(jnp.asarray(x))) == pytest.approx(80000 * (1 - rho) / (1 + rho), rel=0.1)


def test_chains_that_stand_still_or_break_have_no_r_hat() -> None:
    assert np.isnan(convergence(jnp.ones((4, 100))).r_hat)
    assert np.isnan(convergence(jnp.full((4, 100), jnp.nan)).r_hat)


@pytest.mark.parametrize("width", [0.6, 1.0, 1.5])
def test_pareto_k_of_normal_proposals(width: float, float64: None) -> None:
    # Weights of a standard normal target under a proposal of another width: narrow ones have heavy-tailed weights.
    rng = np.random.default_rng(2)
    x = width * rng.standard_normal(20000)
    ratios = -(x**2) / 2 + (x / width) ** 2 / 2
    found = smoothed_weights(jnp.asarray(ratios))
    weights = np.exp(np.asarray(found.log_weights))
    assert weights.sum() == pytest.approx(1)
    if width < 0.7:  # the exact tail index is 1 - width^2
        assert float(found.pareto_k) == pytest.approx(1 - width**2, abs=0.15)
    else:
        assert float(found.pareto_k) < 0.2
        assert np.sum(weights * x**2) == pytest.approx(1, abs=0.05)


def test_pareto_k_is_arviz_pareto_k(float64: None) -> None:
    rng = np.random.default_rng(3)
    ratios = rng.standard_t(3, 4000) * 1.5
    found = smoothed_weights(jnp.asarray(ratios))
    if not hasattr(arviz, "psislw"):
        pytest.skip("this version of ArviZ has no psislw")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        log_weights, k = arviz.psislw(ratios)
    assert float(found.pareto_k) == pytest.approx(float(k), abs=0.03)
    np.testing.assert_allclose(np.exp(found.log_weights), np.exp(np.asarray(log_weights)), atol=2e-3)


def test_weights_at_the_extremes() -> None:
    assert float(smoothed_weights(jnp.zeros(1000)).pareto_k) < 0
    assert np.isinf(smoothed_weights(jnp.full(1000, -jnp.inf)).pareto_k)
    assert reliable_pareto_k(100) == pytest.approx(0.5)
    assert reliable_pareto_k(100000) == 0.7


def test_bfmi_of_an_autoregressive_energy() -> None:
    # The mean square step of a series with correlation rho is 2 (1 - rho) times its variance.
    rng = np.random.default_rng(0)
    energy = np.empty((2, 3, 20000))
    for chain, rho in enumerate((0.0, 0.5, 0.9)):
        noise = rng.standard_normal((2, 20000))
        energy[:, chain, 0] = noise[:, 0]
        for k in range(1, 20000):
            energy[:, chain, k] = rho * energy[:, chain, k - 1] + np.sqrt(1 - rho**2) * noise[:, k]
    np.testing.assert_allclose(bfmi(energy), 0.2, rtol=0.15)
    np.testing.assert_allclose(bfmi(energy[:, :1]), 2.0, rtol=0.05)
    assert np.isnan(bfmi(np.ones((1, 10))))
