"""Bursts restored: against truth, on one default setting; resumed; refused."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from scipy import optimize

from jaxinv import optics
from jaxinv.observation import FrameBurst
from jaxinv.pipelines import RestorationRun, RestoreConfig, SimulateBurstConfig, plan_burst, restore, simulate_frames
from jaxinv.pipelines.cameras import calibrated
from jaxinv.pipelines.restoration import plan_restoration
from jaxinv.results.restoration import PatchStatus
from tests.models import cut_after

SCALE = 0.059
QUICK = RestoreConfig(diameter="1.0", modes=20, draws=0)


@pytest.fixture(scope="module")
def burst() -> FrameBurst:
    options = SimulateBurstConfig(
        diameter="1.0", wavelength="8542", pixel_scale="0.059", n_pixels=64, frames=4, d_over_r0=3.0, noise=0.003,
        modes=20, corrected=2, left=0.1,
    )  # fmt: skip
    return simulate_frames(plan_burst(options))


def truth_of(burst: FrameBurst) -> np.ndarray:
    whole, (ny, nx) = burst.truth["object"], burst.frames.shape[1:]
    y, x = (whole.shape[0] - ny) // 2, (whole.shape[1] - nx) // 2
    return whole[y : y + ny, x : x + nx]


def error_of(image: np.ndarray, truth: np.ndarray, border: int = 8, *, seen: bool = False) -> float:
    """Normalized rms difference through the diffraction MTF, the mean and a shift matched, without a border."""
    n = truth.shape[0]
    model = optics.PointSpread(optics.Telescope(1.0), 8542.0, SCALE, n, optics.Zernike(1))
    transfer = np.asarray(model.transfer_function({"wavefront": np.zeros(1)}))
    v, u = np.fft.fftfreq(n)[:, None], np.fft.rfftfreq(n)
    inner = slice(border, n - border)
    known = np.fft.irfft2(np.fft.rfft2(truth) * transfer, (n, n))[inner, inner]
    spectrum = np.fft.rfft2(image) * (1 if seen else transfer)

    def error(shift: np.ndarray) -> float:
        turned = spectrum * np.exp(-2j * np.pi * (v * shift[0] + u * shift[1]))
        moved = np.fft.irfft2(turned, (n, n))[inner, inner]
        return float(np.sqrt(np.mean((moved * known.mean() / moved.mean() - known) ** 2)) / known.std())

    starts = [np.array([y, x], float) for y in (-2, 0, 2) for x in (-2, 0, 2)]
    return optimize.minimize(error, min(starts, key=error), method="Nelder-Mead").fun


def pulls_of(
    image: np.ndarray, error: np.ndarray, truth: np.ndarray, border: int = 20
) -> tuple[np.ndarray, np.ndarray]:
    """Differences from the truth on the frequencies that the telescope passes, and the expected ones.

    The truth's middle is what the image shows; a shift and the mean are matched.
    """
    n = image.shape[0]
    y, x = ((size - n) // 2 for size in truth.shape)
    model = optics.PointSpread(optics.Telescope(1.0), 8542.0, SCALE, n, optics.Zernike(1))
    passed = np.abs(np.asarray(model.transfer_function({"wavefront": np.zeros(1)}))) > 1e-3
    v, u = np.fft.fftfreq(n)[:, None], np.fft.rfftfreq(n)
    inner = np.s_[border : n - border, border : n - border]
    known = np.fft.irfft2(np.fft.rfft2(truth[y : y + n, x : x + n]) * passed, (n, n))[inner]
    spectrum = np.fft.rfft2(image) * passed

    def difference(shift: np.ndarray) -> np.ndarray:
        turned = spectrum * np.exp(-2j * np.pi * (v * shift[0] + u * shift[1]))
        moved = np.fft.irfft2(turned, (n, n))[inner]
        return moved * known.mean() / moved.mean() - known

    starts = [np.array([y, x], float) for y in (-2, 0, 2) for x in (-2, 0, 2)]
    rms = lambda shift: float(np.std(difference(shift)))  # noqa: E731
    shift = optimize.minimize(rms, min(starts, key=rms), method="Nelder-Mead").x
    return difference(shift), error[inner] * known.mean() / np.mean(image[inner])


def test_a_small_burst(burst: FrameBurst) -> None:
    found = restore(burst, QUICK)
    truth = truth_of(burst)
    before = min(error_of(frame, truth, seen=True) for frame in burst.frames)
    assert error_of(found.object, truth) < 0.5 * before
    assert found.status.tolist() == [PatchStatus.RESTORED]
    assert found.wavefront.shape == (1, 4, 20)
    assert found.psf.sum(axis=(-2, -1)) == pytest.approx(1, abs=1e-4)
    assert 0.15 < found.r0[0] < 0.7  # 0.33 m
    assert found.sigma == pytest.approx(0.003, rel=0.1)  # measured
    assert found.contrast > np.std(burst.frames[0])
    off, expected = pulls_of(found.object, found.error, truth, 12)
    assert 0.5 < np.std(off / expected) < 2
    assert found.relative_error[0] == pytest.approx(np.sqrt(np.mean(found.error**2)) / np.std(found.object), rel=1e-4)
    assert found.residual_power[0, -4:] == pytest.approx(1, abs=0.2)  # beyond the telescope's cutoff


def test_a_faint_burst_does_not_run_away(burst: FrameBurst) -> None:
    """Noise of the size of the contrast, and far more modes than it leaves determined."""
    frames = burst.frames + np.random.default_rng(0).normal(0, 0.1, burst.frames.shape)
    found = restore(dataclasses.replace(burst, frames=frames), dataclasses.replace(QUICK, modes=60, draws=2))
    truth = truth_of(burst)
    assert error_of(found.object, truth) < 1.1 * error_of(frames.mean(axis=0), truth, seen=True)
    assert found.relative_error[0] > 0.3
    assert found.status.tolist() == [PatchStatus.UNCERTAIN]


def test_frames_without_any_structure(burst: FrameBurst) -> None:
    found = restore(dataclasses.replace(burst, frames=np.ones((4, 64, 64))), dataclasses.replace(QUICK, noise=0.001))
    np.testing.assert_allclose(found.object, 1, atol=1e-6)
    assert found.status.tolist() == [PatchStatus.UNCERTAIN]


def test_the_filter_of_loefdahl_and_scharmer(burst: FrameBurst) -> None:
    truth = truth_of(burst)
    plain = restore(burst, QUICK)
    found = restore(burst, dataclasses.replace(QUICK, filter="scharmer"))
    np.testing.assert_array_equal(found.wavefront, plain.wavefront)
    assert not np.array_equal(found.object, plain.object)
    assert error_of(found.object, truth) < 1.5 * error_of(plain.object, truth)
    np.testing.assert_allclose(found.object[0], plain.object[0], atol=0.02)  # the border is Wiener's


def test_a_search_and_missing_pixels(burst: FrameBurst) -> None:
    frames = burst.frames.copy()
    frames[1, 20:24, 30:33] = np.nan
    frames[:, 50, 50] = np.nan
    found = restore(dataclasses.replace(burst, frames=frames), dataclasses.replace(QUICK, draws=2))
    assert np.isfinite(found.object).all()
    assert error_of(found.object, truth_of(burst)) < 0.2
    assert found.sigma == pytest.approx(0.003, rel=0.15)  # holes are no noise


def test_frames_that_do_not_show_a_patch(burst: FrameBurst) -> None:
    frames = np.concatenate([burst.frames, burst.frames[:, :, ::-1]], axis=2)
    frames[2, :, :50] = np.nan
    field = dataclasses.replace(burst, frames=frames, truth={})
    found = restore(field, dataclasses.replace(QUICK, patch=64))
    assert np.isfinite(found.object).all()
    assert np.isnan(found.chi2[0, 2])
    assert np.isfinite(found.chi2[-1]).all()
    assert PatchStatus.FAILED not in found.status
    frames[:3, :, :50] = np.nan  # one frame alone says nothing
    found = restore(field, dataclasses.replace(QUICK, patch=64))
    assert found.status[0] == PatchStatus.FAILED
    assert found.status[-1] != PatchStatus.FAILED
    assert np.isnan(found.object[:, :20]).all()
    assert np.isfinite(found.object[:, -20:]).all()


def test_patches_are_stitched_and_a_cut_run_goes_on(
    burst: FrameBurst, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = np.concatenate([burst.frames, burst.frames[:, :, ::-1]], axis=2)[:, :, :90]
    field = dataclasses.replace(burst, frames=wide, truth={})
    config = dataclasses.replace(QUICK, patch=64)
    run = RestorationRun(plan_restoration(field, config))
    whole = run.into()
    assert len(whole.corners) == 2
    assert whole.object.shape == (64, 90)
    assert np.isfinite(whole.object).all()

    with monkeypatch.context() as patch:
        cut_after(1, patch)
        store = run.store(tmp_path / "run")
        with pytest.raises(KeyboardInterrupt):
            run.into(store)
    assert store.n_done == 1
    again = run.into(store)
    np.testing.assert_array_equal(again.object, whole.object)
    np.testing.assert_array_equal(again.wavefront, whole.wavefront)


@pytest.mark.parametrize(
    ("name", "allowed"), [("solar_dkist_Dr0_05_s0010", 0.055), ("solarT_dkist128_Dr0_10_s0010", 0.16)]
)
def test_reference_bursts_on_the_default(reference_data: Path, name: str, allowed: float) -> None:
    """Real edges, all of the tip-tilt or strong turbulence: torchmfbd 0.421 on the first. Without the search."""
    case = np.load(reference_data / "mfbd" / f"{name}.npz")
    burst = FrameBurst(case["frames"], 8542.0, SCALE)
    found = restore(burst, RestoreConfig(diameter="1.0", draws=0))
    assert error_of(found.object, case["object"], 16) < allowed
    ratio = 1.0 / found.r0[0]
    assert ratio == pytest.approx(float(case["D_over_r0"]), rel=0.15)


def test_phase_diversity_and_cameras_that_do_not_lie_on_each_other(burst: FrameBurst) -> None:
    options = SimulateBurstConfig(
        diameter="1.0", wavelength="8542", pixel_scale="0.059", n_pixels=96, frames=1, d_over_r0=3.0, noise=0.003,
        corrected=2, left=0.1,
    )  # fmt: skip
    focus = simulate_frames(plan_burst(options))
    out = simulate_frames(plan_burst(dataclasses.replace(options, defocus=1.0)))
    np.testing.assert_array_equal(focus.truth["wavefront"], out.truth["wavefront"])
    v, u = np.fft.fftfreq(96)[:, None], np.fft.rfftfreq(96)
    turned = np.fft.rfft2(out.frames) * np.exp(-2j * np.pi * (v * 2.4 - u * 1.3))
    moved = dataclasses.replace(out, frames=np.fft.irfft2(turned, (96, 96)))
    config = dataclasses.replace(QUICK, modes=80, defocus=1.0)
    truth = truth_of(focus)
    before = error_of(focus.frames[0], truth, seen=True)
    found = restore(focus, config, diversity=moved)
    assert error_of(found.object, truth) < 0.6 * before
    assert found.psf.shape == (2, 96, 96)
    assert found.chi2.shape == (1, 2)
    assert np.isfinite(found.error).all()
    for change, message in (
        ({"diversity": None}, "`defocus` is that of the diversity's frames"),
        ({"config": dataclasses.replace(config, defocus=None)}, "the defocus of the diversity's frames is not known"),
        ({"diversity": burst}, r"the diversity has the shape \(4, 64, 64\), the burst \(1, 96, 96\)"),
        ({"diversity": dataclasses.replace(out, wavelength=6302.0)}, "the diversity is of 6302 angstrom and pixels of"),
    ):
        given = {"config": config, "diversity": out, **change}
        with pytest.raises(ValueError, match=message):
            plan_restoration(focus, given["config"], diversity=given["diversity"])


def seen(objects: np.ndarray, psf: np.ndarray, mixing: np.ndarray, n: int) -> np.ndarray:
    """`(n_frames, n, n)` the middle of mixtures of objects `(n_objects, size, size)`, each through its PSF."""
    size, width = objects.shape[-1], psf.shape[-1]
    around = (size - width) // 2
    wide = np.pad(psf, ((0, 0), (around, size - width - around), (around, size - width - around)))
    transfer = np.fft.rfft2(np.roll(wide, (-(width // 2 + around),) * 2, (1, 2)))
    images = np.fft.irfft2(np.einsum("fk,kyx->fyx", mixing, np.fft.rfft2(objects)) * transfer, (size, size))
    first = (size - n) // 2
    return images[:, first : first + n, first : first + n]


def modulated(burst: FrameBurst, rows: np.ndarray, noise: float) -> tuple[FrameBurst, np.ndarray]:
    """Frames of a polarimeter that sees I, Q and V, and the Stokes images in the field."""
    whole, n = burst.truth["object"], burst.frames.shape[-1]
    size = whole.shape[0]
    y, x = np.mgrid[:size, :size] - size / 2
    spot = lambda x0, y0, width: np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / 2 / width**2)  # noqa: E731
    linear = 0.05 * spot(0, -12, 5) + 0.02
    circular = 0.15 * spot(8, 0, 4) - 0.1 * spot(-10, 6, 6)
    stokes = np.stack([whole, linear * whole, circular * whole])
    frames = seen(stokes, burst.truth["psf"], rows, n)
    frames = frames + np.random.default_rng(0).normal(0, noise, frames.shape)
    first = (size - n) // 2
    inner = stokes[:, first : first + n, first : first + n]
    return dataclasses.replace(burst, frames=frames.astype(np.float32), truth={}), inner


def polarized_errors(
    found: np.ndarray, error: np.ndarray, demodulated: np.ndarray, truth: np.ndarray, border: int = 10
) -> list[tuple[float, float, float]]:
    """Of each Stokes image: rms error of demodulated frames, of what was found, and the expected one.

    Through the diffraction MTF; the shift is that of the intensity.
    """
    n = truth.shape[-1]
    model = optics.PointSpread(optics.Telescope(1.0), 8542.0, SCALE, n, optics.Zernike(1))
    transfer = np.asarray(model.transfer_function({"wavefront": np.zeros(1)}))
    v, u = np.fft.fftfreq(n)[:, None], np.fft.rfftfreq(n)
    inner = np.s_[..., border : n - border, border : n - border]
    known = np.fft.irfft2(np.fft.rfft2(truth) * transfer, (n, n))[inner]

    def off(shift: np.ndarray, images: np.ndarray) -> np.ndarray:
        turned = np.fft.rfft2(images) * np.exp(-2j * np.pi * (v * shift[0] + u * shift[1]))
        return np.std(np.fft.irfft2(turned, (n, n))[inner] - known, axis=(-2, -1))

    through = np.fft.irfft2(np.fft.rfft2(found) * transfer, (n, n))
    out = []
    for images in (demodulated, through):
        intensity = lambda shift, images=images: off(shift, images)[0]  # noqa: E731
        out.append(off(optimize.minimize(intensity, np.zeros(2), method="Nelder-Mead").x, images))
    return list(zip(*out, np.sqrt(np.mean(error[inner] ** 2, axis=(-2, -1))), strict=True))


def test_stokes_images_of_modulated_frames() -> None:
    options = SimulateBurstConfig(
        diameter="1.0", wavelength="8542", pixel_scale="0.059", n_pixels=64, frames=8, d_over_r0=3.0, modes=20,
        corrected=2, left=0.1,
    )  # fmt: skip
    cycle = np.array([[1, 0.6, 0.6], [1, 0.6, -0.6], [1, -0.6, 0.6], [1, -0.6, -0.6]])
    rows = np.tile(cycle, (2, 1))
    burst, stokes = modulated(simulate_frames(plan_burst(options)), rows, 0.003)
    plan = plan_restoration(burst, dataclasses.replace(QUICK, draws=2), modulation=cycle)
    np.testing.assert_array_equal(plan.tools.mixing, rows[None])
    found = RestorationRun(plan).into()
    assert found.stokes is not None
    assert found.stokes_error is not None
    assert found.stokes.shape == found.stokes_error.shape == (3, 64, 64)
    np.testing.assert_array_equal(found.stokes[0], found.object)
    assert found.status.tolist() == [PatchStatus.RESTORED]
    demodulated = np.einsum("kf,fyx->kyx", np.linalg.pinv(rows), burst.frames)
    errors = polarized_errors(found.stokes, found.stokes_error, demodulated, stokes)
    for (before, off, error), part in zip(errors, (0.4, 0.6, 0.75), strict=True):
        assert off < part * before
        assert 0.3 < off / error < 2


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.ones((3, 2)), "the modulation has 3 rows: 4 frames are no whole number of such cycles"),
        (np.ones((4, 2)), "without frame 0 the modulation does not determine 2 Stokes parameters: more frames"),
        (-np.ones((4, 1)), "the first column of the modulation is that of the intensity: numbers above 0"),
        (np.full((4, 2), np.nan), r"the modulation has the shape \(4, 2\): expected finite numbers"),
        (np.ones((4, 5)), r"the modulation has the shape \(4, 5\): expected finite numbers"),
    ],
)
def test_modulations_that_are_refused(burst: FrameBurst, matrix: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan_restoration(burst, QUICK, modulation=matrix)
    with pytest.raises(ValueError, match="the filter 'scharmer' is for one object; several are restored by Wiener's"):
        plan_restoration(burst, dataclasses.replace(QUICK, filter="scharmer"), modulation=[[1, 0.5], [1, -0.5]])


def test_a_narrowband_camera_shares_the_wavefronts(burst: FrameBurst) -> None:
    """Of another object, at another wavelength and in another unit, and much noisier."""
    n, telescope, wavelength = 64, optics.Telescope(1.0), 6173.0
    model = optics.PointSpread(
        telescope, wavelength, SCALE, n, optics.KarhunenLoeve(telescope, 20), reference_wavelength=8542.0
    )
    psf = np.asarray(model({"wavefront": burst.truth["wavefront"]}))
    other = np.roll(burst.truth["object"].T, 40, axis=0)
    first = (len(other) - n) // 2
    truth = other[first : first + n, first : first + n]
    generator = np.random.default_rng(1)
    frames = seen(other[None], psf, np.ones((4, 1)), n)
    frames = 0.2 * (frames + generator.normal(0, 0.03, frames.shape))
    narrowband = dataclasses.replace(burst, frames=frames, wavelength=wavelength, truth={})
    plan = plan_restoration(burst, QUICK, narrowband=narrowband)
    np.testing.assert_array_equal(plan.tools.mixing[:, 0], np.eye(2))
    found = RestorationRun(plan).into()
    assert found.narrowband is not None
    assert found.narrowband_error is not None
    assert found.narrowband_wavelength == wavelength
    assert found.stokes is None
    assert found.psf.shape == (8, n, n)
    assert found.chi2.shape == (1, 8)
    assert error_of(found.object, truth_of(burst)) < 0.15
    flat = np.asarray(model.transfer_function({"wavefront": np.zeros(20)}))
    through = np.fft.irfft2(np.fft.rfft2(found.narrowband) * flat, (n, n))
    inner = np.s_[8:-8, 8:-8]
    known = 0.2 * np.fft.irfft2(np.fft.rfft2(truth) * flat, (n, n))

    def off(image: np.ndarray) -> float:
        return min(np.std(np.roll(image, (y, x), (0, 1))[inner] - known[inner]) for y in (-1, 0, 1) for x in (-1, 0, 1))

    assert off(through) < 0.6 * min(off(frame) for frame in frames)
    assert np.mean(found.narrowband) == pytest.approx(0.2 * truth.mean(), rel=0.01)
    assert 0.2 < off(through) / np.sqrt(np.mean(found.narrowband_error[inner] ** 2)) < 2
    for change, message in (
        ({"frames": frames[:3]}, r"the narrowband has the shape \(3, 64, 64\), the burst \(4, 64, 64\)"),
        ({"pixel_scale": 0.03}, "the narrowband is of 6173 angstrom and pixels of 0.03 arcsec"),
        ({"frames": -frames}, "frame 0 of the narrowband has a mean of"),
    ):
        with pytest.raises(ValueError, match=message):
            plan_restoration(burst, QUICK, narrowband=dataclasses.replace(narrowband, **change))
    with pytest.raises(ValueError, match="`narrowband_wavelength` is that of the narrowband's frames: give them, too"):
        plan_restoration(burst, dataclasses.replace(QUICK, narrowband_wavelength="6173"))


def test_the_camera_is_taken_off(burst: FrameBurst) -> None:
    generator = np.random.default_rng(0)
    dark, flat = 0.1 + 0.01 * generator.uniform(size=(64, 64)), 1 + 0.1 * generator.uniform(size=(64, 64))
    raw = dataclasses.replace(burst, frames=burst.frames * flat / flat.mean() + dark)
    found = calibrated(raw, dark=dark, flat=3 * flat)
    np.testing.assert_allclose(found.frames, burst.frames, rtol=1e-5)
    bad = np.zeros((64, 64))
    bad[3, 4] = 1
    full = calibrated(raw, bad=bad, saturation=float(np.sort(raw.frames.ravel())[-5]))
    assert np.isnan(full.frames[:, 3, 4]).all()
    assert np.isnan(full.frames).sum() == 5 + 4
    with pytest.raises(ValueError, match=r"the dark has the shape \(3, 3\), a frame \(64, 64\)"):
        calibrated(raw, dark=np.ones((3, 3)))
    with pytest.raises(ValueError, match="the flat field has a mean of 0"):
        calibrated(raw, flat=np.zeros((64, 64)))


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"frames": np.ones((1, 64, 64))}, {}, "a burst of one frame: blind deconvolution needs two or more"),
        ({"pixel_scale": 0.2}, {}, "coarser than Nyquist's for 1 m at 8542 angstrom, 0.0881 arcsec"),
        ({}, {"patch": 128}, "a patch of 128 pixels is larger than the field of 64 x 64"),
        ({"frames": -np.ones((4, 64, 64))}, {}, "frame 0 has a mean of -1: intensities are above 0"),
        ({"frames": np.full((4, 64, 64), np.nan)}, {}, "frame 0 has fewer than half of its pixels finite"),
        ({}, {"diameter": "3 s"}, "the option 'diameter' takes a number of m"),
        ({}, {"diameter": None, "telescope": "SSST"}, "no telescope 'SSST' is known; did you mean 'SST'"),
    ],
)
def test_refusals(burst: FrameBurst, change: dict, options: dict, message: str) -> None:
    with pytest.raises((ValueError, KeyError)) as caught:
        plan_restoration(dataclasses.replace(burst, **change), dataclasses.replace(QUICK, **options))
    assert message in str(caught.value)
