"""Objects through point spread functions: against direct sums, closed forms and another code's frames."""

import math
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinv import optics

SCALE = 0.059
RANDOM = np.random.default_rng(0)


def psf_of(seed: int = 0, n: int = 64) -> np.ndarray:
    forward = optics.PointSpread(optics.Telescope(1.0), 8542.0, SCALE, n, optics.Zernike(14))
    return np.asarray(forward({"wavefront": np.random.default_rng(seed).normal(0, 0.3, 14)}), float)


def direct(image: np.ndarray, psf: np.ndarray) -> np.ndarray:
    """The sum over a small PSF, the image repeating."""
    n = len(psf) // 2
    return sum(psf[y, x] * np.roll(image, (y - n, x - n), (0, 1)) for y in range(len(psf)) for x in range(len(psf)))  # type: ignore[return-value]


def test_an_extended_object_is_convolved(float64: None) -> None:
    sky, psf = RANDOM.uniform(0, 1, (24, 30)), psf_of()[26:38, 26:38]
    stage = optics.ExtendedObject((24, 30))
    assert stage.shapes == {"object": (24, 30)}
    seen = stage({"object": sky}, jnp.asarray(psf))
    np.testing.assert_allclose(seen, direct(sky, psf), atol=1e-12)
    part = optics.ExtendedObject((24, 30), (10, 11))({"object": sky}, jnp.asarray(np.stack([psf, psf])))
    np.testing.assert_allclose(part[1], direct(sky, psf)[7:17, 9:20], atol=1e-12)


def test_stars_stand_where_they_are_said_to(float64: None) -> None:
    psf = psf_of()
    stage = optics.PointSources(2, SCALE)
    star = {"positions": np.array([[3 * SCALE, -5 * SCALE], [0.0, 0.0]]), "fluxes": np.array([2.0, 1.0])}
    seen = np.asarray(stage(star, jnp.asarray(psf)))
    np.testing.assert_allclose(seen, 2 * np.roll(psf, (-5, 3), (0, 1)) + psf, atol=1e-12)
    assert seen.sum() == pytest.approx(3.0)
    # Between pixels: the centroid moves by as much.
    between = {"positions": np.array([[0.37 * SCALE, 0.0]]), "fluxes": np.array([1.0])}
    moved = np.asarray(optics.PointSources(1, SCALE)(between, jnp.asarray(psf)))
    x = np.arange(64) - 32
    wave = np.exp(-2j * np.pi * x / 64)
    turn = np.angle(np.sum(moved.sum(0) * wave) / np.sum(psf.sum(0) * wave))
    assert -turn * 64 / (2 * np.pi) == pytest.approx(0.37, abs=1e-9)


def test_jitter_and_pixels_widen_images_as_they_should(float64: None) -> None:
    point = jnp.zeros((64, 64)).at[32, 32].set(1.0)
    x = (np.arange(64) - 32) * SCALE
    rms = 0.2
    seen = np.asarray(optics.Jitter(SCALE)({"jitter": rms}, point))
    np.testing.assert_allclose(
        seen, SCALE**2 / (2 * math.pi * rms**2) * np.exp(-(x**2 + x[:, None] ** 2) / (2 * rms**2)), atol=1e-8
    )
    np.testing.assert_allclose(optics.Jitter(SCALE, rms)({}, point), seen, atol=1e-12)
    np.testing.assert_allclose(optics.Jitter(SCALE, 0.0)({}, point), point, atol=1e-12)
    psf = psf_of()
    finer = optics.PointSpread(optics.Telescope(1.0), 8542.0, SCALE / 8, 512, optics.Zernike(14))
    fine = np.asarray(finer({"wavefront": np.random.default_rng(0).normal(0, 0.3, 14)}), float)
    shifted = np.roll(fine, (4, 4), (0, 1)).reshape(64, 8, 64, 8).sum(axis=(1, 3))  # of pixels around their centres
    half = np.roll(fine, (3, 3), (0, 1)).reshape(64, 8, 64, 8).sum(axis=(1, 3))
    np.testing.assert_allclose(
        optics.DetectorPixel(SCALE)({}, jnp.asarray(psf)), (shifted + half) / 2, atol=2e-3 * psf.max()
    )


def test_stages_follow_a_point_spread(float64: None) -> None:
    spread = optics.PointSpread(optics.Telescope(1.0), 8542.0, SCALE, 32, optics.Zernike(5), n_frames=3)
    model = spread >> optics.Jitter(SCALE) >> optics.DetectorPixel(SCALE) >> optics.ExtendedObject((48, 48), (32, 32))
    assert model.units == {"wavefront": "rad", "jitter": "arcsec", "object": ""}
    assert model.shapes == {"wavefront": (3, 5), "object": (48, 48)}
    given = {"wavefront": RANDOM.normal(0, 0.3, (3, 5)), "jitter": 0.02, "object": RANDOM.uniform(0, 1, (48, 48))}
    frames = eqx.filter_jit(model)(given)
    assert frames.shape == (3, 32, 32)
    score = lambda p: jnp.sum(model(p) ** 2)  # noqa: E731
    gradient = jax.grad(score)({name: jnp.asarray(x) for name, x in given.items()})
    for name, step in (("wavefront", 1e-4), ("jitter", 1e-5), ("object", 1e-3)):
        at = np.zeros(np.shape(given[name]))
        at.ravel()[-3 if at.size > 1 else 0] = step
        slope = (score({**given, name: given[name] + at}) - score({**given, name: given[name] - at})) / (2 * step)
        assert np.asarray(gradient[name]).ravel()[-3 if at.size > 1 else 0] == pytest.approx(float(slope), rel=1e-6)


