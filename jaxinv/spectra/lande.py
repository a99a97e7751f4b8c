"""Lande factors in LS coupling, from terms such as "5P"."""

from __future__ import annotations

import re

import numpy as np

_ORBITAL = "SPDFGHIKLMNO"  # L = 0, 1, 2, ...; J is not used


def lande_factor(term: str, j: float) -> float:
    """Lande factor of a level in LS coupling, 3/2 + [S(S+1) - L(L+1)] / [2J(J+1)] (LL04 ch. 3); 0 where J = 0.

    Args:
        term: multiplicity and orbital letter, such as "5P"; a parity mark ("5P*", "5Po") is ignored.
        j: total angular momentum.

    Raises:
        ValueError: `term` is not an LS term, or it has no level with this J.
    """
    spin, orbital = parse_term(term)
    lowest, highest = abs(orbital - spin), orbital + spin
    if not lowest <= j <= highest or (j - lowest) % 1 != 0:
        allowed = ", ".join(f"{value:g}" for value in np.arange(lowest, highest + 1))
        raise ValueError(f"the term {term!r} has levels J = {allowed}; found J = {j:g}: correct the term or J")
    if j == 0:
        return 0.0
    return 1.5 + (spin * (spin + 1) - orbital * (orbital + 1)) / (2 * j * (j + 1))


def parse_term(term: str) -> tuple[float, int]:
    """Spin S and orbital angular momentum L of an LS term: `"5P"` is `(2.0, 1)`.

    Raises:
        ValueError: `term` is not a multiplicity followed by one of the letters S, P, D, F, G, H, I, K, ...
    """
    match = re.fullmatch(rf"([1-9]\d?)([{_ORBITAL}{_ORBITAL.lower()}])[o*°]?", term.strip())
    if match is None:
        raise ValueError(
            f"cannot read the LS term {term!r}: expected 2S+1 and a letter ({', '.join(_ORBITAL)}), for example '5P'"
        )
    return (int(match[1]) - 1) / 2, _ORBITAL.index(match[2].upper())
