"""What has a closed form is at its best, and the quadratic model there is that of the model itself."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from jaxinv.noise import Gaussian, StudentT
from jaxinv.observation import Observation
from jaxinv.optimize import closed_form
from jaxinv.optimize.normal import normal_of, quadratic_model, with_prior
from jaxinv.priors import Tied
from jaxinv.problem import Problem
from jaxinv.spectra import Continuum, Macroturbulence, MilneEddington, SpectralPSF, Windows, milne_eddington_prior

WAVELENGTH = np.linspace(6302.0, 6303.0, 24)
TRUTH = {
    "field_strength": 1500.0, "inclination": 0.8, "azimuth": 2.9, "velocity": 0.4, "doppler_width": 0.03,
    "line_strength": 12.0, "damping": 0.3, "source_constant": 0.3, "source_slope": 0.7,
}  # fmt: skip
AWAY = TRUTH | {"field_strength": 1300.0, "azimuth": 0.4, "source_constant": 0.5, "source_slope": 0.4}


def behind_an_instrument() -> MilneEddington:
    psf = SpectralPSF.gaussian(WAVELENGTH, 0.04)
    return MilneEddington(["Fe I 6302.5"], psf.model_wavelength) >> psf >> Macroturbulence(WAVELENGTH)


def evaluated(problem: Problem, at: dict, data: object) -> tuple[dict, object]:
    at = {name: jnp.asarray(value) for name, value in at.items()}
    found = problem.linearize(at)
    parameters, turned = closed_form.turned(problem, at, found.prediction, data)
    normal = normal_of(problem, None, found, turned)
    parameters, normal = closed_form.regressed(problem, parameters, normal)
    return parameters, with_prior(problem, problem.layout, None, problem.layout.ravel(parameters), normal)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("masked", [False, True])
def test_the_model_there_is_the_models_own(masked: bool) -> None:
    prior = milne_eddington_prior() | {"macroturbulence": dist.Uniform(0.0, 4.0)}
    if masked:  # and priors that are not flat, of other parameters
        prior |= {"damping": dist.Normal(0.5, 0.02), "velocity": dist.Normal(0.0, 0.1)}
    problem = Problem(behind_an_instrument(), Gaussian(np.array([2e-3, 1e-3, 1e-3, 1e-3])[:, None]), prior)
    truth, away = ({**at, "macroturbulence": jnp.asarray(1.2)} for at in (TRUTH, AWAY))
    data = problem.predict(truth) + 1e-3 * jax.random.normal(jax.random.key(0), (4, 24))
    mask = np.ones((4, 24), bool)
    if masked:
        mask[:, 5], mask[0, 9] = False, False
    data = Observation(data, jnp.full((4, 24), 1e-3), jnp.asarray(mask)) if masked else data
    found, normal = evaluated(problem, away, data)
    scale = np.ones(len(problem.layout.sizes))
    own = quadratic_model(problem, problem.layout, scale, problem.layout.ravel(found), data, {})
    assert float(normal.cost) == pytest.approx(float(own.cost), rel=1e-9)
    np.testing.assert_allclose(normal.gradient, own.gradient, rtol=1e-6, atol=1e-7 * np.abs(own.gradient).max())
    np.testing.assert_allclose(normal.curvature, own.curvature, rtol=1e-7, atol=1e-9)
    # The turn is the best for the source function that it was made with; the regression is the best of all.
    pair = [problem.layout.names.index(name) for name in ("source_constant", "source_slope")]
    size = np.sqrt(np.diagonal(normal.curvature))
    np.testing.assert_allclose((normal.gradient / size)[np.array(pair)], 0, atol=1e-6)
    assert float(jnp.sum(problem.residual(found, data) ** 2)) < float(jnp.sum(problem.residual(away, data) ** 2))
    twice, again = evaluated(problem, found, data)
    assert float(again.cost) <= float(normal.cost) * (1 + 1e-12)
    azimuth = problem.layout.names.index("azimuth")
    back, settled = evaluated(problem, evaluated(problem, twice, data)[0], data)
    assert abs(float(settled.gradient[azimuth] / size[azimuth])) < 1e-6
    assert float(back["azimuth"]) == pytest.approx(float(twice["azimuth"]), abs=1e-9)


def test_only_where_it_holds() -> None:
    model, prior = MilneEddington(["Fe I 6302.5"], WAVELENGTH), milne_eddington_prior()

    def has(problem: Problem) -> tuple[bool, bool]:
        rotation, affine = closed_form.of(problem)
        return rotation is not None, affine is not None

    noise = Gaussian(1e-3)
    assert has(Problem(model, noise, prior)) == (True, True)
    assert has(Problem(behind_an_instrument(), noise, prior | {"macroturbulence": 1.0})) == (True, True)
    assert has(Problem(model, StudentT(1e-3), prior)) == (False, False)
    assert has(Problem(model, noise, prior | {"azimuth": 0.3})) == (False, True)
    assert has(Problem(model, noise, prior | {"source_slope": dist.Normal(0.6, 0.1)})) == (True, False)
    assert has(Problem(model, noise, prior | {"damping": Tied("source_slope", lambda x: x / 2)})) == (True, False)
    assert has(Problem(model, noise, prior | {"inclination": Tied("azimuth")})) == (False, True)
    assert has(Problem(model >> Continuum(WAVELENGTH), noise, prior | {"continuum": 1.0})) == (False, False)
    two = {name: prior[name].expand((2,)) for name in ("doppler_width", "line_strength", "damping")}
    two |= {name: prior[name].expand((2,)) for name in ("source_constant", "source_slope")}
    assert has(Problem(Windows([model, model]), noise, prior | two)) == (True, False)


def test_unequal_weights_do_not_turn_and_bounds_hold() -> None:
    model, prior = MilneEddington(["Fe I 6302.5"], WAVELENGTH), milne_eddington_prior()
    prior["source_slope"] = dist.Uniform(0.0, 0.5)
    problem = Problem(model, Gaussian(np.array([1e-3, 1e-3, 2e-3, 1e-3])[:, None]), prior)
    found, _ = evaluated(problem, AWAY, model(TRUTH))
    assert float(found["azimuth"]) == pytest.approx(AWAY["azimuth"])
    assert (float(found["source_constant"]), float(found["source_slope"])) == (0.5, pytest.approx(0.4))
