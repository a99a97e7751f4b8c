"""An object on a canvas: against dense matrices, and frames that repeat."""

import jax.numpy as jnp
import numpy as np
from scipy import linalg

from jaxinv import optics
from jaxinv.optics.canvas import Canvas, Seen
from jaxinv.optics.transfer import ObjectSpectrum, on_frame

SPECTRUM = {"log_object_variance": np.log(0.02), "log_object_corner": np.log(2.0), "object_slope": 3.0}


def transfer_functions(n: int, count: int = 2) -> np.ndarray:
    psf = np.random.default_rng(0).uniform(size=(count, n, n)) * np.outer(np.hanning(n), np.hanning(n)) ** 2
    psf /= psf.sum(axis=(-2, -1), keepdims=True)
    transfer = np.fft.rfft2(np.fft.ifftshift(psf, axes=(-2, -1)))
    transfer[:, n // 2] = transfer[:, :, n // 2] = 0
    return transfer


def seen_by(canvas: Canvas, transfer: np.ndarray) -> np.ndarray:
    """What each frame shows of a unit in each pixel of the canvas: columns of a dense matrix."""
    size = canvas.size
    unit = np.eye(size * size).reshape(-1, 1, size, size)
    wide = np.asarray(canvas.transfer(jnp.asarray(transfer)))
    images = np.fft.irfft2(np.fft.rfft2(unit) * wide, (size, size))
    return np.asarray(canvas.field(images)).reshape(size * size, -1).T


def test_the_object_is_the_conditional_mean(float64: None) -> None:
    n, sigma = 8, np.array([0.05, 0.1])
    canvas = Canvas(n, 3, 0.1, 2)
    transfer = transfer_functions(n)
    blur = seen_by(canvas, transfer)
    power = np.asarray(ObjectSpectrum(canvas.size, 0.1).power(SPECTRUM))
    unit = np.eye(canvas.size**2).reshape(-1, canvas.size, canvas.size)
    prior = np.fft.irfft2(np.fft.rfft2(unit) * power, unit.shape[1:]).reshape(len(unit), -1)
    generator = np.random.default_rng(1)
    frames, mask = generator.normal(size=(2, n, n)), generator.uniform(size=(2, n, n)) > 0.2
    weight = np.where(mask, 1 / sigma[:, None, None] ** 2, 0).ravel()
    expected = np.linalg.solve(blur.T * weight @ blur + np.linalg.inv(prior), blur.T @ (weight * frames.ravel()))
    start = jnp.zeros((1, canvas.size, canvas.size))
    given = (jnp.asarray(frames), jnp.asarray(mask), jnp.asarray(transfer))
    spectrum = {name: np.array([x]) for name, x in SPECTRUM.items()}
    found = canvas.object(*given, spectrum, jnp.asarray(sigma), start, 300, jnp.ones((2, 1)))
    np.testing.assert_allclose(found.object.ravel(), expected, atol=1e-4 * np.abs(expected).max())
    np.testing.assert_allclose(found.frames.ravel(), blur @ found.object.ravel(), atol=1e-12)


def test_stokes_images_are_the_conditional_mean(float64: None) -> None:
    n, sigma = 6, np.array([0.05, 0.1, 0.07])
    canvas, matrix = Canvas(n, 2, 0.1, 2), np.array([[1.0, 0.6], [1.0, -0.5], [1.1, 0.1]])
    transfer = transfer_functions(n, 3)
    spectrum = {name: np.array([x, x - 0.5]) for name, x in SPECTRUM.items()}
    each = seen_by(canvas, transfer).reshape(3, n * n, -1)
    blur = np.concatenate([matrix[:, k, None, None] * each for k in range(2)], axis=-1).reshape(3 * n * n, -1)
    power = np.asarray(ObjectSpectrum(canvas.size, 0.1, range(2)).power(spectrum))
    unit = np.eye(canvas.size**2).reshape(-1, canvas.size, canvas.size)
    parts = [np.fft.irfft2(np.fft.rfft2(unit) * one, unit.shape[1:]).reshape(len(unit), -1) for one in power]
    inverse = linalg.block_diag(*(np.linalg.inv(part) for part in parts))
    generator = np.random.default_rng(1)
    frames, mask = generator.normal(size=(3, n, n)), generator.uniform(size=(3, n, n)) > 0.2
    weight = np.where(mask, 1 / sigma[:, None, None] ** 2, 0).ravel()
    expected = np.linalg.solve(blur.T * weight @ blur + inverse, blur.T @ (weight * frames.ravel()))
    start = jnp.zeros((2, canvas.size, canvas.size))
    given = (jnp.asarray(frames), jnp.asarray(mask), jnp.asarray(transfer))
    found = canvas.object(*given, spectrum, jnp.asarray(sigma), start, 300, matrix)
    np.testing.assert_allclose(found.object.ravel(), expected, atol=1e-4 * np.abs(expected).max())
    np.testing.assert_allclose(found.frames.ravel(), blur @ found.object.ravel(), atol=1e-12)
    # The part of frames that is explained repeats: the convolution of the windowed mixture.
    seen = Seen(found.object, jnp.asarray(frames))
    mixed = np.tensordot(matrix, np.asarray(canvas.field(found.object)), 1)
    through = np.fft.irfft2(np.fft.rfft2(canvas.window * mixed) * np.asarray(on_frame(transfer, n)), (n, n))
    np.testing.assert_allclose(canvas.periodic(*given, seen, matrix), through, atol=1e-12)


def test_frames_that_repeat_are_convolutions(float64: None) -> None:
    """With the true object and PSFs, and without noise, what is left is the convolution of the windowed object."""
    n = 32
    canvas = Canvas(n, 8, 0.1, 6)
    transfer = transfer_functions(n)
    scene = np.random.default_rng(2).normal(size=(canvas.size, canvas.size))
    wide = np.asarray(canvas.transfer(jnp.asarray(transfer)))
    frames = np.fft.irfft2(np.fft.rfft2(scene) * wide, scene.shape)
    inner = np.asarray(canvas.field(frames))
    seen, alike = Seen(jnp.asarray(scene)[None], jnp.asarray(inner)), jnp.ones((2, 1))
    mask = np.ones(inner.shape, bool)
    mask[0, 3:5, 7] = False
    found = canvas.periodic(jnp.asarray(inner), jnp.asarray(mask), jnp.asarray(transfer), seen, alike)
    windowed = np.fft.rfft2(canvas.window * np.asarray(canvas.field(scene)))
    np.testing.assert_allclose(found, np.fft.irfft2(windowed * np.asarray(on_frame(transfer, n)), (n, n)), atol=1e-12)
    # What an estimate has missed comes through the window, but for missing pixels.
    blind = Seen(jnp.zeros_like(seen.object), jnp.zeros_like(seen.frames))
    found = canvas.periodic(jnp.asarray(inner), jnp.asarray(mask), jnp.asarray(transfer), blind, alike)
    np.testing.assert_allclose(found, canvas.window * np.where(mask, inner, 0), atol=1e-12)


def test_the_canvas_shows_what_a_telescope_does(float64: None) -> None:
    """A point on the canvas is a PSF in the field."""
    model = optics.PointSpread(optics.Telescope(1.0), 8542.0, 0.059, 64, optics.Zernike(8), n_frames=1)
    wavefront = {"wavefront": np.random.default_rng(0).normal(0, 0.3, (1, 8))}
    canvas = Canvas(64, 16, 0.059, 8)
    wide = canvas.transfer(optics.TransferFunctions(model)(wavefront))
    point = np.zeros((canvas.size, canvas.size))
    point[16 + 32, 16 + 32] = 1
    image = canvas.field(jnp.fft.irfft2(jnp.fft.rfft2(point) * wide, point.shape))
    np.testing.assert_allclose(image, model(wavefront), atol=1e-12)
