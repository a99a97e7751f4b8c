"""Images behind a linear instrument: against known truth, and what is refused."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from jaxinv import imaging, pipelines
from jaxinv.pipelines import DeconvolveConfig, MassmapConfig, TomographyConfig
from jaxinv.pipelines.power import fitted_power
from jaxinv.pipelines.reconstruction import Recipe, by_discrepancy, measured_noise
from jaxinv.results.reconstruction import ImageStatus


@pytest.fixture(autouse=True)
def _the_same_numbers_in_any_order():
    global RNG
    RNG = np.random.default_rng(0)


SHAPE = (32, 32)
RNG = np.random.default_rng(0)


def scene(n=32, edge=True):
    """Blobs and an edge, 0 to about 200."""
    y, x = np.mgrid[:n, :n] / n
    image = 20 + 80 * edge * (x > 0.6) + 100 * np.exp(-((x - 0.3) ** 2 + (y - 0.6) ** 2) / 0.01)
    return image + 60 * np.exp(-((x - 0.45) ** 2 + (y - 0.25) ** 2) / 0.004)


def psf(n=7, width=1.2):
    y, x = np.mgrid[:n, :n] - n // 2
    return np.exp(-(x**2 + y**2) / 2 / width**2)


def blurred(sigma=2.0, edge=True):
    """What a detector sees of a larger scene, and its own part of it."""
    whole, kernel = scene(38, edge), psf() / psf().sum()
    image = np.asarray(imaging.Convolution(kernel, whole.shape, border="cropped")(whole))
    return image + sigma * RNG.normal(size=image.shape), whole[3:-3, 3:-3]


def error(image, truth):
    return float(np.sqrt(np.mean((image - truth) ** 2)))


def test_the_noise_is_measured_between_the_pixels():
    image = np.stack([scene(64), 3 * scene(64)]) + np.array([1.0, 5.0])[:, None, None] * RNG.normal(size=(2, 64, 64))
    image[0, :10] = np.nan
    np.testing.assert_allclose(measured_noise(image), [1, 5], rtol=0.08)
    with pytest.raises(ValueError, match="the noise of image 1 cannot be measured"):
        measured_noise(np.zeros((1, 20, 20)))


@pytest.mark.parametrize("method", ["tv", "wavelets", "starlets", "wiener", "pnp"])
def test_an_image_is_sharpened(method):
    data, truth = blurred(edge=method not in ("starlets", "wavelets"))  # which are not made for edges
    data[5, 7] = np.nan
    config = DeconvolveConfig(method=method, noise=2.0, draws=16)
    found = pipelines.deconvolve(data, psf(), config)
    assert found.image.shape == truth.shape
    assert found.residuals.shape == (1, 32, 32)
    assert np.isnan(found.residuals[0, 5, 7])
    assert np.isfinite(found.image).all()
    before = error(np.nan_to_num(data, nan=float(np.nanmean(data))), truth)
    assert error(found.image, truth) < 0.95 * before
    if method in ("tv", "wavelets", "starlets"):
        assert found.chi2[0] == pytest.approx(1, abs=0.03)
        assert found.status[0] in (ImageStatus.RECONSTRUCTED, ImageStatus.NOT_CONVERGED)
        assert method == "starlets" or found.status[0] == ImageStatus.RECONSTRUCTED
        assert found.image.min() >= 0
    if method == "wiener":
        assert found.error is not None
        inside = np.abs(found.image - truth) < 2 * found.error[0]
        assert 0.8 < inside.mean() <= 1


def test_counts_are_sharpened_after_richardson_and_lucy():
    whole, kernel = scene(38), psf() / psf().sum()
    expected = np.asarray(imaging.Convolution(kernel, whole.shape, border="cropped")(whole))
    counts = RNG.poisson(expected)
    config = DeconvolveConfig(method="richardson-lucy", iterations=15)
    found = pipelines.deconvolve(counts / 2.0, psf(), dataclasses.replace(config, gain=2.0))
    assert error(found.image, whole[3:-3, 3:-3] / 2) < 0.98 * error(counts / 2, whole[3:-3, 3:-3] / 2)
    assert found.chi2[0] == pytest.approx(1, abs=0.3)
    with pytest.warns(UserWarning, match="negative pixels count as 0"):
        pipelines.plan_deconvolution(counts - 30.0, psf(), config)


def test_a_periodic_image_and_a_strength_that_is_given():
    kernel = psf() / psf().sum()
    data = np.asarray(imaging.Convolution(kernel, SHAPE)(scene())) + 2 * RNG.normal(size=SHAPE)
    config = DeconvolveConfig(border="periodic", noise=2.0, strength=0.5)
    found = pipelines.deconvolve(np.stack([data, data]), psf(), config)
    assert found.images.shape == (2, *SHAPE)
    assert np.all(found.strength == 0.5)
    # The weight is in units of the noise: all in other units is the same in those.
    other = pipelines.deconvolve(10 * data, psf(), dataclasses.replace(config, noise=20.0))
    np.testing.assert_allclose(other.image, 10 * found.image, rtol=0.02, atol=10)


@pytest.mark.parametrize("method", ["fbp", "tv", "pnp"])
def test_a_slice_is_reconstructed(method):
    truth = imaging.shepp_logan(32)
    angles = np.arange(0, 180, 9.0)
    radon = imaging.Radon(32, angles)
    data = np.asarray(radon(jnp.asarray(truth))) + 0.1 * RNG.normal(size=(20, 32))
    found = pipelines.tomography(data, angles, TomographyConfig(method=method, noise=0.1, draws=8))
    worst = error(np.asarray(radon.estimate(jnp.asarray(data))), truth)
    assert error(found.image, truth) < (1.01 if method == "fbp" else 0.65) * worst
    assert (found.error is not None) == (method == "fbp")
    if method == "fbp":
        noise = [np.asarray(radon.estimate(jnp.asarray(0.1 * RNG.normal(size=(20, 32))))) for _ in range(60)]
        assert np.median(found.error[0] / np.std(noise, 0)) == pytest.approx(1, abs=0.2)


def test_angles_may_be_a_span():
    data = np.asarray(imaging.Radon(32, np.arange(0, 180, 9.0))(jnp.asarray(imaging.shepp_logan(32))))
    once = pipelines.tomography(data, np.arange(0, 180, 9.0), TomographyConfig(method="fbp", noise=1.0, draws=0))
    again = pipelines.tomography(data, None, TomographyConfig(method="fbp", noise=1.0, draws=0, span=180))
    np.testing.assert_array_equal(once.image, again.image)


def cluster(n=20_000, noise=0.2, seed=1):
    """Galaxies in a square of 40 behind a soft isothermal cluster at (6, -4), and its convergence."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-20, 20, (2, n))
    strength, core = 0.8, 2.0
    radius, angle = np.hypot(x - 6, y + 4) + 1e-9, np.arctan2(y + 4, x - 6)
    kappa = strength / 2 / np.sqrt(radius**2 + core**2)
    mean = strength * (np.sqrt(radius**2 + core**2) - core) / radius**2
    tangential = mean - kappa
    shear1, shear2 = -tangential * np.cos(2 * angle), -tangential * np.sin(2 * angle)
    first, second = rng.normal(0, noise, (2, n))
    return {"x": x, "y": y, "g1": shear1 + first, "g2": shear2 + second, "w": np.ones(n)}


