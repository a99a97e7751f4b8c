"""A spectral line: what an inversion must know of it."""

from __future__ import annotations

import dataclasses
import math
import numbers

from jaxinv.spectra.lande import lande_factor

ROMAN = ("I", "II", "III", "IV", "V")
"""Spectra of the neutral atom, of the first ion, ..."""


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
        if not (isinstance(self.ion, int) and 1 <= self.ion <= len(ROMAN)):
            raise ValueError(f"`ion` must be 1 (neutral) to {len(ROMAN)}; found {self.ion!r}")
        for level in ("lower", "upper"):
            self._complete(level)
        change = self.j_upper - self.j_lower
        if change not in (-1, 0, 1) or self.j_lower == self.j_upper == 0:
            raise ValueError(
                f"no electric dipole line joins J = {fraction(self.j_lower)} and J = {fraction(self.j_upper)}: "
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
        return f"{self.element} {ROMAN[self.ion - 1]}" if self.element else ""

    @property
    def transition(self) -> str:
        """Lower and upper level, "5P1 - 5D0"; "?" for a term that is not known."""
        lower = f"{self.term_lower or '?'}{fraction(self.j_lower)}"
        return f"{lower} - {self.term_upper or '?'}{fraction(self.j_upper)}"


def fraction(j: float) -> str:
    """J as it is written: "2", "3/2"."""
    return f"{j:g}" if j % 1 == 0 else f"{round(2 * j)}/2"
