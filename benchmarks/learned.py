"""What learned answers are worth and cost. `python benchmarks/learned.py [--surrogate FOLDER] [part ...]`.

Parts: surrogate (needs the folder that `jaxinv train benchmarks/surrogate.yaml -o FOLDER` wrote), steps, whole, wide,
errors, slit, command, variants, flow.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import numpyro.distributions as dist
from common import header, population

import jaxinv as ji
from jaxinv import spectra
from jaxinv.amortization import ADAPTATION, adapt
from jaxinv.pipelines import (
    InvertConfig,
    TrainConfig,
    load_network,
    prepare,
    simulate_observation,
    sunspot_parameters,
)
from jaxinv.pipelines.learned import WEIGHTS, LearnedRun, shipped
from jaxinv.pipelines.training import state
from jaxinv.results.solution import Route
from jaxinv.sampling import draw
from jaxinv.training.data import simulated as drawn
from jaxinv.unrolling import Unrolled
from jaxinv.unrolling.loop import Loop

WAVELENGTH = np.linspace(6300.8921, 6303.2675, 112)
LINES = ["Fe I 6301.5", "Fe I 6302.5"]
SHIPPED = {"6301+6302": "hinode_6301_6302", "6173": "fe6173_scan", "6173, HMI's filters": "hmi_6173"}
SOLVER = ji.LevenbergMarquardt()
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


def batches(case: str, sigma: float, n: int, seed: int = 1) -> tuple[ji.Problem, Any, np.ndarray, np.ndarray]:
    """The shipped network's problem with the flat prior, the truth, data, and the misfit per sample of the truth."""
    config = SHIPPED[case]
    card = shipped()[config]["config"]
    made = state(TrainConfig(**{name: tuple(x) if isinstance(x, list) else x for name, x in card.items()})).problem
    problem = ji.Problem(made.forward, ji.noise.Gaussian(sigma), made.prior | {"wavelength_offset": 0.0})
    truth = population(n, seed)
    clean = np.asarray(jax.jit(jax.vmap(problem.predict))(truth))
    noise = np.random.default_rng(seed).normal(0, sigma, clean.shape).astype(np.float32)
    return problem, truth, clean + noise, np.mean((noise / sigma) ** 2, axis=(1, 2))


def steps(n: int = 4096) -> None:
    """The table of k: where k learned or classical steps and a last one end, from the classical guess and a network."""
    own = load_network(WEIGHTS / SHIPPED["6301+6302"]).network
    key = jax.random.key(0)
    conditions = ji.Conditions(noise=(0.3, 3.0), drawn=DRAWN)
    training = ji.Training(steps=1500, batch_size=256, learning_rate=2e-3, warmup=0.05, average=0.01, evaluate=250)
    flat = batches("6301+6302", 1e-3, 1)[0]
    begin = time.perf_counter()
    guessed = ji.unroll(flat, ji.LearnedSteps(steps=5), training, key=key, conditions=conditions, progress=False)
    print(f"learned steps from the classical guess, trained in {time.perf_counter() - begin:.0f} s")
    for sigma in (3e-4, 1e-3, 3e-3):
        problem, _, data, least = batches("6301+6302", sigma, n)
        known = {"wavelength_offset": 0.0}
        best = ji.fit(problem, data, fixed=known)
        print(f"  noise {sigma:g}, {n} pixels: within 5 % of the converged chi2 / at or below the truth's [%]")
        print("  k + 1 steps         " + "".join(f"{k + 1:>16}" for k in range(7)))
        for label, loop, damping in (
            ("guess, hand-set", Loop(ji.LearnedSteps(), None), 0.3),
            ("guess, learned", guessed.loop, 0.3),
            ("network, hand-set", Loop(ji.LearnedSteps(), None), 3e-3),
            ("network, learned", own.loop, 3e-3),
        ):
            start = own.start if label.startswith("network") else None
            solver = ji.LevenbergMarquardt(damping=damping)
            unrolled = Unrolled(loop, solver, start, own.names)
            cells = []
            for k in range(7):
                found = unrolled(problem, data, steps=k, fixed=known)
                near, solved = np.mean(found.chi2 <= 1.05 * best.chi2), np.mean(found.chi2 <= least)
                cells.append(f"{100 * near:.2f} / {100 * solved:.2f}")
            print(f"  {label:<20}" + "".join(f"{cell:>16}" for cell in cells), flush=True)


