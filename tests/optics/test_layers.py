"""Turbulence at heights: PSFs that change over the field as a screen at that height says."""

import astropy.units as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinv import optics
from jaxinv.optics.point_spread import ARCSEC

TELESCOPE = optics.Telescope(1.0, 0.2)
SHAPE, SCALE, HEIGHT = (128, 160), 0.059, 6000.0


def test_quantities_are_taken() -> None:
    given = (TELESCOPE, 854.2 * u.nm, SCALE * u.arcsec, 64, [optics.Zernike(3)], [0.0], SHAPE, (2, 2))
    assert optics.LayeredPointSpread(*given).pupil.n_pixels == 22


def layered(kind: type = optics.Zernike, **more) -> optics.LayeredPointSpread:
    field = (SHAPE[0] * SCALE, SHAPE[1] * SCALE)
    discs = [optics.metapupil(TELESCOPE, h, field) for h in (0.0, HEIGHT)]
    modes = [optics.Zernike(20) if kind is optics.Zernike else optics.KarhunenLoeve(each, 20) for each in discs]
    return optics.LayeredPointSpread(TELESCOPE, 8542.0, SCALE, 64, modes, (0.0, HEIGHT), SHAPE, (3, 2), **more)


@pytest.mark.parametrize("kind", [optics.Zernike, optics.KarhunenLoeve])
def test_a_layer_is_seen_around_the_direction_of_a_node(float64: None, kind: type) -> None:
    model = layered(kind)
    a = np.random.default_rng(0).normal(0, 0.3, (2, 20))
    phase = np.asarray(model.phase({"wavefront": a}))
    assert phase.shape == (3, 2, 22, 22)
    # The same sum of functions at the places that the line of sight of a node meets.
    field = (SHAPE[0] * SCALE, SHAPE[1] * SCALE)
    over = optics.metapupil(TELESCOPE, HEIGHT, field)
    modes = optics.Zernike(20) if kind is optics.Zernike else optics.KarhunenLoeve(over, 20)
    wide = optics.Pupil(over, model.pupil.pixel_size)
    here = model.pupil.x / 2
    x = here + HEIGHT * (-159 / 2 * SCALE * ARCSEC)
    y = here + HEIGHT * (127 / 2 * SCALE * ARCSEC)
    high = np.tensordot(a[1], modes.at(wide, *np.meshgrid(x, y) / np.array(over.diameter / 2)), axes=1)
    open_ = model.pupil.amplitude > 0
    ground = np.asarray(model.phase({"wavefront": a * np.array([[1], [0]])}))
    np.testing.assert_allclose((phase - ground)[2, 0][open_], high[open_], atol=1e-10)
    assert np.ptp(ground - ground[0, 0], axis=None) < 1e-10  # the ground is the same from everywhere


def test_psfs_and_images_of_layers(float64: None) -> None:
    model = layered(n_frames=2) >> optics.FieldDependentObject(SHAPE, (3, 2), (64, 96))
    assert model.shapes == {"wavefront": (2, 2, 20), "object": SHAPE}
    a = np.random.default_rng(1).normal(0, 0.3, (2, 2, 20))
    psf = layered()({"wavefront": a})
    assert psf.shape == (2, 3, 2, 64, 64)
    np.testing.assert_allclose(psf.sum((-2, -1)), 1, rtol=1e-12)
    sky = np.random.default_rng(2).uniform(0, 1, SHAPE)
    assert model({"wavefront": a, "object": sky}).shape == (2, 64, 96)
    # With turbulence on the ground alone every direction has the same PSF.
    a[:, 1] = 0
    one = optics.PointSpread(TELESCOPE, 8542.0, SCALE, 64, optics.Zernike(20)) >> optics.ExtendedObject(SHAPE, (64, 96))
    alone = np.asarray(model({"wavefront": a, "object": sky}))
    phase = np.asarray(layered().phase({"wavefront": a}))[:, 0, 0]
    expected = optics.ExtendedObject(SHAPE, (64, 96))({"object": sky}, one.first.spread(phase))
    np.testing.assert_allclose(alone, expected, atol=1e-12)
    gradient = jax.grad(lambda a: jnp.sum(model({"wavefront": a, "object": sky}) ** 2))(jnp.asarray(a))
    step = 1e-5 * np.eye(20)[3] * np.array([[[0], [1]], [[0], [0]]])
    score = lambda a: float(jnp.sum(model({"wavefront": a, "object": sky}) ** 2))  # noqa: E731
    assert gradient[0, 1, 3] == pytest.approx((score(a + step) - score(a - step)) / 2e-5, rel=1e-6)


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match=r"found \[20, 10\] for the heights"):
        optics.LayeredPointSpread(
            TELESCOPE, 8542.0, SCALE, 64, [optics.Zernike(20), optics.Zernike(10)], (0.0, 1.0), SHAPE, (2, 2)
        )
    with pytest.raises(ValueError, match="`n_frames` is a whole number from 1"):
        layered(n_frames=0)
    with pytest.raises(ValueError, match="in metres above the telescope"):
        optics.metapupil(TELESCOPE, -1.0, (1.0, 1.0))
    with pytest.raises(ValueError, match=r"20 modes in 2 layers, .* \(20,\): its last axes are \(2, 20\)"):
        layered()({"wavefront": np.zeros(20)})
