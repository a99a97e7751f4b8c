"""Figures: what they show, their ranges and units, and that they leave no trace in matplotlib."""

from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure

from jaxinv import plot
from jaxinv.observation import FrameBurst
from jaxinv.results.posterior import Posterior
from jaxinv.results.solution import Solution, SolutionMap

NAMES = ("field_strength", "inclination", "azimuth", "velocity", "damping")


def solution_map(shape: tuple[int, int] = (12, 16), header: dict | None = None, holes: bool = False) -> SolutionMap:
    rng = np.random.default_rng(0)
    parameters = {name: rng.normal(size=shape) for name in NAMES}
    parameters["field_strength"] = 1000 * np.abs(parameters["field_strength"])
    parameters["velocity"] += 0.7
    if holes:
        parameters["field_strength"][:] = np.nan
    solution = Solution(
        parameters=parameters,
        standard_error={name: 0.1 + np.abs(value) / 10 for name, value in parameters.items()},
        covariance=np.zeros((*shape, 5, 5)),
        labels=NAMES,
        chi2=rng.chisquare(100, shape) / 100,
        iterations=np.ones(shape, int),
        starts=np.ones(shape, int),
        status=rng.integers(0, 5, shape),
    )
    return SolutionMap(solution, {"field_strength": "G", "velocity": "km/s"}, header or {}, {"lines": "Fe I 6302.5"})


def drawn(figure: Figure) -> np.ndarray:
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())  # pyright: ignore[reportAttributeAccessIssue]


def labels(figure: Figure) -> list[str]:
    return [axis.get_ylabel() for axis in figure.axes] + [axis.get_xlabel() for axis in figure.axes]


@pytest.mark.parametrize(
    "kind", ["maps", "errors", "quicklook", "comparison", "profiles", "spectra", "burst", "stars", "images"]
)
def test_every_figure_is_drawn_and_leaves_matplotlib_as_it_was(kind: str) -> None:
    before = dict(matplotlib.rcParams)
    maps = solution_map()
    truth = {name: value + 0.1 for name, value in maps.parameters.items()}
    spectra = np.random.default_rng(1).normal(size=(3, 4, 20))
    wavelength = np.linspace(6302, 6303, 20)
    frames = np.random.default_rng(2).uniform(0, 1, (2, 16, 18))
    pupil = np.ones((8, 8))
    pupil[0, 0] = 0
    seen = {"object": np.eye(40), "psf": frames, "phase": frames[:, :8, :8] - 0.5, "pupil": pupil}
    figure = {
        "maps": lambda: plot.maps(maps),
        "errors": lambda: plot.maps(maps, errors=True),
        "quicklook": lambda: plot.quicklook(maps),
        "comparison": lambda: plot.comparison(truth, maps),
        "profiles": lambda: plot.profiles(spectra, spectra + 0.1, wavelength, sigma=np.full(4, 0.1)),
        "spectra": lambda: plot.profiles(spectra[0], None, wavelength),
        "burst": lambda: plot.burst(FrameBurst(frames, 6173.0, 0.059, truth=seen)),
        "stars": lambda: plot.burst(FrameBurst(frames, 6173.0, 0.059)),
        "images": lambda: plot.images({"one": frames[0], "two": frames[1]}, 0.059),
    }[kind]()
    assert len(np.unique(drawn(figure).reshape(-1, 4), axis=0)) > 20
    assert figure._repr_png_().startswith(b"\x89PNG")  # what a notebook shows
    assert pyplot.get_fignums() == []
    assert dict(matplotlib.rcParams) == before


def test_units_ranges_and_colours() -> None:
    figure = plot.maps(solution_map(), ["velocity", "inclination", "field_strength"])
    images = [axis.images[0] for axis in figure.axes if axis.images]
    low, high = images[0].get_clim()
    assert low == -high
    assert images[1].get_clim() == (0, 180)
    text = labels(figure)
    for label in ("velocity [km/s]", "inclination [deg]", "field strength [G]", "x [pixel]"):
        assert label in text


def test_world_coordinates_and_missing_pixels() -> None:
    header = {"CDELT1": 0.15, "CDELT2": 0.16, "CUNIT1": "arcsec", "CUNIT2": "arcsec", "CRPIX1": 1, "CRVAL1": 100.0}
    figure = plot.maps(solution_map(header=header, holes=True), ["field_strength", "status"])
    image = figure.axes[0].images[0]
    assert image.get_extent()[0] == pytest.approx(100 - 0.15 / 2)
    assert "x [arcsec]" in labels(figure)
    assert image.get_array().mask.all()
    drawn(figure)


