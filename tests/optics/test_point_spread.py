"""Wavefront to image: closed forms, another code's PSFs, energy, derivatives, and what is refused."""

import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import signal, special

import jaxinv as ji
from jaxinv import optics
from jaxinv.optics import propagation
from jaxinv.optics.point_spread import ANGSTROM, ARCSEC

DISC = optics.Telescope(1.0)
SCALE = 0.059


def model(n_pixels: int = 64, telescope: optics.Telescope = DISC, count: int = 20, **more) -> optics.PointSpread:
    return optics.PointSpread(telescope, 8542.0, SCALE, n_pixels, optics.Zernike(count), **more)


def wavefronts(shape: tuple[int, ...], rms: float = 1.0, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, rms / math.sqrt(shape[-1]), shape)


@pytest.mark.parametrize("obscuration", [0.0, 0.3])
def test_airys_pattern(float64: None, obscuration: float) -> None:
    """Born & Wolf, Principles of Optics, eq. 8.5.14 and 8.6.31; a pupil of 1024 pixels, as its edge falls on them."""
    n = 2048
    pupil = optics.Pupil.across(optics.Telescope(1.0, obscuration), n // 2)
    psf = np.asarray(propagation.point_spread(jnp.asarray(pupil.amplitude), jnp.zeros((n // 2, n // 2)), n))
    theta = np.hypot(*np.meshgrid(np.arange(-40, 41), np.arange(-40, 41)))  # [lambda / 2D]
    u = math.pi / 2 * np.where(theta == 0, 1e-9, theta)
    field = 2 * special.j1(u) / u - obscuration**2 * 2 * special.j1(obscuration * u + 1e-30) / (obscuration * u + 1e-30)
    airy = (field / (1 - obscuration**2)) ** 2
    seen = psf[n // 2 - 40 : n // 2 + 41, n // 2 - 40 : n // 2 + 41] / psf[n // 2, n // 2]
    np.testing.assert_allclose(seen, airy, atol=1e-6)


@pytest.mark.parametrize("n_pixels", [64, 63])
def test_energy_and_the_layout_of_a_transfer_function(float64: None, n_pixels: int) -> None:
    forward = model(n_pixels, optics.Telescope(1.0, 0.3))
    psf = np.asarray(forward({"wavefront": wavefronts((20,))}))
    otf = np.asarray(forward.transfer_function({"wavefront": wavefronts((20,))}))
    assert psf.sum() == pytest.approx(1, abs=1e-12)
    assert psf.min() >= 0
    assert otf[0, 0] == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(otf, np.fft.rfft2(np.fft.ifftshift(psf)), atol=1e-12)
    np.testing.assert_allclose(propagation.spread_of(jnp.asarray(otf), n_pixels), psf, atol=1e-14)
    whole = np.fft.fft2(psf)
    assert np.sum(psf**2) == pytest.approx(np.sum(np.abs(whole) ** 2) / n_pixels**2, rel=1e-12)  # Parseval
    # A transfer function is the autocorrelation of the pupil (Goodman, Introduction to Fourier Optics, eq. 6-28).
    pupil = forward.pupil.amplitude * np.exp(1j * np.asarray(forward.phase({"wavefront": wavefronts((20,))})))
    product = signal.fftconvolve(pupil, np.conj(pupil[::-1, ::-1])) / np.sum(np.abs(pupil) ** 2)
    m = len(pupil)
    seen = np.array([[product[m - 1 - v, m - 1 - u] for u in range(10)] for v in range(-10, 10)])
    rows = np.arange(-10, 10) % n_pixels
    np.testing.assert_allclose(otf[rows, :10], seen, atol=1e-12)
    phase = np.asarray(forward.phase({"wavefront": wavefronts((20,))}))
    np.testing.assert_allclose(psf, matrix_transform(forward.pupil.amplitude, phase, 1.0, n_pixels), atol=1e-14)


def test_a_slope_moves_the_image_towards_its_rise() -> None:
    """2 a / R of phase a metre is a direction of 2 a lambda / (pi D)."""
    forward, shift = model(128), 3.0
    a = shift * SCALE * ARCSEC * math.pi * 1.0 / (2 * 8542.0 * ANGSTROM)
    across = np.zeros(20)
    for k, axis in ((0, 1), (1, 0)):  # tip along x, tilt along y
        one = across.copy()
        one[k] = a
        moved, still = np.asarray(forward({"wavefront": one})), np.asarray(forward({"wavefront": across}))
        np.testing.assert_allclose(moved, np.roll(still, 3, axis), atol=2e-3 * still.max())


def test_strehl_of_small_aberrations() -> None:
    """exp(-sigma^2), the extended Marechal formula (Mahajan 1983, JOSA 73, 860)."""
    forward = model(64, count=44)
    still = np.asarray(forward({"wavefront": np.zeros(44)}))[32, 32]
    a = wavefronts((200, 44), seed=1)
    a[:, :2] = 0
    for rms in (0.1, 0.3):
        scaled = a * rms / np.sqrt(np.sum(a**2, axis=1))[:, None]
        strehl = np.asarray(forward({"wavefront": scaled}))[:, 32, 32] / still
        assert np.median(strehl) == pytest.approx(math.exp(-(rms**2)), rel=rms**4)


def test_defocus_in_waves_and_millimetres() -> None:
    """A wave at the pupil's edge is Noll's a_4 = pi / sqrt(3); millimetres by the focal ratio."""
    a = np.zeros(20)
    a[2] = math.pi / math.sqrt(3)
    plain, defocused = model(128), model(128, defocus=1.0)
    psf = np.asarray(plain({"wavefront": a}))
    np.testing.assert_allclose(defocused({"wavefront": np.zeros(20)}), psf, atol=0.02 * psf.max())
    waves = optics.defocus_of(17.0, 45.0, 5250.0)  # 17 mm at F/45: IMaX, Martinez Pillet et al. 2011
    assert waves == pytest.approx(2.0, abs=0.01)
    # A detector before the focus sees the pupil as it stands: light of the right half falls on the right.
    half = optics.PointSpread(optics.Telescope(1.0), 8542.0, SCALE, 128, optics.Zernike(2), defocus=4.0)
    lit = np.asarray(half.pupil.amplitude).copy()
    lit[:, : half.pupil.n_pixels // 2] = 0
    psf = np.asarray(propagation.point_spread(jnp.asarray(lit), half.known, 128))
    assert psf[:, 64:].sum() > 0.9


def test_channels_are_stacked_or_averaged() -> None:
    focus, out = model(32, n_frames=2), model(32, n_frames=2, defocus=1.0)
    a = wavefronts((2, 20))
    pair = optics.Channels([focus, out])
    assert pair.shapes == {"wavefront": (2, 20)}
    np.testing.assert_array_equal(pair({"wavefront": a}), np.stack([focus({"wavefront": a}), out({"wavefront": a})]))
    mean = optics.Channels([focus, out], weights=[3.0, 1.0])({"wavefront": a})
    np.testing.assert_allclose(mean, 0.75 * focus({"wavefront": a}) + 0.25 * out({"wavefront": a}), rtol=1e-5)
    with pytest.raises(ValueError, match="channels read the same parameters"):
        optics.Channels([focus, model(32)])
    with pytest.raises(ValueError, match="2 numbers from 0"):
        optics.Channels([focus, out], weights=[1.0])
    with pytest.raises(ValueError, match="at least one"):
        optics.Channels([])
    with pytest.raises(ValueError, match="channels predict arrays of one shape"):
        optics.Channels([model(32), model(64)])({"wavefront": a})


def test_colours_share_a_wavefront() -> None:
    """The same metres of path are less phase in the red; a tilt is the same direction in every colour."""
    blue = optics.PointSpread(DISC, 5000.0, 0.03, 128, optics.Zernike(20))
    red = optics.PointSpread(DISC, 8000.0, 0.03, 128, optics.Zernike(20), reference_wavelength=5000.0)
    a = np.zeros(20)
    a[:2] = 4.0, -2.0
    centre = lambda psf: np.unravel_index(np.argmax(psf), psf.shape)  # noqa: E731
    assert centre(np.asarray(blue({"wavefront": a}))) == centre(np.asarray(red({"wavefront": a})))
    screen = red.phase({"wavefront": wavefronts((20,))})
    np.testing.assert_allclose(red.coefficients(screen), wavefronts((20,)), atol=1e-5)


def test_many_frames_are_as_one(float64: None) -> None:
    """Leading axes, vmap and jit change nothing."""
    forward, a = model(64), wavefronts((3, 20))
    whole = forward({"wavefront": a})
    np.testing.assert_allclose(whole[2], forward({"wavefront": a[2]}), atol=1e-15)
    each = jax.jit(jax.vmap(lambda one: forward({"wavefront": one})))(a)
    np.testing.assert_allclose(whole, each, atol=1e-15)


def test_derivatives(float64: None) -> None:
    forward, a = model(32, defocus=0.5), jnp.asarray(wavefronts((20,)))
    weight = jnp.asarray(np.random.default_rng(3).normal(size=(32, 32)))
    spectral = jnp.asarray(np.random.default_rng(4).normal(size=(32, 17)))

    def score(a: jax.Array) -> jax.Array:
        otf = forward.transfer_function({"wavefront": a})
        return 100 * jnp.sum(weight * forward({"wavefront": a}) ** 2) + jnp.sum(spectral * jnp.abs(otf) ** 2)

    def by_differences(f, a: jax.Array, step: float = 1e-3) -> np.ndarray:
        e = np.eye(20) * step
        near = lambda s: jax.lax.map(f, a + s * jnp.asarray(e))  # noqa: E731
        return np.asarray((8 * (near(1) - near(-1)) - (near(2) - near(-2))) / (12 * step))  # fourth order

    gradient, hessian = jax.jit(jax.grad(score)), jax.jit(jax.hessian(score))
    slope, curvature = gradient(a), hessian(a)
    np.testing.assert_allclose(slope, by_differences(jax.jit(score), a), atol=1e-8 * float(jnp.abs(slope).max()))
    np.testing.assert_allclose(jax.jit(jax.jacfwd(score))(a), slope, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(curvature, by_differences(gradient, a), atol=1e-8 * float(jnp.abs(curvature).max()))
    assert np.isfinite(hessian(jnp.zeros(20))).all()


def test_cosine_and_sine() -> None:
    phase = np.concatenate([np.linspace(-700, 700, 20001), np.arange(-40, 41) * math.pi / 4])
    single = jnp.asarray(phase, jnp.float32)
    exact = np.asarray(single, float)
    cos, sin = propagation.cos_sin(single)
    np.testing.assert_allclose(cos, np.cos(exact), atol=3e-7)
    np.testing.assert_allclose(sin, np.sin(exact), atol=3e-7)


@pytest.mark.parametrize("name", ["crime_dkist128_Dr0_03_s0010", "pd_imax_Dr0_07_s0030", "solar_dkist_Dr0_05_s0010"])
def test_the_psfs_of_another_code(reference_data: Path, name: str) -> None:
    """hcipy's, on the exact grid of the pixels; phases of the first in 44 modes, of the others as screens."""
    case = np.load(reference_data / "mfbd" / f"{name}.npz")
    n = case["psf"].shape[-1]
    known = case["psf"].reshape(-1, *case["psf"].shape[-3:])
    forward = optics.PointSpread(
        optics.Telescope(float(case["D_m"]), float(case["cobs_m"])),
        float(case["wavelength_m"]) * 1e10,
        float(case["pix_arcsec"]),
        n,
        optics.Zernike(44),
    )
    if "noll_2_45" in case:  # in so many modes: our own pupil, 43 pixels with soft edges where theirs has 128 hard ones
        ours, allowed = np.asarray(forward({"wavefront": case["noll_2_45"]}))[None], 0.01
    else:  # screens of 128 pixels: the same transform on theirs
        fine = optics.Pupil.across(forward.pupil.telescope, case["phase"].shape[-1])
        factor, allowed = fine.pixel_size / forward.pupil.pixel_size, 1e-6
        defocus = math.sqrt(3) * (2 * (fine.x**2 + fine.x[:, None] ** 2) - 1)
        more = [c * defocus for c in case.get("defocus_noll4_rad", [0.0])]
        ours = np.stack([matrix_transform(case["pupil"], case["phase"] + one, factor, n) for one in more])
    assert np.abs(ours - known).max() < allowed * known.max()
    assert np.abs(ours[..., ::-1, ::-1] - known).max() > 0.3 * known.max()  # the orientation is seen


def matrix_transform(amplitude: np.ndarray, phase: np.ndarray, factor: float, n: int) -> np.ndarray:
    """From a pupil of any sampling (Soummer et al. 2007, Opt. Express 15, 15935): another way to the same PSF."""
    at = np.arange(n) - n // 2
    x = np.arange(len(amplitude)) - (len(amplitude) - 1) / 2
    kernel = np.exp(-2j * np.pi * factor / n * np.outer(at, x))
    field = kernel @ (amplitude * np.exp(1j * phase)) @ kernel.T
    return np.abs(field) ** 2 / np.sum(np.abs(field) ** 2, axis=(-2, -1), keepdims=True)


def test_a_wavefront_is_fitted(float64: None) -> None:
    """The methods of the package take it: aberrations from an image of a star, by phase diversity."""
    a = wavefronts((8,), 0.8)
    forward = optics.Channels([model(32, count=8), model(32, count=8, defocus=1.0)])
    problem = ji.Problem(forward, ji.noise.Gaussian(1e-5), {"wavefront": dist.Normal(jnp.zeros(8), 0.3).to_event(1)})
    fit = ji.fit(problem, forward({"wavefront": a}))
    np.testing.assert_allclose(fit.parameters["wavefront"], a, atol=5e-3)


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match=r"coarser than Nyquist.* at 8542 angstrom: take 0\.0881 arcsec or less"):
        optics.PointSpread(DISC, 8542.0, 0.12, 64, optics.Zernike(10))
    with pytest.warns(UserWarning, match=r"2\.2 % coarser than Nyquist's 0\.0881"):
        optics.PointSpread(DISC, 8542.0, 0.09, 64, optics.Zernike(10))
    with pytest.raises(ValueError, match="the pupil is 6 pixels wide, at least 8 are needed"):
        optics.PointSpread(DISC, 8542.0, SCALE, 16, optics.Zernike(10))
    with pytest.raises(ValueError, match="in angstrom, from 1000"):
        optics.PointSpread(DISC, 854.2, SCALE, 64, optics.Zernike(10))
    with pytest.raises(ValueError, match="positive number of arcsec"):
        optics.PointSpread(DISC, 8542.0, -1.0, 64, optics.Zernike(10))
    with pytest.raises(ValueError, match="whole number from 2"):
        optics.PointSpread(DISC, 8542.0, SCALE, 64.5, optics.Zernike(10))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="`n_frames` is a whole number"):
        model(n_frames=0)
    with pytest.raises(ValueError, match="`defocus` is a number of waves"):
        model(defocus=math.nan)
    with pytest.raises(ValueError, match=r"`aberration` is a phase on the pupil's \(22, 22\) pixels"):
        model(aberration=np.zeros((3, 3)))
    with pytest.raises(ValueError, match=r"the model has 20 modes, `wavefront` the shape \(44,\)"):
        model()({"wavefront": np.zeros(44)})
    with pytest.raises(KeyError, match=r"'wavefront' \[rad\] is missing"):
        model()({})
    import astropy.units as u

    same = optics.PointSpread(DISC, 854.2 * u.nm, SCALE * u.arcsec, 64, optics.Zernike(20))  # type: ignore[arg-type]
    assert same.wavelength == pytest.approx(8542.0)
    with pytest.raises(ValueError, match="expected a number in arcsec"):
        optics.PointSpread(DISC, 8542.0, 3 * u.kg, 64, optics.Zernike(10))  # type: ignore[arg-type]
