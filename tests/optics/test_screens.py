"""Phase screens: the structure function of theory at every distance, uncorrelated modes, frozen flow, layers."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinv import optics
from jaxinv.optics import turbulence

DISC, ANNULUS = optics.Telescope(1.0), optics.Telescope(1.0, 0.3)
SPIDER = optics.Telescope(1.0, 0.3, tuple(optics.Vane(a, 0.03) for a in (0.0, 90.0, 180.0, 270.0)))


def many(atmosphere: optics.Atmosphere, pupil: optics.Pupil, n: int, seed: int = 0) -> np.ndarray:
    draw = jax.jit(lambda key: atmosphere.draw(key, pupil).on(pupil))
    return np.asarray(jax.lax.map(draw, jax.random.split(jax.random.key(seed), n), batch_size=50))


@pytest.mark.parametrize("outer_scale", [math.inf, 3.0])
def test_the_structure_function_is_that_of_theory(outer_scale: float) -> None:
    pupil = optics.Pupil.across(DISC, 32)
    phase = many(optics.Atmosphere(0.1, outer_scale), pupil, 8000)
    for lag in (1, 2, 5, 12, 31):
        across = (phase[:, :, lag:] - phase[:, :, :-lag]) ** 2
        down = (phase[:, lag:, :] - phase[:, :-lag, :]) ** 2
        found = (across.mean() + down.mean()) / 2
        expected = turbulence.structure_function(lag / 32, 0.1, outer_scale)
        assert found == pytest.approx(expected, rel=0.03), lag
        assert across.mean() == pytest.approx(down.mean(), rel=0.08), lag
    diagonal = ((phase[:, 20:, 20:] - phase[:, :-20, :-20]) ** 2).mean()
    assert diagonal == pytest.approx(turbulence.structure_function(math.sqrt(2) * 20 / 32, 0.1, outer_scale), rel=0.05)


@pytest.mark.parametrize("telescope", [DISC, ANNULUS, SPIDER], ids=["disc", "annulus", "spider"])
def test_modes_are_excited_independently(telescope: optics.Telescope) -> None:
    pupil = optics.Pupil.across(telescope, 32)
    modes = optics.KarhunenLoeve(telescope, 20)
    phase = many(optics.Atmosphere(0.2), pupil, 3000)
    found = np.einsum("nyx,ayx,yx->na", phase, modes.on(pupil), pupil.weight)
    variance = modes.variance * (1.0 / 0.2) ** (5 / 3)
    # 3000 draws know a variance to 2.6 %.
    np.testing.assert_allclose(found.var(axis=0), variance, rtol=0.1)
    assert np.mean(found.var(axis=0) / variance) == pytest.approx(1, abs=0.02)
    correlation = np.corrcoef(found.T) - np.eye(20)
    assert np.abs(correlation).max() < 5 / math.sqrt(3000)
    assert np.sqrt(np.mean(correlation**2)) < 1.3 / math.sqrt(3000)


def test_turbulence_is_frozen_and_carried_by_the_wind() -> None:
    pupil = optics.Pupil.across(DISC, 16)
    wind = (10.0, -5.0)
    screens = optics.Atmosphere(0.1, 20.0, (optics.Layer(wind=wind),)).draw(jax.random.key(1), pupil)
    x = np.linspace(-0.5, 0.5, 9)
    moved = screens(x, x, time=0.3)
    same = screens(x - wind[0] * 0.3, x - wind[1] * 0.3)
    np.testing.assert_allclose(moved - moved.mean(), same - same.mean(), atol=0.05)
    # It goes on without an end, and does not come back.
    late = screens.on(pupil, time=500.0)
    assert np.all(np.isfinite(late))
    first = screens.on(pupil)
    assert abs(np.corrcoef(np.ravel(first - first.mean()), np.ravel(late - late.mean()))[0, 1]) < 0.9


def test_a_point_under_frozen_flow_sees_the_structure_function() -> None:
    # A point under frozen flow sees the structure function of the distance that the wind goes.
    pupil = optics.Pupil.across(DISC, 32)
    atmosphere = optics.Atmosphere(0.1, 5.0, (optics.Layer(wind=(8.0, 6.0)),))
    times = jnp.array([0.0, 0.005, 0.02, 0.08])

    @jax.jit
    def seen(key):
        screens = atmosphere.draw(key, pupil)
        return jax.vmap(lambda t: screens(jnp.zeros(1), jnp.zeros(1), t)[0, 0])(times)

    phase = np.asarray(jax.lax.map(seen, jax.random.split(jax.random.key(0), 3000), batch_size=100))
    found = np.mean((phase[:, 1:] - phase[:, :1]) ** 2, axis=0)
    np.testing.assert_allclose(found, turbulence.structure_function(10.0 * times[1:], 0.1, 5.0), rtol=0.08)


def test_a_high_layer_is_seen_elsewhere_from_another_direction() -> None:
    pupil = optics.Pupil.across(DISC, 16)
    screens = optics.Atmosphere(0.1, 20.0, (optics.Layer(5000.0),)).draw(jax.random.key(2), pupil)
    x = np.linspace(-0.3, 0.3, 5)
    angle = np.array([1e-4, -5e-5])
    np.testing.assert_allclose(
        screens(x, x, angle=angle) - screens(x, x, angle=angle).mean(),
        screens(x + 0.5, x - 0.25) - screens(x + 0.5, x - 0.25).mean(), atol=0.03,
    )  # fmt: skip
    ground = optics.Atmosphere(0.1, 20.0).draw(jax.random.key(2), pupil)
    np.testing.assert_allclose(ground(x, x, angle=angle), ground(x, x), atol=1e-4)


def test_shares_of_layers_add_up() -> None:
    pupil = optics.Pupil.across(DISC, 16)
    layers = (optics.Layer(0.0, 7.0), optics.Layer(6000.0, 3.0))
    phase = many(optics.Atmosphere(0.1, 10.0, layers), pupil, 1000)
    found = ((phase[:, :, 6:] - phase[:, :, :-6]) ** 2).mean()
    assert found == pytest.approx(turbulence.structure_function(6 / 16, 0.1, 10.0), rel=0.05)


def test_a_screen_can_be_differentiated(float64: None) -> None:
    pupil = optics.Pupil.across(DISC, 16)
    screens = optics.Atmosphere(0.1, 20.0, (optics.Layer(wind=(3.0, 0.0)),)).draw(jax.random.key(3), pupil)
    x = np.linspace(-0.4, 0.4, 4)
    slope = jax.jacfwd(lambda t: screens(x, x, t))(0.1)
    finite = (screens(x, x, 0.1 + 1e-6) - screens(x, x, 0.1 - 1e-6)) / 2e-6
    np.testing.assert_allclose(slope, finite, rtol=1e-5, atol=1e-5 * np.abs(finite).max())


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: optics.Atmosphere(-0.1), "r0 is a positive number of metres"),
        (lambda: optics.Atmosphere(0.1, 0.0), "outer scale"),
        (lambda: optics.Atmosphere(0.1, layers=()), "at least one layer"),
        (lambda: optics.Layer(-1.0), "height"),
        (lambda: optics.Layer(0.0, 0.0), "strength"),
        (lambda: optics.Layer(0.0, 1.0, (math.nan, 0.0)), "wind"),
    ],
)
def test_what_is_no_atmosphere_is_refused(make, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()


def test_the_temporal_spectrum_of_frozen_flow() -> None:
    """At one place, the integral of the spatial spectrum across the wind (e.g. Conan et al. 1995, JOSA A 12, 1559)."""
    speed, step, n = 10.0, 4e-3, 2048
    air = optics.Atmosphere(0.2, 5.0, (optics.Layer(0.0, 1.0, (speed, 0.0)),))
    pupil = optics.Pupil.across(optics.Telescope(1.0), 32)
    at = jnp.zeros(1)

    def series(key: jax.Array) -> jax.Array:
        screens = air.draw(key, pupil)
        return jax.vmap(lambda time: screens(at, at, time)[0, 0])(jnp.arange(n) * step)

    phase = np.asarray(jax.lax.map(series, jax.random.split(jax.random.key(8), 60)))
    window = np.hanning(n)
    power = 2 * step * np.mean(np.abs(np.fft.rfft(phase * window)) ** 2, axis=0) / np.sum(window**2)
    frequency = np.fft.rfftfreq(n, step)
    across = np.concatenate([[0], np.geomspace(1e-4, 1e3, 4000)])
    for low, high in ((0.5, 1.5), (2.0, 5.0), (6.0, 15.0), (20.0, 50.0)):
        seen = (frequency >= low) & (frequency < high)
        spectrum = turbulence.power_spectrum(np.hypot(frequency[seen, None] / speed, across), 0.2, 5.0)
        theory = 4 * np.trapezoid(spectrum, across, axis=1) / speed
        assert np.mean(power[seen]) == pytest.approx(np.mean(theory), rel=0.08)
