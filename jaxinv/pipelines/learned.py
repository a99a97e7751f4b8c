"""Learned inversions of an observation: a network adapted to it, learned steps, and the exact model's check of each."""

from __future__ import annotations

import copy
import dataclasses
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxinv.amortization import ADAPTATION, adapt
from jaxinv.compute.batch import in_rows
from jaxinv.compute.progress import Advance
from jaxinv.compute.run import Work
from jaxinv.compute.store import Store
from jaxinv.optimize import LevenbergMarquardt, assure, labels_of
from jaxinv.pipelines.config import InvertConfig
from jaxinv.pipelines.inversion import InversionRun
from jaxinv.pipelines.misfits import beside_neighbours, enough
from jaxinv.pipelines.preparation import Preparation, stated
from jaxinv.problem import Problem
from jaxinv.results.solution import Route, Solution
from jaxinv.training.folder import FolderError, check_forward, read_card, save
from jaxinv.unrolling import Unrolled

WEIGHTS = Path(__file__).parent / "weights"
"""Networks that come with the package."""
_ALIKE = 5e-4
"""How far wavelengths may lie from those that a network was trained for, after a common shift [angstrom]."""
_PIXELS = 4096
"""Of a map, at most, to which a network is adapted."""
_PER_STEP, _FEWEST, _MOST = 10_000, 50, 500
"""Pixels of a map that a step of the adaptation must be spread over, and how many steps are taken by default: each
takes as long as it spares in so many pixels."""


