"""Train a network for an instrument: the problem that the options state, the training, a report on fresh spectra."""

from __future__ import annotations

import dataclasses
import os
import time
from typing import Any, NamedTuple

import jax
import numpy as np
import numpyro.distributions as dist

from jaxinv.amortization import Flow, NormalizingFlow, PointEstimate, amortize
from jaxinv.amortization.posterior import FLOW_TRAINING
from jaxinv.emulation import Emulator, Surrogate, emulate
from jaxinv.noise import Gaussian
from jaxinv.observation import Observation, StokesCube
from jaxinv.optimize import LevenbergMarquardt, fit
from jaxinv.pipelines.config import InvertConfig, TrainConfig
from jaxinv.pipelines.preparation import plain_options, prepare, stated
from jaxinv.problem import Problem
from jaxinv.results.posterior import PosteriorStatus
from jaxinv.results.solution import Status
from jaxinv.sampling import Importance, Laplace, draw
from jaxinv.spectra.lines import find_lines
from jaxinv.training import Checkpoints, Conditions, Training
from jaxinv.training.data import simulator
from jaxinv.unrolling import LearnedSteps, Unrolled, unroll

_KINDS: dict[str, Any] = {"learned": PointEstimate, "posterior": NormalizingFlow, "surrogate": Emulator}
_TRAININGS: dict[str, Training] = {
    "learned": Training(
        optimizer="muon", steps=6000, batch_size=512, learning_rate=8e-3, average=0.005, evaluate=250, n_validation=2048
    ),
    "posterior": FLOW_TRAINING,
    "surrogate": Training(),
}
_LOOP = LearnedSteps(steps=3)
_LOOP_TRAINING = Training(
    steps=1200, batch_size=256, learning_rate=2e-3, warmup=0.05, average=0.01, evaluate=200, n_validation=1024
)
_START_DAMPING = 3e-3
"""First damping from a network's answer, which is near its minimum."""
_DRAWN = 8
"""Of the spectra of a report, one in so many is sampled for that of a density."""
_WEAK = 300.0
"""Field strength below which the report of a density tells of spectra by themselves [G]."""
_MOST_STEPS = 4
"""Learned steps, at most, that the report tells of."""


class Statement(NamedTuple):
    """What a network is trained for.

    Attributes:
        problem: forward model on the network's wavelengths, nominal noise, prior.
        conditions: what varies between observations.
        method: settings of the network.
        training: settings of the training.
        loop: settings of the learned steps.
        loop_training: of their training.
    """

    problem: Problem
    conditions: Conditions
    method: Any
    training: Training
    loop: LearnedSteps
    loop_training: Training


