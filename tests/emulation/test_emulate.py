"""Surrogates: how good they say they are, where they stop, what they save, and that a slow model is left alone."""

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import jaxinv as ji
from jaxinv import priors, spectra
from jaxinv.emulation import Report
from jaxinv.forward import Forward, Parameter, Sequential
from jaxinv.sampling import draw
from jaxinv.training.folder import FolderError
from tests.models import Decay, X

PRIOR = {"amplitude": dist.Uniform(0.5, 2.0), "rate": dist.Uniform(0.2, 3.0), "background": dist.Uniform(-1.0, 1.0)}
SETTINGS = ji.Emulator(settings={"width": 32, "depth": 1}, n_report=500)
SHORT = ji.Training(optimizer="muon", steps=800, batch_size=64, learning_rate=2e-2, evaluate=100, n_validation=256)


@pytest.fixture(scope="module")
def surrogate() -> ji.Surrogate:
    return ji.emulate(Decay(), PRIOR, SETTINGS, SHORT, key=jax.random.key(0), progress=False)


def test_its_report_is_what_one_measures_oneself(surrogate: ji.Surrogate) -> None:
    p = priors.sample(PRIOR, jax.random.key(7), (1000,))
    exact, jacobian = jax.vmap(Decay().value_and_jacobian)(p)
    found, slopes = jax.vmap(surrogate.value_and_jacobian)(p)
    report = surrogate.report
    assert report is not None
    error = np.abs(np.asarray(found - exact))
    assert np.percentile(error, 99) == pytest.approx(report.percentile_99[0], rel=0.3)
    assert np.sqrt(np.mean(error**2)) == pytest.approx(report.rms[0], rel=0.3)
    assert report.percentile_99[0] < 0.05
    for name, value in report.jacobian:
        off = np.sqrt(np.mean(np.square(slopes[name] - jacobian[name])) / np.mean(np.square(jacobian[name])))
        assert off == pytest.approx(value, rel=0.4, abs=1e-3)
        assert value < 0.1
    assert [row[0] for row in report.curve] == [*range(100, 801, 100), 900, 1000, 1066]
    assert "derivative by rate" in str(report)
    np.testing.assert_allclose(jax.vmap(surrogate)(p), found, atol=1e-6)


def test_a_fit_takes_it_for_the_model(surrogate: ji.Surrogate) -> None:
    noise = ji.noise.Gaussian(0.05)
    exact = ji.Problem(Decay(), noise, PRIOR)
    _, data = exact.simulate(jax.random.key(3), (200,))
    one, other = ji.fit(exact, data), ji.fit(ji.Problem(surrogate, noise, PRIOR), data)
    inside = (one.status == ji.Status.CONVERGED) & (other.status == ji.Status.CONVERGED)
    for name in PRIOR:
        off = np.abs(one.parameters[name] - other.parameters[name]) / one.standard_error[name]
        assert np.mean(off[inside] < 0.3) > 0.9, name


def test_every_other_method_takes_it_too(surrogate: ji.Surrogate) -> None:
    problem = ji.Problem(surrogate, ji.noise.Gaussian(0.05), PRIOR)
    _, data = problem.simulate(jax.random.key(3), (4,))
    few = ji.Training(steps=4, batch_size=4, evaluate=2, n_validation=4)
    steps = ji.LearnedSteps(variant="damping", steps=2, width=4)
    loop = ji.unroll(problem, steps, few, key=jax.random.key(0), progress=False)
    assert np.isfinite(loop(problem, data).chi2).all()
    posterior = draw(problem, data, method=ji.Laplace(n_draws=500), key=jax.random.key(1))
    assert np.isfinite(posterior.draws["rate"]).all()


def test_it_does_not_extrapolate(surrogate: ji.Surrogate) -> None:
    p = {"amplitude": 1.0, "rate": 3.0, "background": 0.0}
    assert np.isfinite(surrogate(p)).all()
    assert np.isnan(surrogate(p | {"rate": 3.2})).all()
    assert not surrogate.inside(p | {"rate": 3.2})
    with pytest.raises(ValueError, match=r"the prior of 'rate' reaches from 0.2 to 5 but the surrogate was trained"):
        ji.Problem(surrogate, ji.noise.Gaussian(0.1), PRIOR | {"rate": dist.Uniform(0.2, 5.0)})
    with pytest.raises(ValueError, match="reaches from 7 to 7"):
        ji.Problem(surrogate, ji.noise.Gaussian(0.1), PRIOR | {"rate": 7.0})
    # A pixel whose known value lies outside is flagged; the others go on.
    problem = ji.Problem(surrogate, ji.noise.Gaussian(0.1), PRIOR)
    found = ji.fit(problem, np.ones((2, 30), np.float32), fixed={"rate": np.array([1.0, 9.0])})
    assert found.status[0] != ji.Status.FAILED
    assert found.status[1] == ji.Status.FAILED


