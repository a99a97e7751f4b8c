"""FAL-C in the iron lines at 6302 angstrom, beside Lightweaver (Osborne & Milic 2021, ApJ 917, 14) in LTE."""

import dataclasses
import math
import warnings

import jax
import numpy as np
import pytest

from jaxinv import spectra
from jaxinv.spectra.line import Line
from jaxinv.spectra.lte import standard_model
from jaxinv.spectra.lte.line_opacity import _BOHR2, _c6
from jaxinv.spectra.lte.synthesis import hsra_continuum

WAVELENGTH = np.array(
    [6300.9, 6301.3, 6301.4, 6301.45, 6301.475, 6301.5, 6301.55, 6301.7, 6302.0, 6302.4, 6302.475, 6302.5,
     6302.55, 6303.2]
)  # fmt: skip
INTENSITY = [
    3.047,
    2.9919,
    2.6958,
    1.2478,
    0.9203,
    0.8593,
    1.342,
    2.9917,
    3.0334,
    2.6709,
    1.0476,
    0.9819,
    1.7691,
    3.0464,
]
"""[1e13 W m-3 sr-1] of Lightweaver 0.17.0, at the centre of the disc."""
UNIT = 2 * 6.62607015e-34 * 299792458.0**2 / 1e-30
"""Of `planck`, [W m-3 sr-1]."""


def unsold(line: Line, factor: float) -> Line:
    """Collisions as Lightweaver's atom has them: so many times Unsold's, stated as a cross-section."""
    alpha = 0.4  # Unsold's grow as the speed to the power 0.6
    each = 2 * (4 / math.pi) ** (alpha / 2) * math.gamma(2 - alpha / 2) * 1e6 * _BOHR2
    return dataclasses.replace(line, abo_alpha=alpha, abo_sigma=factor * 17 * 1e6**0.6 * _c6(line) ** 0.4 / each)


LINES = (
    unsold(
        Line(
            wavelength=6301.4980, j_lower=2, j_upper=2, log_gf=math.log10(5 * 0.04256), element="Fe",
            term_lower="5P", term_upper="5D", excitation_potential=3.654,
        ),
        1.0,
    ),
    unsold(
        Line(
            wavelength=6302.4948, j_lower=1, j_upper=0, log_gf=math.log10(3 * 0.02465), element="Fe",
            term_lower="5P", term_upper="5D", excitation_potential=3.686,
        ),
        4.0,
    ),
)  # fmt: skip
"""With the numbers of its atom of 23 levels."""


@pytest.mark.parametrize("in_balance", [False, True])
def test_intensities(in_balance: bool) -> None:
    """The continuum differs by 1.5 %: its opacities are others."""
    falc = standard_model("FAL-C")
    photosphere = falc["log_tau"] > -5.3
    grid = falc["log_tau"][photosphere]
    model = spectra.LTE(LINES, WAVELENGTH, grid, hydrostatic=in_balance)
    read = ("temperature", "microturbulence", *(() if in_balance else ("electron_pressure",)))
    still = dict.fromkeys(("velocity", "field_strength", "inclination", "azimuth"), np.zeros(len(grid), np.float32))
    atmosphere = {name: falc[name][photosphere].astype(np.float32) for name in read} | still
    (_, _, centre, _) = model.windows[0]
    found = np.asarray(jax.jit(lambda p: model(p))(atmosphere))[0] * hsra_continuum(centre) * UNIT / 1e13
    np.testing.assert_allclose(found, INTENSITY, rtol=0.02)


def test_intensities_are_what_lightweaver_gives() -> None:
    """Where it is installed (`pip install '.[peers]'`)."""
    pytest.importorskip("lightweaver", reason="Lightweaver is not installed: pip install 'jaxinv[peers]'")
    np.testing.assert_allclose(of_lightweaver(WAVELENGTH), INTENSITY, rtol=2e-3)


def of_lightweaver(wavelength: np.ndarray) -> np.ndarray:
    """[1e13 W m-3 sr-1]"""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import lightweaver as lw
        from lightweaver import rh_atoms
        from lightweaver.fal import Falc82

        atmosphere = Falc82()
        atmosphere.quadrature(5)
        names = ("H_6", "C", "O", "Si", "Al", "CaII", "Fe23", "He_9", "MgII", "N", "NaI_3D", "S")
        atoms = lw.RadiativeSet([getattr(rh_atoms, f"{name}_atom")() for name in names])
        atoms.set_detailed_static("Fe")  # its populations stay those of LTE
        populations = atoms.compute_eq_pops(atmosphere)
        context = lw.Context(atmosphere, atoms.compute_wavelength_grid(), populations)
        for _ in range(30):  # of light that the continuum scatters
            context.formal_sol_gamma_matrices()
        vacuum = lw.air_to_vac(wavelength / 10)
        found = np.asarray(context.compute_rays(wavelengths=vacuum, mus=[1.0])).reshape(-1)
    return found * 299792458.0 / (vacuum * 1e-9) ** 2 / 1e13
