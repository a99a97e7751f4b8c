"""A posterior in one pass, beside Hamiltonian Monte Carlo and known truth."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import numpyro.distributions as dist
import pytest

import jaxinv as ji
from jaxinv.amortization import Flow
from jaxinv.amortization.flow import summary
from jaxinv.networks import Network
from jaxinv.sampling import draw
from jaxinv.sampling.target import locate
from jaxinv.training.folder import FolderError
from tests.models import Decay, Direct

# A rate near its lower bound, and a background that trades against it: not a normal distribution.
PRIOR = {"amplitude": dist.Uniform(0.5, 2.0), "rate": dist.Uniform(0.0, 2.0), "background": dist.Uniform(-1.0, 1.0)}
PROBLEM = ji.Problem(Decay(), ji.noise.Gaussian(0.05), PRIOR)


@pytest.fixture(scope="module")
def flow() -> Flow:
    method = ji.NormalizingFlow(width=32, depth=1, layers=4, examples=4_000)
    training = ji.Training(steps=1000, batch_size=256, learning_rate=3e-3, evaluate=250, n_validation=1000)
    found = ji.amortize(PROBLEM, method, training, key=jax.random.key(0), progress=False)
    assert isinstance(found, Flow)
    return found


def test_its_widths_are_those_of_hmc(flow: Flow) -> None:
    _, data = PROBLEM.simulate(jax.random.key(3), (16,))
    quick = draw(PROBLEM, data, method=flow, key=jax.random.key(1))
    exact = draw(PROBLEM, data, method=ji.HMC(n_warmup=200, n_draws=250), key=jax.random.key(1))
    for name in PRIOR:
        wide = [np.ptp(np.percentile(p.draws[name], [16, 84], axis=(-2, -1)), axis=0) for p in (quick, exact)]
        assert np.mean(np.abs(wide[0] / wide[1] - 1) < 0.2) > 0.7, name


def test_it_is_calibrated(flow: Flow) -> None:
    report = ji.calibrate(PROBLEM, flow, key=jax.random.key(5), n=120)
    assert min(report.adjusted_p_values().values()) > 1e-3


def test_it_is_told_how_a_posterior_departs_from_normal() -> None:
    def departures(noise: ji.noise.Noise) -> np.ndarray:
        problem = ji.Problem(Direct(), noise, {"x": dist.Normal(0.0, 1e3)})
        target = locate(problem, np.zeros(1, np.float32), {}, {"x": np.float32(0.1)}, {"x": np.float32(np.nan)})
        return np.sinh(summary(target)[-4:])  # at -3, -1.5, 1.5, 3 standard deviations

    np.testing.assert_allclose(departures(ji.noise.Gaussian(0.2)), 0, atol=0.05)
    # log density -(1 + nu) / 2 log(1 + r^2 / nu) with nu = 3, whose curvature at the mode is (1 + nu) / nu.
    x = np.array([-3, -1.5, 1.5, 3])
    expected = x**2 / 2 - 2 * np.log1p(x**2 / 4)
    np.testing.assert_allclose(departures(ji.noise.StudentT(0.2, 3.0)), expected, atol=0.05)


def test_it_is_saved_as_a_folder_and_read_again(flow: Flow, tmp_path: Path) -> None:
    flow.save(tmp_path, PROBLEM)
    again = Flow.load(tmp_path, PROBLEM)
    _, data = PROBLEM.simulate(jax.random.key(3), (3,))
    one, other = (draw(PROBLEM, data, method=f, key=jax.random.key(1)) for f in (flow, again))
    np.testing.assert_array_equal(one.draws["rate"], other.draws["rate"])


def test_a_density_that_is_told_something_else_is_refused(flow: Flow, tmp_path: Path) -> None:
    settings = dict(flow.network.settings) | {"n_context": 12}
    old = Network.new("flow", settings)
    dataclasses.replace(flow, network=old, mean=flow.mean[:12], spread=flow.spread[:12]).save(tmp_path, PROBLEM)
    with pytest.raises(FolderError, match="holds a density that another version of jaxinv trained: train it anew"):
        Flow.load(tmp_path, PROBLEM)


def test_another_problem_is_refused(flow: Flow) -> None:
    fewer = ji.Problem(Decay(), ji.noise.Gaussian(0.05), PRIOR | {"background": 0.0})
    with pytest.raises(ValueError, match="trained for posteriors in 3 coordinates; this problem's have 2: train one"):
        draw(fewer, np.ones((1, 30)), method=flow, key=jax.random.key(1))


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="'layers' takes 2 or more"):
        ji.NormalizingFlow(layers=1)
