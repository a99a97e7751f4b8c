"""Continuous opacity against other authors' fits, and against what SIR's heights imply."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinv.spectra.lte import Gas, continuous_opacity, contributions
from jaxinv.spectra.lte.opacity import _bound_free, _free_free


@pytest.mark.parametrize("wavelength", [4500.0, 5000.0, 6302.0, 8500.0, 12000.0])
def test_negative_ions_of_hydrogen_as_in_gray(wavelength: float) -> None:
    """Gray 2005, Stellar Photospheres, ch. 8: his own fits to Wishart and to Bell & Berrington."""
    fit = [1.99654, -1.18267e-5, 2.64243e-6, -4.40524e-10, 3.23992e-14, -1.39568e-18, 2.78701e-23]
    section = np.polynomial.polynomial.polyval(wavelength, fit)  # [1e-18 cm2]
    t = np.array([4500.0, 6300.0, 8400.0])
    theta = 5040 / t
    bound = 4.158e-10 * section * 1e-18 * theta**2.5 * 10 ** (0.754 * theta)
    np.testing.assert_allclose(_bound_free(jnp.asarray(t), wavelength / 1e4), bound, rtol=0.02)
    w, log_theta = np.log10(wavelength), np.log10(theta)
    f0 = -2.2763 - 1.6850 * w + 0.76661 * w**2 - 0.053346 * w**3
    f1 = 15.2827 - 9.2846 * w + 1.99381 * w**2 - 0.142631 * w**3
    f2 = -197.789 + 190.266 * w - 67.9775 * w**2 + 10.6913 * w**3 - 0.625151 * w**4
    free = 1e-26 * 10 ** (f0 + f1 * log_theta + f2 * log_theta**2)
    np.testing.assert_allclose(_free_free(jnp.asarray(t), wavelength / 1e4), free, rtol=0.04)


def test_hydrogen_at_its_edges() -> None:
    """The bound-free cross-section of level n is 7.91e-18 n cm2 times Gaunt's factor, about 0.9, at its threshold."""
    state = Gas().state(jnp.asarray(9000.0), jnp.asarray(1000.0))
    inside, outside = (contributions(state, x)["H"] for x in (8203.0, 8206.0))  # the Paschen edge, n = 3
    level = state.atoms * 9 * np.exp(-13.598434 * (1 - 1 / 9) / (8.617333e-5 * 9000))
    absorbed = 1 - np.exp(-1.438777e8 / (8204.0 * 9000))
    assert float((inside - outside) / (level * absorbed)) / (7.91e-18 * 3) == pytest.approx(0.94, abs=0.06)


def test_what_dominates_where() -> None:
    gas = Gas()
    state = gas.state(jnp.array([4200.0, 6400.0, 9500.0]), jnp.array([0.06, 60.0, 5000.0]))
    parts = contributions(state, 5000.0)
    total = continuous_opacity(state, 5000.0)
    np.testing.assert_allclose(sum(parts.values()), total, rtol=1e-6)
    share = {name: np.asarray(value / total) for name, value in parts.items()}
    assert share["H- bound-free"][1] > 0.85
    assert 0.05 < share["Rayleigh, H"][0] < 0.15
    assert 0.3 < share["H"][2] < 0.5
    assert np.all(share["H2+"] < 0.07)
    assert contributions(state, 17000.0)["H- bound-free"].max() == 0


@pytest.mark.parametrize("name", ["hsra11", "valc11"])
def test_opacity_that_sirs_heights_imply(reference_data: Path, name: str) -> None:
    """SIR's H- is the one of the sixties, 3 % below Wishart's."""
    table = np.loadtxt(reference_data / f"spectra/models/{name}.mod", skiprows=1)
    x, z = table[:, 0] * np.log(10), table[:, 8] * 1e5
    state = Gas("thevenin1989").state(jnp.asarray(table[:, 1]), jnp.asarray(table[:, 2]))
    ratio = -np.exp(x) / np.gradient(z, x) / np.asarray(continuous_opacity(state, 5000.0))
    inner = (table[:, 0] < 0.8) & (table[:, 0] > -3.5)
    assert np.all(np.abs(ratio[inner] - 0.965) < 0.025)


def test_float32_is_enough() -> None:
    t = np.linspace(2500, 14000, 24)
    pe = np.geomspace(1e-3, 1e4, 24)
    parts = contributions(Gas().state(t.astype(np.float32), pe.astype(np.float32)), 6302.0)
    with jax.enable_x64(True):
        state = Gas().state(jnp.asarray(t), jnp.asarray(pe))
        exact = {name: np.asarray(value) for name, value in contributions(state, 6302.0).items()}
    least = 1e-6 * sum(exact.values())
    for name, value in parts.items():
        assert np.all(np.abs(np.asarray(value, float) - exact[name]) < 1e-3 * exact[name] + least), name


@pytest.mark.parametrize("wavelength", [3900.0, 0.63, 2e5, float("nan")])
def test_wavelengths_that_are_not_covered(wavelength: float) -> None:
    with pytest.raises(ValueError, match="known from 4000 to 100000 angstrom"):
        continuous_opacity(Gas().state(jnp.asarray(5000.0), jnp.asarray(1.0)), wavelength)