@pytest.mark.parametrize("method", ["kaiser-squires", "wiener", "sparse", "pnp"])
def test_a_cluster_is_found_where_it_is(method):
    found = pipelines.massmap(cluster(), MassmapConfig(method=method, pixel_scale="1", draws=16, smoothing=3))
    assert found.quantity == "convergence"
    ny, nx = found.image.shape
    row, column = np.unravel_index(np.argmax(found.image), (ny, nx))
    header = found.header
    x = header["CRVAL1"] + (column + 1 - header["CRPIX1"]) * header["CDELT1"]
    y = header["CRVAL2"] + (row + 1 - header["CRPIX2"]) * header["CDELT2"]
    assert abs(x - 6) <= 1.5
    assert abs(y + 4) <= 1.5
    assert 0.05 < found.image.max() < 0.35
    assert found.more["coverage"].sum() == 20_000
    assert abs(found.image.mean()) < 5e-3  # which is not measured
    if method in ("kaiser-squires", "wiener"):
        assert (found.image / found.error[0]).max() > 4


def test_a_mirrored_shear_shows_in_the_b_mode():
    clear = cluster(noise=0.01)
    wrong = pipelines.plan_massmap(clear, MassmapConfig(pixel_scale="1", shear_x="left"))
    right = pipelines.plan_massmap(clear, MassmapConfig(pixel_scale="1"))
    assert np.std(wrong.more["b_mode"]) > 1.3 * np.std(right.more["b_mode"])
    found = [plan.recipe.operator.estimate(jnp.nan_to_num(jnp.asarray(plan.values[0]))) for plan in (right, wrong)]
    assert float(jnp.max(found[1])) < 0.7 * float(jnp.max(found[0]))  # lobes in place of a peak


