"""A Milne-Eddington atmosphere in two factors: smooth profiles in six parameters, and what follows from them exactly.

The source function S0 + S1 tau scales the profiles and lifts I, the azimuth turns Q and U (LL04 eqs. 9.110 to 9.112),
and the inclination gives Q, U and V the factors sin^2, sin^2 cos and cos. Only the rest has to be learned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax.numpy as jnp
from jaxtyping import Array

from jaxinv.forward import Forward, Parameter, Parameters, Stage

if TYPE_CHECKING:
    from jaxinv.spectra.milne_eddington import MilneEddington

_CLOSED = {
    "azimuth": Parameter("rad"),
    "source_constant": Parameter(),
    "source_slope": Parameter(),
    "mu": Parameter(optional=True),
}


class ReducedProfiles(Forward):
    """(I - S0, Q / sin^2, U / (sin^2 cos), V / cos) / S1 of the inclination, at azimuth 0; `(4, n_wavelength)`.

    The same for an inclination and its supplement.
    """

    atmosphere: MilneEddington

    @property
    def parameters(self) -> dict[str, Parameter]:
        return {name: parameter for name, parameter in self.atmosphere.parameters.items() if name not in _CLOSED}

    def __call__(self, parameters: Parameters) -> Array:
        phi, psi = self.atmosphere.profiles(parameters)
        strength = jnp.asarray(parameters["line_strength"], phi.dtype)
        inclination = jnp.asarray(parameters["inclination"], phi.dtype)
        sine2, cosine2 = jnp.sin(inclination) ** 2, jnp.cos(inclination) ** 2
        sigma, dispersion = (phi[1] + phi[2]) / 2, (psi[1] + psi[2]) / 2
        # eta_I, and eta_Q, rho_Q over sin^2, eta_V, rho_V over cos (LL04 eqs. 9.32)
        eta_i = 1 + strength * (phi[0] * sine2 + sigma * (1 + cosine2)) / 2
        eta_q, rho_q = strength * (phi[0] - sigma) / 2, strength * (psi[0] - dispersion) / 2
        eta_v, rho_v = strength * (phi[2] - phi[1]) / 2, strength * (psi[2] - psi[1]) / 2
        square, mixed = eta_i**2, sine2**2 * eta_q * rho_q + cosine2 * eta_v * rho_v
        rho2 = sine2**2 * rho_q**2 + cosine2 * rho_v**2
        eta2 = sine2**2 * eta_q**2 + cosine2 * eta_v**2
        determinant = square * (square - eta2 + rho2) - mixed**2
        stokes = [
            eta_i * (square + rho2),
            -(square * eta_q + rho_q * mixed),
            -eta_i * (eta_q * rho_v - eta_v * rho_q),
            -(square * eta_v + rho_v * mixed),
        ]
        return jnp.stack(stokes) / determinant


class LinearSource(Stage):
    """What the inclination, the azimuth and the source function S0 + S1 tau make of `ReducedProfiles`.

    Reads `inclination`, `azimuth` [rad], `source_constant`, `source_slope` and, where it is given, `mu`.

    Attributes:
        mu: cosine of the heliocentric angle where the parameters do not give it.
    """

    mu: float

    @property
    def parameters(self) -> dict[str, Parameter]:
        return {"inclination": Parameter("rad"), **_CLOSED}

    def __call__(self, parameters: Parameters, prediction: Array) -> Array:
        self.need(parameters)
        given = {"mu": self.mu, **parameters}
        inclination, azimuth, constant, slope, mu = (
            jnp.asarray(given[name], prediction.dtype) for name in self.parameters
        )
        i, q, u, v = prediction
        sine2, cosine = jnp.sin(inclination) ** 2, jnp.cos(inclination)
        q, u, v = sine2 * q, sine2 * cosine * u, cosine * v
        cosine2, sine = jnp.cos(2 * azimuth), jnp.sin(2 * azimuth)
        turned = jnp.stack([i, cosine2 * q - sine * u, sine * q + cosine2 * u, v])
        return (mu * slope * turned).at[0].add(constant)
