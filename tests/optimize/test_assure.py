"""Quick answers are checked by the exact model, and mended where they fail."""

import dataclasses

import jax
import numpy as np
import numpyro.distributions as dist
import pytest

import jaxinv as ji
from jaxinv.optimize import Assured
from jaxinv.results.solution import Route
from tests.models import Decay

PRIOR = {"amplitude": dist.Uniform(0.5, 2.0), "rate": dist.Uniform(0.2, 4.0), "background": dist.Uniform(-1.0, 1.0)}
PROBLEM = ji.Problem(Decay(), ji.noise.Gaussian(0.03), PRIOR)


@pytest.fixture(scope="module")
def fitted():
    _, data = PROBLEM.simulate(jax.random.key(0), (4, 15))
    data = np.array(data)
    data[3, 14] = np.nan
    return data, ji.fit(PROBLEM, data)


def spoilt(solution: ji.Solution, which, factor: float, status: ji.Status) -> ji.Solution:
    """The answer with some rates off, as a network would have them."""
    parameters = {name: np.array(x) for name, x in solution.parameters.items()}
    parameters["rate"][which] *= factor
    chi2, codes = np.array(solution.chi2), np.array(solution.status)
    chi2[which], codes[which] = 50.0, status
    return dataclasses.replace(solution, parameters=parameters, chi2=chi2, status=codes)


def test_what_does_not_pass_is_fitted(fitted) -> None:
    data, best = fitted
    limit = float(np.nanpercentile(best.chi2, 99))
    near, far = np.zeros(best.status.shape, bool), np.zeros(best.status.shape, bool)
    near[0], far[1, :5] = True, True
    answer = spoilt(best, near, 1.05, ji.Status.NOT_CONVERGED)
    # One that says of itself that it has converged, to a misfit that no converged fit has.
    answer = spoilt(answer, far, 1.5, ji.Status.CONVERGED)
    found, route = ji.assure(PROBLEM, answer, data, chi2=limit)
    assert np.all(route[0] == Route.REFITTED)
    assert np.all(route[1, :5] == Route.REFITTED)
    # From where it was: nearer than the usual starts.
    valid = best.status != ji.Status.NO_DATA
    assert found.iterations[0].mean() < 0.8 * best.iterations[valid].mean()
    assert np.mean(route[2:] == Route.QUICK) > 0.9
    assert found.status[3, 14] == ji.Status.NO_DATA
    assert route[3, 14] == Route.QUICK
    assert np.all(found.chi2[valid] < 1.01 * best.chi2[valid])
    off = np.abs(found.parameters["rate"] - best.parameters["rate"]) / best.standard_error["rate"]
    assert np.nanmax(off) < 0.3
    assert Assured(found, route).count() == {
        name: int(np.sum(route == code)) for name, code in (("quick", 0), ("refitted", 1), ("unfamiliar", 2))
    }


def test_what_comes_out_is_never_worse_than_what_went_in(fitted) -> None:
    data, best = fitted
    found, route = ji.assure(PROBLEM, best, data, chi2=0.0)  # nothing can pass
    valid = best.status != ji.Status.NO_DATA
    assert np.all(route[valid] == Route.REFITTED)
    assert np.all(found.chi2[valid] <= best.chi2[valid])


def test_doubtful_objects_are_fitted_anew_and_each_has_its_own_limit(fitted) -> None:
    data, best = fitted
    doubtful = np.zeros(best.status.shape, bool)
    doubtful[1, 2] = True
    limit = np.where(np.arange(15) < 3, 0.0, 9.0) * np.ones((4, 1))
    _, route = ji.assure(PROBLEM, best, data, chi2=limit, doubtful=doubtful)
    assert route[1, 2] == Route.UNFAMILIAR
    assert np.all(np.delete(route[:, :3].ravel(), 5) == Route.REFITTED)
    assert np.all(route[:, 3:] == Route.QUICK)


def test_an_answer_for_other_data_is_refused(fitted) -> None:
    data, best = fitted
    with pytest.raises(ValueError, match=r"the answer is for a batch of \(4, 15\), the data are of \(2, 15\)"):
        ji.assure(PROBLEM, best, data[:2], chi2=1.0)
