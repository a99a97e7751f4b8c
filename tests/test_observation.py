"""Stokes cubes: shapes are checked, and only the rows asked for are read."""

import numpy as np
import pytest

from jaxinv.observation import StokesCube
from jaxinv.results.solution import Solution, Status

WAVELENGTH = np.arange(5.0)


class Counting:
    """A lazy array that notes which rows were read."""

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.shape, self.read = values, values.shape, []

    def __getitem__(self, rows: slice) -> np.ndarray:
        self.read.append((rows.start, rows.stop))
        return self.values[rows]


def test_pixels_cross_rows_and_read_only_these() -> None:
    values = np.random.default_rng(0).normal(size=(7, 3, 4, 5))
    lazy = Counting(values)
    cube = StokesCube(lazy, WAVELENGTH)
    np.testing.assert_allclose(cube.pixels(4, 11), values.reshape(21, 4, 5)[4:11].astype(np.float32))
    assert lazy.read == [(1, 4)]
    assert cube.n_pixels == 21
    assert cube.map_shape == (7, 3)


@pytest.mark.parametrize(
    ("shape", "wavelength", "message"),
    [
        ((7, 3, 5, 4), WAVELENGTH, r"\(ny, nx, 4, n_wavelength\); found \(7, 3, 5, 4\)"),
        ((4, 5), WAVELENGTH, "found"),
        ((7, 3, 4, 6), WAVELENGTH, "6 wavelength samples"),
        ((7, 3, 4, 5), WAVELENGTH[::-1], "increasing"),
        ((7, 3, 4, 5), WAVELENGTH * np.nan, "finite"),
    ],
)
def test_clear_errors(shape: tuple[int, ...], wavelength: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StokesCube(np.zeros(shape), wavelength)


def test_a_solution_counts_its_ends_and_scales_its_covariance() -> None:
    covariance = np.array([[4.0, 1.0], [1.0, 1.0]])[None]
    zero = np.zeros(1, int)
    solution = Solution({}, {}, covariance, ("a", "b"), np.ones(1), zero, zero, np.array([Status.AT_BOUND]))
    np.testing.assert_allclose(solution.correlation[0], [[1, 0.5], [0.5, 1]])
    assert solution.count()["at_bound"] == 1
    assert all(status.message for status in Status)
