"""`jaxinv train`: from a configuration to a folder, interrupted and gone on with, and what it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest

from jaxinv.cli import main
from jaxinv.training import keeper
from tests.models import interrupted_after

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "train.md"
CONFIG = PAGE.read_text().split("```yaml\n")[1].split("```")[0]
"""What the documentation shows, so that the two share their compiled programs."""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("jaxinv.cli._configure_jax", lambda: None)
    monkeypatch.chdir(tmp_path)

    def write(**changes) -> str:
        kept = [line for line in CONFIG.splitlines() if line.partition(":")[0] not in changes]
        Path("config.yaml").write_text("\n".join([*kept, *(f"{name}: {value}" for name, value in changes.items())]))
        return "config.yaml"

    return write


def arrays(folder: str) -> dict[str, np.ndarray]:
    with np.load(Path(folder) / "weights.npz") as file:
        return {name: file[name] for name in file.files}


def test_an_interrupted_training_ends_as_an_uninterrupted_one(config, monkeypatch, capsys) -> None:
    name = config()
    assert main(["train", name, "-o", "whole", "--quiet"]) == 0
    interrupted_after("loop", 5, monkeypatch)
    assert main(["train", name, "-o", "parts", "--quiet"]) == 130
    assert "the last checkpoint is kept in parts.partial; the same command goes on" in capsys.readouterr().err
    # Another configuration does not go on from it.
    assert main(["train", name, "-o", "parts", "--quiet", "--seed", "5"]) == 2
    assert "holds a training with another options" in capsys.readouterr().err
    assert main(["train", name, "-o", "parts"]) == 0
    said = capsys.readouterr().out
    assert "within 5 percent after 1" in said
    one, other = arrays("whole"), arrays("parts")
    assert one.keys() == other.keys()
    for key in one:
        np.testing.assert_array_equal(one[key], other[key], err_msg=key)
    card = json.loads(Path("parts/card.json").read_text())
    assert card["command"].startswith("jaxinv train config.yaml")
    assert card["report"]["n"] == 128
    assert list(Path("parts/log").rglob("events*"))
    assert not Path("parts.partial").exists()
    assert main(["train", name, "-o", "parts"]) == 2
    assert "parts exists: choose another name, or give --overwrite" in capsys.readouterr().err


def test_a_damaged_checkpoint_gives_one_line(config, monkeypatch, capsys) -> None:
    name = config()
    saved = keeper.Checkpoints.save

    def interrupted(self, step, state):
        saved(self, step, state)
        raise KeyboardInterrupt

    monkeypatch.setattr(keeper.Checkpoints, "save", interrupted)
    assert main(["train", name, "-o", "net", "--quiet"]) == 130
    for file in Path("net.partial/network/checkpoints/10").rglob("*"):
        if file.is_file():
            file.write_bytes(b"nothing")
    capsys.readouterr()
    assert main(["train", name, "-o", "net", "--quiet"]) == 2
    said = capsys.readouterr().err.strip()
    assert "\n" not in said
    assert "is damaged or of another network" in said
    assert "--restart" in said


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"wavelenth": 3}, "there is no option 'wavelenth'; did you mean 'wavelength'?"),
        ({"sigma": 0}, "'sigma' takes a number above 0"),
        ({"noise_range": "[2, 1]"}, "'noise_range' takes two numbers above 0, the lower first"),
        ({"drawn": "{speed: [0, 1]}"}, "the conditions draw 'speed', which the problem does not infer"),
        ({"drawn": "{velocity: [0, 90]}"}, "the conditions draw 'velocity' from beyond the bounds"),
        ({"drawn_log": "{velocity: [0, 9]}"}, "'drawn_log' takes values above 0"),
    ],
)
def test_a_configuration_that_does_not_fit_gives_one_line(config, capsys, changes: dict, message: str) -> None:
    assert main(["train", config(**changes), "-o", "net"]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--network", "speed=3"], "the option 'network' has no 'speed'"),
        (["--network", "width=wide"], "'width' takes a number; found 'wide'"),
        (["--loop", "variant=best"], "the learned steps' 'variant' takes one of damping, recurrent, network"),
        (["--training", "steps=0"], "the training setting 'steps' takes 1 or more"),
        (["--training", "steps=2.5"], "'steps' takes a whole number"),
        (["--lines", "Fe I 9999"], "Fe I 9999"),
        (["--observation", "nothing.fits"], "there is no file nothing.fits"),
    ],
)
def test_a_flag_that_does_not_fit_gives_one_line(config, capsys, flags: list[str], message: str) -> None:
    assert main(["train", config(), "-o", "net", *flags]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
