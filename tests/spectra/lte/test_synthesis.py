"""LTE synthesis: SIR's profiles and response functions, finite differences, limits, bad input."""

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinv import spectra
from jaxinv.spectra.lte import standard_model
from jaxinv.spectra.lte.synthesis import hsra_continuum
from jaxinv.spectra.lte.transfer import delo_bezier, hermite

LINES = (
    spectra.Line(
        wavelength=6301.5012, j_lower=2, j_upper=2, log_gf=-0.718, term_lower="5P", term_upper="5D", element="Fe",
        excitation_potential=3.654, abo_sigma=834.0, abo_alpha=0.242,
    ),
    spectra.Line(
        wavelength=6302.4936, j_lower=1, j_upper=0, log_gf=-1.131, term_lower="5P", term_upper="5D", element="Fe",
        excitation_potential=3.686, abo_sigma=850.0, abo_alpha=0.239,
    ),
)  # fmt: skip
"""With SIR's numbers."""
GRID = np.linspace(1.2, -4.0, 27)
WAVELENGTH = np.linspace(6301.0, 6303.0, 21)


def atmosphere(grid: np.ndarray = GRID, field: float = 1200.0) -> dict[str, np.ndarray]:
    model = standard_model("HSRA", grid)
    return {
        "temperature": model["temperature"], "electron_pressure": model["electron_pressure"],
        "microturbulence": np.full(len(grid), 0.8), "velocity": 0.5 + 0.3 * grid,
        "field_strength": field * (1 + 0.1 * grid), "inclination": np.full(len(grid), 1.0) + 0.05 * grid,
        "azimuth": np.full(len(grid), 0.7),
    }  # fmt: skip


def of_sir(models: np.ndarray) -> dict[str, np.ndarray]:
    _, t, pe, turbulence, velocity, x, y, z = np.moveaxis(models, 1, 0)
    field = np.sqrt(x**2 + y**2 + z**2)
    named = {
        "temperature": t, "electron_pressure": pe, "microturbulence": turbulence, "velocity": velocity,
        "field_strength": field, "inclination": np.arccos(z / field), "azimuth": np.arctan2(y, x) % np.pi,
    }  # fmt: skip
    return {name: value.astype(np.float32) for name, value in named.items()}


def test_profiles_of_sir(reference_data: Path) -> None:
    """What remains is physics: SIR's H- is of the sixties; it is largest in flanks that are steep."""
    data = np.load(reference_data / "spectra/reference/sir_lte_6301_6302.npz")
    wavelength = data["wavelength_A"] + (6301.5012 if data["wavelength_A"][0] < 1000 else 0)
    model = spectra.LTE(LINES, wavelength, data["models"][0, 0])
    off = np.asarray(jax.jit(jax.vmap(model.__call__))(of_sir(data["models"]))) - data["stokes"]
    assert np.all(np.sqrt(np.mean(off**2, axis=(0, 2))) < [1.6e-3, 4e-4, 4e-4, 5e-4])
    assert np.median(np.abs(off).max(axis=(1, 2))) < 4e-3
    assert np.abs(off).max() < 9e-3


