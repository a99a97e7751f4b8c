"""LTE synthesis and response functions: milliseconds per pixel. `python benchmarks/lte.py`."""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("XLA_FLAGS", f"--xla_force_host_platform_device_count={os.cpu_count()}")

import jax
import numpy as np
from common import header, timed

from jaxinv import spectra
from jaxinv.compute.devices import over_devices
from jaxinv.spectra.lte import standard_model

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=64, help="pixels")
    parser.add_argument("--depths", type=int, nargs="+", default=[53, 70], help="sizes of the grid of depths")
    arguments = parser.parse_args()
    print(header())
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