def test_the_sky_has_east_on_the_left():
    from astropy.wcs import WCS

    plane = cluster(noise=0.05)
    dec = 30 + plane["y"] / 60
    sky = {"RA": 150 + plane["x"] / 60 / np.cos(np.radians(dec)), "DEC": dec, "e1": plane["g1"], "e2": plane["g2"]}
    found = pipelines.massmap(sky, MassmapConfig(method="kaiser-squires", pixel_scale="1 arcmin", smoothing=3, draws=0))
    row, column = np.unravel_index(np.argmax(found.image), found.image.shape)
    assert column < found.image.shape[1] // 2  # at larger right ascension
    ra, dec = WCS({**found.header, "NAXIS": 2}).pixel_to_world_values(column, row)
    assert (ra - 150) * 60 * np.cos(np.radians(dec)) == pytest.approx(6, abs=1.5)
    assert (dec - 30) * 60 == pytest.approx(-4, abs=1.5)
    assert found.header["CDELT1"] == pytest.approx(-1 / 60)
    assert 0.1 < found.image.max() < 0.3


def test_maps_of_the_shear_with_gaps():
    field = imaging.KaiserSquires((32, 32))
    y, x = np.mgrid[:32, :32]
    truth = np.exp(-((x - 20) ** 2 + (y - 12) ** 2) / 30) * 0.3
    shear = np.asarray(field(jnp.asarray(truth - truth.mean()))) + 0.05 * RNG.normal(size=(2, 32, 32))
    mask = np.zeros((32, 32))
    mask[4:10, 20:26] = 1
    found = pipelines.massmap(shear, MassmapConfig(noise=0.05, draws=16), mask=mask)
    assert np.isnan(found.residuals[0, :, 5, 22]).all()
    assert error(found.image, truth - truth.mean()) < 0.03
    assert found.error[0][mask == 1].mean() > 0.9 * found.error[0][mask == 0].mean()


def test_a_power_spectrum_is_found_behind_blur_and_noise():
    shape = (64, 64)
    field = imaging.PowerSpectrum(shape, lambda k: 4 / (1 + (k / 0.05) ** 2) ** 2)
    import jax

    operator = imaging.Convolution(psf() / psf().sum(), shape)
    ratios = []
    for k in range(3):
        image = 7 + field.sample(jax.random.key(k))
        data = np.asarray(operator(image)) + 0.1 * RNG.normal(size=shape)
        power, mean = fitted_power(operator, data, np.full(shape, 0.1), mean_free=False)
        assert mean == pytest.approx(7, abs=0.5)
        frequency = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.rfftfreq(64))
        at = (frequency > 0.05) & (frequency < 0.2)
        ratios.append(np.exp(np.mean(np.log(power[at] * np.asarray(1 / field.power)[at]))))
    assert np.exp(np.mean(np.log(ratios))) == pytest.approx(1, abs=0.35)


def test_the_strength_is_where_the_residuals_are_the_noise():
    @dataclasses.dataclass
    class Solution:
        chi2: float
        strength: float

    tried = []

    def solve(strength, before):
        tried.append(strength)
        return Solution(0.5 + strength / 8, strength)

    found, strength = by_discrepancy(solve, 0.1, 10_000)
    assert found.chi2 == pytest.approx(1, abs=0.008)
    assert strength == found.strength
    assert len(tried) <= 14
    # Where it never is, the nearest.
    found, strength = by_discrepancy(lambda s, b: Solution(2.0, s), 1.0, 100)
    assert found.chi2 == 2


def test_nothing_to_see_is_said():
    recipe = Recipe(imaging.Mask(np.ones((16, 16))), "tv")
    made = recipe.made(np.full((16, 16), np.nan), np.ones((16, 16)))
    assert made["status"] == ImageStatus.NO_DATA
    assert np.isnan(made["image"]).all()


