"""Spectral lines: what an inversion must know of each, a table of those that solar observers use, and lookup by name.

Every number in the table names its source (`REFERENCES`). Where published values disagree, one is chosen and the others
are in the line's note; `Line(...)` makes a line with any other numbers. Only NumPy: `jaxinv lines` answers at once.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import numbers
import re
import textwrap
from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np

from jaxinv.spectra.zeeman import effective_lande, lande_factor

_ROMAN = ("I", "II", "III", "IV", "V")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Line:
    """One spectral line; give its levels' Lande factors, or their LS terms to have them computed.

    Attributes:
        wavelength: laboratory wavelength in air [angstrom] (`vacuum_to_air` converts).
        j_lower, j_upper: total angular momentum of each level.
        log_gf: logarithm (base 10) of statistical weight times oscillator strength of the lower level.
        g_lower, g_upper: Lande factors; where left out, that of the LS term (0 where J = 0).
        name: how messages and tables call the line; by default the spectrum and the wavelength, "Fe I 6302.5".
        element: chemical symbol, "" where unknown.
        ion: spectrum number, 1 for a neutral atom ("Fe I").
        term_lower, term_upper: LS terms such as "5P", "" where unknown or where the coupling is another.
        excitation_potential: energy of the lower level above the ground state [eV].
        abo_sigma, abo_alpha: broadening by neutral hydrogen (Anstee, Barklem & O'Mara): cross-section at 10 km/s [Bohr
            radii squared] and velocity exponent.
        wavelength_source, lande_source, log_gf_source, abo_source: keys of `REFERENCES`, or any text.
        note: what a user of the numbers should know.

    Raises:
        ValueError: a number that no line has, or a Lande factor that is neither given nor known from a term.
    """

    wavelength: float
    j_lower: float
    j_upper: float
    log_gf: float
    g_lower: float = math.nan
    g_upper: float = math.nan
    name: str = ""
    element: str = ""
    ion: int = 1
    term_lower: str = ""
    term_upper: str = ""
    excitation_potential: float | None = None
    abo_sigma: float | None = None
    abo_alpha: float | None = None
    wavelength_source: str = ""
    lande_source: str = ""
    log_gf_source: str = ""
    abo_source: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        for name in ("wavelength", "log_gf", "j_lower", "j_upper", "excitation_potential", "abo_sigma", "abo_alpha"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, numbers.Real) and math.isfinite(value)):
                raise ValueError(f"`{name}` must be a finite number; found {value!r}")
        if self.wavelength <= 0:
            raise ValueError(f"`wavelength` must be positive, in angstrom (air); found {self.wavelength}")
        if not (isinstance(self.ion, int) and 1 <= self.ion <= len(_ROMAN)):
            raise ValueError(f"`ion` must be 1 (neutral) to {len(_ROMAN)}; found {self.ion!r}")
        for level in ("lower", "upper"):
            self._complete(level)
        change = self.j_upper - self.j_lower
        if change not in (-1, 0, 1) or self.j_lower == self.j_upper == 0:
            raise ValueError(
                f"no electric dipole line joins J = {_fraction(self.j_lower)} and J = {_fraction(self.j_upper)}: "
                "J may change by -1, 0 or 1, and not from 0 to 0"
            )
        if not self.name:
            object.__setattr__(self, "name", f"{self.spectrum} {self.wavelength:.1f}".strip())

    def _complete(self, level: str) -> None:
        """Check one level and fill in its Lande factor."""
        j, g, term = (getattr(self, f"{quantity}_{level}") for quantity in ("j", "g", "term"))
        if j < 0 or (2 * j) % 1 != 0:
            raise ValueError(f"`j_{level}` must be 0, 0.5, 1, 1.5, ...; found {j}")
        coupled = lande_factor(term, j) if term else 0.0  # also where g is given: the term must have this J
        if not isinstance(g, numbers.Real) or math.isinf(g):
            raise ValueError(f"`g_{level}` must be a finite number; found {g!r}")
        if math.isnan(g):
            if not term and j > 0:
                raise ValueError(
                    f"the Lande factor of the {level} level is unknown: give `g_{level}`, "
                    f"or `term_{level}` (for example '5P') to have it computed in LS coupling"
                )
            object.__setattr__(self, f"g_{level}", coupled)

    @property
    def spectrum(self) -> str:
        """Element and ion, "Fe I"; "" where the element is unknown."""
        return f"{self.element} {_ROMAN[self.ion - 1]}" if self.element else ""

    @property
    def transition(self) -> str:
        """Lower and upper level, "5P1 - 5D0"; "?" for a term that is not known."""
        lower = f"{self.term_lower or '?'}{_fraction(self.j_lower)}"
        return f"{lower} - {self.term_upper or '?'}{_fraction(self.j_upper)}"


class UnknownLineError(KeyError):
    """No line of the table, or more than one, fits a name; `str()` is one line that says which come near."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would print the message in quotes


