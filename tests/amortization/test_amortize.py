"""Networks that answer in one pass: what they learn from, their errors, gradients and frame, and what they refuse."""

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import jaxinv as ji
from jaxinv.amortization import PointEstimator, adapt
from jaxinv.amortization.coding import AnswerCoding, DataCoding
from jaxinv.amortization.simulation import Lesson, Source
from jaxinv.amortization.training import misfit, networks_of, terms_of, with_networks
from jaxinv.compute import batch
from jaxinv.priors import Cyclic
from jaxinv.spectra import MilneEddington, milne_eddington_prior
from jaxinv.training.data import Conditions, simulated
from jaxinv.training.folder import FolderError
from tests.models import Decay, Wave

PRIOR = {"amplitude": dist.Uniform(0.5, 2.0), "rate": dist.Uniform(0.2, 4.0), "background": dist.Uniform(-1.0, 1.0)}
PROBLEM = ji.Problem(Decay(), ji.noise.Gaussian(0.03), PRIOR)
SHORT = ji.Training(
    optimizer="muon", steps=500, batch_size=128, learning_rate=1e-2, evaluate=100, n_validation=512, average=0.02
)
FEW = ji.Training(steps=10, batch_size=4, evaluate=5, n_validation=8)
KEY = jax.random.key(0)
ME = ji.Problem(
    MilneEddington(["Fe I 6302.5"], np.linspace(6302.1, 6302.9, 24)), ji.noise.Gaussian(1e-3), milne_eddington_prior()
)


def small(**more) -> ji.PointEstimate:
    return ji.PointEstimate(width=32, depth=1, **more)


def untrained(problem: ji.Problem, **more) -> PointEstimator:
    coding = DataCoding.of(problem, Conditions(), KEY, n=64)
    return PointEstimator.new(small(**more), coding, AnswerCoding.of(problem, Conditions(), KEY, n=64), KEY)


@pytest.fixture(scope="module")
def fresh():
    truth, data = PROBLEM.simulate(jax.random.key(9), (500,))
    return {name: np.asarray(x) for name, x in truth.items()}, data, ji.fit(PROBLEM, data)


@pytest.fixture(scope="module")
def trained() -> PointEstimator:
    return ji.amortize(PROBLEM, small(), SHORT, key=KEY, conditions=ji.Conditions(noise=(1.0, 8.0)), progress=False)


def test_the_misfit_teaches_parameters_and_their_errors(trained: PointEstimator, fresh) -> None:
    truth, data, best = fresh
    found = trained(PROBLEM, data)
    assert np.median(found.chi2) < 1.3 * np.median(best.chi2)
    assert np.all((trained.coverage > 0.87) & (trained.coverage < 0.93))
    for name in PRIOR:
        off = np.abs(found.parameters[name] - truth[name])
        assert 0.8 < np.mean(off < 1.645 * found.standard_error[name]) < 0.98, name
        assert np.median(off) < 3 * np.median(np.abs(best.parameters[name] - truth[name]))
    # More noise, larger errors.
    louder = trained(PROBLEM, ji.Observation(data, sigma=0.24))
    assert np.median(louder.standard_error["amplitude"] / found.standard_error["amplitude"]) > 1.5


def test_the_truth_alone_teaches_too(fresh) -> None:
    truth, data, best = fresh
    found = ji.amortize(PROBLEM, small(loss="truth"), SHORT, key=KEY, progress=False)(PROBLEM, data)
    for name in PRIOR:
        least = np.median(np.abs(best.parameters[name] - truth[name]))
        assert np.median(np.abs(found.parameters[name] - truth[name])) < 4 * least


def test_it_adapts_to_data_of_another_world_without_their_truth(trained: PointEstimator) -> None:
    class Drifting(Decay):
        """What no simulation knew: the detector drifts."""

        def __call__(self, parameters):
            one = super().__call__(parameters)
            return one + 0.15 * jnp.linspace(-1, 1, one.size) ** 2

    _, data = ji.Problem(Drifting(), PROBLEM.noise, PRIOR).simulate(jax.random.key(3), (1000,))
    data = np.array(data)
    data[3] = np.nan
    training = ji.Training(steps=150, batch_size=64, learning_rate=1e-3, average=0.05, evaluate=75, n_validation=64)
    adapted = adapt(trained, PROBLEM, data[:500], training, key=KEY, progress=False)
    held_out = data[500:]
    before, after, best = (f(PROBLEM, held_out).chi2 for f in (trained, adapted, ji.fit))
    assert np.median(best) > 1.2
    assert np.median(after) < np.median(before)
    assert np.median(after) < 1.1 * np.median(best)


