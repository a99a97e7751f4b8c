"""What a detector makes of an image: electrons, with photon and read noise, dark current, flat field, saturation."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray
from numpy.typing import ArrayLike

from jaxinv.forward import Parameters, Stage

_MANY = 100.0
"""Photons in every pixel, from which on a Poisson number is drawn by its quantiles: probabilities right to 1e-4."""


class Detector(Stage):
    """The mean number of electrons of an image: photons x flat x image + dark, at most `saturation`.

    As a stage it is free of noise; `record` draws what a camera reads out, and `reduced` takes dark and flat off again.

    Args:
        photons: detected in a pixel of intensity 1.
        read_noise: rms [electrons].
        dark: [electrons], a number or `(ny, nx)`.
        flat: relative sensitivity, a number or `(ny, nx)`.
        saturation: at which a pixel is full [electrons].

    Raises:
        ValueError: a number that is negative or not finite, or a flat that is not above 0.
    """

    dark: Array
    flat: Array
    photons: Array
    read_noise: Array
    saturation: Array

    def __init__(
        self,
        photons: float,
        read_noise: float = 0.0,
        *,
        dark: ArrayLike = 0.0,
        flat: ArrayLike = 1.0,
        saturation: float = math.inf,
    ) -> None:
        if not (math.isfinite(photons) and photons > 0):
            raise ValueError(f"`photons` in a pixel of intensity 1 are a positive number; found {photons}")
        if not (math.isfinite(read_noise) and read_noise >= 0):
            raise ValueError(f"the read noise is a number of electrons from 0; found {read_noise}")
        if not saturation > 0:
            raise ValueError(f"the saturation is a positive number of electrons; found {saturation}")
        dark, flat = np.asarray(dark, np.float32), np.asarray(flat, np.float32)
        if not (np.isfinite(dark).all() and (dark >= 0).all()):
            raise ValueError("the dark is a number of electrons from 0 in every pixel")
        if not (np.isfinite(flat).all() and (flat > 0).all()):
            raise ValueError("the flat is above 0 in every pixel: it is the relative sensitivity, about 1")
        self.photons, self.read_noise, self.saturation = (
            jnp.asarray(x, jnp.float32) for x in (photons, read_noise, saturation)
        )
        self.dark, self.flat = jnp.asarray(dark), jnp.asarray(flat)

    def __call__(self, parameters: Parameters, prediction: Array) -> Array:
        del parameters
        return jnp.minimum(self._lit(prediction), self.saturation)

    def record(self, key: PRNGKeyArray, image: Array) -> Array:
        """Electrons that are read out of images `(..., ny, nx)` of intensities: whole numbers, but for read noise."""
        photon_key, read_key = jax.random.split(key)
        electrons = _poisson(photon_key, self._lit(image))
        read = electrons + self.read_noise * jax.random.normal(read_key, image.shape, image.dtype)
        return jnp.minimum(read, self.saturation)

    def reduced(self, electrons: Array) -> Array:
        """Intensities from electrons: less the dark, over flat and photons."""
        return (electrons - self.dark) / (self.flat * self.photons)

    def full(self, electrons: Array) -> Array:
        """Where a pixel is saturated."""
        return electrons >= self.saturation

    def _lit(self, image: Array) -> Array:
        for name, plane in (("dark", self.dark), ("flat", self.flat)):
            if plane.ndim and plane.shape != image.shape[-2:]:
                raise ValueError(f"the {name} has the shape {plane.shape}, the images {image.shape[-2:]}")
        return jnp.maximum(self.photons * self.flat * image, 0) + self.dark


def _poisson(key: PRNGKeyArray, mean: Array) -> Array:
    """Poisson numbers; where there are many in every pixel, from their quantiles, which is ten times as quick.

    Cornish & Fisher (1938), to the second order, rounded to a whole number.
    """
    z = jax.random.normal(key, mean.shape, mean.dtype)
    root = jnp.sqrt(jnp.maximum(mean, 1.0))
    quantile = mean + z * root + (z**2 - 1) / 6 + (z - z**3) / (72 * root)
    return jax.lax.cond(
        jnp.min(mean) >= _MANY,
        lambda: jnp.maximum(jnp.round(quantile), 0),
        lambda: jax.random.poisson(key, jnp.minimum(mean, 1e9)).astype(mean.dtype),
    )
