"""Stokes cubes: shapes are checked, and only the rows asked for are read."""

import numpy as np
import numpyro.distributions as dist
import pytest

from jaxinv.compute.batch import filled
from jaxinv.noise import Gaussian
from jaxinv.observation import Observation, StokesCube
from jaxinv.optimize import fit
from jaxinv.problem import Problem
from jaxinv.results.solution import Solution, Status
from tests.models import Line, X

WAVELENGTH = np.arange(5.0)


def test_a_piece_is_filled_up_with_objects_without_data() -> None:
    data = Observation(np.ones((2, 3)), sigma=np.ones((2, 3)), ids=np.array([4, 5]))
    more, known = filled((data, {"offset": np.array([1.0, 2.0])}), 4)
    np.testing.assert_array_equal(np.isnan(more.values[:, 0]), [False, False, True, True])
    np.testing.assert_array_equal(more.ids, [4, 5, 5, 5])
    np.testing.assert_array_equal(known["offset"], [1, 2, 2, 2])
    assert np.isfinite(data.values).all()


@pytest.mark.parametrize("ids", [np.arange(3), np.array([0, -1]), np.array([0.0, 1.0]), np.array([0, 2**32])])
def test_ids_are_whole_numbers_one_for_each_object(ids: np.ndarray) -> None:
    problem = Problem(Line(), Gaussian(0.1), {"slope": dist.Normal(0, 1), "intercept": 0.0})
    with pytest.raises(ValueError, match="ids of the objects are whole numbers"):
        fit(problem, Observation(np.ones((2, len(X))), ids=ids))


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
