"""The store of a run: arrays by object as Zarr, a mark for each that is done, and all that the result depends on.

How the objects were cut in pieces is not in it: what is left is cut anew by whoever goes on. One process at a time
writes a store; each of its files is replaced as a whole, and a mark follows the arrays that it speaks of, so that a run
may be killed at any moment.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxinv.compute.atomic import OutputError, discard_folder
from jaxinv.results.units import degrees_in, shown_unit

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

Piece = tuple[int, int]
"""The first object and the one after the last."""

_OWN = "jaxinv"
"""The attribute of the group that says what the store is of."""
_DONE = "done"
_CHUNK = 2**17
"""Bytes of a file, about: pieces that are small beside it write it more than once."""
_UNFINISHED = re.compile(r".*\.[0-9a-f]{32}\.partial")
"""What Zarr calls a file until it is whole."""


class StoreError(ValueError):
    """A folder is no store, or that of another run."""


class Store:
    """Arrays over the objects of a run, which grow by pieces of any size.

    `xarray.open_datatree(path, engine="zarr", consolidated=False)` opens it, too. Arrays are named `group/name`; on
    disk, angles are in degrees, as the attribute `units` says, and what was not computed is NaN (or as `missing` says).

    Args:
        path: a folder, made if it is not there; `None`: in memory.
        shape: of the batch: `(n,)` or `(ny, nx)`, numbered with the last axis fastest.
        depends: what the arrays depend on (input, options, version), by name.
        units: of arrays, by name; radians go to disk as degrees.
        axes: names of the axes of arrays behind those of the batch, by name or by group.
        missing: what stands for an object that was not computed in arrays of whole numbers, by name; 0 by default.

    Raises:
        StoreError: the folder holds something else, or a run with other `depends`; names what differs.
        OutputError: it cannot be written, or another process is writing it.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None,
        shape: tuple[int, ...],
        depends: Mapping[str, str] | None = None,
        *,
        units: Mapping[str, str] | None = None,
        axes: Mapping[str, tuple[str, ...]] | None = None,
        missing: Mapping[str, int] | None = None,
    ) -> None:
        self.path = None if path is None else Path(path)
        self.shape = tuple(int(n) for n in shape)
        self._units, self._axes, self._missing = dict(units or {}), dict(axes or {}), dict(missing or {})
        own = {"shape": list(self.shape), "depends": dict(depends or {})}
        self._group = _in_memory(own) if self.path is None else self._begin(self.path, own)
        self._names: list[str] = self.attributes.get("names", [])
        self._done = self._marks()

    def _begin(self, path: Path, own: dict[str, Any]) -> Any:
        import zarr

        if path.exists() and not is_store(path):
            raise StoreError(f"{path} exists and is no store of a run: choose another name")
        found = attributes_of(path)
        if found:
            old, new = found["depends"], own["depends"]
            differing = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
            if differing or found["shape"] != own["shape"]:
                raise StoreError(
                    f"{path} holds an unfinished run with another {', '.join(differing or ['shape'])}: repeat that "
                    "command to finish it, or discard it with --restart"
                )
        try:
            path.mkdir(exist_ok=True)
            self._lock = _locked(path)
            for folder, _, files in os.walk(path):
                for name in files:
                    if _UNFINISHED.fullmatch(name):
                        (Path(folder) / name).unlink()
            if found:
                return zarr.open_group(str(path), mode="r+")
            return zarr.create_group(str(path), zarr_format=3, attributes={_OWN: own})
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror or error}") from None

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Store:
        """A store to be read.

        Raises:
            StoreError: there is none, or it is damaged.
        """
        import zarr

        found = attributes_of(path)
        if not found:
            raise StoreError(f"{path} is no store of a run")
        store = cls.__new__(cls)
        store.path, store.shape = Path(path), tuple(found["shape"])
        store._units, store._axes, store._missing = {}, {}, {}
        store._group = zarr.open_group(str(path), mode="r")
        store._names, store._done = found.get("names", []), store._marks()
        return store

    @property
    def attributes(self) -> dict[str, Any]:
        """What was said of the store: `depends`, `shape`, and what `describe` added."""
        return dict(self._group.attrs[_OWN])

    def describe(self, **more: Any) -> None:
        """Add to `attributes`; values that JSON can hold."""
        self._group.attrs[_OWN] = {**self.attributes, **more}

    @property
    def n(self) -> int:
        """The number of objects."""
        return int(np.prod(self.shape, dtype=int))

    @property
    def n_done(self) -> int:
        """How many of them are done."""
        return int(self._done.sum())

    def todo(self, size: int) -> list[Piece]:
        """What is left, in pieces of at most `size` neighbours."""
        edges = np.flatnonzero(np.diff(np.concatenate([[True], self._done, [True]]).astype(int)))
        runs = edges.reshape(-1, 2)
        return [(int(k), int(min(k + size, stop))) for start, stop in runs for k in range(int(start), int(stop), size)]

    def write(self, start: int, stop: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Objects `start` to `stop`: arrays `(stop - start, ...)` by name, and then their marks."""
        try:
            if new := [name for name in arrays if name not in self._names]:
                self._names += new
                self.describe(names=self._names)
            for name, values in arrays.items():
                self._put(name, start, np.asarray(values))
            self._put(_DONE, start, np.ones(stop - start, np.uint8))
        except OSError as error:
            raise OutputError(f"cannot write {self.path}: {error.strerror or error}") from None
        self._done[start:stop] = True

    def replace(self, name: str, values: np.ndarray) -> None:
        """All of an array that is there, `(*shape, ...)`."""
        self._group[name][...] = values * self._factor(name, values.dtype)

    def __contains__(self, name: str) -> bool:
        return name in self._group

    def names(self, group: str = "") -> list[str]:
        """Arrays of a group, or all of them, in the order in which they were first written."""
        return [name for name in self._names if name.startswith(f"{group}/" if group else "") and name in self._group]

    def __getitem__(self, name: str) -> np.ndarray:
        """An array, `(*shape, ...)`.

        Raises:
            StoreError: a file of it is damaged.
        """
        try:
            values = np.asarray(self._group[name][...])
        except KeyError:
            raise
        except Exception as error:  # whatever the library that unpacks it says
            raise StoreError(
                f"{self.path}: the array {name!r} is damaged ({' '.join(str(error).split())[:100]}): pass --restart"
            ) from None
        factor = self._factor(name, values.dtype)
        return values if factor == 1 else values / factor

    def lazy(self, name: str) -> Any:
        """An array that stays where it is until parts of it are asked for."""
        return _Lazy(self._group[name], degrees_in(self.unit(name)))

    def group(self, name: str) -> dict[str, np.ndarray]:
        """All arrays of a group, by their own names."""
        return {each.split("/", 1)[1]: self[each] for each in self.names(name)}

    def arrays(self, without: str = "") -> dict[str, np.ndarray]:
        """All arrays by name, but those of one group."""
        return {name: self[name] for name in self.names() if not (without and name.startswith(f"{without}/"))}

    def unit(self, name: str) -> str:
        """Of an array, as it comes out of here; "" where it has none."""
        unit = str(self._group[name].attrs.get("units", ""))
        return "rad" if unit == "deg" else unit

    def discard(self) -> None:
        """Remove the folder and everything in it."""
        self.close()
        if self.path is not None:
            discard_folder(self.path)

    def close(self) -> None:
        """Let others write it."""
        if (lock := self.__dict__.pop("_lock", None)) is not None:
            os.close(lock)

    def __del__(self) -> None:
        self.close()

    def _factor(self, name: str, dtype: Any) -> Any:
        return dtype.type(degrees_in(self.unit(name)))

    def _marks(self) -> np.ndarray:
        return np.array(self[_DONE], bool).ravel() if _DONE in self._group else np.zeros(self.n, bool)

    def _put(self, name: str, start: int, values: np.ndarray) -> None:
        array = self._group[name] if name in self._group else self._made(name, values)
        factor = self._factor(name, values.dtype)
        values = values if factor == 1 else values * factor
        if len(self.shape) == 1:
            array[start : start + len(values)] = values
            return
        nx, stop = self.shape[1], start + len(values)
        first, last = -(-start // nx), stop // nx  # whole rows
        parts = [(start, first * nx), (first * nx, last * nx), (last * nx, stop)]
        if first > last:  # within a row
            parts = [(start, stop)]
        for a, b in parts:
            if a < b:
                rows, columns = slice(a // nx, -(-b // nx)), slice(a % nx, (b - 1) % nx + 1)
                shape = (rows.stop - rows.start, columns.stop - columns.start, *values.shape[1:])
                array[rows, columns] = values[a - start : b - start].reshape(shape)

    def _made(self, name: str, values: np.ndarray) -> Any:
        """A new array, in files of whole rows of the map, or of parts of a row."""
        inner = values.shape[1:]
        each = max(values.dtype.itemsize * int(np.prod(inner, dtype=int)), 1)
        left, chunks = max(_CHUNK // each, 1), []
        for n in reversed(self.shape):
            chunks.insert(0, min(n, max(left, 1)))
            left = left // n if left >= n else 0
        group, _, leaf = name.rpartition("/")
        own = self._axes.get(name) or self._axes.get(group) or tuple(f"{leaf}_dim_{k}" for k in range(len(inner)))
        batch = ("y", "x") if len(self.shape) == 2 else ("object",)
        inexact = np.issubdtype(values.dtype, np.inexact)
        unit = self._units.get(name, "")
        return self._group.create_array(
            name,
            shape=(*self.shape, *inner),
            dtype=values.dtype,
            chunks=(*chunks, *inner),
            fill_value=np.nan if inexact else self._missing.get(name, 0),
            compressors="auto" if self.path is not None else None,
            dimension_names=(*batch, *own),
            attributes={"units": shown_unit(unit)} if unit else {},
        )


class _Lazy:
    """An array on disk, in units of here."""

    def __init__(self, array: Any, factor: float) -> None:
        self._array, self._factor = array, factor
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim

    def __getitem__(self, index: Any, /) -> np.ndarray:
        values = np.asarray(self._array[index])
        return values if self._factor == 1 else values / values.dtype.type(self._factor)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.asarray(self[...], dtype)


def is_store(path: str | os.PathLike[str]) -> bool:
    """Whether a folder is a store of a run, or what a killed one has left of it: nothing else may be replaced."""
    path = Path(path)
    if not path.is_dir():
        return False
    return bool(attributes_of(path)) or all(_UNFINISHED.fullmatch(file.name) for file in path.iterdir())


def attributes_of(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a store says of itself; empty where there is none."""
    import json

    try:
        return json.loads((Path(path) / "zarr.json").read_text())["attributes"][_OWN]
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _in_memory(own: dict[str, Any]) -> Any:
    import zarr
    from zarr.storage import MemoryStore

    return zarr.create_group(MemoryStore(), zarr_format=3, attributes={_OWN: own})


def _locked(path: Path) -> int | None:
    """A lock on a folder, which the system lets go when the process ends, whatever ends it.

    Raises:
        OutputError: another process has it.
    """
    if fcntl is None:
        return None
    file = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        raise OutputError(f"{path} is being written by another process: wait for it, or stop it") from None
    except OSError:  # a file system without locks
        pass
    return file