def test_it_can_be_trained_on_real_data_from_the_start(fresh) -> None:
    _, data, best = fresh
    _, seen = PROBLEM.simulate(jax.random.key(1), (800,))
    found = ji.amortize(PROBLEM, small(real=0.7), SHORT, key=KEY, data=seen, progress=False)
    assert np.median(found(PROBLEM, data).chi2) < 1.3 * np.median(best.chi2)


@pytest.mark.usefixtures("float64")
def test_the_slope_of_the_misfit_is_that_of_the_residuals() -> None:
    for problem in (PROBLEM, ME):
        example = simulated(problem, Conditions(), jax.random.key(3))
        point = {name: x * 0.97 for name, x in example.parameters.items()}

        def direct(p, problem=problem, example=example):
            return jnp.sum(problem.residual(p, example.observed) ** 2)

        value, slope = jax.jit(jax.value_and_grad(lambda p: misfit(problem, p, {}, example.observed)[0]))(point)  # noqa: B023
        expected, by = jax.jit(jax.value_and_grad(direct))(point)
        assert float(value) == pytest.approx(float(expected), rel=1e-9)
        for name in point:
            np.testing.assert_allclose(slope[name], by[name], rtol=1e-7, atol=1e-9 * float(value))


def test_the_slope_leads_back_into_the_support_but_never_out_of_it() -> None:
    truth = {"amplitude": jnp.asarray(1.0), "rate": jnp.asarray(3.9), "background": jnp.asarray(0.0)}
    data = PROBLEM.predict(truth)
    for rate, leads in ((4.5, True), (4.0, False)):  # the truth lies inside; beyond
        target = data if leads else PROBLEM.forward({**truth, "rate": jnp.asarray(6.0)})
        slope = jax.grad(lambda p, target=target: misfit(PROBLEM, p, {}, target)[0])(
            truth | {"rate": jnp.asarray(rate)}
        )
        assert (float(slope["rate"]) > 0) == leads
        assert leads or float(slope["rate"]) == 0


@pytest.mark.parametrize(
    ("problem", "loss", "real"),
    [(PROBLEM, "misfit", False), (PROBLEM, "truth", False), (ME, "misfit", True)],
    ids=["simulated data", "truth", "real data"],
)
def test_every_term_of_the_loss_has_a_gradient(problem: ji.Problem, loss: str, real: bool) -> None:
    estimator = untrained(problem, loss=loss)
    example = simulated(problem, Conditions(noise=(0.5, 2.0)), jax.random.key(3))
    values, sigma, *_ = example.observed
    lesson = Lesson(example, ji.Observation(values if real else example.clean, sigma), jnp.asarray(real))

    def score(networks, term):
        return terms_of(with_networks(estimator, networks), problem, lesson)[term]

    names = list(terms_of(estimator, problem, lesson))
    assert names == {"misfit": ["misfit", "truth", "errors"], "truth": ["truth", "errors"]}[loss]
    for term, which in ((names[0], 0), ("errors", 1)):
        gradient = eqx.filter_jit(eqx.filter_grad(score))(networks_of(estimator), term)[which]
        size = np.array([float(jnp.max(jnp.abs(x))) for x in jax.tree.leaves(gradient)])
        assert np.all(np.isfinite(size))
        # Real data teach nothing about errors.
        assert np.all(size > 0) != (real and term == "errors")


def test_a_turned_spectrum_gets_the_turned_answer() -> None:
    """Without any training: the frame does it."""
    estimator, symmetry = untrained(ME), ME.symmetry
    example = simulated(ME, Conditions(), jax.random.key(5))
    turn = symmetry.draw(jax.random.key(1))
    turn = turn._replace(sign=-jnp.ones(()))
    one, _ = estimator.start(ME, example.clean, {})
    other, _ = estimator.start(ME, symmetry.data(turn, example.clean), {})
    for name, value in symmetry.parameters(turn, one).items():
        np.testing.assert_allclose(other[name], value, rtol=2e-4, atol=2e-4)


