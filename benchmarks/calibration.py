"""Simulation-based calibration of a sampler on simulated spectra. `python benchmarks/calibration.py [-n 300]`.

`--method weighted` and `--method density` are what `auto` tries first, each by itself; there only spectra count whose
weights can be relied on, which the spectra alone decide. The density that comes with the package lives in coordinates
in which fields may vanish: strong fields (500 to 3000 G) are sampled without it.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from typing import Any

import jax
import numpy as np
import numpyro.distributions as dist
from common import CASES, SIGMA, header

import jaxinv as ji
from jaxinv.pipelines import load_density
from jaxinv.pipelines.learned import WEIGHTS
from jaxinv.results.posterior import Posterior, PosteriorStatus
from jaxinv.sampling import draw
from jaxinv.spectra import MilneEddington, milne_eddington_prior

SEEN: list[np.ndarray] = []
WEIGHTED = ji.Importance()
FIELDS = {"all": (0.0, 3000.0), "strong": (500.0, 3000.0), "weak": (0.0, 300.0)}
ALONE = ("weighted", "density")


def shipped_density() -> ji.sampling.Importance:
    """Weights on the trained density that comes with the package."""
    return ji.Importance(load_density(WEIGHTS / "hinode_posterior").flow)


METHODS = {
    "auto": lambda: ji.Auto(WEIGHTED, shipped_density(), ji.HMC()),
    "auto without a density": lambda: ji.Auto(WEIGHTED, ji.HMC()),
    "weighted": lambda: WEIGHTED,
    "density": shipped_density,
    "nuts": lambda: ji.NUTS(n_draws=500, r_hat=1.03, ess=200),
    "hmc": lambda: ji.HMC(n_draws=500, r_hat=1.03, ess=200),
    "laplace": lambda: ji.Laplace(),
    "svi": lambda: ji.SVI(),
    "importance": lambda: ji.Importance(),
}


def problem(field: tuple[float, float] = FIELDS["all"]) -> ji.Problem:
    """The population of the other benchmarks as a prior, with fields between two strengths."""
    lines, wavelength = CASES["6301+6302, 112 wavelengths"]
    prior = milne_eddington_prior(
        field_strength=dist.Uniform(*field),
        velocity=dist.Uniform(-3.0, 3.0),
        doppler_width=dist.Uniform(0.015, 0.05),
        line_strength=dist.Uniform(2.0, 60.0),
        damping=dist.Uniform(0.05, 1.0),
        source_constant=dist.Uniform(0.2, 0.5),
        source_slope=dist.Uniform(0.4, 0.9),
    )
    return ji.Problem(MilneEddington(lines, wavelength), ji.noise.Gaussian(SIGMA), prior)


def those_that_pass(method: ji.sampling.Importance) -> Any:
    """The method, which returns nothing of a spectrum whose weights cannot be relied on."""

    def run(problem: ji.Problem, data: Any, key: Any) -> Posterior:
        found = draw(problem, data, key=key, method=method)
        bad = found.status != PosteriorStatus.CONVERGED
        SEEN.append(np.stack([found.scalars["weights_ess"] / method.base.n_draws, found.scalars["pareto_k"], ~bad]))
        return dataclasses.replace(
            found, draws={name: np.where(bad[:, None, None], np.nan, x) for name, x in found.draws.items()}
        )

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=300, help="simulated pixels")
    parser.add_argument("--method", choices=METHODS, default="hmc")
    parser.add_argument("--fields", choices=FIELDS, default="all", help="the population")
    parser.add_argument("--plot", help="where the picture goes")
    arguments = parser.parse_args()
    print(header())
    begin = time.perf_counter()
    if arguments.fields == "strong" and arguments.method == "auto":
        arguments.method = "auto without a density"
    method = METHODS[arguments.method]()
    if arguments.method in ALONE:
        method = those_that_pass(method)
    population = problem(FIELDS[arguments.fields])
    report = ji.calibrate(population, method, arguments.n, key=jax.random.key(5), progress=True)
    print(f"{arguments.method}, {arguments.fields} fields")
    print(report.table())
    if SEEN:
        fraction, k, passed = np.concatenate(SEEN, axis=1)[:, : arguments.n]
        print(
            f"effective fraction {np.median(fraction):.3f} (median), Pareto k < 0.7 in {100 * np.mean(k < 0.7):.1f} %, "
            f"{100 * np.mean(passed):.1f} % pass"
        )
    codes, counts = np.unique(report.status, return_counts=True)
    print("status", dict(zip(codes.tolist(), counts.tolist())), f"{time.perf_counter() - begin:.0f} s")
    if arguments.plot:
        ji.plot.save(ji.plot.calibration(report), arguments.plot)


if __name__ == "__main__":
    main()
