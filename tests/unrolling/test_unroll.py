"""Learned loops: what training makes of each variant, gradients through the loop, and what is refused."""

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import jaxinv as ji
from jaxinv.optimize.normal import scales
from jaxinv.training.coding import ParameterCoding
from jaxinv.training.data import Conditions, DataCoding, simulated
from jaxinv.training.folder import FolderError
from jaxinv.unrolling import Unrolled
from jaxinv.unrolling.loop import Learned, run
from jaxinv.unrolling.training import _terms
from tests.models import Decay

PRIOR = {"amplitude": dist.Uniform(0.5, 2.0), "rate": dist.Uniform(0.2, 8.0), "background": dist.Uniform(-1.0, 1.0)}
PROBLEM = ji.Problem(Decay(), ji.noise.Gaussian(0.01), PRIOR)
SHORT = ji.Training(steps=400, batch_size=64, learning_rate=5e-3, evaluate=100, n_validation=256)
STEPS = 3


def train(training: ji.Training = SHORT, **more) -> Unrolled:
    method = ji.LearnedLM(steps=STEPS, width=16, encoded=16, **more)
    conditions = ji.Conditions(noise=(0.5, 2.0))
    return ji.unroll(PROBLEM, method, training, key=jax.random.key(0), conditions=conditions, progress=False)


def near_converged(solution, best) -> float:
    return float(np.mean(solution.chi2 < 1.05 * best.chi2))


@pytest.fixture(scope="module")
def fresh():
    """Data, the converged fit, and the fraction that as many classical steps bring near it."""
    _, data = PROBLEM.simulate(jax.random.key(9), (500,))
    classical = ji.LevenbergMarquardt(max_iterations=STEPS + 1, n_starts=1)
    best = ji.fit(PROBLEM, data)
    return data, best, near_converged(ji.fit(PROBLEM, data, solver=classical), best)


@pytest.fixture(scope="module")
def recurrent() -> Unrolled:
    return train(variant="recurrent")


def test_a_trained_loop_needs_fewer_steps(recurrent: Unrolled, fresh) -> None:
    data, best, classical = fresh
    found = recurrent(PROBLEM, data)
    assert near_converged(found, best) > classical + 0.1
    assert np.all(found.iterations == STEPS + 1)
    good = (found.status == ji.Status.CONVERGED) & (best.status == ji.Status.CONVERGED)
    assert good.mean() > 0.5
    for name in PRIOR:
        np.testing.assert_allclose(found.standard_error[name][good], best.standard_error[name][good], rtol=0.05)
        off = np.abs(found.parameters[name] - best.parameters[name])[good] / best.standard_error[name][good]
        assert np.percentile(off, 90) < 0.7, name
    # Noise that differs from the nominal, within what it was trained for.
    louder = ji.Observation(data, sigma=0.02)
    assert near_converged(recurrent(PROBLEM, louder), ji.fit(PROBLEM, louder)) > classical + 0.1


@pytest.mark.parametrize(
    "more",
    [
        {"variant": "damping", "backpropagation": "rematerialized"},
        {"variant": "network", "loss": "both", "backpropagation": "truncated"},
    ],
    ids=lambda more: "-".join(more.values()),
)
def test_every_variant_learns(more: dict) -> None:
    training = ji.Training(steps=160, batch_size=64, learning_rate=2e-3, evaluate=40, n_validation=128)
    curve = train(training, **more).curve
    assert curve.validation.min() < curve.validation[0]


def untrained(variant: str, **more) -> Learned:
    layout = PROBLEM.layout
    method = ji.LearnedLM(variant=variant, steps=2, width=4, encoded=4, **more)
    coding = DataCoding.of(PROBLEM, Conditions(), jax.random.key(0), n=64)
    scale = np.asarray(scales(PROBLEM, layout))
    return Learned.new(method, ParameterCoding.of(PRIOR, layout.names), scale, coding, jax.random.key(1))


def test_without_a_network_it_is_levenberg_marquardt(float64: None) -> None:
    learned = eqx.tree_at(lambda n: (n.encoder, n.step), untrained("recurrent"), (None, None))
    _, data = PROBLEM.simulate(jax.random.key(4), ())
    guess = jnp.array([1.2, 1.0, 0.1])
    trace = run(learned, PROBLEM, guess, data, {})
    names = PROBLEM.layout.names
    start = {name: guess[k] for k, name in enumerate(names)}
    solver = ji.LevenbergMarquardt(max_iterations=3, n_starts=1, tolerance=0.0, damping=0.1, increase=5.0, decrease=8.0)
    classical = ji.fit(PROBLEM, data, initial=start, solver=solver)
    found = trace.vector * learned.scale
    for k, name in enumerate(names):
        np.testing.assert_allclose(found[k], classical.parameters[name], rtol=1e-9)


