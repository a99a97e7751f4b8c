"""SIR's files: models, lines, grids and profiles, there and back, and what is wrong with them in one line."""

from pathlib import Path

import numpy as np
import pytest

from jaxinv import io
from jaxinv.spectra.lte import standard_model

LINES = """
 23=XX 1   5295.3121    1.0     4.41     -1.62    5G 3.0- 5H 3.0
200=FE 1   6301.5012     1.0    3.654    -0.718   5P 2.0- 5D 2.0  0.242   2.33543e-14
201=FE 1   6302.4936     1.0    3.686    -1.131   5P 1.0- 5D 0.0  0.239   2.38024e-14
"""


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    (tmp_path / "LINEAS").write_text(LINES)
    return tmp_path / "LINEAS"


def test_a_model_there_and_back(tmp_path: Path) -> None:
    grid = np.linspace(-4.0, 1.2, 20)
    given = standard_model("FAL-C", grid) | {
        "velocity": 0.3 * grid, "field_strength": 800 + 100 * grid, "inclination": np.full(20, 0.7), "azimuth": 1.2,
    }  # fmt: skip
    io.write_sir_model(tmp_path / "a.mod", given, macroturbulence=1.5, filling_factor=0.8, stray_light=0.1)
    found = io.read_sir_model(tmp_path / "a.mod")
    assert found[1:] == (1.5, 0.8, pytest.approx(0.1))
    assert found.stratification["log_tau"][0] == 1.2  # the deepest first, as SIR wants it
    for name, values in given.items():
        expected = np.broadcast_to(values, 20)[::-1]
        np.testing.assert_allclose(found.stratification[name], expected, rtol=1e-4, atol=0.05)
    with pytest.raises(io.OutputError, match="exists"):
        io.write_sir_model(tmp_path / "a.mod", given)
    with pytest.raises(ValueError, match="electron_pressure"):
        io.write_sir_model(tmp_path / "b.mod", {"log_tau": grid, "temperature": grid})
    with pytest.raises(ValueError, match="finite"):
        io.write_sir_model(tmp_path / "b.mod", {**given, "temperature": np.full(20, np.nan)})


def test_real_models(reference_data: Path) -> None:
    found = io.read_sir_model(reference_data / "spectra/models/hsra11.mod")
    assert found.stratification["temperature"][0] == 9560
    assert found.stratification["microturbulence"][0] == pytest.approx(0.6)
    ours = standard_model("HSRA", np.linspace(1.0, -3.0, 9))
    theirs = np.interp(-ours["log_tau"], -found.stratification["log_tau"], found.stratification["temperature"])
    np.testing.assert_allclose(ours["temperature"], theirs, rtol=0.01)


def test_lines_of_a_table(lines: Path, reference_data: Path) -> None:
    found = io.read_sir_lines(lines)
    assert set(found) == {200, 201}
    line = found[201]
    assert (line.name, line.wavelength, line.log_gf) == ("Fe I 6302.5", 6302.4936, -1.131)
    assert line.abo_sigma == pytest.approx(850, rel=1e-3)
    assert line.g_lower == pytest.approx(2.5)
    assert len(io.read_sir_lines(reference_data / "spectra/lines/LINEAS_hazel2")) > 100


def test_profiles_and_a_grid(tmp_path: Path, lines: Path) -> None:
    rows = [(200, x, 1.0 - k / 9, 0.01, 0.02, 0.03) for k, x in enumerate((-100.0, 0.0, 100.0))]
    rows += [(201, x, 0.9, 0.0, 0.0, 0.1) for x in (-100.0, 0.0, 100.0)]
    (tmp_path / "a.per").write_text("\n".join(" ".join(f"{x:g}" for x in row) for row in rows))
    cube, numbers = io.read_sir_profiles(tmp_path / "a.per", io.read_sir_lines(lines))
    assert numbers == (200, 201)
    assert cube.map_shape == (1, 1)
    np.testing.assert_allclose(cube.wavelength[:3], 6301.5012 + np.array([-0.1, 0, 0.1]))
    np.testing.assert_allclose(np.asarray(cube.values)[0, 0, 0], [1, 8 / 9, 7 / 9, 0.9, 0.9, 0.9], atol=1e-6)
    (tmp_path / "a.grid").write_text("Line : first, step, last\n200,201 : -500, 20.0, 1500\n")
    with pytest.raises(io.InputError, match="line 1"):
        io.read_sir_grid(tmp_path / "a.grid")
    (tmp_path / "a.grid").write_text("--------\n200,201 : -500, 20.0, 1500\n")
    (window,) = io.read_sir_grid(tmp_path / "a.grid")
    assert window.lines == (200, 201)
    np.testing.assert_allclose(window.offset, np.arange(-0.5, 1.501, 0.02), atol=1e-12)


@pytest.mark.parametrize(
    ("read", "text", "said"),
    [
        (io.read_sir_model, "1. 1. 0.\n1.0 6000 10 1e5 0 0 0\n", "line 2: expected 8 columns; found 7"),
        (io.read_sir_model, "1. 1.\n", "stray light; found 2"),
        (io.read_sir_model, "1 1 0\n1 6000 10 0 0 0 0 0\n", "3 or more"),
        (io.read_sir_model, "1 1 0\n" + "1 6000 10 0 0 0 0 0\n" * 3, "rise or fall"),
        (io.read_sir_model, "1 1 0\n1 6000 0 0 0 0 0 0\n0 5 1 0 0 0 0 0\n-1 5 1 0 0 0 0 0\n", "above 0"),
        (io.read_sir_model, "1 1 0\n1 x 0 0 0 0 0 0\n", "line 2"),
        (io.read_sir_model, "", "empty"),
        (io.read_sir_lines, "nothing\n", "no table of lines"),
        (io.read_sir_grid, "200 : 0, -5, 100\n", "does not lead"),
        (io.read_sir_grid, "nothing\n", "no grid"),
        (lambda path: io.read_sir_profiles(path, {}), "200 0 1 0 0\n", "6 columns; found 5"),
        (lambda path: io.read_sir_profiles(path, {}), "200 0 1 0 0 0\n", "line 200"),
        (lambda path: io.read_sir_profiles(path, {}), "200 0 1 0 0 nan\n", "not finite"),
    ],
)
def test_bad_files(read: object, text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "bad").write_text(text)
    with pytest.raises(io.InputError, match=said):
        read(tmp_path / "bad")
    with pytest.raises(io.InputError, match="there is no file"):
        read(tmp_path / "none")
