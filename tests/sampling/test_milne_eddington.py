"""Posteriors of Stokes spectra against an independent sampler, and against Levenberg-Marquardt where that is right."""

from typing import Any

import jax
import numpy as np
import numpyro.distributions as dist
import pytest

import jaxinv as ji
from jaxinv import spectra
from jaxinv.noise import Gaussian
from jaxinv.observation import Observation
from jaxinv.problem import Problem
from jaxinv.results.posterior import Posterior
from jaxinv.sampling import HMC, draw

WAVELENGTH = np.linspace(6302.0, 6303.0, 60)
LINES = {"line_strength": 15.0, "damping": 0.3, "doppler_width": 0.03}


def problem(**changes) -> Problem:
    prior = spectra.milne_eddington_prior(**changes)
    return Problem(spectra.MilneEddington(["Fe I 6302.5"], WAVELENGTH), Gaussian(1e-3), prior)


def simulated(which: Problem, truth: dict[str, np.ndarray]) -> np.ndarray:
    clean = np.asarray(jax.vmap(which.predict)(truth))
    return clean + float(which.noise.sigma) * np.random.default_rng(0).standard_normal(clean.shape).astype(np.float32)


@pytest.fixture(scope="module")
def seen() -> tuple[Problem, dict[str, np.ndarray], Observation, Posterior]:
    """A problem with known lines; three spectra and, noisier, vertical fields of an umbra; and their posteriors."""
    which = problem(**LINES, source_constant=0.3, source_slope=0.7)
    inclination = np.radians(np.repeat([0.0, 1.0, 2.0, 4.0], 4))
    three = {
        "field_strength": [1500.0, 400.0, 250.0],
        "inclination": [1.0, 2.0, 1.2],
        "azimuth": [0.5, 2.5, 1.8],
        "velocity": [0.0, -1.0, -2.0],
    }
    umbra = {"field_strength": 2800.0, "inclination": inclination, "azimuth": 1.0, "velocity": 0.3}
    truth = {
        name: np.concatenate([x, np.broadcast_to(umbra[name], 16)]).astype(np.float32) for name, x in three.items()
    }
    clean = np.asarray(jax.vmap(which.predict)(truth))
    sigma = np.broadcast_to(np.float32([1e-3] * 3 + [5e-3] * 16)[:, None, None], clean.shape)
    values = clean + sigma * np.random.default_rng(0).standard_normal(clean.shape).astype(np.float32)
    data = Observation(values, sigma)
    return which, truth, data, draw(which, data, key=jax.random.key(0), method=HMC(n_draws=500))


@pytest.mark.slow
def test_an_independent_sampler_agrees(seen: Any) -> None:
    emcee = pytest.importorskip("emcee")
    which, truth, observed, ours = seen
    data = observed.values
    names = which.names
    lower, upper = np.array([0, 0, -10, -20.0]), np.array([5000, np.pi, 10, 20.0])

    @jax.jit
    def likelihood(points: jax.Array, one: jax.Array) -> jax.Array:
        return jax.vmap(lambda v: which.log_likelihood(dict(zip(names, v, strict=True)), one))(points)

    for k in range(3):

        def log_probability(points: np.ndarray, k: int = k) -> np.ndarray:
            inside = np.all((points > lower) & (points < upper), axis=1)
            return np.where(inside, np.asarray(likelihood(points.astype(np.float32), data[k])), -np.inf)

        spread = np.stack([ours.standard_deviation()[name][k] for name in names])
        centre = np.array([truth[name][k] for name in names])
        sampler = emcee.EnsembleSampler(32, 4, log_probability, vectorize=True)
        sampler.random_state = np.random.RandomState(k).get_state()
        start = centre + spread * np.random.default_rng(k).standard_normal((32, 4))
        sampler.run_mcmc(start, 2000)
        theirs = dict(zip(names, sampler.get_chain(discard=500, flat=True).T, strict=True))
        for j, name in enumerate(names):
            # The ensemble has some 1000 effective draws of each parameter.
            assert ours.median()[name][k] == pytest.approx(np.median(theirs[name]), abs=0.2 * float(spread[j]))
            assert float(spread[j]) == pytest.approx(np.std(theirs[name]), rel=0.1)


@pytest.mark.slow
def test_strong_fields_are_normal_and_weak_ones_are_not() -> None:
    which = problem(line_strength=dist.Uniform(2.0, 60.0), damping=0.3)
    strength = np.array([1200.0, 2000.0, 60.0, 40.0], np.float32)
    same = {"inclination": 1.0, "azimuth": 0.7, "velocity": 0.5, "doppler_width": 0.03, "line_strength": 12.0,
            "source_constant": 0.3, "source_slope": 0.7}  # fmt: skip
    truth = {"field_strength": strength} | {name: np.full(4, x, np.float32) for name, x in same.items()}
    data = simulated(which, truth)
    fit = ji.fit(which, data)
    found = draw(which, data, key=jax.random.key(0), method=HMC(n_draws=500), initial=fit)
    assert found.scalars["divergences"].sum() == 0
    for name, width in found.standard_deviation().items():
        ratio = width / fit.standard_error[name]
        np.testing.assert_allclose(ratio[:2], 1, atol=0.1)
        if name in ("velocity", "doppler_width", "source_constant", "source_slope"):
            np.testing.assert_allclose(ratio[2:], 1, atol=0.15)
    assert (found.standard_deviation()["inclination"] / fit.standard_error["inclination"])[2] > 1.5
    # What is measured in a weak field is its component along the line of sight.
    along = found.draws["field_strength"] * np.cos(found.draws["inclination"])
    relative = along.std((1, 2)) / np.abs(along.mean((1, 2)))
    alone = found.standard_deviation()["field_strength"] / found.median()["field_strength"]
    assert np.all(relative[2:] < 0.5 * alone[2:])


@pytest.mark.slow
def test_vertical_fields_of_an_umbra_converge(seen: Any) -> None:
    # The transverse field is less than its error: a disc of directions, with the mode anywhere in it.
    _, truth, _, found = seen
    inclination = truth["inclination"][3:]
    assert np.all(found.status == 0)
    # A truth of 0 lies on the edge, where no quantile comes: within a few tenths of a degree of it.
    assert np.mean(found.quantile(0.025)["inclination"][3:] < inclination + 4e-3) > 0.9
    assert np.all(found.quantile(0.975)["inclination"][3:] > inclination)