def whole(n: int = 8192) -> None:
    """All of `--method learned` beside `fit`, covariance included; and a quick look without it."""
    for case in SHIPPED:
        for sigma in (3e-4, 1e-3, 3e-3):
            problem, _, data, least = batches(case, sigma, n)
            compared(f"{case}, noise {sigma:g}", case, problem, data, least)
    wavelength = 6300.8733 + 0.021549 * np.arange(112)
    model = spectra.MilneEddington(LINES, wavelength)
    truth = sunspot_parameters((96, 96), seed=1)
    cube = simulate_observation(truth, model, seed=1)
    problem = batches("6301+6302", 1e-3, 1)[0]
    data = np.asarray(cube.values).reshape(-1, 4, 112)
    clean = np.asarray(jax.jit(jax.vmap(model.__call__))({k: np.float32(v.ravel()) for k, v in truth.items()}))
    compared("the demo's sunspot", "6301+6302", problem, data, np.mean(((data - clean) / 1e-3) ** 2, axis=(1, 2)))


def compared(label: str, case: str, problem: ji.Problem, data: np.ndarray, least: np.ndarray) -> None:
    own = load_network(WEIGHTS / SHIPPED[case]).network
    known = {"wavelength_offset": 0.0}
    limit = 1 + 4 * np.sqrt(2 / data[0].size)
    n = len(data)

    def learned() -> Any:
        first, familiar = own.begin(problem, data, fixed=known)
        answer = own(problem, data, fixed=known, initial=first)
        return ji.assure(problem, answer, data, chi2=limit, doubtful=~familiar, fixed=known)

    best, seconds = measured(lambda: ji.fit(problem, data, fixed=known), 5)
    found, my_seconds = measured(learned, 5)
    quick, quick_seconds = measured(lambda: own(problem, data, steps=0, covariance="none", fixed=known), 5)
    alone, alone_seconds = measured(lambda: own.start(problem, data, fixed=known), 5)

    def share(chi2: np.ndarray) -> str:
        return f"{100 * np.mean(chi2 <= least):.2f} % solved, {100 * np.mean(chi2 <= 1.05 * best.chi2):.2f} % near fit"

    print(f"{label}: {n} pixels")
    print(f"  fit          {seconds / n * 1e6:5.1f} us: {share(best.chi2)}")
    print(
        f"  learned      {my_seconds / n * 1e6:5.1f} us ({my_seconds / seconds:.2f} of it): "
        f"{share(found.solution.chi2)}; {found.solution.iterations.mean():.2f} evaluations beside "
        f"{best.iterations.mean():.2f}; {found.count()}; {worse(found, best)} that passed are worse than fit's by 5 %"
    )
    print(
        f"               standard errors beside fit's, off by: {off_errors(found.solution, best, best.standard_error)}"
    )
    print(f"  quick look   {quick_seconds / n * 1e6:5.1f} us ({quick_seconds / seconds:.2f}): {share(quick.chi2)}")
    print(f"  network      {alone_seconds / n * 1e6:5.1f} us ({alone_seconds / seconds:.2f}): {share(alone.chi2)}")


def off_errors(found: Any, best: Any, names: Iterable[str]) -> str:
    """How far standard errors are from a fit's, where both end at the same misfit."""
    same = np.abs(found.chi2 / best.chi2 - 1) < 1e-3
    off = [np.abs(found.standard_error[name] / best.standard_error[name] - 1)[same] for name in names]
    return " / ".join(f"{100 * x:.1f}" for x in np.nanpercentile(off, [50, 90, 99])) + " % at 50 / 90 / 99 %"


