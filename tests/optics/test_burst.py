"""Simulated bursts: their truth makes their frames, and their statistics are those of turbulence."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinv import optics
from jaxinv.optics import turbulence
from jaxinv.optics.granulation import granulation
from jaxinv.optics.point_spread import ANGSTROM, ARCSEC
from tests.models import compilations

TELESCOPE = optics.Telescope(1.0, 0.2)
SCALE = 0.059
MODEL = optics.PointSpread(TELESCOPE, 8542.0, SCALE, 64, optics.Zernike(20))
SKY = np.random.default_rng(0).uniform(0.5, 1.5, (64, 64))
WINDY = optics.Atmosphere(0.2, 20.0, (optics.Layer(0.0, 0.7, (10.0, 0.0)), optics.Layer(6000.0, 0.3, (0.0, 20.0))))


def test_the_truth_makes_the_frames() -> None:
    burst = optics.simulate_burst(jax.random.key(0), SKY, MODEL, optics.Atmosphere(0.2), n_frames=3, noise=0.01)
    assert burst.frames.shape == (3, 64, 64)
    assert burst.wavefront.shape == (3, 20)
    np.testing.assert_allclose(MODEL.spread(burst.phase), burst.psf, atol=1e-6)
    clean = np.asarray(optics.ExtendedObject((64, 64))({"object": SKY}, burst.psf))
    assert (np.asarray(burst.frames) - clean).std() == pytest.approx(0.01, rel=0.03)
    np.testing.assert_allclose(MODEL.coefficients(burst.phase), burst.wavefront, atol=1e-5)
    assert np.abs(np.corrcoef(np.asarray(burst.wavefront))[0, 1]) < 0.9  # frames are not one
    again = optics.simulate_burst(jax.random.key(0), SKY, MODEL, optics.Atmosphere(0.2), n_frames=3, noise=0.01)
    np.testing.assert_array_equal(again.frames, burst.frames)


def test_a_long_burst_is_made_in_parts() -> None:
    shared = {"interval": 0.01, "noise": optics.Detector(1000.0)}
    whole = optics.simulate_burst(jax.random.key(7), SKY, MODEL, WINDY, n_frames=4, **shared)
    part = optics.simulate_burst(jax.random.key(7), SKY, MODEL, WINDY, n_frames=2, first=2, **shared)
    np.testing.assert_allclose(part.psf, whole.psf[2:], atol=1e-6)
    # A photon more or less, where rounding decides.
    assert np.mean(np.abs(np.asarray(part.frames) - np.asarray(whole.frames)[2:]) > 5e-4) < 0.02


def test_jitter_and_pixels_widen_psfs() -> None:
    blur = (optics.Jitter(SCALE, 0.05), optics.DetectorPixel(SCALE))
    plain = optics.simulate_burst(jax.random.key(8), SKY, MODEL, WINDY, n_frames=1)
    wide = optics.simulate_burst(jax.random.key(8), SKY, MODEL, WINDY, n_frames=1, blur=blur)
    np.testing.assert_allclose(wide.psf, blur[1]({}, blur[0]({}, plain.psf)), atol=1e-6)
    with pytest.raises(ValueError, match="give a jitter's rms"):
        optics.simulate_burst(jax.random.key(8), SKY, MODEL, WINDY, blur=[optics.Jitter(SCALE)])


def test_another_r0_or_noise_needs_no_other_program() -> None:
    noises = (0.01, 0.02), (optics.Detector(100.0, 1.0), optics.Detector(1e4, 2.0, saturation=1e4))
    for one, other in noises:
        optics.simulate_burst(jax.random.key(9), SKY, MODEL, optics.Atmosphere(0.2), n_frames=1, noise=one)
        again = lambda other=other: optics.simulate_burst(  # noqa: E731
            jax.random.key(10), SKY, MODEL, optics.Atmosphere(0.3), n_frames=1, noise=other
        )
        assert compilations(again) == 0


def test_a_training_set_is_a_map_over_keys() -> None:
    keys, r0 = jax.random.split(jax.random.key(1), 2), jnp.array([0.1, 0.3])
    draw = lambda key, r0: optics.simulate_burst(  # noqa: E731
        key, SKY, MODEL, optics.Atmosphere(0.2), n_frames=2, r0=r0
    )
    many = jax.jit(jax.vmap(draw))(keys, r0)
    one = draw(keys[1], 0.3)
    np.testing.assert_allclose(many.frames[1], one.frames, atol=1e-5)
    rms = np.asarray(many.phase).std(axis=(1, 2, 3))
    assert rms[0] > rms[1]


def test_the_long_exposure_is_frieds() -> None:
    """exp(-D(lambda f) / 2) times the telescope's (Fried 1966, JOSA 56, 1372), mean of 4000 frames."""
    r0 = 0.2
    point = {"positions": np.zeros((1, 2)), "fluxes": np.ones(1)}
    total = jnp.zeros((64, 64))
    simulate = jax.jit(
        lambda key: optics.simulate_burst(key, point, MODEL, optics.Atmosphere(r0), n_frames=500).psf.mean(axis=0)
    )
    for key in jax.random.split(jax.random.key(2), 8):
        total = total + simulate(key)
    mean = np.abs(np.asarray(optics.propagation.transfer_function(total / 8)))
    alone = np.abs(np.asarray(MODEL.transfer_function({"wavefront": np.zeros(20)})))
    u, v = optics.propagation.frequencies(64, SCALE)
    distance = np.hypot(u, v) / ARCSEC * 8542.0 * ANGSTROM
    theory = alone * np.exp(-turbulence.structure_function(distance, r0) / 2)
    np.testing.assert_allclose(mean, theory, atol=0.02)
    half = (distance > 0.05) & (distance < 0.2)
    assert np.mean(mean[half] / theory[half]) == pytest.approx(1.0, abs=0.02)


