"""Simulation-based calibration of a sampler on simulated spectra. `python benchmarks/calibration.py [-n 300]`."""

from __future__ import annotations

import argparse
import time

import jax
import numpy as np
import numpyro.distributions as dist
from common import CASES, SIGMA, header

import jaxinv as ji
from jaxinv.spectra import MilneEddington, milne_eddington_prior

METHODS = {
    "nuts": lambda: ji.NUTS(n_draws=500, r_hat=1.03, ess=200),
    "hmc": lambda: ji.HMC(n_draws=500, r_hat=1.03, ess=200),
    "laplace": lambda: ji.Laplace(),
    "svi": lambda: ji.SVI(),
    "importance": lambda: ji.Importance(),
}


def problem() -> ji.Problem:
    """The population of the other benchmarks as a prior."""
    lines, wavelength = CASES["6301+6302, 112 wavelengths"]
    prior = milne_eddington_prior(
        field_strength=dist.Uniform(0.0, 3000.0),
        velocity=dist.Uniform(-3.0, 3.0),
        doppler_width=dist.Uniform(0.015, 0.05),
        line_strength=dist.Uniform(2.0, 60.0),
        damping=dist.Uniform(0.05, 1.0),
        source_constant=dist.Uniform(0.2, 0.5),
        source_slope=dist.Uniform(0.4, 0.9),
    )
    return ji.Problem(MilneEddington(lines, wavelength), ji.noise.Gaussian(SIGMA), prior)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=300, help="simulated pixels")
    parser.add_argument("--method", choices=METHODS, default="hmc")
    parser.add_argument("--plot", help="where the picture goes")
    arguments = parser.parse_args()
    print(header())
    begin = time.perf_counter()
    report = ji.calibrate(problem(), METHODS[arguments.method](), arguments.n, key=jax.random.key(5), progress=True)
    print(report.table())
    codes, counts = np.unique(report.status, return_counts=True)
    print("status", dict(zip(codes.tolist(), counts.tolist())), f"{time.perf_counter() - begin:.0f} s")
    if arguments.plot:
        ji.plot.save(ji.plot.calibration(report), arguments.plot)


if __name__ == "__main__":
    main()
