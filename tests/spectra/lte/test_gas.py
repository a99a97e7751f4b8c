"""Elements and the equation of state: conservation, other codes' numbers, derivatives."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinv.spectra.lte import Gas, abundances
from jaxinv.spectra.lte.elements import elements, find_element, log_partition_functions, rows
from jaxinv.spectra.lte.gas import BOLTZMANN, BOLTZMANN_EV

TEMPERATURE = np.array([3000.0, 4000.0, 5000.0, 6000.0, 8000.0, 10000.0])
PRESSURE = np.array([1e-2, 0.1, 1.0, 30.0, 1e3, 1e4])


def test_the_tables() -> None:
    iron = find_element("Fe")
    assert (iron.number, iron.ionization[0]) == (26, 7.9025)
    assert len(elements()) == 92
    assert dict(abundances())["Fe"] == pytest.approx(10**-4.5)
    assert dict(abundances("thevenin1989"))["He"] == pytest.approx(0.1)
    changed = dict(abundances({"Fe": 7.45}))
    assert changed["Fe"] == pytest.approx(10**-4.55)
    assert changed["Mg"] == dict(abundances())["Mg"]


def test_partition_functions_meet_their_table() -> None:
    table = rows("partition_functions.txt")
    species = tuple((row[0], int(row[1])) for row in table)
    found = np.asarray(log_partition_functions(species, jnp.linspace(1000.0, 10000.0, 10)))
    off = np.abs(found - np.log(np.array([row[2:] for row in table], float))).max(axis=1)
    assert off.max() < 7e-3
    assert np.mean(off < 1e-3) > 0.9
    iron = log_partition_functions((("Fe", 1), ("Fe", 2)), jnp.array([9999.0, 10001.0, 12000.0, 900.0]))
    assert np.all(np.diff(iron[:, :3]) > 0)
    assert iron[0, 3] == pytest.approx(np.log(15.7458), abs=1e-3)


@pytest.mark.usefixtures("float64")
def test_nothing_is_lost() -> None:
    """Nuclei of hydrogen, charges, and the partial pressures, the charges by all 83 elements one by one."""
    gas = Gas()
    state = gas.state(jnp.asarray(TEMPERATURE), jnp.asarray(PRESSURE))
    nuclei = state.atoms + state.protons + state.negative_ions + 2 * (state.molecules + state.molecular_ions)
    np.testing.assert_allclose(nuclei, state.hydrogen, rtol=1e-12)
    charges = state.protons + state.molecular_ions - state.negative_ions
    particles = state.electrons + state.atoms + state.protons + state.negative_ions
    particles += state.molecules + state.molecular_ions
    mass = 0.0
    for symbol, number in gas.abundances:
        mass = mass + number * elements()[symbol].weight * state.hydrogen
        if symbol == "H":
            continue
        log_u = log_partition_functions(tuple((symbol, ion) for ion in (1, 2, 3)), jnp.asarray(TEMPERATURE))
        stages = [gas.per_state(state, symbol, ion) * jnp.exp(log_u[ion - 1]) for ion in (1, 2, 3)]
        np.testing.assert_allclose(sum(stages), number * state.hydrogen, rtol=1e-12)
        charges = charges + stages[1] + 2 * stages[2]
        particles = particles + number * state.hydrogen
    np.testing.assert_allclose(charges, state.electrons, rtol=1e-3)
    np.testing.assert_allclose(particles * BOLTZMANN * TEMPERATURE, state.gas_pressure, rtol=1e-12)
    np.testing.assert_allclose(mass * 1.6605391e-24, state.density, rtol=1e-6)


@pytest.mark.usefixtures("float64")
def test_saha_in_closed_form() -> None:
    """Of iron, from the equation as textbooks write it (Gray 2005, ch. 1)."""
    gas = Gas()
    t, pe = 5040.0, 20.0
    state = gas.state(jnp.asarray(t), jnp.asarray(pe))
    one, two = (float(gas.per_state(state, "Fe", ion)) for ion in (1, 2))
    assert np.log10(two / one * pe) == pytest.approx(-0.1761 + 2.5 * np.log10(t) - 7.9025, abs=2e-3)
    hydrogen = [float(gas.per_state(state, "H", ion)) for ion in (1, 2)]
    assert np.log10(hydrogen[1] / hydrogen[0] * pe) == pytest.approx(-0.1761 + 2.5 * np.log10(t) - 13.598, abs=2e-3)


@pytest.mark.usefixtures("float64")
def test_hydrogen_molecules_as_others_count_them() -> None:
    """Against the equilibrium constant of Kurucz's ATLAS9, a fit of its own."""
    t = np.array([3000.0, 4000.0, 5000.0, 6000.0])
    state = Gas().state(jnp.asarray(t), jnp.full(4, 1.0))
    series = [1.63660e-3, -4.93992e-7, 1.11822e-10, -1.49567e-14, 1.06206e-18, -3.08720e-23]
    log_k = 4.478 / (BOLTZMANN_EV * t) - 46.4584 + sum(c * t ** (k + 1) for k, c in enumerate(series)) - 1.5 * np.log(t)
    np.testing.assert_allclose(state.molecules / state.atoms**2, np.exp(log_k), rtol=0.05)
    ratio = state.negative_ions / state.atoms / state.electrons  # Saha's equation of H- in number densities
    expected = 1 / (4 * 2.4146e15 * t**1.5) * np.exp(0.7542 / (BOLTZMANN_EV * t))
    np.testing.assert_allclose(ratio, expected, rtol=1e-3)


