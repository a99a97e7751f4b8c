"""Linear operators: every adjoint and norm against the matrix, derivatives, fits; and what is wrong in one line."""

import re
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import jaxinv as ji
from jaxinv import imaging
from jaxinv.imaging.operator import largest_singular_value

RNG = np.random.default_rng(0)
KERNEL = RNG.uniform(0, 1, (3, 4))
MASK = RNG.uniform(0, 1, (6, 8)) > 0.4
ANGLES = np.array([0.0, 20.0, 45.0, 70.0, 90.0, 101.0, 135.0, 170.0, -30.0])

OPERATORS: dict[str, Callable[[], imaging.LinearOperator]] = {
    "periodic": lambda: imaging.Convolution(KERNEL, (6, 8)),
    "odd": lambda: imaging.Convolution(KERNEL, (5, 7)),
    "cropped": lambda: imaging.Convolution(KERNEL, (6, 8), "cropped"),
    "mask": lambda: imaging.Mask(MASK),
    "down": lambda: imaging.Downsampling((6, 8), 2),
    "cutouts": lambda: imaging.Cutouts((6, 8), [[0, 0], [1, 2], [2, 4]], (4, 4)),
    "fourier": lambda: imaging.FourierSampling(MASK),
    "rotation": lambda: imaging.Rotation((6, 8), 25.0),
    "warp": lambda: imaging.Warp(np.mgrid[:5, :4] * 1.3 + 0.2, (6, 8)),
    "shear": lambda: imaging.KaiserSquires((6, 8)),
    "shear of an odd grid": lambda: imaging.KaiserSquires((5, 7), x="left"),
    "radon": lambda: imaging.Radon(8, ANGLES),
    "after": lambda: imaging.Downsampling((6, 8), 2) @ imaging.Convolution(KERNEL, (6, 8)),
    "stack": lambda: imaging.Stack([imaging.Rotation((6, 8), angle) for angle in (0.0, 10.0, 90.0)]),
}


def matrix(operator: imaging.LinearOperator) -> np.ndarray:
    """`(n_data, n_image)`"""
    size = int(np.prod(operator.input_shape))
    each = np.asarray(jax.jit(jax.vmap(operator))(np.eye(size).reshape(size, *operator.input_shape)))
    return np.stack([column.ravel() for column in each], 1)


@pytest.mark.parametrize("make", OPERATORS.values(), ids=OPERATORS)
@pytest.mark.usefixtures("float64")
def test_adjoint_norm_and_derivatives(make: Callable[[], imaging.LinearOperator]) -> None:
    operator = make()
    dense = matrix(operator)
    x, other = RNG.normal(size=(2, *operator.input_shape))
    data = RNG.normal(size=operator.output_shape)
    flat = data.ravel()
    assert operator(x).shape == operator.output_shape
    # The dot-product test, and each image of the adjoint.
    assert np.vdot(np.asarray(operator(x)).ravel(), flat) == pytest.approx(
        np.vdot(x, operator.adjoint(data)), rel=1e-12, abs=1e-12
    )
    np.testing.assert_allclose(np.ravel(operator.adjoint(data)), dense.T @ flat, atol=1e-12)
    largest = np.linalg.svd(dense, compute_uv=False)[0]
    assert operator.norm == pytest.approx(largest, rel=1e-3)
    assert largest_singular_value(operator) == pytest.approx(largest, rel=1e-2)

    def misfit(x: jax.Array) -> jax.Array:
        return jnp.sum((operator(x) - data) ** 2) / 2

    np.testing.assert_allclose(jax.grad(misfit)(x), operator.adjoint(operator(x) - data), atol=1e-12)
    # Forward mode, second derivatives, and the adjoint's own.
    _, moved = jax.jvp(operator, (x,), (other,))
    np.testing.assert_allclose(moved, operator(other), atol=1e-12)
    _, curved = jax.jvp(jax.grad(misfit), (x,), (other,))
    np.testing.assert_allclose(curved, operator.adjoint(operator(other)), atol=1e-12)
    back = jax.grad(lambda d: jnp.sum(operator.adjoint(d) * x))(data)
    np.testing.assert_allclose(back, operator(x), atol=1e-12)


@pytest.mark.parametrize("name", ["radon", "fourier"])
def test_it_is_a_forward_model(name: str) -> None:
    """Least squares with a normal prior, against the matrix."""
    operator = OPERATORS[name]()
    shape = operator.input_shape
    dense = matrix(operator)
    image = RNG.normal(size=shape).astype(np.float32)
    clean = np.asarray(operator({"image": image}))
    data = clean + 0.1 * RNG.normal(size=clean.shape)
    prior = {"image": dist.Normal(0.0, 1.0).expand(shape).to_event(2)}
    problem = ji.Problem(operator, ji.noise.Gaussian(0.1), prior)
    found = ji.fit(problem, data.astype(np.float32))
    expected = np.linalg.solve(dense.T @ dense / 0.01 + np.eye(dense.shape[1]), dense.T @ data.ravel() / 0.01)
    np.testing.assert_allclose(found.parameters["image"].ravel(), expected, atol=0.02)


