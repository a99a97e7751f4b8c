"""Inversions with depth: errors against known stratifications, misfits, milliseconds.

`python benchmarks/stratified.py`

The truth has no nodes: standard models and mixtures of them, with smooth random changes of all quantities with depth.
"""

from __future__ import annotations

import argparse
import os
import time

os.environ.setdefault("XLA_FLAGS", f"--xla_force_host_platform_device_count={os.cpu_count()}")

import jax
import jax.numpy as jnp
import numpy as np
from common import header

from jaxinv import io, spectra
from jaxinv.pipelines import InvertConfig, invert, prepare
from jaxinv.spectra.lte import standard_model

WAVELENGTH = 6300.8733 + 0.021549 * np.arange(112)
LOG_TAU = np.linspace(1.2, -4.0, 53)
LINES = ("Fe I 6301.5", "Fe I 6302.5")


def smooth(rng: np.random.Generator, n: int, size: float, length: float) -> np.ndarray:
    """Random functions of depth, `(n, n_depth)`: a Gaussian process of this size and correlation length [dex]."""
    apart = LOG_TAU[:, None] - LOG_TAU
    root = np.linalg.cholesky(np.exp(-((apart / length) ** 2) / 2) + 1e-6 * np.eye(len(LOG_TAU)))
    return size * rng.normal(size=(n, len(LOG_TAU))) @ root.T


def truth(n: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Stratifications `(n, n_depth)`: quiet and bright ones, a quarter between a photosphere and an umbra."""
    rng = np.random.default_rng(seed)
    quiet, bright, umbra = (standard_model(name, LOG_TAU)["temperature"] for name in ("FAL-C", "FAL-F", "MALTBY-M"))
    part, dark = rng.uniform(0, 1, (n, 1)), np.arange(n)[:, None] % 4 == 3
    temperature = np.where(dark, (1 - 0.8 * part) * quiet + 0.8 * part * umbra, (1 - part) * quiet + part * bright)
    field = np.where(dark, 1000 + 1500 * part, rng.uniform(0, 1, (n, 1)) ** 2 * 2000)
    return {
        "temperature": temperature + smooth(rng, n, 150, 1.5),
        "microturbulence": np.repeat(rng.uniform(0.3, 1.5, (n, 1)), len(LOG_TAU), 1),
        "velocity": rng.uniform(-1.5, 1.5, (n, 1)) + smooth(rng, n, 0.5, 2.0),
        "field_strength": np.abs(field * (1 + 0.08 * (LOG_TAU + 1)) + smooth(rng, n, 30, 2.0)),
        "inclination": np.repeat(np.arccos(rng.uniform(-1, 1, (n, 1))), len(LOG_TAU), 1),
        "azimuth": np.repeat(rng.uniform(0, np.pi, (n, 1)), len(LOG_TAU), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=128, help="pixels")
    parser.add_argument("--sigma", type=float, default=1e-3, help="noise in units of the continuum")
    parser.add_argument("--seed", type=int, default=0, help="of the truth and its noise")
    parser.add_argument(
        "--nodes",
        nargs="+",
        default=["temperature=2:5", "velocity=1:2", "field_strength=1:2"],
        help="as `jaxinv invert`",
    )
    parser.add_argument("--described", action="store_true", help="the nearest truth that the nodes can describe")
    arguments = parser.parse_args()
    print(header())
    expected = truth(arguments.n, arguments.seed)
    model = spectra.LTE(LINES, WAVELENGTH, LOG_TAU, hydrostatic=True)
    nodes = {name: tuple(map(int, x.split(":"))) for name, _, x in (word.partition("=") for word in arguments.nodes)}
    if arguments.described:
        counts = {name: nodes.get(name, (1,))[-1] for name in expected}
        near = spectra.Nodes(model, counts)
        parameters = {name: jnp.asarray(x, jnp.float32) for name, x in near.at_nodes(expected).items()}
        stratified = jax.jit(jax.vmap(near.stratification))(parameters)
        expected = {name: np.asarray(stratified[name]) for name in expected}
    read = {name: jnp.asarray(x, jnp.float32) for name, x in expected.items()}
    light = np.asarray(jax.jit(lambda p: jax.lax.map(model, p))(read))
    light = light + arguments.sigma * np.random.default_rng(arguments.seed + 1).normal(size=light.shape)
    config = InvertConfig(
        model="lte", lines=LINES, nodes=nodes, sigma=(arguments.sigma,), wavelength_shift=0.0, continuum=1.0
    )
    ready = prepare(io.stokes_cube(light, WAVELENGTH), config)
    seconds = []
    for _ in range(2):
        begin = time.perf_counter()
        maps = invert(ready, progress=False)
        seconds.append(time.perf_counter() - begin)
    n = sum(given[-1] for given in nodes.values()) + 6 - len(nodes)
    print(f"{arguments.n} pixels, 6301+6302, 112 wavelengths, 53 depths, noise {arguments.sigma:g}, {n} numbers")
    print(
        f"{'':<34}{1e3 * seconds[1] / arguments.n:.1f} ms a pixel, {seconds[0] - seconds[1]:.0f} s to compile (goal 60)"
    )
    chi2 = maps.chi2[:, 0]
    print(f"misfit: median {np.median(chi2):.3f}; below 1.3 in {100 * np.mean(chi2 < 1.3):.1f} % (goal 95 %)")
    count = {name: number for name, number in maps.count().items() if number}
    print(f"looks at the model: {maps.solution.iterations.mean():.1f}; status {count}")
    strong = expected["field_strength"][:, 0] > 500
    print(f"{'log tau':<34}" + "".join(f"{x:>9.1f}" for x in (0.0, -0.5, -1.0, -1.5, -2.0, -2.5)))
    for name, unit, rows, factor in (
        ("temperature", "K", slice(None), 1.0),
        ("velocity", "m/s", slice(None), 1e3),
        ("field_strength", "G, above 500 G", strong, 1.0),
    ):
        errors, spreads = [], []
        for log_tau in (0.0, -0.5, -1.0, -1.5, -2.0, -2.5):
            k = int(np.argmin(np.abs(LOG_TAU - log_tau)))
            found = maps.parameters[name][:, 0]
            off = ((found[:, k] if found.ndim == 2 else found) - expected[name][:, k])[rows] * factor
            errors.append(np.median(np.abs(off)))
            error = maps.standard_error[name][:, 0]
            spreads.append(np.nanmedian(error[:, k] if error.ndim == 2 else error) * factor)
        print(f"{f'|error| of the {name} [{unit}]':<40}"[:40] + "".join(f"{x:>9.1f}" for x in errors))
        print(f"{'  its standard error':<40}" + "".join(f"{x:>9.1f}" for x in spreads))


if __name__ == "__main__":
    main()
