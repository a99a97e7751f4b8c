"""Networks that answer with an image: what they promise, and what they learn."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinv as ji
from jaxinv import imaging
from jaxinv.amortization import ImageEstimator
from jaxinv.networks import Network
from jaxinv.training import Conditions, FolderError, Training

KEY = jax.random.key(0)
SHAPE = (16, 16)
SHORT = Training(steps=200, batch_size=16, evaluate=100, n_validation=64, learning_rate=5e-3, average=0.02)
UNET = ji.ImageEstimate(width=8, levels=2)
LOCAL = ji.ImageEstimate(network="local", width=24, size=5, depth=1, pixels=64, examples=200)


def smooth(shape=SHAPE):
    """Images that are easily told from noise."""
    return imaging.PowerSpectrum(shape, lambda k: np.exp(-0.5 * (k / 0.06) ** 2) * 30 + 1e-6)


def problem(shape=SHAPE, sigma=0.5, prior=None):
    return ji.Problem(imaging.Mask(np.ones(shape)), ji.noise.Gaussian(sigma), {"image": prior or smooth(shape)})


def taught(method, problem, training=SHORT, **options):
    return ji.amortize(problem, method, training, key=KEY, progress=False, **options)


@pytest.fixture(scope="module")
def unet():
    return taught(UNET, problem(), conditions=Conditions(noise=(0.5, 2)))


def gain(estimator, problem, n=64):
    """The error of the answers as a fraction of the noise's."""
    truth, data = problem.simulate(jax.random.key(9), (n,))
    found = estimator(problem, data).parameters["image"]
    away = lambda image: float(jnp.sqrt(jnp.mean((image - truth["image"]) ** 2)))  # noqa: E731
    return away(found) / away(data)


