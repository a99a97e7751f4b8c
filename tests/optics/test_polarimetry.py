"""Modulated bursts: against dense matrices, against plain blind deconvolution, and Stokes images from `ji.fit`."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats

import jaxinv as ji
from jaxinv import optics
from tests.optics.test_deconvolution import DISC, SCALE, as_matrices


def test_the_density_is_that_of_a_dense_covariance(float64: None) -> None:
    n, n_support, generator = 8, 6, np.random.default_rng(0)
    transfer = np.fft.rfft2(generator.normal(size=(3, n_support, n_support)))
    transfer[:, n_support // 2] = transfer[:, :, n_support // 2] = 0
    root = np.array([1.0, 0.3])
    modulation, sigma = np.array([[1.0, 0.7], [1.0, -0.6], [1.1, 0.2]]), np.array([0.2, 0.5, 0.3])
    noise = optics.ModulatedDeconvolution(n, sigma, modulation)
    prediction = jnp.asarray(root[:, None, None, None] * transfer)
    frames = generator.normal(size=(3, n, n))
    assert noise.data_shape(prediction.shape) == (3, n, n)
    blurs = as_matrices(transfer, n)
    rows = [[modulation[j, k] * root[k] * blurs[j] for k in range(2)] for j in range(3)]
    matrix, each = np.block(rows), np.repeat(sigma, n * n)
    covariance = matrix @ matrix.T + np.diag(each**2)
    expected = stats.multivariate_normal(cov=covariance).logpdf(frames.ravel())
    assert noise.log_density(prediction, frames) == pytest.approx(expected, rel=1e-10)
    found = noise.object(prediction, frames)
    solved = (matrix.T @ np.linalg.solve(covariance, frames.ravel())).reshape(2, n, n)
    block = np.ix_(np.arange(2), np.r_[0:3, n - 3 : n], np.arange(4))
    np.testing.assert_allclose(found.mean, np.fft.rfft2(solved, norm="ortho")[block], atol=1e-10)
    left = np.eye(2 * n * n) - matrix.T @ np.linalg.solve(covariance, matrix)
    spread = lambda k: left[k * n * n : (k + 1) * n * n, k * n * n]  # noqa: E731
    for k in range(2):  # variances of a stationary field: the transform of its covariance
        expected = np.fft.rfft2(spread(k).reshape(n, n)).real
        np.testing.assert_allclose(found.variance[k], expected[np.ix_(block[1].ravel(), np.arange(4))], atol=1e-10)


CAMERAS = {
    "frames": np.array([[1.0, 0.5, 0.2], [1, -0.4, 0.3], [1.1, 0.1, -0.5], [0.9, 0.3, 0.6]]),
    "beams": np.array([[[1.0, 0.5], [1, -0.4], [1.1, 0.1]], [[1.0, -0.5], [1, 0.4], [1.1, -0.1]]]),
    "two objects": np.array([[[1.0, 0.0]] * 3, [[0.0, 1.0]] * 3]),
    "one object": np.ones((2, 3, 1)),
}


@pytest.mark.parametrize("modulation", CAMERAS.values(), ids=CAMERAS)
def test_an_exposure_given_the_others(float64: None, modulation: np.ndarray) -> None:
    """It has the density by which it raises that of all."""
    n, generator = 8, np.random.default_rng(3)
    *frames_shape, n_stokes = modulation.shape
    root = np.abs(np.fft.rfft2(generator.normal(size=(n_stokes, n, n))))
    transfer = np.fft.rfft2(generator.normal(size=(*frames_shape, n, n))) / 8
    sigma = generator.uniform(0.2, 0.5, frames_shape)
    frames = generator.normal(size=(*frames_shape, n, n))
    colour = lambda s: jnp.asarray(np.expand_dims(root, tuple(range(1, s.ndim - 1))) * s)  # noqa: E731
    noise = optics.ModulatedDeconvolution(n, sigma, modulation)
    known = noise.without(colour(transfer), frames, jnp.asarray(root))
    for k in range(frames_shape[-1]):
        rest = [j for j in range(frames_shape[-1]) if j != k]
        others = optics.ModulatedDeconvolution(n, sigma[..., rest], modulation[..., rest, :])
        alone = optics.KnownObject(n, sigma[..., k], jax.tree.map(lambda x, k=k: x[k], known))
        less = others.log_density(colour(transfer[..., rest, :, :]), frames[..., rest, :, :])
        raised = noise.log_density(colour(transfer), frames) - less
        own = jnp.asarray(transfer[..., k, :, :])
        assert float(alone.log_density(own, frames[..., k, :, :])) == pytest.approx(float(raised), rel=1e-9)
        assert alone.simulate(jax.random.key(0), own).shape == alone.data_shape(own.shape) == (*frames_shape[:-1], n, n)


def test_how_much_a_frame_feels_its_wavefront(float64: None) -> None:
    """Of one frame, of one object: the second derivative of what it adds; in two halves that all see, the same."""
    n, generator = 8, np.random.default_rng(3)
    transfer = jnp.asarray(np.fft.rfft2(generator.normal(size=(1, 4, n, n))) / 8)
    change = jnp.asarray(np.fft.rfft2(generator.normal(size=(1, 4, n, n))) / 8)
    sigma = np.array([0.2, 0.5, 0.3, 0.4])
    noise = optics.ModulatedDeconvolution(n, sigma, np.ones((4, 1)))
    frames = noise.simulate(jax.random.key(1), transfer)
    felt = noise.curvature(transfer, frames, change)
    t, d = (np.asarray(x)[0] / sigma[:, None, None] for x in (transfer, change))
    y = np.fft.rfft2(frames, norm="ortho") / sigma[:, None, None]
    whole = 1 + np.sum(np.abs(t) ** 2, axis=0)
    best = np.sum(np.conj(t) * y, axis=0) / whole
    each = (np.abs(best) ** 2 + 1 / whole) * (1 - np.abs(t) ** 2 / whole) * np.abs(d) ** 2
    np.testing.assert_allclose(felt, np.sum(np.array([1, 2, 2, 2, 1]) * each, axis=(-2, -1)), rtol=1e-10)
    same = np.ones((4, 2)) + [[0, 1e-9]] * np.arange(4)[:, None]
    halves = optics.ModulatedDeconvolution(n, sigma, same)
    parts = np.array([0.6, 0.8])[:, None, None, None]
    np.testing.assert_allclose(halves.curvature(parts * transfer, frames, parts * change), felt, rtol=1e-6)


def test_two_beams_are_as_many_frames(float64: None) -> None:
    generator = np.random.default_rng(4)
    modulation = generator.normal(size=(2, 3, 2))
    prediction, frames = np.fft.rfft2(generator.normal(size=(2, 2, 3, 8, 8))), generator.normal(size=(2, 3, 8, 8))
    beams = optics.ModulatedDeconvolution(8, 0.3, modulation)
    flat = optics.ModulatedDeconvolution(8, 0.3, modulation.reshape(6, 2))
    found = beams.log_density(jnp.asarray(prediction), frames)
    expected = flat.log_density(jnp.asarray(prediction.reshape(2, 6, 8, 5)), frames.reshape(6, 8, 8))
    assert float(found) == pytest.approx(float(expected), rel=1e-12)
    assert beams.simulate(jax.random.key(0), jnp.asarray(prediction)).shape == (2, 3, 8, 8)


def test_cameras_of_two_objects_are_independent(float64: None) -> None:
    generator = np.random.default_rng(5)
    transfer, frames = np.fft.rfft2(generator.normal(size=(2, 3, 8, 8))), generator.normal(size=(2, 3, 8, 8))
    cameras = optics.ModulatedDeconvolution(8, 0.3, CAMERAS["two objects"])
    plain = optics.BlindDeconvolution(8, 0.3, (0, 1))
    prediction = jnp.asarray(np.stack([transfer, transfer]))
    expected = float(plain.log_density(jnp.asarray(transfer), frames))
    assert float(cameras.log_density(prediction, frames)) == pytest.approx(expected, rel=1e-12)


def test_gradients_agree_with_finite_differences(float64: None) -> None:
    generator = np.random.default_rng(1)
    noise = optics.ModulatedDeconvolution(8, 0.3, [[1.0, 0.5], [1.0, -0.5], [1.0, 0.1]])
    base = np.fft.rfft2(generator.normal(size=(2, 3, 8, 8)))
    frames, change = generator.normal(size=(3, 8, 8)), np.fft.rfft2(generator.normal(size=(2, 3, 8, 8)))
    along = lambda step: noise.misfit(jnp.asarray(base) + step * change, frames)  # noqa: E731
    slope = jax.grad(along)(0.0)
    assert float(slope) == pytest.approx(float(along(1e-5) - along(-1e-5)) / 2e-5, rel=1e-7)


def test_without_polarization_it_is_plain_blind_deconvolution(float64: None) -> None:
    generator = np.random.default_rng(2)
    transfer, frames = np.fft.rfft2(generator.normal(size=(3, 8, 8))), generator.normal(size=(3, 8, 8))
    plain = optics.BlindDeconvolution(8, 0.3).log_density(jnp.asarray(transfer), frames)
    modulated = optics.ModulatedDeconvolution(8, 0.3, np.ones((3, 1)))
    assert float(modulated.log_density(jnp.asarray(transfer[None]), frames)) == pytest.approx(float(plain), rel=1e-12)


def test_stokes_images_of_a_fitted_burst() -> None:
    """Intensity and circular polarization from six frames with a wavefront each: better than demodulated frames."""
    n, n_frames = 32, 6
    modes = optics.KarhunenLoeve(DISC, 8)
    transfer = optics.TransferFunctions(optics.PointSpread(DISC, 8542.0, SCALE, n, modes, n_frames=n_frames))
    stokes = optics.StokesSpectra(n, SCALE, 2)
    modulation = np.stack([np.ones(n_frames), np.where(np.arange(n_frames) % 2, -0.9, 0.9)], axis=1)
    width = np.tile(np.sqrt(modes.variance * 1.5 ** (5 / 3)), (n_frames, 1))
    scene = {
        "log_object_variance": np.log([0.1**2, 0.05**2]),
        "log_object_corner": np.full(2, np.log(0.7)),
        "object_slope": np.full(2, 3.0),
    }
    prior = {"wavefront": dist.Normal(np.zeros_like(width), width).to_event(2), **scene}
    noise = optics.ModulatedDeconvolution(n, 0.003, modulation)
    problem = ji.Problem(transfer >> stokes, noise, prior)
    generator = np.random.default_rng(0)
    wavefront = generator.normal(size=width.shape) * width
    # Known Stokes images, so that the restored ones can be compared.
    root = np.sqrt(stokes.power(scene))
    images = np.fft.irfft2(root * np.fft.rfft2(generator.normal(size=(2, n, n)), norm="ortho"), (n, n), norm="ortho")
    otf = np.asarray(transfer.model.transfer_function({"wavefront": wavefront}))
    seen = np.einsum("fk,kyx->fyx", modulation, np.fft.rfft2(images))
    frames = np.fft.irfft2(otf * seen, (n, n)) + generator.normal(0, 0.003, (n_frames, n, n))
    fit = ji.fit(problem, frames.astype(np.float32), solver=ji.LBFGS())
    prediction = problem.predict({name: jnp.asarray(x) for name, x in fit.parameters.items()})
    found = noise.object(prediction, frames.astype(np.float32))
    support = stokes.power(scene, prediction.shape[-2])
    restored = np.fft.irfft2(
        np.asarray(optics.transfer.on_frame(found.mean * np.sqrt(support), n)), (n, n), norm="ortho"
    )
    flat = np.asarray(transfer.model.transfer_function({"wavefront": np.zeros_like(wavefront)}))[0]
    through = lambda image: np.fft.irfft2(np.fft.rfft2(image) * flat, (n, n))  # noqa: E731
    demodulated = np.einsum("kf,fyx->kyx", np.linalg.pinv(modulation), frames)
    for k in range(2):
        truth = through(images[k])
        before, after = np.std(demodulated[k] - truth), np.std(through(restored[k]) - truth)
        assert after < 0.5 * before


@pytest.mark.parametrize(
    ("modulation", "message"),
    [
        (np.ones(3), r"`modulation` is a finite matrix \(n_frames, n_stokes\); found \(3,\)"),
        (np.ones((3, 2)), "a modulation of 3 frames and rank 1 does not determine 2 Stokes parameters"),
        (np.full((3, 1), np.nan), "`modulation` is a finite matrix"),
    ],
)
def test_refusals(modulation: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        optics.ModulatedDeconvolution(8, 0.1, modulation)


def test_a_model_of_other_frames_is_refused() -> None:
    noise = optics.ModulatedDeconvolution(8, 0.1, np.ones((3, 1)))
    with pytest.raises(ValueError, match="the modulation is of 3 frames and 1 Stokes parameters, the model predicts"):
        noise.misfit(jnp.ones((1, 2, 8, 5), complex), np.ones((2, 8, 8)))
