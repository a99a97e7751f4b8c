"""Networks that answer in one pass: truth, physics and maps; their errors, their gradients, and what they refuse."""

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import jaxinv as ji
from jaxinv.amortization import PointEstimator
from jaxinv.amortization.training import _physics, _truth
from jaxinv.training.coding import ParameterCoding
from jaxinv.training.data import Conditions, DataCoding, simulated
from jaxinv.training.folder import FolderError
from tests.models import Decay

PRIOR = {"amplitude": dist.Uniform(0.5, 2.0), "rate": dist.Uniform(0.2, 4.0), "background": dist.Uniform(-1.0, 1.0)}
PROBLEM = ji.Problem(Decay(), ji.noise.Gaussian(0.03), PRIOR)
SHORT = ji.Training(
    optimizer="muon", steps=600, batch_size=128, learning_rate=1e-2, evaluate=100, n_validation=512, clip=0.3
)
FEW = ji.Training(steps=10, batch_size=4, evaluate=5, n_validation=8)
KEY = jax.random.key(0)


def dense(loss: str, **more) -> ji.PointEstimate:
    return ji.PointEstimate(loss=loss, encoder="dense", width=32, depth=1, **more)


@pytest.fixture(scope="module")
def fresh():
    truth, data = PROBLEM.simulate(jax.random.key(9), (500,))
    return {name: np.asarray(x) for name, x in truth.items()}, data, ji.fit(PROBLEM, data)


@pytest.fixture(scope="module")
def supervised() -> PointEstimator:
    return ji.amortize(
        PROBLEM, dense("truth"), SHORT, key=KEY, conditions=ji.Conditions(noise=(1.0, 8.0)), progress=False
    )


def test_the_truth_teaches_parameters_and_their_errors(supervised: PointEstimator, fresh) -> None:
    truth, data, best = fresh
    found = supervised(PROBLEM, data)
    for name in PRIOR:
        off = (found.parameters[name] - truth[name]) / found.standard_error[name]
        assert 0.75 < np.std(off[np.abs(off) < 5]) < 1.3, name
        least = np.sqrt(np.median((best.parameters[name] - truth[name]) ** 2))
        assert np.sqrt(np.median((found.parameters[name] - truth[name]) ** 2)) < 3 * least
    # More noise, larger errors.
    louder = supervised(PROBLEM, ji.Observation(data, sigma=0.24))
    assert np.median(louder.standard_error["amplitude"] / found.standard_error["amplitude"]) > 2


def test_the_physics_teaches_without_any_truth(fresh) -> None:
    _, data, best = fresh
    _, seen = PROBLEM.simulate(jax.random.key(1), (800,))
    found = ji.amortize(PROBLEM, dense("physics", real=1.0), SHORT, key=KEY, data=seen, progress=False)
    held_out = found(PROBLEM, data)
    assert np.median(held_out.chi2) < 1.3 * np.median(best.chi2)
    # Errors are those of the curvature.
    good = (best.status == ji.Status.CONVERGED) & (held_out.chi2 < 1.02 * best.chi2)
    ratio = held_out.standard_error["rate"][good] / best.standard_error["rate"][good]
    assert np.median(np.abs(ratio - 1)) < 0.15


def test_a_spectrum_encoder_takes_several_rows(tmp_path: Path) -> None:
    class Pair(Decay):
        def __call__(self, parameters):
            one = super().__call__(parameters)
            return jnp.stack([one, 2 * one])

    problem = ji.Problem(Pair(), ji.noise.Gaussian(0.03), PRIOR)
    found = ji.amortize(problem, ji.PointEstimate(width=4, depth=2), FEW, key=KEY, progress=False)
    _, data = problem.simulate(jax.random.key(2), (5,))
    assert found(problem, data).chi2.shape == (5,)
    found.save(tmp_path, problem)
    again = PointEstimator.load(tmp_path, problem)
    np.testing.assert_array_equal(again(problem, data).parameters["rate"], found(problem, data).parameters["rate"])
    with pytest.raises(FolderError, match="was trained for a Pair"):
        PointEstimator.load(tmp_path, PROBLEM)


@pytest.mark.parametrize("loss", ["truth", "physics"])
def test_every_loss_has_a_gradient(loss: str) -> None:
    coding = DataCoding.of(PROBLEM, Conditions(), KEY, n=64)
    estimator = PointEstimator.new(dense(loss), coding, ParameterCoding.of(PRIOR, PROBLEM.names), KEY)
    example = simulated(PROBLEM, Conditions(), jax.random.key(3))

    def score(pixel):
        own = eqx.tree_at(lambda e: e.pixel, estimator, pixel)
        raw = own.raw(PROBLEM, example.observed, example.known)
        return (_truth if loss == "truth" else _physics)(own, PROBLEM, raw, example)

    gradient = eqx.filter_jit(eqx.filter_grad(score))(estimator.pixel)
    size = np.array([float(jnp.max(jnp.abs(x))) for x in jax.tree.leaves(gradient)])
    assert np.all(np.isfinite(size) & (size > 0))


def test_a_map_is_answered_with_its_neighbours_in_sight_and_gaps_are_gaps() -> None:
    _, seen = PROBLEM.simulate(jax.random.key(1), (7, 9))
    seen = np.array(seen)
    seen[6, 0, 3] = np.nan
    method = ji.PointEstimate(loss="physics", encoder="map", width=8, depth=1, patch=5, real=0.5)
    conditions = ji.Conditions(noise=(1.0, 3.0))
    found = ji.amortize(PROBLEM, method, FEW, key=KEY, data=seen, conditions=conditions, progress=False)
    solution = found(PROBLEM, seen)
    assert np.isfinite(solution.chi2).all()
    other = np.array(seen)
    other[3, 4] += 1.0
    changed = found(PROBLEM, other).parameters["rate"] != solution.parameters["rate"]
    assert changed[3, 5]  # its neighbour
    assert not changed[3, 8]
    with pytest.raises(ValueError, match="was trained for maps; the data are a batch of"):
        found(PROBLEM, seen[0])


def test_what_cannot_be_amortized_is_refused(supervised: PointEstimator) -> None:
    data = np.ones((20, 30), np.float32)
    with pytest.raises(ValueError, match="real data have no truth to train on"):
        ji.amortize(PROBLEM, dense("truth"), FEW, key=KEY, data=data)
    known = ji.Conditions(known={"background": dist.Uniform(-0.1, 0.1)})
    with pytest.raises(ValueError, match="leave `known` out"):
        ji.amortize(PROBLEM, dense("physics"), FEW, key=KEY, data=data, conditions=known)
    with pytest.raises(ValueError, match="patches of 12 pixels need a map"):
        ji.amortize(PROBLEM, ji.PointEstimate(loss="physics", encoder="map"), FEW, key=KEY, data=data)
    with pytest.raises(ValueError, match="the network was trained to infer"):
        supervised(PROBLEM, data, fixed={"rate": 1.0})
    with pytest.raises(ValueError, match=r"the data have the shape \(20, 29\)"):
        supervised(PROBLEM, data[:, 1:])


@pytest.mark.parametrize("bad", [{"loss": "none"}, {"encoder": "tree"}, {"width": 0}, {"patch": 1}, {"real": 1.5}])
def test_settings_out_of_range_are_refused(bad: dict) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(bad))!r} takes"):
        ji.PointEstimate(**bad)