@pytest.mark.parametrize("kind", [UNET, LOCAL], ids=["unet", "local"])
@pytest.mark.parametrize("shape", [(16, 16), (13, 21)])
def test_an_answer_has_the_unit_and_the_zero_of_its_data(kind, shape):
    network = Network.new(*kind.architecture, KEY)
    image, sigma = jax.random.normal(KEY, shape), jnp.asarray(0.3)
    once = network(image, sigma)
    assert once.shape == shape
    assert float(jnp.max(jnp.abs(once - image))) > 1e-3
    np.testing.assert_allclose(network(7 * image, 7 * sigma), 7 * once, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(network(image + 5, sigma), once + 5, rtol=1e-4, atol=1e-4)


def test_a_convolution_is_that_of_jax():
    from flax import nnx

    from jaxinv.networks.images import ImageUNet, _Convolution

    layer = _Convolution(3, 4, nnx.Rngs(0))
    x = jax.random.normal(KEY, (7, 9, 3))
    kernel = layer.kernel[...].reshape(3, 3, 3, 4)
    expected = jax.lax.conv_general_dilated(x[None], kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    np.testing.assert_allclose(layer(x), expected[0], rtol=1e-5, atol=1e-5)
    assert ImageUNet((4, 8), 1, rngs=nnx.Rngs(0)).block == 4


def test_some_pixels_of_one_of_several_images_are_those_of_the_whole():
    network = Network.new(*LOCAL.architecture, KEY)
    images = jax.random.normal(KEY, (3, 12, 10))
    pixels = jnp.array([[0, 0], [11, 9], [5, 4]])
    found = network(images, jnp.asarray(0.1), pixels, jnp.asarray(2), method="at")
    whole = network(images[2], jnp.asarray(0.1))
    np.testing.assert_allclose(found, whole[pixels[:, 0], pixels[:, 1]], rtol=1e-5, atol=1e-5)


def test_the_memory_of_a_step_does_not_depend_on_the_size_of_the_images():
    network = Network.new("local", {"size": 7, "width": 32}, KEY)
    weights, rest = eqx.partition(network, eqx.is_inexact_array)

    def step(weights, images, pixels, which):
        at = lambda p, w: eqx.combine(weights, rest)(images, jnp.asarray(0.1), p, w, method="at")  # noqa: E731
        return jnp.mean(jax.vmap(at)(pixels, which) ** 2)

    def needed(n):
        arrays = (jnp.zeros((4, n, n)), jnp.zeros((8, 256, 2), int), jnp.zeros(8, int))
        return jax.jit(jax.grad(step)).lower(weights, *arrays).compile().memory_analysis().temp_size_in_bytes

    assert needed(1024) < 1.2 * needed(128)


def test_a_u_net_learns_from_truth(unet):
    assert gain(unet, problem()) < 0.45
    # Of another size and level.
    assert gain(unet, problem((24, 20), 0.3)) < 0.6
    assert float(unet.gain) == pytest.approx(1, abs=0.01)


def test_pairs_of_noisy_images_teach_what_the_truth_does(unet):
    pairs = taught(dataclasses.replace(UNET, loss="pairs"), problem(), conditions=Conditions(noise=(0.5, 2)))
    assert gain(pairs, problem()) < 1.25 * gain(unet, problem())


@pytest.mark.parametrize("method", [UNET, LOCAL], ids=["unet", "local"])
def test_real_pairs_are_learned_from_without_a_truth(method):
    one = problem()
    truth, first = one.simulate(jax.random.key(3), (150,))
    second = truth["image"] + 0.5 * jax.random.normal(jax.random.key(4), first.shape)
    pairs = np.stack([first, second], 1)
    no_draws = problem(prior=imaging.TotalVariation(SHAPE, 1.0))
    found = taught(dataclasses.replace(method, loss="pairs"), no_draws, data=pairs)
    assert gain(found, one) < 0.6


def test_a_local_network_learns_from_pixels():
    assert gain(taught(LOCAL, problem()), problem()) < 0.55


def test_tomography_is_better_than_back_projection():
    radon = imaging.Radon(16, np.arange(0, 180, 15))
    ct = ji.Problem(radon, ji.noise.Gaussian(0.5), {"image": smooth()})
    found = taught(UNET, ct)
    truth, data = ct.simulate(jax.random.key(5), (32,))
    classical = jnp.stack([radon.estimate(d) for d in data])
    noise = jax.random.normal(KEY, (200, *radon.output_shape))
    size = float(jnp.sqrt(jnp.mean(jax.vmap(radon.estimated)(noise) ** 2)))
    assert float(found.gain) == pytest.approx(size, rel=0.05)
    solution = found(ct, data)
    error = lambda image: float(jnp.mean((image - truth["image"]) ** 2))  # noqa: E731
    assert error(solution.parameters["image"]) < 0.5 * error(classical)
    assert np.all(np.isfinite(solution.chi2))
    assert np.all(np.isnan(solution.standard_error["image"]))


def test_it_is_kept_in_a_folder(unet, tmp_path):
    unet.save(tmp_path / "net", problem(), {"note": "x"})
    again = ImageEstimator.load(tmp_path / "net")
    image = jax.random.normal(KEY, SHAPE)
    np.testing.assert_array_equal(again.refine(image, 0.4), unet.refine(image, 0.4))
    assert again.curve.step.tolist() == [100, 200]
    with pytest.raises(FolderError, match="expected a PointEstimator"):
        ji.amortization.PointEstimator.load(tmp_path / "net")


def test_it_is_the_prior_of_a_fit(unet):
    """Plug and play: holes are filled, which the network alone cannot."""
    mask = np.ones(SHAPE)
    mask[5:8, 4:7] = 0
    truth, data = problem(sigma=0.2).simulate(jax.random.key(11))
    holes = ji.Problem(imaging.Mask(mask), ji.noise.Gaussian(0.2), {"image": imaging.Denoiser(SHAPE, unet.refine)})
    found = ji.fit(holes, data * mask, solver=ji.ADMM(coupling=25.0, tolerance=1e-3)).parameters["image"]
    hidden = mask == 0
    level = np.abs(np.asarray(truth["image"])[hidden]).mean()
    assert np.abs(np.asarray(found - truth["image"])[hidden]).mean() < 0.5 * level
    assert np.sqrt(np.mean(np.asarray(found - truth["image"])[~hidden] ** 2)) < 0.16


def test_missing_pixels_do_not_spoil_the_others(unet):
    _, data = problem().simulate(jax.random.key(12))
    torn = np.array(data)
    torn[3, 3] = np.nan
    found = unet(problem(), torn)
    assert np.all(np.isfinite(found.parameters["image"]))
    assert np.all(np.isfinite(found.chi2))


def test_dead_leaves_are_drawn_and_nothing_else():
    leaves = imaging.DeadLeaves((24, 40))
    drawn = leaves.sample(KEY, (2, 3))
    assert drawn.shape == (2, 3, 24, 40)
    assert np.all(np.isfinite(drawn))
    assert float(jnp.std(drawn[0, 0] - drawn[1, 2])) > 0.02
    np.testing.assert_array_equal(leaves.sample(KEY), leaves.sample(KEY))
    with pytest.raises(ValueError, match="no density"):
        leaves.log_prob(drawn)
    with pytest.raises(ValueError, match="two whole numbers"):
        imaging.DeadLeaves((3,))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ji.ImageEstimate(loss="misfit"), "'loss' takes one of truth, pairs"),
        (lambda: ji.ImageEstimate(size=4), "'size' takes an odd number"),
        (lambda: ji.ImageEstimate(width=0), "'width' takes 1 or more"),
        (lambda: taught(UNET, problem(), data=np.zeros((3, 2, 16, 16))), 'loss="pairs"'),
        (
            lambda: taught(ji.ImageEstimate(loss="pairs"), problem(), data=np.zeros((3, 16, 16))),
            r"have the shape \('n', 2, 16, 16\); found \(3, 16, 16\)",
        ),
        (lambda: taught(ji.ImageEstimate(loss="pairs"), problem(), data=np.zeros((1, 2, 16, 16))), "one pair"),
        (
            lambda: taught(ji.ImageEstimate(loss="pairs"), problem(), data=np.full((3, 2, 16, 16), np.nan)),
            "no finite sample",
        ),
        (
            lambda: taught(UNET, ji.Problem(imaging.Mask(np.ones(SHAPE)), ji.noise.Poisson(), {"image": smooth()})),
            "Poisson noise has none",
        ),
        (lambda: taught(UNET, problem(), fixed={"time": 1.0}), "`fixed` names"),
        (lambda: taught(UNET, problem(prior=imaging.TotalVariation(SHAPE, 1.0))), "nothing can be drawn"),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_problem_of_no_image_is_refused(unet):
    import numpyro.distributions as dist

    from tests.models import Decay

    decay = ji.Problem(Decay(), ji.noise.Gaussian(0.1), {name: dist.Uniform(0.1, 2.0) for name in Decay().units})
    with pytest.raises(ValueError, match="one image through an operator"):
        unet(decay, np.zeros(decay.prediction_shape()))