class LearnedNetwork(NamedTuple):
    """A trained network with its card.

    Attributes:
        network: the loop with the network that it starts from.
        card: what its folder says of it.
        path: the folder, or the name of one that comes with the package.
        adapted: what the adaptation to an observation gained; "" before it.
    """

    network: Unrolled
    card: dict[str, Any]
    path: str
    adapted: str = ""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a folder, from where it serves the next observation of the same instrument.

        Raises:
            OutputError: it cannot be written.
        """
        own = {"kind", "format", "jaxinv", "weights_sha256", "contents"}
        card = {name: value for name, value in self.card.items() if name not in own}
        save(path, self.network, {**card, "adapted": self.adapted})


def load_network(path: str | os.PathLike[str]) -> LearnedNetwork:
    """A network from its folder.

    Raises:
        FolderError: the folder is not there, damaged, of another kind or version, or no network for an instrument.
    """
    card = read_card(path)
    network = Unrolled.load(path)
    if "report" not in card or "wavelength" not in card or network.start is None:
        raise FolderError(f"{path} does not say what instrument it was trained for: train it by `jaxinv train`")
    return LearnedNetwork(network, card, str(path), card.get("adapted", ""))


def shipped(kind: str = "Unrolled") -> dict[str, dict[str, Any]]:
    """The cards of the networks of a kind that come with the package, by name."""
    cards = {card.parent.name: read_card(card.parent) for card in sorted(WEIGHTS.glob("*/card.json"))}
    return {name: card for name, card in cards.items() if card["kind"] == kind}


def shipped_for(ready: Preparation) -> LearnedNetwork:
    """The network that comes with the package for the lines and wavelengths of an observation.

    Raises:
        ValueError: there is none; says for what there are.
    """
    lines = [line.name for line in ready.lines]
    known = []
    for name, card in shipped().items():
        n = int(card["wavelength"][2])
        known.append(f"{name} ({', '.join(card['config']['lines'])}, {n} wavelengths)")
        if card["config"]["lines"] == lines and _same_grid(ready.wavelength, card):
            return load_network(WEIGHTS / name)._replace(path=name)
    raise ValueError(
        f"no network comes with jaxinv for {', '.join(lines)} at {len(ready.wavelength)} wavelengths (there are "
        f"{'; '.join(known)}): train one (`jaxinv train`), give it as `network`, or use the method lm"
    )


def _grid(card: Mapping[str, Any]) -> np.ndarray:
    first, last, n = card["wavelength"]
    return np.linspace(first, last, int(n))


def _same_grid(wavelength: np.ndarray, card: Mapping[str, Any]) -> bool:
    grid = _grid(card)
    return len(wavelength) == len(grid) and np.ptp(wavelength - grid) <= 2 * _ALIKE


class LearnedRun(InversionRun):
    """The inversion of a map by a network, whose answers are checked.

    Args:
        ready: the observation.
        learned: the network.

    Attributes:
        learned: the network.
        problem: on the network's wavelengths.

    Raises:
        ValueError: the network was trained for other wavelengths, lines or options.
    """

    def __init__(self, ready: Preparation, learned: LearnedNetwork) -> None:
        super().__init__(ready)
        self.learned = learned
        card, path, grid = learned.card, learned.path, _grid(learned.card)
        if not _same_grid(ready.wavelength, card):
            step, own = (1e3 * float(np.mean(np.diff(w))) for w in (ready.wavelength, grid))
            raise ValueError(
                f"{path} was trained for {len(grid)} wavelengths, {own:.3f} mA apart; the observation has "
                f"{len(ready.wavelength)}, {step:.3f} mA apart: train a network for them (`jaxinv train`), or use "
                "--method lm"
            )
        # The network's wavelengths are those of the observation but for a shift, which it is told.
        self._shift = -float(np.mean(ready.wavelength - grid))
        most = float(card["wavelength_offset"])
        shifts = self._shift + (np.zeros(1) if ready.offset is None else ready.offset)
        if np.nanmax(np.abs(shifts)) > most * (1 + 1e-6):
            raise ValueError(
                f"{path} was trained for spectra displaced by up to {1e3 * most:.0f} mA on its wavelengths; "
                f"those of the observation are by up to {1e3 * np.nanmax(np.abs(shifts)):.0f} mA: train a network "
                "for them"
            )
        forward, _ = stated(ready.config, ready.lines, grid, ready.measured.profile, ready.psf)
        check_forward(path, card, forward)
        self.problem = Problem(forward, ready.problem.noise, ready.problem.prior)
        self._given = most > 0
        self._check_noise()

    def _check_noise(self) -> None:
        card = self.learned.card
        ratio = self.ready.sigma / np.broadcast_to(np.ravel(card["sigma"]), (4,))
        low, high = card["noise_range"]
        if np.any(ratio < 0.8 * low) or np.any(ratio > 1.25 * high):
            warnings.warn(
                f"the noise is {' '.join(f'{x:.2g}' for x in ratio)} times that of {self.learned.path} in I, Q, U, V, "
                f"which was trained for {low:g} to {high:g}: expect pixels to be fitted anew, or train one for it",
                stacklevel=5,
            )

    def known(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        if not self._given:
            return {}
        own = np.zeros(len(pixels)) if self.ready.offset is None else self.ready.offset[pixels]
        return {"wavelength_offset": np.asarray(self._shift + own, np.float32)}

    def adapted(self, steps: int, *, progress: bool = True) -> LearnedRun:
        """The same with the network trained on for some steps on the observation itself, without any truth."""
        n = self.ready.cube.n_pixels
        pixels = np.unique(np.linspace(0, n - 1, min(n, _PIXELS)).astype(int))
        data, fixed = self.inputs(pixels)
        spectra, start = data.values, self.learned.network.start
        better = adapt(
            start, self.problem, spectra, key=jax.random.key(self.ready.config.seed), fixed=fixed, progress=progress,
            training=dataclasses.replace(ADAPTATION, steps=steps, evaluate=steps),
        )  # fmt: skip

        def median(estimator: Any) -> float:
            found = estimator(self.problem, spectra[::4], fixed={name: x[::4] for name, x in fixed.items()})
            return float(np.nanmedian(found.chi2))

        gained = f"{steps} steps on {len(pixels)} pixels: median chi2 of the network alone {median(start):.4g}"
        gained += f" -> {median(better):.4g}"
        network = dataclasses.replace(self.learned.network, start=better)
        found = copy.copy(self)
        found.learned = self.learned._replace(network=network, adapted=gained)
        return found

    def work(self) -> Work:
        config, network = self.ready.config, self.learned.network

        def answered(inputs: Any) -> Solution:
            data, known = inputs
            return network(self.problem, data, fixed=known)

        # Plausible is what such spectra reach on a sample of the map, or what noise alone explains.
        noise = 1 + 4 * np.sqrt(2 / (4 * len(self.ready.wavelength)))
        chi2 = max(enough(self.reached(answered)), noise)
        hidden = ("wavelength_offset",) if self.ready.offset is None else ()
        return AnswerPixels(network, self.problem, chi2, self.solver, config.seed, config.covariance, hidden)

    def finish(self, store: Store) -> None:
        """Pixels whose misfit is implausible beside their neighbours' are fitted anew, too."""
        done = store.attributes
        if done.get("mended"):
            return
        if "odd" not in done:  # of the whole map before any is mended, whenever a run is cut
            n_samples = 4 * len(self.ready.wavelength)
            odd = beside_neighbours(store["chi2"], n_samples) & (store["route"] != Route.UNFAMILIAR)
            store.describe(odd=np.flatnonzero(odd).tolist())
        odd = np.array(store.attributes["odd"], int)
        if odd.size:
            arrays = {name: x.reshape(-1, *x.shape[2:]) for name, x in store.arrays().items()}
            before = {name: x[odd] for name, x in arrays.items()}
            data, known = self.inputs(odd)
            if self.ready.offset is None and known:
                before |= {f"parameters/{name}": x for name, x in known.items()}
            labels = labels_of(self.problem.given(tuple(known)))
            found = assure(
                self.problem, Solution.from_arrays(before, labels), data, chi2=0.0, fixed=known,
                solver=self.solver, seed=self.ready.config.seed,
            )  # fmt: skip
            made = {**found.solution.to_arrays(), "route": np.full(len(odd), Route.REFITTED, np.int16)}
            for name, values in arrays.items():
                values[odd] = made[name]
                store.replace(name, values.reshape(*store.shape, *values.shape[1:]))
        store.describe(mended=True)

    def origin(self) -> dict[str, str]:
        found = self.learned
        return {
            "network": f"{found.path}, {found.card['weights_sha256'][:16]}",
            "network_adapted": found.adapted or "no",
        }


@dataclasses.dataclass(frozen=True)
class AnswerPixels:
    """Answers for the pixels of a piece by a network, checks, and fits what fails."""

    network: Unrolled
    problem: Problem
    chi2: float
    solver: LevenbergMarquardt
    seed: int
    covariance: bool
    hidden: tuple[str, ...]

    def __call__(self, inputs: Any, advance: Advance) -> dict[str, np.ndarray]:
        rows = in_rows(self.problem, *inputs)
        first, familiar = self.network.begin(self.problem, rows)
        answer = self.network(self.problem, rows, initial=first)
        found = assure(
            self.problem, answer, rows, chi2=self.chi2, doubtful=~familiar, solver=self.solver, seed=self.seed
        )
        arrays = {**found.solution.to_arrays(covariance=self.covariance), "route": found.route}
        return {name: x for name, x in arrays.items() if name.removeprefix("parameters/") not in self.hidden}


def steps_for(config: InvertConfig, n_pixels: int) -> int:
    """How many steps a network is adapted by."""
    if config.adapt is not None:
        return config.adapt
    steps = min(n_pixels // _PER_STEP, _MOST)
    return steps if steps >= _FEWEST else 0
