"""What a newcomer types first: it works, or one line says what was found, what was expected and what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import jaxinv as ji
from jaxinv import io, pipelines, spectra

KEY = jax.random.key(0)
T = np.linspace(0, 2, 25)
PRIOR = {"amplitude": dist.Uniform(0.0, 10.0), "rate": dist.Uniform(0.0, 5.0)}
TRUTH = {"amplitude": 2.0, "rate": 1.2}


def decay(p: dict[str, Any]) -> Any:
    return p["amplitude"] * jnp.exp(-p["rate"] * T)


class DecayModule(eqx.Module):
    """Nothing but a call."""

    time: np.ndarray

    def __call__(self, p: dict[str, Any]) -> Any:
        return p["amplitude"] * jnp.exp(-p["rate"] * self.time)


DATA = np.asarray(decay(TRUTH)) + 0.05 * np.random.default_rng(0).standard_normal((3, 25))


@pytest.mark.parametrize("model", [decay, DecayModule(T)], ids=["function", "module"])
def test_any_function_is_a_forward_model(model: Any) -> None:
    found = ji.fit(ji.Problem(model, 0.05, PRIOR), DATA)
    for name, value in TRUTH.items():
        assert np.all(np.abs(found.parameters[name] - value) < 5 * found.standard_error[name])
    assert np.all(found.status == ji.Status.CONVERGED)


def test_a_function_is_fitted_sampled_and_calibrated() -> None:
    problem = ji.Problem(decay, 0.05, PRIOR)
    known = ji.fit(problem, DATA, fixed={"rate": np.full(3, 1.2)})
    assert known.labels == ("amplitude",)
    posterior = ji.sample(problem, DATA[0], key=KEY, method=ji.Laplace(n_draws=200))
    assert float(posterior["posterior"]["rate"].mean()) == pytest.approx(1.2, abs=0.15)
    report = ji.calibrate(problem, ji.Laplace(n_draws=200), n=20, key=KEY)
    assert set(report.ranks) == set(PRIOR)


class Network(eqx.Module):
    """A module with a function among its leaves."""

    scale: jax.Array
    shape: Any = jnp.exp

    def __call__(self, p: dict[str, Any]) -> Any:
        return self.scale * p["amplitude"] * self.shape(-p["rate"] * T)


@pytest.mark.slow
def test_a_module_with_functions_in_it_is_emulated() -> None:
    training = ji.Training(steps=4, batch_size=8, evaluate=2, n_validation=8)
    emulator = ji.Emulator(settings={"width": 4, "depth": 1}, n_report=100)
    surrogate = ji.emulate(Network(jnp.ones(())), PRIOR, emulator, training, key=KEY, progress=False)
    assert surrogate(TRUTH).shape == T.shape


def test_a_function_with_fixed_tied_and_array_parameters() -> None:
    prior = {
        "c": dist.Normal(jnp.zeros(3), 5.0).to_event(1),
        "scale": 2.0,
        "offset": ji.Tied("scale", lambda scale: scale / 2),
    }
    model = lambda p: p["scale"] * (p["c"][0] + p["c"][1] * T + p["c"][2] * T**2) + p["offset"]  # noqa: E731
    data = 2 * (1 + 2 * T - T**2) + 1
    found = ji.fit(ji.Problem(model, 0.1, prior), data)
    np.testing.assert_allclose(found.parameters["c"], [1, 2, -1], atol=0.02)
    assert found.to_xarray()["c"].shape == (3,)


def test_what_one_function_returns_the_next_one_takes() -> None:
    problem = ji.Problem(decay, ji.noise.Gaussian(0.05), PRIOR)
    found = ji.fit(problem, DATA)
    method = ji.HMC(n_warmup=50, n_draws=50, max_doublings=0)
    sampled = ji.sample(problem, DATA[0], key=KEY, method=method)
    drawn = ji.draw(problem, DATA, key=KEY, method=method, initial=found)
    assert isinstance(drawn, ji.Posterior)
    ji.plot.corner(sampled, truth=TRUTH)
    ji.plot.trace(sampled)
    ji.plot.corner(drawn, index=(1,), fit=found)
    batch = ji.sample(problem, DATA, key=KEY, method=method, initial=found)
    ji.plot.corner(batch, index=(1,), fit=found)
    one, other = (ji.predict(problem, DATA, p, key=KEY, n=5) for p in (batch, drawn))
    np.testing.assert_array_equal(one, other)
    ji.plot.maps(found)
    ji.plot.maps(found, ["rate"], errors=True)
    dataset = found.to_xarray()
    assert dataset["rate_error"].shape == (3,)
    assert float(dataset["covariance"].sel(parameter="rate", parameter_="rate")[0]) == pytest.approx(
        float(found.standard_error["rate"][0] ** 2), rel=1e-4
    )


def test_angles_survive_arviz() -> None:
    problem = ji.Problem(lambda p: jnp.cos(3 * T - p["phase"]), 0.3, {"phase": ji.priors.Cyclic(0.0, 2 * np.pi)})
    data = np.cos(3 * T - 0.02)
    method = ji.Laplace(n_draws=400)
    drawn = ji.draw(problem, data, key=KEY, method=method)
    sampled = ji.sample(problem, data, key=KEY, method=method)
    from jaxinv.results.arviz_adapter import as_posterior

    assert as_posterior(sampled).periods == drawn.periods
    assert as_posterior(sampled).standard_deviation()["phase"] == drawn.standard_deviation()["phase"] < 1


def test_a_file_can_be_inverted_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "cube.fits"
    typical = {**TYPICAL, "field_strength": np.linspace(100, 2000, 6).reshape(2, 3)}
    cube = pipelines.synthesize(typical, ji.SynthesizeConfig(lines="Fe I 6302.5", noise=1e-3))
    io.write_stokes(path, cube)
    options = {"wavelength_shift": 0.0, "continuum": 1.0, "progress": False, "sigma": 2e-3}
    maps = ji.invert(path, lines="Fe I 6302.5", **options)
    assert maps.provenance["lines"] == "Fe I 6302.5"
    same = ji.invert(str(path), ji.InvertConfig(lines=["Fe I 6302.5"], sigma=np.array([2e-3])), **options)
    np.testing.assert_array_equal(maps.parameters["velocity"], same.parameters["velocity"])
    assert maps.to_xarray()["velocity"].attrs["units"] == "km/s"
    ji.plot.quicklook(maps)


TYPICAL = {
    "field_strength": 1000.0,
    "inclination": 0.8,
    "azimuth": 0.5,
    "velocity": 0.0,
    "doppler_width": 0.03,
    "line_strength": 15.0,
    "damping": 0.3,
    "source_constant": 0.3,
    "source_slope": 0.7,
}


def nothing(p: dict[str, Any]) -> Any:
    return {"a": p["amplitude"]}


GAUSSIAN = ji.noise.Gaussian(0.1)
CUBE = io.stokes_cube(np.ones((2, 3, 4, 20)), np.linspace(6302, 6303, 20))
LINE = ["Fe I 6302.5"]
WAVELENGTH = np.linspace(6302, 6303, 20)


def problem(**changes: Any) -> ji.Problem:
    return ji.Problem(**{"forward": decay, "noise": 0.1, "prior": PRIOR, **changes})


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "prior lacks a parameter": (
        lambda: ji.fit(problem(prior={"amplitude": PRIOR["amplitude"]}), DATA),
        "reads 'rate', which the prior does not name.*give it a distribution or a number",
    ),
    "prior lacks one when simulated": (
        lambda: problem(prior={"amplitude": PRIOR["amplitude"]}).simulate(KEY, (2,)),
        "reads 'rate', which the prior does not name",
    ),
    "a misspelt parameter": (
        lambda: ji.Problem(spectra.MilneEddington(LINE, WAVELENGTH), 0.1, {"field_strenght": dist.Uniform(0, 1)}),
        "no parameter 'field_strenght'; did you mean 'field_strength'",
    ),
    "a name near nothing": (
        lambda: ji.Problem(spectra.MilneEddington(LINE, WAVELENGTH), 0.1, {"xyz": dist.Uniform(0, 1)}),
        r"no parameter 'xyz' \(it reads",
    ),
    "a class as forward": (lambda: problem(forward=DecayModule), r"is the class DecayModule: make one"),
    "no function as forward": (lambda: problem(forward=3.0), "a function of a dict of parameters.*found a float"),
    "a function of two": (lambda: problem(forward=lambda a, b: a), r"takes \(a, b\): a forward model takes one dict"),
    "a function that returns a dict": (lambda: ji.fit(problem(forward=nothing), DATA), "returns one array; nothing"),
    "noise of zero": (lambda: problem(noise=0.0), "numbers above 0; found 0"),
    "noise as text": (lambda: problem(noise="gaussian"), "jaxinv.noise.Gaussian.*found 'gaussian'"),
    "noise as a class": (lambda: problem(noise=ji.noise.Gaussian), r"the class Gaussian: make one of it, Gaussian\("),
    "prior as a list": (lambda: problem(prior=[1, 2]), "the prior is a dict.*found a list"),
    "prior as text": (lambda: problem(prior={"amplitude": "flat"}), "'amplitude' is 'flat': expected a NumPyro"),
    "prior as a class": (lambda: problem(prior={"amplitude": dist.Uniform}), "expected a NumPyro distribution"),
    "prior of constants": (lambda: problem(prior={"amplitude": 1.0, "rate": 2.0}), "the prior infers nothing"),
    "data as text": (lambda: ji.fit(problem(), "abc"), "no array of real numbers: found 'abc'; jaxinv.io reads files"),
    "data as a list of texts": (lambda: ji.fit(problem(), ["a", "b"]), "no array of real numbers"),
    "complex data": (lambda: ji.fit(problem(), DATA + 1j), "no array of real numbers"),
    "no data": (lambda: ji.fit(problem(), None), "the data have the shape"),
    "ragged data": (lambda: ji.fit(problem(), [[1.0], [1.0, 2.0]]), "no array of real numbers"),
    "a cube as data": (lambda: ji.fit(problem(), CUBE), "StokesCube, which jaxinv.invert takes"),
    "an empty batch": (lambda: ji.fit(problem(), DATA[:0]), r"hold no object: their shape is \(0, 25\)"),
    "an empty batch of samples": (lambda: ji.sample(problem(), DATA[:0], key=KEY), "hold no object"),
    "data of another length": (lambda: ji.fit(problem(), DATA[:, :7]), r"shape \(3, 7\).*predicts \(25,\)"),
    "a fixed name": (lambda: ji.fit(problem(), DATA, fixed={"raet": 1.0}), "did you mean 'rate'"),
    "a fixed text": (lambda: ji.fit(problem(), DATA, fixed={"rate": "a"}), r"`fixed\['rate'\]`"),
    "a seed as key": (lambda: ji.sample(problem(), DATA, key=0), r"jax.random.key\(seed\)"),
    "a method as text": (lambda: ji.sample(problem(), DATA, key=KEY, method="nuts"), r"method must be HMC\(\)"),
    "a method as a class": (lambda: ji.sample(problem(), DATA, key=KEY, method=ji.NUTS), r"method must be HMC\(\)"),
    "a corner of a fit": (lambda: ji.plot.corner(ji.fit(problem(), DATA)), "what jaxinv.sample.*found a Solution"),
    "a map of an array": (
        lambda: ji.plot.maps(DATA),
        "jaxinv.open or jaxinv.fit returned; found a ndarray",
    ),
    "a missing file": (lambda: ji.invert("nowhere.fits"), "there is no file nowhere.fits"),
    "an array to invert": (lambda: ji.invert(np.ones((2, 2, 4, 9))), "takes a file or a StokesCube.*stokes_cube"),
    "an unknown option": (lambda: ji.invert(CUBE, psf_fhwm=0.02), "no option 'psf_fhwm'; did you mean 'psf_fwhm'"),
    "an option of another type": (lambda: ji.invert(CUBE, starts="many"), "'starts' takes a whole number.*'many'"),
    "a line that is none": (lambda: ji.InvertConfig(lines=True), "'lines' takes a text; found True"),
    "an unknown line": (lambda: spectra.MilneEddington(["Fe I 6302.7"], WAVELENGTH), "Fe I 6302.7"),
    "a wavelength that is none": (lambda: spectra.MilneEddington(LINE, "6302"), "wavelength"),
    "a width of nothing": (
        lambda: pipelines.synthesize({**TYPICAL, "doppler_width": 0.0}),
        "doppler_width is 0 Angstrom in 1 of 1 pixels; it lies from 0.0001 to inf",
    ),
    "degrees for radians": (lambda: pipelines.synthesize({**TYPICAL, "inclination": 45}), "lies from 0 to 3.14159 rad"),
    "no parameters at all": (
        lambda: pipelines.synthesize({**TYPICAL, "velocity": np.full((2, 2), np.nan)}),
        "no pixel all of whose parameters are finite",
    ),
    "spectra that are no numbers": (
        lambda: pipelines.synthesize({**TYPICAL, "source_constant": 3e38, "source_slope": 3e38}),
        "spectra that are no numbers",
    ),
    "sigma with a unit": (lambda: ji.noise.Gaussian(_quantity(0.1, "G")), "sigma carries the unit G"),
    "degrees of freedom": (lambda: ji.noise.StudentT(0.1, -1), "above 0; found -1"),
}


def _quantity(value: float, unit: str) -> Any:
    from astropy import units

    return value * units.Unit(unit)


@pytest.mark.parametrize("guess", REFUSED)
def test_a_wrong_guess_is_answered_in_one_line(guess: str) -> None:
    call, expected = REFUSED[guess]
    with pytest.raises((ValueError, KeyError, OSError), match=expected) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("MilneEddington", "it is jaxinv.spectra.MilneEddington"),
        ("Gaussian", "it is jaxinv.noise.Gaussian"),
        ("read_stokes", "it is jaxinv.io.read_stokes"),
        ("corner", "it is jaxinv.plot.corner"),
        ("sampel", "did you mean 'sample'"),
        ("qqqq", "no attribute 'qqqq'$"),
    ],
)
def test_a_name_that_is_elsewhere(name: str, expected: str) -> None:
    with pytest.raises(AttributeError, match=expected):
        getattr(ji, name)


def test_the_vocabulary_is_in_one_place() -> None:
    for name in ("Forward", "Stage", "Posterior", "draw", "predict", "InvertConfig", "SampleConfig", "TrainConfig"):
        assert name in dir(ji)
        assert getattr(ji, name).__name__ == name
