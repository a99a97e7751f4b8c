"""A long batch done piece by piece: finished work is kept by the objects that it covers, and what is left is cut anew.

So the number of devices and the size of the pieces are how the work is done, never part of what it means.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping

import numpy as np

Piece = tuple[int, int]
"""The first object and the one after the last."""

Pieces = MutableMapping[Piece, dict[str, np.ndarray]]
"""Finished work: named arrays with one leading axis over the objects of a piece. A dict, or a store on disk."""


def remaining(pieces: Pieces, n: int, size: int) -> list[Piece]:
    """What is left of `n` objects, in pieces of at most `size`.

    Raises:
        ValueError: a finished piece lies outside the `n` objects, so it belongs to another run.
    """
    todo, position = [], 0
    for first, end in sorted(pieces):
        if not 0 <= first < end <= n:
            raise ValueError(
                f"finished objects {first} to {end} do not belong to a run of {n}: discard it and begin anew"
            )
        todo += [(start, min(start + size, first)) for start in range(position, first, size)]
        position = max(position, end)
    return todo + [(start, min(start + size, n)) for start in range(position, n, size)]


def n_done(pieces: Pieces, n: int) -> int:
    """How many of `n` objects are finished."""
    return n - sum(end - first for first, end in remaining(pieces, n, n))


def join(pieces: Pieces, n: int, missing: Mapping[str, int]) -> dict[str, np.ndarray]:
    """All pieces as arrays over `n` objects; of an object that was not computed, NaN, or `missing` by name, or 0."""
    out: dict[str, np.ndarray] = {}
    for first, end in sorted(pieces):
        for name, part in pieces[first, end].items():
            if name not in out:
                inexact = np.issubdtype(part.dtype, np.inexact)
                out[name] = np.full((n, *part.shape[1:]), np.nan if inexact else missing.get(name, 0), part.dtype)
            out[name][first:end] = part
    return out