@pytest.mark.parametrize("loss", ["misfit", "parameters"])
@pytest.mark.parametrize("backpropagation", ["gauss-newton", "truncated", "rematerialized"])
def test_every_loss_has_a_gradient(loss: str, backpropagation: str, float64: None) -> None:
    learned = untrained("recurrent", loss=loss, backpropagation=backpropagation)
    learned = jax.tree.map(lambda x: jnp.asarray(x, float) if eqx.is_inexact_array(x) else x, learned)
    example = simulated(PROBLEM, Conditions(noise=(0.5, 2.0)), jax.random.key(5))
    layout = PROBLEM.layout

    def total(networks):
        net = eqx.tree_at(lambda n: (n.encoder, n.step), learned, networks)
        terms = _terms(net, PROBLEM, layout, example)
        assert list(terms) == [loss]
        return terms[loss]

    networks = (learned.encoder, learned.step)
    gradient = eqx.filter_jit(eqx.filter_grad(total))(networks)
    size = [float(jnp.max(jnp.abs(x))) for x in jax.tree.leaves(gradient)]
    assert all(np.isfinite(size))
    assert np.mean(np.array(size) > 0) > 0.9
    if backpropagation == "rematerialized" and loss == "misfit":  # the others are approximate by design
        direction = jax.tree.map(lambda x: jax.random.normal(jax.random.key(3), x.shape), gradient)
        slope = sum(jnp.sum(a * b) for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(direction), strict=True))
        moved = [
            total(eqx.apply_updates(networks, jax.tree.map(lambda x, h=h: h * x, direction))) for h in (1e-6, -1e-6)
        ]
        assert float(slope) == pytest.approx(float(moved[0] - moved[1]) / 2e-6, rel=1e-4)


def test_it_is_saved_as_a_folder_and_read_again(recurrent: Unrolled, fresh, tmp_path: Path) -> None:
    recurrent.save(tmp_path, PROBLEM, {"data": "simulated"})
    again = Unrolled.load(tmp_path, PROBLEM)
    np.testing.assert_array_equal(again(PROBLEM, fresh[0][:20]).chi2, recurrent(PROBLEM, fresh[0][:20]).chi2)
    np.testing.assert_array_equal(again.curve.loss, recurrent.curve.loss)

    class Other(Decay):
        pass

    with pytest.raises(FolderError, match="was trained for a Decay"):
        Unrolled.load(tmp_path, ji.Problem(Other(), PROBLEM.noise, PRIOR))


def test_data_and_problems_that_do_not_fit_are_refused(recurrent: Unrolled) -> None:
    with pytest.raises(
        ValueError, match="the loop was trained to infer amplitude, rate, background; the problem infers"
    ):
        recurrent(PROBLEM, np.ones((3, 30)), fixed={"rate": 1.0})
    with pytest.raises(ValueError, match="the data have the shape"):
        recurrent(PROBLEM, np.ones((3, 29)))
    found = recurrent(PROBLEM, np.full((2, 30), np.nan, np.float32))
    assert np.all(found.status == ji.Status.NO_DATA)
    with pytest.raises(ValueError, match="'speed', which is no parameter"):
        ji.unroll(
            PROBLEM,
            training=SHORT,
            key=jax.random.key(0),
            conditions=ji.Conditions(known={"speed": dist.Uniform(0, 1)}),
        )
    with pytest.raises(ValueError, match="from beyond the bounds of its prior"):
        ji.unroll(
            PROBLEM, training=SHORT, key=jax.random.key(0), conditions=ji.Conditions(drawn={"rate": dist.Uniform(0, 9)})
        )
    with pytest.raises(ValueError, match="the lower first"):
        ji.Conditions(noise=(2.0, 1.0))


@pytest.mark.parametrize(
    "bad", [{"variant": "best"}, {"loss": "none"}, {"steps": 0}, {"backpropagation": "half"}, {"width": 0}]
)
def test_settings_out_of_range_are_refused(bad: dict) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(bad))!r} takes"):
        ji.LearnedLM(**bad)
