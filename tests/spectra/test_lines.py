"""The table of lines against level energies and other codes' numbers; lookup; air and vacuum; messages of errors."""

from __future__ import annotations

import math
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxinv.spectra.lande import lande_factor
from jaxinv.spectra.line import Line
from jaxinv.spectra.line_table import LINES, REFERENCES
from jaxinv.spectra.lines import UnknownLineError, find_line, find_lines, format_table
from jaxinv.spectra.refraction import air_to_vacuum, vacuum_to_air

# Energies of the lower and upper level [1/cm] in the NIST Atomic Spectra Database.
LEVELS = {
    "Mg I 5167.3": (21850.405, 41197.403),
    "Mg I 5172.7": (21870.464, 41197.403),
    "Mg I 5183.6": (21911.178, 41197.403),
    "Fe I 5247.1": (704.007, 19757.032),
    "Fe I 5250.2": (978.074, 20019.635),
    "Na I 5890.0": (0.0, 16973.36619),
    "Na I 5895.9": (0.0, 16956.17025),
    "Fe I 6301.5": (29469.024, 45333.875),
    "Fe I 6302.5": (29732.736, 45595.086),
    "Ni I 6767.8": (14728.840, 29500.674),
    "K I 7699.0": (0.0, 12985.185724),
    "Ca II 8498.0": (13650.19, 25414.40),
    "Ca II 8542.1": (13710.88, 25414.40),
    "Ca II 8662.1": (13650.19, 25191.51),
    "Si I 10827.1": (39955.053, 49188.617),
    "Fe I 15652.9": (50377.905, 56764.763),
}
ELECTRONVOLT = 8065.543937  # in 1/cm

# Wavelength, log gf and excitation potential [eV] as other codes' line lists have them.
ELSEWHERE = {
    "Fe I 5247.1": [("SIR", 5247.0504, -4.97, 0.087)],
    "Fe I 5250.2": [("SIR", 5250.2089, -4.96, 0.121), ("P-MILOS", 5250.2080, -4.938, 0.121)],
    "Fe I 5250.6": [("SIR", 5250.6460, -2.01, 2.20), ("P-MILOS", 5250.6450, -2.047, 2.198)],
    "Fe I 5576.1": [("P-MILOS", 5576.0888, -1.00, 3.43)],
    "Fe I 6173.3": [("P-MILOS", 6173.3356, -2.879, 2.223), ("pyMilne", 6173.3340, -2.880, 2.223)],
    "Fe I 6301.5": [("STiC", 6301.4999, -0.718, 3.654), ("Hazel", 6301.5012, -0.718, 3.654)],
    "Fe I 6302.5": [("STiC", 6302.4935, -0.973, 3.686), ("Hazel", 6302.4936, -1.131, 3.686)],
    "Ca II 8542.1": [("Hazel", 8542.091, -0.363, 1.69993)],
    "Si I 10827.1": [("Hazel", 10827.089, 0.363, 4.954)],
    "Fe I 15648.5": [("P-MILOS", 15648.492, -0.67, 5.43), ("Hazel", 15648.5088, -0.714, 5.426)],
    "Fe I 15652.9": [("P-MILOS", 15652.857, -0.04, 6.25), ("Hazel", 15652.873, 0.001, 6.246)],
    "Fe I 15662.0": [("Hazel", 15662.018, 0.19, 5.83)],
}


def test_a_line_needs_only_its_quantum_numbers() -> None:
    line = Line(wavelength=6302.4931, j_lower=1, g_lower=2.49, j_upper=0, g_upper=0.0, log_gf=-1.160)
    assert (line.wavelength, line.g_lower, line.g_upper, line.log_gf) == (6302.4931, 2.49, 0.0, -1.160)
    assert line.name == "6302.5"
    assert line.spectrum == ""
    assert find_line(line) is line


def test_lines_are_values() -> None:
    one, other = (Line(wavelength=6302.5, j_lower=1, j_upper=0, g_lower=2.5, log_gf=-1.16) for _ in range(2))
    assert one == other
    assert len({one, other}) == 1
    assert pickle.loads(pickle.dumps(one)) == one
    assert one.g_upper == 0.0  # a level with J = 0 does not split


def test_lande_factors_follow_from_terms_and_yield_to_given_ones() -> None:
    line = Line(wavelength=6301.5, j_lower=2, j_upper=2, log_gf=-0.7, term_lower="5P", term_upper="5D", g_lower=1.84)
    assert (line.g_lower, line.g_upper) == (1.84, 1.5)
    assert line.transition == "5P2 - 5D2"


