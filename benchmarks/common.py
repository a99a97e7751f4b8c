"""What the benchmarks share: the machine, the simulated population of spectra, and timing."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import jax
import numpy as np

from jaxinv.noise import Gaussian
from jaxinv.problem import Problem
from jaxinv.spectra import MilneEddington, milne_eddington_prior

SIGMA = 1e-3
CASES = {
    "6301+6302, 112 wavelengths": (["Fe I 6301.5", "Fe I 6302.5"], np.linspace(6300.8921, 6303.2710, 112)),
    "6173, 30 wavelengths": (["Fe I 6173.3"], 6173.334 + np.linspace(-0.45, 0.45, 30)),
}


def header() -> str:
    """One line on hardware and versions."""
    device = jax.devices()[0]
    kind = device.device_kind if device.platform != "cpu" else _processor()
    names = ("jax", "equinox", "numpy", "numpyro", "optimistix")
    versions = ", ".join(f"{name} {version(name)}" for name in names if find_spec(name))
    return f"{kind}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}; {versions}"


def peer(name: str) -> Any:
    """Another package that a benchmark compares with; ends with one line where it is not installed."""
    if find_spec(name) is None:
        raise SystemExit(f"this benchmark compares with {name}, which is not installed: pip install -e '.[dev]'")
    return import_module(name)


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def population(n: int, seed: int = 0) -> dict[str, np.ndarray]:
    """The parameters on which the peers' figures were measured."""
    rng = np.random.default_rng(seed)
    draw = rng.uniform
    maps = {
        "field_strength": draw(50, 3000, n),
        "inclination": np.arccos(draw(-1, 1, n)),
        "azimuth": draw(0, np.pi, n),
        "velocity": draw(-3, 3, n),
        "doppler_width": draw(0.015, 0.05, n),
        "line_strength": draw(2, 60, n),
        "damping": draw(0.05, 1, n),
        "source_constant": draw(0.2, 0.5, n),
        "source_slope": draw(0.4, 0.9, n),
    }
    return {name: value.astype(np.float32) for name, value in maps.items()}


def simulated(case: str, n: int) -> tuple[Problem, dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Problem, truth, noisy data and the misfit per sample of the truth."""
    lines, wavelength = CASES[case]
    model = MilneEddington(lines, wavelength)
    truth = population(n)
    clean = np.asarray(jax.jit(jax.vmap(model.__call__))(truth))
    noise = np.random.default_rng(1).normal(0, SIGMA, clean.shape).astype(np.float32)
    problem = Problem(model, Gaussian(SIGMA), milne_eddington_prior())
    return problem, truth, clean + noise, np.mean((noise / SIGMA) ** 2, axis=(1, 2))


def timed(function: Callable[[], Any], repeats: int = 7) -> tuple[float, float]:
    """Seconds of the first call and the median of the following ones."""
    first, *times = spread(function, repeats)
    return first, float(np.median(times))


def spread(function: Callable[[], Any], repeats: int = 7) -> list[float]:
    """Seconds of the first call and of each following one."""
    times = []
    for _ in range(repeats + 1):
        begin = time.perf_counter()
        jax.block_until_ready(function())
        times.append(time.perf_counter() - begin)
    return times
