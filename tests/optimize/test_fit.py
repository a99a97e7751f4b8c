"""`fit` against closed forms, SciPy, certified problems and simulated truth."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jaxtyping import Array
from scipy.optimize import least_squares

from jaxinv import priors
from jaxinv.forward import Forward, Parameter, Parameters
from jaxinv.noise import Gaussian, Poisson, StudentT
from jaxinv.observation import Observation
from jaxinv.optimize import LevenbergMarquardt, fit
from jaxinv.priors import Tied
from jaxinv.problem import Problem
from jaxinv.results.solution import Status
from jaxinv.sampling import Laplace, draw
from jaxinv.spectra import MilneEddington, milne_eddington_prior
from tests.conftest import ROOT
from tests.models import Decay, Line, Polynomial, Wave, X, compilations

WIDE = dist.Uniform(-100.0, 100.0)
EXACT = LevenbergMarquardt(tolerance=1e-7, relative_tolerance=0.0)
LINE = {"intercept": WIDE, "slope": WIDE}
DECAY = {"amplitude": dist.Uniform(0.0, 10.0), "rate": dist.Uniform(0.0, 10.0), "background": dist.Uniform(-5.0, 5.0)}


def line_data(n: int = 1, sigma: float = 0.1, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(n, 2, 1))
    return (truth[:, 0] + truth[:, 1] * X + rng.normal(0, sigma, (n, len(X)))).astype(np.float32)


def test_a_linear_problem_has_the_closed_form_solution_and_covariance() -> None:
    data, sigma = line_data(20), 0.1
    found = fit(Problem(Line(), Gaussian(sigma), LINE), data)
    design = np.column_stack([np.ones_like(X), X])
    expected = np.linalg.lstsq(design, data.T, rcond=None)[0]
    covariance = np.linalg.inv(design.T @ design) * sigma**2
    error = np.sqrt(np.diag(covariance))
    for k, name in enumerate(("intercept", "slope")):
        np.testing.assert_allclose(found.parameters[name], expected[k], atol=0.01 * error[k])
        np.testing.assert_allclose(found.standard_error[name], error[k], rtol=1e-4)
    np.testing.assert_allclose(found.covariance, np.broadcast_to(covariance, (20, 2, 2)), rtol=1e-3)
    np.testing.assert_allclose(found.correlation[:, 0, 1], covariance[0, 1] / error[0] / error[1], rtol=1e-4)
    misfit = np.mean(((data - (design @ expected).T) / sigma) ** 2, axis=1)
    np.testing.assert_allclose(found.chi2, misfit, rtol=1e-4)
    assert found.labels == ("intercept", "slope")
    assert np.all(found.status == Status.CONVERGED)


def test_a_correlated_prior_gives_the_posterior_in_closed_form() -> None:
    covariance = 0.04 * (0.1 * np.eye(3) + 0.9)
    centre, sigma = np.array([0.3, -0.2, 0.1]), 0.5
    coefficients = dist.MultivariateNormal(jnp.asarray(centre), jnp.asarray(covariance))
    problem = Problem(Polynomial(), Gaussian(sigma), {"coefficients": coefficients, "scale": 1.0})
    data = np.random.default_rng(1).normal(0.5, sigma, (6, len(X))).astype(np.float32)
    found = fit(problem, data, solver=EXACT)
    design, inverse = X[:, None] ** np.arange(3), np.linalg.inv(covariance)
    precision = design.T @ design / sigma**2 + inverse
    expected = np.linalg.solve(precision, design.T @ data.T / sigma**2 + (inverse @ centre)[:, None])
    exact = np.linalg.inv(precision)
    error = np.sqrt(np.diag(exact))
    np.testing.assert_allclose(found.covariance, np.broadcast_to(exact, (6, 3, 3)), rtol=2e-3)
    np.testing.assert_allclose(found.standard_error["coefficients"][0], error, rtol=1e-3)
    assert np.max(np.abs(found.parameters["coefficients"] - expected.T) / error) < 0.01
    drawn = draw(problem, data[0], key=jax.random.key(0), method=Laplace(n_draws=20000)).draws["coefficients"][0]
    np.testing.assert_allclose(np.cov(drawn.T) / np.outer(error, error), exact / np.outer(error, error), atol=0.03)


def test_a_correlated_prior_with_a_tied_parameter() -> None:
    class Plane(Forward):
        @property
        def parameters(self) -> dict[str, Parameter]:
            return {"pair": Parameter(shape=(2,)), "twice": Parameter()}

        def __call__(self, parameters: Parameters) -> Array:
            constant, slope = parameters["pair"]
            return constant + slope * jnp.asarray(X) + parameters["twice"] * jnp.asarray(X) ** 2

    covariance = np.array([[0.04, 0.036], [0.036, 0.04]])
    pair = dist.MultivariateNormal(jnp.zeros(2), jnp.asarray(covariance))
    problem = Problem(Plane(), Gaussian(1.0), {"pair": pair, "twice": Tied("pair", lambda p: 2 * p[1])})
    data = np.random.default_rng(2).normal(0.2, 1.0, (4, len(X))).astype(np.float32)
    found = fit(problem, data, solver=EXACT)
    design = np.column_stack([np.ones_like(X), X + 2 * X**2])
    exact = np.linalg.inv(design.T @ design + np.linalg.inv(covariance))
    np.testing.assert_allclose(found.covariance, np.broadcast_to(exact, (4, 2, 2)), rtol=2e-3)
    np.testing.assert_allclose(found.standard_error["twice"], 2 * np.sqrt(exact[1, 1]), rtol=1e-3)
    mean = (exact @ design.T @ data.T).T
    assert np.max(np.abs(found.parameters["pair"] - mean) / np.sqrt(np.diag(exact))) < 0.01


def test_a_gaussian_prior_gives_the_ridge_solution() -> None:
    data, sigma, width = line_data(5, sigma=1.0), 1.0, 0.3
    prior = {"intercept": dist.Normal(0.5, width), "slope": dist.Normal(-0.5, width)}
    found = fit(Problem(Line(), Gaussian(sigma), prior), data)
    design, centre = np.column_stack([np.ones_like(X), X]), np.array([0.5, -0.5])
    curvature = design.T @ design / sigma**2 + np.eye(2) / width**2
    expected = np.linalg.solve(curvature, design.T @ data.T / sigma**2 + (centre / width**2)[:, None])
    error = np.sqrt(np.diag(np.linalg.inv(curvature)))
    for k, name in enumerate(("intercept", "slope")):
        np.testing.assert_allclose(found.parameters[name], expected[k], atol=0.02 * error[k])
        np.testing.assert_allclose(found.standard_error[name], error[k], rtol=1e-3)


def decay_data(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (3 * np.exp(-1.7 * X) + 0.4 + rng.normal(0, 0.05, len(X))).astype(np.float32)


@pytest.mark.parametrize("upper", [10.0, 1.2])
def test_a_nonlinear_problem_against_scipy_with_and_without_an_active_bound(upper: float) -> None:
    data = decay_data()
    prior = {**DECAY, "rate": dist.Uniform(0.0, upper)}
    found = fit(Problem(Decay(), Gaussian(0.05), prior), data)

    def residual(p: np.ndarray) -> np.ndarray:
        return (p[0] * np.exp(-p[1] * X) + p[2] - data) / 0.05

    expected = least_squares(residual, [1, 1, 0], bounds=([0, 0, -5], [10, upper, 5]), x_scale="jac", ftol=1e-12)
    ours = [float(found.parameters[name]) for name in DECAY]
    error = np.sqrt(np.diag(np.linalg.inv(expected.jac.T @ expected.jac)))
    np.testing.assert_array_less(np.abs(ours - expected.x), 0.1 * error)
    assert found.chi2 * len(X) == pytest.approx(2 * expected.cost, rel=1e-3)
    assert found.status == (Status.AT_BOUND if upper < 1.7 else Status.CONVERGED)
    if upper > 1.7:
        np.testing.assert_allclose([found.standard_error[name] for name in DECAY], error, rtol=0.02)


class Misra1a(Forward):
    """NIST StRD Misra1a: b1 (1 - exp(-b2 x))."""

    x: np.ndarray

    @property
    def parameters(self) -> dict[str, Parameter]:
        return {"b1": Parameter(), "b2": Parameter()}

    def __call__(self, parameters: Parameters) -> Array:
        return parameters["b1"] * (1 - jnp.exp(-parameters["b2"] * jnp.asarray(self.x)))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("start", [{"b1": 500.0, "b2": 1e-4}, {"b1": 250.0, "b2": 5e-4}])
def test_a_certified_problem_of_nist(start: dict[str, float]) -> None:
    """Statistical Reference Datasets, nonlinear regression, Misra1a: certified values, errors, sum of squares."""
    y = np.array([10.07, 14.73, 17.94, 23.93, 29.61, 35.18, 40.02, 44.82, 50.76, 55.05, 61.01, 66.40, 75.47, 81.78])
    x = np.array([77.6, 114.9, 141.1, 190.8, 239.9, 289.0, 332.8, 378.4, 434.8, 477.3, 536.8, 593.1, 689.1, 760.0])
    prior = {"b1": dist.Uniform(1.0, 2000.0), "b2": dist.Uniform(1e-6, 1e-2)}
    sigma = 1.0187876330e-1  # the certified residual standard deviation
    solver = LevenbergMarquardt(tolerance=1e-10, relative_tolerance=0.0, n_starts=1)
    found = fit(Problem(Misra1a(x), Gaussian(sigma), prior), y, initial=start, solver=solver)
    assert found.parameters["b1"] == pytest.approx(2.3894212918e02, rel=1e-6)
    assert found.parameters["b2"] == pytest.approx(5.5015643181e-04, rel=1e-6)
    assert found.standard_error["b1"] == pytest.approx(2.7070075241, rel=1e-4)
    assert found.standard_error["b2"] == pytest.approx(7.2668688436e-06, rel=1e-4)
    assert found.chi2 * 14 * sigma**2 == pytest.approx(1.2455138894e-01, rel=1e-8)


class Rosenbrock(Forward):
    """Two residuals whose sum of squares is Rosenbrock's valley; the minimum is at (1, 1)."""

    @property
    def parameters(self) -> dict[str, Parameter]:
        return {"x": Parameter(), "y": Parameter()}

    def __call__(self, parameters: Parameters) -> Array:
        x, y = parameters["x"], parameters["y"]
        return jnp.stack([10 * (y - x**2), 1 - x])


