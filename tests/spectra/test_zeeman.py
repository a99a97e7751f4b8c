"""Zeeman patterns and Lande factors against textbook patterns, an independent 3j symbol, and laws for any J and g."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxinv.spectra.constants import LORENTZ
from jaxinv.spectra.lande import lande_factor, parse_term
from jaxinv.spectra.line import Line
from jaxinv.spectra.line_table import LINES
from jaxinv.spectra.lines import find_line
from jaxinv.spectra.zeeman import effective_lande, zeeman_pattern

half_integers = st.integers(0, 12).map(lambda twice: twice / 2)
lande_factors = st.floats(-3, 3)


@st.composite
def any_line(draw: st.DrawFn) -> Line:
    """A line between levels of any J up to 6 with any Lande factors."""
    j_lower = draw(half_integers)
    choices = [j for j in (j_lower - 1, j_lower, j_lower + 1) if j >= 0 and (j, j_lower) != (0, 0)]
    j_upper = draw(st.sampled_from(choices))
    g_lower, g_upper = draw(lande_factors), draw(lande_factors)
    return Line(wavelength=6000, j_lower=j_lower, j_upper=j_upper, g_lower=g_lower, g_upper=g_upper, log_gf=0)


def components(line: Line, group: int) -> dict[float, float]:
    """Strength by shift of one group, components that coincide added up."""
    pattern = zeeman_pattern(line)
    out: dict[float, float] = {}
    here = pattern.group == group
    for shift, strength in zip(pattern.shift[here], pattern.strength[here], strict=True):
        key = round(float(shift), 9) + 0.0
        out[key] = out.get(key, 0.0) + float(strength)
    return out


def three_j_squared(j1: float, j2: float, j3: float, m1: float, m2: float, m3: float) -> float:
    """The squared 3j symbol by Racah's sum."""
    if m1 + m2 + m3 != 0 or abs(m1) > j1 or abs(m2) > j2 or abs(m3) > j3:
        return 0.0

    def factorial(x: float) -> int:
        return math.factorial(round(x))

    triangle = (
        factorial(j1 + j2 - j3) * factorial(j1 - j2 + j3) * factorial(-j1 + j2 + j3) / factorial(j1 + j2 + j3 + 1)
    )
    root = triangle * math.prod(factorial(j + m) * factorial(j - m) for j, m in ((j1, m1), (j2, m2), (j3, m3)))
    total = 0.0
    for k in range(round(j1 + j2 - j3) + 1):
        below = (k, j1 + j2 - j3 - k, j1 - m1 - k, j2 + m2 - k, j3 - j2 + m1 + k, j3 - j1 - m2 + k)
        if min(below) >= 0:
            total += (-1) ** k / math.prod(factorial(x) for x in below)
    return root * total**2


def test_lorentz_unit_from_codata() -> None:
    charge, mass, light = 1.602176634e-19, 9.1093837015e-31, 299792458.0  # SI
    per_metre_and_tesla = charge / (4 * math.pi * mass * light)
    assert pytest.approx(LORENTZ, rel=1e-9) == per_metre_and_tesla * 1e-10 * 1e-4


@pytest.mark.parametrize(
    ("term", "j", "expected"),
    [
        ("5P", 1, 2.5),
        ("5P", 2, 11 / 6),
        ("5D", 0, 0.0),
        ("5D", 2, 1.5),
        ("2P", 0.5, 2 / 3),
        ("2P", 1.5, 4 / 3),
        ("2S", 0.5, 2.0),
        ("2D", 1.5, 0.8),
        ("2D", 2.5, 1.2),
        ("7D", 1, 3.0),
        ("3P", 2, 1.5),
        ("5F", 1, 0.0),
        ("1P", 1, 1.0),
        ("4D", 0.5, 0.0),
        ("4P", 0.5, 8 / 3),
        ("6S", 2.5, 2.0),
    ],
)
def test_lande_factor_of_textbook_terms(term: str, j: float, expected: float) -> None:
    assert lande_factor(term, j) == pytest.approx(expected, abs=1e-12)


@given(st.integers(1, 8), st.integers(0, 6), st.data())
def test_lande_factor_is_the_vector_model(multiplicity: int, orbital: int, data: st.DataObject) -> None:
    """g J(J+1) = <L.J> + 2 <S.J>, with the scalar products from the squares of L, S and J."""
    spin = (multiplicity - 1) / 2
    j = data.draw(st.sampled_from(np.arange(abs(orbital - spin), orbital + spin + 1).tolist()))
    squared = {"j": j * (j + 1), "l": orbital * (orbital + 1), "s": spin * (spin + 1)}
    l_dot_j = (squared["j"] + squared["l"] - squared["s"]) / 2
    s_dot_j = (squared["j"] + squared["s"] - squared["l"]) / 2
    g = lande_factor(f"{multiplicity}{'SPDFGHI'[orbital]}", j)
    assert g * squared["j"] == pytest.approx(l_dot_j + 2 * s_dot_j, abs=1e-9)


@pytest.mark.parametrize("written", ["5P", "5p", " 5P ", "5Po", "5P*", "5P°"])
def test_terms_are_read_with_parity_marks(written: str) -> None:
    assert parse_term(written) == (2.0, 1)


@pytest.mark.parametrize("written", ["", "P", "5", "5X", "0P", "5P2", "five P", "5J"])
def test_a_term_that_cannot_be_read_says_what_is_expected(written: str) -> None:
    with pytest.raises(ValueError, match=r"cannot read the LS term .*expected 2S\+1 and a letter"):
        parse_term(written)


