"""Images behind a linear instrument, one after another: classical, regularized, or drawn from a posterior."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxinv import imaging
from jaxinv.amortization import ImageEstimator
from jaxinv.compute.progress import Advance
from jaxinv.compute.run import Run, Work
from jaxinv.compute.store import Store
from jaxinv.noise import Gaussian, Poisson
from jaxinv.observation import Observation
from jaxinv.optimize import ADMM, HQS, ISRA, GaussNewtonCG, fit
from jaxinv.pipelines.power import fitted_power
from jaxinv.problem import Problem
from jaxinv.results.reconstruction import ImageStatus, Reconstruction
from jaxinv.results.solution import Status
from jaxinv.sampling import PerturbAndOptimize
from jaxinv.sampling.sampler import draw

DENOISER = Path(__file__).parent / "weights" / "denoiser"
"""The network that comes with the package."""
_DATA_WEIGHT = 0.23
"""Of plug and play: Zhang et al. (2021, IEEE TPAMI 44, 6360), who call it lambda."""
_WIDE = 0.5
"""Of an image's standard deviation: the noise that the network is told first."""
_TOLD = 0.5
"""Times the noise that is left after the operator's gain: what the network is told last, by default."""
_STEPS = 24
"""Of plug and play."""
_CLOSE = 0.02
"""How near chi2 has to come to 1, at least."""
_TRIES = 14
"""Strengths that are tried, at most."""
_MEAN = 1e-3
"""Weight, beside that of a datum, with which a mean that nothing is known of is held at 0."""
_CLOSELY = 1e-2
"""Relative residual of each draw, which moves it by a few hundredths of the standard deviation."""
_UNEXPLAINED = 1.5
"""Of chi2."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How one image is made of its data.

    Attributes:
        operator: from the image to the data.
        method: "classical", "wiener", "tv", "wavelets", "starlets", "pnp" or "richardson-lucy".
        strength: of the regularization, in units of the noise's standard deviation: a weight is so many times 1 / sigma
            (a detail of a sharp image is kept from about so many sigma on), a denoiser is told so many sigma; `None`:
            such that chi2 is 1; of a denoiser, 0.5.
        positive: whether the image is 0 or more.
        draws: for the errors of a linear method.
        iterations: at most; of Richardson and Lucy exactly.
        tolerance: relative change of an image with which the iteration ends.
        gain: counts in a unit of the data, for Poisson noise.
        smoothing: full width at half maximum of a Gaussian that a classical image is smoothed by [pixel].
        mean_free: whether the data tell nothing of the mean of the image.
        window: first row and column, and size, of the part of the image that is kept.
        network: folder of the denoiser.
        seed: of the draws.
    """

    operator: imaging.LinearOperator
    method: str
    strength: float | None = None
    positive: bool = False
    draws: int = 100
    iterations: int = 500
    tolerance: float = 3e-4
    gain: float = 1.0
    smoothing: float = 0.0
    mean_free: bool = False
    window: tuple[int, int, int, int] | None = None
    network: str = str(DENOISER)
    seed: int = 0

    def __call__(self, inputs: Any, advance: Advance) -> dict[str, np.ndarray]:
        out = []
        for values, sigma, index in zip(inputs["values"], inputs["sigma"], inputs["index"], strict=True):
            out.append(self.made(values, sigma, int(index)))
            advance(1, 0, 0)
        return {name: np.stack([each[name] for each in out]) for name in out[0]}

    def made(self, values: np.ndarray, sigma: np.ndarray, index: int = 0) -> dict[str, np.ndarray]:
        """An image, its errors, its residuals and what is to be said of it.

        Args:
            values: of the data; NaN: missing.
            sigma: of each; infinite: missing.
            index: of the image, for its own draws.
        """
        valid = np.isfinite(values) & np.isfinite(sigma)
        shape = self.operator.input_shape
        blank = np.full(shape, np.nan, np.float32)
        if not valid.any():
            status, image, error, strength = ImageStatus.NO_DATA, blank, blank, np.nan
        else:
            observed = Observation(np.float32(np.where(valid, values, np.nan)), np.float32(np.where(valid, sigma, 1)))
            status, image, error, strength = self._found(observed, valid, index)
        predicted = np.asarray(self.operator(np.nan_to_num(image)))
        residuals = np.where(valid, (values - predicted) / np.where(valid, sigma, 1), np.nan)
        chi2 = float(np.mean(residuals[valid] ** 2)) if valid.any() else np.nan
        if valid.any() and not np.isfinite(image).all():
            status = ImageStatus.FAILED
        if status == ImageStatus.RECONSTRUCTED and self.method != "classical" and chi2 > _UNEXPLAINED:
            status = ImageStatus.UNEXPLAINED
        if self.window is not None:
            top, left, height, width = self.window
            image, error = (x[top : top + height, left : left + width] for x in (image, error))
            residuals = residuals[:height, :width]  # the rest filled the data up to an even size
        return {
            "image": np.asarray(image, np.float32),
            "error": np.asarray(error, np.float32),
            "residual": np.asarray(residuals, np.float32),
            "chi2": np.array(chi2, np.float64),
            "status": np.array(status, np.int16),
            "strength": np.array(strength, np.float64),
        }

    def _found(self, observed: Observation, valid: np.ndarray, index: int) -> tuple[ImageStatus, Any, Any, float]:
        shape, key = self.operator.input_shape, jax.random.fold_in(jax.random.key(self.seed), index)
        none = np.full(shape, np.nan, np.float32)
        if self.method == "classical":
            return ImageStatus.RECONSTRUCTED, *self._classical(observed, valid, key), np.nan
        if self.method == "richardson-lucy":
            prior = {imaging.operator.IMAGE: imaging.Positivity(shape)}
            problem = Problem(self.operator, Poisson(), prior)
            solver = ISRA(max_iterations=self.iterations, tolerance=1e-12)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = fit(problem, Observation(np.float32(self.gain) * observed.values), solver=solver)
            return ImageStatus.RECONSTRUCTED, found.parameters["image"] / self.gain, none, np.nan
        if self.method == "wiener":
            return self._wiener(observed, key)
        found, strength = self._regularized(observed)
        image = found.parameters["image"]
        if self.method == "pnp":  # the last word is the network's
            told = strength * float(np.median(observed.sigma)) / self._gain
            image = np.asarray(_denoiser(self.network)(image, told))
            image = np.maximum(image, 0) if self.positive else image
        if self.mean_free:
            image = image - np.mean(image)
        return _status(found), image, none, strength

    def _classical(self, observed: Observation, valid: np.ndarray, key: Any) -> tuple[np.ndarray, np.ndarray]:
        """The operator's own estimate, smoothed, and what the noise makes of it."""
        operator, (ny, nx) = self.operator, self.operator.input_shape
        width = self.smoothing / math.sqrt(8 * math.log(2))
        square = np.fft.fftfreq(ny)[:, None] ** 2 + np.fft.rfftfreq(nx) ** 2
        window = jnp.asarray(np.exp(-2 * np.pi**2 * width**2 * square), jnp.float32)
        weight = jnp.asarray(valid, jnp.float32)

        @jax.jit
        def estimate(data: Any) -> Any:
            image = operator.estimate(data)
            return jnp.fft.irfft2(jnp.fft.rfft2(image) * window, s=(ny, nx)) if self.smoothing else image

        image = np.asarray(estimate(self._filled(observed)))
        if not self.draws:
            return image, np.full_like(image, np.nan)
        sigma = weight * jnp.asarray(observed.sigma)
        keys = jax.random.split(key, self.draws)
        square = sum(np.asarray(estimate(sigma * jax.random.normal(k, sigma.shape))) ** 2 for k in keys)
        return image, np.sqrt(square / self.draws)

    def _wiener(self, observed: Observation, key: Any) -> tuple[ImageStatus, Any, Any, float]:
        """The posterior of a Gaussian random field: its mean, and its standard deviation from exact draws."""
        power, mean = fitted_power(
            self.operator, observed.values, observed.sigma, mean_free=self.mean_free, seed=self.seed
        )
        field = imaging.PowerSpectrum(self.operator.input_shape, power, mean=mean)
        problem = Problem(self.operator, Gaussian(1.0), {"image": field})
        found = fit(problem, observed, solver=GaussNewtonCG(covariance="none"))
        image = np.asarray(found.parameters["image"])
        error = np.full_like(image, np.nan)
        if self.draws:
            posterior = draw(
                problem,
                observed,
                key=key,
                method=PerturbAndOptimize(n_draws=max(self.draws, 4), accuracy=_CLOSELY),
                initial=found,
            )
            error = np.std(posterior.draws["image"].reshape(-1, *image.shape), 0)
        return _status(found), image, error, np.nan

    def _prior(self, strength: float, sigma: float, spread: float) -> tuple[Any, Any]:
        """The regularizer of a strength, and the solver that suits it."""
        shape, solver = self.operator.input_shape, ADMM(max_iterations=self.iterations, tolerance=self.tolerance)
        weight: Any = np.float32(strength / sigma)
        if self.method == "tv":
            prior: Any = imaging.TotalVariation(shape, weight, border="open")
        elif self.method == "starlets":
            levels = max(1, min(5, int(math.log2(min(shape))) - 1))
            prior = imaging.Starlets(shape, weight, levels=levels)
        elif self.method == "wavelets":
            levels = 0
            while levels < 4 and not any(n % 2 ** (levels + 1) for n in shape):
                levels += 1
            if not levels:
                raise ValueError(f"wavelets need an image of an even size; found {shape}: take tv or starlets")
            prior = imaging.Wavelets(shape, weight, levels=levels)
        else:
            # Half-quadratic splitting: the network is told less and less noise. (Multipliers, as ADMM has them, grow
            # without end where the network takes no more away, whatever it is told.)
            last = strength * sigma / self._gain
            first = max(_WIDE * spread, 4 * last)
            prior = imaging.Denoiser(shape, _denoiser(self.network), math.sqrt(_DATA_WEIGHT))
            # Alone: a bound beside it holds the image to where it was, and adds to all that is dark. It comes last.
            return prior, HQS(first=_DATA_WEIGHT / first**2, last=_DATA_WEIGHT / last**2, steps=_STEPS)
        if self.positive:
            prior = prior + imaging.Positivity(shape)
        if self.mean_free:  # which neither the data nor the regularizer know
            prior = prior + imaging.Tikhonov(shape, np.float32(_MEAN / sigma**2))
        return prior, solver

    def _regularized(self, observed: Observation) -> tuple[Any, float]:
        def solve(strength: float, before: Any) -> Any:
            prior, solver = self._prior(strength, sigma, spread)
            problem = Problem(self.operator, Gaussian(1.0), {"image": prior})
            return fit(problem, observed, solver=solver, initial=None if before is None else before.parameters)

        sigma = float(np.median(observed.sigma))
        spread = float(jnp.std(self.operator.estimate(self._filled(observed))))
        if self.method == "pnp" or self.strength is not None:
            strength = _TOLD if self.strength is None else self.strength
            return solve(strength, None), strength
        return by_discrepancy(solve, self._gain, int(np.isfinite(observed.values).sum()))

    def _filled(self, observed: Observation) -> np.ndarray:
        """The values with what is missing drawn from its neighbours in the row; 0 where the data have no mean."""
        values = np.asarray(observed.values)
        if self.mean_free:
            return np.nan_to_num(values)
        typical, column, out = np.nanmean(values), np.arange(values.shape[-1]), values.copy()
        for row in out.reshape(-1, values.shape[-1]):
            good = np.isfinite(row)
            row[~good] = np.interp(column[~good], column[good], row[good]) if good.any() else typical
        return out

    @cached_property
    def _gain(self) -> float:
        """How large the data of white noise are, for each unit of it; at least 1."""
        shape = self.operator.input_shape
        white = jax.random.normal(jax.random.key(0), shape)
        return max(math.sqrt(float(jnp.sum(self.operator(white) ** 2)) / math.prod(shape)), 1.0)