REFERENCES = {
    "LS": "LS coupling, 3/2 + [S(S+1) - L(L+1)]/[2J(J+1)]",
    "NIST": "Kramida, Ralchenko, Reader & NIST ASD Team, NIST Atomic Spectra Database, doi:10.18434/T4W30F",
    "Ritz": "from the energy levels of the NIST Atomic Spectra Database, with the refractivity of `vacuum_to_air`",
    "pyMilne": "the line list of pyMilne (de la Cruz Rodriguez 2019, A&A 631, A153)",
    "SIR": "the line list of SIR (Ruiz Cobo & del Toro Iniesta 1992, ApJ 398, 375)",
    "Hazel": "the line list of Hazel 2 (Asensio Ramos, Trujillo Bueno & Landi Degl'Innocenti 2008, ApJ 683, 542)",
    "P-MILOS": "the line list of P-MILOS, github.com/IAA-InvCodes/P-MILOS",
    "RH": "the Ca II model atom of RH (Uitenbroek 2001, ApJ 557, 389)",
    "Nave": "Nave, Johansson, Learner, Thorne & Brault 1994, ApJS 94, 221",
    "Bard": "Bard, Kock & Kock 1991, A&A 248, 315",
    "Blackwell": "Blackwell, Ibbetson, Petford & Shallis 1979, MNRAS 186, 633",
    "Fuhr": "Fuhr, Martin & Wiese 1988, J. Phys. Chem. Ref. Data 17, Suppl. 4",
    "O'Brian": "O'Brian et al. 1991, JOSA B 8, 1185, as listed by linemake (Placco et al. 2021, RNAAS 5, 92)",
    "Wood": "Wood, Lawler, Sneden & Cowan 2014, ApJS 211, 20, as listed by linemake (Placco et al. 2021, RNAAS 5, 92)",
    "Pehlivan": "Pehlivan Rhodin et al. 2017, A&A 598, A102, as listed by linemake (Placco et al. 2021, RNAAS 5, 92)",
    "Safronova": "Safronova & Safronova 2011, Phys. Rev. A 83, 012503, as listed by linemake (Placco et al. 2021)",
    "Melendez": "Melendez & Barbuy 2009, A&A 497, 611",
    "Borrero": "Borrero, Lagg, Solanki & Collados 2005, A&A 436, 333, table 1",
    "Norton": "Norton et al. 2006, Sol. Phys. 239, 69",
}
"""Where the table's numbers come from; the keys stand in a line's `..._source`."""


