"""Learned inversions of an observation: the shipped networks, adaptation, the check of each answer, and refusals."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import jaxinv as ji
from jaxinv import io
from jaxinv.cli import main
from jaxinv.pipelines import InvertConfig, TrainConfig, load_network, simulate_observation, sunspot_parameters
from jaxinv.pipelines.learned import WEIGHTS, shipped, steps_for
from jaxinv.pipelines.misfits import beside_neighbours
from jaxinv.pipelines.training import state
from jaxinv.results.solution import Route
from jaxinv.spectra import MilneEddington
from jaxinv.training.folder import FolderError, check_forward

STEP = 0.021549
HINODE = WEIGHTS / "hinode_6301_6302"
USUAL = InvertConfig(wavelength_shift=0.0, continuum=1.0, model_error=0.0)
LEARNED = dataclasses.replace(USUAL, method="learned")


def hinode_like(shape=(12, 12), start=6300.8733, noise=1e-3) -> ji.StokesCube:
    """A sunspot on Hinode/SP's wavelengths, without its spectral profile."""
    wavelength = start + STEP * np.arange(112)
    forward = MilneEddington(["Fe I 6301.5", "Fe I 6302.5"], wavelength)
    cube = simulate_observation(sunspot_parameters(shape, seed=3), forward, seed=3, sigma=noise)
    return dataclasses.replace(cube, wavelength=wavelength)


def test_the_shipped_cards_say_how_they_were_trained_and_for_what() -> None:
    assert set(shipped()) == {"hinode_6301_6302", "fe6173_scan", "hmi_6173"}
    for name, card in shipped().items():
        config = {key: tuple(x) if isinstance(x, list) else x for key, x in card["config"].items()}
        check_forward(name, card, state(TrainConfig(**config)).problem.forward)
        assert card["command"].startswith("jaxinv train")
        assert card["report"]["at_or_below_truth_after_3"] > 0.98
        held = [share for key, share in card["report"].items() if key.startswith("coverage_")]
        assert all(0.87 < share < 0.93 for share in held), name
        assert (WEIGHTS / name / "weights.npz").stat().st_size < 3e6


def test_an_observation_of_another_instrument_is_refused(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr("jaxinv.cli._configure_jax", lambda: None)
    cube = hinode_like((8, 8))
    own = load_network(HINODE)
    short = InvertConfig(method="learned", wavelength_range=(6300.8, 6302.16))
    with pytest.raises(ValueError, match=r"no network comes with jaxinv for Fe I 6301.5 at 60 wavelengths"):
        ji.invert(cube, short, progress=False)
    with pytest.raises(ValueError, match=r"was trained for 112 wavelengths, 21.549 mA apart; the observation has 60"):
        ji.invert(cube, short, network=own, progress=False)
    with pytest.raises(ValueError, match=r"displaced by up to 50 mA on its wavelengths; those of the observation"):
        ji.invert(hinode_like((8, 8), 6300.95), LEARNED, progress=False)
    with pytest.raises(FolderError, match="with other settings"):
        ji.invert(cube, dataclasses.replace(LEARNED, mu=0.5), progress=False)
    with pytest.raises(ValueError, match="the loop was trained to infer"):
        ji.invert(cube, dataclasses.replace(LEARNED, fixed={"damping": 0.2}), progress=False)
    io.write_stokes(tmp_path / "cube.fits", cube)
    kept = tmp_path / "kept"
    kept.mkdir()
    for flags, message in (
        (["--method", "learnt"], "--method takes one of lm, learned"),
        (["--method", "learned", "--network", "nowhere"], "nowhere holds no trained network"),
        (["--network", "nowhere"], "'network' goes with the method learned; found lm"),
        (["--adapt", "5"], "'adapt' goes with the method learned; found lm"),
        (["--method", "learned", "--adapt", "-1"], "--adapt takes 0 or more"),
        (["--method", "learned", "--keep-network", str(kept)], "kept exists already: choose another name"),
    ):
        assert main(["invert", str(tmp_path / "cube.fits"), "-o", str(tmp_path / "maps.fits"), *flags]) == 2
        said = capsys.readouterr().err
        assert message in said
        assert said.count("\n") == 1


def test_a_network_of_another_kind_or_damaged_is_refused(tmp_path: Path) -> None:
    def changed(name: str, **changes) -> Path:
        shutil.copytree(HINODE, tmp_path / name)
        card = json.loads((tmp_path / name / "card.json").read_text())
        card = {key: x for key, x in {**card, **changes}.items() if x is not None}
        (tmp_path / name / "card.json").write_text(json.dumps(card))
        return tmp_path / name

    with pytest.raises(FolderError, match="holds a trained PointEstimator; expected a Unrolled"):
        load_network(changed("kind", kind="PointEstimator"))
    with pytest.raises(FolderError, match="does not say what instrument it was trained for"):
        load_network(changed("report", report=None))
    with pytest.raises(FolderError, match="is written in format 0"):
        load_network(changed("format", format=0))
    weights = changed("weights") / "weights.npz"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(FolderError, match=r"weights.npz is damaged .*: train anew"):
        load_network(weights.parent)


def test_only_large_maps_are_adapted_to_without_being_asked() -> None:
    usual = InvertConfig(method="learned")
    assert [steps_for(usual, n) for n in (1024, 499_999, 5 * 10**5, 10**6, 10**9)] == [0, 0, 50, 100, 500]
    assert [steps_for(dataclasses.replace(usual, adapt=n), 10**5) for n in (0, 7)] == [0, 7]


def test_a_misfit_is_judged_beside_its_neighbours() -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:20, :30]
    chi2 = np.exp(1 + np.sin(x / 5) + np.cos(y / 4) + 0.05 * rng.normal(size=(20, 30)))  # a map with structure
    assert beside_neighbours(chi2, 448).mean() < 0.01
    chi2[7, 9] *= 3
    chi2[12, 4] = np.nan
    odd = beside_neighbours(chi2, 448)
    assert odd[7, 9]
    assert not odd[12, 4]
    # What noise explains is no matter what the neighbours are.
    assert not beside_neighbours(np.where(chi2 > 0, 0.9 + 0.3 * (x == 3), 0.0), 448).any()
    slit = np.r_[np.full(20, 2.0), 6.0, np.full(20, 2.0)][:, None]
    assert np.flatnonzero(beside_neighbours(slit, 448)).tolist() == [20]