@pytest.mark.parametrize("of_images", [False, True])
def test_psfs_between_nodes_are_interpolated(float64: None, of_images: bool) -> None:
    sky = RANDOM.uniform(0, 1, (30, 41))
    psfs = np.stack([[psf_of(3 * y + x)[26:38, 26:38] for x in range(3)] for y in range(4)])
    weight_y = np.stack([np.interp(np.arange(30), np.linspace(0, 29, 4), e) for e in np.eye(4)])
    weight_x = np.stack([np.interp(np.arange(41), np.linspace(0, 40, 3), e) for e in np.eye(3)])
    expected = np.zeros((30, 41))
    for y in range(4):
        for x in range(3):
            window = weight_y[y][:, None] * weight_x[x]
            expected += window * direct(sky, psfs[y, x]) if of_images else direct(window * sky, psfs[y, x])
    stage = optics.FieldDependentObject((30, 41), (4, 3), of_images=of_images)
    np.testing.assert_allclose(stage({"object": sky}, jnp.asarray(psfs)), expected, atol=1e-12)
    part = optics.FieldDependentObject((30, 41), (4, 3), (20, 21), of_images=of_images)
    np.testing.assert_allclose(part({"object": sky}, jnp.asarray(psfs[None]))[0], expected[5:25, 10:31], atol=1e-12)
    if not of_images:
        alike = np.broadcast_to(psfs[0, 0], psfs.shape)
        np.testing.assert_allclose(stage({"object": sky}, jnp.asarray(alike)), direct(sky, psfs[0, 0]), atol=1e-12)


def test_the_frames_of_another_code(reference_data: Path) -> None:
    """Its PSFs on 9 x 9 nodes blend images; what is left of a frame is its noise."""
    case = np.load(reference_data / "mfbd" / "solar_aniso512_Dr0_08_s0030.npz")
    psf = case["psf_grid"][0].astype(np.float32)
    stage = optics.FieldDependentObject((512, 512), (9, 9), (384, 384), of_images=True)
    seen = np.asarray(stage({"object": case["object"]}, jnp.asarray(psf / psf.sum((-2, -1), keepdims=True))))
    left = case["frames"][0][64:-64, 64:-64] - seen
    assert left.std() == pytest.approx(float(case["sigma"]), rel=0.02)
    case = np.load(reference_data / "mfbd" / "crime_dkist128_Dr0_03_s0010.npz")
    spread = optics.PointSpread(optics.Telescope(1.0), 8542.0, SCALE, 128, optics.Zernike(44))
    frames = (spread >> optics.ExtendedObject((128, 128)))({"wavefront": case["noll_2_45"], "object": case["object"]})
    left = case["frames"] - np.asarray(frames)
    assert left.std() == pytest.approx(float(case["sigma"]), rel=0.05)


def test_what_is_refused() -> None:
    psf = jnp.zeros((16, 16))
    with pytest.raises(ValueError, match="a part of the object"):
        optics.ExtendedObject((16, 16), (17, 16))
    with pytest.raises(ValueError, match=r"the shape \(5, 5\), the model's is \(16, 16\)"):
        optics.ExtendedObject((16, 16))({"object": np.zeros((5, 5))}, psf)
    with pytest.raises(ValueError, match="the object is 8 x 16 pixels, the PSF 16"):
        optics.ExtendedObject((8, 16))({"object": np.zeros((8, 16))}, psf)
    with pytest.raises(KeyError, match="'object' is missing"):
        optics.ExtendedObject((16, 16))({}, psf)
    with pytest.raises(ValueError, match="2 or more in each direction"):
        optics.FieldDependentObject((16, 16), (1, 3))
    with pytest.raises(ValueError, match=r"on \(2, 2\) nodes, the field is divided by \(3, 3\)"):
        optics.FieldDependentObject((16, 16), (3, 3))({"object": np.zeros((16, 16))}, jnp.zeros((2, 2, 8, 8)))
    with pytest.raises(ValueError, match=r"2 stars have `positions` \(2, 2\)"):
        optics.PointSources(2, SCALE)({"positions": np.zeros((3, 2)), "fluxes": np.zeros(2)}, psf)
    with pytest.raises(ValueError, match="whole number from 1"):
        optics.PointSources(0, SCALE)
    with pytest.raises(ValueError, match="jitter's rms is a positive number"):
        optics.Jitter(SCALE, -0.1)
    with pytest.raises(ValueError, match="pixel's width is a positive number"):
        optics.DetectorPixel(SCALE, math.inf)
