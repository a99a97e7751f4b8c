"""Answers of trained networks for an observation, each checked by the exact forward model before it is handed over."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxinv.amortization import PointEstimator
from jaxinv.optimize import Assured, LevenbergMarquardt, assure, fit
from jaxinv.pipelines.config import InvertConfig
from jaxinv.pipelines.misfits import one_start, reached
from jaxinv.pipelines.preparation import Preparation, stated
from jaxinv.pipelines.training import shipped
from jaxinv.problem import Problem
from jaxinv.results.solution import Solution
from jaxinv.training.folder import FolderError, check_forward, read_card
from jaxinv.unrolling import Unrolled

_REACHED = 95.0
"""The percentile of the misfits that converged fits reach on a sample, which a quick answer has to reach too."""
_ALIKE = 5e-4
"""How far wavelengths may lie from those that a network was trained for, after a common shift [angstrom]."""


class QuickNetwork(NamedTuple):
    """A trained network with its card.

    Attributes:
        network: `Unrolled` or `PointEstimator`.
        card: what its folder says of it.
        path: the folder.
    """

    network: Unrolled | PointEstimator
    card: dict[str, Any]
    path: str


def load_network(method: str, path: str | os.PathLike[str] | None = None) -> QuickNetwork:
    """A network from its folder; the shipped one where `path` is `None`.

    Raises:
        FolderError: the folder is not there, damaged, of another kind or version, or no network for an instrument.
    """
    folder = shipped(method) if path is None else path
    card = read_card(folder)
    network = (Unrolled if method == "learned" else PointEstimator).load(folder)
    if "report" not in card or "wavelength" not in card:
        raise FolderError(f"{folder} does not say what instrument it was trained for: train it by `jaxinv train`")
    return QuickNetwork(network, card, str(folder))


class QuickInversion:
    """A network made ready for an observation.

    Args:
        quick: the network.
        ready: the observation.
        config: the options.
        offset: `(n_pixels,)` shift of each pixel's spectrum towards the red [angstrom], if it is known.
        solver: of the fits that mend what fails.
        psf: as in `invert`.

    Attributes:
        chi2: above which an answer does not pass.

    Raises:
        ValueError: the network was trained for other wavelengths, lines or options.
    """

    def __init__(
        self,
        quick: QuickNetwork,
        ready: Preparation,
        config: InvertConfig,
        offset: np.ndarray | None,
        solver: LevenbergMarquardt,
        psf: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> None:
        self._network, self._solver, self._seed = quick.network, solver, config.seed
        self._spectra = ready.spectra
        first, last, n = quick.card["wavelength"]
        wavelength = np.linspace(first, last, int(n))
        if len(ready.wavelength) != len(wavelength) or np.ptp(ready.wavelength - wavelength) > 2 * _ALIKE:
            step = np.mean(np.diff(ready.wavelength))
            raise ValueError(
                f"{quick.path} was trained for {int(n)} wavelengths, {1e3 * (last - first) / (n - 1):.3f} mA apart; "
                f"the observation has {len(ready.wavelength)}, {1e3 * step:.3f} mA apart: train a network for them "
                "(`jaxinv train`), or use --method lm"
            )
        # The network's wavelengths are those of the observation but for a shift, which it is told.
        self._shift = -float(np.mean(ready.wavelength - wavelength))
        most = float(quick.card["wavelength_offset"])
        shifts = self._shift + (np.zeros(1) if offset is None else np.asarray(offset))
        if np.nanmax(np.abs(shifts)) > most * (1 + 1e-6):
            raise ValueError(
                f"{quick.path} was trained for spectra displaced by up to {1e3 * most:.0f} mA on its wavelengths; "
                f"those of the observation are by up to {1e3 * np.nanmax(np.abs(shifts)):.0f} mA: train a network "
                "for them"
            )
        forward, _ = stated(config, ready.lines, wavelength, ready.measured.profile, psf)
        check_forward(quick.path, quick.card, forward)
        self._problem = Problem(forward, ready.problem.noise, ready.problem.prior)
        self._offset = offset
        self._given = quick.card["wavelength_offset"] > 0
        ratio = ready.sigma / np.broadcast_to(np.ravel(quick.card["sigma"]), (4,))
        low, high = quick.card["noise_range"]
        if np.any(ratio < 0.8 * low) or np.any(ratio > 1.25 * high):
            warnings.warn(
                f"the noise is {' '.join(f'{x:.2g}' for x in ratio)} times that of {quick.path} in I, Q, U, V, which "
                f"was trained for {low:g} to {high:g}: expect more pixels to be fitted anew",
                stacklevel=3,
            )
        self.chi2 = max(float(quick.card["report"]["chi2_99"]), self._reached(ready))

    def _reached(self, ready: Preparation) -> float:
        """What converged fits reach on this observation, which the model may describe less well than simulated ones."""

        def fit_some(pixels: np.ndarray) -> Solution:
            return fit(
                self._problem, ready.some_spectra(pixels), fixed=self._fixed(pixels), solver=solver, seed=self._seed
            )

        n, solver = ready.cube.n_pixels, one_start(self._solver)
        good = reached(n, n, fit_some)
        return float(np.percentile(good, _REACHED)) if good.size else np.inf

    def _fixed(self, pixels: Any) -> dict[str, np.ndarray]:
        if not self._given:
            return {}
        own = 0.0 if self._offset is None else self._offset[pixels]
        return {"wavelength_offset": np.asarray(self._shift + own, np.float32)}

    def __call__(self, start: int, stop: int, size: int) -> Assured:
        """Pixels `start` to `stop`; a short piece is padded to `size`."""
        n = stop - start
        padding = ((0, size - n),)
        spectra = np.pad(self._spectra(start, stop), (*padding, (0, 0), (0, 0)), constant_values=np.nan)
        fixed: Mapping[str, Any] = self._fixed(slice(start, stop))
        fixed = {k: np.pad(v, padding, mode="edge") if np.ndim(v) else v for k, v in fixed.items()}
        answer = self._network(self._problem, spectra, fixed=fixed)
        return assure(
            self._problem, answer, spectra, chi2=self.chi2, fixed=fixed, solver=self._solver, seed=self._seed,
            first_index=start,
        )  # fmt: skip
