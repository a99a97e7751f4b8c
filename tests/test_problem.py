"""A problem's parts in concert: derivatives, densities, simulation and the NumPyro model."""

import astropy.units as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.infer import MCMC, NUTS
from numpyro.infer.util import log_density as numpyro_log_density

from jaxinv import priors
from jaxinv.noise import Gaussian
from jaxinv.observation import Observation
from jaxinv.optimize import fit
from jaxinv.priors import Tied
from jaxinv.problem import Problem
from jaxinv.spectra import Macroturbulence, MilneEddington
from tests.models import Decay, Line, Polynomial, Wave, X

PRIOR = {"intercept": dist.Normal(0.0, 2.0), "slope": dist.Uniform(-5.0, 5.0)}


def test_names_are_checked_and_the_nearest_one_is_named() -> None:
    with pytest.raises(ValueError, match="no parameter 'slop'; did you mean 'slope'"):
        Problem(Line(), Gaussian(1.0), {"slop": dist.Normal(0, 1)})
    with pytest.raises(ValueError, match="infers nothing"):
        Problem(Line(), Gaussian(1.0), {"slope": 1.0, "intercept": 2.0})
    with pytest.raises(ValueError, match="'other'"):
        Problem(Line(), Gaussian(1.0), PRIOR).given(["other"])
    with pytest.raises(ValueError, match="intercept"):
        Problem(Line(), Gaussian(1.0), {"slope": dist.Normal(0, 1)}).predict({"slope": 1.0})


def test_the_shape_of_a_prediction_is_remembered_for_equal_problems_only() -> None:
    prior = {"coefficients": dist.Normal(0, 1).expand([3]), "scale": 1.0}

    class Hashless(Polynomial):
        samples: object = eqx.field(static=True, default=None)

        def __call__(self, parameters):
            return super().__call__(parameters)[: len(self.samples)]

    assert Problem(Polynomial(), Gaussian(1.0), prior).prediction_shape() == X.shape
    assert Problem(Polynomial(), Gaussian(1.0), prior).prediction_shape() == X.shape
    for n in (3, 4):
        assert Problem(Hashless(samples=[0] * n), Gaussian(1.0), prior).prediction_shape() == (n,)
    known = Problem(Line(), Gaussian(1.0), PRIOR).given(["slope"])
    assert known.prediction_shape(["slope"]) == X.shape
    with pytest.raises(ValueError, match="slope"):
        known.prediction_shape()


def test_names_keep_the_models_order_through_jit() -> None:
    problem = Problem(Decay(), Gaussian(1.0), {k: dist.Normal(0, 1) for k in ("rate", "background", "amplitude")})
    assert problem.names == ("amplitude", "rate", "background")
    seen = []
    jax.jit(lambda p: seen.append(p.names) or jnp.zeros(()))(problem)
    assert seen == [problem.names]


@pytest.mark.usefixtures("float64")
def test_linearize_follows_ties_and_arrays() -> None:
    prior = {"coefficients": dist.Normal(0.0, 1.0).expand((3,)), "scale": Tied("coefficients", lambda c: 1 + c[0] ** 2)}
    problem = Problem(Polynomial(), Gaussian(1.0), prior)
    at = {"coefficients": jnp.array([0.5, -0.3, 0.2])}
    found = problem.linearize(at)
    value, jacobian = found.prediction, found.jacobian
    assert jacobian["coefficients"].shape == (30, 3)
    np.testing.assert_allclose(value, problem.predict(at))
    for k in range(3):
        step = 1e-6 * jnp.eye(3)[k]
        up, down = (problem.predict({"coefficients": at["coefficients"] + s * step}) for s in (1, -1))
        np.testing.assert_allclose(jacobian["coefficients"][:, k], (up - down) / 2e-6, atol=1e-8)


