"""What all tests share: two CPU devices, the folder of reference data, float64 on request, files to work on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# Before JAX starts: two devices, so that every test of a batch also tests its spreading.
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
os.environ.setdefault("MPLBACKEND", "Agg")

import jax

ROOT = Path(__file__).parent.parent


def pytest_configure(config: pytest.Config) -> None:
    cache = config.cache
    if cache is not None:  # compiled programs outlive a run of the tests
        jax.config.update("jax_compilation_cache_dir", str(cache.mkdir("jax")))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if any(item.get_closest_marker("gpu") for item in items) and jax.default_backend() != "gpu":
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs a GPU"))


@pytest.fixture(scope="module", autouse=True)
def programs_of_one_file() -> Iterator[None]:
    """A file's compiled programs go with it: those of all tests together take more memory maps than Linux grants."""
    yield
    jax.clear_caches()


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """The folder of real observations and reference cases."""
    folder = Path(os.environ.get("JAXINV_REFERENCE_DATA") or ROOT.parent / "shared" / "data")
    if not (folder / "spectra").is_dir():
        pytest.skip(f"no reference data in {folder}: set JAXINV_REFERENCE_DATA to their folder")
    return folder


@pytest.fixture
def float64() -> Iterator[None]:
    """JAX computes in float64 during the test."""
    with jax.enable_x64(True):
        yield