def test_frames_follow_the_wind() -> None:
    """Frames that are near in time are alike; an exposure is the mean of its instants."""
    shared = {"n_frames": 4, "interval": 1e-3}
    burst = optics.simulate_burst(jax.random.key(3), SKY, MODEL, WINDY, **shared)
    phase = np.asarray(burst.phase)
    assert (phase[1] - phase[0]).std() < 0.2 * phase[0].std()
    assert (phase[3] - phase[0]).std() > 2 * (phase[1] - phase[0]).std()
    long = optics.simulate_burst(jax.random.key(3), SKY, MODEL, WINDY, n_frames=1, interval=1.0, exposure=0.03)
    sharp = optics.simulate_burst(jax.random.key(3), SKY, MODEL, WINDY, n_frames=1, interval=1.0)
    strength = lambda psf: float(jnp.sum(psf**2))  # noqa: E731
    assert strength(long.psf[0]) < strength(sharp.psf[0])


def test_a_correction_takes_modes_off() -> None:
    shared = {"n_frames": 60}
    free = optics.simulate_burst(jax.random.key(4), SKY, MODEL, optics.Atmosphere(0.2), **shared)
    tracked = optics.simulate_burst(
        jax.random.key(4), SKY, MODEL, optics.Atmosphere(0.2), correction=optics.Correction(2, 0.1), **shared
    )
    a, b = np.asarray(free.wavefront), np.asarray(tracked.wavefront)
    np.testing.assert_allclose(b[:, :2], 0.1 * a[:, :2], atol=1e-4)
    np.testing.assert_allclose(b[:, 2:], a[:, 2:], atol=1e-4)


def test_layers_at_heights_change_the_psf_over_the_field() -> None:
    burst = optics.simulate_burst(
        jax.random.key(5), np.tile(SKY, (2, 2)), MODEL, WINDY, n_frames=2, nodes=(3, 3), field=(96, 100)
    )
    assert burst.psf.shape == (2, 3, 3, 64, 64)
    assert burst.frames.shape == (2, 96, 100)
    psf = np.asarray(burst.psf)
    assert np.abs(psf[0, 0, 0] - psf[0, 2, 2]).max() > 0.05 * psf[0, 1, 1].max()
    np.testing.assert_allclose(MODEL.spread(burst.phase), psf[:, 1, 1], atol=1e-6)  # the axis is the middle


def test_stars_through_a_detector() -> None:
    stars = {"positions": np.array([[0.5, -0.3], [0.0, 0.0]]), "fluxes": np.array([3.0, 1.0])}
    detector = optics.Detector(1000.0, 2.0, saturation=60.0)
    burst = optics.simulate_burst(jax.random.key(6), stars, MODEL, optics.Atmosphere(0.3), n_frames=4, noise=detector)
    assert burst.saturated.any()
    assert float(burst.frames.max()) == pytest.approx(0.06)
    with pytest.raises(ValueError, match="stars are seen by one PSF"):
        optics.simulate_burst(jax.random.key(6), stars, MODEL, optics.Atmosphere(0.3), nodes=(2, 2))


def test_granulation() -> None:
    image = np.asarray(granulation(jax.random.key(0), (128, 192), 0.059, contrast=0.1))
    assert image.shape == (128, 192)
    assert image.mean() == pytest.approx(1.0, abs=1e-3)
    assert image.std() == pytest.approx(0.1, rel=1e-2)
    # Granules are some 1.9 arcsec apart: the power is around that scale, and the field repeats without a seam.
    power = np.abs(np.fft.fft2(image - image.mean())) ** 2
    frequency = np.hypot(np.fft.fftfreq(128, 0.059)[:, None], np.fft.fftfreq(192, 0.059))
    assert 0.2 < np.sum(power * frequency) / np.sum(power) < 1.5
    assert np.abs(image[:, 0] - image[:, -1]).mean() < 2.5 * np.abs(np.diff(image, axis=1)).mean()
    assert not np.allclose(image, granulation(jax.random.key(1), (128, 192), 0.059, contrast=0.1))


def test_what_is_refused() -> None:
    air, key = optics.Atmosphere(0.2), jax.random.key(0)
    for given, message in (
        ({"n_frames": 0}, "number of frames is a whole number from 1"),
        ({"interval": -1.0}, "interval is a number of seconds from 0"),
        ({"exposure": math.nan}, "exposure is a number of seconds from 0"),
        ({"noise": -0.1}, "noise is a Detector or a number from 0"),
        ({"field": (65, 64)}, "a part of the object"),
    ):
        with pytest.raises(ValueError, match=message):
            optics.simulate_burst(key, SKY, MODEL, air, **given)
    with pytest.raises(ValueError, match="an object, or stars"):
        optics.simulate_burst(key, {"positions": np.zeros((1, 2))}, MODEL, air)
    with pytest.raises(ValueError, match="`object` has 2 axes"):
        optics.simulate_burst(key, np.zeros(64), MODEL, air)
    with pytest.raises(ValueError, match="the object is 32 x 64 pixels, the PSF 64"):
        optics.simulate_burst(key, SKY[:32], MODEL, air)
    with pytest.raises(ValueError, match="a fraction from 0 to 1"):
        optics.Correction(2, 2.0)
    with pytest.raises(ValueError, match="whole number of modes"):
        optics.Correction(0)