def test_rosenbrocks_valley_from_many_starts() -> None:
    prior = {"x": dist.Uniform(-3.0, 3.0), "y": dist.Uniform(-3.0, 3.0)}
    start = np.random.default_rng(0).uniform(-3, 3, (2, 200)).astype(np.float32)
    solver = LevenbergMarquardt(n_starts=1, tolerance=1e-6, relative_tolerance=0.0)
    initial = {"x": start[0], "y": start[1]}
    found = fit(Problem(Rosenbrock(), Gaussian(1.0), prior), np.zeros((200, 2)), initial=initial, solver=solver)
    np.testing.assert_allclose(found.parameters["x"], 1, atol=5e-3)
    np.testing.assert_allclose(found.parameters["y"], 1, atol=1e-2)


def test_a_cyclic_parameter_is_wrapped() -> None:
    prior = {"amplitude": dist.Uniform(0.1, 5.0), "phase": priors.Cyclic(0.0, 2 * np.pi)}
    phase = np.linspace(0.02, 6.26, 40)
    data = 2 * np.cos(3 * X - phase[:, None])
    solver = LevenbergMarquardt(n_starts=1)
    initial = {"phase": np.mod(phase + 1.5, 2 * np.pi), "amplitude": 1.0}
    found = fit(Problem(Wave(), Gaussian(0.01), prior), data, initial=initial, solver=solver)
    turn = np.mod(found.parameters["phase"] - phase + np.pi, 2 * np.pi) - np.pi
    np.testing.assert_allclose(turn, 0, atol=1e-3)
    assert np.all((found.parameters["phase"] >= 0) & (found.parameters["phase"] <= 2 * np.pi))
    assert np.all(found.status == Status.CONVERGED)


