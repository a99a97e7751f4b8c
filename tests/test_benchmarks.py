"""Benchmarks start without the packages that they compare with, or say in one line what is missing."""

import importlib.util
import runpy
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks"
PEERS = ("optimistix", "emcee")


@pytest.fixture(autouse=True)
def without_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name in PEERS else found(name, *more))
    monkeypatch.syspath_prepend(FOLDER)
    for name in ("common", *PEERS):
        monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.setitem(sys.modules, name, None) if name in PEERS else None


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_a_benchmark_starts_or_says_what_it_lacks(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [path.name, "--help"])
    if path.stem == "common":
        header = runpy.run_path(str(path))["header"]()
        assert "jax " in header
        assert "optimistix" not in header
        return
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(path), run_name="__main__")
    if path.stem == "solvers":
        assert "compares with optimistix, which is not installed: pip install" in str(caught.value)
    else:
        assert caught.value.code == 0


def test_a_peer_is_asked_for_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["sampling.py", "-n", "1"])
    with pytest.raises(SystemExit, match="compares with emcee, which is not installed"):
        runpy.run_path(str(FOLDER / "sampling.py"), run_name="__main__")
