"""The instrument against closed forms and dense convolutions; see `dense` for the reference."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import CubicSpline
from scipy.special import wofz

from jaxinv.spectra.instrument import Macroturbulence, SpectralPSF
from jaxinv.spectra.milne_eddington import MilneEddington

C = 299792.458
SIGMA = 1 / np.sqrt(8 * np.log(2))  # of a Gaussian with a FWHM of 1
HINODE = 6300.892 + 0.0215 * np.arange(112)
CRISP = 6302.4931 + np.concatenate([np.arange(-1.27, -0.7, 0.035), np.arange(-0.24, 0.13, 0.03)])
HMI = 6173.334 + 0.069 * np.arange(-2.5, 3)
IRON = ("Fe I 6301.5", "Fe I 6302.5")
TABLES = [
    ("HINODE_SP_ins_prof.psf", HINODE, IRON),
    ("crisp.psf", CRISP, IRON),
    ("asp.psf", CRISP, IRON),
    ("CRISP_6173_1mA.psf", HMI, ("Fe I 6173.3",)),
]


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def absorption(wavelength, centre, doppler_width, damping=0.2, strength=8.0):
    """Stokes I of a Milne-Eddington atmosphere without a field, by an independent Faddeeva function."""
    eta = strength * wofz((wavelength - centre) / doppler_width + 1j * damping).real
    return 0.3 + 0.7 / (1 + eta)


def dense(spectrum, wavelength, offset, weight, step=1e-3):
    """The convolution of a function with a sampled profile, summed point by point at a small step."""
    fine = np.arange(offset[0], offset[-1] + step / 2, step)
    profile = np.interp(fine, offset, weight)
    return np.stack([spectrum(w - fine) @ (profile / profile.sum()) for w in wavelength], axis=-1)


def smeared(spectrum, wavelength, velocity):
    """The convolution of a function with a Gaussian in velocity, by the trapezoid rule over +-8 standard deviations."""
    u = np.linspace(-8, 8, 801)
    weight = np.exp(-(u**2) / 2)
    return np.stack([spectrum(w * (1 - u * velocity / C)) @ (weight / weight.sum()) for w in wavelength], axis=-1)


def read_table(reference_data, name):
    offset, transmission = np.loadtxt(reference_data / "spectra" / "psf" / name).T
    return offset / 1000, transmission  # milliangstrom in the files


def sunspot(n, doppler_width):
    rng = np.random.default_rng(0)
    return {
        "field_strength": rng.uniform(50, 3000, n),
        "inclination": np.arccos(rng.uniform(-1, 1, n)),
        "azimuth": rng.uniform(0, np.pi, n),
        "velocity": rng.uniform(-3, 3, n),
        "doppler_width": rng.uniform(doppler_width[0], doppler_width[1], n),
        "line_strength": rng.uniform(2, 60, n),
        "damping": rng.uniform(0.05, 1, n),
        "source_constant": rng.uniform(0.2, 0.5, n),
        "source_slope": rng.uniform(0.4, 0.9, n),
    }


def synthesize(lines, wavelength, parameters):
    return np.asarray(jax.vmap(MilneEddington(lines, wavelength))(parameters))


# The spectral PSF


@settings(max_examples=30, deadline=None)
@given(centre=st.floats(6301.5, 6302.5), width=st.floats(0.022, 0.08), fwhm=st.floats(0.01, 0.1))
def test_psf_widens_a_gaussian_to_the_analytic_width(centre, width, fwhm):
    psf = SpectralPSF.gaussian(HINODE, fwhm)
    spectrum = 1 - 0.8 * np.exp(-(((psf.model_wavelength - centre) / width) ** 2) / 2)
    wide = np.hypot(width, fwhm * SIGMA)
    expected = 1 - 0.8 * width / wide * np.exp(-(((HINODE - centre) / wide) ** 2) / 2)
    np.testing.assert_allclose(psf({}, jnp.asarray(spectrum)), expected, rtol=0, atol=2.5e-4)


@settings(max_examples=30, deadline=None)
@given(
    steps=st.lists(st.floats(0.003, 0.6), min_size=1, max_size=25),
    fwhm=st.floats(0.005, 0.2),
    spacing=st.floats(0.008, 0.05),
)
def test_psf_keeps_a_constant_and_its_grid_is_complete(steps, fwhm, spacing):
    wavelength = 6302 + np.cumsum(steps)
    psf = SpectralPSF.gaussian(wavelength, fwhm, spacing=spacing)
    grid = psf.model_wavelength
    np.testing.assert_allclose(psf.matrix.sum(0), 1, atol=1e-12)
    assert np.all(np.diff(grid) > 0)
    assert np.all(np.isin(wavelength, grid))
    nearest = np.abs(grid[:, None] - wavelength).min(1)
    assert nearest.max() <= 2 * fwhm + spacing + 1e-9  # nothing is synthesized where the PSF does not reach
    for w in wavelength:  # fine steps wherever the core of the PSF is
        core = np.concatenate([[w - fwhm], grid[np.abs(grid - w) < fwhm], [w + fwhm]])
        assert np.diff(core).max() <= spacing * 1.35 + 1e-9


def test_psf_conserves_the_equivalent_width():
    psf = SpectralPSF.gaussian(HINODE, 0.025)
    grid = psf.model_wavelength
    lost = psf({}, jnp.asarray(np.exp(-(((grid - 6302) / 0.04) ** 2))))
    assert float(lost.sum() * 0.0215) == pytest.approx(np.sqrt(np.pi) * 0.04, rel=1e-6)


@pytest.mark.parametrize(("name", "wavelength", "lines"), TABLES)
def test_tabulated_psf_against_a_dense_convolution(reference_data, name, wavelength, lines):
    offset, transmission = read_table(reference_data, name)
    psf = SpectralPSF.tabulated(wavelength, offset, transmission)
    order = np.argsort(offset)
    spline = CubicSpline(offset[order], transmission[order], bc_type="natural")
    fine = np.arange(offset.min(), offset.max(), 5e-4)
    for shift in (-0.05, 0.0, 0.013):
        for doppler_width in (0.025, 0.04):

            def spectrum(w, shift=shift, doppler_width=doppler_width):
                lines_at = [6173.334] if len(lines) == 1 else [6301.4995, 6302.4931]
                return np.prod([absorption(w, x + shift, doppler_width) for x in lines_at], axis=0)

            found = psf({}, jnp.asarray(spectrum(psf.model_wavelength)))
            expected = dense(spectrum, wavelength, fine, spline(fine))
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "wavelength", "widths", "spacing", "n_model", "median", "worst"),
    [
        ("HINODE_SP_ins_prof.psf", HINODE, (0.025, 0.05), 0.0216, 118, 6e-5, 1.5e-3),
        ("HINODE_SP_ins_prof.psf", HINODE, (0.025, 0.05), None, 233, 4e-6, 1e-4),
        ("HINODE_SP_ins_prof.psf", HINODE, (0.025, 0.05), 0.0073, 348, 1e-6, 2e-5),
        ("crisp.psf", CRISP, (0.025, 0.05), None, 131, 2e-6, 2e-5),
        ("HINODE_SP_ins_prof.psf", HINODE, (0.015, 0.015), None, 233, 6e-5, 1e-3),
    ],
)
def test_psf_errors_stated_in_the_docstring(reference_data, name, wavelength, widths, spacing, n_model, median, worst):
    offset, transmission = read_table(reference_data, name)
    psf = SpectralPSF.tabulated(wavelength, offset, transmission, spacing=spacing)
    assert len(psf.model_wavelength) == n_model
    reach = np.abs(offset).max() + 0.01
    fine = np.arange(wavelength[0] - reach, wavelength[-1] + reach, 1e-3)
    reference = SpectralPSF.tabulated(wavelength, offset, transmission, model_wavelength=fine)
    parameters = sunspot(64, widths)
    continuum = (parameters["source_constant"] + parameters["source_slope"])[:, None, None]
    found = psf({}, jnp.asarray(synthesize(IRON, psf.model_wavelength, parameters)))
    expected = reference({}, jnp.asarray(synthesize(IRON, fine, parameters)))
    error = np.max(np.abs(found - expected) / continuum, axis=(1, 2))
    print(f"{name} {len(psf.model_wavelength)}: median {np.median(error):.1e}, worst {error.max():.1e}")
    assert np.median(error) < median
    assert error.max() < worst


def test_tail_towards_positive_offsets_reddens_a_line_and_centring_undoes_it():
    offset = np.linspace(-0.08, 0.08, 81)
    profile = np.exp(-((offset / 0.015) ** 2)) + 0.3 * np.exp(-(((offset - 0.02) / 0.01) ** 2))
    fixed = SpectralPSF.tabulated(HINODE, offset, profile)
    centred = SpectralPSF.tabulated(HINODE, offset, profile, centre=True)
    assert fixed.shift > 1e-3
    assert centred.shift == pytest.approx(0, abs=1e-5)

    def displacement(psf):
        line = 1 - absorption(psf.model_wavelength, 6302.0, 0.03)
        lost = np.asarray(psf({}, jnp.asarray(line)))
        near = np.abs(HINODE - 6302.0) < 0.4
        return lost[near] @ (HINODE[near] - 6302.0) / lost[near].sum()

    centroid = offset @ profile / profile.sum()
    assert displacement(fixed) - displacement(centred) == pytest.approx(fixed.shift, rel=0.05)
    assert fixed.shift == pytest.approx(centroid, rel=0.25)


def test_table_in_any_order_and_scale_and_finely_sampled_gaussian():
    offset = np.linspace(-0.05, 0.05, 41)
    profile = np.exp(-4 * np.log(2) * (offset / 0.025) ** 2)
    shuffled = np.random.default_rng(1).permutation(41)
    psf = SpectralPSF.tabulated(HINODE, offset, profile)
    mixed = SpectralPSF.tabulated(HINODE, offset[shuffled], 37 * profile[shuffled])
    np.testing.assert_array_equal(mixed.model_wavelength, psf.model_wavelength)
    np.testing.assert_allclose(mixed.matrix, psf.matrix, atol=1e-13)
    assert psf.fwhm == pytest.approx(0.025, rel=0.01)
    gaussian = SpectralPSF.gaussian(HINODE, 0.025, model_wavelength=psf.model_wavelength)
    np.testing.assert_allclose(psf.matrix, gaussian.matrix, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "fwhm"),  # read off the files
    [("HINODE_SP_ins_prof.psf", 25.1), ("crisp.psf", 56.0), ("asp.psf", 24.7), ("CRISP_6173_1mA.psf", 55.7)],
)
def test_width_of_measured_profiles(reference_data, name, fwhm):
    psf = SpectralPSF.tabulated(HMI, *read_table(reference_data, name))
    assert 1000 * psf.fwhm == pytest.approx(fwhm, rel=0.02)
    assert abs(psf.shift) < 2e-3


def test_windows_far_apart_are_not_joined():
    wavelength = np.concatenate([6301 + 0.02 * np.arange(20), 6311 + 0.02 * np.arange(20)])
    psf = SpectralPSF.gaussian(wavelength, 0.03)
    assert not np.any((psf.model_wavelength > 6301.6) & (psf.model_wavelength < 6310.8))
    assert len(psf.model_wavelength) < 110


def test_the_cheap_way_uses_the_observed_wavelengths_only():
    psf = SpectralPSF.gaussian(HINODE, 0.0215, model_wavelength=HINODE)
    np.testing.assert_array_equal(psf.model_wavelength, HINODE)
    line = lambda w: absorption(w, 6302.0, 0.04)  # noqa: E731
    offset = np.linspace(-0.06, 0.06, 241)
    expected = dense(line, HINODE, offset, np.exp(-4 * np.log(2) * (offset / 0.0215) ** 2))
    np.testing.assert_allclose(psf({}, jnp.asarray(line(HINODE))), expected, atol=1e-3)
    edge = SpectralPSF.gaussian(HINODE, 0.0215, model_wavelength=HINODE)({}, jnp.ones(112))
    np.testing.assert_allclose(edge, 1, atol=1e-12)


def test_a_single_wavelength():
    psf = SpectralPSF.gaussian([6302.0], 0.1)
    line = lambda w: absorption(w, 6302.03, 0.03)  # noqa: E731
    offset = np.linspace(-0.25, 0.25, 501)
    expected = dense(line, np.array([6302.0]), offset, np.exp(-4 * np.log(2) * (offset / 0.1) ** 2))
    np.testing.assert_allclose(psf({}, jnp.asarray(line(psf.model_wavelength))), expected, atol=1e-5)


def test_psf_in_single_precision():
    psf = SpectralPSF.gaussian(HINODE, 0.025)
    spectrum = synthesize(IRON, psf.model_wavelength, sunspot(4, (0.02, 0.04)))
    with jax.enable_x64(False):
        found = psf({}, jnp.asarray(spectrum, jnp.float32))
        assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, psf({}, jnp.asarray(spectrum)), atol=1e-6)


def test_jacobian_through_the_instrument_against_finite_differences():
    psf = SpectralPSF.gaussian(HINODE, 0.025)
    model = MilneEddington(IRON, psf.model_wavelength) >> psf >> Macroturbulence(HINODE)
    parameters = {name: value[0] for name, value in sunspot(1, (0.025, 0.04)).items()} | {"macroturbulence": 0.8}
    value, jacobian = jax.jit(lambda p: model.value_and_jacobian(p))(parameters)
    np.testing.assert_allclose(value, model(parameters), atol=1e-13)
    for name in parameters:
        step = 1e-4 * max(abs(parameters[name]), 1e-2)
        plus, minus = (model(parameters | {name: parameters[name] + sign * step}) for sign in (1, -1))
        difference = (plus - minus) / (2 * step)
        np.testing.assert_allclose(jacobian[name], difference, atol=2e-6 * np.abs(difference).max(), err_msg=name)


def test_undo_interpolates_and_marks_what_was_not_observed():
    psf = SpectralPSF.gaussian(CRISP, 0.056)
    grid = psf.model_wavelength
    values = np.stack([CRISP - 6302, 2 * CRISP - 12600, 0 * CRISP, 1 + 0 * CRISP])
    valid = np.ones((4, 30), bool)
    valid[0, 5], values[0, 5] = False, np.nan
    found, usable = (np.asarray(x) for x in psf.undo(jnp.asarray(values), jnp.asarray(valid)))
    assert found.shape == usable.shape == (4, len(grid))
    assert np.all(np.isfinite(found))
    np.testing.assert_allclose(found[0, usable[0]], grid[usable[0]] - 6302, atol=1e-9)
    np.testing.assert_array_equal(usable[0], usable[1] & ~((grid > CRISP[4]) & (grid < CRISP[6])))
    outside = (grid < CRISP[0]) | (grid > CRISP[-1]) | ((grid > CRISP[16] + 1e-6) & (grid < CRISP[17] - 1e-6))
    np.testing.assert_array_equal(usable[1], ~outside)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: SpectralPSF.gaussian(HINODE, 0.0), "`fwhm` must be positive"),
        (lambda: SpectralPSF.gaussian(HINODE, -0.02), "`fwhm` must be positive"),
        (lambda: SpectralPSF.gaussian(HINODE, np.nan), "`fwhm` must be positive"),
        (lambda: SpectralPSF.gaussian(HINODE, 25.0), "convert its width"),
        (lambda: SpectralPSF.gaussian(HINODE, 0.02, spacing=0), "`spacing` must be positive"),
        (lambda: SpectralPSF.gaussian(HINODE[::-1], 0.02), "strictly increasing"),
        (lambda: SpectralPSF.gaussian(np.where(HINODE > 6302, np.nan, HINODE), 0.02), "must be finite"),
        (lambda: SpectralPSF.gaussian(HINODE[None], 0.02), r"found the shape \(1, 112\)"),
        (lambda: SpectralPSF.gaussian([], 0.02), r"found the shape \(0,\)"),
        (lambda: SpectralPSF.gaussian(HINODE, 0.02, model_wavelength=HINODE[3:]), "must contain the observed"),
    ],
)
def test_bad_gaussian(build, message):
    with pytest.raises(ValueError, match=message) as error:
        build()
    assert "\n" not in str(error.value)


OFFSET = np.linspace(-0.05, 0.05, 21)
PROFILE = np.exp(-((OFFSET / 0.015) ** 2))


@pytest.mark.parametrize(
    ("offset", "transmission", "message"),
    [
        (OFFSET[:4], PROFILE[:4], "n >= 5"),
        (OFFSET, PROFILE[1:], r"found \(21,\) and \(20,\)"),
        (OFFSET, np.where(OFFSET > 0.03, np.nan, PROFILE), "must be finite"),
        (OFFSET[10:], PROFILE[10:], "contains the peak"),
        (OFFSET, -PROFILE, "contains the peak"),
        (OFFSET, np.ones(21), "contains the peak"),
        (np.append(OFFSET, OFFSET[3]), np.append(PROFILE, 0.0), "occurs twice"),
        (1000 * OFFSET, PROFILE, "milliangstrom / 1000"),
    ],
)
def test_bad_table(offset, transmission, message):
    with pytest.raises(ValueError, match=message) as error:
        SpectralPSF.tabulated(HINODE, offset, transmission)
    assert "\n" not in str(error.value)


def test_spectrum_on_the_wrong_grid():
    psf = SpectralPSF.gaussian(HINODE, 0.025)
    with pytest.raises(ValueError, match=r"psf\.model_wavelength"):
        psf({}, jnp.ones((4, 112)))
    with pytest.raises(ValueError, match="expects spectra at 112 wavelengths but was given 113"):
        Macroturbulence(HINODE)({"macroturbulence": 1.0}, jnp.ones((4, 113)))


# Macroturbulence


@settings(max_examples=25, deadline=None)
@given(centre=st.floats(6301.5, 6302.5), width=st.floats(0.025, 0.08), velocity=st.floats(0, 4))
def test_macroturbulence_widens_a_gaussian_to_the_analytic_width(centre, width, velocity):
    spectrum = 1 - 0.8 * np.exp(-(((HINODE - centre) / width) ** 2) / 2)
    wide = np.hypot(width, centre * velocity / C)  # the velocity is a standard deviation
    expected = 1 - 0.8 * width / wide * np.exp(-(((HINODE - centre) / wide) ** 2) / 2)
    found = Macroturbulence(HINODE)({"macroturbulence": velocity}, jnp.asarray(spectrum))
    np.testing.assert_allclose(found, expected, atol=3e-4)


@pytest.mark.parametrize("velocity", [0.05, 0.3, 1.0, 2.0, 4.0])
@pytest.mark.parametrize(("step", "worst"), [(0.0215, 1.5e-3), (0.01075, 5e-5)])
def test_macroturbulence_against_a_dense_convolution(velocity, step, worst):
    wavelength = np.arange(6300.9, 6303.3, step)
    for centre, doppler_width in [(6302.0, 0.025), (6302.01, 0.05), (6301.7, 0.03)]:

        def spectrum(w, centre=centre, doppler_width=doppler_width):
            return absorption(w, centre, doppler_width)

        found = Macroturbulence(wavelength)({"macroturbulence": velocity}, jnp.asarray(spectrum(wavelength)))
        error = np.abs(found - smeared(spectrum, wavelength, velocity))[np.abs(wavelength - 6302) < 0.8]
        assert error.max() < worst


def test_macroturbulence_on_uneven_steps():
    rng = np.random.default_rng(3)
    wavelength = 6301 + np.cumsum(rng.uniform(0.004, 0.016, 200))
    spectrum = lambda w: absorption(w, 6302.0, 0.04)  # noqa: E731
    for velocity in (0.1, 0.5, 2.0):
        found = Macroturbulence(wavelength)({"macroturbulence": velocity}, jnp.asarray(spectrum(wavelength)))
        error = np.abs(found - smeared(spectrum, wavelength, velocity))[np.abs(wavelength - 6302) < 0.7]
        assert error.max() < 5e-5


def test_macroturbulence_on_the_model_wavelengths_of_separate_windows():
    psf = SpectralPSF.gaussian(CRISP, 0.056)
    grid = psf.model_wavelength
    spectrum = lambda w: absorption(w, 6301.4995, 0.03) * absorption(w, 6302.4931, 0.03)  # noqa: E731
    model = Macroturbulence(grid)({"macroturbulence": 1.0}, jnp.asarray(spectrum(grid)))
    offset = np.linspace(-0.13, 0.13, 521)
    weight = np.exp(-4 * np.log(2) * (offset / 0.056) ** 2)
    expected = dense(lambda w: smeared(spectrum, np.atleast_1d(w), 1.0), CRISP, offset, weight, step=2e-3)
    np.testing.assert_allclose(psf({}, model), expected, atol=1e-3)


def test_macroturbulence_and_psf_commute():
    psf = SpectralPSF.gaussian(HINODE, 0.025)
    grid = psf.model_wavelength
    spectrum = jnp.asarray(absorption(grid, 6302.0, 0.03))
    before = psf({}, Macroturbulence(grid)({"macroturbulence": 1.2}, spectrum))
    after = Macroturbulence(HINODE)({"macroturbulence": 1.2}, psf({}, spectrum))
    np.testing.assert_allclose(before[10:-10], after[10:-10], atol=2e-4)


@settings(max_examples=20, deadline=None)
@given(first=st.floats(0, 3), second=st.floats(0, 3))
def test_macroturbulence_twice_adds_the_variances(first, second):
    stage = Macroturbulence(HINODE)
    spectrum = jnp.asarray(1 - np.exp(-(((HINODE - 6302.0) / 0.05) ** 2)))
    twice = stage({"macroturbulence": second}, stage({"macroturbulence": first}, spectrum))
    once = stage({"macroturbulence": np.hypot(first, second)}, spectrum)
    np.testing.assert_allclose(twice, once, atol=1e-9)


def test_beyond_the_edge_a_spectrum_keeps_its_value():
    wavelength = 6302 + 0.01 * np.arange(60)
    ramp = lambda w: np.clip(w, wavelength[0], wavelength[-1]) - 6302  # noqa: E731
    found = Macroturbulence(wavelength)({"macroturbulence": 2.0}, jnp.asarray(ramp(wavelength)))
    np.testing.assert_allclose(found, smeared(ramp, wavelength, 2.0), atol=2e-4)
    constant = Macroturbulence(wavelength)({"macroturbulence": 9.0}, jnp.full((4, 60), 2.5))
    np.testing.assert_allclose(constant, 2.5, atol=1e-11)


def test_macroturbulence_conserves_the_equivalent_width():
    lost = np.exp(-(((HINODE - 6302.0) / 0.05) ** 2))
    smear = Macroturbulence(HINODE)({"macroturbulence": 3.0}, jnp.asarray(lost))
    assert float(smear.sum()) == pytest.approx(lost.sum(), rel=1e-6)


def test_no_macroturbulence_is_the_identity_with_finite_derivatives():
    stage = Macroturbulence(HINODE)
    width = 0.05
    x = (HINODE - 6302.0) / width
    spectrum = jnp.asarray(np.exp(-(x**2) / 2))

    def smear(velocity):
        return stage({"macroturbulence": velocity}, spectrum)

    np.testing.assert_array_equal(smear(0.0), spectrum)
    np.testing.assert_array_equal(jax.jacfwd(smear)(0.0), 0)
    np.testing.assert_array_equal(jax.jacrev(smear)(0.0), 0)
    second = (x**2 - 1) * np.exp(-(x**2) / 2) * (HINODE / C / width) ** 2  # the spectrum's second derivative
    for derivative in (jax.jacfwd(jax.jacfwd(smear)), jax.jacfwd(jax.jacrev(smear)), jax.jacrev(jax.jacrev(smear))):
        np.testing.assert_allclose(derivative(0.0), second, atol=2e-3 * np.abs(second).max())
    with jax.enable_x64(False):
        single = jnp.asarray(spectrum, jnp.float32)
        np.testing.assert_array_equal(stage({"macroturbulence": jnp.float32(0)}, single), single)
        gradient = jax.grad(lambda v: stage({"macroturbulence": v}, single).sum())(jnp.float32(0))
        assert np.isfinite(gradient)


def test_macroturbulence_in_single_precision():
    stage = Macroturbulence(HINODE)
    spectrum = synthesize(IRON, HINODE, sunspot(4, (0.02, 0.04)))
    expected = stage({"macroturbulence": 1.3}, jnp.asarray(spectrum))
    with jax.enable_x64(False):
        found = stage({"macroturbulence": jnp.float32(1.3)}, jnp.asarray(spectrum, jnp.float32))
        assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_derivative_by_macroturbulence_against_finite_differences():
    stage = Macroturbulence(CRISP)
    spectrum = jnp.asarray(absorption(CRISP, 6302.5, 0.04))
    smear = jax.jit(lambda v: stage({"macroturbulence": v}, spectrum))
    difference = (smear(1.5 + 1e-4) - smear(1.5 - 1e-4)) / 2e-4
    np.testing.assert_allclose(jax.jacfwd(smear)(1.5), difference, atol=1e-8)
    np.testing.assert_allclose(jax.jacrev(smear)(1.5), difference, atol=1e-8)
    batch = jax.vmap(smear)(jnp.array([0.0, 1.5]))
    np.testing.assert_allclose(batch[1], smear(1.5), atol=1e-14)


def test_bad_macroturbulence():
    with pytest.raises(ValueError, match="at least 3 wavelengths; found 2"):
        Macroturbulence([6302.0, 6302.1])
    with pytest.raises(ValueError, match="strictly increasing"):
        Macroturbulence([6302.0, 6302.1, 6302.1])
    with pytest.raises(KeyError, match="'macroturbulence' \\[km/s\\] is missing"):
        Macroturbulence(HINODE)({}, jnp.ones((4, 112)))
    assert Macroturbulence(HINODE).units == {"macroturbulence": "km/s"}