def test_tied_fixed_and_array_parameters() -> None:
    prior = {"coefficients": dist.Uniform(-10.0, 10.0).expand((3,)), "scale": 2.0}
    data = 2 * (1 - 0.5 * X + 0.25 * X**2)
    found = fit(Problem(Polynomial(), Gaussian(0.01), prior), data)
    np.testing.assert_allclose(found.parameters["coefficients"], [1, -0.5, 0.25], atol=2e-3)
    assert found.labels == ("coefficients[0]", "coefficients[1]", "coefficients[2]")
    assert found.parameters["scale"] == 2
    assert "scale" not in found.standard_error
    tied = {"intercept": WIDE, "slope": Tied("intercept", lambda a: 2 * a)}
    found = fit(Problem(Line(), Gaussian(0.1), tied), 1.5 + 3.0 * X)
    assert found.parameters["slope"] == pytest.approx(3, rel=1e-4)
    design = 1 + 2 * X
    assert found.standard_error["intercept"] == pytest.approx(0.1 / np.sqrt(design @ design), rel=1e-4)
    assert found.standard_error["slope"] == pytest.approx(0.2 / np.sqrt(design @ design), rel=1e-4)


def test_what_is_known_for_each_object() -> None:
    slopes = np.linspace(-3, 3, 12).reshape(3, 4)
    data = 0.7 + slopes[..., None] * X
    found = fit(Problem(Line(), Gaussian(0.1), LINE), data, fixed={"slope": slopes})
    np.testing.assert_allclose(found.parameters["intercept"], 0.7, atol=1e-3)
    np.testing.assert_allclose(found.parameters["slope"], slopes, rtol=1e-6)
    assert list(found.standard_error) == ["intercept"]
    assert found.chi2.shape == (3, 4)