# fmt: off
LINES = (
    Line(
        wavelength=5167.3216, j_lower=0, j_upper=1, log_gf=-0.854, element="Mg", term_lower="3P", term_upper="3S",
        excitation_potential=2.709, wavelength_source="NIST", lande_source="LS", log_gf_source="Pehlivan",
        note="b4, blended with Fe I 5167.49",
    ),
    Line(
        wavelength=5172.6843, j_lower=1, j_upper=1, log_gf=-0.363, element="Mg", term_lower="3P", term_upper="3S",
        excitation_potential=2.712, wavelength_source="NIST", lande_source="LS", log_gf_source="Pehlivan",
        note="NIST gives log gf = -0.393",
    ),
    Line(
        wavelength=5183.6042, j_lower=2, j_upper=1, log_gf=-0.168, element="Mg", term_lower="3P", term_upper="3S",
        excitation_potential=2.717, wavelength_source="NIST", lande_source="LS", log_gf_source="Pehlivan",
    ),
    Line(
        wavelength=5247.0504, j_lower=2, j_upper=3, log_gf=-4.946, element="Fe", term_lower="5D", term_upper="7D",
        excitation_potential=0.087, wavelength_source="SIR", lande_source="LS", log_gf_source="Blackwell",
    ),
    Line(
        wavelength=5250.2089, j_lower=0, j_upper=1, log_gf=-4.938, element="Fe", term_lower="5D", term_upper="7D",
        excitation_potential=0.121, abo_sigma=207.0, abo_alpha=0.252,
        wavelength_source="SIR", lande_source="LS", log_gf_source="Blackwell", abo_source="P-MILOS",
        note="O'Brian et al. 1991 give log gf = -4.90",
    ),
    Line(
        wavelength=5250.6454, j_lower=2, j_upper=3, log_gf=-2.18, element="Fe", term_lower="5P", term_upper="5P",
        excitation_potential=2.198, abo_sigma=343.5, abo_alpha=0.268,
        wavelength_source="Ritz", lande_source="LS", log_gf_source="O'Brian", abo_source="P-MILOS",
        note="SIR: 5250.6460, log gf = -2.01; P-MILOS: -2.047",
    ),
    Line(
        wavelength=5434.5232, j_lower=1, j_upper=0, log_gf=-2.13, element="Fe", term_lower="5F", term_upper="5D",
        excitation_potential=1.011, wavelength_source="Ritz", lande_source="LS", log_gf_source="O'Brian",
        note="insensitive to magnetic fields: for velocities",
    ),
    Line(
        wavelength=5576.0889, j_lower=1, j_upper=0, log_gf=-1.0, element="Fe", term_lower="5F", term_upper="5D",
        excitation_potential=3.430, abo_sigma=854.0, abo_alpha=0.232,
        wavelength_source="Ritz", lande_source="LS", log_gf_source="Fuhr", abo_source="SIR",
        note="insensitive to magnetic fields: for velocities",
    ),
    Line(
        wavelength=5889.95095, j_lower=0.5, j_upper=1.5, log_gf=0.108, element="Na", term_lower="2S", term_upper="2P",
        excitation_potential=0.0, wavelength_source="NIST", lande_source="LS", log_gf_source="NIST",
        note="hyperfine structure is not included",
    ),
    Line(
        wavelength=5895.92424, j_lower=0.5, j_upper=0.5, log_gf=-0.194, element="Na", term_lower="2S", term_upper="2P",
        excitation_potential=0.0, wavelength_source="NIST", lande_source="LS", log_gf_source="NIST",
        note="hyperfine structure is not included",
    ),
    Line(
        wavelength=6149.2460, j_lower=0.5, j_upper=0.5, log_gf=-2.69, element="Fe", ion=2,
        term_lower="4D", term_upper="4P", excitation_potential=3.889,
        wavelength_source="Ritz", lande_source="LS", log_gf_source="Melendez",
        note="pi and sigma components coincide (a doublet without linear polarization); NIST gives log gf = -2.8",
    ),
    Line(
        wavelength=6173.3340, j_lower=1, j_upper=0, log_gf=-2.880, g_lower=2.50, g_upper=0.0, element="Fe",
        term_lower="5P", term_upper="5D", excitation_potential=2.223, abo_sigma=281.0, abo_alpha=0.266,
        wavelength_source="pyMilne", lande_source="pyMilne", log_gf_source="Fuhr", abo_source="Hazel",
        note="the line of HMI and PHI; its Ritz wavelength is the same, SIR and P-MILOS use 6173.3356",
    ),
    Line(
        wavelength=6301.4995, j_lower=2, j_upper=2, log_gf=-0.718, g_lower=1.84, g_upper=1.50, element="Fe",
        term_lower="5P", term_upper="5D", excitation_potential=3.654, abo_sigma=834.0, abo_alpha=0.243,
        wavelength_source="pyMilne", lande_source="pyMilne", log_gf_source="Bard", abo_source="SIR",
        note="its Ritz wavelength is the same to 0.2 mA; SIR uses 6301.5012, NIST observed 6301.5008",
    ),
    Line(
        wavelength=6302.4931, j_lower=1, j_upper=0, log_gf=-1.160, g_lower=2.49, g_upper=0.0, element="Fe",
        term_lower="5P", term_upper="5D", excitation_potential=3.686, abo_sigma=850.0, abo_alpha=0.239,
        wavelength_source="pyMilne", lande_source="pyMilne", log_gf_source="SIR", abo_source="Hazel",
        note="log gf is not a laboratory value and differs between codes: SIR and pyMilne -1.160, Hazel -1.131, "
        "P-MILOS -0.97; its Ritz wavelength is the same to 0.2 mA, SIR uses 6302.4936",
    ),
    Line(
        wavelength=6767.772, j_lower=0, j_upper=1, log_gf=-2.14, g_lower=0.0, g_upper=1.426, element="Ni",
        term_lower="1S", term_upper="3P", excitation_potential=1.826,
        wavelength_source="Wood", lande_source="Norton", log_gf_source="Wood",
        note="the line of MDI and GONG; LS coupling would give g = 1.5",
    ),
    Line(
        wavelength=7698.9646, j_lower=0.5, j_upper=0.5, log_gf=-0.176, element="K", term_lower="2S", term_upper="2P",
        excitation_potential=0.0, wavelength_source="NIST", lande_source="LS", log_gf_source="NIST",
        note="hyperfine structure is not included",
    ),
    Line(
        wavelength=8498.023, j_lower=1.5, j_upper=1.5, log_gf=-1.365, element="Ca", ion=2,
        term_lower="2D", term_upper="2P", excitation_potential=1.692, abo_sigma=291.0, abo_alpha=0.275,
        wavelength_source="RH", lande_source="LS", log_gf_source="Safronova", abo_source="RH",
        note="RH's atom has log gf = -1.312",
    ),
    Line(
        wavelength=8542.091, j_lower=2.5, j_upper=1.5, log_gf=-0.410, element="Ca", ion=2,
        term_lower="2D", term_upper="2P", excitation_potential=1.700, abo_sigma=291.0, abo_alpha=0.275,
        wavelength_source="RH", lande_source="LS", log_gf_source="Safronova", abo_source="RH",
        note="RH's atom and Hazel have log gf = -0.362",
    ),
    Line(
        wavelength=8662.141, j_lower=1.5, j_upper=0.5, log_gf=-0.672, element="Ca", ion=2,
        term_lower="2D", term_upper="2P", excitation_potential=1.692, abo_sigma=291.0, abo_alpha=0.275,
        wavelength_source="RH", lande_source="LS", log_gf_source="Safronova", abo_source="RH",
        note="RH's atom has log gf = -0.623",
    ),
    Line(
        wavelength=10827.089, j_lower=2, j_upper=2, log_gf=0.363, element="Si", term_lower="3P", term_upper="3P",
        excitation_potential=4.954, abo_sigma=729.0, abo_alpha=0.231,
        wavelength_source="Hazel", lande_source="LS", log_gf_source="Hazel", abo_source="Hazel",
    ),
    Line(
        wavelength=15648.515, j_lower=1, j_upper=1, log_gf=-0.675, element="Fe", term_lower="7D", term_upper="7D",
        excitation_potential=5.426, abo_sigma=977.0, abo_alpha=0.229,
        wavelength_source="Nave", lande_source="LS", log_gf_source="Borrero", abo_source="Borrero",
    ),
    Line(
        wavelength=15652.874, j_lower=5, j_upper=4, log_gf=-0.043, g_lower=1.553, g_upper=1.565, element="Fe",
        term_lower="7D", excitation_potential=6.246, abo_sigma=1444.0, abo_alpha=0.330,
        wavelength_source="Borrero", lande_source="Borrero", log_gf_source="Borrero", abo_source="Borrero",
        note="g_upper: J1-l coupling of (6D9/2)4f[7/2]4 (LL04 p. 77); g_lower: chosen so that the effective factor is "
        "the published 1.53 (1.6, its LS value, would make it 1.67; Kurucz's 1.510 and 1.542 would make it 1.45)",
    ),
    Line(
        wavelength=15662.018, j_lower=5, j_upper=4, log_gf=0.19, element="Fe", term_lower="5F", term_upper="5F",
        excitation_potential=5.83, abo_sigma=1197.0, abo_alpha=0.240,
        wavelength_source="Hazel", lande_source="LS", log_gf_source="Hazel", abo_source="Hazel",
    ),
)
# fmt: on
"""The table, by wavelength."""

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
    ion = _ROMAN.index(roman.upper()) + 1 if roman else int(arabic) if arabic else None
    lines = [line for line in LINES if line.element.lower() == element and ion in (None, line.ion)]
    return lines, f"{element.capitalize()} {_ROMAN[ion - 1]}" if ion else element.capitalize()


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


