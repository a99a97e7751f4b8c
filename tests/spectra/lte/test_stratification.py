"""Hydrostatic equilibrium against an integrator of its own and SIR's, heights, model atmospheres, bad grids."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from jaxinv.spectra.lte import (
    Gas,
    continuous_opacity,
    geometric_height,
    hydrostatic,
    model_names,
    standard_model,
)

GAS = Gas("thevenin1989")


def temperature(x: np.ndarray) -> np.ndarray:
    """A smooth one, about the Sun's, of log tau."""
    return 4300 + 2000 * np.exp(0.9 * np.minimum(x, 2)) / (1 + 0.25 * np.exp(1.2 * x))


@pytest.mark.usefixtures("float64")
def test_against_an_integrator_of_small_steps() -> None:
    top, bottom = -4.0, 1.0
    start = 500.0

    @jax.jit
    def slope(x: jax.Array, log_p: jax.Array, t: jax.Array) -> jax.Array:
        pe = GAS.electron_pressure(t, jnp.exp(log_p))
        state = GAS.state(t, pe)
        return 27400.0 * jnp.exp(x - log_p) * state.density / continuous_opacity(state, 5000.0)

    def right(x: float, y: np.ndarray) -> np.ndarray:
        return np.asarray(slope(x, y, temperature(np.array([x / np.log(10)]))))

    found = solve_ivp(right, np.log(10) * np.array([top, bottom]), [np.log(start)], rtol=1e-8, atol=1e-8)
    expected = float(GAS.electron_pressure(temperature(np.array(bottom)), np.exp(found.y[0, -1])))
    errors = []
    for n in (26, 51):
        grid = np.linspace(bottom, top, n)
        pe = hydrostatic(GAS, grid, jnp.asarray(temperature(grid)), top_pressure=start)
        errors.append(abs(float(pe[0]) / expected - 1))
    assert errors[1] < 2e-3
    assert errors[0] / errors[1] > 3  # of second order


def test_electron_pressures_of_sir(reference_data: Path) -> None:
    """All reference models but the first, whose gas pressure does not rise with depth: it is in no equilibrium."""
    models = np.load(reference_data / "spectra/reference/sir_lte_6301_6302.npz")["models"].astype(np.float32)
    first = GAS.state(models[0, 1], models[0, 2]).gas_pressure
    assert first.max() / first.min() < 1.2
    depths = models[0, 0]
    tops = GAS.state(models[1:, 1, -1], models[1:, 2, -1]).gas_pressure
    found = jax.jit(jax.vmap(lambda t, p: hydrostatic(GAS, depths, t, top_pressure=p)))(models[1:, 1], tops)
    off = np.abs(np.asarray(found) / models[1:, 2] - 1)[:, (depths < 1.01) & (depths > -3.01)]
    assert off.max() < 0.06
    assert np.mean(off.max(axis=1) < 0.05) > 0.9
    alone = jax.jit(jax.vmap(lambda t: hydrostatic(GAS, depths, t)))(models[1:, 1])
    off = np.abs(np.asarray(alone) / models[1:, 2] - 1)[:, (depths < 1.01) & (depths > -1.51)]
    assert off.max() < 0.08


def test_the_order_of_depths_does_not_matter() -> None:
    grid = np.linspace(1.2, -4, 53)
    t = temperature(grid).astype(np.float32)
    down, up = hydrostatic(GAS, grid, t), hydrostatic(GAS, grid[::-1], t[::-1])
    np.testing.assert_allclose(down, up[::-1], rtol=1e-6)
    state = GAS.state(t, down)
    height = geometric_height(grid, state)
    np.testing.assert_allclose(height, geometric_height(grid[::-1], GAS.state(t[::-1], up))[::-1], atol=0.02)
    assert np.all(np.diff(height) > 0)
    assert abs(np.interp(0.0, grid[::-1], np.asarray(height)[::-1])) < 1e-3


@pytest.mark.usefixtures("float64")
def test_derivatives_by_finite_differences() -> None:
    grid = np.linspace(1.0, -3.0, 21)
    t = temperature(grid)
    run = jax.jit(lambda t: jnp.log(hydrostatic(GAS, grid, t)))
    jacobian = np.asarray(jax.jit(jax.jacfwd(run))(jnp.asarray(t)))
    backward = jax.jit(jax.grad(lambda t: run(t)[3]))(jnp.asarray(t))
    np.testing.assert_allclose(backward, jacobian[3], atol=1e-10)
    for k in (0, 10, 20):
        step = np.zeros(21)
        step[k] = 0.5
        np.testing.assert_allclose((run(t + step) - run(t - step)) / 1.0, jacobian[:, k], rtol=1e-5, atol=1e-9)


def test_heights_of_sir(reference_data: Path) -> None:
    table = np.loadtxt(reference_data / "spectra/models/hsra11.mod", skiprows=1)
    state = GAS.state(jnp.asarray(table[:, 1]), jnp.asarray(table[:, 2]))
    np.testing.assert_allclose(geometric_height(table[:, 0], state), table[:, 8], rtol=0.05, atol=1.0)


def test_standard_models() -> None:
    assert {"HSRA", "FAL-C", "FAL-E", "FAL-F", "FAL-P"} <= set(model_names())
    for name in model_names():
        own = standard_model(name)
        again = standard_model(name, own["log_tau"])
        for key, values in own.items():
            np.testing.assert_allclose(again[key], values)
    hsra = standard_model("HSRA", [1.0, 0.0, -2.05])
    assert hsra["temperature"][1] == pytest.approx(6390)
    assert 4600 < hsra["temperature"][2] < 4660
    found = hydrostatic(GAS, (model := standard_model("HSRA"))["log_tau"], jnp.asarray(model["temperature"]))
    np.testing.assert_allclose(found[:45], model["electron_pressure"][:45], rtol=0.05)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: standard_model("HSRAA"), "no model 'HSRAA' among HSRA, .*; did you mean 'HSRA'"),
        (lambda: standard_model("HSRA", [1.0, 0.0, -7.0]), "HSRA covers log_tau from -4 to 1.4; asked for -7 to 1"),
        (lambda: standard_model("HSRA", [1.0, 0.0]), "a row of 3 finite numbers or more"),
        (lambda: standard_model("HSRA", [1.0, -1.0, 0.0]), "-1 is followed by 0 at position 2"),
        (lambda: hydrostatic(GAS, np.zeros(5), jnp.full(5, 5e3)), "0 is followed by 0 at position 1"),
        (lambda: hydrostatic(GAS, np.array([1, np.nan, 0]), jnp.full(3, 5e3)), "finite numbers"),
        (lambda: hydrostatic(GAS, np.arange(4.0), jnp.full(3, 5e3)), "the shape \\(3,\\), but there are 4 depths"),
    ],
)
def test_bad_grids(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
