"""Effective draws per second beside emcee and a loop over NumPyro. `python benchmarks/sampling.py [-n 64]`."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from common import header, peer, simulated
from numpyro.infer import MCMC
from numpyro.infer import NUTS as NumPyroNUTS

import jaxinv as ji
from jaxinv.pipelines import SampleConfig, load_density, prepare
from jaxinv.pipelines.learned import WEIGHTS
from jaxinv.results.posterior import Posterior, PosteriorRoute
from jaxinv.sampling import draw
from jaxinv.sampling.diagnostics import convergence

CASE = "6301+6302, 112 wavelengths"


def effective(posterior: Posterior) -> np.ndarray:
    """Of the least certain parameter, bulk and tail."""
    parts = [*posterior.ess_bulk.values(), *posterior.ess_tail.values()]
    return np.min(parts, axis=0)


def ours(problem: ji.Problem, data: np.ndarray, name: str, method: ji.NUTS) -> Posterior:
    draw(problem, data, key=jax.random.key(0), method=method)  # compile
    begin = time.perf_counter()
    found = draw(problem, data, key=jax.random.key(1), method=method)
    seconds = time.perf_counter() - begin
    n, size = len(data), effective(found)
    worst = np.max(list(found.r_hat.values()), axis=0)
    clean = np.mean((worst < 1.01) & (found.scalars["divergences"] == 0))
    print(
        f"  {name:<22} {seconds / n:.2f} s per pixel, {np.median(size):.0f} effective draws (median), "
        f"{n / seconds * np.median(size):.0f} per second, {seconds / n / np.median(size) * 1000:.2f} s for 1000; "
        f"R-hat < 1.01 and no divergence {100 * clean:.1f} %"
    )
    return found


def weighted(problem: ji.Problem, data: np.ndarray, name: str, method: ji.Importance) -> None:
    """Exact draws by weights on an approximation."""
    draw(problem, data, key=jax.random.key(0), method=method)
    begin = time.perf_counter()
    found = draw(problem, data, key=jax.random.key(1), method=method)
    seconds = (time.perf_counter() - begin) / len(data)
    size = found.scalars["weights_ess"]
    fraction = size / method.proposals
    print(
        f"  {name:<22} {1e3 * seconds:.1f} ms per pixel, {np.median(size):.0f} effective draws (median), "
        f"{1e6 * seconds / np.median(size):.1f} ms for 1000; effective fraction median {np.median(fraction):.3f}, 10 % "
        f"below {np.percentile(fraction, 10):.3f}; Pareto k < 0.7 in "
        f"{100 * np.mean(found.scalars['pareto_k'] < 0.7):.1f} %, {100 * np.mean(found.status == 0):.1f} % pass"
    )


def automatic(problem: ji.Problem, data: np.ndarray) -> None:
    """What `auto` takes and costs, and its widths and medians beside HMC's."""
    density = ji.Importance(load_density(WEIGHTS / "hinode_posterior").flow)
    method = ji.Auto(ji.Importance(), density, ji.HMC())
    modes = ji.fit(problem, data)
    draw(problem, data, key=jax.random.key(0), method=method, initial=modes)
    begin = time.perf_counter()
    found = draw(problem, data, key=jax.random.key(1), method=method)
    seconds = (time.perf_counter() - begin) / len(data)
    begin = time.perf_counter()
    exact = draw(problem, data, key=jax.random.key(2), method=ji.HMC(), initial=modes)
    theirs = (time.perf_counter() - begin) / len(data)
    routes = {route.name.lower(): int(np.sum(found.scalars["route"] == route)) for route in PosteriorRoute}
    size = np.median(effective(found))
    print(
        f"  jaxinv auto            {1e3 * seconds:.1f} ms per pixel, {size:.0f} effective draws (median), "
        f"{1e6 * seconds / size:.1f} ms for 1000; HMC {1e3 * theirs:.0f} ms; "
        + ", ".join(f"{n} {name}" for name, n in routes.items() if n)
    )
    for name in problem.names:
        wide, narrow = (p.quantile(0.84)[name] - p.quantile(0.16)[name] for p in (found, exact))
        off = found.quantile(0.5)[name] - exact.quantile(0.5)[name]
        if name in found.periods:
            off = (off + found.periods[name][1] / 2) % found.periods[name][1] - found.periods[name][1] / 2
        print(
            f"    {name:<16} widths within 10 % of HMC's in {100 * np.mean(np.abs(wide / narrow - 1) < 0.1):.0f} %, "
            f"ratio {np.median(wide / narrow):.3f}; medians off by {np.percentile(2 * np.abs(off) / narrow, 90):.2f} "
            "standard deviations (90 %)"
        )


