"""A run: a function over many objects, piece by piece, into a store.

How large the pieces are and who does them is how the work is done, never part of what it means.
"""

from __future__ import annotations

import abc
import os
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np

from jaxinv.compute.batch import filled
from jaxinv.compute.progress import Advance, Progress
from jaxinv.compute.store import Piece, Store
from jaxinv.compute.workers import Workers

Result = TypeVar("Result")


class Work(Protocol):
    """What is done with a piece: a pure function of its inputs, which are filled up to the size of all pieces.

    Returns arrays by name, with the leading axis of the inputs; tells `advance` of objects done on the way.
    """

    def __call__(self, inputs: Any, advance: Advance, /) -> dict[str, np.ndarray]: ...


class Run(abc.ABC, Generic[Result]):
    """What there is to do, made ready: objects, what is done with a piece of them, and what becomes of the whole.

    Attributes:
        label: what is being done, for the bar.
        unit: what an object is called there.
        missing: what stands for objects that were not computed in arrays of whole numbers.
        axes: names of arrays' axes behind those of the batch.
        units: of arrays.
    """

    label: ClassVar[str]
    unit: ClassVar[str] = "px"
    missing: ClassVar[Mapping[str, int]] = {}
    axes: Mapping[str, tuple[str, ...]] = {}
    units: Mapping[str, str] = {}

    @property
    @abc.abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Of the batch of objects, `(n,)` or `(ny, nx)`."""

    @property
    @abc.abstractmethod
    def size(self) -> int:
        """Objects of a piece, at most."""

    @abc.abstractmethod
    def read(self, start: int, stop: int) -> Any:
        """The inputs of objects `start` to `stop`: arrays with one leading axis, and `Observation`s."""

    @abc.abstractmethod
    def work(self) -> Work:
        """What is done with a piece; holds no more than it needs, so that it can be sent elsewhere."""

    @abc.abstractmethod
    def result(self, store: Store) -> Result:
        """What the arrays come to, from a store in which all is done."""

    def store(self, path: str | os.PathLike[str] | None = None, depends: Mapping[str, str] | None = None) -> Store:
        """Where it goes: a folder, begun or gone on with, or memory. See `Store`."""
        return Store(path, self.shape, depends, units=self.units, axes=self.axes, missing=self.missing)

    def info(self) -> dict[str, Any]:
        """Of the product that the arrays are, `Product.info`, so that a store can be looked into at any time."""
        return {}

    def into(self, store: Store | None = None, *, workers: Workers | None = None, progress: bool = False) -> Result:
        """Do what is left to do.

        Args:
            store: what is done, and where the rest goes; memory where `None`.
            workers: who does it; this process where `None`.
            progress: show a bar.

        Raises:
            WorkerError: workers cannot be had, or were lost again and again; what is done is kept.
        """
        store = self.store() if store is None else store
        if info := self.info():  # from the start, so that others may look into it
            store.describe(product=info)
        size = min(self.size, -(-store.n // (workers.n if workers is not None and workers.n else 1)))
        todo = store.todo(size)
        if todo:
            with Progress(store.n, progress, store.n_done, label=self.label, unit=self.unit) as bar:
                for (start, stop), made in self._done(todo, size, workers, bar):
                    store.write(start, stop, {name: values[: stop - start] for name, values in made.items()})
        return self.result(store)

    def _done(
        self, todo: list[Piece], size: int, workers: Workers | None, bar: Progress
    ) -> Iterator[tuple[Piece, dict[str, np.ndarray]]]:
        """What becomes of each piece, as they are done."""

        def inputs(piece: Piece) -> Any:
            return filled(self.read(*piece), size)

        if workers is None:
            work = self.work()
            for piece in todo:
                told = _UpTo(bar, piece[1] - piece[0])
                yield piece, work(inputs(piece), told)
                told.rest()
            return
        with workers.crew() as crew:
            for piece, made in crew.each(self.work(), [(piece, partial(inputs, piece)) for piece in todo]):
                yield piece, made
                bar(piece[1] - piece[0])


class _UpTo:
    """Moves a bar on by the objects of a piece, whatever fills it up."""

    def __init__(self, bar: Progress, n: int) -> None:
        self._bar, self._left = bar, n

    def __call__(self, objects: int, draws: int = 0, divergences: int = 0) -> None:
        objects = min(objects, self._left)
        self._left -= objects
        self._bar(objects, draws, divergences)

    def rest(self) -> None:
        self(self._left)