def worse(found: ji.Assured, best: ji.Solution) -> int:
    """How many answers passed the check although `fit` finds a chi2 lower by 5 %."""
    return int(np.sum((found.solution.chi2 > 1.05 * best.chi2) & (found.route == Route.QUICK)))


def wide(n: int = 4096) -> None:
    """On the training's own wide population: `fit` beside learned steps, and what is left where they pass."""
    for case, name in SHIPPED.items():
        own = load_network(WEIGHTS / name)
        config = {key: tuple(x) if isinstance(x, list) else x for key, x in own.card["config"].items()}
        stated = state(TrainConfig(**config))
        make = jax.jit(lambda k, s=stated: jax.lax.map(lambda k: drawn(s.problem, s.conditions, k), k, batch_size=64))
        made = make(jax.random.split(jax.random.key(77), n))
        known = {key: np.asarray(x) for key, x in made.known.items()}
        data = jax.tree.map(np.asarray, made.observed)
        size = made.clean[0].size
        least = np.asarray(jax.vmap(stated.problem.samplewise.misfit)(made.clean, made.observed)) / size
        best = ji.fit(stated.problem, data, fixed=known)
        print(f"{case}, the training's population, {n} pixels: fit {100 * np.mean(best.chi2 <= least):.2f} % solved")
        for k in (1, 2, None):
            found = own.network(stated.problem, data, steps=k, fixed=known)
            passed = found.status <= ji.Status.AT_BOUND
            left = np.percentile(size * (found.chi2 - best.chi2)[passed & (best.chi2 < 2)], [50, 90, 99])
            print(
                f"  {'all' if k is None else k + 1} steps: {100 * np.mean(found.chi2 <= least):.2f} % solved, "
                f"{100 * np.mean(passed):.1f} % pass; left in them at 50, 90, 99 %: "
                f"{' '.join(f'{x:.3f}' for x in left)}",
                flush=True,
            )


def errors(n: int = 20000) -> None:
    """The network alone: errors in weak, medium and strong fields, and how often its 90 % intervals hold the truth."""
    for case in SHIPPED:
        problem, truth, data, _ = batches(case, 1e-3, n)
        network = load_network(WEIGHTS / SHIPPED[case]).network.start
        found = network(problem, data, fixed={"wavelength_offset": 0.0})
        field = truth["field_strength"]
        print(f"{case}: the network alone, {n} pixels of the benchmarks' population, noise 1e-3; mean |error|")
        for low, high in ((50, 500), (500, 1500), (1500, 3000)):
            chosen = (field >= low) & (field < high)
            off = {name: np.abs(turned(name, found.parameters[name] - truth[name]))[chosen] for name in truth}
            print(
                f"  {low:>4}-{high} G: B {off['field_strength'].mean():.1f} G, inclination "
                f"{np.degrees(off['inclination']).mean():.2f} deg, "
                f"azimuth {np.degrees(off['azimuth']).mean():.2f} deg, velocity {1e3 * off['velocity'].mean():.0f} m/s"
            )
        held = {}
        for name in truth:
            off = np.abs(turned(name, found.parameters[name] - truth[name]))
            held[name] = 100 * np.mean(off <= 1.645 * found.standard_error[name])
        print("  90 % intervals on this population: " + ", ".join(f"{k} {v:.1f} %" for k, v in held.items()))
        print("  on the training's: " + ", ".join(f"{k} {100 * v:.1f} %" for k, v in zip(held, network.coverage)))