GOOD = {"wavelength": 6302.5, "j_lower": 1, "j_upper": 0, "g_lower": 2.5, "log_gf": -1.0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"wavelength": -1.0}, "`wavelength` must be positive, in angstrom (air); found -1.0"),
        ({"wavelength": math.nan}, "`wavelength` must be a finite number; found nan"),
        ({"wavelength": "6302.5"}, "`wavelength` must be a finite number; found '6302.5'"),
        ({"log_gf": math.inf}, "`log_gf` must be a finite number; found inf"),
        ({"j_lower": -1}, "`j_lower` must be 0, 0.5, 1, 1.5, ...; found -1"),
        ({"j_lower": 0.25}, "`j_lower` must be 0, 0.5, 1, 1.5, ...; found 0.25"),
        ({"j_upper": 3, "g_upper": 1.0}, "no electric dipole line joins J = 1 and J = 3"),
        ({"j_upper": 1.5, "g_upper": 1.0}, "no electric dipole line joins J = 1 and J = 3/2"),
        ({"j_lower": 0}, "not from 0 to 0"),
        ({"g_lower": math.nan}, "the Lande factor of the lower level is unknown: give `g_lower`, or `term_lower`"),
        ({"g_lower": math.inf}, "`g_lower` must be a finite number; found inf"),
        ({"term_lower": "quintet"}, "cannot read the LS term 'quintet'"),
        ({"term_lower": "5P", "j_lower": 0}, "the term '5P' has levels J = 1, 2, 3; found J = 0"),
        ({"element": "Fe", "ion": 0}, "`ion` must be 1 (neutral) to 5; found 0"),
    ],
)
def test_an_impossible_line_is_an_error_of_one_line(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        Line(**{**GOOD, **change})  # pyright: ignore[reportArgumentType]
    assert "\n" not in str(error.value)


def test_the_lines_of_the_reference_profiles() -> None:
    """Numbers on which the reference Milne-Eddington profiles were computed."""
    found = [
        (line.g_lower, line.g_upper, line.j_lower, line.j_upper, line.wavelength, line.log_gf)
        for line in find_lines(["Fe I 6301.5", "Fe I 6302.5", "Fe I 6173.3"])
    ]
    assert found == [
        (1.84, 1.50, 2, 2, 6301.4995, -0.718),
        (2.49, 0.0, 1, 0, 6302.4931, -1.160),
        (2.50, 0.0, 1, 0, 6173.3340, -2.880),
    ]


@pytest.mark.parametrize("name", LEVELS)
def test_wavelengths_and_potentials_against_level_energies(name: str) -> None:
    line, (lower, upper) = find_line(name), LEVELS[name]
    tolerance = 3e-3 if line.spectrum == "Ca II" else 1e-3  # [angstrom]; the energies of Ca II have two decimals
    assert line.wavelength == pytest.approx(vacuum_to_air(1e8 / (upper - lower)), abs=tolerance)
    assert line.excitation_potential == pytest.approx(lower / ELECTRONVOLT, abs=6e-4)


@pytest.mark.parametrize("name", ELSEWHERE)
def test_numbers_against_other_codes(name: str) -> None:
    line = find_line(name)
    for _, wavelength, log_gf, excitation_potential in ELSEWHERE[name]:
        assert line.wavelength == pytest.approx(wavelength, rel=2e-6)  # 0.6 km/s
        assert line.log_gf == pytest.approx(log_gf, abs=0.2)
        assert line.excitation_potential == pytest.approx(excitation_potential, abs=0.01)


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.name)
def test_every_row_is_complete(line: Line) -> None:
    assert line.element
    assert line.excitation_potential is not None
    for source in (line.wavelength_source, line.lande_source, line.log_gf_source):
        assert source in REFERENCES
    assert (line.abo_sigma is None) == (line.abo_alpha is None) == (line.abo_source == "")
    assert line.abo_source == "" or line.abo_source in REFERENCES


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.name)
def test_lande_factors_are_near_those_of_ls_coupling(line: Line) -> None:
    for term, j, g in ((line.term_lower, line.j_lower, line.g_lower), (line.term_upper, line.j_upper, line.g_upper)):
        if term:
            assert g == pytest.approx(lande_factor(term, j), abs=0.08)


