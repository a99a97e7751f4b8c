"""The propagation matrix of polarized light: what the profiles of a line's components do in a field of some direction.

Landi Degl'Innocenti & Landolfi (2004), Polarization in Spectral Lines (LL04), ch. 9.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array


def absorption(phi: Array, psi: Array, inclination: Array) -> Array:
    """eta_I - 1, eta_Q, eta_V, rho_Q, rho_V for azimuth 0 and unit line strength (LL04 eqs. 9.32); `(5, ...)`.

    `phi`, `psi`: `(3, ..., n_wavelength)`, the summed absorption and dispersion profiles of the pi, blue and red
    components.
    """
    sine2, cosine = jnp.sin(inclination) ** 2, jnp.cos(inclination)
    sigma, dispersion = (phi[1] + phi[2]) / 2, (psi[1] + psi[2]) / 2
    return jnp.stack(
        [
            (phi[0] * sine2 + sigma * (1 + cosine**2)) / 2,
            (phi[0] - sigma) * sine2 / 2,
            (phi[2] - phi[1]) * cosine / 2,
            (psi[0] - dispersion) * sine2 / 2,
            (psi[2] - psi[1]) * cosine / 2,
        ]
    )


def absorption_by_inclination(phi: Array, psi: Array, inclination: Array) -> Array:
    """The derivative of `absorption` by the inclination."""
    sine, cosine = jnp.sin(inclination), jnp.cos(inclination)
    linear = sine * cosine * (phi[0] - (phi[1] + phi[2]) / 2)
    return jnp.stack(
        [
            linear,
            linear,
            -sine * (phi[2] - phi[1]) / 2,
            sine * cosine * (psi[0] - (psi[1] + psi[2]) / 2),
            -sine * (psi[2] - psi[1]) / 2,
        ]
    )
