"""Blind deconvolution: speed and errors. `python benchmarks/restoration.py [loss cases field]`.

Reference bursts with known truth are read from the folder that JAXINV_REFERENCE_DATA names; errors are normalized rms
differences through the diffraction MTF, without the window's border of 16 pixels, a shift and the mean matched.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import jax
import numpy as np
from common import header

from jaxinv import optics
from jaxinv.observation import FrameBurst
from jaxinv.pipelines import RestoreConfig, restore

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.pipelines.test_restoration import error_of

DATA = Path(os.environ.get("JAXINV_REFERENCE_DATA", "../shared/data")) / "mfbd"
CASES = {
    "crime_dkist128_Dr0_03_s0010": ("0.035-0.040", "0.005", "0.025"),
    "solar_dkist_Dr0_05_s0010": ("0.421", "0.011", "0.05"),
    "solarT_dkist128_Dr0_05_s0050": ("0.106-0.136", "0.045", "0.08"),
    "solarT_dkist128_Dr0_10_s0010": ("-", "0.060", "0.16"),
}
"""Errors of torchmfbd, of a Wiener filter with the true PSFs, and the goal."""


def loss() -> None:
    """One loss and gradient for a burst of 12 x 128 x 128."""
    generator = np.random.default_rng(0)
    frames = generator.normal(size=(12, 128, 128)).astype(np.float32)
    spectrum = {"log_object_variance": -6.0, "log_object_corner": -0.7, "object_slope": 3.5}
    for modes in (44, 150):
        basis = optics.KarhunenLoeve(optics.Telescope(1.0), modes)
        model = optics.PointSpread(optics.Telescope(1.0), 8542.0, 0.059, 128, basis, n_frames=12)
        forward = optics.TransferFunctions(model) >> optics.ObjectSpectrum(128, 0.059)
        noise = optics.BlindDeconvolution(128, 0.01)
        ready = noise.prepared(frames, (12, forward.first.n_support, 0))

        @jax.jit
        def both(a, ready=ready, forward=forward, noise=noise):
            return jax.value_and_grad(lambda a: noise.misfit(forward({"wavefront": a, **spectrum}), ready))(a)

        a = generator.normal(0, 0.1, (12, modes)).astype(np.float32)
        jax.block_until_ready(both(a))
        times = []
        for _ in range(200):
            begin = time.perf_counter()
            jax.block_until_ready(both(a))
            times.append(time.perf_counter() - begin)
        print(f"loss + gradient, 12 x 128 x 128, {modes} modes: {1e3 * np.median(times):.2f} ms (torchmfbd, 44: 11.2)")


def cases(draws: int, seed: int) -> None:
    """The reference bursts on the default setting, or without the search."""
    print(f"\n{'case':32} {'error':>7} {'best frame':>10} {'torchmfbd':>12} {'true PSFs':>9} {'goal':>6} {'time':>7}")
    for name, (peer, oracle, goal) in CASES.items():
        case = np.load(DATA / f"{name}.npz")
        burst = FrameBurst(case["frames"], 8542.0, 0.059)
        config = RestoreConfig(diameter="1.0", draws=draws, seed=seed)
        restore(burst, config)
        begin = time.perf_counter()
        found = restore(burst, config)
        seconds = time.perf_counter() - begin
        error = error_of(found.object, case["object"], 16)
        before = min(error_of(frame, case["object"], 16, seen=True) for frame in case["frames"])
        print(f"{name:32} {error:7.4f} {before:10.3f} {peer:>12} {oracle:>9} {goal:>6} {seconds:6.2f} s")


def field(draws: int, seed: int) -> None:
    """A field of 512 x 512 behind two layers."""
    case = np.load(DATA / "solar_aniso512_Dr0_08_s0030.npz")
    burst = FrameBurst(case["frames"], 8542.0, 0.059)
    begin = time.perf_counter()
    found = restore(burst, RestoreConfig(diameter="1.0", draws=draws, seed=seed))
    seconds = time.perf_counter() - begin
    error = error_of(found.object, case["object"], 16)
    before = min(error_of(frame, case["object"], 16, seen=True) for frame in case["frames"])
    print(
        f"\n512 x 512, {len(found.corners)} patches: error {error:.3f}, best frame {before:.3f}, torchmfbd 2.13; "
        f"{seconds:.0f} s, compilation included; median r0 {np.median(found.r0):.3f} m (truth 0.125)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", default=["loss", "cases"])
    parser.add_argument("--draws", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(header())
    for what in arguments.what:
        if what == "loss":
            loss()
        else:
            {"cases": cases, "field": field}[what](arguments.draws, arguments.seed)


if __name__ == "__main__":
    main()
