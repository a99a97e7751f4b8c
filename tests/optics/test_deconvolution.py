"""The blind-deconvolution likelihood: against dense matrices, finite differences and its symmetries."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats

import jaxinv as ji
from jaxinv import optics
from jaxinv.optics.deconvolution import Spectra
from jaxinv.optics.propagation import seen_through
from jaxinv.optics.transfer import checked_objects

SCALE = 0.059
DISC = optics.Telescope(1.0)
SPECTRUM = {"log_object_variance": np.log(0.02), "log_object_corner": np.log(0.7), "object_slope": 3.0}


def telescope_model(n_pixels: int = 32, n_frames: int = 3, count: int = 8, **more) -> optics.PointSpread:
    return optics.PointSpread(DISC, 8542.0, SCALE, n_pixels, optics.Zernike(count), n_frames=n_frames, **more)


def draw(shape: tuple[int, ...], rms: float = 0.5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, rms, shape)


def as_matrices(transfer: np.ndarray, n: int) -> list[np.ndarray]:
    """Each row of transfer functions on a block of low frequencies as what it does to an image of n x n pixels."""
    n_support = transfer.shape[-2]
    above = n_support // 2
    rows = np.r_[0 : n_support - above, n - above : n]
    out = []
    for each in transfer:
        whole = np.zeros((n, n // 2 + 1), complex)
        whole[np.ix_(rows, np.arange(n_support // 2 + 1))] = each
        unit = np.eye(n * n).reshape(-1, n, n)
        out.append(np.fft.irfft2(np.fft.rfft2(unit) * whole, (n, n)).reshape(n * n, n * n).T)
    return out


@pytest.mark.parametrize("sigma", [0.3, [0.2, 0.5]])
def test_the_density_of_frames_is_that_of_a_dense_covariance(float64: None, sigma: object) -> None:
    n, n_support, generator = 8, 6, np.random.default_rng(0)
    # Transfer functions of real images: transforms of point spread functions on the smaller grid.
    transfer = np.fft.rfft2(generator.normal(size=(2, n_support, n_support)))
    transfer[:, n_support // 2] = transfer[:, :, n_support // 2] = 0  # as those of a telescope
    noise = optics.BlindDeconvolution(n, sigma)
    frames = generator.normal(size=(2, n, n))
    blur = np.concatenate(as_matrices(transfer, n))
    each = np.repeat(np.broadcast_to(np.asarray(sigma, float), 2), n * n)
    expected = stats.multivariate_normal(cov=blur @ blur.T + np.diag(each**2)).logpdf(frames.ravel())
    assert noise.log_density(jnp.asarray(transfer), frames) == pytest.approx(expected, rel=1e-10)
    # Wiener's estimate is the conditional mean of the object.
    found = noise.object(jnp.asarray(transfer), frames)
    solved = blur.T @ np.linalg.solve(blur @ blur.T + np.diag(each**2), frames.ravel())
    block = np.ix_(np.r_[0:3, n - 3 : n], np.arange(4))
    np.testing.assert_allclose(found.mean, np.fft.rfft2(solved.reshape(n, n), norm="ortho")[block], atol=1e-10)
    assert noise.simulate(jax.random.key(0), jnp.asarray(transfer)).shape == (2, n, n)


def test_drawn_frames_have_the_covariance(float64: None) -> None:
    n, generator = 8, np.random.default_rng(1)
    transfer = np.fft.rfft2(generator.normal(size=(2, n, n)))
    noise = optics.BlindDeconvolution(n, 0.5)
    keys = jax.random.split(jax.random.key(3), 4000)
    frames = jax.vmap(lambda key: noise.simulate(key, jnp.asarray(transfer)))(keys)
    misfit = -2 * jax.vmap(lambda one: noise.log_density(jnp.asarray(transfer), one))(frames)
    precision = 1 + np.sum(np.abs(transfer) ** 2, axis=0) / 0.25
    weight = np.array([1, 2, 2, 2, 1])
    logs = np.sum(weight * np.log(precision)) + 2 * n * n * np.log(2 * np.pi * 0.25)
    # The rest is chi squared of 2 n^2 degrees of freedom.
    assert np.mean(misfit - logs) == pytest.approx(2 * n * n, abs=4 * np.sqrt(4 * n * n / 4000))
    assert np.var(misfit) == pytest.approx(4 * n * n, rel=0.15)


def test_channels_that_show_other_objects_are_independent(float64: None) -> None:
    n, generator = 8, np.random.default_rng(2)
    transfer = jnp.asarray(np.fft.rfft2(generator.normal(size=(3, 2, n, n))))
    frames = generator.normal(size=(3, 2, n, n))
    sigma = np.array([[0.2], [0.3], [0.4]])
    density = lambda which, objects=None: optics.BlindDeconvolution(n, sigma[which], objects).log_density(  # noqa: E731
        transfer[np.array(which)], frames[which]
    )
    whole = optics.BlindDeconvolution(n, sigma, (0, 1, 0)).log_density(transfer, frames)
    assert whole == pytest.approx(float(density([0, 2]) + density([1])), rel=1e-12)
    assert float(density([0, 1, 2])) != pytest.approx(float(whole))
    posterior = optics.BlindDeconvolution(n, sigma, (0, 1, 0)).object(transfer, frames)
    assert posterior.mean.shape == (2, n, n // 2 + 1)


def test_the_support_holds_all_of_a_transfer_function(float64: None) -> None:
    model = telescope_model(n_pixels=64)
    small = optics.TransferFunctions(model)
    assert small.n_support < 64
    wavefront = {"wavefront": draw((3, 8))}
    whole = np.array(model.transfer_function(wavefront))
    found = np.asarray(small(wavefront))
    half = small.n_support // 2
    block = np.ix_(np.arange(3), np.r_[0:half, 64 - half : 64], np.arange(half + 1))
    np.testing.assert_allclose(found, whole[block], atol=1e-13)
    whole[block] = 0
    assert np.abs(whole).max() < 1e-13
    with pytest.raises(ValueError, match="`n_support` is an even number from 44 to the detector's 64 pixels"):
        optics.TransferFunctions(model, 20)


def test_gradients_agree_with_finite_differences(float64: None) -> None:
    model = telescope_model()
    forward = optics.TransferFunctions(model) >> optics.ObjectSpectrum(32, SCALE)
    noise = optics.BlindDeconvolution(32, 0.01)
    at = {"wavefront": draw((3, 8)), **SPECTRUM}
    frames = noise.simulate(jax.random.key(1), forward(at))

    def misfit(parameters: dict) -> jax.Array:
        return noise.misfit(forward(parameters), frames)

    at = {name: jnp.asarray(x) for name, x in at.items()}
    gradient = jax.grad(misfit)(at)
    for name, x in at.items():
        direction = draw(x.shape, 1.0, seed=5) if x.ndim else np.asarray(1.0)
        step = 1e-5
        up, down = (misfit({**at, name: x + sign * step * direction}) for sign in (1, -1))
        assert float(jnp.sum(gradient[name] * direction)) == pytest.approx(float(up - down) / (2 * step), rel=1e-5)


def test_what_frames_cannot_tell(float64: None) -> None:
    """A global tip-tilt moves the object; it changes neither the likelihood nor what is seen of it."""
    model = telescope_model()
    forward = optics.TransferFunctions(model) >> optics.ObjectSpectrum(32, SCALE)
    noise = optics.BlindDeconvolution(32, 0.01)
    wavefront = draw((3, 8))
    frames = noise.simulate(jax.random.key(1), forward({"wavefront": wavefront, **SPECTRUM}))
    moved = wavefront + np.array([0.2, -0.3, 0, 0, 0, 0, 0, 0])
    first, second = (noise.misfit(forward({"wavefront": w, **SPECTRUM}), frames) for w in (wavefront, moved))
    assert float(first) == pytest.approx(float(second), rel=1e-9)
    alone = moved.copy()
    alone[0] = wavefront[0]
    assert float(noise.misfit(forward({"wavefront": alone, **SPECTRUM}), frames)) > float(first) + 10


def test_the_spectrum_has_the_variance_it_says(float64: None) -> None:
    stage = optics.ObjectSpectrum(32, SCALE, (0, 1))
    parameters = {
        "log_object_variance": np.log([0.02, 0.5]),
        "log_object_corner": np.log([0.7, 2.0]),
        "object_slope": np.array([3.0, 2.5]),
    }
    power = np.asarray(stage.power(parameters, 32))
    weight = np.r_[1, np.full(15, 2), 1]
    np.testing.assert_allclose(np.sum(weight * power, axis=(-2, -1)) / 32**2, [0.02, 0.5], rtol=1e-12)
    frequency = np.hypot(np.fft.rfftfreq(32, SCALE), np.fft.fftfreq(32, SCALE)[:, None])
    ratio = (1 + (frequency / 0.7) ** 2) ** -1.5
    np.testing.assert_allclose(power[0] / power[0, 0, 0], ratio, rtol=1e-10)
    ones = jnp.ones((2, 1, 32, 17))
    np.testing.assert_allclose(stage(parameters, ones)[1, 0] ** 2, power[1], rtol=1e-10)


def test_the_plain_loss_is_paxmans(float64: None) -> None:
    n, generator = 8, np.random.default_rng(4)
    transfer = np.fft.rfft2(generator.normal(size=(3, n, n)))
    frames = generator.normal(size=(3, n, n))
    found = optics.BlindDeconvolution(n, 0.1, log_determinant=False).misfit(jnp.asarray(transfer), frames)
    data = np.fft.rfft2(frames, norm="ortho")
    gain = np.abs(np.sum(np.conj(transfer) * data, axis=0)) ** 2 / (np.sum(np.abs(transfer) ** 2, axis=0) + 0.01)
    loss = np.sum(np.array([1, 2, 2, 2, 1]) * (np.sum(np.abs(data) ** 2, axis=0) - gain))
    assert float(found) == pytest.approx(loss / 0.01, rel=1e-10)


def test_a_burst_is_fitted_as_any_problem(float64: None) -> None:
    """Phase diversity: two channels, an extended object that both show, and the wavefront comes back."""
    n, generator = 32, np.random.default_rng(6)
    models = [telescope_model(n, n_frames=1, count=8, defocus=d) for d in (0.0, 0.5)]
    forward = optics.Channels([optics.TransferFunctions(model) for model in models])
    forward = forward >> optics.ObjectSpectrum(n, SCALE)
    noise = optics.BlindDeconvolution(n, 1e-3)
    truth = draw((1, 8), 0.4, seed=7)
    white = np.fft.rfft2(generator.normal(size=(n, n)))
    power = np.asarray(optics.ObjectSpectrum(n, SCALE).power(SPECTRUM, n))
    scene = np.fft.irfft2(white * np.sqrt(power), (n, n))
    frames = np.stack([seen_through(jnp.asarray(scene), m.transfer_function({"wavefront": truth})) for m in models])
    frames = frames + 1e-3 * generator.normal(size=frames.shape)
    problem = ji.Problem(forward, noise, {"wavefront": dist.Normal(jnp.zeros((1, 8)), 1.0).to_event(2), **SPECTRUM})
    assert problem.data_shape() == (2, 1, n, n)
    found = ji.fit(problem, frames, solver=ji.LBFGS(covariance="diagonal"))
    assert found.status == 0
    error = (found.parameters["wavefront"] - truth)[0]
    error = error[2:]  # the object moves with tip-tilt
    assert np.all(np.abs(error) < 4 * found.standard_error["wavefront"][0, 2:])
    assert np.abs(error).max() < 0.05


def test_missing_pixels_count_as_the_mean_of_their_frame(float64: None) -> None:
    n, generator = 8, np.random.default_rng(8)
    transfer = jnp.asarray(np.fft.rfft2(generator.normal(size=(2, n, n))))
    frames = generator.normal(size=(2, n, n))
    holes = frames.copy()
    holes[0, 2, 3] = np.nan
    filled = frames.copy()
    filled[0, 2, 3] = np.nanmean(holes[0])
    noise = optics.BlindDeconvolution(n, 0.1)
    assert float(noise.misfit(transfer, holes)) == pytest.approx(float(noise.misfit(transfer, filled)), rel=1e-12)
    masked = ji.Observation(frames, mask=np.isfinite(holes))
    assert float(noise.misfit(transfer, masked)) == pytest.approx(float(noise.misfit(transfer, filled)), rel=1e-12)
    assert isinstance(noise.prepared(masked, transfer.shape), Spectra)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="`sigma` is of numbers above 0; found 0"):
        optics.BlindDeconvolution(8, 0.0)
    with pytest.raises(ValueError, match="from 0 without gaps; found \\(0, 2\\)"):
        checked_objects((0, 2))
    noise = optics.BlindDeconvolution(8, 0.1, (0, 1))
    with pytest.raises(ValueError, match="tells the objects of 2 channels apart"):
        noise.misfit(jnp.ones((3, 8, 5), complex), np.ones((3, 8, 8)))
    with pytest.raises(ValueError, match="objects of 2 channels are told apart"):
        optics.ObjectSpectrum(8, SCALE, (0, 1))(
            {name: np.ones(2) for name in SPECTRUM},
            jnp.ones((3, 8, 5)),
        )
