"""Images sharpened: what is behind a known point spread function."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxinv import imaging
from jaxinv.pipelines.config import DeconvolveConfig
from jaxinv.pipelines.reconstruction import (
    DENOISER,
    Recipe,
    ReconstructionPlan,
    ReconstructionRun,
    check_used,
    measured_noise,
)
from jaxinv.results.reconstruction import Reconstruction

_HALVED = 16
"""Pixels of which a size is a multiple that can be halved four times."""


def plan_deconvolution(
    images: np.ndarray,
    psf: np.ndarray,
    config: DeconvolveConfig | None = None,
    *,
    mask: np.ndarray | None = None,
    header: Mapping[str, Any] | None = None,
) -> ReconstructionPlan:
    """What is to be sharpened: everything that can be refused is refused here.

    Args:
        images: `(n, ny, nx)`, or one of them; NaN: a missing pixel.
        psf: `(ky, kx)`, its centre at the pixel `(ky // 2, kx // 2)`; scaled to the sum 1.
        config: the options; the defaults where `None`.
        mask: `(ny, nx)`, not 0 where a pixel is bad.
        header: cards of the images, their unit (`BUNIT`) among them.

    Raises:
        ValueError: no images, a PSF that is none or does not fit, a mask of another shape or one that hides everything.
    """
    config = config or DeconvolveConfig()
    check_used(config)
    values = stack_of(images)
    psf = np.asarray(psf, float)
    ny, nx = values.shape[1:]
    if psf.ndim != 2 or not np.isfinite(psf).all() or not psf.sum() > 0:
        raise ValueError("the PSF is an image of finite numbers with a sum above 0")
    if any(k > n for k, n in zip(psf.shape, (ny, nx), strict=True)):
        raise ValueError(f"the PSF of {psf.shape} is larger than the images of {(ny, nx)}: cut its borders off")
    values = masked(values, mask)
    kernel, window = psf / psf.sum(), None
    if config.border == "periodic":
        operator: Any = imaging.Convolution(kernel, (ny, nx))
    else:
        height, width = ny + psf.shape[0] - 1, nx + psf.shape[1] - 1
        of = _HALVED if config.method == "wavelets" else 2  # sizes that wavelets and transforms like
        shape = (-(-height // of) * of, -(-width // of) * of)
        operator = imaging.Convolution(kernel, shape, border="cropped")
        top, left = (k - 1 - k // 2 for k in psf.shape)
        window = (top, left, ny, nx)
        extra = (shape[0] - height, shape[1] - width)
        if any(extra):
            values = np.pad(values, ((0, 0), (0, extra[0]), (0, extra[1])), constant_values=np.nan)
    if config.method == "richardson-lucy":
        if np.nanmin(values) < 0:
            warnings.warn("richardson-lucy takes counts, 0 or more: negative pixels count as 0", stacklevel=2)
            values = np.maximum(values, 0)
        sigma = np.sqrt(np.maximum(values * config.gain, 1.0)) / config.gain
    else:
        sigma = noise_of(values, config.noise)
    recipe = Recipe(
        operator,
        config.method,
        config.strength,
        positive=not config.signed,
        draws=config.draws,
        iterations=config.iterations,
        gain=config.gain,
        window=window,
        network=config.network or str(DENOISER),
        seed=config.seed,
    )
    cards = dict(header or {})
    unit = str(cards.pop("BUNIT", ""))
    return ReconstructionPlan(recipe, values, sigma, unit=unit, header=cards, notes=notes_of(sigma, values))


def deconvolve(
    images: np.ndarray, psf: np.ndarray, config: DeconvolveConfig | None = None, **given: Any
) -> Reconstruction:
    """What is behind a known point spread function; arguments are those of `plan_deconvolution`."""
    return ReconstructionRun(plan_deconvolution(images, psf, config, **given)).into()


def stack_of(images: Any) -> np.ndarray:
    """Images as `(n, ny, nx)` of numbers.

    Raises:
        ValueError: they are no images.
    """
    values = np.asarray(images, float)
    values = values[None] if values.ndim == 2 else values
    if values.ndim != 3 or min(values.shape) < 1 or min(values.shape[1:]) < 8:
        raise ValueError(f"images are (n, ny, nx), 8 x 8 pixels or more; found the shape {np.shape(images)}")
    values = values.copy()
    values[~np.isfinite(values)] = np.nan
    return values


def masked(values: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """Without the pixels where a mask is not 0.

    Raises:
        ValueError: it has another shape, or hides everything.
    """
    if mask is None:
        return values
    bad = np.asarray(mask) != 0
    if bad.shape != values.shape[1:]:
        raise ValueError(f"the mask has the shape {bad.shape}; the data have {values.shape[1:]}")
    if bad.all():
        raise ValueError("the mask hides every pixel (it is not 0 where a pixel is bad)")
    return np.where(bad, np.nan, values)


def noise_of(values: np.ndarray, given: float | None) -> np.ndarray:
    """Sigma of every sample: given, or measured in each image."""
    level = np.full(len(values), given) if given is not None else measured_noise(values)
    return np.broadcast_to(level.reshape(-1, *(1,) * (values.ndim - 1)), values.shape).copy()


def notes_of(sigma: np.ndarray, values: np.ndarray) -> dict[str, str]:
    """What the provenance says of noise and missing samples."""
    finite = sigma[np.isfinite(values) & np.isfinite(sigma)]
    return {
        "noise": f"{np.median(finite):.6g}" if finite.size else "none",
        "missing": f"{int(np.sum(~np.isfinite(values)))} samples",
    }
