"""Frames on each other: shifts that are known, squares that are cut, noise that is known."""

import numpy as np
import pytest
from scipy import ndimage

from jaxinv.optics.alignment import cut, noise_of, shifts_of


def scene(size: int, seed: int = 0) -> np.ndarray:
    return 1 + 0.1 * ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(size, size)), 2) * 8


def test_shifts_are_found() -> None:
    generator = np.random.default_rng(1)
    moved = generator.integers(-9, 10, (6, 2))
    wide = scene(128)
    frames = np.stack([wide[32 - y : 96 - y, 32 - x : 96 - x] for y, x in moved])
    frames = frames + 0.005 * generator.normal(size=frames.shape)
    found = shifts_of(frames)
    centred = -moved - np.round((-moved).mean(axis=0)).astype(int)
    np.testing.assert_array_equal(found - found[0], centred - centred[0])
    assert np.abs(found.mean(axis=0)).max() <= 0.5
    assert np.abs(shifts_of(frames, most=2) - found).max() > 0


def test_squares_of_moved_frames_cover_each_other() -> None:
    wide = scene(128)
    moved = np.array([[0, 0], [3, -5]])
    frames = np.stack([wide[32 - y : 96 - y, 32 - x : 96 - x] for y, x in moved]).astype(np.float32)
    squares = cut(frames, -moved, (0, 0), 64)
    assert squares.shape == (2, 64, 64)
    both = np.isfinite(squares).all(axis=0)
    assert both.sum() == (64 - 3) * (64 - 5)
    np.testing.assert_array_equal(squares[0][both], squares[1][both])
    assert np.isnan(cut(frames, np.array([[0, 0], [90, 0]]), (0, 0), 64)[1]).all()


def test_noise_is_measured_beyond_the_cutoff() -> None:
    generator = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(generator.normal(size=(4, 64, 64)), (0, 4, 4)) + 1
    sigma = np.array([0.001, 0.002, 0.004, 0.01])
    found = noise_of(smooth + sigma[:, None, None] * generator.normal(size=smooth.shape), 0.4)
    np.testing.assert_allclose(found, sigma, rtol=0.12)
    with pytest.raises(ValueError, match="the noise cannot be measured: pixels are so coarse"):
        noise_of(smooth, 0.7)
