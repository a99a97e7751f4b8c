"""Where frames of a burst lie on each other, and what a camera's noise is: known before any wavefront is."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import fft

_TRANSFORMS: Any = fft  # which keeps float32, and whose published types are narrower than what it takes
_TURNS = 3
"""Frames are laid on their mean so often, which becomes sharper every time."""
_CLEAR = 1.05
"""Of the telescope's cutoff, beyond which there is nothing but noise."""
_FEWEST = 50
"""Frequencies there, without which a noise is not told from an image."""


def shifts_of(frames: np.ndarray, most: int | None = None) -> np.ndarray:
    """By how many whole pixels, y and x, each frame has to be moved to lie on the others: `(n_frames, 2)`.

    The highest cross-correlation with the mean of the moved frames, beginning with the frame of highest contrast; the
    mean of all shifts is within half a pixel of 0.

    Args:
        frames: `(n_frames, ny, nx)`, finite.
        most: pixels in each direction at most; `None`: a third of the frame.
    """
    ny, nx = frames.shape[-2:]
    limit = min(ny, nx) // 3 if most is None else most
    window, spectra = _windowed(frames)
    allowed = np.abs(np.fft.fftfreq(ny, 1 / ny))[:, None] <= limit
    allowed = allowed & (np.abs(np.fft.fftfreq(nx, 1 / nx)) <= limit)
    reference = spectra[np.argmax(np.std(frames * window, axis=(-2, -1)))]
    v, u = np.fft.fftfreq(ny)[:, None], np.fft.rfftfreq(nx)
    found = np.zeros((len(frames), 2), int)
    for _ in range(_TURNS):
        likeness = np.where(allowed, _TRANSFORMS.irfft2(reference * np.conj(spectra), (ny, nx)), -np.inf)
        index = np.unravel_index(np.argmax(likeness.reshape(len(frames), -1), axis=1), (ny, nx))
        found = np.stack([(k + size // 2) % size - size // 2 for k, size in zip(index, (ny, nx), strict=True)], axis=1)
        moved = np.exp(-2j * np.pi * (v * found[:, 0, None, None] + u * found[:, 1, None, None]))
        reference = np.mean(spectra * moved, axis=0)
    return found - np.round(found.mean(axis=0)).astype(int)


def cut(frames: np.ndarray, shifts: np.ndarray, corner: tuple[int, int], size: int) -> np.ndarray:
    """A square of every frame after it was moved, `(n_frames, size, size)`; NaN where it has nothing there.

    Args:
        frames: `(n_frames, ny, nx)`.
        shifts: `(n_frames, 2)` as `shifts_of` finds them.
        corner: its first pixel, y and x.
        size: pixels across.
    """
    ny, nx = frames.shape[-2:]
    out = np.full((len(frames), size, size), np.nan, np.float32)
    for frame, shift, to in zip(frames, np.asarray(shifts), out, strict=True):
        y, x = corner[0] - shift[0], corner[1] - shift[1]
        rows, columns = slice(max(y, 0), min(y + size, ny)), slice(max(x, 0), min(x + size, nx))
        if rows.start < rows.stop and columns.start < columns.stop:
            to[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x] = frame[rows, columns]
    return out


def noise_of(frames: np.ndarray, cutoff: float) -> np.ndarray:
    """The standard deviation of the noise of each frame, from frequencies that no telescope passes: `(n_frames,)`.

    Args:
        frames: `(n_frames, ny, nx)`, finite.
        cutoff: of the telescope, in cycles per pixel.

    Raises:
        ValueError: the pixels are so coarse that there are no such frequencies.
    """
    ny, nx = frames.shape[-2:]
    beyond = np.hypot(np.fft.fftfreq(ny)[:, None], np.fft.rfftfreq(nx)) > _CLEAR * cutoff
    if beyond.sum() < _FEWEST:
        raise ValueError(
            f"the noise cannot be measured: pixels are so coarse that the telescope passes all frequencies (its cutoff "
            f"is {cutoff:.3g} cycles per pixel): give the noise"
        )
    window, spectra = _windowed(frames)
    power = np.abs(spectra[:, beyond]) ** 2
    return np.sqrt(np.median(power, axis=1) / math.log(2) / np.sum(window**2))


def _windowed(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A window over a frame, and transforms of frames without their mean through it."""
    window = np.outer(*(np.hanning(size + 2)[1:-1] for size in frames.shape[-2:]))
    return window, _TRANSFORMS.rfft2(window * (frames - frames.mean(axis=(-2, -1), keepdims=True)))