def slit(folder: Path) -> None:
    """The real slit: adapted on one half without truth, tested on the other; and the whole command."""
    path = folder / "spectra/hinode/SP4D20070227_002010.0C.fits"
    if not path.exists():
        print(f"no real slit: {path} is absent (set JAXINV_REFERENCE_DATA)")
        return
    cube = ji.io.read_stokes(path)
    config = InvertConfig(sigma=(5e-3, 1e-3, 1e-3, 1e-3), method="learned")
    ready = prepare(cube, config)
    learned = LearnedRun(ready, load_network(WEIGHTS / SHIPPED["6301+6302"]))
    problem, own = learned.problem, learned.learned.network
    data = ready.spectra(0, ready.cube.n_pixels)
    shift = np.full(len(data), -np.mean(ready.wavelength - np.linspace(6300.8733, 6303.265239, 112)), np.float32)
    train, test = np.arange(0, len(data), 2), np.arange(1, len(data), 2)
    known = {"wavelength_offset": shift[test]}
    best = ji.fit(problem, data[test], fixed=known)
    print(f"the real slit, {len(test)} pixels not adapted to; median chi2 (95th percentile) of the network alone")
    print(f"  Levenberg-Marquardt {np.median(best.chi2):.3f} ({np.percentile(best.chi2, 95):.2f})")
    for count in (0, 50, 100, 300, 1000):
        start, begin = own.start, time.perf_counter()
        if count:
            training = dataclasses.replace(ADAPTATION, steps=count, evaluate=count)
            start = adapt(
                start, problem, data[train], training, key=jax.random.key(0), fixed={"wavelength_offset": shift[train]},
                progress=False,
            )  # fmt: skip
        seconds = time.perf_counter() - begin
        alone = start(problem, data[test], fixed=known)
        loop = dataclasses.replace(own, start=start)
        one = loop(problem, data[test], steps=0, fixed=known)
        near = [100 * np.mean(s.chi2 <= f * best.chi2) for s in (alone, one) for f in (1.01, 1.05)]
        print(
            f"  {count:>4} steps, {seconds:4.0f} s: {np.median(alone.chi2):.3f} ({np.percentile(alone.chi2, 95):.2f}), "
            f"within 1 / 5 % of it {near[0]:.1f} / {near[1]:.1f} %; after one step {np.median(one.chi2):.3f}, "
            f"{near[2]:.1f} / {near[3]:.1f} %",
            flush=True,
        )
        for label, found in (("alone", alone), ("one step", one)):
            off = {
                name: distance(name, best, found) for name in ("field_strength", "inclination", "azimuth", "velocity")
            }
            said = ", ".join(f"{k} {np.median(x):.2f} / {np.percentile(x, 90):.2f}" for k, x in off.items())
            print(f"        {label}: |difference| in standard errors, median / 90 %: {said}")
    reference: Any = None
    for label, more in (("lm", {"method": "lm"}), ("learned", {}), ("learned, adapted", {"adapt": 200})):
        used = dataclasses.replace(config, **more)
        maps, seconds = measured(lambda used=used: ji.invert(cube, used, progress=False), 3)
        reference = maps if label == "lm" else reference
        ways = "" if maps.route is None else f", routes {np.bincount(maps.route.ravel(), minlength=4)}"
        print(
            f"  --method {label:<18} {seconds:6.2f} s, {seconds / cube.n_pixels * 1e6:6.0f} us a pixel, median chi2 "
            f"{np.nanmedian(maps.chi2):.3f}{ways}"
        )
        if maps is not reference:
            for name in ("field_strength", "inclination", "azimuth"):
                print(f"      standard error of {name}, off by {off_errors(maps, reference, [name])}")


