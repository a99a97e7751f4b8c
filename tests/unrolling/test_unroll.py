"""Learned steps: what training makes of each variant, gradients through the loop, any solver, and what is refused."""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import jaxinv as ji
from jaxinv.optimize.objective import Objective
from jaxinv.optimize.solver import Answer, Steerable
from jaxinv.training.data import Conditions, simulated
from jaxinv.training.folder import FolderError
from jaxinv.unrolling import Unrolled
from jaxinv.unrolling.loop import Loop, run
from jaxinv.unrolling.training import _loss, n_signals
from tests.models import Decay

PRIOR = {"amplitude": dist.Uniform(0.5, 2.0), "rate": dist.Uniform(0.2, 8.0), "background": dist.Uniform(-1.0, 1.0)}
PROBLEM = ji.Problem(Decay(), ji.noise.Gaussian(0.01), PRIOR)
SHORT = ji.Training(steps=300, batch_size=64, learning_rate=5e-3, evaluate=100, n_validation=256, average=0.05)
STEPS = 2
LM = ji.LevenbergMarquardt()


def train(training: ji.Training = SHORT, **more) -> Unrolled:
    given = {name: more.pop(name) for name in ("solver", "start") if name in more}
    method = ji.LearnedSteps(steps=STEPS, width=16, **more)
    conditions = ji.Conditions(noise=(0.5, 2.0))
    return ji.unroll(PROBLEM, method, training, key=jax.random.key(0), conditions=conditions, progress=False, **given)


def near_converged(solution, best) -> float:
    return float(np.mean(solution.chi2 < 1.05 * best.chi2))


def classical(loop: Unrolled) -> Unrolled:
    return dataclasses.replace(loop, loop=Loop(loop.loop.settings, None))


@pytest.fixture(scope="module")
def fresh():
    _, data = PROBLEM.simulate(jax.random.key(9), (500,))
    return data, ji.fit(PROBLEM, data)


@pytest.fixture(scope="module")
def damping() -> Unrolled:
    return train(variant="damping")


def test_a_trained_loop_needs_fewer_steps(damping: Unrolled, fresh) -> None:
    data, best = fresh
    found, usual = (loop(PROBLEM, data, steps=STEPS) for loop in (damping, classical(damping)))
    assert near_converged(found, best) > near_converged(usual, best) + 0.1
    assert np.all(found.iterations <= STEPS + 1)
    # Beyond the steps that it was trained for the solver goes on alone, until all have converged.
    whole = damping(PROBLEM, data)
    assert near_converged(whole, best) > 0.97
    assert np.mean(whole.status <= ji.Status.AT_BOUND) > 0.97
    assert whole.iterations.max() > STEPS + 1 >= whole.iterations.min()
    # What says that it has converged has, and its errors are a fit's.
    for some in (found, whole):
        good = (some.status == ji.Status.CONVERGED) & (best.status == ji.Status.CONVERGED)
        assert good.mean() > (0.1 if some is found else 0.9)
        for name in PRIOR:
            ratio = some.standard_error[name][good] / best.standard_error[name][good]
            assert np.percentile(np.abs(ratio - 1), 90) < 0.03, name
            off = np.abs(some.parameters[name] - best.parameters[name])[good] / best.standard_error[name][good]
            assert np.percentile(off, 90) < 0.1, name
        assert np.percentile((some.chi2 - best.chi2)[good], 99) * 30 < 0.1
    # Noise that differs from the nominal.
    louder = ji.Observation(data, sigma=0.02)
    assert near_converged(damping(PROBLEM, louder, steps=STEPS), ji.fit(PROBLEM, louder)) > 0.5


def test_a_quick_look_is_the_same_without_errors(damping: Unrolled, fresh) -> None:
    data, _ = fresh
    full, quick = damping(PROBLEM, data[:50]), damping(PROBLEM, data[:50], covariance="none")
    np.testing.assert_allclose(quick.chi2, full.chi2, rtol=1e-5)
    assert quick.covariance is None
    assert np.all(np.isnan(quick.standard_error["rate"]))


def test_it_starts_from_a_network(fresh) -> None:
    data, best = fresh
    start = ji.amortize(
        PROBLEM, ji.PointEstimate(width=32, depth=1), dataclasses.replace(SHORT, learning_rate=2e-3),
        key=jax.random.key(1), progress=False,
    )  # fmt: skip
    few = ji.Training(steps=20, batch_size=16, evaluate=10, n_validation=32)
    with_start = train(few, variant="damping", start=start)
    without = dataclasses.replace(with_start, start=None)
    one, other = (near_converged(f(PROBLEM, data, steps=0), best) for f in (with_start, without))
    assert one > other + 0.05
    first, familiar = with_start.begin(PROBLEM, data)
    assert familiar.mean() > 0.95
    assert set(first) == set(PRIOR)
    for more in ({}, {"steps": 0}):
        given = with_start(PROBLEM, data, initial=first, **more)
        np.testing.assert_array_equal(given.chi2, with_start(PROBLEM, data, **more).chi2)
    assert without.begin(PROBLEM, data)[0] == {}