def test_residuals_and_known_parameters() -> None:
    problem = Problem(Line(), Gaussian(0.5), PRIOR)
    data = 1 + 2 * X
    at = {"intercept": 1.0, "slope": 1.0}
    np.testing.assert_allclose(problem.residual(at, data), X / 0.5, rtol=1e-5)
    halved = problem.residual(at, Observation(data, sigma=1.0, mask=X > 0.5))
    np.testing.assert_allclose(halved, np.where(X > 0.5, X, 0), rtol=1e-5)
    assert problem.given(["slope"]).names == ("intercept",)


def test_simulation_is_reproducible_and_each_parameter_independent_of_the_others() -> None:
    problem = Problem(Line(), Gaussian(0.1), PRIOR)
    parameters, data = problem.simulate(jax.random.key(0), (40, 50))
    again, _ = problem.simulate(jax.random.key(0), (40, 50))
    assert data.shape == (40, 50, 30)
    np.testing.assert_array_equal(parameters["slope"], again["slope"])
    residual = data - parameters["intercept"][..., None] - parameters["slope"][..., None] * X
    assert np.std(residual) == pytest.approx(0.1, rel=0.02)
    assert np.std(parameters["intercept"]) == pytest.approx(2, rel=0.1)
    known = np.linspace(-1, 1, 8)
    some, data = problem.given(["slope"]).simulate(jax.random.key(1), (8,), known={"slope": known})
    assert list(some) == ["intercept"]
    slope = np.polyfit(X, np.asarray(data).T, 1)[0]
    np.testing.assert_allclose(slope, known, atol=0.2)


def test_density_in_opened_coordinates_is_numpyros() -> None:
    problem = Problem(Line(), Gaussian(0.3), PRIOR)
    data = jnp.asarray(0.5 + 1.5 * X)
    opened = problem.coordinates.opened()
    for seed in range(5):
        z = jax.random.normal(jax.random.key(seed), (2,))
        parameters = opened.parameters(z)
        theirs, _ = numpyro_log_density(problem.numpyro_model, (data,), {}, parameters)
        assert problem.log_density(opened, z, data) == pytest.approx(float(theirs + opened.log_volume(z)), rel=1e-5)
    extreme = jax.grad(lambda z: problem.log_density(opened, z, data))(jnp.array([1e3, 50.0]))
    assert np.all(np.isfinite(extreme))


def test_a_model_without_an_estimate_starts_at_the_centre() -> None:
    problem = Problem(Line(), Gaussian(0.3), PRIOR)
    guess = problem.guess(jnp.asarray(X))
    assert guess["slope"].shape == (1,)
    assert (guess["slope"][0], guess["intercept"][0]) == (0, 0)


@pytest.mark.slow
def test_numpyros_sampler_meets_the_closed_form() -> None:
    sigma, prior = 0.4, {"intercept": dist.Normal(0.0, 1.0), "slope": dist.Normal(0.0, 1.0)}
    data = 0.8 - 0.6 * X + np.random.default_rng(0).normal(0, sigma, len(X))
    problem = Problem(Line(), Gaussian(sigma), prior)
    mcmc = MCMC(NUTS(problem.numpyro_model), num_warmup=500, num_samples=4000, progress_bar=False)
    mcmc.run(jax.random.key(0), jnp.asarray(data))
    design = np.column_stack([np.ones_like(X), X])
    covariance = np.linalg.inv(design.T @ design / sigma**2 + np.eye(2))
    mean = covariance @ design.T @ data / sigma**2
    for k, name in enumerate(prior):
        draws = mcmc.get_samples()[name]
        assert np.mean(draws) == pytest.approx(mean[k], abs=0.1 * np.sqrt(covariance[k, k]))
        assert np.std(draws) == pytest.approx(np.sqrt(covariance[k, k]), rel=0.06)


