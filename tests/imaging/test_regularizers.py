"""Regularizers: every prox against a brute-force minimum, every analysis against its transpose, and what is wrong."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.stats

import jaxinv as ji
from jaxinv import imaging
from jaxinv.regularizers import Regularizer

RNG = np.random.default_rng(1)
SHAPE = (4, 6)
EACH: dict[str, Callable[[], Regularizer]] = {
    "total variation": lambda: imaging.TotalVariation(SHAPE, 0.7),
    "open border": lambda: imaging.TotalVariation(SHAPE, 0.7, border="open"),
    "anisotropic": lambda: imaging.TotalVariation(SHAPE, 0.7, isotropic=False),
    "wavelets": lambda: imaging.Wavelets(SHAPE, 0.7, wavelet="db2", levels=1),
    "starlets": lambda: imaging.Starlets(SHAPE, 0.7, levels=1),
    "tikhonov": lambda: imaging.Tikhonov(SHAPE, 0.7),
    "smooth": lambda: imaging.Tikhonov(SHAPE, 0.7, order=2),
    "power spectrum": lambda: imaging.PowerSpectrum(SHAPE, lambda f: 1 / (0.3 + f), mean=0.2),
    "bounded": lambda: imaging.Bounded(SHAPE, -0.5, 0.5),
    "positive": lambda: imaging.Positivity(SHAPE),
    "a sum": lambda: imaging.TotalVariation(SHAPE, 0.7) + imaging.Positivity(SHAPE),
}


def minimum(prior: Regularizer, value: np.ndarray, step: float) -> np.ndarray:
    """By L-BFGS-B with a rounded kink, then from there with a sharper one."""
    low, high = (np.broadcast_to(x, SHAPE).ravel() for x in ji.priors.bounds(prior))

    weights = []  # of absolute coefficients, where that is the penalty
    for term in prior.terms:
        like = jax.eval_shape(term.analysis, jnp.asarray(value))
        units = jnp.eye(like.size).reshape(-1, *like.shape)
        weights.append(jax.vmap(term.penalty)(units).reshape(like.shape))

    def cost(x: jax.Array, round_: jax.Array) -> jax.Array:
        total = jnp.sum((x - value.ravel()) ** 2) / 2
        for term, weight in zip(prior.terms, weights, strict=True):
            seen = term.analysis(x.reshape(SHAPE))
            if term.smooth:
                total = total + step * term.penalty(seen)
            elif getattr(term, "isotropic", False):
                total = total + step * 0.7 * jnp.sum(jnp.sqrt(jnp.sum(seen**2, 0) + round_**2))
            else:
                total = total + step * jnp.sum(weight * jnp.sqrt(seen**2 + round_**2))
        return total

    gradient = jax.jit(jax.value_and_grad(cost))
    x = np.clip(value.ravel(), low, high)
    for round_ in 10.0 ** -np.arange(1, 7):
        found = scipy.optimize.minimize(
            lambda x, r=round_: [np.asarray(y) for y in gradient(x, r)], x, jac=True, bounds=list(zip(low, high)),
            options={"maxiter": 5000, "ftol": 1e-15, "gtol": 1e-10}, method="L-BFGS-B",
        )  # fmt: skip
        x = found.x
    return x.reshape(SHAPE)


@pytest.mark.parametrize("make", EACH.values(), ids=EACH)
@pytest.mark.usefixtures("float64")
def test_prox_against_brute_force(make: Callable[[], Regularizer]) -> None:
    prior, value = make(), RNG.normal(size=SHAPE)
    found = np.asarray(prior.prox(value, 0.6, 3000))
    np.testing.assert_allclose(found, minimum(prior, value, 0.6), atol=2e-5)
    by = jax.jvp(lambda v: prior.prox(v, 0.6, 20), (jnp.zeros(SHAPE),), (jnp.asarray(value),))[1]
    assert np.all(np.isfinite(by))


@pytest.mark.parametrize("make", EACH.values(), ids=EACH)
@pytest.mark.usefixtures("float64")
def test_analysis_its_transpose_norm_and_spectrum(make: Callable[[], Regularizer]) -> None:
    for term in make().terms:
        x = RNG.normal(size=SHAPE)
        seen = term.analysis(jnp.asarray(x))
        data = RNG.normal(size=seen.shape)
        assert np.vdot(seen, data) == pytest.approx(np.vdot(x, term.synthesis(jnp.asarray(data))), rel=1e-6)
        dense = np.stack([np.ravel(term.analysis(unit)) for unit in jnp.eye(x.size).reshape(-1, *SHAPE)], 1)
        largest = np.linalg.svd(dense, compute_uv=False)[0]
        assert largest <= term.norm * (1 + 1e-6)
        assert largest > 0.85 * term.norm
        if term.unitary:
            np.testing.assert_allclose(dense.T @ dense, np.eye(x.size), atol=1e-9)
        if term.spectrum is not None:
            expected = np.fft.irfft2(np.fft.rfft2(x) * term.spectrum, s=SHAPE)
            np.testing.assert_allclose(term.synthesis(seen), expected, atol=1e-5)
        assert np.all(np.isfinite(jax.grad(lambda x, term=term: term.penalty(term.analysis(x)))(jnp.zeros(SHAPE))))


@pytest.mark.usefixtures("float64")
def test_wavelets_are_those_of_pywavelets() -> None:
    import pywt

    x = RNG.normal(size=(16, 16))
    (term,) = imaging.Wavelets((16, 16), 1.0, wavelet="db4", levels=1).terms
    ours = np.asarray(term.analysis(jnp.asarray(x)))
    # Theirs begins at a pixel with an odd number; bands then differ in where they begin, and in their sign.
    low, (across, down, both) = pywt.dwt2(np.roll(x, 1, (0, 1)), "db4", mode="periodization")
    for band, other in zip((ours[:8, :8], ours[8:, :8], ours[:8, 8:], ours[8:, 8:]), (low, across, down, both)):
        np.testing.assert_allclose(np.sort(np.abs(band).ravel()), np.sort(np.abs(other).ravel()), atol=1e-9)


@pytest.mark.parametrize("shape", [(4, 6), (5, 5)])
@pytest.mark.usefixtures("float64")
def test_a_power_spectrum_is_a_normal_distribution(shape: tuple[int, int]) -> None:
    """Against the dense covariance: density, draws, variance, and the map to white noise and back."""
    prior = imaging.PowerSpectrum(shape, lambda f: np.exp(-5 * f) + 0.1, mean=0.3)
    n = shape[0] * shape[1]
    units = np.eye(n).reshape(n, *shape)
    covariance = np.fft.irfft2(np.fft.rfft2(units) * np.asarray(prior.power), s=shape).reshape(n, n)
    exact = scipy.stats.multivariate_normal(np.full(n, 0.3), covariance)
    x = RNG.normal(size=shape)
    assert float(prior.log_prob(x)) == pytest.approx(exact.logpdf(x.ravel()), rel=1e-9)
    np.testing.assert_allclose(prior.variance, np.diag(covariance).reshape(shape), rtol=1e-9)
    np.testing.assert_allclose(prior.coloured(prior.whitened(jnp.asarray(x))), x, atol=1e-9)
    colour = np.stack([np.ravel(prior.coloured(jnp.asarray(unit)) - 0.3) for unit in units], 1)
    np.testing.assert_allclose(colour @ colour.T, covariance, atol=1e-9)
    assert float(prior.log_scale) == pytest.approx(np.linalg.slogdet(covariance)[1] / 2, rel=1e-9)
    draws = np.asarray(prior.sample(jax.random.key(0), (4000,))).reshape(4000, n)
    np.testing.assert_allclose(np.cov(draws.T), covariance, atol=0.06 * np.abs(covariance).max())
    by = jax.grad(lambda p: imaging.PowerSpectrum(shape, p).log_prob(jnp.asarray(x)))(jnp.asarray(2.0))
    assert float(by) == pytest.approx(np.sum(x**2) / 8 - n / 4, rel=1e-9)


def test_a_regularizer_is_a_distribution() -> None:
    prior = imaging.TotalVariation((8, 8), 2.0)
    image = np.zeros((8, 8))
    image[2:5, 3:7] = 1
    # 3 x 4 pixels: 14 sides, one corner at which both differences are of the same pixel.
    assert float(prior.log_prob(image)) == pytest.approx(-2 * (14 - 2 + np.sqrt(2)), rel=1e-6)
    assert prior.log_prob(np.stack([image, 2 * image])).shape == (2,)
    assert float(prior.log_density(image)) == float(prior.log_prob(image))
    again = jax.tree.unflatten(jax.tree.structure(prior), jax.tree.leaves(prior))
    assert float(again.log_prob(image)) == float(prior.log_prob(image))
    with pytest.raises(ValueError, match="TotalVariation is a penalty, from which nothing can be drawn"):
        prior.sample(jax.random.key(0))
    assert ji.priors.bounds(imaging.TotalVariation((2, 2), 1.0) + imaging.Bounded((2, 2), 0.0, 3.0))[1].max() == 3


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: imaging.TotalVariation((8, 8), 0.0), "the weight is a number above 0; found 0.0"),
        (lambda: imaging.TotalVariation((8, 8), 1.0, border="zero"), "the border is periodic or open; found 'zero'"),
        (lambda: imaging.TotalVariation((8,), 1.0), "the shape of an image is two whole numbers"),
        (lambda: imaging.Wavelets((8, 12), 1.0, levels=3), r"an image of \(8, 12\) cannot be halved 3 times"),
        (lambda: imaging.Wavelets((8, 8), 1.0, wavelet="bior2.2", levels=1), "'bior2.2' is not orthonormal"),
        (lambda: imaging.Wavelets((8, 8), 1.0, wavelet="fish", levels=1), "PyWavelets knows no wavelet 'fish'"),
        (lambda: imaging.Starlets((8, 8), 1.0, levels=4), "1 level or more, as far as they fit; found 4"),
        (lambda: imaging.Tikhonov((8, 8), 1.0, order=3), "the order is 0 "),
        (lambda: imaging.PowerSpectrum((8, 8), lambda f: f), "above 0 for every mode, the mean of the image included"),
        (
            lambda: imaging.PowerSpectrum((8, 8), np.ones((8, 8))),
            r"has the shape \(8, 8\); rfft2 of the image",
        ),
        (lambda: imaging.Bounded((8, 8), 1.0, 1.0), "the lower bound has to be below the upper one"),
        (lambda: imaging.Denoiser((8, 8), lambda x, s: x, -1.0), "the sigma is a number above 0; found -1.0"),
        (lambda: imaging.Positivity((8, 8)) + imaging.Positivity((8, 9)), "a sum of terms for arrays of one shape"),
    ],
)
def test_what_is_wrong_is_said(make: Callable[[], Regularizer], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()