def by_discrepancy(solve: Callable[[float, Any], Any], first: float, n: int) -> tuple[Any, float]:
    """The strength of a regularization at which chi2 is 1 (Morozov 1966), by bisection of its logarithm.

    Args:
        solve: `(strength, the solution before) -> solution`; its chi2 grows with the strength.
        first: strength to begin with.
        n: samples; chi2 has to come as near to 1 as half of what it scatters by.

    Returns:
        The solution and its strength; the best one where chi2 does not come to 1.
    """
    close = min(max(0.5 * math.sqrt(2 / n), 1e-3), _CLOSE)
    low, high = -math.inf, math.inf  # logarithms: chi2 below 1, and above
    at, found, best = math.log(first), None, None
    for _ in range(_TRIES):
        found = solve(math.exp(at), found)
        chi2 = float(found.chi2)
        if not math.isfinite(chi2):
            high, found = at, None
        else:
            away = abs(math.log(max(chi2, 1e-6)))
            if best is None or away < best[0]:
                best = (away, found, math.exp(at))
            if abs(chi2 - 1) < close:
                break
            low, high = (at, high) if chi2 < 1 else (low, at)
        if math.isinf(low):
            at = high - math.log(4)
        elif math.isinf(high):
            at = low + math.log(4)
        else:
            at = (low + high) / 2
            if high - low < 0.02:
                break
    if best is None:
        return found if found is not None else solve(first, None), first
    return best[1], best[2]