@pytest.mark.slow
def test_a_cyclic_site_inside_a_users_own_model() -> None:
    problem = Problem(
        Wave(), Gaussian(0.2), {"amplitude": dist.HalfNormal(2.0), "phase": priors.Cyclic(0.0, 2 * np.pi)}
    )
    data = jnp.asarray(1.5 * np.cos(3 * X - 6.2))  # next to the edge of the circle

    def model(data: jax.Array) -> None:
        numpyro.sample("nuisance", dist.Normal(0, 1))
        problem.numpyro_model(data)

    mcmc = MCMC(NUTS(model), num_warmup=400, num_samples=1000, progress_bar=False)
    mcmc.run(jax.random.key(0), data)
    draws = mcmc.get_samples()
    assert mcmc.get_extra_fields()["diverging"].sum() == 0
    mean = np.angle(np.mean(np.exp(1j * np.asarray(draws["phase"]))))
    assert np.sin(mean - 6.2) == pytest.approx(0, abs=0.05)
    assert np.mean(draws["amplitude"]) == pytest.approx(1.5, abs=0.1)


def test_units_are_converted_or_refused() -> None:
    plain, unit = {"intercept": 2.0, "slope": 3.0}, {"intercept": 2000 * u.mV, "slope": 180 * u.V / u.min}
    problem = Problem(Line(), Gaussian(1.0), PRIOR)
    np.testing.assert_allclose(problem.predict(unit), problem.predict(plain), rtol=1e-6)
    known = Problem(Line(), Gaussian(1.0), {"intercept": 2000 * u.mV, "slope": PRIOR["slope"]})
    np.testing.assert_allclose(known.predict({"slope": 3.0}), problem.predict(plain), rtol=1e-6)
    with pytest.raises(ValueError, match="'intercept' carries the unit m, the model reads it in V"):
        problem.predict({"intercept": 2 * u.m, "slope": 3.0})
    with pytest.raises(ValueError, match="the prior of 'intercept' carries the unit mV: give its numbers in V"):
        Problem(Line(), Gaussian(1.0), {**PRIOR, "intercept": dist.Uniform(0 * u.mV, 5 * u.mV)})
    wavelength = np.linspace(6302.0, 6303.0, 20)
    model = MilneEddington(["Fe I 6302.5"], wavelength) >> Macroturbulence(wavelength)
    numbers = {"field_strength": 1500.0, "inclination": np.pi / 6, "azimuth": 0.5, "velocity": 1.0}
    numbers |= {
        "doppler_width": 0.03,
        "line_strength": 10.0,
        "damping": 0.2,
        "source_constant": 0.3,
        "source_slope": 0.7,
    }
    numbers["macroturbulence"] = 1.0
    quantities = {"field_strength": 0.15 * u.T, "inclination": 30 * u.deg, "velocity": 1000 * u.m / u.s}
    quantities["doppler_width"] = 3 * u.pm
    for one, left in ((model, ()), (model.first, ("macroturbulence",))):
        numbers = {name: value for name, value in numbers.items() if name not in left}
        np.testing.assert_allclose(one({**numbers, **quantities}), one(numbers), atol=1e-5)
        both = (one.value_and_jacobian(x)[1]["inclination"] for x in ({**numbers, **quantities}, numbers))
        np.testing.assert_allclose(*both, atol=1e-4)


def test_masked_arrays_say_what_is_missing() -> None:
    problem = Problem(Line(), Gaussian(0.1), PRIOR)
    values = (1 + 0.5 * X + 0.01 * np.cos(9 * X)).astype(np.float32)
    spoiled = values.copy()
    spoiled[3:6] = 1e6
    hidden = np.ma.array(spoiled, mask=spoiled > 1e5)
    expected = fit(problem, np.where(hidden.mask, np.nan, values))
    for data in (hidden, Observation(hidden), Observation(hidden, mask=np.ones(len(X), bool)),
                 Observation(spoiled, np.ma.array(np.full(len(X), 0.1), mask=hidden.mask))):  # fmt: skip
        np.testing.assert_allclose(fit(problem, data).parameters["slope"], expected.parameters["slope"], rtol=1e-5)
    with pytest.raises(ValueError, match="holds masked values"):
        fit(problem, values, fixed={"slope": np.ma.array(1.0, mask=True)})
