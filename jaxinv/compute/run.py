"""A run: a function over many objects, piece by piece, into a store.

How large the pieces are and who does them is how the work is done, never part of what it means.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from jaxinv.compute.batch import filled
from jaxinv.compute.progress import Advance, Progress
from jaxinv.compute.store import Store

Read = Callable[[int, int], Any]
"""The inputs of objects `start` to `stop`: arrays with one leading axis, and `Observation`s."""


class Work(Protocol):
    """What is done with a piece: a pure function of its inputs, filled up to the size of all pieces (see `filled`).

    Returns arrays by name, with the leading axis of the inputs; tells `advance` of objects done on the way.
    """

    def __call__(self, inputs: Any, advance: Advance, /) -> dict[str, np.ndarray]: ...


def run(
    work: Work, read: Read, store: Store, *, size: int, label: str, unit: str = "px", progress: bool = False
) -> None:
    """Do what is left of a store.

    Args:
        work: what is done with a piece.
        read: its inputs.
        store: what is done, and where results go.
        size: objects of a piece.
        label: what is being done, for the bar.
        unit: what an object is called there.
        progress: show the bar.
    """
    with Progress(store.n, progress, store.n_done, label=label, unit=unit) as bar:
        for start, stop in store.todo(min(size, store.n)):
            told = _UpTo(bar, stop - start)
            made = work(filled(read(start, stop), min(size, store.n)), told)
            store.write(start, stop, {name: values[: stop - start] for name, values in made.items()})
            told.rest()


class _UpTo:
    """Moves a bar on by the objects of a piece, whatever fills it up."""

    def __init__(self, bar: Progress, n: int) -> None:
        self._bar, self._left = bar, n

    def __call__(self, objects: int, draws: int = 0, divergences: int = 0) -> None:
        objects = min(objects, self._left)
        self._left -= objects
        self._bar(objects, draws, divergences)

    def rest(self) -> None:
        self._bar(self._left)
        self._left = 0