@pytest.mark.parametrize(
    "more",
    [{"variant": "recurrent"}, {"variant": "network", "backpropagation": "exact"}],
    ids=lambda more: "-".join(more.values()),
)
def test_every_variant_learns(more: dict) -> None:
    training = ji.Training(steps=160, batch_size=64, learning_rate=2e-3, evaluate=40, n_validation=128)
    curve = train(training, **more).curve
    assert curve.validation.min() < curve.validation[0]


@pytest.mark.usefixtures("float64")
def test_without_a_network_it_is_the_solver() -> None:
    _, data = PROBLEM.simulate(jax.random.key(4), ())
    objective = Objective(PROBLEM, data, {})
    start = PROBLEM.coordinates.vector({"amplitude": 1.2, "rate": 1.0, "background": 0.1})
    trace = run(Loop(ji.LearnedSteps(), None), LM, objective, start, 3)
    state = LM.init(objective, start)
    for _ in range(4):
        state = LM.step(objective, state)
    np.testing.assert_allclose(trace.state.vector, state.vector, rtol=1e-12)
    np.testing.assert_allclose(trace.state.proposal, state.proposal, rtol=1e-12)


@pytest.mark.usefixtures("float64")
def test_the_slope_of_a_look_is_that_of_the_cost() -> None:
    """Of Levenberg-Marquardt in Milne-Eddington's coordinates, with its closed forms."""
    model = ji.spectra.MilneEddington(["Fe I 6302.5"], np.linspace(6302.1, 6302.9, 24))
    problem = ji.Problem(model, ji.noise.Gaussian(1e-3), ji.spectra.milne_eddington_prior())
    truth, data = problem.simulate(jax.random.key(1), ())
    objective = Objective(problem, data, {})
    vector = problem.coordinates.vector({name: 0.98 * x for name, x in truth.items()})

    @jax.jit
    def look(vector):
        return LM.look(objective, LM.init(objective, vector))[1]

    slope = look(vector).gradient
    direction = jax.random.normal(jax.random.key(2), vector.shape) * problem.coordinates.scale()
    ends = [float(look(vector + h * direction).cost) for h in (1e-7, -1e-7)]
    assert 2 * float(slope @ direction) == pytest.approx((ends[0] - ends[1]) / 2e-7, rel=1e-4)


def untrained(**more) -> Loop:
    method = ji.LearnedSteps(steps=2, width=4, **more)
    return Loop.new(method, n_signals(PROBLEM, LM, Conditions()), PROBLEM.coordinates.size, jax.random.key(1))


@pytest.mark.parametrize(
    ("variant", "backpropagation"), [("damping", "greedy"), ("network", "greedy"), ("recurrent", "exact")]
)
@pytest.mark.usefixtures("float64")
def test_every_step_teaches(variant: str, backpropagation: str) -> None:
    loop = untrained(variant=variant, backpropagation=backpropagation)
    loop = jax.tree.map(lambda x: jnp.asarray(x, float) if eqx.is_inexact_array(x) else x, loop)
    example = simulated(PROBLEM, Conditions(noise=(0.5, 2.0)), jax.random.key(5))

    def total(network, weights):
        return jnp.dot(_loss(eqx.tree_at(lambda x: x.network, loop, network), LM, PROBLEM, None, example), weights)

    slope = eqx.filter_jit(eqx.filter_grad(total))
    for k in range(2):
        gradient = slope(loop.network, jnp.eye(2)[k])
        size = [float(jnp.max(jnp.abs(x))) for x in jax.tree.leaves(gradient)]
        assert all(np.isfinite(size))
        assert np.mean(np.array(size) > 0) > 0.8
    if backpropagation == "exact":  # the other one leaves earlier steps out, by design
        ones = jnp.ones(2)
        gradient = slope(loop.network, ones)
        direction = jax.tree.map(lambda x: jax.random.normal(jax.random.key(3), x.shape), gradient)
        along = sum(jnp.sum(a * b) for a, b in zip(*map(jax.tree.leaves, (gradient, direction)), strict=True))
        ends = [
            total(eqx.apply_updates(loop.network, jax.tree.map(lambda x, h=h: h * x, direction)), ones)
            for h in (1e-6, -1e-6)
        ]
        assert float(along) == pytest.approx(float(ends[0] - ends[1]) / 2e-6, rel=1e-4)