def test_robust_and_counting_noise() -> None:
    data = line_data(1)[0]
    spoiled = data.copy()
    spoiled[[3, 17]] += 50
    clean = fit(Problem(Line(), Gaussian(0.1), LINE), data)
    robust = fit(Problem(Line(), StudentT(0.1, 3.0), LINE), spoiled)
    assert abs(robust.parameters["slope"] - clean.parameters["slope"]) < 3 * clean.standard_error["slope"]
    counts = np.random.default_rng(0).poisson(200 * np.exp(-1.2 * X) + 20, (60, len(X)))
    wide = {
        "amplitude": dist.Uniform(1.0, 1000.0),
        "rate": dist.Uniform(0.01, 10.0),
        "background": dist.Uniform(0.1, 99.0),
    }
    found = fit(Problem(Decay(), Poisson(), wide), counts.astype(np.float32))
    pull = (found.parameters["amplitude"] - 200) / found.standard_error["amplitude"]
    assert np.std(pull) == pytest.approx(1, abs=0.3)


def test_missing_and_dead_data_are_flagged_and_touch_nobody() -> None:
    problem = Problem(Line(), Gaussian(0.1), LINE)
    data = line_data(8)
    whole = fit(problem, data)
    data[2] = np.nan
    data[5, 1:] = np.inf
    mask = np.ones(data.shape, bool)
    mask[6, ::2] = False
    found = fit(problem, Observation(np.where(mask, data, 1e9), mask=mask))
    assert list(found.status) == [0, 0, Status.NO_DATA, 0, 0, Status.NO_DATA, 0, 0]
    assert np.all(np.isnan(found.parameters["slope"][[2, 5]]))
    assert np.all(np.isnan(found.covariance[[2, 5]]))
    same = [0, 1, 3, 4, 7]
    np.testing.assert_allclose(found.parameters["slope"][same], whole.parameters["slope"][same], rtol=1e-5)
    half = fit(problem, np.where(mask[6], data[6], np.nan))
    # Alone it is another program, whose last step is rounded otherwise.
    assert abs(found.parameters["slope"][6] - half.parameters["slope"]) < 0.01 * half.standard_error["slope"]


