"""Several spectral windows as one: against the separate models, and through a fit."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from jaxinv.noise import Gaussian
from jaxinv.optimize import fit
from jaxinv.priors import Cyclic, Tied
from jaxinv.problem import Problem
from jaxinv.spectra import Continuum, MilneEddington, SpectralPSF, StrayLight, Windows, milne_eddington_prior
from jaxinv.spectra.field_vector import FieldVector

GRIDS = (np.linspace(6302.0, 6303.0, 50), np.linspace(6172.9, 6173.8, 30))
NAMES = (["Fe I 6302.5"], ["Fe I 6173.3"])
SHARED = {"field_strength": 1500.0, "inclination": 0.8, "azimuth": 1.0, "velocity": 0.5}
OWN = {
    "doppler_width": [0.03, 0.028], "line_strength": [12.0, 8.0], "damping": [0.3, 0.2], "source_constant": [0.3, 0.35],
    "source_slope": [0.7, 0.6],
}  # fmt: skip


def windows() -> Windows:
    psf = SpectralPSF.gaussian(GRIDS[1], 0.06)
    return Windows([MilneEddington(NAMES[0], GRIDS[0]), MilneEddington(NAMES[1], psf.model_wavelength) >> psf])


def parameters(dtype: type = np.float32) -> dict[str, jax.Array]:
    return {name: jnp.asarray(value, dtype) for name, value in {**SHARED, **OWN}.items()}


def test_windows_are_their_models_side_by_side() -> None:
    both = windows()
    stokes = both(parameters())
    for k, part in enumerate((stokes[:, :50], stokes[:, 50:])):
        alone = both.models[k]({**SHARED, **{name: value[k] for name, value in OWN.items()}})
        np.testing.assert_allclose(part, alone, atol=1e-6)


@pytest.mark.usefixtures("float64")
def test_the_jacobian_is_block_structured_and_right() -> None:
    both, at = windows(), parameters(np.float64)
    value, jacobian = both.value_and_jacobian(at)
    np.testing.assert_allclose(value, both(at), atol=1e-12)
    expected = jax.jacfwd(both.__call__)(at)
    for name in at:
        np.testing.assert_allclose(jacobian[name], expected[name], atol=1e-10)
    assert np.all(jacobian["damping"][:, :50, 1] == 0)
    assert np.all(jacobian["damping"][:, 50:, 0] == 0)


def test_a_fit_of_two_windows_finds_the_truth() -> None:
    both = windows()
    two = lambda low, high: dist.Uniform(low, high).expand((2,))  # noqa: E731
    prior = {
        "field_strength": dist.Uniform(0.0, 5000.0), "inclination": dist.Uniform(0.0, np.pi),
        "azimuth": Cyclic(0.0, np.pi), "velocity": dist.Uniform(-20.0, 20.0), "doppler_width": two(0.005, 0.12),
        "line_strength": two(0.05, 200.0), "damping": two(0.0, 3.0), "source_constant": two(0.0, 2.0),
        "source_slope": two(0.0, 3.0),
    }  # fmt: skip
    clean = np.asarray(both(parameters()))
    data = clean + np.random.default_rng(0).normal(0, 1e-3, (20, *clean.shape)).astype(np.float32)
    found = fit(Problem(both, Gaussian(1e-3), prior), data)
    assert found.labels[4:6] == ("doppler_width[0]", "doppler_width[1]")
    assert np.median(found.chi2) == pytest.approx(1, abs=0.1)
    for name, truth in {**SHARED, **OWN}.items():
        pull = (found.parameters[name] - np.asarray(truth)) / found.standard_error[name]
        assert np.abs(pull).max() < 5, name


def test_what_the_physics_knows_passes_through_windows_stages_and_ties() -> None:
    prior = milne_eddington_prior()
    vector = FieldVector(5000.0)
    grid = GRIDS[0]
    behind = Windows([MilneEddington(NAMES[0], grid), MilneEddington(NAMES[0], grid)]) >> Continuum(np.r_[grid, grid])
    own = {name: prior[name].expand((2,)) for name in OWN}
    problem = Problem(behind, Gaussian(1e-3), {**prior, **own, "continuum": 1.0})
    assert problem.coordinates.blocks[0] == vector

    tie = Tied("doppler_width", lambda width: width / 0.1)
    tied = Problem(MilneEddington(NAMES[0], grid), Gaussian(1e-3), {**prior, "damping": tie})
    assert tied.coordinates.blocks[0] == vector
    beyond = {"field_strength": -1200.0, "inclination": 0.5, "azimuth": 4.0}
    beyond = {name: jnp.asarray(x) for name, x in beyond.items()}
    rest = {name: jnp.asarray(x[0]) for name, x in OWN.items() if name != "damping"} | {"velocity": jnp.asarray(0.5)}
    moved = tied.canonical({**beyond, **rest})
    expected = {"field_strength": 1200.0, "inclination": np.pi - 0.5, "azimuth": 4.0 - np.pi}
    for name, value in expected.items():
        assert moved[name] == pytest.approx(value, rel=1e-5), name
    np.testing.assert_allclose(tied.predict(moved), tied.predict({**beyond, **rest}), atol=1e-5)


@pytest.mark.parametrize("known", ["tied", "fixed", "given"])
def test_a_symmetry_that_would_move_what_is_known_is_left_out(known: str) -> None:
    prior = milne_eddington_prior()
    if known == "tied":  # a field along its own azimuth: the opposite vector has another inclination
        prior["inclination"] = Tied("azimuth", lambda azimuth: azimuth / 2)
    else:
        prior["inclination"] = 0.5
    problem = Problem(MilneEddington(NAMES[0], GRIDS[0]), Gaussian(1e-3), prior)
    at = {name: jnp.asarray(x[0]) for name, x in OWN.items()} | {"velocity": 0.5, "azimuth": 1.0}
    if known == "given":
        problem, at = problem.given(["inclination"]), {**at, "inclination": 0.5}
    moved = problem.canonical({**at, "field_strength": -100.0})
    assert moved["field_strength"] == 0  # the nearest point of the support, not the opposite field
    assert problem.canonical({**at, "field_strength": 100.0})["field_strength"] == 100


def test_clear_errors() -> None:
    model = MilneEddington(NAMES[0], GRIDS[0])
    with pytest.raises(ValueError, match="at least one"):
        Windows([])
    with pytest.raises(ValueError, match="same scalar parameters"):
        Windows([model, model >> StrayLight(np.ones(50))])
    with pytest.raises(ValueError, match="'field'"):
        Windows([model], shared=["field"])
