"""LTE synthesis and response functions: milliseconds per pixel, differences to SIR. `python benchmarks/lte.py`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("XLA_FLAGS", f"--xla_force_host_platform_device_count={os.cpu_count()}")

import jax
import numpy as np
from common import header, timed

from jaxinv import spectra
from jaxinv.compute.devices import over_devices
from jaxinv.spectra.lte import standard_model
from jaxinv.spectra.lte.transfer import hermite

WAVELENGTH = 6300.8733 + 0.021549 * np.arange(112)
PEERS = {
    "synthesis": "7.6-8.2 (SIR, 73 depths, 1 core); 9.2 (Adora)",
    "synthesis + response functions": "10.5 (SIR, 1 core); 155 (Adora, jacrev); goal 5",
}


def pixels(n: int, log_tau: np.ndarray) -> dict[str, np.ndarray]:
    """FAL-C with temperatures, fields and velocities that differ."""
    model, rng = standard_model("FAL-C", log_tau), np.random.default_rng(0)
    every = lambda x: np.tile(np.asarray(x, np.float32), (n, 1))  # noqa: E731
    drawn = lambda low, high: np.repeat(rng.uniform(low, high, (n, 1)), len(log_tau), 1).astype(np.float32)  # noqa: E731
    return {
        "temperature": every(model["temperature"]) + drawn(-200, 200),
        "electron_pressure": every(model["electron_pressure"]), "microturbulence": every(model["microturbulence"]),
        "velocity": drawn(-2, 2) + every(0.3 * log_tau), "field_strength": drawn(100, 3000),
        "inclination": drawn(0.1, 3), "azimuth": drawn(0, 3),
    }  # fmt: skip


def synthesis(model: spectra.LTE, inputs: dict) -> jax.Array:
    """One pixel after the other: what one needs fills a cache."""
    return jax.lax.map(model, inputs)


def responses(model: spectra.LTE, inputs: dict) -> tuple:
    """And the derivatives by all quantities at all depths."""
    return jax.lax.map(model.value_and_jacobian, inputs)


def against_sir(file: Path) -> None:
    """Profiles of SIR's models with their own electron pressures, in units of the continuum."""
    data = np.load(file)
    _, t, pe, turbulence, velocity, x, y, z = np.moveaxis(data["models"], 1, 0)
    field = np.sqrt(x**2 + y**2 + z**2)
    named = {
        "temperature": t, "electron_pressure": pe, "microturbulence": turbulence, "velocity": velocity,
        "field_strength": field, "inclination": np.arccos(z / field), "azimuth": np.arctan2(y, x) % np.pi,
    }  # fmt: skip
    inputs = {name: value.astype(np.float32) for name, value in named.items()}
    known = {"term_lower": "5P", "term_upper": "5D", "element": "Fe"}
    lines = (
        spectra.Line(
            wavelength=6301.5012, j_lower=2, j_upper=2, log_gf=-0.718, excitation_potential=3.654, abo_sigma=834.0,
            abo_alpha=0.242, **known,
        ),
        spectra.Line(
            wavelength=6302.4936, j_lower=1, j_upper=0, log_gf=-1.131, excitation_potential=3.686, abo_sigma=850.0,
            abo_alpha=0.239, **known,
        ),
    )  # fmt: skip
    wavelength = data["wavelength_A"] + (6301.5012 if data["wavelength_A"][0] < 1000 else 0)
    print(f"{len(t)} models of SIR: rms in I, Q, U, V; largest difference of a model, median and worst")
    found = {}
    for name, options in {
        "as it is": {},
        "the other formal solver": {"solver": hermite},
        "no broadening by helium": {"composition": {"He": -20.0}},
        "iron lower by 0.01": {"composition": {"Fe": 7.49}},
    }.items():
        model = spectra.LTE(lines, wavelength, data["models"][0, 0], **options)
        found[name] = over_devices(synthesis, model, inputs)
        off = found[name] - data["stokes"]
        largest = np.abs(off).max(axis=(1, 2))
        rms = np.sqrt(np.mean(off**2, axis=(0, 2))).round(5)
        print(f"  {name:<26} {rms} {np.median(largest):.4f} {largest.max():.4f}")
    print(f"  both solvers differ by {np.abs(found['as it is'] - found['the other formal solver']).max():.5f} at most")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=64, help="pixels")
    parser.add_argument("--sir", type=Path, help="compare with this file of the reference data instead")
    parser.add_argument("--depths", type=int, nargs="+", default=[53, 70], help="sizes of the grid of depths")
    arguments = parser.parse_args()
    print(header())
    if arguments.sir:
        against_sir(arguments.sir)
        return
    print(f"6301+6302, 112 wavelengths, {jax.device_count()} devices; ms per pixel, float32")
    for depths in arguments.depths:
        log_tau = np.linspace(1.2, -4.0, depths)
        inputs = pixels(arguments.n, log_tau)
        for name, run in (("synthesis", synthesis), ("synthesis + response functions", responses)):
            for electrons in ("given", "hydrostatic"):
                model = spectra.LTE(
                    ["Fe I 6301.5", "Fe I 6302.5"], WAVELENGTH, log_tau, hydrostatic=electrons == "hydrostatic"
                )
                read = {key: value for key, value in inputs.items() if key in model.parameters}
                times = timed(lambda run=run, model=model, read=read: over_devices(run, model, read), 5)[1:]
                milliseconds = 1e3 * np.median(times) / arguments.n
                peer = PEERS[name] if electrons == "given" else ""
                print(f"  {depths:>3} depths, {name:<32} electrons {electrons:<12} {milliseconds:>7.2f}   {peer}")


if __name__ == "__main__":
    main()