def test_nothing_is_done_for_objects_without_data() -> None:
    problem = Problem(Decay(), Gaussian(0.05), DECAY)
    data = np.full((600, len(X)), np.nan, np.float32)
    data[:3] = np.stack([decay_data(seed) for seed in range(3)])
    found = fit(problem, data)
    assert np.all(found.iterations[3:] == 0)
    assert np.all(found.status[3:] == Status.NO_DATA)
    few = fit(problem, data[:3])
    for name in DECAY:
        np.testing.assert_allclose(found.parameters[name][:3], few.parameters[name], rtol=1e-4)


def test_what_others_reach_is_enough() -> None:
    problem = Problem(Line(), Gaussian(0.1), LINE)
    bent = line_data(6) + 0.5 * np.sin(9 * X)  # which no line describes
    many = fit(problem, bent)
    assert np.all(many.starts >= 2)
    few = fit(problem, bent, solver=LevenbergMarquardt(enough=float(many.chi2.max())))
    assert np.all(few.starts == 1)
    np.testing.assert_allclose(few.chi2, many.chi2, rtol=1e-5)


def test_the_last_step_is_taken_unseen_and_only_if_it_leads_down() -> None:
    data = np.stack([decay_data(seed) for seed in range(40)])
    problem = Problem(Decay(), Gaussian(0.05), DECAY)
    exact = fit(problem, data, solver=EXACT)
    found = fit(problem, data)
    coarse = fit(problem, data, solver=LevenbergMarquardt(tolerance=20.0))
    assert found.iterations.mean() < exact.iterations.mean()
    np.testing.assert_array_less(found.chi2, exact.chi2 + 0.01 / len(X))
    for some in (found, coarse):
        again = [problem.residual({n: v[k] for n, v in some.parameters.items()}, data[k]) for k in range(40)]
        np.testing.assert_allclose(some.chi2, [np.mean(np.square(r)) for r in again], rtol=1e-4)
    assert np.all(coarse.chi2 >= exact.chi2 * (1 - 1e-5))


def test_sigma_of_each_object_and_in_common() -> None:
    data = line_data(3)
    problem = Problem(Line(), Gaussian(123.0), LINE)
    common = fit(problem, Observation(data, sigma=np.full(len(X), 0.1)))
    own = fit(problem, Observation(data, sigma=np.array([0.1, 0.2, 0.4])[:, None] * np.ones(len(X))))
    np.testing.assert_allclose(own.standard_error["slope"] / common.standard_error["slope"], [1, 2, 4], rtol=1e-4)


class Broken(Line):
    """NaN for a negative intercept."""

    def __call__(self, parameters: Parameters) -> Array:
        return super().__call__(parameters) * jnp.where(parameters["intercept"] < 200, jnp.nan, 1.0)


def test_failures_are_flagged() -> None:
    failed = fit(Problem(Broken(), Gaussian(0.1), LINE), line_data(2))
    assert np.all(failed.status == Status.FAILED)
    assert np.all(np.isnan(failed.parameters["slope"]))
    solver = LevenbergMarquardt(max_iterations=1, n_starts=1)
    stopped = fit(Problem(Decay(), Gaussian(0.05), DECAY), decay_data(), solver=solver)
    assert stopped.status == Status.NOT_CONVERGED
    assert np.isfinite(stopped.parameters["rate"])


@pytest.mark.parametrize("shape", [(), (5,), (2, 3)])
def test_batches_of_any_shape(shape: tuple[int, ...]) -> None:
    data = np.broadcast_to(line_data(1)[0], (*shape, len(X)))
    found = fit(Problem(Line(), Gaussian(0.1), LINE), data)
    assert found.chi2.shape == found.status.shape == found.parameters["slope"].shape == shape
    assert found.covariance.shape == (*shape, 2, 2)