def test_modes_are_those_of_the_unitary_transform() -> None:
    image = RNG.normal(size=(6, 8))
    seen = np.fft.fft2(image, norm="ortho")[MASK]
    np.testing.assert_allclose(imaging.FourierSampling(MASK)(image), [seen.real, seen.imag], atol=1e-5)
    with pytest.raises(ValueError, match=r"the data holds complex numbers; .*z.real, z.imag"):
        imaging.FourierSampling(MASK).adjoint(np.stack([seen, seen]))


def test_the_first_estimate_is_flat() -> None:
    blur, shear = imaging.Convolution(KERNEL, (6, 8)), imaging.KaiserSquires((6, 8))
    data = np.asarray(blur(np.full((6, 8), 3.0)))
    hole = np.ones(data.shape, bool)
    hole[2] = False
    (found,) = blur.knowledge.guess(jnp.where(hole, data, 0), jnp.asarray(hole))["image"]
    np.testing.assert_allclose(found, 3.0, rtol=1e-5)
    (found,) = shear.knowledge.guess(jnp.ones((2, 6, 8)), jnp.ones((2, 6, 8), bool))["image"]
    np.testing.assert_allclose(found, 0.0)  # a shear says nothing of it


def test_convolution_is_centred() -> None:
    point = np.zeros((9, 8))
    point[4, 3] = 1
    kernel = RNG.normal(size=(3, 5))
    seen = np.asarray(imaging.Convolution(kernel, (9, 8))(point))
    np.testing.assert_allclose(seen[3:6, 1:6], kernel, atol=1e-6)
    cropped = imaging.Convolution(kernel, (9, 8), "cropped")(point)
    np.testing.assert_allclose(cropped, seen[1:8, 2:6], atol=1e-6)
    by = jax.grad(lambda k: imaging.Convolution(k, (9, 8))(point)[4, 3])(jnp.asarray(kernel))
    np.testing.assert_allclose(by, np.eye(3)[1][:, None] * np.eye(5)[2], atol=1e-6)


def test_projections_of_a_disc() -> None:
    """Signs, scale and interpolation: 2 sqrt(R^2 - s^2) about the disc's own centre."""
    n, radius, right, up = 128, 20.0, 15.0, 25.0
    row, column = np.mgrid[:n, :n] - (n - 1) / 2
    fine = (np.arange(8) - 3.5) / 8
    inside = [(column + dx - right) ** 2 + (-(row + dy) - up) ** 2 < radius**2 for dx in fine for dy in fine]
    angles = np.arange(0.0, 180.0, 15.0)
    found = np.asarray(imaging.Radon(n, angles)(np.mean(inside, 0)))
    centre = right * np.cos(np.radians(angles)) + up * np.sin(np.radians(angles))
    distance = np.arange(n) - (n - 1) / 2 - centre[:, None]
    expected = 2 * np.sqrt(np.maximum(radius**2 - distance**2, 0))
    assert np.abs(found - expected).mean() < 0.1
    np.testing.assert_allclose(found.sum(1), np.pi * radius**2, rtol=2e-3)
    np.testing.assert_allclose(found[0], np.mean(inside, 0).sum(0), rtol=1e-5)


def test_filtered_back_projection() -> None:
    n = 64
    row, column = np.mgrid[:n, :n] - (n - 1) / 2
    image = np.exp(-((column - 6) ** 2 + (row + 9) ** 2) / (2 * 4.0**2)) + 0.5 * np.exp(-(column**2 + row**2) / 128)
    radon = imaging.Radon(n, np.arange(0, 180, 2.0))
    found = radon.filtered_back_projection(radon(image))
    off = np.abs(found - image)[column**2 + row**2 < (n / 2) ** 2]  # where all rays are seen
    assert off.max() < 0.025
    assert np.sqrt(np.mean(off**2)) < 2e-3


