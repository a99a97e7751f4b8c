"""Zernike and Karhunen-Loeve modes: orthonormal on pixels, in the order and with the variances of theory."""

import math

import numpy as np
import pytest
from scipy import integrate, special

from jaxinv import optics
from jaxinv.optics import turbulence
from jaxinv.optics.zernike import noll, zernike

DISC = optics.Telescope(1.0)
ANNULUS = optics.Telescope(1.0, 0.3)
SPIDER = optics.Telescope(1.0, 0.3, tuple(optics.Vane(a, 0.02) for a in (10.0, 100.0, 190.0, 280.0)))


def inner(a: np.ndarray, b: np.ndarray, pupil: optics.Pupil) -> np.ndarray:
    return np.einsum("ayx,byx,yx->ab", a, b, pupil.weight)


def test_the_order_is_nolls() -> None:
    # Noll (1976), table I.
    table = [(0, 0), (1, 1), (1, -1), (2, 0), (2, -2), (2, 2), (3, -1), (3, 1), (3, -3), (3, 3), (4, 0), (4, 2),
             (4, -2), (4, 4), (4, -4), (5, 1), (5, -1), (5, 3), (5, -3), (5, 5), (5, -5), (6, 0)]  # fmt: skip
    assert [noll(j) for j in range(1, 23)] == table
    with pytest.raises(ValueError, match="counts from 1"):
        noll(0)
    x, y = np.array([0.3, -0.5]), np.array([0.4, 0.2])
    r2 = x**2 + y**2
    closed = {
        1: 1 + 0 * x, 2: 2 * x, 3: 2 * y, 4: math.sqrt(3) * (2 * r2 - 1), 5: 2 * math.sqrt(6) * x * y,
        6: math.sqrt(6) * (x**2 - y**2), 7: math.sqrt(8) * (3 * r2 - 2) * y, 8: math.sqrt(8) * (3 * r2 - 2) * x,
        11: math.sqrt(5) * (6 * r2**2 - 6 * r2 + 1),
    }  # fmt: skip
    for j, value in closed.items():
        np.testing.assert_allclose(zernike(j, x, y), value, rtol=1e-12)


@pytest.mark.parametrize("telescope", [DISC, ANNULUS, SPIDER], ids=["disc", "annulus", "spider"])
@pytest.mark.parametrize("across", [32, 43])
def test_modes_are_orthonormal_on_the_pixels(telescope: optics.Telescope, across: int) -> None:
    pupil = optics.Pupil.across(telescope, across)
    for modes in (optics.Zernike(65), optics.KarhunenLoeve(telescope, 104)):
        made = modes.on(pupil)
        assert made.shape == (modes.count, across, across)
        np.testing.assert_allclose(inner(made, made, pupil), np.eye(modes.count), atol=1e-9)
        np.testing.assert_allclose(np.einsum("ayx,yx->a", made, pupil.weight), 0, atol=1e-9)  # no piston
        assert np.all(made[:, pupil.amplitude == 0] == 0)


def test_zernike_modes_are_nolls_own_on_a_disc() -> None:
    pupil = optics.Pupil.across(DISC, 128)
    made = optics.Zernike(44).on(pupil)
    exact = np.stack([zernike(j, pupil.x, pupil.x[:, None]) for j in range(2, 46)])
    assert np.abs(inner(made, exact, pupil) - np.eye(44)).max() < 0.012  # as the edge falls on the pixels


def test_noll_residuals() -> None:
    # Noll (1976), table IV: what is left when j = 1, 2, ... are corrected, with his constants, 0.2 to 1.5 % higher.
    table = [1.0299, 0.582, 0.134, 0.111, 0.0880, 0.0648, 0.0587, 0.0525, 0.0463, 0.0401, 0.0377, 0.0352]
    pupil = optics.Pupil.across(DISC, 64)
    x, y = (each[pupil.amplitude > 0] for each in np.meshgrid(pupil.x, pupil.x))
    w = pupil.weight[pupil.amplitude > 0]
    whole = w @ turbulence.structure_function(np.hypot(x[:, None] - x, y[:, None] - y) / 2, 1.0) @ w / 2
    covariance = np.diagonal(turbulence.noll_covariance(11))
    left = whole - np.concatenate([[0], np.cumsum(covariance)])
    np.testing.assert_allclose(left, table, rtol=0.015)


def test_covariances_agree_with_other_codes(reference_data) -> None:
    known = np.load(reference_data / "mfbd" / "noll_kl_reference.npz")
    covariance = turbulence.noll_covariance(230)
    theirs = known["noll_cov_2_231"]  # with Noll's rounded constant
    np.testing.assert_allclose(covariance, theirs * covariance[0, 0] / theirs[0, 0], atol=1e-8)
    assert theirs[0, 0] / covariance[0, 0] == pytest.approx(1.0105, abs=2e-4)
    variance = optics.KarhunenLoeve(DISC, 100).variance
    np.testing.assert_allclose(variance[:60], known["kl_eigval"][:60] / 1.0105, rtol=0.005)
    np.testing.assert_allclose(variance[:44], np.sort(known["torchmfbd_KL_variance"])[::-1][:44], rtol=0.005)
    held = optics.KarhunenLoeve(optics.Telescope(1.0, 0.2), 12).variance  # theirs are not quite orthonormal
    np.testing.assert_allclose(held, np.sort(known["aotools_var_44_obsc02"])[::-1][:12], rtol=0.05)