def test_it_is_saved_as_a_folder_and_read_again(surrogate: ji.Surrogate, tmp_path: Path) -> None:
    surrogate.save(tmp_path / "net")
    again = ji.Surrogate.load(tmp_path / "net", Decay())
    p = priors.sample(PRIOR, jax.random.key(1))
    np.testing.assert_array_equal(again(p), surrogate(p))
    assert isinstance(again.report, Report)
    assert again.report == surrogate.report
    card = json.loads((tmp_path / "net" / "card.json").read_text())
    assert "Uniform" in card["prior"]
    assert card["forward"]["class"] == "Decay"


def test_a_folder_that_does_not_fit_is_refused_in_one_line(surrogate: ji.Surrogate, tmp_path: Path) -> None:
    class Other(Decay):
        pass

    with pytest.raises(FolderError, match=r"holds no trained network"):
        ji.Surrogate.load(tmp_path / "nothing", Decay())
    surrogate.save(tmp_path)
    with pytest.raises(FolderError, match="was trained for a Decay"):
        ji.Surrogate.load(tmp_path, Other())
    card, weights = (tmp_path / "card.json").read_text(), (tmp_path / "weights.npz").read_bytes()
    (tmp_path / "weights.npz").write_bytes(weights[:-40])
    with pytest.raises(FolderError, match=r"weights.npz is damaged .* train anew"):
        ji.Surrogate.load(tmp_path, Decay())
    (tmp_path / "weights.npz").write_bytes(weights)
    (tmp_path / "card.json").write_text(card.replace('"format": 1', '"format": 99'))
    with pytest.raises(FolderError, match=r"is written in format 99; jaxinv .* reads 1"):
        ji.Surrogate.load(tmp_path, Decay())
    (tmp_path / "card.json").write_text(card[: len(card) // 2])
    with pytest.raises(FolderError, match=r"card.json is damaged"):
        ji.Surrogate.load(tmp_path, Decay())
    (tmp_path / "card.json").write_text(card.replace('"width": 32', '"width": 16'))
    with pytest.raises(FolderError, match=r"the weights are those of another network"):
        ji.Surrogate.load(tmp_path, Decay())
    (tmp_path / "card.json").write_text(card.replace('"kind": "EmulatedCore"', '"kind": "Unrolled"'))
    with pytest.raises(FolderError, match=r"holds a trained Unrolled; expected a EmulatedCore"):
        ji.Surrogate.load(tmp_path, Decay())


def test_principal_components_say_what_they_leave_out() -> None:
    method = ji.Emulator(network="mlp", settings={"width": 16, "depth": 2}, components=3, n_report=200)
    short = ji.Training(steps=200, batch_size=32, learning_rate=5e-3, evaluate=100, n_validation=64)
    found = ji.emulate(Decay(), PRIOR, method, short, key=jax.random.key(0), progress=False)
    assert found.report is not None
    p = priors.sample(PRIOR, jax.random.key(7), (4096,))
    values = np.asarray(jax.vmap(Decay())(p))
    singular = np.linalg.svd(values - values.mean(0), compute_uv=False)
    expected = np.sqrt(np.sum(singular[3:] ** 2) / values.size)
    assert found.report.truncation[0] == pytest.approx(expected, rel=0.2)
    assert "principal components" in str(found.report)


class Slow(Forward):
    """A model that runs outside JAX, has no derivatives, and counts how often it is asked."""

    @property
    def parameters(self) -> dict[str, Parameter]:
        return {"amplitude": Parameter(), "rate": Parameter("1/s")}

    def __call__(self, parameters):
        def outside(amplitude, rate):
            CALLS.append(1)
            return np.float32(amplitude * np.exp(-rate * X))

        shape = jax.ShapeDtypeStruct(X.shape, jnp.float32)
        return jax.pure_callback(outside, shape, *parameters.values(), vmap_method="sequential")


CALLS: list[int] = []


def test_a_slow_model_is_called_for_its_training_and_never_again() -> None:
    prior = {"amplitude": dist.Uniform(0.5, 2.0), "rate": dist.Uniform(0.2, 3.0)}
    method = ji.Emulator(settings={"width": 32, "depth": 1}, jacobian=0.0, examples=400, n_report=100)
    found = ji.emulate(Slow(), prior, method, SHORT, key=jax.random.key(0), progress=False)
    # The examples, as many to look at, a quarter more near the worst of them, and the report with its timing.
    assert len(CALLS) <= 400 + 400 + 100 + 5 * 100 + 40
    assert found.report is not None
    assert found.report.percentile_99[0] < 0.03
    before = len(CALLS)
    problem = ji.Problem(found, ji.noise.Gaussian(0.05), prior)
    truth = priors.sample(prior, jax.random.key(1), (100,))
    data = np.exp(-np.asarray(truth["rate"])[:, None] * X) * np.asarray(truth["amplitude"])[:, None]
    fitted = ji.fit(problem, data.astype(np.float32))  # with derivatives, which the model lacks
    assert len(CALLS) == before
    assert np.median(np.abs(fitted.parameters["rate"] - truth["rate"])) < 0.03


def test_a_model_is_the_same_as_its_factors(float64: None) -> None:
    wavelength = np.linspace(6300.9, 6303.2, 40)
    atmosphere = spectra.MilneEddington(["Fe I 6301.5", "Fe I 6302.5"], wavelength, mu=0.8)
    core, stages = atmosphere.factors()
    assert "source_slope" not in core.units
    p = priors.sample(spectra.milne_eddington_prior(), jax.random.key(0), (20,))
    p["inclination"] = p["inclination"].at[:3].set(jnp.array([0.0, jnp.pi / 2, jnp.pi]))
    value, jacobian = jax.vmap(atmosphere.value_and_jacobian)(p)
    again, slopes = jax.vmap(Sequential(core, stages).value_and_jacobian)(p)
    np.testing.assert_allclose(again, value, atol=1e-13)
    for name in p:
        np.testing.assert_allclose(slopes[name], jacobian[name], atol=1e-12 * np.abs(jacobian[name]).max())


def test_rounds_near_the_worst_lower_the_largest_error() -> None:
    prior = {"a": dist.Uniform(0.0, 1.0), "b": dist.Uniform(0.0, 1.0)}

    def peak(p):
        return jnp.exp(-((p["a"] - 0.85) ** 2 + (p["b"] - 0.85) ** 2) / (2 * 0.05**2))[None]

    grid = dict(zip("ab", jnp.meshgrid(*2 * [jnp.linspace(0, 1, 101)]), strict=True))

    def largest(rounds: int, steps: int) -> float:
        method = ji.Emulator(settings={"width": 32, "depth": 1}, jacobian=0.0, rounds=rounds, n_report=100)
        training = dataclasses.replace(SHORT, steps=steps, evaluate=300)
        found = ji.emulate(peak, prior, method, training, key=jax.random.key(0), progress=False)
        error = jax.vmap(jax.vmap(found))(grid) - jax.vmap(jax.vmap(peak))(grid)
        return float(jnp.abs(error).max())

    # As many steps in all: 1800 and two rounds of 600. Measured: a quarter.
    assert largest(2, 1800) < 0.6 * largest(0, 3000) < 0.03


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"method": ji.Emulator(network="decoder", components=3)}, "a decoder gives the prediction itself"),
        ({"method": ji.Emulator(settings={"size": 3})}, "the network 'residual'"),
        ({"prior": {"amplitude": 1.0, "rate": 2.0, "background": 0.0}}, "there is nothing to learn"),
        ({"prior": PRIOR | {"speed": dist.Uniform(0.0, 1.0)}}, "no parameter 'speed'"),
        ({"prior": PRIOR | {"rate": dist.Cauchy(0.0, 1.0)}}, "neither two bounds nor a finite variance"),
        ({"prior": PRIOR | {"rate": dist.Uniform(-200.0, 3.0)}}, "predicts NaN or infinity for"),
        ({"prior": PRIOR | {"rate": ji.Tied("amplitude")}}, "ties 'rate'"),
    ],
)
def test_what_cannot_be_emulated_is_refused(more: dict, message: str) -> None:
    given = {"prior": PRIOR, "method": SETTINGS} | more
    with pytest.raises(ValueError, match=message):
        ji.emulate(Decay(), given["prior"], given["method"], SHORT, key=jax.random.key(0), progress=False)


@pytest.mark.parametrize(
    "bad",
    [{"network": "tree"}, {"jacobian": -1.0}, {"components": -1}, {"examples": -5}, {"rounds": -1}, {"n_report": 3}],
)
def test_settings_out_of_range_are_refused(bad: dict) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(bad))!r} takes"):
        ji.Emulator(**bad)