def test_real_data_are_turned_by_symmetries_that_their_noise_has() -> None:
    truth, data = ME.simulate(jax.random.key(2), (1,))
    del truth
    for sigma, turns in ((np.full((4, 1), 1e-3), True), (np.array([[1.0], [1.0], [2.0], [1.0]]) * 1e-3, False)):
        rows = batch.in_rows(ME, ji.Observation(data, sigma), None)
        source = Source.of(rows.problem, Conditions(), rows, 1.0)
        drawn = jax.jit(jax.vmap(source.draw))(jax.random.split(KEY, 8))
        values = drawn.example.observed.values
        assert (not np.allclose(values[:, 1], data[0, 1])) == turns
        np.testing.assert_allclose(values[:, 0], np.broadcast_to(data[0, 0], values[:, 0].shape), rtol=1e-6)
        linear = np.sum(np.square(values[:, 1:3]), axis=(1, 2))
        np.testing.assert_allclose(linear, np.sum(np.square(data[0, 1:3])), rtol=1e-4)


def test_answers_are_coded_without_a_cut_in_a_circle() -> None:
    problem = ji.Problem(
        Wave(), ji.noise.Gaussian(0.1), {"amplitude": dist.Uniform(0.5, 2.0), "phase": Cyclic(0.0, 2 * np.pi)}
    )
    answer = AnswerCoding.of(problem, Conditions(), KEY, n=64)
    assert answer.size == 3
    below, above = ({"amplitude": 1.0, "phase": phase} for phase in (1e-3, 2 * np.pi - 1e-3))
    vectors = [answer.vector(problem, {name: jnp.asarray(x) for name, x in p.items()}) for p in (below, above)]
    assert float(jnp.max(jnp.abs(vectors[0] - vectors[1]))) < 0.01
    assert float(answer.decode(problem, vectors[0], None)["phase"]) == pytest.approx(1e-3, abs=1e-5)


def test_data_unlike_those_of_the_training_are_told_apart(trained: PointEstimator) -> None:
    _, data = PROBLEM.simulate(jax.random.key(4), (200,))
    inside = jax.jit(jax.vmap(lambda d, s: trained.start(PROBLEM, ji.Observation(d, s), {})[1]))
    usual = np.asarray(inside(data, np.full(data.shape, 0.1, np.float32)))
    assert usual.mean() > 0.97
    assert not np.any(inside(data, np.full(data.shape, 0.9, np.float32)))  # noise
    assert not np.any(inside(data + 5, np.full(data.shape, 0.1, np.float32)))


def test_a_spectrum_encoder_takes_several_rows(tmp_path: Path) -> None:
    class Pair(Decay):
        def __call__(self, parameters):
            one = super().__call__(parameters)
            return jnp.stack([one, 2 * one])

    problem = ji.Problem(Pair(), ji.noise.Gaussian(0.03), PRIOR)
    method = ji.PointEstimate(encoder="spectrum", width=4, depth=2)
    found = ji.amortize(problem, method, FEW, key=KEY, progress=False)
    _, data = problem.simulate(jax.random.key(2), (5,))
    data = np.array(data)
    data[2] = np.nan
    assert found(problem, data).status[2] == ji.Status.NO_DATA
    found.save(tmp_path, problem)
    again = PointEstimator.load(tmp_path, problem)
    for name in PRIOR:
        np.testing.assert_array_equal(again(problem, data).parameters[name], found(problem, data).parameters[name])
        np.testing.assert_array_equal(
            again(problem, data).standard_error[name], found(problem, data).standard_error[name]
        )
    with pytest.raises(FolderError, match="was trained for a Pair"):
        PointEstimator.load(tmp_path, PROBLEM)


def test_what_cannot_be_amortized_is_refused(trained: PointEstimator) -> None:
    data = np.ones((20, 30), np.float32)
    with pytest.raises(ValueError, match="real data have no truth to train on"):
        ji.amortize(PROBLEM, small(loss="truth"), FEW, key=KEY, data=data)
    known = ji.Conditions(known={"background": dist.Uniform(-0.1, 0.1)})
    with pytest.raises(ValueError, match="the network is told 'background' of each object"):
        ji.amortize(PROBLEM, small(), FEW, key=KEY, data=data, conditions=known)
    with pytest.raises(ValueError, match="hold no finite sample"):
        adapt(trained, PROBLEM, np.full((3, 30), np.nan), FEW, key=KEY)
    with pytest.raises(ValueError, match="the network was trained to infer"):
        trained(PROBLEM, data, fixed={"rate": 1.0})
    with pytest.raises(ValueError, match=r"the data have the shape \(20, 29\)"):
        trained(PROBLEM, data[:, 1:])


@pytest.mark.parametrize("bad", [{"loss": "none"}, {"encoder": "tree"}, {"width": 0}, {"depth": 0}, {"real": 1.5}])
def test_settings_out_of_range_are_refused(bad: dict) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(bad))!r} takes"):
        ji.PointEstimate(**bad)