class TrainedNetwork(NamedTuple):
    """A network and what is known of it.

    Attributes:
        network: `Unrolled`, `Flow` or `Surrogate`.
        statement: what it was trained for.
        card: how it was trained and how good it is, for its folder.
    """

    network: Any
    statement: Statement
    card: dict[str, Any]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a folder.

        Raises:
            OutputError: it cannot be written.
        """
        if isinstance(self.network, Surrogate):
            self.network.save(path, self.card)
        else:
            self.network.save(path, self.statement.problem, self.card)


def state(config: TrainConfig) -> Statement:
    """The problem and the settings that the options ask for.

    Raises:
        ValueError, UnknownLineError: an option that does not fit; says which and why.
    """
    lines = find_lines(config.lines)
    first, last, n = config.wavelength
    wavelength = np.linspace(first, last, int(n))
    shared = {field.name for field in dataclasses.fields(InvertConfig)} & {f.name for f in dataclasses.fields(config)}
    options: dict[str, Any] = {name: getattr(config, name) for name in shared - {"method", "lines", "sigma", "seed"}}
    forward, prior = stated(InvertConfig(**options), lines, wavelength)
    sigma = np.broadcast_to(np.array(config.sigma, float), (4,))
    problem = Problem(forward, Gaussian(sigma[:, None]), prior)
    drawn = {name: dist.Uniform(*ends) for name, ends in plain_options(forward, "drawn", config.drawn).items()}
    logarithmic = plain_options(forward, "drawn_log", config.drawn_log)
    drawn |= {name: dist.LogUniform(*ends) for name, ends in logarithmic.items()}
    shift = config.wavelength_offset
    known = {"wavelength_offset": dist.Uniform(-shift, shift)} if shift and config.method != "surrogate" else {}
    conditions = Conditions(noise=(config.noise_range[0], config.noise_range[1]), known=known, drawn=drawn)
    conditions.check(problem)
    return Statement(
        problem,
        conditions,
        _settings(_KINDS[config.method](), config.network, "network"),
        _settings(_TRAININGS[config.method], config.training, "training"),
        _settings(_LOOP, config.loop, "loop"),
        _settings(_LOOP_TRAINING, config.loop_training, "loop_training"),
    )


def _settings(usual: Any, given: Any, what: str) -> Any:
    known = {field.name: field for field in dataclasses.fields(usual)}
    for name, value in given.items():
        if name not in known:
            raise ValueError(f"the option {what!r} has no {name!r} (there are {', '.join(known)})")
        default = known[name].default
        number = isinstance(default, int | float) and not isinstance(default, bool)
        if number and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise ValueError(f"the option {what!r}: {name!r} takes a number; found {value!r}")
        if isinstance(default, int) and value != int(value):
            raise ValueError(f"the option {what!r}: {name!r} takes a whole number; found {value!r}")
        if isinstance(default, str) and not isinstance(value, str):
            raise ValueError(f"the option {what!r}: {name!r} takes a text; found {value!r}")
    converted = {name: type(known[name].default)(x) if _plain(known[name].default) else x for name, x in given.items()}
    return dataclasses.replace(usual, **converted)


def _plain(value: Any) -> bool:
    return isinstance(value, int | float | str)


def train_network(
    config: TrainConfig,
    *,
    observation: StokesCube | None = None,
    keeper: Checkpoints | None = None,
    progress: bool = True,
) -> TrainedNetwork:
    """Train a network and judge it on fresh spectra.

    Args:
        config: the options.
        observation: real spectra to be trained on beside simulated ones (method "learned").
        keeper: keeps the state of the training, so that it can be gone on with.
        progress: show bars with the loss, the rate and the time left.

    Raises:
        ValueError, UnknownLineError: an option that does not fit; says which and why.
        TrainingError: the loss became infinite or NaN.
    """
    stated = state(config)
    if observation is not None and config.method != "learned":
        raise ValueError(f"the method {config.method!r} cannot be trained on an observation: it needs the truth")
    key, report_key, loop_key = jax.random.split(jax.random.key(config.seed), 3)
    run: dict[str, Any] = {"key": key, "keeper": keeper and keeper.part("network"), "progress": progress}
    problem, conditions, method, training = stated[:4]
    begin = time.perf_counter()
    network: Any
    if isinstance(method, Emulator):
        network = emulate(problem.forward, {**problem.prior, **conditions.drawn}, method, training, **run)
    else:
        data = None
        if observation is not None:
            data, conditions = _observed(observation, config, stated)
        network = amortize(problem, method, training, conditions=conditions, data=data, **run)
    if config.method == "learned":
        run |= {"key": loop_key, "keeper": keeper and keeper.part("loop")}
        network = unroll(
            problem, stated.loop, stated.loop_training, start=network, conditions=conditions,
            solver=LevenbergMarquardt(damping=_START_DAMPING), **run,
        )  # fmt: skip
    card = {
        "config": dataclasses.asdict(config),
        "wavelength": list(config.wavelength),
        "wavelength_offset": config.wavelength_offset,
        "noise_range": list(config.noise_range),
        "training_seconds": round(time.perf_counter() - begin, 1),
    }
    if isinstance(network, Unrolled):
        card["report"] = report(network, stated, config.n_report, report_key)
    if isinstance(network, Flow):
        card["report"] = density_report(network, stated, max(config.n_report // _DRAWN, 20), report_key)
    return TrainedNetwork(network, stated, card)


def _observed(cube: StokesCube, config: TrainConfig, stated: Statement) -> tuple[Observation, Conditions]:
    """Calibrated spectra of an observation, and conditions in which nothing beside them is known."""
    if stated.conditions.known:
        raise ValueError("an observation is trained on at its own wavelengths: set wavelength_offset to 0")
    ready = prepare(cube, InvertConfig(lines=config.lines))
    first, last, n = config.wavelength
    apart = np.inf
    if len(ready.wavelength) == int(n):
        apart = float(np.max(np.abs(ready.wavelength - np.linspace(first, last, int(n)))))
    if apart > 1e-3:
        w = ready.wavelength
        raise ValueError(
            f"the observation has the wavelengths {w[0]:.6f} {w[-1]:.6f} {len(w)} (first, last, number), calibrated: "
            f"give them as `wavelength`"
        )
    values = ready.spectra(0, ready.cube.n_pixels).reshape(*ready.cube.map_shape, 4, -1)
    sigma = np.broadcast_to(ready.sigma[:, None], values.shape[-2:])
    return Observation(values, sigma.astype(np.float32)), stated.conditions


def report(network: Unrolled, stated: Statement, n: int, key: Any) -> dict[str, Any]:
    """What a network's answers to fresh simulated spectra are worth, beside converged Levenberg-Marquardt.

    Returns:
        `chi2_99`, the 99th percentile of converged fits; the network alone: median chi2, and how often its 90 %
        intervals hold the truth; after 0, 1, ... learned steps and a last one: the fraction within 5 % of the converged
        chi2, at or below the truth's, and converged by the solver's own test; microseconds a spectrum.
    """
    problem, conditions = stated.problem, stated.conditions
    make = simulator(problem, conditions)
    made = make(jax.random.split(key, n))
    known = {name: np.asarray(x) for name, x in made.known.items()}
    data = jax.tree.map(np.asarray, made.observed)
    least = jax.jit(jax.vmap(problem.samplewise.misfit))(made.clean, made.observed) / made.clean[0].size

    def timed(solve: Any) -> tuple[Any, float]:
        solve()  # compiles
        begin = time.perf_counter()
        solution = solve()
        return solution, 1e6 * (time.perf_counter() - begin) / n

    best, converged_time = timed(lambda: fit(problem, data, fixed=known))
    alone = network.start(problem, data, fixed=known)
    numbers: dict[str, Any] = {
        "chi2_99": np.percentile(best.chi2, 99),
        "chi2_median_converged": np.median(best.chi2),
        "chi2_median_network_alone": np.median(alone.chi2),
        "within_5_percent_network_alone": np.mean(alone.chi2 <= 1.05 * best.chi2),
        "microseconds_converged": converged_time,
    }
    for k in range(_MOST_STEPS):
        found, seconds = timed(lambda k=k: network(problem, data, steps=k, fixed=known))
        good = found.status <= Status.AT_BOUND
        numbers |= {
            f"within_5_percent_after_{k}": np.mean(found.chi2 <= 1.05 * best.chi2),
            f"at_or_below_truth_after_{k}": np.mean(found.chi2 <= least),
            f"converged_after_{k}": np.mean(good),
            f"microseconds_after_{k}": seconds,
        }
    held = dict(zip(problem.given(known).layout.labels, network.start.coverage, strict=True))
    numbers |= {f"coverage_{name}": share for name, share in held.items()}
    return {"n": n, **{name: float(f"{float(value):.4g}") for name, value in numbers.items()}}


def density_report(flow: Flow, stated: Statement, n: int, key: Any) -> dict[str, Any]:
    """For how many fresh simulated spectra weights make exact posteriors of a trained density.

    Returns:
        The fraction of spectra whose weights can be relied on, and the median of their effective number over the number
        of draws: from the normal approximation, from the density, from either; of all, and of weak fields.
    """
    problem, conditions = stated.problem, stated.conditions
    make = simulator(problem, conditions)
    made = make(jax.random.split(key, n))
    known = {name: np.asarray(x) for name, x in made.known.items()}
    data = jax.tree.map(np.asarray, made.observed)
    modes = fit(problem, data, fixed=known)
    field = np.asarray(made.parameters.get("field_strength", np.full(n, np.inf)))
    numbers: dict[str, Any] = {}
    either = np.zeros(n, bool)
    for name, base in (("normal", Laplace(degrees=10.0)), ("density", flow)):
        method = Importance(base)
        found = draw(problem, data, key=key, method=method, fixed=known, initial=modes)
        passed = found.status == PosteriorStatus.CONVERGED
        fraction = found.scalars["weights_ess"] / method.proposals
        either |= passed
        for label, which in (("", field >= 0), ("_below_300_gauss", field < _WEAK)):
            if which.any():
                numbers[f"passes_{name}{label}"] = np.mean(passed[which])
                numbers[f"passes_either{label}"] = np.mean(either[which])
                numbers[f"effective_fraction_{name}{label}"] = np.nanmedian(fraction[which])
    return {"n": n, **{name: float(f"{float(value):.4g}") for name, value in numbers.items()}}