@pytest.mark.parametrize("telescope", [DISC, ANNULUS, SPIDER], ids=["disc", "annulus", "spider"])
@pytest.mark.parametrize(("across", "correlated", "outer_scale"), [(64, 1e-7, math.inf), (32, 0.005, 20.0)])
def test_karhunen_loeve_modes_diagonalize_the_covariance(
    telescope: optics.Telescope, across: int, correlated: float, outer_scale: float
) -> None:
    """To rounding on the pixels on which they are solved; on others but for modes of like variance."""
    pupil = optics.Pupil.across(telescope, across)
    modes = optics.KarhunenLoeve(telescope, 40, outer_scale)
    made = modes.on(pupil)
    open_ = pupil.amplitude > 0
    x, y = (each[open_] / 2 for each in np.meshgrid(pupil.x, pupil.x))
    seen = made[:, open_] * pupil.weight[open_]
    covariance = -turbulence.structure_function(np.hypot(x[:, None] - x, y[:, None] - y), 1.0, outer_scale) / 2
    found = seen @ covariance @ seen.T
    variance = np.diagonal(found)
    correlation = found / np.sqrt(variance * variance[:, None])
    np.testing.assert_allclose(correlation, np.eye(40), atol=correlated)
    assert across < 64 or np.all(np.diff(variance) <= 1e-12)
    assert variance.min() > 0.02 * variance[10]  # none is zero
    np.testing.assert_allclose(variance, modes.variance, rtol=0.03)  # found on finer pixels


def test_the_first_modes_look_like_zernikes() -> None:
    pupil = optics.Pupil.across(DISC, 64)
    made, zernikes = optics.KarhunenLoeve(DISC, 5).on(pupil), optics.Zernike(5).on(pupil)
    likeness = inner(made, zernikes, pupil)
    np.testing.assert_allclose(likeness[:2, :2], np.eye(2), atol=5e-3)  # x, then y, not mixed
    assert np.all(np.max(np.abs(likeness[2:]), axis=1) > 0.98)
    assert np.all(np.max(likeness[2:], axis=1) > 0.98)  # the signs are theirs


def test_structure_functions() -> None:
    r = np.array([0.0, 0.01, 0.1, 0.5])
    np.testing.assert_allclose(turbulence.structure_function(r, 0.1), 6.88388 * (r / 0.1) ** (5 / 3), rtol=1e-5)
    # The first effect of an outer scale (e.g. Tokovinin 2002, PASP 114, 1156).
    ratio = turbulence.structure_function(r[1:], 0.1, outer_scale=1e5) / turbulence.structure_function(r[1:], 0.1)
    np.testing.assert_allclose(ratio, 1 - 1.485 * (r[1:] / 1e5) ** (1 / 3), rtol=5e-4)
    # Against the spectrum: D(r) = 4 pi integral W(f) (1 - J0(2 pi f r)) f df.
    for distance in (0.05, 1.0):
        value, _ = integrate.quad(
            lambda s, d=distance: 4 * np.pi * turbulence.power_spectrum(np.exp(s), 0.1, 5.0)
            * (1 - special.j0(2 * np.pi * np.exp(s) * d)) * np.exp(2 * s),
            -12, 9, limit=2000,
        )  # fmt: skip
        assert turbulence.structure_function(distance, 0.1, 5.0) == pytest.approx(value, rel=2e-3)


@pytest.mark.parametrize("count", [0, -3, 2.5])
def test_a_number_of_modes_is_a_whole_number(count: float) -> None:
    with pytest.raises(ValueError, match="whole number from 1"):
        optics.Zernike(count)
    with pytest.raises(ValueError, match="whole number from 1"):
        optics.KarhunenLoeve(DISC, count)


def test_modes_that_cannot_be_made_are_refused() -> None:
    small = optics.Pupil.across(DISC, 10)
    with pytest.raises(ValueError, match="too few for 200 modes"):
        optics.Zernike(200).on(small)
    with pytest.raises(ValueError, match="take at most"):
        optics.KarhunenLoeve(DISC, 60).on(small)
    with pytest.raises(ValueError, match="another telescope"):
        optics.KarhunenLoeve(ANNULUS, 5).on(small)
    with pytest.raises(ValueError, match="outer scale"):
        optics.KarhunenLoeve(DISC, 5, outer_scale=-1.0)


@pytest.mark.parametrize("telescope", [DISC, SPIDER], ids=["disc", "spider"])
def test_a_karhunen_loeve_mode_is_the_same_on_every_pupil(telescope: optics.Telescope) -> None:
    """Order, sign and orientation do not depend on the pixels, on which pairs of modes nearly meet."""
    modes, coarse = optics.KarhunenLoeve(telescope, 60), optics.Pupil.across(telescope, 43)
    fine = modes.on(optics.Pupil.across(telescope, 86)).reshape(60, 43, 2, 43, 2).mean(axis=(2, 4))
    likeness = inner(modes.on(coarse), fine, coarse)
    assert np.diagonal(likeness).min() > 0.96  # the mean of four pixels is not their centre
    np.testing.assert_allclose(likeness - np.diag(np.diagonal(likeness)), 0, atol=0.06)
