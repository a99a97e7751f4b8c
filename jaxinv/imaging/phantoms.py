"""Images with a known truth, to try methods on."""

from __future__ import annotations

import numpy as np

_ELLIPSES = (
    (1.0, 0.69, 0.92, 0.0, 0.0, 0.0),
    (-0.8, 0.6624, 0.874, 0.0, -0.0184, 0.0),
    (-0.2, 0.11, 0.31, 0.22, 0.0, -18.0),
    (-0.2, 0.16, 0.41, -0.22, 0.0, 18.0),
    (0.1, 0.21, 0.25, 0.0, 0.35, 0.0),
    (0.1, 0.046, 0.046, 0.0, 0.1, 0.0),
    (0.1, 0.046, 0.046, 0.0, -0.1, 0.0),
    (0.1, 0.046, 0.023, -0.08, -0.605, 0.0),
    (0.1, 0.023, 0.023, 0.0, -0.606, 0.0),
    (0.1, 0.023, 0.046, 0.06, -0.605, 0.0),
)
"""Value, semi-axes, centre (the image reaches from -1 to 1, y upwards), and angle [degrees]: Toft (1996, The Radon
Transform, Technical University of Denmark); Shepp & Logan (1974, IEEE Trans. Nucl. Sci. 21, 21) with more contrast."""
_FINER = 4
"""Samples along each side of a pixel."""


def shepp_logan(n: int) -> np.ndarray:
    """The head of Shepp and Logan with Toft's contrasts, `(n, n)` from 0 to 1, each pixel the mean over its area.

    The first row is at the top.

    Raises:
        ValueError: n below 1.
    """
    if n < 1:
        raise ValueError(f"an image has 1 x 1 pixels or more; found {n}")
    place = (np.arange(n * _FINER) + 0.5) * 2 / (n * _FINER) - 1
    x, y = place, -place[:, None]
    image = np.zeros((n * _FINER, n * _FINER), np.float32)
    for value, a, b, x0, y0, angle in _ELLIPSES:
        cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        along, across = (x - x0) * cosine + (y - y0) * sine, (y - y0) * cosine - (x - x0) * sine
        image[(along / a) ** 2 + (across / b) ** 2 <= 1] += value
    return image.reshape(n, _FINER, n, _FINER).mean((1, 3))