def plain(problem: ji.Problem, data: np.ndarray) -> None:
    """NumPyro's own MCMC, pixel by pixel, compiled once."""
    sampler = MCMC(NumPyroNUTS(problem.numpyro_model), num_warmup=500, num_samples=1000, num_chains=4,
                   chain_method="vectorized", progress_bar=False, jit_model_args=True)  # fmt: skip
    times, sizes = [], []
    for k, one in enumerate(data):
        begin = time.perf_counter()
        sampler.run(jax.random.key(k), one)
        draws = {n: x for n, x in sampler.get_samples(group_by_chain=True).items() if x.ndim == 2 and n != "azimuth"}
        times.append(time.perf_counter() - begin)
        sizes.append(min(float(np.min(convergence(x)[1:])) for x in draws.values()))
    print(
        f"  NumPyro, Python loop   {np.median(times[1:]):.2f} s per pixel, {np.median(sizes):.0f} effective draws, "
        f"{np.median(sizes) / np.median(times[1:]):.0f} per second"
    )


def ensemble(emcee: Any, problem: ji.Problem, data: np.ndarray, start: Posterior) -> None:
    """Emcee with 64 walkers and a vectorized likelihood, started in the posterior."""
    names = problem.names
    bounds = np.array([[float(problem.prior[n].low), float(problem.prior[n].high)] for n in names])
    likelihood = jax.jit(
        lambda points, one: jax.vmap(lambda v: problem.log_likelihood(dict(zip(names, v, strict=True)), one))(points)
    )
    times, sizes = [], []
    for k, one in enumerate(data):

        def log_probability(points: np.ndarray, one: np.ndarray = one) -> np.ndarray:
            inside = np.all((points > bounds[:, 0]) & (points < bounds[:, 1]), axis=1)
            return np.where(inside, np.asarray(likelihood(points.astype(np.float32), one)), -np.inf)

        sampler = emcee.EnsembleSampler(64, len(names), log_probability, vectorize=True)
        first = np.stack([start.draws[n][k].ravel()[:: 4000 // 64][:64] for n in names], 1).astype(float)
        begin = time.perf_counter()
        sampler.run_mcmc(first, 3000)
        times.append(time.perf_counter() - begin)
        sizes.append(64 * 2500 / np.max(sampler.get_autocorr_time(discard=500, tol=0)))
    print(
        f"  emcee, 64 walkers      {np.median(times[1:]):.2f} s per pixel, {np.median(sizes):.0f} effective draws, "
        f"{np.median(sizes) / np.median(times[1:]):.0f} per second"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=64, help="pixels")
    n = parser.parse_args().n
    emcee = peer("emcee")
    print(header())
    problem, _, data, _ = simulated(CASE, n)
    print(f"{CASE}, {n} simulated pixels; goal 2 s for 1000 effective draws")
    found = ours(problem, data, "jaxinv NUTS", ji.NUTS())
    ours(problem, data, "jaxinv HMC", ji.HMC())
    more = simulated(CASE, 4 * n)[2]
    weighted(problem, more, "weighted t", ji.Importance())
    weighted(problem, more, "weighted normal", ji.Importance(ji.Laplace()))
    weighted(problem, more, "weighted density", ji.Importance(load_density(WEIGHTS / "hinode_posterior").flow))
    automatic(problem, more)
    few = min(n, 5)
    ensemble(emcee, problem, data[:few], found)
    folder = Path(os.environ.get("JAXINV_REFERENCE_DATA") or Path(__file__).parents[2] / "shared" / "data")
    path = folder / "spectra/hinode/SP4D20070227_002010.0C.fits"
    if path.exists():
        ready = prepare(ji.io.read_stokes(path), SampleConfig(sigma=(5e-3, 1e-3, 1e-3, 1e-3)))
        pixels = np.linspace(0, ready.cube.n_pixels - 1, n).astype(int)
        slit = np.concatenate([ready.spectra(k, k + 1) for k in pixels])
        print(f"a real Hinode slit, {n} of its pixels, evenly spaced")
        ours(ready.problem, slit, "jaxinv NUTS", ji.NUTS())
        real = ours(ready.problem, slit, "jaxinv HMC", ji.HMC())
        automatic(ready.problem, np.concatenate([ready.spectra(k, k + 1) for k in range(0, ready.cube.n_pixels, 4)]))
        print("  posterior predictive p-values, 5, 50, 95 %:", np.quantile(real.scalars["p_value"], [0.05, 0.5, 0.95]))
    plain(problem, data[:2])  # last, since it takes minutes for each


if __name__ == "__main__":
    main()