def test_pieces_lanes_and_repetition_change_nothing() -> None:
    problem = Problem(Decay(), Gaussian(0.05), DECAY)
    data = np.stack([decay_data(seed) for seed in range(24)])
    whole, again = fit(problem, data), fit(problem, data)
    pieces = [fit(problem, Observation(data[k : k + 8], ids=np.arange(k, k + 8))) for k in (0, 8, 16)]
    lanes = fit(problem, data, solver=LevenbergMarquardt(lanes=3))
    for name in DECAY:
        np.testing.assert_array_equal(again.parameters[name], whole.parameters[name])
        joined = np.concatenate([piece.parameters[name] for piece in pieces])
        tolerance = 0.02 * whole.standard_error[name]
        np.testing.assert_array_less(np.abs(joined - whole.parameters[name]), tolerance)
        np.testing.assert_array_less(np.abs(lanes.parameters[name] - whole.parameters[name]), tolerance)


def test_one_device_and_two_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(jax.devices()) == 2, "the tests run with two CPU devices"
    problem = Problem(Decay(), Gaussian(0.05), DECAY)
    data = np.stack([decay_data(seed) for seed in range(9)])
    two = fit(problem, data)
    monkeypatch.setattr(jax, "devices", lambda: [jax.local_devices()[0]])
    one = fit(problem, data)
    for name in DECAY:
        difference = np.abs(one.parameters[name] - two.parameters[name])
        np.testing.assert_array_less(difference, 0.02 * one.standard_error[name])


def test_byte_order_and_dtype_of_the_data() -> None:
    problem = Problem(Line(), Gaussian(0.1), LINE)
    data = line_data(3)
    expected = fit(problem, data).parameters["slope"]
    for kind in (">f4", ">f8", "<f8"):
        np.testing.assert_array_equal(fit(problem, data.astype(kind)).parameters["slope"], expected)
    whole = fit(problem, np.round(data * 100).astype(np.int16)).parameters["slope"]
    np.testing.assert_allclose(whole / 100, expected, atol=0.01)


