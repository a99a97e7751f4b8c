"""An object without a prior: deconvolved where frames say more than noise, and nothing elsewhere.

Wiener's estimate leaves out what its spectrum does not expect. The classical alternative divides by the transfer
functions and keeps the frequencies at which the measured power exceeds the noise's (Loefdahl & Scharmer 1994, A&AS 107,
243): with t_j = S_j sqrt(s) / sigma_j and y_j = D_j / sigma_j,

    O = sqrt(s) Phi sum_j t_j* y_j / sum_j |t_j|^2,   Phi = 1 - sum_j |t_j|^2 / <|sum_j t_j* y_j|^2>,

where <> is a mean over neighbouring frequencies; below 0.2 it is 0, and so it is where it is not connected with
frequency 0.
"""

from __future__ import annotations

import numpy as np

_NEIGHBOURS = 5
"""Frequencies across the mean."""
_LEAST = 0.2
_SUM = 1e-6
"""Of the largest sum of squared transfer functions, below which nothing is divided by it."""


def low_pass(transfer: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The deconvolved transform in units of its power's root, filtered: `(n_support, n_support // 2 + 1)`.

    Args:
        transfer: t_j, `(n, n_support, n_support // 2 + 1)`.
        values: y_j, the same shape.
    """
    from scipy import ndimage

    total = np.sum(np.abs(transfer) ** 2, axis=0)
    pull = np.sum(np.conj(transfer) * values, axis=0)
    n = total.shape[0]
    power = np.abs(pull) ** 2 / np.maximum(total, _SUM * total.max())  # noise has 1
    whole = np.fft.fftshift(_whole(power, n))
    mean = ndimage.uniform_filter(whole, _NEIGHBOURS, mode="wrap")
    phi = np.clip(1 - 1 / np.maximum(mean, 1e-30), 0, 1)
    phi = np.where(phi < _LEAST, 0, phi)
    regions, _ = ndimage.label(phi > 0)  # pyright: ignore[reportGeneralTypeIssues]
    middle = regions[n // 2, n // 2]
    phi = np.where((regions == middle) & (middle > 0), phi, 0)
    kept = np.fft.ifftshift(phi)[:, : n // 2 + 1] * (total > _SUM * total.max())
    return kept * pull / np.maximum(total, _SUM * total.max())


def _whole(half: np.ndarray, n: int) -> np.ndarray:
    """The whole plane of a real image's power, of which the half is given."""
    out = np.empty((n, n))
    out[:, : n // 2 + 1] = half
    rows = (-np.arange(n)) % n
    columns = np.arange(n // 2 + 1, n)
    out[:, columns] = half[rows][:, n - columns]
    return out