def command(folder: Path, n: int = 100_000) -> None:
    """The whole command with adaptation on 10^5 pixels, real and simulated, each in a process of its own.

    Twice: the second time, the compiled programs are those that the command has kept.
    """
    path = folder / "spectra/hinode/SP4D20070227_002010.0C.fits"
    if not path.exists():
        print(f"no real slit: {path} is absent (set JAXINV_REFERENCE_DATA)")
        return
    cube = ji.io.read_stokes(path)
    real = np.asarray(cube.values[:]).reshape(-1, 4, 112)
    rng = np.random.default_rng(0)
    sigma = np.array([2e-3, 1e-3, 1e-3, 1e-3])[:, None] * np.median(real[:, 0])
    many = real[rng.integers(len(real), size=n)]
    many = (many + rng.normal(0, 1, many.shape) * sigma / 4).astype(np.float32)
    _, _, simulated, _ = batches("6301+6302", 1e-3, n)
    with tempfile.TemporaryDirectory() as work:
        for label, values, wavelength, more in (
            ("real spectra, noise added", many, cube.wavelength, ["--sigma", "5e-3", "1e-3", "1e-3", "1e-3"]),
            (
                "simulated", simulated, 6300.8733 + 0.021549 * np.arange(112),
                ["--sigma", "1e-3", "--continuum", "1", "--wavelength-shift", "0"],
            ),
        ):  # fmt: skip
            file = Path(work) / "cube.fits"
            shape = (250, n // 250, 4, 112)
            ji.io.write_stokes(file, ji.io.stokes_cube(values.reshape(shape), wavelength), overwrite=True)
            print(f"the whole command, {n} pixels, {label}")
            for flags in (["--method", "lm"], ["--method", "learned"], ["--method", "learned", "--adapt", "50"]):
                line = [sys.executable, "-m", "jaxinv", "invert", str(file), "-o", str(Path(work) / "maps.fits")]
                line += ["--overwrite", "--no-quicklook", *flags, *more]
                seconds, said = [], []
                for _ in range(2):
                    begin = time.perf_counter()
                    own = {**os.environ, "XDG_CACHE_HOME": work}
                    done = subprocess.run(line, capture_output=True, text=True, check=True, env=own)
                    seconds.append(time.perf_counter() - begin)
                    said = [x for x in done.stdout.splitlines() if x.split(" ")[0] in ("network", "route", "misfit")]
                took = " / ".join(f"{x:.1f}" for x in seconds)
                print(f"  {' '.join(flags):<26} {took} s; {'; '.join(said)}", flush=True)


def variants() -> None:
    """What each variant learns in the same number of training steps, on one line."""
    wavelength = np.linspace(6302.0, 6303.0, 48)
    prior = spectra.milne_eddington_prior()
    problem = ji.Problem(spectra.MilneEddington(["Fe I 6302.5"], wavelength), ji.noise.Gaussian(1e-3), prior)
    _, data = ji.Problem(problem.forward, problem.noise, prior | DRAWN).simulate(jax.random.key(1), (1024,))
    best = ji.fit(problem, data)
    print("5 learned steps and a last one, one line, 1000 training steps of 128: within 5 % of the converged chi2")
    training = ji.Training(steps=1000, batch_size=128, learning_rate=2e-3, warmup=0.05, average=0.01, evaluate=250)
    for variant, backpropagation in (
        ("damping", "greedy"), ("damping", "exact"), ("recurrent", "greedy"), ("recurrent", "exact"),
        ("network", "greedy"),
    ):  # fmt: skip
        method = ji.LearnedSteps(variant=variant, backpropagation=backpropagation, steps=5)
        begin = time.perf_counter()
        conditions = ji.Conditions(drawn=DRAWN)
        found = ji.unroll(problem, method, training, key=jax.random.key(0), conditions=conditions, progress=False)
        seconds = time.perf_counter() - begin
        share = 100 * np.mean(found(problem, data, steps=5).chi2 <= 1.05 * best.chi2)
        print(f"  {variant:<12} {backpropagation:<10} {share:.1f} %, trained in {seconds:.0f} s", flush=True)
    usual = Unrolled(Loop(ji.LearnedSteps(steps=5), None), ji.LevenbergMarquardt(), None, problem.names)
    print(f"  classical               {100 * np.mean(usual(problem, data, steps=5).chi2 <= 1.05 * best.chi2):.1f} %")


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
        "steps": steps,
        "whole": whole,
        "wide": wide,
        "errors": errors,
        "slit": lambda: slit(folder),
        "command": lambda: command(folder),
        "variants": variants,
        "flow": flow,
    }
    for name, run in parts.items():
        if not arguments.parts or name in arguments.parts:
            run()


if __name__ == "__main__":
    main()
