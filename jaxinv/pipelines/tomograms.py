"""Slices through an object, from its projections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxinv import imaging
from jaxinv.pipelines.config import TomographyConfig
from jaxinv.pipelines.deconvolution import noise_of, notes_of, stack_of
from jaxinv.pipelines.reconstruction import DENOISER, Recipe, ReconstructionPlan, ReconstructionRun, check_used
from jaxinv.results.reconstruction import Reconstruction


def plan_tomography(
    projections: np.ndarray,
    angles: np.ndarray | None = None,
    config: TomographyConfig | None = None,
    *,
    header: Mapping[str, Any] | None = None,
) -> ReconstructionPlan:
    """What is to be reconstructed: everything that can be refused is refused here.

    Args:
        projections: `(n_slices, n_angles, n)`, or of one slice: line integrals through an object that lies in a square
            of n x n pixels, the axis of rotation between the two pixels in the middle (or in the middle one); NaN: a
            dead pixel.
        angles: `(n_angles,)` [degrees], see `imaging.Radon`; left out where the options say their span.
        config: the options; the defaults where `None`.
        header: cards of the images.

    Raises:
        ValueError: no projections, another number of angles, or angles that look like radians.
    """
    config = config or TomographyConfig()
    check_used(config)
    values = stack_of(projections)
    _, n_angles, n = values.shape
    if (angles is None) == (config.span is None):
        raise ValueError("give the angles of the projections, or their span (--angles FILE or --span 180), not both")
    degrees = np.arange(n_angles) * (config.span or 0) / n_angles if angles is None else np.ravel(angles)
    if len(degrees) != n_angles:
        raise ValueError(
            f"there are {len(degrees)} angles for {n_angles} projections of {n} pixels: the projections are rows, one "
            "for each angle"
        )
    sigma = noise_of(values, config.noise)
    classical = config.method == "fbp"
    recipe = Recipe(
        imaging.Radon(n, degrees),
        "classical" if classical else config.method,
        config.strength,
        positive=not config.signed,
        draws=config.draws,
        iterations=config.iterations,
        smoothing=config.smoothing,
        network=config.network or str(DENOISER),
        seed=config.seed,
    )
    return ReconstructionPlan(recipe, values, sigma, header=dict(header or {}), notes=notes_of(sigma, values))


def tomography(
    projections: np.ndarray, angles: np.ndarray | None = None, config: TomographyConfig | None = None, **given: Any
) -> Reconstruction:
    """Slices through an object; arguments are those of `plan_tomography`."""
    return ReconstructionRun(plan_tomography(projections, angles, config, **given)).into()
