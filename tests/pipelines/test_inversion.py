"""The whole way from a Stokes cube to maps: simulated maps with known truth, and real Hinode spectra."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from jaxinv import io, plot
from jaxinv.observation import StokesCube
from jaxinv.pipelines import (
    InvertConfig,
    fitted_profiles,
    invert,
    plan_inversion,
    prepare,
    simulate_observation,
    sunspot_parameters,
)
from jaxinv.pipelines.misfits import enough, reached
from jaxinv.pipelines.sunspot import HINODE_FWHM
from jaxinv.results.solution import SolutionMap, Status
from jaxinv.spectra import MilneEddington
from tests.models import cut_after

WAVELENGTH = 6300.8921 + 0.0214 * np.arange(112)
SHAPE = (6, 8)
CHUNK = 48
LEVEL = 25000.0


def truth(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    draw = rng.uniform
    return {
        "field_strength": draw(600, 2500, SHAPE),
        "inclination": draw(0.4, 2.7, SHAPE),
        "azimuth": draw(0.1, 3.0, SHAPE),
        "velocity": draw(-1.5, 1.5, SHAPE),
        "doppler_width": draw(0.02, 0.04, SHAPE),
        "line_strength": draw(5, 30, SHAPE),
        "damping": draw(0.1, 0.8, SHAPE),
        "source_constant": draw(0.3, 0.4, SHAPE),
        "source_slope": draw(0.6, 0.7, SHAPE),
    }


def observe(parameters: dict[str, np.ndarray], wavelength: np.ndarray = WAVELENGTH, sigma: float = 1e-3) -> StokesCube:
    import jax

    model = MilneEddington(["Fe I 6301.5", "Fe I 6302.5"], wavelength)
    flat = {name: np.asarray(value, np.float32).ravel() for name, value in parameters.items()}
    stokes = np.asarray(jax.vmap(model)(flat)).reshape(*SHAPE, 4, -1)
    noise = np.random.default_rng(5).normal(0, sigma, stokes.shape)
    header = {"CTYPE1": "HPLN-TAN", "CRPIX1": 1.0, "CRPIX2": 1.0, "CDELT1": 0.15, "CDELT2": 0.16}
    return StokesCube((LEVEL * (stokes + noise)).astype(np.float32), wavelength, unit="DN", header=header)


CONFIG = InvertConfig(sigma=(1e-3,), wavelength_shift=0.0, continuum=LEVEL, chunk_size=CHUNK)


@pytest.fixture(scope="module")
def observed() -> StokesCube:
    return observe(truth())


@pytest.fixture(scope="module")
def maps(observed: StokesCube) -> SolutionMap:
    return invert(observed, CONFIG, progress=False)


def pull(maps: SolutionMap, name: str, expected: np.ndarray) -> np.ndarray:
    difference = maps.parameters[name] - expected
    if name == "azimuth":
        difference = (difference + np.pi / 2) % np.pi - np.pi / 2
    return difference / maps.standard_error[name]


def test_the_truth_lies_within_the_error_bars(maps: SolutionMap) -> None:
    assert np.all(maps.status == Status.CONVERGED)
    assert np.median(maps.chi2) == pytest.approx(1 - 9 / 448, abs=0.03)
    for name, expected in truth().items():
        assert np.std(pull(maps, name, expected)) == pytest.approx(1, abs=0.35), name
        assert np.max(np.abs(pull(maps, name, expected))) < 5, name


def test_maps_carry_units_and_world_coordinates(maps: SolutionMap, observed: StokesCube) -> None:
    assert maps.units["field_strength"] == "G"
    assert maps.units["velocity"] == "km/s"
    assert maps.header == observed.header
    assert maps.solution.covariance is None  # nobody asked for it
    assert maps.solution.labels == tuple(maps.standard_error)
    assert maps.provenance["lines"] == "Fe I 6301.5, Fe I 6302.5"


def test_a_resumed_run_equals_an_uninterrupted_one(observed: StokesCube, monkeypatch: pytest.MonkeyPatch) -> None:
    config = dataclasses.replace(CONFIG, chunk_size=16)

    store = plan_inversion(prepare(observed, config)).store()
    with monkeypatch.context() as patch:
        cut_after(2, patch)
        with pytest.raises(KeyboardInterrupt):
            invert(observed, config, store=store, progress=False)
    assert store.todo(99) == [(32, store.n)]
    resumed = invert(observed, config, store=store, progress=False)
    whole = invert(observed, config, progress=False)
    for name in whole.parameters:
        np.testing.assert_array_equal(resumed.parameters[name], whole.parameters[name])
        np.testing.assert_array_equal(resumed.standard_error[name], whole.standard_error[name])
    np.testing.assert_array_equal(resumed.chi2, whole.chi2)


def test_restarts_are_judged_by_what_the_map_reaches(observed: StokesCube) -> None:
    def fit_some(pixels: np.ndarray) -> Any:
        seen.append(pixels)
        return SimpleNamespace(chi2=np.where(pixels % 7, 2.0 + 0.01 * (pixels % 5), np.nan), status=0 * pixels)

    for n, size in ((5, 100), (1000, 100), (1000, 30)):
        seen: list[np.ndarray] = []
        chi2 = reached(n, size, fit_some)
        assert np.all(np.isfinite(chi2))
        assert max(map(len, seen)) <= size
        chosen = np.concatenate(seen)
        assert len(np.unique(chosen)) == len(chosen) == min(n, 128)
        assert (chosen[0], chosen[-1]) == (0, n - 1)
    assert 2.02 < enough(chi2) < 2.2
    assert enough(np.array([])) == 0
    # A model that does not reach the noise: the same minimum, from one start.
    config = dataclasses.replace(CONFIG, sigma=(2e-4,))
    found = invert(observed, config, progress=False)
    assert found.chi2.min() > 10
    assert np.mean(found.solution.starts == 1) > 0.9


def test_chunk_size_changes_nothing_beyond_rounding(observed: StokesCube, maps: SolutionMap) -> None:
    other = invert(observed, dataclasses.replace(CONFIG, chunk_size=20), progress=False)
    for name, values in maps.parameters.items():
        assert np.max(np.abs(other.parameters[name] - values) / maps.standard_error[name]) < 0.1, name


def test_dead_pixels_are_flagged_and_the_rest_goes_on(observed: StokesCube, maps: SolutionMap) -> None:
    values = np.array(observed.values)
    values[0, 0] = np.nan
    values[1, 2] = 0
    values[2, 3, 0] = -1
    mask = np.ones(values.shape, bool)
    mask[3, 3] = False
    values[4, 4, :, 50] = np.nan  # one bad sample is only left out
    found = invert(StokesCube(values, WAVELENGTH, mask=mask), CONFIG, progress=False)
    dead = np.zeros(SHAPE, bool)
    dead[0, 0] = dead[1, 2] = dead[2, 3] = dead[3, 3] = True
    np.testing.assert_array_equal(found.status == Status.NO_DATA, dead)
    assert np.all(np.isnan(found.parameters["field_strength"][dead]))
    difference = found.parameters["field_strength"] - maps.parameters["field_strength"]
    assert np.max(np.abs(difference[~dead]) / maps.standard_error["field_strength"][~dead]) < 1


def test_a_misfit_far_above_the_maps_is_marked(observed: StokesCube) -> None:
    values = np.array(observed.values)
    ripple = 0.02 * LEVEL * np.sign(np.sin(1.7 * np.arange(112)))
    values[1, 1:4, 1:] += ripple
    found = invert(dataclasses.replace(observed, values=values), CONFIG, progress=False)
    assert np.all(found.chi2[1, 1:4] > 40)
    poor = np.zeros(SHAPE, bool)
    poor[1, 1:4] = True
    np.testing.assert_array_equal(found.status == Status.POOR_FIT, poor)
    assert 2.5 < float(found.provenance["poor_fit_above"].split()[0]) < 10 * np.median(found.chi2) + 1
    narrow = dataclasses.replace(CONFIG, bounds={"line_strength": (5.0, 12.0)})
    bounded = invert(dataclasses.replace(observed, values=values), narrow, progress=False)
    count = bounded.solution.count()
    assert count["at_bound"] > 0
    title = plot.quicklook(bounded).get_suptitle()
    for name, words in (
        ("converged", "converged"),
        ("at_bound", "at bound"),
        ("poor_fit", "poor fit"),
    ):
        assert f"{100 * count[name] / 48:.1f} % {words}" in title


def test_a_region_is_the_same_part_of_the_map(observed: StokesCube, maps: SolutionMap) -> None:
    part = invert(observed, dataclasses.replace(CONFIG, region=(2, 6, 1, 4)), progress=False)
    assert part.chi2.shape == (3, 4)
    assert part.header["CRPIX1"] == -1
    assert part.header["CRPIX2"] == 0
    difference = part.parameters["velocity"] - maps.parameters["velocity"][1:4, 2:6]
    assert np.max(np.abs(difference) / part.standard_error["velocity"]) < 0.1


def test_a_cavity_map_takes_out_the_instruments_shift(maps: SolutionMap) -> None:
    parameters = truth()
    offset = np.random.default_rng(3).uniform(-0.03, 0.03, SHAPE)
    shifted = observe({**parameters, "wavelength_offset": offset})
    found = invert(shifted, CONFIG, wavelength_offset=offset, progress=False)
    assert np.max(np.abs(pull(found, "velocity", parameters["velocity"]))) < 5
    np.testing.assert_allclose(found.parameters["wavelength_offset"], offset, atol=1e-7)
    assert "wavelength_offset" not in found.standard_error
    with pytest.raises(ValueError, match=r"shape \(3, 3\).*\(6, 8\)"):
        invert(shifted, CONFIG, wavelength_offset=np.zeros((3, 3)), progress=False)


def test_the_covariance_says_what_it_is_of(tmp_path: Path) -> None:
    offset = np.random.default_rng(3).uniform(-0.03, 0.03, SHAPE)
    config = dataclasses.replace(CONFIG, bounds={"wavelength_offset": (-0.1, 0.1)}, covariance=True)
    found = invert(observe({**truth(), "wavelength_offset": offset}), config, wavelength_offset=offset, progress=False)
    io.write_product(tmp_path / "maps.fits", found)
    again = io.read_product(tmp_path / "maps.fits").solution
    assert again.labels == found.solution.labels == tuple(truth())
    for k, name in enumerate(again.labels):
        np.testing.assert_allclose(np.sqrt(again.covariance[..., k, k]), found.standard_error[name], rtol=1e-5)


def test_the_wavelengths_are_calibrated_on_the_line_cores() -> None:
    observed = observe(truth() | {"velocity": np.full(SHAPE, 0.3), "field_strength": np.full(SHAPE, 100.0)})
    displaced = dataclasses.replace(observed, wavelength=observed.wavelength + 0.05)
    ready = prepare(displaced, dataclasses.replace(CONFIG, wavelength_shift=None))
    expected = -0.05 - 0.3 / 299792.458 * 6302
    assert ready.shift == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("lines", [("Fe I 6302.5",), ("Fe I 6301.5", "Fe I 6302.5")])
def test_an_umbra_does_not_calibrate_the_wavelengths(lines: tuple[str, ...]) -> None:
    spot = sunspot_parameters((48, 48), seed=1)
    dark = (slice(20, 28), slice(20, 28))
    umbra = {name: values[dark] for name, values in spot.items()}
    assert umbra["field_strength"].min() > 2000
    config = InvertConfig(lines=lines, psf_fwhm=HINODE_FWHM)
    with pytest.warns(UserWarning, match="64 pixels looked at are strongly polarized.*used as they are"):
        ready = prepare(simulate_observation(umbra), config)
    assert ready.shift == 0
    whole = prepare(simulate_observation(spot), config)  # with quiet Sun about it there is something to go by
    assert 0 < whole.measured.weak[0] < whole.measured.weak[1]
    assert abs(whole.shift) < 0.006


def test_line_cores_that_disagree_move_nothing() -> None:
    observed = observe(truth() | {"field_strength": np.full(SHAPE, 100.0)})
    stretched = observed.wavelength[0] + 1.1 * (observed.wavelength - observed.wavelength[0])
    with pytest.warns(UserWarning, match="line cores disagree by .* used as they are"):
        ready = prepare(dataclasses.replace(observed, wavelength=stretched), InvertConfig(sigma=(1e-3,)))
    assert ready.shift == 0


def test_telluric_lines_and_ranges_are_left_out(observed: StokesCube) -> None:
    ready = prepare(observed, dataclasses.replace(CONFIG, telluric=True, exclude=((6301.0, 6301.1),)))
    assert not np.any((ready.wavelength > 6301.92) & (ready.wavelength < 6302.08))
    assert not np.any((ready.wavelength > 6301.01) & (ready.wavelength < 6301.09))
    assert ready.problem.forward.wavelength.shape == (ready.used.sum(),)


def test_fitted_profiles_describe_the_data(observed: StokesCube, maps: SolutionMap) -> None:
    ready = prepare(observed, CONFIG)
    data, fitted = fitted_profiles(ready, maps, [(0, 0), (5, 7)])
    assert data.shape == fitted.shape == (2, 4, 112)
    assert np.std(data - fitted) == pytest.approx(1e-3, rel=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lines": ("Fe I 6173.3",)}, r"do not cover Fe I 6173\.3"),
        ({"lines": ("Xx I 6302.5",)}, "no Xx I lines"),
        ({"wavelength_range": (6304.0, 6305.0)}, "leave 0 of 112 samples"),
        ({"region": (0, 9, 0, 3)}, "does not lie in the map"),
        ({"fixed": {"dampning": 0.2}}, "did you mean 'damping'"),
        ({"bounds": {"field": (0, 1000)}}, "no parameter 'field'"),
        ({"relative_strengths": (1.0,)}, "one number for each line"),
    ],
)
def test_options_that_do_not_fit_the_data(observed: StokesCube, options: dict, message: str) -> None:
    with pytest.raises((ValueError, KeyError), match=message):
        prepare(observed, dataclasses.replace(CONFIG, **options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sigma": (1e-3, 1e-3)}, "one number or four"),
        ({"sigma": (-1e-3,)}, "above 0"),
        ({"weights": (0.0, 0.0, 0.0, 0.0)}, "at least one"),
        ({"mu": 1.5}, "takes 1 or less"),
        ({"bounds": {"damping": (2.0, 1.0)}}, "lower value first"),
    ],
)
def test_options_are_checked_when_they_are_stated(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        InvertConfig(**options)


def test_wavelengths_in_the_wrong_unit_are_noticed(observed: StokesCube) -> None:
    with pytest.raises(ValueError, match="unit of the wavelengths"):
        prepare(dataclasses.replace(observed, wavelength=WAVELENGTH / 10))


def test_an_instrument_and_stray_light_join_the_model(observed: StokesCube) -> None:
    config = dataclasses.replace(CONFIG, psf_fwhm=0.025, stray_light=True, macroturbulence=True)
    ready = prepare(observed, config)
    assert {"filling_factor", "macroturbulence"} <= set(ready.problem.names)
    assert len(ready.wavelength) == 112


def hinode_slit(folder: Path) -> StokesCube:
    from jaxinv.io import read_stokes

    return read_stokes(folder / "spectra/hinode/SP4D20070227_002010.0C.fits")


@pytest.mark.slow
def test_a_real_hinode_slit_is_described_as_well_as_by_the_best_peer(reference_data: Path) -> None:
    cube = hinode_slit(reference_data)
    maps = invert(cube, InvertConfig(sigma=(5e-3, 1e-3, 1e-3, 1e-3), chunk_size=1024), progress=False)
    assert maps.chi2.size == 1024
    assert np.median(maps.chi2) <= 2.18
    assert np.mean(np.isin(maps.status, (Status.CONVERGED, Status.AT_BOUND, Status.POOR_FIT))) > 0.99
    assert 0 < np.mean(maps.status == Status.POOR_FIT) < 0.02
    # No absolute reference, but the mean line is at rest and granulation moves at less than a few km/s.
    assert abs(np.median(maps.parameters["velocity"])) < 0.5
    assert np.std(maps.parameters["velocity"]) < 2


@pytest.mark.slow
def test_a_published_inversion_of_hinode_pixels_agrees(reference_data: Path) -> None:
    """SPINOR's depth-dependent inversion of 5 x 5 quiet-Sun pixels: velocities, and the sign of the field."""
    from astropy.io import fits

    from jaxinv.io import read_stokes

    folder = reference_data / "spectra/hinode"
    cube = read_stokes(folder / "hinode4d.20130912.sample.fits")
    config = InvertConfig(sigma=(5e-3, 1e-3, 1e-3, 1e-3), wavelength_shift=0.0)
    maps = invert(cube, config, progress=False)
    with fits.open(folder / "spinor_inverted_atmos_maptau_20130912_5x5.fits") as file:
        atmosphere = np.asarray(file[0].data, float)
    depth = int(np.argmin(np.abs(-6 + 0.1 * np.arange(72) + 0.5)))  # log tau = -0.5
    velocity, field, inclination = atmosphere[7, depth] / 1e5, atmosphere[8, depth], atmosphere[9, depth]
    assert np.corrcoef(maps.parameters["velocity"].ravel(), velocity.ravel())[0, 1] > 0.95
    assert np.abs(np.median(maps.parameters["velocity"] - velocity)) < 0.3
    ours = np.degrees(maps.parameters["inclination"])
    assert np.corrcoef(ours.ravel(), inclination.ravel())[0, 1] > 0.85
    strongest = np.unravel_index(np.argmax(field), field.shape)
    longitudinal = maps.parameters["field_strength"] * np.cos(maps.parameters["inclination"])
    assert np.unravel_index(np.argmax(np.abs(longitudinal)), field.shape) == strongest
    assert longitudinal[strongest] * np.cos(np.radians(inclination[strongest])) > 0