@pytest.mark.parametrize(("term", "j"), [("5P", 4), ("5P", 1.5), ("2P", 1), ("5P", 0)])
def test_a_level_that_the_term_has_not_is_an_error_with_those_it_has(term: str, j: float) -> None:
    with pytest.raises(ValueError, match=r"has levels J = .*; found J = "):
        lande_factor(term, j)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Fe I 5247.1", 2.0),
        ("Fe I 5250.2", 3.0),
        ("Fe I 5250.6", 1.5),
        ("Fe I 5434.5", 0.0),
        ("Fe I 5576.1", 0.0),
        ("Fe I 6173.3", 2.5),
        ("Fe I 6301.5", 1.67),
        ("Fe I 6302.5", 2.49),
        ("Fe I 15648.5", 3.0),
        ("Fe I 15652.9", 1.53),
        ("Fe I 15662.0", 1.5),
        ("Fe II 6149.2", 1.33),
        ("Na D1", 1.33),
        ("Na D2", 1.17),
        ("K D1", 1.33),
        ("Mg b1", 1.25),
        ("Mg b2", 1.75),
        ("Mg b4", 2.0),
        ("Si I 10827", 1.5),
        ("Ca II 8498", 1.07),
        ("Ca II 8542", 1.10),
        ("Ca II 8662", 0.83),
        ("Ni I 6768", 1.43),
    ],
)
def test_effective_lande_factors_of_the_literature(name: str, expected: float) -> None:
    assert effective_lande(find_line(name)) == pytest.approx(expected, abs=5.1e-3)


def test_fe_6302_is_a_triplet_with_its_blue_component_to_the_blue() -> None:
    pattern = zeeman_pattern(find_line("Fe I 6302.5"))
    np.testing.assert_array_equal(pattern.group, [0, 1, 2])
    np.testing.assert_allclose(pattern.shift, [0, -2.49, 2.49])
    np.testing.assert_array_equal(pattern.strength, [1, 1, 1])


def test_sodium_d1_has_the_textbook_pattern() -> None:
    line = find_line("Na D1")
    assert components(line, 0) == pytest.approx({-0.666666667: 0.5, 0.666666667: 0.5})
    assert components(line, 1) == pytest.approx({-1.333333333: 1.0})
    assert components(line, 2) == pytest.approx({1.333333333: 1.0})


def test_sodium_d2_has_the_textbook_pattern() -> None:
    """Six components: pi at 1/3, sigma at 1 and 5/3, the inner sigma three times as strong as the outer."""
    line = find_line("Na D2")
    assert components(line, 0) == pytest.approx({-0.333333333: 0.5, 0.333333333: 0.5})
    assert components(line, 1) == pytest.approx({-1.0: 0.75, -1.666666667: 0.25})
    assert components(line, 2) == pytest.approx({1.0: 0.75, 1.666666667: 0.25})


def test_fe_6149_is_a_doublet_whose_pi_and_sigma_components_coincide() -> None:
    """So that the linear polarization of an unblended doublet cancels: (blue + red) / 2 = pi."""
    line = find_line("Fe II 6149.2")
    sigma = {**components(line, 1), **components(line, 2)}
    assert components(line, 0) == pytest.approx({shift: strength / 2 for shift, strength in sigma.items()})


@given(any_line())
def test_strengths_are_squared_3j_symbols(line: Line) -> None:
    expected: list[tuple[int, float, float]] = []
    for group, delta_m in enumerate((0, 1, -1)):
        for m in np.arange(-line.j_lower, line.j_lower + 1):
            strength = 3 * three_j_squared(line.j_upper, line.j_lower, 1, -(m + delta_m), m, delta_m)
            if strength > 1e-14:
                expected.append((group, line.g_lower * m - line.g_upper * (m + delta_m), strength))
    pattern = zeeman_pattern(line)
    np.testing.assert_allclose(np.column_stack(pattern), np.array(expected), atol=1e-12)


@given(any_line())
def test_the_sigma_groups_are_centred_on_the_effective_lande_factor(line: Line) -> None:
    pattern, g = zeeman_pattern(line), effective_lande(line)
    for group, centre in ((0, 0.0), (1, -g), (2, g)):
        here = pattern.group == group
        assert np.sum(pattern.strength[here]) == pytest.approx(1, abs=1e-12)
        assert np.sum((pattern.strength * pattern.shift)[here]) == pytest.approx(centre, abs=1e-11)


@given(any_line())
def test_turning_the_field_around_swaps_blue_and_red(line: Line) -> None:
    pattern = zeeman_pattern(line)
    for group, mirrored in ((0, 0), (1, 2)):
        one, other = pattern.group == group, pattern.group == mirrored
        np.testing.assert_allclose(pattern.shift[one], -pattern.shift[other][::-1], atol=1e-12)
        np.testing.assert_allclose(pattern.strength[one], pattern.strength[other][::-1], atol=1e-12)


@given(any_line())
def test_the_effective_triplet_keeps_the_centres_of_gravity(line: Line) -> None:
    full, triplet = zeeman_pattern(line), zeeman_pattern(line, effective_triplet=True)
    np.testing.assert_array_equal(triplet.group, [0, 1, 2])
    np.testing.assert_array_equal(triplet.strength, [1, 1, 1])
    centres = [np.sum((full.strength * full.shift)[full.group == group]) for group in range(3)]
    np.testing.assert_allclose(triplet.shift, centres, atol=1e-11)


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.name)
def test_a_positive_factor_puts_the_blue_group_to_the_blue(line: Line) -> None:
    pattern = zeeman_pattern(line)
    assert np.sum((pattern.strength * pattern.shift)[pattern.group == 1]) <= 0
    assert len(pattern.group) == len(pattern.shift) == len(pattern.strength)
    assert np.all(pattern.strength > 0)
