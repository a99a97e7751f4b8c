"""Posteriors of Stokes spectra against an independent sampler, and against Levenberg-Marquardt where that is right."""

import jax
import numpy as np
import numpyro.distributions as dist
import pytest

import jaxinv as ji
from jaxinv import spectra
from jaxinv.noise import Gaussian
from jaxinv.problem import Problem
from jaxinv.sampling import HMC, draw

WAVELENGTH = np.linspace(6302.0, 6303.0, 60)
LINES = {"line_strength": 15.0, "damping": 0.3, "doppler_width": 0.03}


def problem(**changes) -> Problem:
    prior = spectra.milne_eddington_prior(**changes)
    return Problem(spectra.MilneEddington(["Fe I 6302.5"], WAVELENGTH), Gaussian(1e-3), prior)


def simulated(which: Problem, truth: dict[str, np.ndarray]) -> np.ndarray:
    clean = np.asarray(jax.vmap(which.predict)(truth))
    return clean + float(which.noise.sigma) * np.random.default_rng(0).standard_normal(clean.shape).astype(np.float32)


@pytest.mark.slow
def test_an_independent_sampler_agrees() -> None:
    emcee = pytest.importorskip("emcee")
    which = problem(**LINES, source_constant=0.3, source_slope=0.7)
    truth = {
        "field_strength": np.array([1500.0, 400.0, 250.0], np.float32),
        "inclination": np.array([1.0, 2.0, 1.2], np.float32),
        "azimuth": np.array([0.5, 2.5, 1.8], np.float32),
        "velocity": np.array([0.0, -1.0, -2.0], np.float32),
    }
    data = simulated(which, truth)
    ours = draw(which, data, key=jax.random.key(0), method=HMC(n_draws=1000, max_doublings=0))
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
def test_vertical_fields_of_an_umbra_converge() -> None:
    # The transverse field is less than its error: a disc of directions, with the mode anywhere in it.
    which = Problem(problem().forward, Gaussian(5e-3), problem(**LINES, source_constant=0.3, source_slope=0.7).prior)
    inclination = np.radians(np.repeat([0.0, 1.0, 2.0, 4.0], 4))
    truth = {"field_strength": 2800.0, "inclination": inclination, "azimuth": 1.0, "velocity": 0.3}
    truth = {name: np.broadcast_to(np.float32(x), 16) for name, x in truth.items()}
    method = HMC(n_draws=500)
    found = draw(which, simulated(which, truth), key=jax.random.key(1), method=method)
    assert np.all(found.status == 0)
    # A truth of 0 lies on the edge, where no quantile comes: within a few tenths of a degree of it.
    assert np.mean(found.quantile(0.025)["inclination"] < inclination + 4e-3) > 0.9
    assert np.all(found.quantile(0.975)["inclination"] > inclination)
