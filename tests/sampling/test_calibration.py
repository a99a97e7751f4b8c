import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats

import jaxinv as ji
from jaxinv import priors
from jaxinv.noise import Gaussian
from jaxinv.problem import Problem
from jaxinv.results.calibration import CalibrationReport
from jaxinv.results.posterior import Posterior
from jaxinv.sampling import Laplace, calibrate
from jaxinv.sampling.calibration import CalibrationRun
from tests.models import Direct, Wave

KEY = jax.random.key(3)
NORMAL = Problem(Direct(), Gaussian(0.5), {"x": dist.Normal(0.0, 1.0)})


def exact(widen: float = 1.0, shift: float = 0.0):
    """The exact posterior of `NORMAL`, made too wide or shifted on purpose."""

    def method(problem: Problem, data: jax.Array, key: jax.Array) -> Posterior:
        deviation = np.sqrt(0.2)
        noise = np.asarray(jax.random.normal(key, (len(data), 1, 400)))
        x = np.asarray(data)[:, :1, None] * 0.8 + deviation * (shift + widen * noise)
        return Posterior({"x": x}, {}, {}, {}, {}, {}, np.zeros(len(data), int))

    return method


def test_an_exact_posterior_is_calibrated() -> None:
    report = calibrate(NORMAL, exact(), 1000, key=KEY)
    assert report.p_values()["x"] > 0.01
    for level in (0.5, 0.68, 0.95):
        assert abs(report.coverage(level)["x"] - level) < 3 * report.coverage_error(level)
    low, high = report.ecdf_band()
    assert np.all((report.ecdf()["x"] >= low - 1e-12) & (report.ecdf()["x"] <= high + 1e-12))


@pytest.mark.parametrize(("widen", "shift"), [(1.3, 0.0), (0.75, 0.0), (1.0, 0.3)])
def test_a_wrong_posterior_is_found_out(widen: float, shift: float) -> None:
    report = calibrate(NORMAL, exact(widen, shift), 1000, key=KEY)
    assert report.p_values()["x"] < 1e-3
    covered = report.coverage(0.68)["x"]
    if shift == 0:
        expected = stats.norm.cdf(widen * stats.norm.ppf(0.84)) * 2 - 1
        assert covered == pytest.approx(expected, abs=0.05)


def test_laplace_of_a_normal_posterior_and_of_an_angle() -> None:
    assert calibrate(NORMAL, Laplace(n_draws=400), 400, key=KEY).p_values()["x"] > 0.01
    problem = Problem(Wave(), Gaussian(0.3), {"amplitude": 1.0, "phase": priors.Cyclic(0.0, 2 * jnp.pi)})
    report = calibrate(problem, Laplace(n_draws=400), 400, key=KEY)
    assert report.p_values()["phase"] > 0.01
    assert abs(report.coverage(0.95)["phase"] - 0.95) < 3 * report.coverage_error(0.95)


def test_holm() -> None:
    rng = np.random.default_rng(0)
    ranks = {name: rng.integers(0, 200, 400) for name in "abc"}
    ranks["d"] = rng.integers(0, 150, 400)
    report = CalibrationReport(ranks, 199, np.zeros(400, int))
    raw, adjusted = report.p_values(), report.adjusted_p_values()
    assert adjusted["d"] == pytest.approx(4 * raw["d"])
    assert all(adjusted[name] >= raw[name] for name in raw)
    assert "d " in report.table()


def test_groups_that_are_kept_are_not_sampled_again() -> None:
    run = CalibrationRun(NORMAL, Laplace(n_draws=200), 150, key=KEY)
    whole, store = run.store(), run.store()
    first = run.into(whole)
    store.write(0, 128, {name: x[:128] for name, x in whole.arrays().items()})
    assert store.todo(128) == [(128, 150)]
    np.testing.assert_array_equal(run.into(store).ranks["x"], first.ranks["x"])


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="20 simulated objects or more"):
        ji.calibrate(NORMAL, n=5, key=KEY)
    with pytest.raises(ValueError, match="n_draws = 999 needs more"):
        ji.calibrate(NORMAL, Laplace(n_draws=200), 30, key=KEY, n_draws=999)