def test_the_table_is_in_order_and_its_names_are_unique_and_found() -> None:
    assert list(LINES) == sorted(LINES, key=lambda line: line.wavelength)
    assert len({line.name for line in LINES}) == len(LINES)
    assert find_lines(line.name for line in LINES) == LINES
    assert {source for line in LINES for source in (line.log_gf_source, line.lande_source)} <= set(REFERENCES)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("Fe I 6302.5", "Fe I 6302.5"),
        ("FeI6302.5", "Fe I 6302.5"),
        ("fe i 6302", "Fe I 6302.5"),
        ("  Fe  I   6302.49 ", "Fe I 6302.5"),
        ("Fe 1 6302.5", "Fe I 6302.5"),
        ("Fe_I_6302.5", "Fe I 6302.5"),
        ("Fe-I 6302.5", "Fe I 6302.5"),
        ("Fe 6302.5", "Fe I 6302.5"),
        ("Fe I 630.25", "Fe I 6302.5"),
        ("Fe I 630.25 nm", "Fe I 6302.5"),
        ("Fe I 630.2 nm", "Fe I 6302.5"),
        ("Fe I 630.25nm", "Fe I 6302.5"),
        ("Fe I 0.63025 um", "Fe I 6302.5"),
        ("Fe I 6302.5 A", "Fe I 6302.5"),
        ("Fe I 6302.5 Å", "Fe I 6302.5"),
        ("Fe I 6302.5 angstrom", "Fe I 6302.5"),
        ("Fe I 6302.4931", "Fe I 6302.5"),
        ("Fe I 6302.4936", "Fe I 6302.5"),  # SIR's wavelength
        ("6302.5", "Fe I 6302.5"),
        (6302.5, "Fe I 6302.5"),
        (6302, "Fe I 6302.5"),
        (6302.0, "Fe I 6302.5"),
        (630.25, "Fe I 6302.5"),
        (np.float32(6302.5), "Fe I 6302.5"),
        ("Fe I 6301", "Fe I 6301.5"),
        ("Fe I 6301.5012", "Fe I 6301.5"),
        ("Fe I 5250", "Fe I 5250.2"),
        ("Fe I 525.06 nm", "Fe I 5250.6"),
        ("Fe I 5247.05", "Fe I 5247.1"),
        ("Fe I 5247.0", "Fe I 5247.1"),
        ("Fe I 6173", "Fe I 6173.3"),
        ("Fe I 617.3 nm", "Fe I 6173.3"),
        ("Fe I 1564.85 nm", "Fe I 15648.5"),
        ("Fe I 1.5648 um", "Fe I 15648.5"),
        ("Fe I 1.5648 μm", "Fe I 15648.5"),
        ("Fe I 1.5648 µm", "Fe I 15648.5"),
        ("Fe I 15648", "Fe I 15648.5"),
        ("Fe 15648.5", "Fe I 15648.5"),
        ("Fe II 6149", "Fe II 6149.2"),
        ("FeII6149", "Fe II 6149.2"),
        ("Ni I 676.8 nm", "Ni I 6767.8"),
        ("NiI6768", "Ni I 6767.8"),
        ("Ni I 6767", "Ni I 6767.8"),
        ("Si I 10827", "Si I 10827.1"),
        ("Ca II 854.2 nm", "Ca II 8542.1"),
        ("Ca II 854 nm", "Ca II 8542.1"),
        ("CaII8542", "Ca II 8542.1"),
        ("KI7699", "K I 7699.0"),
        ("K I 769.9 nm", "K I 7699.0"),
        ("Na D1", "Na I 5895.9"),
        ("NaD1", "Na I 5895.9"),
        ("na i d1", "Na I 5895.9"),
        ("Na I D2", "Na I 5890.0"),
        ("Na I 589.6 nm", "Na I 5895.9"),
        ("Mg b2", "Mg I 5172.7"),
        ("Mg I b1", "Mg I 5183.6"),
        ("Mg I 5173", "Mg I 5172.7"),
        ("K D1", "K I 7699.0"),
    ],
)
def test_names_are_read_tolerantly(written: str | float, name: str) -> None:
    assert find_line(written).name == name


@given(st.sampled_from(LINES), st.integers(1, 4), st.sampled_from([("", 1.0), (" nm", 0.1), (" um", 1e-4)]))
def test_a_rounded_or_cut_off_wavelength_is_found(line: Line, digits: int, unit: tuple[str, float]) -> None:
    name, scale = unit
    decimals = digits + round(-math.log10(scale))
    value = line.wavelength * scale
    cut_off = math.floor(value * 10**decimals) / 10**decimals
    for written in (f"{value:.{decimals}f}", f"{cut_off:.{decimals}f}"):
        assert find_line(f"{line.spectrum} {written}{name}") is line


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("Fe I 6400", "the table has no line 'Fe I 6400'; the nearest are Fe I 6302.5, Fe I 6301.5, Fe I 6173.3"),
        ("He I 10830", "the table has no He I lines; the nearest are Si I 10827.1"),
        ("Fe III 6302.5", "the table has no Fe III lines"),
        ("Ca II K", "did you mean"),
        ("Fe I", "cannot read 'Fe I' as a line"),
        ("", "cannot read '' as a line: expected a name like 'Fe I 6302.5'"),
        ("hmi", "see `jaxinv lines`"),
        ("Fe I 6302.5 feet", "cannot read"),
        ("Na D3", "did you mean Na D"),
        (None, "cannot read None as a line"),
        (math.nan, "cannot read nan as a line"),
        (-6302.5, "cannot read -6302.5 as a line"),
        ("Fe I 630 nm", "fits 2 lines, Fe I 6301.5, Fe I 6302.5: give more digits"),
        ("Fe I 1565 nm", "fits 2 lines, Fe I 15648.5, Fe I 15652.9: give more digits"),
        ("1.56 um", "fits"),
    ],
)
def test_an_unknown_or_ambiguous_name_is_an_error_of_one_line(written: str | float, message: str) -> None:
    with pytest.raises(UnknownLineError) as error:
        find_line(written)
    assert isinstance(error.value, KeyError)
    assert message in str(error.value)
    assert str(error.value) == error.value.args[0]  # not the quoted text that a KeyError prints
    assert "\n" not in str(error.value)


