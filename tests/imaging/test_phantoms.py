"""Images with a known truth."""

import numpy as np
import pytest

from jaxinv import imaging


def test_the_head_of_shepp_and_logan_has_its_values_and_areas() -> None:
    image = imaging.shepp_logan(200)
    assert image.shape == (200, 200)
    assert image[100, 100] == pytest.approx(0.2)  # brain
    assert image[90, 78] == pytest.approx(0.0, abs=1e-6)  # a ventricle
    assert image[65, 100] == pytest.approx(0.3)  # above the middle, which is the first row's side
    assert image[5, 100] == 0
    ellipses = [(1, 0.69, 0.92), (-0.8, 0.6624, 0.874), (-0.2, 0.11, 0.31), (-0.2, 0.16, 0.41), (0.1, 0.21, 0.25)]
    ellipses += [(0.1, 0.046, 0.046)] * 2 + [(0.1, 0.046, 0.023)] * 2 + [(0.1, 0.023, 0.023)]
    total = sum(np.pi * value * a * b for value, a, b in ellipses)
    assert image.mean() * 4 == pytest.approx(total, rel=2e-3)


def test_filtered_back_projection_finds_it() -> None:
    image = imaging.shepp_logan(64)
    radon = imaging.Radon(64, np.arange(0, 180, 2.0))
    error = np.asarray(radon.filtered_back_projection(radon(image))) - image
    assert np.sqrt(np.mean(error**2)) < 0.07


def test_an_image_without_pixels_is_refused() -> None:
    with pytest.raises(ValueError, match="1 x 1 pixels or more; found 0"):
        imaging.shepp_logan(0)
