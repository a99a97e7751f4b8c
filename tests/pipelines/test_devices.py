"""A run that is cut on some devices and goes on on others, in pieces of another size, gives the uninterrupted map."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxinv import io
from jaxinv.compute.store import Store
from jaxinv.pipelines import InvertConfig, PosteriorRun, SampleConfig, inversion, plan_inversion, prepare
from tests.pipelines.test_inversion import SHAPE, observe, truth

SAME = {
    "sigma": (1e-3,), "lines": ("Fe I 6302.5",), "effective_triplet": True, "wavelength_shift": 0.0, "starts": 1,
    "wavelength_range": (6302.1, 6302.9), "continuum": 25000.0,
}  # fmt: skip


class Cut(Store):
    """A store whose run is interrupted when so many pieces are kept."""

    left = 0

    def write(self, start: int, stop: int, arrays: dict[str, np.ndarray]) -> None:
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        super().write(start, stop, arrays)


def do(folder: Path | str, jobs: list[tuple[str, str, int, int]]) -> None:
    """Each `(kind, name, pixels of a piece and device, pieces)` on the devices of this process."""
    folder = Path(folder)
    cube = io.read_stokes(folder / "cube.fits")
    for kind, name, size, left in jobs:
        if kind == "invert":
            inversion._PER_CPU = size
            run = plan_inversion(prepare(cube, InvertConfig(**SAME)))
        else:
            config = SampleConfig(method="laplace", draws=25, chunk_size=size * len(jax.devices()), **SAME)
            run = PosteriorRun(prepare(cube, config))
        store = Cut(folder / name, run.shape, units=run.units, missing=run.missing)
        store.left = left
        try:
            run.into(store)
        except KeyboardInterrupt:
            assert left < 99


DEVICES = (1, 2, 4)
SIZES = (5, 8)
N = SHAPE[0] * SHAPE[1]


def work(folder: Path, devices: int, jobs: list[tuple[str, str, int, int]]) -> None:
    if devices == len(jax.devices()):
        do(folder, jobs)
        return
    flags = os.environ["XLA_FLAGS"].replace("device_count=2", f"device_count={devices}")
    code = "import json, sys; from tests.pipelines.test_devices import do; do(sys.argv[1], json.loads(sys.argv[2]))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder), json.dumps(jobs)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        env={**os.environ, "XLA_FLAGS": flags},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr


def error_of(arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
    group, _, parameter = name.partition("/")
    if group == "parameters":
        return arrays[f"standard_error/{parameter}"]
    return (arrays[f"upper/{parameter}"] - arrays[f"lower/{parameter}"]) / 2


@pytest.mark.slow
def test_devices_and_pieces_may_change_between_cut_and_resumption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inversion, "_PER_CPU", inversion._PER_CPU)  # which the work changes
    io.write_stokes(tmp_path / "cube.fits", observe(truth()))
    rng = np.random.default_rng(0)
    place = lambda devices, size: int(rng.integers(1, -(-N // (devices * size))))  # noqa: E731
    pairs = [("invert", 1, 5, 2)]
    if os.environ.get("JAXINV_DEVICES") == "all":
        pairs = [("invert", d, s, other) for d in DEVICES for s in SIZES for other in DEVICES]
        pairs += [("sample", 1, 8, 2), ("sample", 2, 8, 1)]
    kinds = sorted({kind for kind, *_ in pairs})
    for devices in DEVICES:
        begun = sorted({(kind, s) for kind, d, s, _ in pairs if d == devices})
        jobs = [(kind, f"{kind}-{devices}-{s}", s, place(devices, s)) for kind, s in begun]
        jobs += [(kind, f"{kind}-whole", N, 99) for kind in kinds if devices == 1]
        if jobs:
            work(tmp_path, devices, jobs)
    for devices in DEVICES:
        jobs = []
        for kind, d, s, other in pairs:
            if other == devices:
                jobs.append((kind, f"{kind}-{d}-{s}-{devices}", SIZES[1 - SIZES.index(s)], 99))
                shutil.copytree(tmp_path / f"{kind}-{d}-{s}", tmp_path / jobs[-1][1])
        if jobs:
            work(tmp_path, devices, jobs)
    for kind, d, s, other in pairs:
        whole = Store.open(tmp_path / f"{kind}-whole").arrays()
        found = Store.open(tmp_path / f"{kind}-{d}-{s}-{other}").arrays()
        np.testing.assert_array_equal(found["status"], 0)
        for name in whole:
            if name.startswith(("parameters/", "median/")):
                difference = np.abs(found[name] - whole[name]) / error_of(whole, name)
                assert np.max(difference) < 0.05, (kind, d, s, other, name)
