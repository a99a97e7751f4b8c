"""The power spectrum of images behind an operator, from their noisy data."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize

from jaxinv.imaging import LinearOperator
from jaxinv.imaging.random_fields import both_halves

_DRAWS = 8
"""Of noise, and of images, from which it is known what the operator does to power."""
_BINS = 24
_LOWEST = 1e-7
"""Of the largest power: below, nothing of an image is left in numbers of seven digits."""


def fitted_power(
    operator: LinearOperator, values: np.ndarray, sigma: np.ndarray, *, mean_free: bool, seed: int = 0
) -> tuple[np.ndarray, float]:
    """A power spectrum A / (1 + (k / k0)^2)^(s / 2), the most likely one, and the mean of the image.

    The classical image (`operator.estimate`) has the power T P + N, where T and N are measured on white images and on
    noise that pass through the same operator and the same gaps; rings of it are compared by Whittle's likelihood.

    Args:
        operator: from the image to the data.
        values: of the data; NaN: missing.
        sigma: of each.
        mean_free: the data do not tell the mean, which is then 0.
        seed: of the draws.

    Returns:
        `(power (ny, nx // 2 + 1), mean)`, as `imaging.PowerSpectrum` takes them.
    """
    ny, nx = operator.input_shape
    valid = np.isfinite(values) & np.isfinite(sigma)
    weight = jnp.asarray(valid, float)
    filled = jnp.asarray(np.where(valid, values, 0), float)
    noise_level = jnp.asarray(np.where(valid, sigma, 0), float)
    unit = operator.estimate(weight * operator(jnp.ones((ny, nx))))
    classical = operator.estimate(filled)
    mean = 0.0
    if not mean_free:
        mean = float(jnp.sum(unit * classical) / jnp.sum(unit**2))
        classical = classical - mean * unit

    # What is cut off at the borders of the image must not look like fine structure.
    classical, taper = classical * _taper((ny, nx)), _taper((ny, nx))

    @jax.jit
    def powers(key: Any) -> Any:
        noise_key, image_key = jax.random.split(key)
        noise = operator.estimate(noise_level * jax.random.normal(noise_key, operator.output_shape))
        image = operator.estimate(weight * operator(jax.random.normal(image_key, (ny, nx))))
        return _power(noise * taper), _power(image * taper)

    drawn = [powers(key) for key in jax.random.split(jax.random.key(seed), _DRAWS)]
    noise, transfer = (np.mean([np.asarray(pair[k]) for pair in drawn], 0) for k in (0, 1))
    k = np.hypot(np.fft.fftfreq(ny)[:, None], np.fft.rfftfreq(nx))
    edges = np.geomspace(0.5 / max(ny, nx), 0.75, _BINS + 1)
    weights = np.broadcast_to(both_halves(nx), k.shape)
    ring = np.digitize(k, edges) - 1
    rings = [r for r in range(_BINS) if np.any(ring == r)]
    mean_of = lambda array: np.array([np.average(array[ring == r], weights=weights[ring == r]) for r in rings])  # noqa: E731
    count = np.array([weights[ring == r].sum() for r in rings]) / 2
    seen, noise, transfer, centre = (mean_of(x) for x in (np.asarray(_power(classical)), noise, transfer, k))
    transfer, noise = np.maximum(transfer, 1e-12 * transfer.max()), np.maximum(noise, 1e-12 * seen.max())

    def shape(p: np.ndarray, k: np.ndarray) -> np.ndarray:
        return np.exp(p[0]) * (1 + (k / np.exp(p[1])) ** 2) ** (-np.exp(p[2]) / 2)

    def cost(p: np.ndarray) -> float:
        total = transfer * shape(p, centre) + noise
        # Weakly: a corner within the frequencies of the image, a slope about 3.
        prior = 0.5 * ((p[1] - np.log(0.03)) / 1.5) ** 2 + 0.5 * ((p[2] - np.log(3)) / 0.5) ** 2
        return float(np.sum(count * (np.log(total) + seen / total)) + prior)

    level = np.log(max(float(np.max((seen - noise) / transfer)), 1e-3 * float(np.max(seen / transfer)), 1e-30))
    starts = [(level, np.log(corner), np.log(slope)) for corner in (0.01, 0.05) for slope in (2.0, 4.0)]
    found = min((optimize.minimize(cost, p, method="Nelder-Mead", options={"maxiter": 2000}) for p in starts),
                key=lambda result: result.fun)  # fmt: skip
    power = shape(found.x, k)
    return np.maximum(power, _LOWEST * power.max()).astype(np.float32), mean


def _taper(shape: tuple[int, int]) -> np.ndarray:
    """A Hann window."""
    down, along = (np.hanning(n + 2)[1:-1] for n in shape)
    return (down[:, None] * along).astype(np.float32)


def _power(image: Any) -> Any:
    return jnp.abs(jnp.fft.rfft2(image, norm="ortho")) ** 2