Wavelength = TypeVar("Wavelength", float, np.ndarray)


def vacuum_to_air(wavelength: Wavelength) -> Wavelength:
    """Wavelength in standard air (15 C, 1 atm, dry) from that in vacuum [angstrom], 1850 angstrom to 1.7 micron.

    Peck & Reeder 1972, J. Opt. Soc. Am. 62, 958: the formula of the NIST Atomic Spectra Database.
    """
    return wavelength / _refractive_index(wavelength)


def air_to_vacuum(wavelength: Wavelength) -> Wavelength:
    """Wavelength in vacuum from that in standard air [angstrom]; the inverse of `vacuum_to_air` to rounding."""
    vacuum = wavelength
    for _ in range(5):  # gains more than four digits each time
        vacuum = wavelength * _refractive_index(vacuum)
    return vacuum


def _refractive_index(vacuum: Wavelength) -> Wavelength:
    squared = (1e4 / vacuum) ** 2  # wavenumber squared [1/micron^2]
    return 1 + 8060.51e-8 + 2480990e-8 / (132.274 - squared) + 17455.7e-8 / (39.32957 - squared)


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
                _fraction(line.j_lower),
                _fraction(line.j_upper),
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


def _fraction(j: float) -> str:
    """J as it is written: "2", "3/2"."""
    return f"{j:g}" if j % 1 == 0 else f"{round(2 * j)}/2"
