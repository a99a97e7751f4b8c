"""Apertures on pixels: areas in closed form, vanes, presets, and what is refused."""

import dataclasses

import numpy as np
import pytest

from jaxinv import optics


@pytest.mark.parametrize("n_pixels", [16, 43, 44])
def test_the_open_area_is_that_of_the_aperture(n_pixels: int) -> None:
    telescope = optics.Telescope(2.0, 0.7)
    for pixel in (2.0 / n_pixels, 2.0 / (n_pixels - 0.4)):
        pupil = optics.Pupil(telescope, pixel)
        assert pupil.n_pixels == n_pixels
        area = pupil.amplitude.sum() * pixel**2
        assert area == pytest.approx(np.pi * (1.0 - 0.35**2), rel=1e-12)
        np.testing.assert_allclose(pupil.amplitude, pupil.amplitude.T, atol=1e-12)
        np.testing.assert_allclose(pupil.amplitude, pupil.amplitude[::-1], atol=1e-12)


def test_an_edge_is_soft() -> None:
    pupil = optics.Pupil.across(optics.Telescope(1.0, 0.3), 32)
    fine = (np.arange(32 * 64) + 0.5) / (32 * 64) - 0.5
    r = np.hypot(fine, fine[:, None])
    counted = ((r < 0.5) & (r > 0.15)).reshape(32, 64, 32, 64).mean(axis=(1, 3))
    np.testing.assert_allclose(pupil.amplitude, counted, atol=5e-3)
    assert np.unique(np.round(pupil.amplitude, 6)).size > 20


def test_vanes_hide_what_they_cover() -> None:
    bare = optics.Telescope(4.0, 1.0)
    vane = optics.Vane(angle=0.0, width=0.1)
    held = dataclasses.replace(bare, vanes=(vane,))
    a, b = (optics.Pupil.across(t, 80).amplitude for t in (bare, held))
    lost = (a - b).sum() * (4.0 / 80) ** 2
    assert lost == pytest.approx(0.1 * 1.5, rel=0.01)  # from the obscuration to the edge
    hidden = np.argwhere(a - b > 0.5)
    assert np.all(hidden[:, 1] >= 40)  # towards +x
    up = optics.Pupil.across(dataclasses.replace(bare, vanes=(optics.Vane(90.0, 0.1, offset=0.8),)), 80).amplitude
    rows, columns = np.argwhere(a - up > 0.5).T
    assert np.all(rows >= 40)  # towards +y
    assert np.allclose((columns.mean() - 39.5) * 0.05, -0.8, atol=0.03)  # to the left of its direction


def test_presets_say_where_they_come_from() -> None:
    for telescope in optics.TELESCOPES:
        assert telescope.source
        assert optics.find_telescope(telescope.name.lower()) is telescope
        assert 0 < optics.Pupil.across(telescope, 40).amplitude.mean() < 1
    with pytest.raises(KeyError, match="no telescope 'GREGER' is known; did you mean 'GREGOR'"):
        optics.find_telescope("GREGER")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((-1.0,), "diameter is given in metres"),
        ((1440.0,), "diameter is given in metres"),
        ((float("nan"),), "diameter is given in metres"),
        ((1.0, 1.0), "below the telescope's 1"),
        ((1.0, -0.1), "below the telescope's 1"),
        ((1.0, 0.0, (optics.Vane(0.0, 20.0),)), "as wide as the telescope"),
    ],
)
def test_what_is_no_telescope_is_refused(arguments: tuple, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        optics.Telescope(*arguments)


def test_what_is_no_vane_or_pupil_is_refused() -> None:
    with pytest.raises(ValueError, match="width is a positive number of metres"):
        optics.Vane(0.0, 0.0)
    with pytest.raises(ValueError, match="angle"):
        optics.Vane(float("nan"), 0.1)
    with pytest.raises(ValueError, match="5 pixels wide, at least 8"):
        optics.Pupil(optics.Telescope(1.0), 0.2)
    with pytest.raises(ValueError, match="positive size in metres"):
        optics.Pupil(optics.Telescope(1.0), -0.2)
