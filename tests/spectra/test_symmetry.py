"""Exact symmetries of Stokes spectra: they move data and parameters together, also behind an instrument."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import jaxinv as ji
from jaxinv.spectra import MilneEddington, SpectralPSF, StrayLight, milne_eddington_prior
from jaxinv.spectra.symmetry import StokesTurn
from tests.spectra.test_milne_eddington import LINES, TYPICAL, WAVELENGTH

TURN = StokesTurn(jnp.asarray(0.7), jnp.asarray(1.1), jnp.asarray(-1.0))


def models():
    psf = SpectralPSF.gaussian(WAVELENGTH, 0.025)
    return MilneEddington(LINES, WAVELENGTH), MilneEddington(LINES, psf.model_wavelength) >> psf


@pytest.mark.parametrize("sign", [-1.0, 1.0])
@pytest.mark.usefixtures("float64")
def test_turned_parameters_predict_turned_data(sign: float) -> None:
    parameters = {name: jnp.asarray(value, float) for name, value in TYPICAL.items()}
    turn = StokesTurn(*(jnp.asarray(x, float) for x in (0.7, 1.1, sign)))
    for model in models():
        symmetry = model.knowledge.symmetry
        stokes = model(parameters)
        turned = symmetry.data(turn, stokes)
        np.testing.assert_allclose(model(symmetry.parameters(turn, parameters)), turned, atol=1e-12)
        back = symmetry.inverse(turn)
        np.testing.assert_allclose(symmetry.data(back, turned), stokes, atol=1e-12)
        for name, value in symmetry.parameters(back, symmetry.parameters(turn, parameters)).items():
            np.testing.assert_allclose(value, parameters[name], atol=1e-12)


def test_every_turn_of_a_spectrum_has_the_same_canonical_frame() -> None:
    prior = milne_eddington_prior()
    for model in models():
        symmetry = model.knowledge.symmetry
        for seed in range(20):
            key = jax.random.key(seed)
            draw = {name: prior[name].sample(jax.random.fold_in(key, k)) for k, name in enumerate(prior)}
            stokes = model({**draw, "velocity": draw["velocity"] / 10})
            valid = jnp.ones(stokes.shape, bool)
            seen = [stokes, symmetry.data(TURN, stokes), symmetry.data(symmetry.draw(key), stokes)]
            frames = [symmetry.data(symmetry.inverse(symmetry.find(s, valid)), s) for s in seen]
            for frame in frames[1:]:
                np.testing.assert_allclose(frame, frames[0], atol=3e-4)


def test_the_canonical_frame_has_the_field_towards_the_observer_along_q() -> None:
    model = MilneEddington(LINES, WAVELENGTH)
    symmetry = model.knowledge.symmetry
    parameters = {**TYPICAL, "inclination": 2.2, "azimuth": 2.5, "source_slope": 1.4, "source_constant": 0.6}
    stokes = model(parameters)
    turn = symmetry.find(stokes, jnp.ones(stokes.shape, bool))
    canonical = symmetry.parameters(symmetry.inverse(turn), parameters)
    assert float(turn.scale) == pytest.approx(2.0, rel=0.02)  # the continuum
    assert float(canonical["inclination"]) == pytest.approx(np.pi - 2.2, abs=1e-6)
    # Along +Q but for what magneto-optical effects turn.
    assert abs((float(canonical["azimuth"]) + np.pi / 2) % np.pi - np.pi / 2) < 0.1


def test_spectra_without_light_or_polarization_have_a_frame_too() -> None:
    symmetry = MilneEddington(LINES, WAVELENGTH).knowledge.symmetry
    dark = jnp.zeros((4, 112))
    for values, valid in [(dark, True), (dark.at[0].set(1.0), True), (dark + 1.0, False)]:
        turn = symmetry.find(values, jnp.full(values.shape, valid))
        assert all(np.isfinite(x) for x in turn)
        assert turn.scale > 0


def test_what_breaks_a_symmetry_does_not_declare_it() -> None:
    model = MilneEddington(LINES, WAVELENGTH) >> StrayLight(np.ones(112))
    assert model.knowledge.symmetry is None


@pytest.mark.parametrize(
    "changes",
    [
        {"azimuth": 0.3},
        {"azimuth": dist.Uniform(0.0, 1.0)},
        {"inclination": dist.Uniform(0.0, 1.0)},
        {"source_constant": 0.3},
        {"damping": ji.Tied("source_slope")},
    ],
    ids=["fixed", "part of the circle", "half the inclinations", "no scale", "tied"],
)
def test_a_problem_has_the_symmetry_only_where_all_that_moves_is_free_to(changes: dict) -> None:
    model = MilneEddington(LINES, WAVELENGTH)
    assert ji.Problem(model, 1e-3, milne_eddington_prior()).symmetry is not None
    assert ji.Problem(model, 1e-3, milne_eddington_prior(**changes)).symmetry is None
