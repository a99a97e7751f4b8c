"""What all tests share: two CPU devices, the folder of reference data, float64 on request, files to work on."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

# Before JAX starts: two devices, so that every test of a batch also tests its spreading; and programs that are compiled
# quicker than well, since most of them run once (JAX 0.12 refuses the last flag).
FLAGS = "--xla_force_host_platform_device_count=2 --xla_backend_optimization_level=1"
if version("jaxlib").split(".")[:2] < ["0", "12"]:
    FLAGS += " --xla_cpu_use_fusion_emitters=false"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAGS}"
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")  # which lowering spends its time on otherwise

import jax  # noqa: E402

gc.set_threshold(
    100_000, 50, 100
)  # tracing makes very many objects that stay: looking through them again takes a tenth

ROOT = Path(__file__).parent.parent


def pytest_configure(config: pytest.Config) -> None:
    cache = getattr(config, "cache", None)
    if cache is not None:  # compiled programs outlive a run of the tests, and are shared with the processes it starts
        folder = str(cache.mkdir("jax"))
        os.environ["JAX_COMPILATION_CACHE_DIR"] = folder
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        jax.config.update("jax_compilation_cache_dir", folder)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name != "test_docs.py")  # the longest first, so that no worker ends alone
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
