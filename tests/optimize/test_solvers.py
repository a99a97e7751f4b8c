"""Each solver against closed forms: small problems with bounds and circles, and a coupled map."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.optimize
from jaxtyping import Array

import jaxinv as ji
from jaxinv.forward import Forward, Parameter, Parameters
from jaxinv.noise import Gaussian, Noise
from jaxinv.optimize.fit import default_solver
from jaxinv.results.solution import Status
from tests.models import Decay, Line, Polynomial, Wave, X

SOLVERS = {
    "LevenbergMarquardt": ji.LevenbergMarquardt(tolerance=1e-9, relative_tolerance=0.0),
    "GaussNewtonCG": ji.GaussNewtonCG(tolerance=1e-9, relative_tolerance=0.0, accuracy=1e-6),
    "LBFGS": ji.LBFGS(tolerance=1e-12, relative_tolerance=0.0, covariance="diagonal"),
}
DECAY = {"amplitude": dist.Uniform(0.0, 10.0), "rate": dist.Uniform(0.0, 10.0), "background": dist.Normal(0.0, 1.0)}
each_solver = pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)


@each_solver
def test_all_find_the_same_minimum_and_errors(float64: None, solver: ji.Solver) -> None:
    problem = ji.Problem(Decay(), Gaussian(0.05), DECAY)
    _, data = problem.simulate(jax.random.key(3), (7,))
    found = ji.fit(problem, data, solver=solver)
    assert np.all(found.status <= Status.AT_BOUND)
    names = list(DECAY)

    def residual(theta: np.ndarray, values: np.ndarray) -> np.ndarray:
        a, rate, b = theta
        return np.append((values - a * np.exp(-rate * X) - b) / 0.05, b)

    for k, values in enumerate(np.asarray(data)):
        start = [found.parameters[name][k] for name in names]
        best = scipy.optimize.least_squares(
            residual, start, args=(values,), bounds=([0, 0, -np.inf], [10, 10, np.inf]), xtol=1e-14, ftol=1e-14
        )
        for name, value in zip(names, best.x, strict=True):
            assert found.parameters[name][k] == pytest.approx(value, rel=1e-5)
        if found.status[k] == Status.CONVERGED:
            error = np.sqrt(np.diag(np.linalg.inv(best.jac.T @ best.jac)))
            np.testing.assert_allclose([found.standard_error[name][k] for name in names], error, rtol=1e-4)


@each_solver
def test_bounds_hold(float64: None, solver: ji.Solver) -> None:
    """The minimum on a bound is that of the other parameters there."""
    line = 1.0 + 2.0 * X
    problem = ji.Problem(
        Line(), Gaussian(0.1), {"intercept": dist.Uniform(-3.0, 0.5), "slope": dist.Uniform(-9.0, 9.0)}
    )
    found = ji.fit(problem, line, solver=solver)
    assert found.parameters["intercept"] == pytest.approx(0.5, abs=1e-12)
    assert found.parameters["slope"] == pytest.approx(np.sum(X * (line - 0.5)) / np.sum(X**2), rel=1e-7)
    assert found.status == Status.AT_BOUND


@each_solver
def test_circles_and_symmetries(float64: None, solver: ji.Solver) -> None:
    prior = {"amplitude": dist.Uniform(0.0, 5.0), "phase": ji.priors.Cyclic(0.0, 2 * np.pi)}
    problem = ji.Problem(Wave(), Gaussian(0.01), prior)
    data = 1.5 * np.cos(3 * X - np.array([6.2, 0.05, 3.0])[:, None])
    found = ji.fit(problem, data, solver=solver, initial={"amplitude": 1.0, "phase": np.array([0.3, 6.0, 2.0])})
    np.testing.assert_allclose(found.parameters["phase"], [6.2, 0.05, 3.0], atol=1e-6)
    np.testing.assert_allclose(found.parameters["amplitude"], 1.5, rtol=1e-6)


@pytest.mark.parametrize("solver", [ji.GaussNewtonCG(), ji.LBFGS(lanes=2)], ids=["GaussNewtonCG", "LBFGS"])
def test_a_batch_is_its_objects(solver: ji.Solver) -> None:
    """Also with fewer lanes than objects, missing samples, an object without data, and in single precision."""
    problem = ji.Problem(Decay(), Gaussian(0.05), DECAY)
    _, data = problem.simulate(jax.random.key(4), (5,))
    data = np.array(data)
    data[1, 3:9], data[3] = np.nan, np.nan
    together = ji.fit(problem, data, solver=solver)
    exact = ji.fit(problem, data, solver=ji.LevenbergMarquardt(tolerance=1e-6))
    assert together.status[3] == Status.NO_DATA
    assert np.all(np.delete(together.status, 3) <= Status.AT_BOUND)
    for name in DECAY:
        gap = np.abs(together.parameters[name] - exact.parameters[name]) / exact.standard_error[name]
        assert np.nanmax(gap) < 0.1
        single = [ji.fit(problem, one, solver=solver).parameters[name] for one in data[:2]]
        np.testing.assert_allclose(single, together.parameters[name][:2], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_prior_that_is_not_convex_everywhere(float64: None, wrapped: bool) -> None:
    """Far out, a heavy-tailed prior is curved downwards; left in, a step could go uphill."""
    heavy, n, sigma = dist.StudentT(2.0, 0.0, 0.3).expand((150,)), 150, 1.0
    prior = {"x": heavy.to_event(1) if wrapped else heavy}
    data = np.linspace(-12, 12, n)
    solver = ji.GaussNewtonCG(tolerance=1e-14, relative_tolerance=0.0, max_iterations=500)
    found = ji.fit(ji.Problem(lambda p: p["x"], Gaussian(sigma), prior), data, solver=solver)

    def slope(x: np.ndarray) -> np.ndarray:
        return x - data + 3 * x / (2 * 0.09 + x**2)

    np.testing.assert_allclose(slope(found.parameters["x"]), 0, atol=1e-4)
    x = found.parameters["x"]
    curved = np.maximum(3 * (0.18 - x**2) / (0.18 + x**2) ** 2, 0)
    np.testing.assert_allclose(found.standard_error["x"], (1 + curved) ** -0.5, rtol=1e-6)


def test_rosenbrock_by_lbfgs(float64: None) -> None:
    """The valley of which a first-order method is afraid; 20 unknowns."""

    class Valley(Noise):
        def log_density(self, prediction: Array, data: Array) -> Array:
            x = prediction - 0 * data
            return -jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)

        def simulate(self, key: Array, prediction: Array) -> Array:
            raise NotImplementedError

    problem = ji.Problem(lambda p: p["x"], Valley(), {"x": dist.Normal(0.0, 1e4).expand((20,)).to_event(1)})
    found = ji.fit(
        problem, np.zeros(20), solver=ji.LBFGS(n_starts=1, tolerance=1e-10), initial={"x": np.full(20, -1.2)}
    )
    np.testing.assert_allclose(found.parameters["x"], 1, atol=1e-4)
    assert found.status == Status.CONVERGED
    assert found.iterations < 250
    assert np.isnan(found.chi2)
    assert found.covariance is None
    assert np.all(np.isnan(found.standard_error["x"]))


SIDE, NAMES = 32, tuple("abcdefghi")


class BlurredMap(Forward):
    """Nine parameters of every pixel, mixed in nine channels and blurred: a coupled map with a closed form."""

    mixing: np.ndarray
    transfer: np.ndarray

    @property
    def parameters(self) -> dict[str, Parameter]:
        return {name: Parameter(shape=(SIDE, SIDE)) for name in NAMES}

    def __call__(self, parameters: Parameters) -> Array:
        stacked = jnp.stack([parameters[name] for name in NAMES])
        mixed = jnp.tensordot(jnp.asarray(self.mixing, stacked.dtype), stacked, 1)
        return jnp.fft.irfft2(jnp.fft.rfft2(mixed) * self.transfer, (SIDE, SIDE))


def blurred_map() -> tuple[ji.Problem, np.ndarray, np.ndarray, np.ndarray]:
    """The problem, data, and the exact mean and standard deviation of each parameter in each pixel."""
    rng = np.random.default_rng(0)
    mixing = np.eye(9) + 0.3 * rng.normal(size=(9, 9))
    fy, fx = np.fft.fftfreq(SIDE)[:, None], np.fft.fftfreq(SIDE)
    transfer = np.exp(-2 * np.pi**2 * 1.2**2 * (fy**2 + fx**2))
    deviation, sigma = np.linspace(0.5, 2, 9), 0.05
    prior = {
        name: dist.Normal(0.0, d).expand((SIDE, SIDE)).to_event(2) for name, d in zip(NAMES, deviation, strict=True)
    }
    problem = ji.Problem(BlurredMap(mixing, transfer[:, : SIDE // 2 + 1]), Gaussian(sigma), prior)
    truth = deviation[:, None, None] * rng.normal(size=(9, SIDE, SIDE))
    blurred = np.fft.ifft2(np.fft.fft2(np.tensordot(mixing, truth, 1)) * transfer).real
    data = blurred + sigma * rng.normal(size=blurred.shape)
    # Each spatial frequency by itself: (transfer^2 M^T M / sigma^2 + D^-2) x = transfer M^T d / sigma^2.
    matrices = transfer[..., None, None] ** 2 * (mixing.T @ mixing) / sigma**2 + np.diag(deviation**-2.0)
    seen = np.moveaxis(np.fft.fft2(data), 0, -1)
    right = transfer[..., None] * (seen @ mixing) / sigma**2
    mean = np.fft.ifft2(np.moveaxis(np.linalg.solve(matrices, right[..., None])[..., 0], -1, 0)).real
    error = np.sqrt(np.mean(np.linalg.inv(matrices), axis=(0, 1)).diagonal())
    return problem, data.astype(np.float32), mean, error


def test_a_coupled_map_of_nine_thousand_unknowns() -> None:
    """By the solver that is taken without a word; errors are estimated, the covariance is an operator."""
    problem, data, mean, error = blurred_map()
    assert default_solver(problem) == ji.GaussNewtonCG()
    found = ji.fit(problem, data, solver=ji.GaussNewtonCG(covariance="operator"))
    assert found.status == Status.CONVERGED
    assert found.iterations < 10
    for k, name in enumerate(NAMES):
        np.testing.assert_allclose(found.parameters[name], mean[k], atol=0.2 * error[k])
        assert np.sqrt(np.mean((found.parameters[name] - mean[k]) ** 2)) < 0.03 * error[k]
        assert np.sqrt(np.mean((found.standard_error[name] / error[k] - 1) ** 2)) < 0.1
        assert np.mean(found.standard_error[name]) == pytest.approx(error[k], rel=0.03)
    assert found.covariance.shape == (9 * SIDE**2, 9 * SIDE**2)
    unit = np.zeros(9 * SIDE**2, np.float32)
    unit[found.labels.index("c[5, 7]")] = 1
    column = found.covariance @ unit
    assert np.sqrt(column[found.labels.index("c[5, 7]")]) == pytest.approx(error[2], rel=1e-3)
    with pytest.raises(ValueError, match=r"vectors have the shape \(3,\)"):
        _ = found.covariance @ np.ones(3)
    with pytest.raises(ValueError, match="no dense covariance"):
        _ = found.correlation
    assert "covariance" not in found.to_xarray()


def test_lbfgs_finds_the_coupled_map_too(float64: None) -> None:
    problem, data, mean, error = blurred_map()
    found = ji.fit(problem, data.astype(float), solver=ji.LBFGS(n_starts=1))
    for k, name in enumerate(NAMES):
        assert np.sqrt(np.mean((found.parameters[name] - mean[k]) ** 2)) < 0.05 * error[k]


@pytest.mark.parametrize(("solver", "said"), [
    (ji.LBFGS, "make one of it, LBFGS()"),
    ("lm", "found 'lm'"),
])  # fmt: skip
def test_what_is_no_solver(solver: object, said: str) -> None:
    with pytest.raises(ValueError, match="`solver` is a") as caught:
        ji.fit(ji.Problem(Line(), 0.1, {"intercept": dist.Normal(), "slope": 1.0}), X, solver=solver)  # type: ignore
    assert said in str(caught.value)
    with pytest.raises(ValueError, match="covariance is one of 'dense', 'diagonal'"):
        ji.LBFGS(covariance="full")
    for made in (ji.LBFGS, ji.GaussNewtonCG, ji.LevenbergMarquardt):
        with pytest.raises(ValueError, match="n_starts is a whole number above 0; found 0"):
            made(n_starts=0)
    with pytest.raises(ValueError, match=r"memory is a whole number above 0; found 2\.5"):
        ji.LBFGS(memory=2.5)  # type: ignore


def test_a_prior_that_says_something_needs_fewer_samples() -> None:
    """Where it is flat, as many as there are parameters."""
    data = np.full(len(X), np.nan)
    data[4] = 1.0
    exact = ji.LevenbergMarquardt(tolerance=1e-6, relative_tolerance=0.0)
    wide, narrow = dist.Uniform(-9.0, 9.0), dist.Normal(0.0, 1.0)
    flat = ji.fit(ji.Problem(Line(), Gaussian(0.1), {"intercept": wide, "slope": wide}), data)
    assert flat.status == Status.NO_DATA
    found = ji.fit(ji.Problem(Line(), Gaussian(0.1), {"intercept": narrow, "slope": narrow}), data, solver=exact)
    assert found.status == Status.CONVERGED
    size = 1 + X[4] ** 2 + 0.01
    assert found.parameters["slope"] == pytest.approx(X[4] / size, rel=1e-4)
    assert found.standard_error["slope"] == pytest.approx(np.sqrt(1 - X[4] ** 2 / size), rel=1e-4)


def test_covariances_of_few_parameters_agree() -> None:
    prior = {
        "coefficients": dist.Normal(0.0, 1.0).expand((3,)).to_event(1),
        "scale": ji.Tied("coefficients", lambda c: 1 + c[1]),
    }
    problem = ji.Problem(Polynomial(), Gaussian(0.1), prior)
    _, data = problem.simulate(jax.random.key(0), (3, 2))
    kinds = ("dense", "diagonal", "operator", "none")
    exact = ji.LevenbergMarquardt(tolerance=1e-6, relative_tolerance=0.0)
    made = {kind: ji.fit(problem, data, solver=dataclasses.replace(exact, covariance=kind)) for kind in kinds}
    for name in ("coefficients", "scale"):
        for kind in ("diagonal", "operator"):
            np.testing.assert_allclose(made[kind].standard_error[name], made["dense"].standard_error[name], rtol=2e-3)
        assert np.all(np.isnan(made["none"].standard_error[name]))
    vectors = np.random.default_rng(0).normal(size=(3, 2, 3)).astype(np.float32)
    product = np.einsum("...ij,...j->...i", made["dense"].covariance, vectors)
    np.testing.assert_allclose(made["operator"].covariance @ vectors, product, rtol=5e-3, atol=1e-6)
    one = made["operator"].each(lambda x: x[1, 1])
    np.testing.assert_allclose(one.covariance @ vectors[1, 1], product[1, 1], rtol=5e-3, atol=1e-6)
