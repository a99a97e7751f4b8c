"""A toy of blind deconvolution: the prediction is transfer functions, the data are frames, the object is eliminated."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.optimize
import scipy.stats
from jaxtyping import Array

import jaxinv as ji
from jaxinv.forward import Parameters
from jaxinv.noise import Noise
from jaxinv.results.solution import Status

N = 64
FREQUENCY = np.fft.rfftfreq(N)
WEIGHT = np.where((FREQUENCY == 0) | (FREQUENCY == 0.5), 1, 2)


class TwoFrames(Noise):
    """Two frames of one unknown object, white with variance 1, each through its transfer function; integrated out.

    The prediction is `(2, n // 2 + 1)` transfer functions, complex; the data are `(2, n)` frames. The Gaussian density
    of Paxman, Schulz & Fienup (1992, J. Opt. Soc. Am. A 9, 1072), with its log determinant.
    """

    sigma2: float = 0.01

    def data_shape(self, prediction_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (2, N)

    def log_density(self, prediction: Array, data: Array) -> Array:
        seen = jnp.fft.rfft(data, norm="ortho")
        power = jnp.sum(jnp.abs(prediction) ** 2, axis=0) + self.sigma2
        common = jnp.abs(jnp.sum(jnp.conj(prediction) * seen, axis=0)) ** 2
        square = (jnp.sum(jnp.abs(seen) ** 2, axis=0) - common / power) / self.sigma2
        terms = square + jnp.log(power) + np.log(self.sigma2)
        return -jnp.sum(WEIGHT * terms) / 2 - N * np.log(2 * np.pi)

    def simulate(self, key: Array, prediction: Array) -> Array:
        own, noise = jax.random.split(key)
        transform = jnp.fft.rfft(jax.random.normal(own, (N,)), norm="ortho")
        frames = jnp.fft.irfft(prediction * transform, N, norm="ortho")
        return frames + jnp.sqrt(self.sigma2) * jax.random.normal(noise, (2, N))


def covariance_of(transfer: Array) -> np.ndarray:
    """Of both frames in one vector, dense: H H^T + sigma^2 I, each H a circulant matrix."""
    columns = np.fft.irfft(np.asarray(transfer), N)
    matrices = [np.array([np.roll(column, k) for k in range(N)]).T for column in columns]
    stacked = np.concatenate(matrices)
    return stacked @ stacked.T + 0.01 * np.eye(2 * N)


SHIFTS = np.array([0.0, 2.3])


def gains(p: Parameters) -> Array:
    """Frames that were moved by known amounts, each seen with its own gain."""
    return p["gain"][:, None] * jnp.exp(-2j * jnp.pi * FREQUENCY * SHIFTS[:, None]) * (FREQUENCY < 0.5)


def blurs(p: Parameters) -> Array:
    """A sharp frame, and one that was blurred and moved by unknown amounts."""
    blur = jnp.exp(-2 * (jnp.pi * FREQUENCY * p["width"]) ** 2 - 2j * jnp.pi * FREQUENCY * p["shift"])
    return jnp.stack([jnp.ones_like(blur), blur * (FREQUENCY < 0.5)])


GAINS = {"gain": dist.Uniform(0.0, 5.0).expand((2,)).to_event(1)}


def best_gains(frames: np.ndarray) -> np.ndarray:
    """Closed form: the leading eigenvector (Tipping & Bishop 1999, J. R. Stat. Soc. B 61, 611)."""
    seen = np.fft.rfft(frames, norm="ortho") * np.exp(2j * np.pi * FREQUENCY * SHIFTS[:, None])
    keep = FREQUENCY < 0.5
    weight = WEIGHT[keep] / WEIGHT[keep].sum()
    values, vectors = np.linalg.eigh(np.einsum("u,iu,ju->ij", weight, seen[:, keep], seen[:, keep].conj()).real)
    return np.abs(vectors[:, -1]) * np.sqrt(values[-1] - 0.01)


def test_two_frames_have_the_density_that_they_should(float64: None) -> None:
    problem = ji.Problem(blurs, TwoFrames(), {"width": dist.Uniform(0.1, 5.0), "shift": dist.Normal(0.0, 3.0)})
    at = {"width": 1.3, "shift": -0.7}
    _, frames = problem.simulate(jax.random.key(0))
    exact = scipy.stats.multivariate_normal(np.zeros(2 * N), covariance_of(blurs(at)))
    assert float(problem.log_likelihood(at, frames)) == pytest.approx(exact.logpdf(np.ravel(frames)), rel=1e-9)


def test_the_transfer_functions_of_two_frames(float64: None) -> None:
    """Without a word about the solver, and at the closed form."""
    problem = ji.Problem(gains, TwoFrames(), GAINS)
    truth = jnp.asarray([[1.0, 0.6], [0.3, 2.0], [1.5, 1.5], [0.2, 0.9]])
    keys = jax.random.split(jax.random.key(1), 4)
    frames = np.stack([problem.noise.simulate(k, problem.predict({"gain": g})) for k, g in zip(keys, truth)])
    found = ji.fit(problem, frames)
    assert np.all(found.status == Status.CONVERGED)
    np.testing.assert_allclose(found.parameters["gain"], [best_gains(x) for x in frames], rtol=2e-3)
    exact = ji.fit(problem, frames, solver=ji.LBFGS(tolerance=1e-12, relative_tolerance=0.0, covariance="dense"))
    np.testing.assert_allclose(exact.parameters["gain"], [best_gains(x) for x in frames], rtol=1e-6)
    # The curvature of the dense density, by differences.
    best, step = exact.parameters["gain"][0], 1e-3

    def value(a: float, b: float) -> float:
        transfer = np.asarray(gains({"gain": jnp.asarray(best + np.array([a, b]))}))
        return scipy.stats.multivariate_normal(np.zeros(2 * N), covariance_of(transfer)).logpdf(frames[0].ravel())

    e = step * np.eye(2)
    hessian = [
        [(value(*(x + y)) - value(*(x - y)) - value(*(y - x)) + value(*(-x - y))) / 4 / step**2 for y in e] for x in e
    ]
    np.testing.assert_allclose(exact.covariance[0], np.linalg.inv(-np.array(hessian)), rtol=1e-3)


def test_a_blur_and_a_shift_are_those_of_the_dense_density(float64: None) -> None:
    prior = {"width": dist.Uniform(0.1, 5.0), "shift": dist.Uniform(-5.0, 5.0)}
    problem = ji.Problem(blurs, TwoFrames(), prior)
    truth = {"width": jnp.asarray(1.2), "shift": jnp.asarray(0.8)}
    frames = np.asarray(problem.noise.simulate(jax.random.key(2), problem.predict(truth)))
    found = ji.fit(problem, frames, solver=ji.LBFGS(tolerance=1e-10, covariance="diagonal"))

    def dense(theta: np.ndarray) -> float:
        covariance = covariance_of(blurs({"width": theta[0], "shift": theta[1]}))
        return -scipy.stats.multivariate_normal(np.zeros(2 * N), covariance).logpdf(frames.ravel())

    best = scipy.optimize.minimize(dense, [1.0, 1.0], method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-9})
    np.testing.assert_allclose([found.parameters["width"], found.parameters["shift"]], best.x, atol=1e-5)
    for name in prior:
        assert abs(found.parameters[name] - truth[name]) < 4 * found.standard_error[name]


@pytest.mark.parametrize(
    "method", [ji.HMC(n_warmup=200, n_draws=500), ji.Importance(ji.Laplace(n_draws=2000))], ids=["HMC", "Importance"]
)
def test_they_are_sampled(method: object) -> None:
    """The moments are those of the dense density on a grid."""
    problem = ji.Problem(gains, TwoFrames(), GAINS)
    truth = {"gain": jnp.asarray([1.0, 0.6])}
    frames = np.asarray(problem.noise.simulate(jax.random.key(7), problem.predict(truth)))
    posterior = ji.draw(problem, frames, key=jax.random.key(0), method=method)
    draws = posterior.draws["gain"].reshape(-1, 2)
    best = best_gains(frames)
    axes = [np.linspace(0.4 * g, 1.8 * g, 61) for g in best]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
    values = np.asarray(jax.jit(jax.vmap(lambda g: problem.log_likelihood({"gain": g}, frames)))(jnp.asarray(grid)))
    for k in range(0, len(grid), len(grid) // 7):
        exact = scipy.stats.multivariate_normal(np.zeros(2 * N), covariance_of(gains({"gain": jnp.asarray(grid[k])})))
        assert values[k] == pytest.approx(exact.logpdf(frames.ravel()), rel=1e-3)
    weights = np.exp(values.astype(float) - np.max(values))
    weights /= weights.sum()
    mean = weights @ grid
    deviation = np.sqrt(weights @ (grid - mean) ** 2)
    np.testing.assert_allclose(draws.mean(0), mean, atol=0.12 * deviation.min())
    np.testing.assert_allclose(draws.std(0), deviation, rtol=0.12)
    assert posterior.status == ji.PosteriorStatus.CONVERGED
    assert 0.01 < posterior.scalars["p_value"] < 0.99
    assert np.isnan(posterior.scalars["chi2"])
