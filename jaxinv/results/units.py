"""Units of what leaves: those that the package computes in, but for angles: radians inside, degrees outside."""

from __future__ import annotations

import math

DEGREES = 180 / math.pi


def degrees_in(unit: str) -> float:
    """What a value is multiplied by on its way into a file, where angles are degrees: 1 for all others."""
    return DEGREES if unit == "rad" else 1.0


def shown_unit(unit: str) -> str:
    """The unit of a value in a file."""
    return "deg" if unit == "rad" else unit