@pytest.mark.slow
def test_response_functions_of_sir(reference_data: Path) -> None:
    data = np.load(reference_data / "spectra/reference/sir_lte_6301_6302.npz")
    wavelength = data["wavelength_A"] + (6301.5012 if data["wavelength_A"][0] < 1000 else 0)
    model = spectra.LTE(LINES, wavelength, data["models"][0, 0])
    _, response = jax.jit(jax.vmap(model.value_and_jacobian))(of_sir(data["models"][:6]))
    order = [str(name) for name in data["rf_order"]]
    names = {
        "T": "temperature", "B": "field_strength", "v(cm/s)": "velocity", "gamma": "inclination", "phi": "azimuth",
        "vmic(cm/s)": "microturbulence",
    }  # fmt: skip
    for theirs, name in names.items():
        expected = data["rf"][:, order.index(theirs)]
        found = np.asarray(response[name]) * (1e-5 if "cm/s" in theirs else 1)
        off = np.abs(found - expected).max(axis=(2, 3)) / np.abs(expected).max(axis=(2, 3))
        assert np.median(off) < 0.025, name
        assert np.mean(off < 0.05) > 0.8, name
        assert off.max() < 0.15, name


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("hydrostatic", [False, True])
def test_response_functions_by_finite_differences(hydrostatic: bool) -> None:
    model = spectra.LTE(LINES, WAVELENGTH, GRID, hydrostatic=hydrostatic)
    p = {name: jnp.asarray(value) for name, value in atmosphere().items()}
    if hydrostatic:
        del p["electron_pressure"]
    p["wavelength_offset"] = jnp.asarray(0.003)
    run = jax.jit(model.__call__)
    value, response = jax.jit(lambda p: model.value_and_jacobian(p))(p)
    np.testing.assert_allclose(value, run(p), atol=1e-12)
    steps = {"temperature": 0.1, "electron_pressure": 1e-3, "wavelength_offset": 1e-5, "field_strength": 0.1}
    for name in p:
        h = steps.get(name, 1e-4)
        for depth in (3, 12) if p[name].ndim else ((),):
            up, down = (run({**p, name: p[name].at[depth].add(s)}) for s in (h, -h))
            expected = np.asarray(up - down) / (2 * h)
            found = np.asarray(response[name][..., depth] if p[name].ndim else response[name])
            np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max() + 1e-12, err_msg=name)


def test_derivatives_in_both_modes() -> None:
    model = spectra.LTE(LINES[1], WAVELENGTH[10:], GRID)
    p = {name: jnp.asarray(value, jnp.float32) for name, value in atmosphere().items()}
    _, response = jax.jit(lambda p: model.value_and_jacobian(p))(p)
    back = jax.jit(jax.grad(lambda p: model(p)[3, 5]))(p)
    forth = jax.jit(lambda p: jax.jvp(model, (p,), ({n: jnp.ones_like(x) for n, x in p.items()},))[1])(p)
    total = sum(np.asarray(x).sum(-1) for x in response.values())
    np.testing.assert_allclose(forth, total, atol=1e-4 * np.abs(total).max())
    for name, value in back.items():
        np.testing.assert_allclose(value, response[name][3, 5], atol=2e-5 * np.abs(value).max() + 1e-12)


def test_both_solvers() -> None:
    p = atmosphere()
    light = spectra.LTE(LINES, WAVELENGTH, GRID)(p)
    other = spectra.LTE(LINES, WAVELENGTH, GRID, solver=hermite)(p)
    np.testing.assert_allclose(light, other, atol=3e-3)
    assert np.abs(np.asarray(light) - np.asarray(other)).max() > 1e-6


def test_one_solver_is_not_taken_for_the_other() -> None:
    """By what keeps compiled programs, which tells models apart by their static fields."""
    run = eqx.filter_jit(lambda model, p: model(p))
    p = {name: jnp.asarray(value, jnp.float32) for name, value in atmosphere().items()}
    bezier, other = (run(spectra.LTE(LINES[1], WAVELENGTH[10:], GRID, solver=s), p) for s in (delo_bezier, hermite))
    assert 1e-6 < float(jnp.abs(bezier - other).max()) < 3e-3


def test_the_order_of_depths_does_not_matter() -> None:
    p = atmosphere()
    light = spectra.LTE(LINES, WAVELENGTH, GRID)(p)
    turned = spectra.LTE(LINES, WAVELENGTH, GRID[::-1])({name: value[::-1] for name, value in p.items()})
    np.testing.assert_allclose(light, turned, atol=2e-6)


