"""Spectral lines by name: lookup in the table, wavelengths in air and vacuum, and the table as text.

Only NumPy: `jaxinv lines` answers at once.
"""

from __future__ import annotations

import difflib
import re
import textwrap
from collections.abc import Iterable, Sequence

import numpy as np

from jaxinv.spectra.line import ROMAN, Line, fraction
from jaxinv.spectra.line_table import LINES, REFERENCES
from jaxinv.spectra.refraction import air_to_vacuum as air_to_vacuum
from jaxinv.spectra.refraction import vacuum_to_air as vacuum_to_air
from jaxinv.spectra.zeeman import effective_lande


class UnknownLineError(KeyError):
    """No line of the table, or more than one, fits a name; `str()` is one line that says which come near."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would print the message in quotes


_ALIASES = {
    "Mg b4": "Mg I 5167.3",
    "Mg b2": "Mg I 5172.7",
    "Mg b1": "Mg I 5183.6",
    "Na D2": "Na I 5890.0",
    "Na D1": "Na I 5895.9",
    "K D1": "K I 7699.0",
}

_SHAPE = re.compile(  # "fe i 6302.5", "feii6149.2 a", "fe 1 630.25 nm", "6302.5"
    r"(?:(?P<element>[a-z]{1,2}) ?(?:(?P<roman>iv|v|i{1,3})|(?P<arabic>[1-5])(?= ))? ?)?"
    r"(?P<number>\d+(?:\.\d*)?) ?(?P<unit>[a-z\u00e5\u00b5\u03bc]*)"
)
_UNITS: dict[str, float] = dict.fromkeys(("a", "å", "aa", "angstrom", "angstroms"), 1.0)
_UNITS |= {"nm": 10.0} | dict.fromkeys(("um", "µm", "μm", "micron", "microns"), 10000.0)
_SCATTER = 5e-6
"""Relative differences between published wavelengths of one line that lookup forgives (1.5 km/s)."""


def find_line(name: str | float | Line) -> Line:
    """The line of the table that a name means; a `Line` is returned as it is.

    A name is a wavelength in air with, optionally, element and ion before it and a unit (angstrom, nm or micron; else
    guessed from the size of the number) after it: "Fe I 6302.5", "FeI6302", "fe 1 630.25 nm", "1.5648 um", 6302.5. Or
    it is one of "Na D1", "Na D2", "Mg b1", "Mg b2", "Mg b4", "K D1". A wavelength may be rounded or cut off, and is
    compared to as many digits as it has.

    Raises:
        UnknownLineError: no line fits, or more than one.
    """
    if isinstance(name, Line):
        return name
    text = f"{name:.10g}" if isinstance(name, float) else str(name)  # 6302.0 is 6302
    text = re.sub(r"(?<=[A-Za-z])[\s_-]+|\s+", " ", text).strip().lower()
    alias = _alias(text)
    if alias is not None:
        return alias
    match = _SHAPE.fullmatch(text)
    if match is None or match["unit"] not in {*_UNITS, ""}:
        raise UnknownLineError(_unreadable(name, text))
    candidates, spectrum = _of_spectrum(match["element"], match["roman"], match["arabic"])
    wavelength, digit = _angstrom(match["number"], match["unit"])
    found = _within(candidates, wavelength, digit)
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(line.name for line in found)
        raise UnknownLineError(f"{name!r} fits {len(found)} lines, {names}: give more digits")
    nearest = sorted(candidates or LINES, key=lambda line: abs(line.wavelength - wavelength))[:3]
    missing = f"{spectrum} lines" if spectrum and not candidates else f"line {name!r}"
    raise UnknownLineError(
        f"the table has no {missing}; the nearest {'is' if len(nearest) == 1 else 'are'} "
        f"{', '.join(line.name for line in nearest)}: see `jaxinv lines`, or make your own with `Line(...)`"
    )


def find_lines(names: str | float | Line | Iterable[str | float | Line]) -> tuple[Line, ...]:
    """`find_line` for each name, in order; a single name counts as a list of one.

    Raises:
        UnknownLineError: no line fits a name, or more than one.
        ValueError: no names, or two names for the same line.
    """
    lines = tuple(find_line(name) for name in ([names] if isinstance(names, str | int | float | Line) else names))
    if not lines:
        raise ValueError("at least one spectral line is needed: for example lines=['Fe I 6301.5', 'Fe I 6302.5']")
    for position, line in enumerate(lines):
        if line in lines[:position]:
            raise ValueError(f"the line {line.name} is named twice: name each line once")
    return lines


def checked_wavelength(wavelength: Sequence[float] | np.ndarray, lines: Sequence[Line]) -> np.ndarray:
    """`(n_wavelength,)` [angstrom] in float64.

    Raises:
        ValueError: no row of finite numbers, or a line's centre is not covered.
    """
    wavelength = np.asarray(wavelength, np.float64)
    if wavelength.ndim != 1 or not np.all(np.isfinite(wavelength)):
        raise ValueError(
            f"`wavelength` must be a finite array (n_wavelength,) in angstrom; found the shape {wavelength.shape}"
        )
    for line in lines:
        if not wavelength.min() <= line.wavelength <= wavelength.max():
            raise ValueError(
                f"the wavelengths run from {wavelength.min():.3f} to {wavelength.max():.3f} angstrom and do not cover "
                f"{line.name or 'the line'} at {line.wavelength:.4f}: choose other lines, or convert the wavelengths"
            )
    return wavelength


def _alias(text: str) -> Line | None:
    """The line that the Sun's observers call by a letter, with or without its ion ("na d1", "na i d1")."""
    for alias, target in _ALIASES.items():
        element, letter = alias.split()
        if text.replace(" ", "") in (f"{element}{letter}".lower(), f"{element}i{letter}".lower()):
            return next(line for line in LINES if line.name == target)
    return None