def test_unknown_lines_name_the_remedy() -> None:
    with pytest.raises(UnknownLineError, match=r"see `jaxinv lines`, or make your own with `Line\(\.\.\.\)`$"):
        find_line("Fe I 4000")


def test_several_names_give_lines_in_their_order() -> None:
    own = Line(wavelength=6400.0, j_lower=0, j_upper=1, g_upper=1.0, log_gf=0.0)
    assert [line.name for line in find_lines(["6302.5", own, 6301.5])] == ["Fe I 6302.5", "6400.0", "Fe I 6301.5"]
    assert find_lines("Fe I 6302.5") == (find_line("Fe I 6302.5"),)
    assert find_lines(own) == (own,)


def test_no_lines_and_repeated_lines_are_errors() -> None:
    with pytest.raises(ValueError, match="at least one spectral line is needed"):
        find_lines([])
    with pytest.raises(ValueError, match=r"the line Fe I 6302\.5 is named twice"):
        find_lines(["Fe I 6302.5", "6302.49"])


@pytest.mark.parametrize(
    ("air", "vacuum", "tolerance"),
    [
        (5889.950954, 5891.583264, 1e-5),  # Na D2 and D1: NIST Atomic Spectra Database
        (5895.924237, 5897.558147, 1e-5),
        (6562.79, 6564.61, 0.01),  # H alpha, to the digits that everyone uses
    ],
)
def test_air_and_vacuum_against_published_pairs(air: float, vacuum: float, tolerance: float) -> None:
    assert air_to_vacuum(air) == pytest.approx(vacuum, abs=tolerance)
    assert vacuum_to_air(vacuum) == pytest.approx(air, abs=tolerance)


def test_the_refractivity_agrees_with_another_formula() -> None:
    """Birch & Downs 1994 as in Morton 2000 (ApJS 130, 403, eq. 8), 0.2 mA away at most."""
    vacuum = np.linspace(3000.0, 16000.0, 100)
    squared = (1e4 / vacuum) ** 2
    other = vacuum / (1 + 8.34254e-5 + 2.406147e-2 / (130 - squared) + 1.5998e-4 / (38.9 - squared))
    np.testing.assert_allclose(vacuum_to_air(vacuum), other, rtol=0, atol=3e-4)


@given(st.floats(2000, 17000))
def test_air_and_vacuum_are_inverse(wavelength: float) -> None:
    assert vacuum_to_air(air_to_vacuum(wavelength)) == pytest.approx(wavelength, abs=1e-8)
    assert air_to_vacuum(vacuum_to_air(wavelength)) == pytest.approx(wavelength, abs=1e-8)
    assert air_to_vacuum(wavelength) > wavelength


def test_the_printed_table_is_aligned_and_lists_every_source_once() -> None:
    text = format_table()
    rows = text.split("\n")
    assert max(map(len, rows)) <= 120
    head, body = rows[0], rows[1 : len(LINES) + 1]
    for line, row in zip(LINES, body, strict=True):
        assert row.startswith(line.name)
        assert f"{line.wavelength:.4f}" in row
        assert line.transition in row
        assert f"{line.log_gf:.3f}" in row
        assert row[head.index("transition") :].startswith(line.transition)
        assert REFERENCES[line.log_gf_source] in text
    used = {source for line in LINES for source in (line.wavelength_source, line.lande_source, line.log_gf_source)}
    assert all(text.count(REFERENCES[source]) == 1 for source in used)


def test_a_table_of_own_lines_needs_no_sources() -> None:
    own = Line(wavelength=6400.0, j_lower=0.5, j_upper=1.5, g_lower=2.0, g_upper=4 / 3, log_gf=-1.5)
    assert format_table([own]).split("\n")[1].split() == [
        *("6400.0", "6400.0000", "?1/2", "-", "?3/2", "1/2", "3/2", "2.000", "1.333", "1.167", "-1.500", "-", "-", "-")
    ]


def test_lines_are_listed_without_jax() -> None:
    code = (
        "import sys; from jaxinv.spectra.lines import format_table; format_table(); "
        "sys.exit(bool({'jax', 'equinox'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
