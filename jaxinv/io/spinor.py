"""SPINOR's profiles: FITS whose cards say the order of Stokes parameters and the wavelengths.

`STOKES` is a word such as `IVQU`; `WLREF` the wavelength that the others count from, `WLMIN` and `WLMAX` the first and
last of `NWL` equidistant samples, all in angstrom (Frutiger, Solanki, Fligge & Bruls 2000, A&A 358, 1109, describe the
code; the cards are those of its output).
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from jaxinv.io.errors import InputError
from jaxinv.io.fits import number_of

AXES = "y x stokes wavelength"
_MOST = 1e6
_CARDS = ("WLREF", "WLMIN", "WLMAX", "NWL")


def wavelengths(path: str | os.PathLike[str], header: Any) -> np.ndarray | None:
    """`(NWL,)` [angstrom]; `None` where the header is not SPINOR's.

    Raises:
        InputError: a card is no number.
    """
    if not all(card in header for card in _CARDS):
        return None
    reference, first, last, n = (number_of(path, header, card, 0) for card in _CARDS)
    if not 2 <= n < _MOST or n != int(n):
        raise InputError(f"{path}: the card NWL is {n:g}, not the number of wavelengths: mend the header")
    return reference + np.linspace(first, last, int(n))


def is_profile(header: Any, shape: tuple[int, ...]) -> bool:
    """Whether the cards and the sizes are those of a map of profiles, whose axes are `AXES`."""
    return stokes_order(header) is not None and len(shape) == 4 and shape[2] == 4 and header.get("NWL") == shape[3]


def stokes_order(header: Any) -> list[int] | None:
    """Where I, Q, U and V stand along the Stokes axis; `None` where the header does not say."""
    word = str(header.get("STOKES", "")).strip().upper()
    return [word.index(letter) for letter in "IQUV"] if sorted(word) == sorted("IQUV") else None
