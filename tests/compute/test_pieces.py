"""Finished work is addressed by objects: whatever was kept, what is left is cut and joined right."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxinv.compute.pieces import join, n_done, remaining


@given(n=st.integers(1, 60), size=st.integers(1, 20), other=st.integers(1, 20), seed=st.integers(0, 99))
def test_pieces_of_any_two_sizes_make_the_whole(n: int, size: int, other: int, seed: int) -> None:
    kept = {piece: {"x": np.arange(*piece, dtype=float)} for piece in remaining({}, n, size)}
    rng = np.random.default_rng(seed)
    kept = {piece: arrays for piece, arrays in kept.items() if rng.random() < 0.5}
    left = remaining(kept, n, other)
    assert all(0 < end - first <= other for first, end in left)
    assert n_done(kept, n) == n - sum(end - first for first, end in left)
    kept |= {piece: {"x": np.arange(*piece, dtype=float)} for piece in left}
    np.testing.assert_array_equal(join(kept, n, {})["x"], np.arange(n))
    assert remaining(kept, n, other) == []


def test_what_was_not_computed_is_nan_with_a_status() -> None:
    part = {"chi2": np.ones(2), "status": np.zeros(2, np.int16), "starts": np.ones(2, int)}
    arrays = join({(2, 4): part}, 5, {"status": 7})
    np.testing.assert_array_equal(arrays["chi2"], [np.nan, np.nan, 1, 1, np.nan])
    np.testing.assert_array_equal(arrays["status"], [7, 7, 0, 0, 7])
    np.testing.assert_array_equal(arrays["starts"], [0, 0, 1, 1, 0])


def test_pieces_of_another_run_are_refused() -> None:
    with pytest.raises(ValueError, match="3 to 9 do not belong to a run of 8"):
        remaining({(3, 9): {}}, 8, 4)
