"""Networks in the place of a fit, for an observation: the shipped ones, their check, and what they refuse."""

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
from jaxinv.pipelines.training import shipped, state
from jaxinv.spectra import MilneEddington
from jaxinv.training.folder import FolderError, check_forward

STEP = 0.021549


def hinode_like(shape=(12, 12), start=6300.8733) -> ji.StokesCube:
    """A sunspot on Hinode/SP's wavelengths, without its spectral profile."""
    wavelength = start + STEP * np.arange(112)
    forward = MilneEddington(["Fe I 6301.5", "Fe I 6302.5"], wavelength)
    cube = simulate_observation(sunspot_parameters(shape, seed=3), forward, seed=3)
    return dataclasses.replace(cube, wavelength=wavelength)


def test_the_shipped_cards_say_how_they_were_trained_and_for_what() -> None:
    for method in ("learned", "amortized"):
        net = load_network(method)
        config = {name: tuple(x) if isinstance(x, list) else x for name, x in net.card["config"].items()}
        check_forward(net.path, net.card, state(TrainConfig(**config)).problem.forward)
        assert net.card["command"].startswith("jaxinv train")
        assert net.card["report"]["chi2_99"] < 1.3
        assert sum(file.stat().st_size for file in shipped(method).rglob("*") if file.is_file()) < 4e6


def test_an_observation_of_another_instrument_is_refused(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr("jaxinv.cli._configure_jax", lambda: None)
    cube = hinode_like((8, 8))
    quick = InvertConfig(method="learned", continuum=1.0, wavelength_shift=0.0)
    with pytest.raises(ValueError, match=r"was trained for 112 wavelengths, 21.549 mA apart; the observation has 60"):
        ji.invert(cube, InvertConfig(method="learned", wavelength_range=(6300.8, 6302.16)), progress=False)
    with pytest.raises(ValueError, match=r"displaced by up to 50 mA on its wavelengths; those of the observation"):
        ji.invert(hinode_like((8, 8), 6300.95), quick, progress=False)
    with pytest.raises(FolderError, match="with other settings"):
        ji.invert(cube, InvertConfig(method="learned", continuum=1.0, wavelength_shift=0.0, mu=0.5), progress=False)
    held = InvertConfig(method="learned", continuum=1.0, wavelength_shift=0.0, fixed={"damping": 0.2})
    with pytest.raises(ValueError, match="the loop was trained to infer"):
        ji.invert(cube, held, progress=False)
    io.write_stokes(tmp_path / "cube.fits", cube)
    for flags, message in (
        (["--method", "learnt"], "'method' takes one of lm, learned, amortized"),
        (["--method", "learned", "--network", "nowhere"], "nowhere holds no trained network"),
        (["--network", "nowhere"], "goes with the method learned or amortized"),
    ):
        assert main(["invert", str(tmp_path / "cube.fits"), "-o", str(tmp_path / "maps.fits"), *flags]) == 2
        said = capsys.readouterr().err
        assert message in said
        assert said.count("\n") == 1


def test_a_network_of_another_kind_or_instrument_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="holds a trained PointEstimator; expected a Unrolled"):
        load_network("learned", shipped("amortized"))
    shutil.copytree(shipped("learned"), tmp_path / "net")
    card = json.loads((tmp_path / "net" / "card.json").read_text())
    del card["report"]
    (tmp_path / "net" / "card.json").write_text(json.dumps(card))
    with pytest.raises(FolderError, match="does not say what instrument it was trained for"):
        load_network("learned", tmp_path / "net")


@pytest.mark.slow
def test_the_shipped_networks_end_where_levenberg_marquardt_does() -> None:
    cube = hinode_like()
    usual = InvertConfig(wavelength_shift=0.0, continuum=1.0, model_error=0.0)
    best = ji.invert(cube, usual, progress=False)
    for method in ("learned", "amortized"):
        found = ji.invert(cube, dataclasses.replace(usual, method=method), progress=False)
        assert found.route is not None
        assert np.mean(found.chi2 <= 1.05 * best.chi2) > 0.98
        assert set(found.parameters) == set(best.parameters)
        off = np.abs(found.parameters["velocity"] - best.parameters["velocity"]) / best.standard_error["velocity"]
        assert np.percentile(off, 90) < 1.0
        if method == "learned":
            assert np.mean(found.route < 2) > 0.5


@pytest.mark.slow
def test_a_checked_map_of_a_real_slit_is_as_good_as_a_fitted_one(
    reference_data: Path, tmp_path: Path, capsys, monkeypatch
) -> None:
    monkeypatch.setattr("jaxinv.cli._configure_jax", lambda: None)
    path = reference_data / "spectra/hinode/SP4D20070227_002010.0C.fits"
    region = (0, 1, 100, 244)  # as many pixels as above, for which the programs are compiled
    best = ji.invert(io.read_stokes(path), InvertConfig(region=region), progress=False)
    line = [
        "invert",
        str(path),
        "-o",
        str(tmp_path / "maps.fits"),
        "--method",
        "learned",
        "--region",
        *map(str, region),
    ]
    assert main([*line, "--region", *map(str, region), "--no-quicklook"]) == 0
    assert "route       " in capsys.readouterr().out
    found = io.read_maps(tmp_path / "maps.fits")
    assert found.route is not None
    assert found.route.shape == best.chi2.shape
    for q in (50, 95):
        assert np.percentile(found.chi2, q) == pytest.approx(np.percentile(best.chi2, q), rel=0.05), q
