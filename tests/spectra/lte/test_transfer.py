"""Formal solvers: Milne-Eddington's closed form, convergence with depth, each other, responses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinv import spectra
from jaxinv.spectra.lte.transfer import Matter, delo_bezier, emergent, emergent_and_response, hermite
from jaxinv.spectra.propagation import absorption

WAVELENGTH = np.linspace(6301.0, 6303.0, 41)
ATMOSPHERE = {
    "field_strength": 1500.0, "inclination": 1.0, "azimuth": 0.6, "velocity": 0.7, "doppler_width": 0.03,
    "line_strength": 15.0, "damping": 0.3, "source_constant": 0.3, "source_slope": 0.7,
}  # fmt: skip
SOLVERS = pytest.mark.parametrize("solver", [delo_bezier, hermite], ids=["delo_bezier", "hermite"])


def milne_eddington(log_tau: np.ndarray) -> tuple[spectra.MilneEddington, Matter]:
    model = spectra.MilneEddington(["Fe I 6301.5", "Fe I 6302.5"], WAVELENGTH)
    phi, psi = model.profiles({name: jnp.asarray(value) for name, value in ATMOSPHERE.items()})
    eta, q, v, rq, rv = ATMOSPHERE["line_strength"] * absorption(phi, psi, jnp.asarray(ATMOSPHERE["inclination"]))
    cosine, sine = np.cos(2 * ATMOSPHERE["azimuth"]), np.sin(2 * ATMOSPHERE["azimuth"])
    entries = jnp.stack([1 + eta, q * cosine, q * sine, v, rq * cosine, rq * sine, rv])
    shape = (len(log_tau), len(WAVELENGTH))
    source = ATMOSPHERE["source_constant"] + ATMOSPHERE["source_slope"] * 10.0**log_tau
    matter = Matter(
        jnp.broadcast_to(entries[:, None], (7, *shape)), jnp.broadcast_to(jnp.asarray(source)[:, None], shape)
    )
    return model, matter


@SOLVERS
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("mu", [1.0, 0.4])
def test_milne_eddington(solver, mu: float) -> None:
    errors = []
    for step in (0.2, 0.1, 0.05):
        grid = np.arange(-7.0, 2.0001, step)
        model, matter = milne_eddington(grid)
        expected = model({**{k: jnp.asarray(v) for k, v in ATMOSPHERE.items()}, "mu": mu})
        errors.append(float(jnp.abs(emergent(solver, matter, grid, mu) - expected).max()))
    assert errors[2] < 1e-5
    assert errors[0] / errors[1] > 7  # of third order at least
    assert errors[1] / errors[2] > 7


@pytest.mark.usefixtures("float64")
def test_eddington_barbier() -> None:
    """Of a source function linear in optical depth, the continuum at mu is that of the depth mu."""
    grid = np.arange(-6.0, 2.0001, 0.05)
    source = jnp.asarray(0.3 + 0.7 * 10.0**grid)[:, None]
    matter = Matter(jnp.concatenate([jnp.ones((1, len(grid), 1)), jnp.zeros((6, len(grid), 1))]), source)
    for mu in (1.0, 0.5):
        light = emergent(delo_bezier, matter, grid, mu)
        assert float(light[0, 0]) == pytest.approx(0.3 + 0.7 * mu, abs=1e-5)
        assert np.all(light[1:] == 0)


@SOLVERS
@pytest.mark.usefixtures("float64")
def test_responses_are_derivatives(solver) -> None:
    grid = np.arange(-4.0, 1.2001, 0.2)
    _, matter = milne_eddington(grid)
    slope = jnp.asarray(1 + 0.3 * np.sin(grid))[:, None]  # not constant with depth
    matter = Matter(matter.absorption * slope, matter.source * slope)
    light, by = jax.jit(lambda matter: emergent_and_response(solver, matter, grid, 0.8))(matter)
    run = jax.jit(lambda matter: emergent(solver, matter, grid, 0.8))
    np.testing.assert_allclose(light, run(matter), atol=1e-13)
    for entry, depth in ((0, 4), (1, 12), (3, 20), (5, 15), (6, 26)):
        h = 1e-5
        up, down = (Matter(matter.absorption.at[entry, depth].add(s), matter.source) for s in (h, -h))
        expected = (run(up) - run(down)) / (2 * h)
        np.testing.assert_allclose(by.absorption[:, entry, depth], expected, atol=1e-8)
    up, down = (Matter(matter.absorption, matter.source.at[10].add(s)) for s in (1e-5, -1e-5))
    np.testing.assert_allclose(by.source[:, 10], (run(up) - run(down)) / 2e-5, atol=1e-8)
