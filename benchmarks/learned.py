"""What learned answers are worth and cost. `python benchmarks/learned.py [--surrogate FOLDER] [part ...]`.

Parts: surrogate (needs the folder that `jaxinv train benchmarks/surrogate.yaml -o FOLDER` wrote), loop, variants,
slit, unsupervised, flow.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import numpyro.distributions as dist
from common import header

import jaxinv as ji
from jaxinv import spectra
from jaxinv.pipelines import InvertConfig, load_network, prepare
from jaxinv.sampling import draw

WAVELENGTH = np.linspace(6300.8921, 6303.2675, 112)
LINES = ["Fe I 6301.5", "Fe I 6302.5"]
DRAWN = {
    "field_strength": dist.Uniform(50.0, 3000.0),
    "velocity": dist.Uniform(-3.0, 3.0),
    "doppler_width": dist.Uniform(0.015, 0.05),
    "line_strength": dist.Uniform(2.0, 60.0),
    "damping": dist.Uniform(0.05, 1.0),
    "source_constant": dist.Uniform(0.2, 0.5),
    "source_slope": dist.Uniform(0.4, 0.9),
}


def measured(function: Callable[[], Any], repeats: int) -> tuple[Any, float]:
    """What it returns, and the median of its seconds, compilation not included."""
    result = function()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        result = function()
        times.append(time.perf_counter() - begin)
    return result, float(np.median(times))


def problems(wavelength: np.ndarray, sigma: float = 1e-3) -> tuple[ji.Problem, ji.Problem]:
    """With the usual flat prior, and with the one that pixels are drawn from."""
    model = spectra.MilneEddington(LINES, wavelength)
    prior = spectra.milne_eddington_prior()
    noise = ji.noise.Gaussian(sigma)
    return ji.Problem(model, noise, prior), ji.Problem(model, noise, prior | DRAWN)


def surrogate(folder: str | None) -> None:
    if folder is None:
        print("surrogate: give --surrogate FOLDER")
        return
    model = spectra.MilneEddington(LINES, WAVELENGTH)
    found = ji.Surrogate.load(folder, model)
    print(found.report)
    prior = spectra.milne_eddington_prior() | DRAWN
    for label, sigma in (("1e-3", 1e-3), ("5e-3 in I, 1e-3 in Q, U, V", np.array([[5e-3], [1e-3], [1e-3], [1e-3]]))):
        exact, quick = (ji.Problem(forward, ji.noise.Gaussian(sigma), prior) for forward in (model, found))
        through_surrogate(label, exact, quick)


def through_surrogate(label: str, exact: ji.Problem, quick: ji.Problem) -> None:
    _, data = exact.simulate(jax.random.key(11), (1024,))
    one, other = ji.fit(exact, data), ji.fit(quick, data)
    finished = ji.fit(exact, data, initial=other.parameters, solver=ji.LevenbergMarquardt(n_starts=1, damping=1e-3))
    few = data[:32]
    posteriors = [draw(p, few, method=ji.NUTS(), key=jax.random.key(1)) for p in (exact, quick)]
    low, high = posteriors[0].quantile(0.16), posteriors[0].quantile(0.84)
    middle = [p.quantile(0.5) for p in posteriors]
    print(f"  noise {label}: within 0.2 sigma of the exact model's answer")
    print("                     a fit, 1024 pixels   its end by the exact model   NUTS, 32 pixels")
    for name in exact.names:
        x = np.abs(turned(name, middle[0][name] - middle[1][name])) / ((high[name] - low[name]) / 2)
        shares = (distance(name, one, other) < 0.2, distance(name, one, finished) < 0.2, x < 0.2)
        print(f"    {name:<16}" + "".join(f"{100 * np.mean(share):>20.1f} %" for share in shares))
    print(
        f"    evaluations of the exact model: {np.mean(one.iterations):.1f}, {np.mean(finished.iterations):.1f} to end"
    )


def turned(name: str, difference: np.ndarray) -> np.ndarray:
    return (difference + np.pi / 2) % np.pi - np.pi / 2 if name == "azimuth" else difference


def distance(name: str, one: ji.Solution, other: ji.Solution) -> np.ndarray:
    return np.abs(turned(name, one.parameters[name] - other.parameters[name])) / one.standard_error[name]


def loop(n: int = 4096) -> None:
    print(f"learned loop of 6 steps, {n} fresh pixels: within 5 % of converged Levenberg-Marquardt's chi2")
    for sigma in (1e-3, 1e-3 / 3, 3e-3):
        at_noise(sigma, n)


def at_noise(sigma: float, n: int) -> None:
    net = load_network("learned")
    first, last, count = net.card["wavelength"]
    known = {"wavelength_offset": 0.0}
    six = ji.LevenbergMarquardt(max_iterations=7, n_starts=1)
    flat, drawn = problems(np.linspace(first, last, int(count)), sigma)
    _, data = drawn.simulate(jax.random.key(1), (n,))
    best, seconds = measured(lambda: ji.fit(flat, data, fixed=known), 5)
    mine, my_seconds = measured(lambda: net.network(flat, data, fixed=known), 5)
    classical, six_seconds = measured(lambda: ji.fit(flat, data, fixed=known, solver=six), 5)
    shares = [100 * np.mean(s.chi2 <= 1.05 * best.chi2) for s in (mine, classical)]
    print(
        f"  sigma {sigma:.1e}: learned {shares[0]:.1f} % in {my_seconds / n * 1e6:.0f} us, six classical steps "
        f"{shares[1]:.1f} % in {six_seconds / n * 1e6:.0f} us, converged in {seconds / n * 1e6:.0f} us a pixel"
    )
    checked, seconds = measured(lambda: ji.assure(flat, mine, data, chi2=net.card["report"]["chi2_99"], fixed=known), 3)
    better = 100 * np.mean(checked.solution.chi2 <= 1.05 * best.chi2)
    print(f"    checked: {better:.2f} %, {checked.count()}, {seconds / n * 1e6:.0f} us more")


def variants() -> None:
    """What each variant learns in the same number of training steps, on one line."""
    wavelength = np.linspace(6302.0, 6303.0, 48)
    prior = spectra.milne_eddington_prior()
    problem = ji.Problem(spectra.MilneEddington(["Fe I 6302.5"], wavelength), ji.noise.Gaussian(1e-3), prior)
    _, data = ji.Problem(problem.forward, problem.noise, prior | DRAWN).simulate(jax.random.key(1), (1024,))
    best = ji.fit(problem, data)
    six = ji.fit(problem, data, solver=ji.LevenbergMarquardt(max_iterations=7, n_starts=1))
    print("loops of 6 steps, one line, each trained for 1000 steps of 128 spectra: within 5 % of the converged chi2")
    print(f"  six classical steps                  {100 * np.mean(six.chi2 <= 1.05 * best.chi2):.1f} %")
    training = ji.Training(steps=1000, batch_size=128, learning_rate=1.5e-3, warmup=0.05, evaluate=100)
    for variant, backpropagation in (
        ("damping", "gauss-newton"), ("damping", "truncated"), ("damping", "rematerialized"),
        ("recurrent", "gauss-newton"), ("recurrent", "truncated"), ("network", "gauss-newton"),
    ):  # fmt: skip
        method = ji.LearnedLM(variant=variant, backpropagation=backpropagation, steps=6, width=64, encoded=64)
        begin = time.perf_counter()
        conditions = ji.Conditions(drawn=DRAWN)
        found = ji.unroll(problem, method, training, key=jax.random.key(0), conditions=conditions, progress=False)
        seconds = time.perf_counter() - begin
        share = 100 * np.mean(found(problem, data).chi2 <= 1.05 * best.chi2)
        print(f"  {variant:<12} {backpropagation:<16}        {share:.1f} %, trained in {seconds:.0f} s", flush=True)


def slit(folder: Path) -> None:
    path = folder / "spectra/hinode/SP4D20070227_002010.0C.fits"
    if not path.exists():
        print(f"no real slit: {path} is absent (set JAXINV_REFERENCE_DATA)")
        return
    cube = ji.io.read_stokes(path)
    print(f"a real Hinode slit, {cube.n_pixels} pixels, reading and preparation included")
    usual = InvertConfig(sigma=(5e-3, 1e-3, 1e-3, 1e-3))
    results = {}
    for label, more in (
        ("lm", {}),
        ("lm, one start", {"starts": 1}),
        ("learned", {"method": "learned"}),
        ("amortized", {"method": "amortized"}),
    ):
        config = dataclasses.replace(usual, **more)
        maps, seconds = measured(lambda config=config: ji.invert(cube, config, progress=False), 5)
        results[label] = maps
        where = np.percentile(maps.chi2, [50, 75, 95, 99])
        worse = 100 * np.mean(maps.chi2 > 1.05 * results["lm"].chi2)
        ways = "" if maps.route is None else f", routes {np.bincount(maps.route.ravel(), minlength=3)}"
        print(
            f"  {label:<14} {seconds / cube.n_pixels * 1e6:6.0f} us a pixel; chi2 at 50, 75, 95, 99 %: "
            f"{' '.join(f'{x:.3f}' for x in where)}; worse than lm by 5 %: {worse:.1f} %{ways}"
        )


def unsupervised(folder: Path) -> None:
    path = folder / "spectra/hinode/SP4D20070227_002010.0C.fits"
    if not path.exists():
        print(f"no real slit: {path} is absent (set JAXINV_REFERENCE_DATA)")
        return
    ready = prepare(ji.io.read_stokes(path), InvertConfig(sigma=(5e-3, 1e-3, 1e-3, 1e-3)))
    spectra_all = ready.spectra(0, ready.cube.n_pixels)
    held = np.arange(len(spectra_all)) % 4 == 0
    begin = time.perf_counter()
    found = ji.amortize(
        ready.problem,
        ji.PointEstimate(loss="physics", encoder="dense", width=256, depth=3, real=0.85),
        ji.Training(
            optimizer="muon", steps=5000, batch_size=512, learning_rate=5e-3, clip=0.3, evaluate=250, n_validation=1024
        ),
        key=jax.random.key(0),
        data=spectra_all[~held],
        conditions=ji.Conditions(noise=(1.0, 1.5), drawn=REAL),
        progress=False,
    )
    seconds = time.perf_counter() - begin
    best = ji.fit(ready.problem, spectra_all)
    mine = found(ready.problem, spectra_all)
    print(f"unsupervised, trained on {int(np.sum(~held))} pixels of the slit in {seconds:.0f} s: median chi2")
    for label, part in (("trained on", ~held), ("held out", held)):
        a, b = np.median(mine.chi2[part]), np.median(best.chi2[part])
        print(f"  {label:<12} network {a:.3f}, Levenberg-Marquardt {b:.3f}: {100 * (a / b - 1):+.0f} %")


REAL = {
    "field_strength": dist.LogUniform(10.0, 3000.0),
    "velocity": dist.Uniform(-5.0, 5.0),
    "doppler_width": dist.LogUniform(0.015, 0.08),
    "line_strength": dist.LogUniform(2.0, 60.0),
    "damping": dist.Uniform(0.02, 1.0),
    "source_constant": dist.Uniform(0.05, 0.5),
    "source_slope": dist.LogUniform(0.3, 1.1),
}


def flow(n: int = 300) -> None:
    _, problem = problems(WAVELENGTH)
    begin = time.perf_counter()
    found = ji.amortize(
        problem,
        ji.NormalizingFlow(examples=40_000),
        ji.Training(steps=12_000, batch_size=256, learning_rate=1e-3, evaluate=500, n_validation=4000, patience=6),
        key=jax.random.key(0),
        progress=False,
    )
    print(f"normalizing flow, trained in {time.perf_counter() - begin:.0f} s")
    report = ji.calibrate(problem, found, n=n, key=jax.random.key(5))
    print(report.table())
    _, data = problem.simulate(jax.random.key(3), (64,))
    quick, seconds = measured(lambda: draw(problem, data, method=found, key=jax.random.key(1)), 3)
    exact = draw(problem, data, method=ji.NUTS(), key=jax.random.key(1))
    signal = np.max(np.abs(data[:, 1:]), axis=(1, 2)) > 5e-3
    print(f"  widths within 15 % of NUTS's, {int(signal.sum())} pixels with polarization above 5 sigma:")
    for name in problem.names:
        wide = [np.asarray(p.quantile(0.84)[name] - p.quantile(0.16)[name])[signal] for p in (quick, exact)]
        print(f"    {name:<16} {100 * np.mean(np.abs(wide[0] / wide[1] - 1) < 0.15):.0f} %")
    print(f"  {1e3 * seconds / 64:.1f} ms a pixel for {found.n_draws} draws, fit and diagnostics included")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help="default: all")
    parser.add_argument("--surrogate", metavar="FOLDER")
    arguments = parser.parse_args()
    folder = Path(os.environ.get("JAXINV_REFERENCE_DATA") or Path(__file__).parents[2] / "shared" / "data")
    warnings.simplefilter("ignore")
    print(header())
    parts = {
        "surrogate": lambda: surrogate(arguments.surrogate),
        "loop": loop,
        "variants": variants,
        "slit": lambda: slit(folder),
        "unsupervised": lambda: unsupervised(folder),
        "flow": flow,
    }
    for name, run in parts.items():
        if not arguments.parts or name in arguments.parts:
            run()


if __name__ == "__main__":
    main()
