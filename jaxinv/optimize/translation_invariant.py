"""A translation-invariant operator near another, which the Fourier transform inverts: for preconditioners."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array


def nearest_spectrum(product: Callable[[Array], Array], like: Array) -> Array:
    """Eigenvalues, above 0, as `rfft2` orders them, of a translation-invariant operator near a positive one.

    From its response to a point in the middle, scaled to its trace (Hutchinson's estimate).
    """
    middle = tuple(n // 2 for n in like.shape)
    point = jnp.zeros_like(like).at[middle].set(1)
    seen = jnp.real(jnp.fft.rfft2(jnp.roll(product(point), [-m for m in middle], (0, 1))))
    signs = jax.random.rademacher(jax.random.key(0), like.shape, like.dtype)
    trace = jnp.mean(signs * product(signs))
    centre = jnp.mean(jnp.fft.irfft2(seen, s=like.shape)[0, 0])
    seen = jnp.where(centre > 0, seen * trace / jnp.where(centre > 0, centre, 1), trace)
    return jax.lax.stop_gradient(jnp.maximum(seen, 1e-3 * jnp.maximum(trace, 1e-30)))
