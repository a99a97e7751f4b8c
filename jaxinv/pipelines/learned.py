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
from jaxinv.compute.batch import filled
from jaxinv.observation import Observation
from jaxinv.optimize import Assured, LevenbergMarquardt, assure
from jaxinv.optimize.assure import merged
from jaxinv.pipelines.config import InvertConfig
from jaxinv.pipelines.misfits import beside_neighbours, enough, reached
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


def shipped() -> dict[str, dict[str, Any]]:
    """The cards of the networks that come with the package, by name."""
    return {card.parent.name: read_card(card.parent) for card in sorted(WEIGHTS.glob("*/card.json"))}


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


class LearnedInversion:
    """A network made ready for an observation.

    Args:
        learned: the network.
        ready: the observation.
        config: the options.
        offset: `(n_pixels,)` shift of each pixel's spectrum towards the red [angstrom], if it is known.
        solver: of the fits that mend what fails.
        psf: as in `invert`.

    Attributes:
        learned: the network.
        problem: on the network's wavelengths.

    Raises:
        ValueError: the network was trained for other wavelengths, lines or options.
    """

    def __init__(
        self,
        learned: LearnedNetwork,
        ready: Preparation,
        config: InvertConfig,
        offset: np.ndarray | None,
        solver: LevenbergMarquardt,
        psf: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> None:
        self.learned, self._solver, self._seed, self._ready = learned, solver, config.seed, ready
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
        shifts = self._shift + (np.zeros(1) if offset is None else np.asarray(offset))
        if np.nanmax(np.abs(shifts)) > most * (1 + 1e-6):
            raise ValueError(
                f"{path} was trained for spectra displaced by up to {1e3 * most:.0f} mA on its wavelengths; "
                f"those of the observation are by up to {1e3 * np.nanmax(np.abs(shifts)):.0f} mA: train a network "
                "for them"
            )
        forward, _ = stated(config, ready.lines, grid, ready.measured.profile, psf)
        check_forward(path, card, forward)
        self.problem = Problem(forward, ready.problem.noise, ready.problem.prior)
        self._offset, self._given = offset, most > 0
        self._check_noise()
        self._chi2: float | None = None

    def _check_noise(self) -> None:
        card = self.learned.card
        ratio = self._ready.sigma / np.broadcast_to(np.ravel(card["sigma"]), (4,))
        low, high = card["noise_range"]
        if np.any(ratio < 0.8 * low) or np.any(ratio > 1.25 * high):
            warnings.warn(
                f"the noise is {' '.join(f'{x:.2g}' for x in ratio)} times that of {self.learned.path} in I, Q, U, V, "
                f"which was trained for {low:g} to {high:g}: expect pixels to be fitted anew, or train one for it",
                stacklevel=4,
            )

    def _fixed(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        if not self._given:
            return {}
        own = np.zeros(len(pixels)) if self._offset is None else self._offset[pixels]
        return {"wavelength_offset": np.asarray(self._shift + own, np.float32)}

    def adapted(self, steps: int, *, progress: bool = True) -> LearnedInversion:
        """The same with the network trained on for some steps on the observation itself, without any truth."""
        n = self._ready.cube.n_pixels
        pixels = np.unique(np.linspace(0, n - 1, min(n, _PIXELS)).astype(int))
        spectra, fixed = self._ready.some_spectra(pixels), self._fixed(pixels)
        start = self.learned.network.start
        better = adapt(
            start, self.problem, spectra, key=jax.random.key(self._seed), fixed=fixed, progress=progress,
            training=dataclasses.replace(ADAPTATION, steps=steps, evaluate=steps),
        )  # fmt: skip

        def median(estimator: Any) -> float:
            found = estimator(self.problem, spectra[::4], fixed={name: x[::4] for name, x in fixed.items()})
            return float(np.nanmedian(found.chi2))

        gained = f"{steps} steps on {len(pixels)} pixels: median chi2 of the network alone {median(start):.4g}"
        gained += f" -> {median(better):.4g}"
        network = dataclasses.replace(self.learned.network, start=better)
        found = copy.copy(self)
        found.learned, found._chi2 = self.learned._replace(network=network, adapted=gained), None
        return found

    def __call__(self, start: int, stop: int, size: int) -> Assured:
        """Pixels `start` to `stop`, padded to `size`."""
        pixels = np.arange(start, stop)
        spectra, fixed = self._padded(pixels, size)
        first, familiar = self.learned.network.begin(self.problem, spectra, fixed=fixed)
        answer = self.learned.network(self.problem, spectra, fixed=fixed, initial=first)
        found = assure(
            self.problem, answer, Observation(spectra, ids=np.arange(start, start + size)),
            chi2=self._plausible(size), doubtful=~familiar, fixed=fixed, solver=self._solver, seed=self._seed,
        )  # fmt: skip
        return Assured(found.solution.each(lambda x: x[: len(pixels)]), found.route[: len(pixels)])

    def _plausible(self, size: int) -> float:
        """The misfit that such spectra reach on a sample of the map, or that noise alone explains."""

        def some(pixels: np.ndarray) -> Solution:
            spectra, fixed = self._padded(pixels, size)
            return self.learned.network(self.problem, spectra, fixed=fixed).each(lambda x: x[: len(pixels)])

        if self._chi2 is None:
            noise = 1 + 4 * np.sqrt(2 / (4 * len(self._ready.wavelength)))
            self._chi2 = max(enough(reached(self._ready.cube.n_pixels, size, some)), noise)
        return self._chi2

    def _padded(self, pixels: np.ndarray, size: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Spectra and what is known of them, filled up to `size`, so that all run one compiled program."""
        data, fixed = filled((Observation(self._ready.some_spectra(pixels)), self._fixed(pixels)), size)
        return data.values, fixed

    def mended(self, solution: Solution, route: np.ndarray) -> tuple[Solution, np.ndarray]:
        """Maps in which pixels whose misfit is implausible beside their neighbours' were fitted anew, too."""
        shape = solution.chi2.shape
        n_samples = 4 * len(self._ready.wavelength)
        odd = np.flatnonzero(beside_neighbours(solution.chi2, n_samples) & (route != Route.UNFAMILIAR))
        if not odd.size:
            return solution, route
        flat = solution.each(lambda x: x.reshape(-1, *x.shape[2:]))
        found = assure(
            self.problem, flat.each(lambda x: x[odd]), Observation(self._ready.some_spectra(odd), ids=odd),
            chi2=0.0, fixed=self._fixed(odd), solver=self._solver, seed=self._seed,
        )  # fmt: skip
        flat = merged(flat, odd, found.solution, np.arange(len(odd)))
        route = route.copy().ravel()
        route[odd] = Route.REFITTED
        return flat.each(lambda x: x.reshape(*shape, *x.shape[1:])), route.reshape(shape)


def steps_for(config: InvertConfig, n_pixels: int) -> int:
    """How many steps a network is adapted by."""
    if config.adapt is not None:
        return config.adapt
    steps = min(n_pixels // _PER_STEP, _MOST)
    return steps if steps >= _FEWEST else 0