class _Descent(NamedTuple):
    vector: Any
    proposal: Any
    cost: Any
    gradient: Any


class SteepestDescent(Steerable):
    """A user's own solver, whose steps are as long as it is told."""

    def init(self, objective, vector):
        return _Descent(vector, vector, jnp.asarray(jnp.inf, vector.dtype), jnp.zeros_like(vector))

    def look(self, objective, state):
        found = objective.slope(state.proposal)
        better = found.cost <= state.cost
        vector, cost, gradient = (
            jnp.where(better, a, b)
            for a, b in zip((state.proposal, *found), (state.vector, state.cost, state.gradient), strict=True)
        )
        return _Descent(vector, state.proposal, cost, gradient), found

    def propose(self, objective, state, caution=None):
        step = 1e-4 * state.gradient * jnp.exp(0 if caution is None else -caution)
        return state._replace(proposal=objective.inside(state.vector - step))

    def signals(self, objective, state):
        return jnp.append(jnp.arcsinh(state.gradient) / 5, jnp.log(state.cost) / 5)

    def sizes(self, objective, state):
        return jnp.full_like(state.vector, 0.01)

    def promise(self, objective, state):
        return jnp.sum(state.gradient**2) * 1e-4

    def settled(self, objective, state):
        return self.promise(objective, state) < 0.1

    def done(self, state):
        return jnp.sum(state.gradient**2) * 1e-4 < 1e-3

    def answer(self, objective, state):
        return Answer(state.vector, state.proposal, state.cost, None)


def test_any_solver_can_be_unrolled(fresh) -> None:
    data, _ = fresh
    loop = train(solver=SteepestDescent(), variant="damping")
    usual, found = (one(PROBLEM, data, steps=STEPS) for one in (classical(loop), loop))
    assert np.median(found.chi2) < 0.2 * np.median(usual.chi2)
    assert np.isfinite(found.standard_error["rate"]).all()


def test_it_is_saved_as_a_folder_and_read_again(damping: Unrolled, fresh, tmp_path: Path) -> None:
    start = ji.amortize(
        PROBLEM, ji.PointEstimate(width=4, depth=1), ji.Training(steps=2, batch_size=4, evaluate=1, n_validation=4),
        key=jax.random.key(1), progress=False,
    )  # fmt: skip
    whole = dataclasses.replace(damping, start=start)
    whole.save(tmp_path, PROBLEM, {"data": "simulated"})
    again = Unrolled.load(tmp_path, PROBLEM)
    np.testing.assert_array_equal(again(PROBLEM, fresh[0][:20]).chi2, whole(PROBLEM, fresh[0][:20]).chi2)
    np.testing.assert_array_equal(again.curve.loss, whole.curve.loss)

    class Other(Decay):
        pass

    with pytest.raises(FolderError, match="was trained for a Decay"):
        Unrolled.load(tmp_path, ji.Problem(Other(), PROBLEM.noise, PRIOR))


def test_data_and_problems_that_do_not_fit_are_refused(damping: Unrolled) -> None:
    with pytest.raises(
        ValueError, match="the loop was trained to infer amplitude, rate, background; the problem infers"
    ):
        damping(PROBLEM, np.ones((3, 30)), fixed={"rate": 1.0})
    with pytest.raises(ValueError, match="the data have the shape"):
        damping(PROBLEM, np.ones((3, 29)))
    with pytest.raises(ValueError, match="covariance is 'dense' or 'none'"):
        damping(PROBLEM, np.ones((3, 30)), covariance="diagonal")
    found = damping(PROBLEM, np.full((2, 30), np.nan, np.float32))
    assert np.all(found.status == ji.Status.NO_DATA)
    key = jax.random.key(0)
    for conditions, message in (
        ({"known": {"speed": dist.Uniform(0, 1)}}, "'speed', which is no parameter"),
        ({"drawn": {"rate": dist.Uniform(0, 9)}}, "from beyond the bounds of its prior"),
    ):
        with pytest.raises(ValueError, match=message):
            ji.unroll(PROBLEM, training=SHORT, key=key, conditions=ji.Conditions(**conditions))
    with pytest.raises(ValueError, match="the lower first"):
        ji.Conditions(noise=(2.0, 1.0))
    with pytest.raises(ValueError, match="a network cannot take part in the steps of LBFGS"):
        ji.unroll(PROBLEM, key=key, solver=ji.LBFGS())


@pytest.mark.parametrize("bad", [{"variant": "best"}, {"steps": 0}, {"backpropagation": "half"}, {"width": 0}])
def test_settings_out_of_range_are_refused(bad: dict) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(bad))!r} takes"):
        ji.LearnedSteps(**bad)