class Quantity(np.ndarray):
    """An array with a unit, as astropy's."""

    unit = "DN"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"data": np.zeros((3, 7))}, r"shape \(3, 7\); the forward model predicts \(30,\)"),
        ({"data": np.zeros((3, 30)).view(Quantity)}, "carry the unit DN"),
        ({"data": np.zeros((3, 30)), "fixed": {"slop": 1.0}}, "names 'slop'"),
        ({"data": np.zeros((3, 30)), "fixed": {"slope": np.zeros(4)}}, r"shape \(4,\); expected \(3,\)"),
        ({"data": np.zeros((3, 30)), "initial": {"slope": np.zeros((2, 2))}}, "initial"),
        ({"data": Observation(np.zeros((3, 30)), sigma=np.ones(7))}, "sigma has the shape"),
        ({"data": Observation(np.zeros((3, 30)), mask=np.ones((2, 30), bool))}, "mask has the shape"),
    ],
)
def test_clear_errors(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit(Problem(Line(), Gaussian(0.1), LINE), **arguments)


# -- Milne-Eddington: the population that codes of the field were measured on -------------------------------------

CASES = {
    "6301+6302": (["Fe I 6301.5", "Fe I 6302.5"], np.linspace(6300.8921, 6303.2710, 112)),
    "6173": (["Fe I 6173.3"], 6173.334 + np.linspace(-0.45, 0.45, 30)),
}


def population(n: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "field_strength": rng.uniform(50, 3000, n),
        "inclination": np.arccos(rng.uniform(-1, 1, n)),
        "azimuth": rng.uniform(0, np.pi, n),
        "velocity": rng.uniform(-3, 3, n),
        "doppler_width": rng.uniform(0.015, 0.05, n),
        "line_strength": rng.uniform(2, 60, n),
        "damping": rng.uniform(0.05, 1, n),
        "source_constant": rng.uniform(0.2, 0.5, n),
        "source_slope": rng.uniform(0.4, 0.9, n),
    }


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_the_global_minimum_is_found_and_the_error_bars_hold(case: str) -> None:
    lines, wavelength = CASES[case]
    model = MilneEddington(lines, wavelength)
    truth = {name: value.astype(np.float32) for name, value in population(2048, 0).items()}
    clean = np.asarray(jax.jit(jax.vmap(model.__call__))(truth))
    noise = np.random.default_rng(1).normal(0, 1e-3, clean.shape).astype(np.float32)
    found = fit(Problem(model, Gaussian(1e-3), milne_eddington_prior()), clean + noise)
    at_truth = np.mean((noise / 1e-3) ** 2, axis=(1, 2))
    solved = found.chi2 <= at_truth * (1 + 1e-5)
    assert np.mean(solved) >= 0.998
    assert np.mean(found.chi2 < 2) >= 0.998
    strong = solved & (truth["field_strength"] > 500)
    medians = {}
    for name, expected in truth.items():
        difference = found.parameters[name] - expected
        if name == "azimuth":
            difference = (difference + np.pi / 2) % np.pi - np.pi / 2
        medians[name] = np.median(np.abs(difference))
        pull = (difference / found.standard_error[name])[strong]
        assert 0.9 < np.std(pull) < 1.1, name
    if case == "6301+6302":  # pyMilne with five starts reaches 1.6 G and 1.8 m/s
        assert medians["field_strength"] <= 1.6
        assert medians["velocity"] <= 1.8e-3


MANY = """
import jax, jax.numpy as jnp, numpy as np, numpyro.distributions as dist
from jaxinv.forward import Forward, Parameter
from jaxinv.noise import Gaussian
from jaxinv.optimize import LevenbergMarquardt, fit
from jaxinv.problem import Problem

class Waves(Forward):
    n: int

    @property
    def parameters(self):
        return {"a": Parameter(shape=(self.n,))}

    def __call__(self, parameters):
        return jnp.cos(jnp.arange(60.0)[:, None] * jnp.arange(self.n) / 20) @ parameters["a"]

assert len(jax.devices()) == 2
for n, count in ((40, 256), (120, 64)):  # the latter only where it is asked for
    problem = Problem(Waves(n), Gaussian(0.1), {"a": dist.Normal(0, 1).expand([n])})
    data = np.random.default_rng(0).normal(0, 1, (count, 60)).astype(np.float32)
    found = fit(problem, data, solver=LevenbergMarquardt())
    assert np.all(found.status == 0) and found.covariance.shape == (count, n, n)
"""


def test_many_parameters_on_several_devices_come_back() -> None:
    done = subprocess.run([sys.executable, "-c", MANY], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("noise", [Gaussian, StudentT])
def test_another_seed_sigma_or_tolerance_is_not_another_program(noise: type) -> None:
    prior = {"amplitude": dist.Uniform(0, 10), "rate": dist.Uniform(0, 5), "background": 0.0}
    data = np.exp(-X)[None].repeat(3, 0)
    problem = lambda sigma: Problem(Decay(), noise(sigma), prior)  # noqa: E731
    assert compilations(lambda: fit(problem(0.1), data, seed=1)) > 0
    assert compilations(lambda: fit(problem(0.2), data, seed=2)) == 0
    assert compilations(lambda: fit(problem(1), data, solver=LevenbergMarquardt(tolerance=0.1))) == 0
    assert compilations(lambda: fit(problem(0.3), Observation(data, ids=np.arange(7, 10)), seed=2**40)) == 0
    key = jax.random.key
    method = Laplace(n_draws=100)
    assert compilations(lambda: draw(problem(0.1), data, key=key(1), method=method)) > 0
    assert compilations(lambda: draw(problem(0.2), data, key=key(2), method=method)) == 0
