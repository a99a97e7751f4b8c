"""Stratifications by nodes: what lies between them, derivatives, the prior, bad input (fits: `test_stratified.py`)."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy.interpolate import CubicSpline

from jaxinv import priors, spectra
from jaxinv.spectra.lte import standard_model

GRID = np.linspace(1.0, -3.5, 19)
WAVELENGTH = np.linspace(6302.1, 6302.9, 17)
MODEL = spectra.LTE("Fe I 6302.5", WAVELENGTH, GRID, hydrostatic=True)
NODES = spectra.Nodes(
    MODEL, {"temperature": 4, "velocity": [0.0, -2.0], "field_strength": 2, "inclination": 1, "azimuth": 1}
)
TRUTH = {
    "temperature": np.array([6700.0, 5500.0, 4900.0, 4500.0]), "velocity": np.array([1.0, -0.5]),
    "field_strength": np.array([1500.0, 900.0]), "inclination": 0.8, "azimuth": 0.5,
}  # fmt: skip


@pytest.mark.usefixtures("float64")
def test_stratification() -> None:
    found = {name: np.asarray(x) for name, x in NODES.stratification(TRUTH).items()}
    reference = standard_model("FAL-C", GRID)
    at = np.array([0.0, -1.0, -2.0, -3.0])
    shift = TRUTH["temperature"] - np.interp(at, GRID[::-1], reference["temperature"][::-1])
    spline = CubicSpline(at[::-1], shift[::-1], bc_type="clamped")
    np.testing.assert_allclose(found["temperature"], reference["temperature"] + spline(np.clip(GRID, -3, 0)))
    np.testing.assert_allclose(found["velocity"], np.interp(-GRID, [0, 2], [1.0, -0.5]))
    np.testing.assert_allclose(found["field_strength"], np.interp(-GRID, [0, 3], [1500.0, 900.0]))
    np.testing.assert_allclose(found["inclination"], 0.8)
    np.testing.assert_allclose(found["microturbulence"], reference["microturbulence"])  # not named: the reference's
    np.testing.assert_allclose(np.asarray(MODEL({n: x for n, x in found.items() if n != "electron_pressure"})),
                               NODES(TRUTH))  # fmt: skip
    given = spectra.LTE("Fe I 6302.5", WAVELENGTH, GRID)
    np.testing.assert_allclose(given({n: found[n] for n in found}), NODES(TRUTH), atol=1e-10)
    back = NODES.at_nodes({name: x[None] for name, x in found.items()})
    for name, value in TRUTH.items():
        np.testing.assert_allclose(back[name][0], value, rtol=1e-9)


@pytest.mark.usefixtures("float64")
def test_derivatives_by_finite_differences() -> None:
    p = {name: jnp.asarray(x) for name, x in TRUTH.items()} | {"wavelength_offset": jnp.asarray(0.002)}
    value, jacobian = jax.jit(lambda p: NODES.value_and_jacobian(p))(p)
    run = jax.jit(NODES.__call__)
    np.testing.assert_allclose(value, run(p), atol=1e-12)
    steps = {"temperature": 0.1, "field_strength": 0.1, "wavelength_offset": 1e-5}
    for name, x in p.items():
        h = steps.get(name, 1e-4)
        for k in np.ndindex(x.shape):
            up, down = (run({**p, name: x.at[k].add(s)}) for s in (h, -h))
            expected = np.asarray(up - down) / (2 * h)
            np.testing.assert_allclose(jacobian[name][(..., *k)], expected, atol=1e-5 * np.abs(expected).max())
    slope = jax.jit(jax.grad(lambda p: jnp.sum(NODES(p) ** 2)))(p)
    for name in p:
        expected = np.tensordot(2 * np.asarray(value), np.asarray(jacobian[name]), 2)
        np.testing.assert_allclose(slope[name], expected, atol=1e-8 * np.abs(expected).max() + 1e-14)


def test_the_prior_is_smooth_and_bounded() -> None:
    prior = spectra.stratified_prior(NODES, azimuth=0.5)
    assert prior["azimuth"] == 0.5
    assert isinstance(prior["inclination"], dist.Uniform)
    draws = priors.sample(prior, jax.random.key(0), (4000,))
    reference = NODES.at_nodes({n: np.asarray(x) for n, x in NODES.reference.items()})["temperature"]
    off = np.asarray(draws["temperature"]) - reference
    assert off.min() > -3501
    assert off.max() < 4501
    assert np.std(np.diff(off)) == pytest.approx(300, rel=0.15)  # a little less at the bounds
    assert np.std(np.diff(draws["velocity"])) == pytest.approx(3 * np.sqrt(2), rel=0.15)
    assert np.std(off[:, 0]) == pytest.approx(8000 / np.sqrt(12), rel=0.05)


@pytest.mark.parametrize(
    ("model", "nodes", "reference", "said"),
    [
        (spectra.LTE("Fe I 6302.5", WAVELENGTH, GRID), {"temperature": 3}, "FAL-C", "hydrostatic=True"),
        (MODEL, {"temprature": 3}, "FAL-C", "'temperature'"),
        (MODEL, {}, "FAL-C", "at least one"),
        (MODEL, {"temperature": 0}, "FAL-C", "1 or more"),
        (MODEL, {"temperature": [0.0, 0.0]}, "FAL-C", "different values"),
        (MODEL, {"temperature": [0.0, -5.0]}, "FAL-C", "beyond the grid"),
        (MODEL, {"temperature": 3}, "FALC", "FAL-C"),
        (MODEL, {"temperature": 3}, {"velocity": np.zeros(19)}, "no temperature"),
        (MODEL, {"temperature": 3}, {"temperature": np.zeros(7)}, "19 finite numbers"),
    ],
)
def test_bad_nodes(model: spectra.LTE, nodes: dict, reference: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        spectra.Nodes(model, nodes, reference)
