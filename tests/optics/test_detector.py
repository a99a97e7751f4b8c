"""Electrons: means, noise, what is taken off again, and what is refused."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxinv import optics


@pytest.mark.parametrize("mean", [3.0, 100.0, 20000.0])
def test_photons_are_poissons(mean: float) -> None:
    detector = optics.Detector(mean)
    drawn = np.asarray(detector.record(jax.random.key(0), jnp.ones((400, 400))), float)
    assert np.all(drawn == np.round(drawn))
    assert drawn.mean() == pytest.approx(mean, abs=4 * math.sqrt(mean) / 400)
    assert drawn.var() == pytest.approx(mean, rel=0.015)
    # As likely as Poisson says, in ten intervals of equal probability.
    edges = stats.poisson.ppf(np.linspace(0, 1, 11)[1:-1], mean)
    share = np.diff(np.concatenate([[0], stats.poisson.cdf(edges, mean), [1]]))
    seen = np.bincount(np.searchsorted(edges, drawn.ravel(), side="left"), minlength=10) / drawn.size
    np.testing.assert_allclose(seen, share, atol=4.5 * math.sqrt(0.25 / drawn.size))


def test_dark_flat_read_noise_and_saturation() -> None:
    flat = np.linspace(0.5, 1.5, 64) * np.ones((64, 1))
    detector = optics.Detector(1e4, 20.0, dark=300.0, flat=flat, saturation=13000.0)
    image = jnp.ones((200, 64, 64))
    electrons = detector.record(jax.random.key(1), image)
    assert float(electrons.max()) == 13000.0
    full = np.asarray(detector.full(electrons))
    assert full[:, :, flat[0] > 1.35].all()
    assert not full[:, :, flat[0] < 1.2].any()
    np.testing.assert_allclose(detector({}, image)[0], np.minimum(1e4 * flat + 300, 13000), rtol=1e-6)
    reduced = np.asarray(detector.reduced(electrons))[:, :, flat[0] < 1.2]
    assert reduced.mean() == pytest.approx(1.0, abs=1e-4)
    # The dark current has photon noise, too.
    expected = np.sqrt(1e4 * flat + 300 + 20.0**2) / (1e4 * flat)
    np.testing.assert_allclose(reduced.std(axis=0).mean(axis=0), expected[0, flat[0] < 1.2], rtol=0.03)
    assert jax.grad(lambda x: detector({}, x).sum())(jnp.full((64, 64), 0.5)).min() > 0


def test_what_is_refused() -> None:
    for arguments, message in (
        ({"photons": 0.0}, "`photons` in a pixel"),
        ({"photons": 1.0, "read_noise": -1.0}, "read noise is a number of electrons from 0"),
        ({"photons": 1.0, "saturation": 0.0}, "saturation is a positive number"),
        ({"photons": 1.0, "dark": math.nan}, "dark is a number of electrons from 0"),
        ({"photons": 1.0, "flat": np.zeros((2, 2))}, "flat is above 0 in every pixel"),
    ):
        with pytest.raises(ValueError, match=message):
            optics.Detector(**arguments)
    with pytest.raises(ValueError, match=r"the flat has the shape \(2, 2\), the images \(3, 3\)"):
        optics.Detector(1.0, flat=np.ones((2, 2)))({}, jnp.ones((3, 3)))