def test_dead_pixels_leave_no_rings():
    angles = np.arange(0, 180, 6.0)
    whole = np.asarray(imaging.Radon(32, angles)(jnp.asarray(imaging.shepp_logan(32))))
    torn = whole.copy()
    torn[:, 11] = np.nan
    torn[4] = np.nan
    config = TomographyConfig(method="fbp", noise=1.0, draws=0)
    expected, found = (pipelines.tomography(data, angles, config).image for data in (whole, torn))
    assert error(found, expected) < 0.1
    assert error(found, expected) < 0.4 * error(
        pipelines.tomography(np.nan_to_num(torn), angles, config).image, expected
    )


CATALOGUE = {name: np.linspace(0, 1, 50) for name in ("x", "y", "g1", "g2")}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pipelines.plan_deconvolution(np.zeros(9), psf()), "images are"),
        (lambda: pipelines.plan_deconvolution(scene(), np.zeros((3, 3))), "a sum above 0"),
        (lambda: pipelines.plan_deconvolution(scene(), np.ones((40, 3))), "larger than the images"),
        (lambda: pipelines.plan_deconvolution(scene(), psf(), mask=np.ones(SHAPE)), "the mask hides every pixel"),
        (lambda: pipelines.plan_deconvolution(scene(), psf(), mask=np.ones((3, 3))), "the mask has the shape"),
        (
            lambda: pipelines.plan_deconvolution(np.full(SHAPE, np.nan), psf(), DeconvolveConfig(noise=1.0)),
            "no valid data",
        ),
        (lambda: pipelines.plan_tomography(scene(), None, TomographyConfig(method="wiener", strength=1)), "strength"),
        (lambda: pipelines.plan_deconvolution(scene(), psf(), DeconvolveConfig(network="x")), "the method is tv"),
        (
            lambda: pipelines.plan_deconvolution(scene(), psf(), DeconvolveConfig(method="pnp", noise=1, network="x")),
            "x holds no trained network",
        ),
        (
            lambda: pipelines.plan_deconvolution(scene(), psf(), DeconvolveConfig(method="richardson-lucy", noise=1)),
            "is that of counts",
        ),
        (lambda: pipelines.plan_tomography(scene()), "give the angles"),
        (lambda: pipelines.plan_tomography(scene(), np.arange(5.0)), "5 angles for 32 projections"),
        (lambda: pipelines.plan_tomography(scene(), np.linspace(0, np.pi, 32)), "look like radians"),
        (lambda: pipelines.plan_massmap({"x": np.zeros(3), "g1": np.zeros(3)}), "no column for y .* --columns y=NAME"),
        (
            lambda: pipelines.plan_massmap(CATALOGUE, MassmapConfig(columns={"shear1": "gg1"})),
            "no column 'gg1' of numbers; did you mean 'g1'",
        ),
        (lambda: pipelines.plan_massmap(CATALOGUE, MassmapConfig(columns={"shaer1": "g1"})), "did you mean 'shear1'"),
        (lambda: pipelines.plan_massmap({**CATALOGUE, "g1": np.full(50, np.nan)}), "0 galaxies with finite numbers"),
        (lambda: pipelines.plan_massmap(CATALOGUE, MassmapConfig(pixel_scale="-1")), "a number above 0"),
        (lambda: pipelines.plan_massmap(CATALOGUE, MassmapConfig(pixel_scale="1e-6")), "take --pixel-scale larger"),
        (lambda: pipelines.plan_massmap(CATALOGUE, MassmapConfig(pixel_scale="3 kg")), "arcmin"),
        (
            lambda: pipelines.plan_massmap({**CATALOGUE, "dec": 100 + CATALOGUE["y"], "ra": CATALOGUE["x"]}),
            "are no degrees",
        ),
        (
            lambda: pipelines.plan_massmap({**CATALOGUE, "dec": CATALOGUE["y"], "ra": 90 * CATALOGUE["x"]}),
            "wider than 30 degrees",
        ),
        (lambda: pipelines.plan_massmap({**CATALOGUE, "g1": np.zeros(50), "g2": np.zeros(50)}), "all shears are"),
        (lambda: pipelines.plan_massmap(np.zeros((3, 32, 32))), "maps of the shear are"),
        (lambda: pipelines.plan_massmap(np.full((2, 32, 32), np.nan)), "no pixel where both components"),
        (lambda: pipelines.plan_massmap(CATALOGUE, mask=np.zeros((3, 3))), "a mask belongs to maps"),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
