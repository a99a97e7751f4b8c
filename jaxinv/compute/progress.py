"""A bar over the objects of a run: how many are done, the rate, the time left, and what a method counts on its way."""

from __future__ import annotations

import time
from collections.abc import Callable

from tqdm import tqdm

Advance = Callable[[int, int, int], None]
"""Told, from time to time: objects that are done, draws made, divergences among them, since the last time."""


class Progress:
    """A bar, to be used in a `with` statement.

    Args:
        total: objects.
        shown: whether it is.
        done: objects that were done before.
        label: what is being done.
        unit: what an object is called.
    """

    def __init__(self, total: int, shown: bool, done: int = 0, *, label: str, unit: str = "px") -> None:
        self._bar = tqdm(
            total=total, initial=done, unit=unit, disable=not shown, desc=label, dynamic_ncols=True, smoothing=0.1
        )
        self._begin, self._draws, self._divergences = time.perf_counter(), 0, 0

    def __call__(self, objects: int, draws: int = 0, divergences: int = 0) -> None:
        """Move on."""
        self._draws += draws
        self._divergences += divergences
        if self._draws:
            rate = self._draws / max(time.perf_counter() - self._begin, 1e-9)
            self._bar.set_postfix_str(f"{rate:.0f} draws/s, {self._divergences} divergences", refresh=False)
        self._bar.update(objects)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()