@pytest.mark.slow
def test_a_learned_map_ends_where_levenberg_marquardt_does() -> None:
    cube = hinode_like()
    best = ji.invert(cube, USUAL, progress=False)
    found = ji.invert(cube, LEARNED, progress=False)
    assert found.route is not None
    assert np.mean(found.route == Route.QUICK) > 0.95
    assert np.all(found.chi2 <= 1.05 * best.chi2)
    assert set(found.parameters) == set(best.parameters)
    assert found.provenance["network"].startswith("hinode_6301_6302, ")
    for name in best.parameters:
        off = np.abs(found.parameters[name] - best.parameters[name])
        if name == "azimuth":
            off = np.minimum(off, np.pi - off)
        assert np.percentile(off / best.standard_error[name], 90) < 0.6, name
        ratio = found.standard_error[name] / best.standard_error[name]
        assert np.median(np.abs(ratio - 1)) < 0.01, name
        assert np.percentile(np.abs(ratio - 1), 90) < 0.1, name
    # Noise that nobody trained for: no answer of the network counts.
    with pytest.warns(UserWarning, match="times that of .* expect pixels to be fitted anew"):
        loud = ji.invert(hinode_like(noise=0.3), LEARNED, progress=False)
    assert loud.route is not None
    assert np.all(loud.route == Route.UNFAMILIAR)


@pytest.mark.slow
def test_a_real_slit_is_adapted_to_and_the_network_is_kept(
    reference_data: Path, tmp_path: Path, capsys, monkeypatch
) -> None:
    monkeypatch.setattr("jaxinv.cli._configure_jax", lambda: None)
    path = reference_data / "spectra/hinode/SP4D20070227_002010.0C.fits"
    region = (0, 1, 100, 244)  # as many pixels as above, for which the programs are compiled
    best = ji.invert(io.read_stokes(path), InvertConfig(region=region), progress=False)
    line = ["invert", str(path), "-o", str(tmp_path / "maps.fits"), "--method", "learned", "--no-quicklook"]
    line += ["--region", *map(str, region), "--adapt", "40", "--keep-network", str(tmp_path / "kept")]
    with monkeypatch.context() as patch:  # cut when the network is kept already and the maps are not written yet
        patch.setattr("jaxinv.io.write_product", lambda *given, **more: (_ for _ in ()).throw(KeyboardInterrupt))
        assert main(line) == 130
    assert (tmp_path / "kept").is_dir()
    capsys.readouterr()
    assert main(line) == 0
    said = capsys.readouterr().out
    assert "adapted by 40 steps on 144 pixels: median chi2 of the network alone " in said
    before, after = said.split("network alone ")[1].split("\n")[0].split(" -> ")
    assert float(after) < float(before)
    assert "route       " in said
    found = io.read_product(tmp_path / "maps.fits")
    assert found.route is not None
    assert found.route.shape == best.chi2.shape
    assert np.mean(found.chi2 <= 1.05 * best.chi2) > 0.98
    # The next map of the same instrument.
    again = ji.invert(
        io.read_stokes(path), InvertConfig(region=region, method="learned"), network=load_network(tmp_path / "kept"),
        progress=False,
    )  # fmt: skip
    assert again.provenance["network_adapted"].startswith("40 steps")
    np.testing.assert_allclose(again.chi2, found.chi2, rtol=1e-3)