def test_electron_pressure_is_found_again() -> None:
    gas = Gas()
    t, pe = np.meshgrid(np.linspace(2500, 12000, 20), np.geomspace(1e-3, 1e4, 15))
    t, pe = t.astype(np.float32), pe.astype(np.float32)
    pressure = np.asarray(gas.state(t, pe).gas_pressure)
    possible = (pressure < 1e8) & (pressure > 2.001 * pe)
    found = np.asarray(gas.electron_pressure(t, pressure))
    assert possible.sum() > 200
    np.testing.assert_allclose(found[possible], pe[possible], rtol=2e-4)


@pytest.mark.usefixtures("float64")
def test_derivatives_of_the_electron_pressure() -> None:
    gas = Gas()
    find = jax.jit(lambda v: jnp.log(gas.electron_pressure(v[0] * 1e3, jnp.exp(v[1]))))
    first, hessian = jax.jit(jax.grad(find)), jax.jit(jax.hessian(find))
    for at in ([4.5, 9.0], [6.4, 11.5], [9.0, 12.0]):
        at = jnp.array(at)
        second = hessian(at)
        h = 1e-4
        for k, step in enumerate(np.eye(2) * h):
            assert float(find(at + step) - find(at - step)) / (2 * h) == pytest.approx(float(first(at)[k]), rel=1e-5)
            np.testing.assert_allclose((first(at + step) - first(at - step)) / (2 * h), second[k], rtol=1e-4, atol=1e-6)


def test_derivatives_in_a_fused_program() -> None:
    """In float32, as inversions run: all finite, and those of float64."""
    gas = Gas()
    t, pe = np.linspace(4000.0, 9500.0, 53), np.geomspace(0.1, 5000.0, 53)

    def change(t: jax.Array, pe: jax.Array) -> jax.Array:
        return jax.jvp(lambda t: jnp.log(jnp.stack(gas.state(t, pe)[2:])), (t,), (jnp.ones_like(t),))[1]

    found = jax.jit(change)(jnp.asarray(t, jnp.float32), jnp.asarray(pe, jnp.float32))
    with jax.enable_x64(True):
        exact = np.asarray(jax.jit(change)(jnp.asarray(t), jnp.asarray(pe)))
    np.testing.assert_allclose(found, exact, rtol=2e-3, atol=1e-7)


@pytest.mark.parametrize("name", ["hsra11", "valc11", "mmaltby11"])
def test_gas_pressures_of_sir(reference_data: Path, name: str) -> None:
    """With the abundances that SIR used; cool umbrae included, where molecules matter."""
    table = np.loadtxt(reference_data / f"spectra/models/{name}.mod", skiprows=1)
    table = table[table[:, 0] > -3.5]
    state = Gas("thevenin1989").state(table[:, 1].astype(np.float32), table[:, 2].astype(np.float32))
    np.testing.assert_allclose(state.gas_pressure, table[:, 9], rtol=0.011)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Gas("asplund2008"), "no abundances 'asplund2008' among asplund2009, thevenin1989; did you mean"),
        (lambda: Gas({"Fr": np.nan}), "found nan of Fr"),
        (lambda: Gas({"H": 12.1}), "of an element but H"),
        (lambda: Gas({"fe": 7.5}), "no chemical element 'fe'; did you mean 'Fe'"),
        (lambda: Gas().per_state(Gas().state(5000.0, 1.0), "Tc", 1), "the abundance of Tc is not known"),
        (lambda: Gas().per_state(Gas().state(5000.0, 1.0), "Fe", 4), "Fe with spectrum number 4"),
    ],
)
def test_what_is_not_known(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