def test_limits() -> None:
    """No field, no polarization; a weak one along the ray, V = -4.67e-13 g w0^2 B dI/dw; darker towards the limb."""
    wavelength = np.linspace(6302.3, 6302.7, 241)
    model = spectra.LTE(LINES[1], wavelength, GRID)
    p = atmosphere(field=0.0) | {"inclination": np.zeros(len(GRID))}
    assert np.abs(np.asarray(model(p))[1:]).max() < 1e-6
    weak = p | {"field_strength": np.full(len(GRID), 50.0)}
    light = np.asarray(model(weak))
    expected = -4.668645e-13 * 2.5 * 6302.4936**2 * 50 * np.gradient(light[0], wavelength)
    np.testing.assert_allclose(light[3], expected, atol=0.03 * np.abs(expected).max())
    assert light[0, 0] == pytest.approx(1.0, abs=0.05)
    inclined = np.asarray(spectra.LTE(LINES[1], wavelength, GRID, mu=0.5)(p))
    assert 0.6 < inclined[0, 0] / light[0, 0] < 0.8  # limb darkening at 6302 angstrom: .74


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: spectra.LTE(LINES, WAVELENGTH, [1.0, 0.0, -0.5, -4.0, -2.0]), "-4 is followed by -2"),
        (lambda: spectra.LTE(LINES, WAVELENGTH, [1.0, -4.0]), "3 finite numbers or more"),
        (lambda: spectra.LTE(LINES, WAVELENGTH, np.linspace(0, -4, 20)), "it has to span -2 to 0.5"),
        (lambda: spectra.LTE(LINES, [6303.0, 6304.0], GRID), "do not cover Fe I 6301.5"),
        (lambda: spectra.LTE(LINES, WAVELENGTH, GRID, mu=0.0), "cosine of the heliocentric angle"),
        (lambda: spectra.LTE(LINES, WAVELENGTH, GRID)(atmosphere(GRID[1:])), "the model reads"),
        (
            lambda: spectra.LTE(LINES, WAVELENGTH, GRID)(atmosphere() | {"temperature": np.linspace(900, 9e3, 27)}),
            "temperatures run from 900 to 9000 K; the equation of state covers 1000 to 20000 K",
        ),
        (
            lambda: spectra.LTE(LINES, WAVELENGTH, GRID)(atmosphere() | {"velocity": np.full(27, np.nan)}),
            "'velocity' holds numbers that are not finite",
        ),
        (
            lambda: spectra.LTE(LINES, WAVELENGTH, GRID)(atmosphere() | {"electron_pressure": np.zeros(27)}),
            "'electron_pressure' is above 0; found 0",
        ),
        (lambda: spectra.LTE(LINES, WAVELENGTH, GRID, hydrostatic=True)(atmosphere()), "leave it out"),
        (
            lambda: spectra.LTE(
                spectra.Line(wavelength=6302.0, j_lower=1, j_upper=0, log_gf=-1.0, term_lower="5P", term_upper="5D"),
                WAVELENGTH, GRID,
            ),
            "needs `element`",
        ),
        (
            lambda: spectra.LTE(
                spectra.Line(
                    wavelength=6302.0, j_lower=1, j_upper=0, log_gf=-1.0, term_lower="5P", term_upper="5D", element="Fe"
                ),
                WAVELENGTH, GRID,
            ),
            "needs `excitation_potential`",
        ),
    ],
)  # fmt: skip
def test_bad_input(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_the_continuum_is_the_suns() -> None:
    """The disc's centre at 5000 angstrom: 4.08e14 erg/s/cm2/sr/cm (Neckel & Labs 1984, Solar Physics 90, 205)."""
    two_h_c2 = 1.191043e15  # per micron^5
    assert two_h_c2 * hsra_continuum(5000.0) == pytest.approx(4.08e14, rel=0.02)
    # Their limb darkening near 6300 angstrom (1994, Solar Physics 153, 91), as a polynomial of mu.
    darkening = np.polynomial.Polynomial([0.31442, 1.35348, -1.82658, 2.35713, -1.68754, 0.48908])
    for mu in (0.8, 0.6, 0.4):
        assert hsra_continuum(6302.0, mu) / hsra_continuum(6302.0) == pytest.approx(darkening(mu), abs=0.02)
    here = spectra.LTE(LINES[1], np.linspace(6302.0, 6303.0, 5), GRID, mu=0.5, local_continuum=True)
    quiet = np.asarray(here(atmosphere(field=0.0)))
    assert quiet[0, 0] == pytest.approx(1.0, abs=0.02)