def test_shear_of_a_cluster() -> None:
    """A Gaussian lens: tangential shear is the mean convergence within, less the convergence."""
    n, width = 256, 8.0
    y, x = np.mgrid[:n, :n] - n // 2
    r2 = np.maximum(x**2 + y**2, 1e-9)
    kappa = np.exp(-r2 / (2 * width**2))
    tangential = 2 * width**2 / r2 * (1 - kappa) - kappa
    tangential[n // 2, n // 2] = 0
    angle = np.arctan2(y, x)
    expected = np.stack([-tangential * np.cos(2 * angle), -tangential * np.sin(2 * angle)])
    lensing = imaging.KaiserSquires((n, n))
    near = r2 < (n / 4) ** 2
    found = np.asarray(lensing(kappa))
    assert np.abs(found - expected)[:, near].max() < 0.01
    mirrored = np.asarray(imaging.KaiserSquires((n, n), x="left")(kappa))
    np.testing.assert_allclose(mirrored, found * np.array([1, -1])[:, None, None], atol=1e-6)
    np.testing.assert_allclose(imaging.KaiserSquires((n, n), x="left", y="down")(kappa), found, atol=1e-6)
    back, b_mode = lensing.convergence(found)
    np.testing.assert_allclose(back, kappa - kappa.mean(), atol=1e-5)
    assert np.abs(b_mode).max() < 1e-5


@pytest.mark.parametrize("shape", [(6, 8), (5, 8), (7, 9)])
@pytest.mark.usefixtures("float64")
def test_round_trip_of_a_shear(shape: tuple[int, int]) -> None:
    """Exact for all modes below the Nyquist frequency, and no B mode."""
    modes = np.fft.fft2(RNG.normal(size=shape))
    for axis, n in enumerate(shape):
        if n % 2 == 0:
            np.moveaxis(modes, axis, 0)[n // 2] = 0
    modes[0, 0] = 0
    kappa = np.fft.ifft2(modes).real
    lensing = imaging.KaiserSquires(shape)
    back, b_mode = lensing.convergence(lensing(kappa))
    np.testing.assert_allclose(back, kappa, atol=1e-6)  # its kernel is of float32
    np.testing.assert_allclose(b_mode, 0, atol=1e-6)


def test_rotation_turns_counter_clockwise() -> None:
    image = np.zeros((9, 9))
    image[4, 7] = 1  # to the right
    turned = np.asarray(imaging.Rotation((9, 9), 90.0)(image))
    assert np.unravel_index(turned.argmax(), turned.shape) == (7, 4)  # up, where rows go upwards


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: imaging.Convolution(np.ones((9, 3)), (6, 8)), "does not fit into (6, 8)"),
        (lambda: imaging.Convolution(np.full((3, 3), np.nan), (6, 8)), "not finite"),
        (lambda: imaging.Convolution(np.ones((3, 3)), (6, 8), "reflect"), "periodic or cropped"),
        (lambda: imaging.Convolution(np.ones((3, 3)), 6), "two whole numbers"),
        (lambda: imaging.Mask(np.zeros((3, 3))), "hides every pixel"),
        (lambda: imaging.FourierSampling(np.zeros((3, 3))), "hides every mode"),
        (lambda: imaging.Downsampling((6, 7), 2), "no whole number of blocks"),
        (lambda: imaging.Cutouts((6, 8), [[4, 0]], (4, 4)), "do not lie in (6, 8)"),
        (lambda: imaging.Radon(8, np.linspace(0, np.pi, 180)), "look like radians"),
        (lambda: imaging.Radon(8, [0.0, np.nan]), "finite numbers"),
        (lambda: imaging.KaiserSquires((6, 8), x="east"), "right or left"),
        (lambda: imaging.Warp(np.zeros((3, 4, 4))), "(2, ny, nx)"),
        (lambda: imaging.Rotation((6, 8), np.inf), "finite number of degrees"),
        (lambda: imaging.Mask(MASK) @ imaging.Downsampling((6, 8), 2), "gives (3, 4), but Mask takes (6, 8)"),
        (lambda: imaging.Stack([imaging.Mask(MASK), imaging.Downsampling((6, 8), 2)]), "the same shapes"),
        (lambda: imaging.Mask(MASK)(np.ones((6, 7))), "the image has the shape (6, 7)"),
        (lambda: imaging.Mask(MASK)(np.ones((6, 8)) * 1j), "complex"),
        (lambda: imaging.Radon(8, ANGLES).adjoint(np.ones((3, 8))), "the data has the shape (3, 8)"),
        (lambda: imaging.KaiserSquires((6, 8)).convergence(np.ones((6, 8))), "the shear has the shape (6, 8)"),
    ],
)
def test_what_is_wrong(make: Callable[[], object], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)) as error:
        make()
    assert "\n" not in str(error.value)


def test_the_estimate_of_a_convergence_amplifies_no_noise() -> None:
    """At the Nyquist frequency of an even axis one component is missing; what is there is not divided by little."""
    field = imaging.KaiserSquires((64, 64))
    noise = np.random.default_rng(0).normal(size=(2, 64, 64)).astype(np.float32)
    for mode in field.convergence(noise):
        assert float(jnp.std(mode)) == pytest.approx(1, abs=0.03)