def _status(found: Any) -> ImageStatus:
    status = int(found.status)
    if status in (Status.FAILED, Status.NO_DATA):
        return ImageStatus.FAILED
    return ImageStatus.NOT_CONVERGED if status == Status.NOT_CONVERGED else ImageStatus.RECONSTRUCTED


_KNOWN: dict[str, Any] = {}


def _denoiser(path: str) -> Any:
    """The network of a folder, as a function of an image and its noise."""
    if path not in _KNOWN:
        _KNOWN[path] = ImageEstimator.load(path).without_history().refine
    return _KNOWN[path]


@dataclasses.dataclass(frozen=True)
class ReconstructionPlan:
    """All that a reconstruction depends on.

    Attributes:
        recipe: for each image.
        values: `(n, *data_shape)`; NaN: missing.
        sigma: of each; infinite: missing.
        quantity: what the images show.
        unit: of the images.
        more: further maps that go with the result.
        header: cards of the images.
        notes: for the provenance.
    """

    recipe: Recipe
    values: np.ndarray
    sigma: np.ndarray
    quantity: str = "image"
    unit: str = ""
    more: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    header: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    notes: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what cannot be done.

        Raises:
            ValueError: there are no valid data.
            FolderError: the network cannot be read.
        """
        if self.recipe.method == "pnp":
            _denoiser(self.recipe.network)  # whether it can be had
        hidden = ~np.isfinite(self.values) | ~np.isfinite(self.sigma)
        if hidden.all():
            raise ValueError("there are no valid data: every sample is missing or masked")


class ReconstructionRun(Run[Reconstruction]):
    """The reconstruction of the images of a plan."""

    label, unit = "reconstructing", "image"
    missing: ClassVar[Mapping[str, int]] = {"status": int(ImageStatus.NOT_DONE)}

    def __init__(self, plan: ReconstructionPlan) -> None:
        self._plan = plan

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self._plan.values),)

    @property
    def size(self) -> int:
        return 1

    def read(self, start: int, stop: int) -> Any:
        plan, part = self._plan, slice(start, stop)
        return {"values": plan.values[part], "sigma": plan.sigma[part], "index": np.arange(start, stop)}

    def work(self) -> Work:
        return self._plan.recipe

    def result(self, store: Store) -> Reconstruction:
        plan, made = self._plan, store.arrays()
        error = made["error"] if np.isfinite(made["error"]).any() else None
        return Reconstruction(
            images=made["image"],
            residuals=made["residual"],
            chi2=made["chi2"],
            status=made["status"],
            strength=made["strength"],
            quantity=plan.quantity,
            unit=plan.unit,
            error=error,
            more=plan.more,
            header=plan.header,
            provenance=dict(plan.notes),
        )


def check_used(config: Any) -> None:
    """Refuse options that the method would not look at.

    Raises:
        ValueError: says which.
    """
    method = config.method
    if config.strength is not None and method in ("wiener", "fbp", "kaiser-squires", "richardson-lucy"):
        raise ValueError(f"the method {method} has no strength to be given")
    if config.network is not None and method != "pnp":
        raise ValueError(f"a network is the prior of the method pnp; the method is {method}")
    if config.noise is not None and method == "richardson-lucy":
        raise ValueError("the noise of richardson-lucy is that of counts: say how many a unit is (gain)")


def measured_noise(images: np.ndarray) -> np.ndarray:
    """The standard deviation of white noise in each image, `(n,)` from `(n, ny, nx)`.

    From the median of mixed second differences, which smooth images hardly have (Donoho & Johnstone 1994, Biometrika
    81, 425).

    Raises:
        ValueError: an image has fewer than sixteen of them.
    """
    mixed = images[:, 1:, 1:] - images[:, :-1, 1:] - images[:, 1:, :-1] + images[:, :-1, :-1]
    out = np.empty(len(images))
    for k, differences in enumerate(mixed):
        finite = np.abs(differences[np.isfinite(differences)])
        if finite.size < 16 or not np.median(finite) > 0:
            raise ValueError(f"the noise of image {k + 1} cannot be measured: give it (--noise)")
        out[k] = 1.4826 * np.median(finite) / 2
    return out
