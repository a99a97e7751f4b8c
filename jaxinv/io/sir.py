"""Files of SIR (Ruiz Cobo & del Toro Iniesta 1992, ApJ 398, 375): model atmospheres, profiles, grids, lines."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxinv.compute.atomic import write_atomically
from jaxinv.io.errors import InputError
from jaxinv.observation import StokesCube
from jaxinv.spectra.line import ROMAN, Line

_COLUMNS = (
    ("temperature", 1.0), ("electron_pressure", 1.0), ("microturbulence", 1e5), ("field_strength", 1.0),
    ("velocity", 1e5), ("inclination", 180 / np.pi), ("azimuth", 180 / np.pi),
)  # fmt: skip
"""Columns of a model behind log tau, and what they are multiplied by in the file: cm/s, degrees."""
_BOHR = 5.29177210903e-9


class SIRModel(NamedTuple):
    """A model atmosphere.

    Attributes:
        stratification: `log_tau` and quantities by name, `(n_depth,)` each, in the units of `spectra.LTE`.
        macroturbulence: [km/s].
        filling_factor: from 0 to 1.
        stray_light: fraction of the light, from 0 to 1.
    """

    stratification: dict[str, np.ndarray]
    macroturbulence: float
    filling_factor: float
    stray_light: float


class SIRWindow(NamedTuple):
    """A row of a grid: the lines of a window, and its samples.

    Attributes:
        lines: their numbers in the table of lines, the one that wavelengths are counted from first.
        offset: `(n,)` from that line [angstrom].
    """

    lines: tuple[int, ...]
    offset: np.ndarray


def read_sir_model(path: str | os.PathLike[str]) -> SIRModel:
    """A model atmosphere (`.mod`): macroturbulence, filling factor, stray light [%]; then a row for each depth.

    Of 8 columns: log tau, T [K], electron pressure [dyn/cm2], microturbulence [cm/s], B [G], velocity [cm/s, positive =
    redshift], inclination and azimuth [degrees]; columns behind these (height, gas pressure, density) are left out.

    Raises:
        InputError: the file is missing, a row has another number of columns, or a number is not finite or impossible.
    """
    path = Path(path)
    rows = _rows(path)
    head = _numbers(path, *rows[0], at_least=3, what="macroturbulence, filling factor and stray light")
    table = np.array([_numbers(path, k, row, at_least=8, what="8 columns")[:8] for k, row in rows[1:]])
    if len(table) < 3:
        raise InputError(f"{path} has {len(table)} depths; a model has 3 or more")
    found = {name: table[:, k] / factor for k, (name, factor) in enumerate(_COLUMNS, 1)}
    for name in ("temperature", "electron_pressure"):
        if not np.all(found[name] > 0):
            raise InputError(f"{path}: the {name.replace('_', ' ')} must be above 0; found {found[name].min():g}")
    steps = np.diff(table[:, 0])
    if not (np.all(steps > 0) or np.all(steps < 0)):
        raise InputError(f"{path}: log tau must rise or fall all the way")
    return SIRModel({"log_tau": table[:, 0], **found}, head[0], head[1], head[2] / 100)


def write_sir_model(
    path: str | os.PathLike[str],
    stratification: Mapping[str, Any],
    *,
    macroturbulence: float = 0.0,
    filling_factor: float = 1.0,
    stray_light: float = 0.0,
    overwrite: bool = False,
) -> None:
    """Write a model atmosphere (`.mod`), which `read_sir_model` and SIR read; the deepest point first.

    Args:
        path: of the file.
        stratification: `log_tau`, `temperature` and `electron_pressure`, `(n_depth,)`; others as in `spectra.LTE`,
            `(n_depth,)` or numbers, 0 where they are left out (`SolutionMap.stratification` of a pixel).
        macroturbulence: [km/s].
        filling_factor: from 0 to 1.
        stray_light: from 0 to 1.
        overwrite: replace a file.

    Raises:
        ValueError: a quantity is missing, has another length, or is not finite.
        OutputError: the file exists, or cannot be written.
    """
    missing = [name for name in ("log_tau", "temperature", "electron_pressure") if name not in stratification]
    if missing:
        raise ValueError(f"a model of SIR needs {', '.join(missing)}")
    log_tau = np.asarray(stratification["log_tau"], float)
    columns = [log_tau]
    for name, factor in _COLUMNS:
        values = np.asarray(stratification.get(name, 0.0), float)
        if values.shape not in ((), log_tau.shape):
            raise ValueError(f"{name!r} has the shape {values.shape}, but there are {len(log_tau)} depths")
        columns.append(np.broadcast_to(values, log_tau.shape) * factor)
    table = np.stack(columns, 1)[np.argsort(-log_tau)]
    if not np.all(np.isfinite(table)):
        raise ValueError("a model of SIR has finite numbers: this pixel was not fitted")
    lines = [f"{macroturbulence:12.5f} {filling_factor:12.5f} {100 * stray_light:12.5f}"]
    lines += [f"{row[0]:9.4f} {row[1]:9.1f} {row[2]:12.5E} " + " ".join(f"{x:12.4E}" for x in row[3:]) for row in table]
    text = ("\n".join(lines) + "\n").encode()
    write_atomically(path, lambda file: file.write(text), overwrite=overwrite)


def read_sir_lines(path: str | os.PathLike[str]) -> dict[int, Line]:
    """A table of lines (`LINEAS`), by their numbers: `200=FE 1 6301.5012 1.0 3.654 -.718 5P 2.0- 5D 2.0 .242 2.3e-14`.

    Wavelength [angstrom], factor on classical broadening, excitation potential [eV], log gf, levels, and, where they
    are not 0, alpha and sigma [cm2] of the broadening by hydrogen. Rows that no line has (an element `XX`, levels that
    no dipole joins) are left out; the factor is not used.

    Raises:
        InputError: the file is missing, or has no row of that form.
    """
    path = Path(path)
    found = {}
    for _, row in _rows(path):
        made = _LINE.match(row)
        if made is None:
            continue
        symbol = made["element"].capitalize()
        if symbol == "Xx":
            continue
        rest = [float(x) for x in (made["rest"] or "").split()[:2]]
        alpha, sigma = rest if len(rest) == 2 and rest[1] > 0 else (None, None)
        try:
            found[int(made["number"])] = Line(
                wavelength=float(made["wavelength"]),
                j_lower=float(made["j_lower"]),
                j_upper=float(made["j_upper"]),
                log_gf=float(made["log_gf"]),
                term_lower=made["lower"],
                term_upper=made["upper"],
                element=symbol,
                ion=int(made["ion"]),
                name=f"{symbol} {ROMAN[int(made['ion']) - 1]} {float(made['wavelength']):.1f}",
                excitation_potential=float(made["potential"]),
                abo_sigma=None if sigma is None else sigma / _BOHR**2,
                abo_alpha=alpha,
            )
        except ValueError:
            continue
    if not found:
        raise InputError(f"{path} is no table of lines of SIR: rows read `200=FE 1 6301.5012 1.0 3.654 -.718 5P ...`")
    return found


_LINE = re.compile(
    r"\s*(?P<number>\d+)\s*=\s*(?P<element>[A-Za-z]+)\s+(?P<ion>\d)\s+(?P<wavelength>[\d.]+)\s+\S+\s+"
    r"(?P<potential>[-\d.]+)\s+(?P<log_gf>[-+\d.]+)\s+(?P<lower>\d[A-Z])\s*(?P<j_lower>[\d.]+)\s*-\s*"
    r"(?P<upper>\d[A-Z])\s*(?P<j_upper>[\d.]+)\s*(?P<rest>.*)$"
)


def read_sir_grid(path: str | os.PathLike[str]) -> tuple[SIRWindow, ...]:
    """A grid of wavelengths (`.grid`): a row `lines : first, step, last` for each window, in milliangstrom.

    Raises:
        InputError: the file is missing, a row has another form, or its step does not lead from first to last.
    """
    path = Path(path)
    windows = []
    for k, row in _rows(path):
        if ":" not in row:
            continue  # a heading
        names, _, numbers = row.partition(":")
        try:
            lines = tuple(int(x) for x in names.replace(",", " ").split())
            first, step, last = (float(x) for x in numbers.replace(",", " ").split())
        except ValueError:
            raise InputError(f"{path}, line {k}: expected `lines : first, step, last`; found {row.strip()!r}") from None
        if not lines or step == 0 or (last - first) / step < 0:
            raise InputError(f"{path}, line {k}: a step of {step:g} does not lead from {first:g} to {last:g}")
        n = round((last - first) / step) + 1
        windows.append(SIRWindow(lines, (first + step * np.arange(n)) / 1000))
    if not windows:
        raise InputError(f"{path} is no grid of SIR: rows read `lines : first, step, last`")
    return tuple(windows)


def read_sir_profiles(path: str | os.PathLike[str], lines: Mapping[int, Line]) -> tuple[StokesCube, tuple[int, ...]]:
    """Stokes profiles (`.per`), `(1, 1, 4, n_wavelength)`, and the numbers of their lines.

    Rows of 6 columns: number of the line, distance from it [milliangstrom], I, Q, U, V in units of the continuum.

    Args:
        path: of the file.
        lines: from `read_sir_lines`.

    Raises:
        InputError: the file is missing, a row has another number of columns, or a line is not in the table.
    """
    path = Path(path)
    table = np.array([_numbers(path, k, row, at_least=6, at_most=6, what="6 columns") for k, row in _rows(path)])
    numbers = tuple(dict.fromkeys(int(x) for x in table[:, 0]))
    unknown = [x for x in numbers if x not in lines]
    if unknown:
        raise InputError(f"{path} names line {unknown[0]}, which the table of lines does not have")
    wavelength = np.array([lines[int(x)].wavelength for x in table[:, 0]]) + table[:, 1] / 1000
    order = np.argsort(wavelength, kind="stable")
    wavelength = wavelength[order]
    if np.any(np.diff(wavelength) <= 0):
        twice = wavelength[:-1][np.diff(wavelength) <= 0][0]
        raise InputError(f"{path} has the wavelength {twice:.3f} angstrom twice")
    values = table[order, 2:].T[None, None]
    return StokesCube(values, wavelength, unit="", header={}, source=(str(path),)), numbers


def _rows(path: Path) -> list[tuple[int, str]]:
    """Rows that are not empty, with their numbers."""
    try:
        text = path.read_text(encoding="latin-1")
    except OSError as error:
        raise InputError(f"there is no file {path}" if not path.exists() else f"{path}: {error.strerror}") from None
    rows = [(k, row) for k, row in enumerate(text.splitlines(), 1) if row.strip()]
    if not rows:
        raise InputError(f"{path} is empty")
    return rows


def _numbers(path: Path, k: int, row: str, *, at_least: int, what: str, at_most: int = 99) -> list[float]:
    words = row.replace(",", " ").split()
    try:
        found = [float(word.lower().replace("d", "e")) for word in words]
    except ValueError:
        raise InputError(f"{path}, line {k}: expected {what}; found {row.strip()[:60]!r}") from None
    if not at_least <= len(found) <= at_most:
        raise InputError(f"{path}, line {k}: expected {what}; found {len(found)} numbers")
    if not np.all(np.isfinite(found)):
        raise InputError(f"{path}, line {k}: a number is not finite")
    return found