@pytest.mark.parametrize("shape", [(100, 1), (1, 100), (1, 1), (3, 200)])
def test_slits_are_curves(shape: tuple[int, int]) -> None:
    figure = plot.quicklook(solution_map(shape))
    assert not any(axis.images for axis in figure.axes)
    assert "position along the slit [pixel]" in labels(figure)
    drawn(figure)


def test_wrong_names_and_shapes() -> None:
    with pytest.raises(ValueError, match="no map 'velocty'; did you mean 'velocity'"):
        plot.maps(solution_map(), ["velocty"])
    with pytest.raises(ValueError, match=r"need \(n, 4, 9\).*found \(2, 4, 8\)"):
        plot.profiles(np.zeros((2, 4, 8)), None, np.arange(9.0))


def posterior(n_draws: int = 200, **draws: np.ndarray) -> Posterior:
    """Four chains of a field strength, an azimuth across its wrap, and a constant."""
    rng = np.random.default_rng(3)
    shape = (4, n_draws)
    drawn = {"field_strength": rng.normal(1000, 20, shape), "azimuth": rng.normal(3.0, 0.1, shape) % np.pi}
    drawn |= {"damping": np.ones(shape), **draws}
    divergent = {"diverging": (rng.uniform(size=shape) < 0.05).astype(float)}
    return Posterior(
        drawn, divergent, {}, r_hat={}, ess_bulk={}, ess_tail={}, status=np.array(0), periods={"azimuth": (0.0, np.pi)}
    )


def test_a_corner_has_the_truth_the_fit_and_angles_about_their_mean() -> None:
    fit = Solution(
        {"field_strength": np.array(1010.0), "azimuth": np.array(0.02)},
        {"field_strength": np.array(20.0), "azimuth": np.array(0.1)},
        np.diag([400.0, 0.01]), ("field_strength", "azimuth"), np.array(1.0), np.array(1), np.array(1), np.array(0),
    )  # fmt: skip
    figure = plot.corner(posterior(), ["field_strength", "azimuth"], fit=fit, truth={"azimuth": 0.05})
    field, _, both, azimuth = figure.axes
    low, high = azimuth.get_xlim()
    assert 130 < low < 180 < high < 210  # one cloud, not two at both ends of the range
    assert any(np.allclose(line.get_xdata(), 180 + np.degrees(0.05)) for line in azimuth.lines)
    assert not any(len(line.get_xdata()) == 2 for line in field.lines)  # whose truth is not known
    ellipse = both.lines[-1].get_xydata()
    np.testing.assert_allclose(ellipse.mean(axis=0), [1010, 180 + np.degrees(0.02)], rtol=2e-3)
    np.testing.assert_allclose(np.ptp(ellipse, axis=0), [80, np.degrees(0.4)], rtol=2e-3)  # 2 sigma to each side
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["posterior", "fit", "truth"]
    np.testing.assert_allclose(sum(patch.get_path().get_extents().width for patch in field.patches), 120, rtol=0.4)
    plot.corner(posterior())  # with what does not vary
    plot.corner(posterior(), ["azimuth"])


def test_a_corner_needs_draws() -> None:
    with pytest.raises(ValueError, match="of 3 parameters needs more than 3 finite draws; found 0"):
        plot.corner(posterior(damping=np.full((4, 200), np.nan)))


def test_a_trace_marks_divergent_draws() -> None:
    drawn = posterior()
    marks = plot.trace(drawn, ["azimuth"]).axes[0].lines[-1]
    np.testing.assert_array_equal(np.sort(marks.get_xdata()), np.sort(np.nonzero(drawn.stats["diverging"])[1]))


def test_what_is_no_image() -> None:
    with pytest.raises(ValueError, match=r"the panel 'one' is no image \(ny, nx\): its shape is \(3,\)"):
        plot.images({"one": np.zeros(3)})
    with pytest.raises(ValueError, match="no image to show"):
        plot.images({})


def test_no_label_is_cut_off(tmp_path: Path) -> None:
    step = {"CDELT1": 0.15, "CDELT2": 0.16, "CUNIT1": "arcsec", "CUNIT2": "arcsec", "CRPIX1": 48.5, "CRPIX2": 48.5}
    maps = solution_map((96, 96), header=step | {"CRVAL1": 0.0, "CRVAL2": 0.0})
    figure = plot.comparison(maps.parameters, maps)
    plot.save(figure, tmp_path / "a.png")
    assert min(axis.yaxis.label.get_window_extent().x0 for axis in figure.axes) >= 0


def test_saving_is_whole_or_not_at_all(tmp_path: Path) -> None:
    figure = plot.maps(solution_map(), ["velocity"])
    plot.save(figure, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="ending must be one of"):
        plot.save(figure, tmp_path / "a.xyz")
    with pytest.raises(OSError, match="cannot write"):
        plot.save(figure, tmp_path / "nowhere" / "a.png")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
