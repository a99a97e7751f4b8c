"""Double stars measured: against truth, from frames alone; resumed; refused; in files and from the command line."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import jaxinv as ji
from jaxinv import io, plot
from jaxinv.cli import main
from jaxinv.observation import FrameBurst
from jaxinv.pipelines import (
    SimulateBurstConfig,
    StarsConfig,
    StarsRun,
    measure_stars,
    plan_burst,
    plan_stars,
    simulate_frames,
)
from jaxinv.results.stars import StarSystem
from tests.models import cut_after

TRUE = np.array([[0.0, 0.0], [0.5, -0.3]])
FLUX = np.array([1.0, 0.4])
SMALL = StarsConfig(diameter="1.0", gain=5e4, read_noise=1.0, field=32, modes=60, starts=4)

CAMERA = ["--diameter", "1.0", "--gain", "5e4", "--read-noise", "1"]
QUICK = ["--field", "32", "--modes", "60", "--starts", "4"]


@pytest.fixture(scope="module")
def burst() -> FrameBurst:
    options = SimulateBurstConfig(
        diameter="1.0", wavelength="8542", pixel_scale="0.08", n_pixels=48, frames=4, d_over_r0=1.2, photons=5e4,
        read_noise=1.0,
    )  # fmt: skip
    return simulate_frames(plan_burst(options, stars=(TRUE, FLUX)))


@pytest.fixture(scope="module")
def system(burst: FrameBurst) -> StarSystem:
    return measure_stars(burst, SMALL)


def test_a_double_star(system: StarSystem) -> None:
    assert system.used.sum() >= 2
    found = [system.separation(), system.position_angle(), system.magnitude_difference()]
    x, y = TRUE[1]
    expected = [np.hypot(x, y), np.degrees(np.arctan2(-x, y)) % 360, -2.5 * np.log10(FLUX[1])]
    for (value, error), true, most in zip(found, expected, (1e-3, 0.1, 0.01), strict=True):
        assert error < most
        assert abs(value - true) < 5 * error
    assert system.detected()
    doubtful = dataclasses.replace(system, covariance=np.diag([1e-6, 1e-6, 0.3**2]))
    assert not doubtful.detected()
    assert system.chi2[system.used] == pytest.approx(1, abs=0.5)  # modes beyond the 60th
    assert 0.5 < np.median(system.d_over_r0) < 4


def test_draws_have_the_covariance(system: StarSystem) -> None:
    drawn = system.draws(20_000)
    assert drawn.shape == (20_000, 1, 3)
    np.testing.assert_allclose(np.cov(drawn[:, 0].T), system.covariance, rtol=0.1, atol=1e-3 * system.covariance.max())
    apart = np.hypot(*drawn[:, 0, :2].T)
    value, error = system.separation()
    assert apart.mean() == pytest.approx(value, abs=error)
    assert apart.std() == pytest.approx(error, rel=0.05)


def test_stars_come_back_from_a_file(system: StarSystem, tmp_path: Path) -> None:
    io.write_star_system(tmp_path / "out.fits", system)
    again = io.read_star_system(tmp_path / "out.fits")
    for field in dataclasses.fields(StarSystem):
        before, after = getattr(system, field.name), getattr(again, field.name)
        if isinstance(before, np.ndarray) and before.dtype.kind == "f":
            np.testing.assert_allclose(after, before, rtol=1e-6, err_msg=field.name)
    assert isinstance(ji.open(tmp_path / "out.fits"), StarSystem)
    assert again.separation().error == pytest.approx(system.separation().error)
    assert plot.stars(again) is not None
    with pytest.raises(io.InputError, match="there is no file"):
        io.read_star_system(tmp_path / "none.fits")


def test_the_command_measures_and_goes_on(
    burst: FrameBurst, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    io.write_burst(tmp_path / "burst.fits", burst)
    out = tmp_path / "out.fits"
    command = ["stars", str(tmp_path / "burst.fits"), "-o", str(out), *CAMERA, *QUICK]
    with monkeypatch.context() as patch:
        cut_after(2, patch)
        assert main(command) == 130
    capsys.readouterr()
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "star 2      0.58" in said
    assert (tmp_path / "out.png").stat().st_size > 10_000
    with pytest.raises(io.InputError, match="holds no measured stars: it has no part FRAMES"):
        io.read_star_system(tmp_path / "burst.fits")


def test_a_star_alone(burst: FrameBurst) -> None:
    first = dataclasses.replace(burst, frames=burst.frames[:1])
    plan = plan_stars(first, dataclasses.replace(SMALL, stars=1, starts=1, modes=20))
    with pytest.warns(UserWarning, match="no exposure is explained: the best leave residuals of"):
        found = StarsRun(plan).into()  # there are two
    assert found.n_stars == 1
    assert found.covariance.shape == (0, 0)
    assert np.isfinite(found.wavefront).all()
    assert plot.stars(found) is not None


def test_the_reference_binary(reference_data: Path) -> None:
    """2.56 m, D/r0 = 5, 1e5 photons a frame, screens and PSFs of other codes: five of its forty frames."""
    case = np.load(reference_data / "mfbd" / "star_binary_Dr0_05_ph100000.npz")
    burst = FrameBurst(case["frames"][:5], 8000.0, 0.0303)
    found = measure_stars(burst, StarsConfig(diameter="2.56", obscuration="0.51", read_noise=1.0))
    (x0, y0, f0), (x, y, f) = case["stars_xy_flux"]
    assert found.separation().value / 0.0303 == pytest.approx(np.hypot(x - x0, y - y0) / 0.0303, abs=0.03)
    assert found.magnitude_difference().value == pytest.approx(-2.5 * np.log10(f / f0), abs=0.02)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"pixel_scale": 0.2}, {}, "coarser than Nyquist's for 1 m"),
        ({}, {"field": 64}, "a field of 64 pixels is larger than the frames of 48 x 48"),
        ({"frames": np.full((2, 48, 48), np.nan)}, {}, "frame 0 has pixels that are not finite"),
        ({"frames": np.zeros((2, 48, 48))}, {}, "frame 0 has no star that is brighter than its noise"),
        ({}, {"diameter": "1 kg"}, "the option 'diameter' takes a number of m"),
    ],
)
def test_refusals(burst: FrameBurst, change: dict, options: dict, message: str) -> None:
    with pytest.raises((ValueError, KeyError)) as caught:
        plan_stars(dataclasses.replace(burst, **change), dataclasses.replace(SMALL, **options))
    assert message in str(caught.value)
