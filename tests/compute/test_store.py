"""Stores of runs: pieces of any sizes make the whole, marks follow arrays, and no other run's work is touched."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxinv.compute.atomic import OutputError
from jaxinv.compute.run import Run
from jaxinv.compute.store import Store, StoreError, is_store


def squares(start: int, stop: int) -> dict[str, np.ndarray]:
    ids = np.arange(start, stop, dtype=float)
    return {"chi2": ids**2, "parameters/coefficients": np.stack([ids, -ids], axis=1).astype(np.float32)}


@settings(deadline=None, max_examples=30)
@given(
    shape=st.one_of(st.tuples(st.integers(1, 40)), st.tuples(st.integers(1, 7), st.integers(1, 9))),
    size=st.integers(1, 20),
    other=st.integers(1, 20),
    seed=st.integers(0, 99),
)
def test_pieces_of_any_two_sizes_make_the_whole(shape: tuple[int, ...], size: int, other: int, seed: int) -> None:
    store = Store(None, shape)
    rng = np.random.default_rng(seed)
    for piece in store.todo(size):
        if rng.random() < 0.5:
            store.write(*piece, squares(*piece))
    left = store.todo(other)
    assert all(0 < end - first <= other for first, end in left)
    assert store.n_done == store.n - sum(end - first for first, end in left)
    for piece in left:
        store.write(*piece, squares(*piece))
    expected = squares(0, store.n)
    for name, values in expected.items():
        np.testing.assert_array_equal(store[name], values.reshape(*shape, *values.shape[1:]))
    assert store.todo(other) == []
    assert store.names() == (list(expected) if store.n_done else [])


def test_what_was_not_computed_is_nan_with_a_status() -> None:
    store = Store(None, (5,), missing={"status": 7})
    store.write(2, 4, {"chi2": np.ones(2), "status": np.zeros(2, np.int16), "starts": np.ones(2, int)})
    np.testing.assert_array_equal(store["chi2"], [np.nan, np.nan, 1, 1, np.nan])
    np.testing.assert_array_equal(store["status"], [7, 7, 0, 0, 7])
    np.testing.assert_array_equal(store["starts"], [0, 0, 1, 1, 0])


def test_a_folder_is_gone_on_with_by_the_same_run_only(tmp_path: Path) -> None:
    place = tmp_path / "run"
    store = Store(place, (3, 3), {"input": "abc", "options": "1"})
    store.write(0, 4, squares(0, 4))
    with pytest.raises(OutputError, match="is being written by another process"):
        Store(place, (3, 3), {"input": "abc", "options": "1"})
    store.close()
    (place / "zarr.0123456789abcdef0123456789abcdef.partial").touch()  # what a kill left of a file
    again = Store(place, (3, 3), {"input": "abc", "options": "1"})
    assert not list(place.rglob("*.partial"))
    assert again.todo(9) == [(4, 9)]
    assert again["parameters/coefficients"].dtype == np.float32
    again.close()
    with pytest.raises(StoreError, match=r"another options: .*--restart"):
        Store(place, (3, 3), {"input": "abc", "options": "2"})
    with pytest.raises(StoreError, match=r"another shape: .*--restart"):
        Store(place, (3, 2), {"input": "abc", "options": "1"})
    chunk = next(path for path in (place / "chi2").rglob("*") if path.is_file() and path.name != "zarr.json")
    chunk.write_bytes(chunk.read_bytes()[:10])
    with pytest.raises(StoreError, match="'chi2' is damaged"):
        Store.open(place)["chi2"]
    again.discard()
    assert not list(tmp_path.iterdir())


def test_angles_are_degrees_on_disk(tmp_path: Path) -> None:
    units = {"posterior/azimuth": "rad", "posterior/velocity": "km/s"}
    store = Store(tmp_path / "draws.zarr", (2, 6), units=units, axes={"posterior": ("chain", "draw")})
    draws = {name: np.full((3, 1, 4), np.pi / 2, np.float32) for name in units}
    store.write(0, 3, {**draws, "status": np.zeros(3, np.int16)})
    dataset = xarray.open_zarr(tmp_path / "draws.zarr", group="posterior", consolidated=False)
    assert dataset["azimuth"].dims == ("y", "x", "chain", "draw")
    assert dataset["azimuth"].attrs["units"] == "deg"
    np.testing.assert_allclose(dataset["azimuth"][0, 2], 90.0)
    np.testing.assert_allclose(dataset["velocity"][0, 2], np.pi / 2)
    np.testing.assert_allclose(Store.open(tmp_path / "draws.zarr")["posterior/azimuth"][0, 2], np.pi / 2)


def test_nothing_else_is_taken_for_a_store(tmp_path: Path) -> None:
    """Zarr writes a file under another name and renames it: a kill between the two leaves that name."""
    assert is_store(tmp_path)
    (tmp_path / "zarr.0123456789abcdef0123456789abcdef.partial").touch()
    assert is_store(tmp_path)
    (tmp_path / "thesis.tex").touch()
    assert not is_store(tmp_path)
    with pytest.raises(StoreError, match="is no store of a run"):
        Store(tmp_path, (3,))
    with pytest.raises(StoreError, match="is no store of a run"):
        Store.open(tmp_path)


class Squares(Run[np.ndarray]):
    """The squares of some numbers."""

    label, shape, size = "squaring", (10,), 4

    def read(self, start: int, stop: int) -> Any:
        return np.arange(start, stop)

    def work(self) -> Any:
        def square(inputs: Any, advance: Any) -> Mapping[str, np.ndarray]:
            assert len(inputs) == 4
            advance(len(inputs), 0, 0)
            return {"square": inputs**2}

        return square

    def result(self, store: Store) -> np.ndarray:
        return store["square"]


def test_a_run_does_what_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    store = Squares().store()
    store.write(0, 3, {"square": np.arange(3) * 0})
    found = Squares().into(store, progress=True)
    np.testing.assert_array_equal(found, [0, 0, 0, *np.arange(3, 10) ** 2])
    assert "squaring: 100%" in capsys.readouterr().err


WRITER = """
import sys
import numpy as np
from jaxinv.compute.store import Store
store = Store(sys.argv[1], (64, 64), {"input": "x"})
print("begun", flush=True)
for start, stop in store.todo(100):
    ids = np.arange(start, stop)
    store.write(start, stop, {"x": ids.astype("f4"), "y": ids.astype("f4"), "status": (0 * ids).astype("i2")})
"""


@pytest.mark.slow
def test_marks_speak_the_truth_whenever_a_writer_is_killed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    place = tmp_path / "run"
    for _ in range(int(os.environ.get("JAXINV_KILLS", "3"))):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(place)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        try:
            process.wait(rng.uniform(0.01, 0.3))
        except subprocess.TimeoutExpired:
            process.kill()
        process.wait()
        store = Store.open(place)
        done = np.ones(64 * 64, bool)
        for start, stop in store.todo(10**6):
            done[start:stop] = False
        for name in ("x", "y") if done.any() else ():
            np.testing.assert_array_equal(store[name].ravel()[done], np.arange(64 * 64)[done])
    assert subprocess.run([sys.executable, "-c", WRITER, str(place)], check=True).returncode == 0
    assert Store.open(place).n_done == 64 * 64
