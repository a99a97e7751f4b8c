"""Synthesis and its derivatives: microseconds per pixel. `python benchmarks/milne_eddington.py`."""

from __future__ import annotations

import argparse

import jax
import jax.numpy as jnp
from common import CASES, header, population, timed

from jaxinv.spectra import MilneEddington

PEERS = {
    "synthesis": "8.1 (pyMilne, 2 threads)",
    "synthesis + 9 derivatives": "22 (pyMilne, 2 threads); goal 20",
    "gradient of chi2, reverse mode": "",
    "derivatives by jacfwd of the plain formula": "8600 (measured earlier)",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunk", type=int, nargs="+", default=[64, 128, 256], help="pixels computed together")
    chunks = parser.parse_args().chunk
    print(header())
    print(f"{'us per pixel, float32':<46}" + "".join(f"{n:>8}" for n in chunks) + "   peer")
    for case, (lines, wavelength) in CASES.items():
        model = MilneEddington(lines, wavelength)

        def misfit(p: dict, model: MilneEddington = model) -> jax.Array:
            return jnp.sum(model(p) ** 2)

        jobs = {
            "synthesis": jax.jit(jax.vmap(model.__call__)),
            "synthesis + 9 derivatives": jax.jit(jax.vmap(model.value_and_jacobian)),
            "gradient of chi2, reverse mode": jax.jit(jax.vmap(jax.grad(misfit))),
        }
        print(case)
        for name, job in jobs.items():
            times = []
            for n in chunks:
                parameters = population(n)
                times.append(min(timed(lambda job=job, p=parameters: job(p), 300)[1:]) / n * 1e6)
            peer = PEERS[name] if len(lines) == 2 else ""
            print(f"  {name:<44}" + "".join(f"{t:>8.2f}" for t in times) + f"   {peer}")


if __name__ == "__main__":
    main()
