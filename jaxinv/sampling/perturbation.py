"""Perturb and optimize: draws of a normal posterior of very many unknowns, each by one linear system."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from jaxinv.compute.groups import map_in_groups
from jaxinv.coordinates import Whitened
from jaxinv.linearization import Linear
from jaxinv.optimize.normal import whitened
from jaxinv.optimize.translation_invariant import nearest_spectrum
from jaxinv.problem import Problem
from jaxinv.regularizers import Correlated
from jaxinv.results.posterior import PosteriorRoute
from jaxinv.sampling.methods import Draws, Method
from jaxinv.sampling.target import Target

_TOGETHER = 4
"""Draws."""


class PerturbAndOptimize(Method):
    """Draws by fits of perturbed data: independent, exact for linear models with Gaussian noise and normal priors.

    Papandreou & Yuille (2010, NeurIPS 23), Orieux, Feron & Giovannelli (2012, IEEE Signal Process. Lett. 19, 251): with
    the curvature H = J^T W J + Q, where W is the data's precision and Q the prior's, a draw is the mode plus
    H^-1 (J^T W^(1/2) n + Q^(1/2) m) with n and m white. No matrix is made, and no determinant: for images of any size.
    For a nonlinear model it is Laplace's approximation.

    Attributes:
        n_draws: for each object.
        accuracy: relative residual to which each system is solved.
        products: of H with a vector, at most, for each draw.
    """

    n_draws: int = eqx.field(static=True, default=200)
    accuracy: float = 1e-4
    products: int = eqx.field(static=True, default=1000)

    def __check_init__(self) -> None:
        if self.n_draws < 4:
            raise ValueError(f"n_draws must be 4 or more; found {self.n_draws}")

    @property
    def shape(self) -> tuple[int, int]:
        return 1, self.n_draws

    @property
    def route(self) -> PosteriorRoute:
        return PosteriorRoute.PERTURBED

    def check(self, problem: Problem) -> None:
        for name in problem.names:
            prior = problem.prior[name]
            if not isinstance(prior, Correlated):
                raise ValueError(
                    f"PerturbAndOptimize needs correlated normal priors; that of {name!r} is a "
                    f"{type(prior).__name__}: give it imaging.PowerSpectrum, or take NUTS()"
                )
        problem.samplewise  # noqa: B018  raises

    def draw(self, target: Target, key: PRNGKeyArray) -> Draws:
        problem, coordinates, z = target.problem, target.coordinates, target.centre
        parameters, push = jax.linearize(coordinates.parameters, z)
        pull = jax.linear_transpose(push, z)
        found = problem.linearize({**target.known, **parameters})
        _, whitening = whitened(problem, found.prediction, target.observed)

        def product(x: Array) -> Array:
            """The prior of the white coordinates is 1."""
            return x + pull(found.vjp(whitening**2 * found.jvp(push(x))))[0]

        divided = _neighbour(coordinates, found, whitening)

        def one(key: PRNGKeyArray) -> tuple[Array, Array]:
            noise, own = jax.random.split(key)
            white = jax.random.normal(noise, whitening.shape, z.dtype)
            right = pull(found.vjp(whitening * white))[0] + jax.random.normal(own, z.shape, z.dtype)
            step = jax.scipy.sparse.linalg.cg(product, right, tol=self.accuracy, maxiter=self.products, M=divided)[0]
            # The factor L is that of H^-1 = L L^T, so L^-1 = L^T H.
            x = (
                step / target.factor
                if target.large
                else jnp.matmul(target.factor.T, product(step), precision="highest")
            )
            return x, target.log_density(x)

        x, lp = map_in_groups(one, jax.random.split(key, self.n_draws), _TOGETHER)
        return Draws(x[None], {"lp": lp[None]})


def _neighbour(coordinates: Any, found: Any, whitening: Array) -> Any:
    """The inverse of a translation-invariant operator near H, for a preconditioner; `None`: none is known."""
    block = coordinates.blocks[0]
    if len(coordinates.blocks) != 1 or not isinstance(block, Whitened) or not isinstance(found, Linear):
        return None
    if block.prior.power is None:
        return None
    shape, name = block.prior.shape(), block.name
    if found.spectrum is not None:
        own = jnp.mean(whitening**2) * found.spectrum
    else:
        own = nearest_spectrum(lambda x: found.vjp(whitening**2 * found.jvp({name: x}))[name], jnp.zeros(shape))
    inverse = 1 / (1 + own * block.prior.power)

    def divided(x: Array) -> Array:
        image = jnp.fft.rfft2(x.reshape(shape)) * inverse.astype(x.dtype)
        return jnp.ravel(jnp.fft.irfft2(image, s=shape))

    return divided