def _of_spectrum(element: str | None, roman: str | None, arabic: str | None) -> tuple[Sequence[Line], str]:
    """Lines of the element and ion that were named (all lines if none was), and how to print that spectrum."""
    if element is None:
        return LINES, ""
    known = {line.element.lower() for line in LINES}
    if element not in known and element[0] in known and element[1:] == "i":  # "ki7699" is K I, not an element Ki
        element, roman = element[0], "i" + (roman or "")
    ion = ROMAN.index(roman.upper()) + 1 if roman else int(arabic) if arabic else None
    lines = [line for line in LINES if line.element.lower() == element and ion in (None, line.ion)]
    return lines, f"{element.capitalize()} {ROMAN[ion - 1]}" if ion else element.capitalize()


def _angstrom(number: str, unit: str) -> tuple[float, float]:
    """A written wavelength, and the size of its last digit, in angstrom; without a unit its size tells which it is."""
    value = float(number)
    scale = _UNITS[unit] if unit else 1e4 if value < 30 else 10.0 if value < 3000 else 1.0
    decimals = len(number.partition(".")[2])
    return value * scale, scale * 10.0**-decimals


def _within(lines: Sequence[Line], wavelength: float, digit: float) -> list[Line]:
    """Lines whose wavelength could be written so, rounded or cut off after the last digit.

    Both readings agree on the half digit above the number; where it holds a line and the digit is an angstrom or finer,
    that line is meant ("6302" is 6302.49, though 6301.50 rounds to it).
    """
    scatter = _SCATTER * wavelength
    low, high = min(-digit / 2, -scatter), max(digit, scatter)
    found = [line for line in lines if low <= line.wavelength - wavelength < high]
    agreed = [line for line in found if 0 <= line.wavelength - wavelength <= digit / 2]
    return agreed if agreed and digit <= 1 else found


def _unreadable(name: object, text: str) -> str:
    names = {known.lower(): known for known in (*(line.name for line in LINES), *_ALIASES)}
    close = [names[key] for key in difflib.get_close_matches(text, names, n=3)]
    hint = f"did you mean {' or '.join(close)}?" if close else "see `jaxinv lines`"
    return f"cannot read {name!r} as a line: expected a name like 'Fe I 6302.5', 'Fe I 630.25 nm' or 'Na D1'; {hint}"


def format_table(lines: Iterable[Line] = LINES, width: int = 120) -> str:
    """The lines as aligned text: data, numbered sources (of wavelength, Lande factors and log gf), and notes."""
    lines = tuple(lines)
    aliases = {target: alias for alias, target in _ALIASES.items()}
    sources: dict[str, int] = {}
    titles = (
        "line",
        "also",
        "air [A]",
        "transition",
        "J_l",
        "J_u",
        "g_l",
        "g_u",
        "g_eff",
        "log gf",
        "E_l [eV]",
        "from",
    )
    rows: list[tuple[str, ...]] = [titles]
    for line in lines:
        named = (line.wavelength_source, line.lande_source, line.log_gf_source)
        numbers = [str(sources.setdefault(source, len(sources) + 1)) if source else "-" for source in named]
        rows.append(
            (
                line.name,
                aliases.get(line.name, ""),
                f"{line.wavelength:.4f}",
                line.transition,
                fraction(line.j_lower),
                fraction(line.j_upper),
                f"{line.g_lower:.3f}",
                f"{line.g_upper:.3f}",
                f"{effective_lande(line):.3f}",
                f"{line.log_gf:.3f}",
                "" if line.excitation_potential is None else f"{line.excitation_potential:.3f}",
                " ".join(numbers),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(titles))]
    left = {0, 1, 3, len(titles) - 1}
    text = [
        "  ".join(
            cell.ljust(size) if column in left else cell.rjust(size)
            for column, (cell, size) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    if sources:
        text += ["", "from: sources of the wavelength, the Lande factors and log gf"]
        text += [_hanging(f"{n:>4} ", REFERENCES.get(source, source), width) for source, n in sources.items()]
    notes = [_hanging(f"  {line.name}: ", line.note, width) for line in lines if line.note]
    return "\n".join([*text, *(["", "notes", *notes] if notes else [])])


def _hanging(label: str, text: str, width: int) -> str:
    return textwrap.fill(text, width, initial_indent=label, subsequent_indent=" " * 5)
