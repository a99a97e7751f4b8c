"""Inversion of simulated spectra and of a real slit. `python benchmarks/inversion.py [-n 4096]`."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
from common import CASES, header, simulated, timed

import jaxinv as ji
from jaxinv.pipelines import InvertConfig

PEERS = {
    "6301+6302, 112 wavelengths": [
        "pyMilne,  1 start,  2 threads: 980 us, 43 % below 1.2",
        "pyMilne,  5 starts, 2 threads: 2600 us, 94 % below 1.2; median error 1.6 G, 1.8 m/s",
        "goal 600 us, 99.8 % solved",
    ],
    "6173, 30 wavelengths": [
        "P-MILOS,  1 start,  2 cores: 160 us, 92 % below 1.2, 99.75 % below 2",
        "goal 150 us, 99.8 % solved",
    ],
}


def synthetic(case: str, n: int) -> None:
    problem, truth, data, at_truth = simulated(case, n)
    begin = time.perf_counter()
    found = ji.fit(problem, data)
    first = time.perf_counter() - begin
    _, seconds = timed(lambda: ji.fit(problem, data).chi2, 5)
    solved = found.chi2 <= at_truth * (1 + 1e-5)
    print(f"{case}, {n} pixels")
    print(f"  {seconds / n * 1e6:.0f} us per pixel (median of 5); the first call {first:.1f} s, compilation included")
    print(
        f"  solved {100 * np.mean(solved):.2f} %, below 1.2 {100 * np.mean(found.chi2 < 1.2):.2f} %, "
        f"below 2 {100 * np.mean(found.chi2 < 2):.2f} %; the truth itself is below 1.2 in "
        f"{100 * np.mean(at_truth < 1.2):.2f} %"
    )
    print(f"  {found.iterations.mean():.1f} evaluations and {found.starts.mean():.3f} starts per pixel")
    for name, expected in truth.items():
        difference = found.parameters[name] - expected
        if name == "azimuth":
            difference = (difference + np.pi / 2) % np.pi - np.pi / 2
        strong = solved & (truth["field_strength"] > 500)
        pull = np.std((difference / found.standard_error[name])[strong])
        print(f"    {name:<16} median |error| {np.median(np.abs(difference)):<10.3g} pulls above 500 G {pull:.3f}")
    for line in PEERS[case]:
        print(f"  {line}")


def slit(folder: Path) -> None:
    path = folder / "spectra/hinode/SP4D20070227_002010.0C.fits"
    if not path.exists():
        print(f"no real slit: {path} is absent (set JAXINV_REFERENCE_DATA)")
        return
    cube = ji.io.read_stokes(path)
    config = InvertConfig(sigma=(5e-3, 1e-3, 1e-3, 1e-3))
    maps = ji.invert(cube, config, progress=False)
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        maps = ji.invert(cube, config, progress=False)
        times.append(time.perf_counter() - begin)
    print(f"a real Hinode slit, {cube.n_pixels} pixels, reading and preparation included")
    print(f"  {np.median(times) / cube.n_pixels * 1e6:.0f} us per pixel, median chi2 {np.median(maps.chi2):.3f}")
    print(f"  {maps.solution.iterations.mean():.1f} evaluations and {maps.solution.starts.mean():.2f} starts per pixel")
    print("  pyMilne, 10 starts: 12900 us, median chi2 2.18")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=4096, help="simulated pixels")
    n = parser.parse_args().n
    print(header())
    for case in CASES:
        synthetic(case, n)
    default = Path(__file__).parents[2] / "shared" / "data"
    slit(Path(os.environ.get("JAXINV_REFERENCE_DATA") or default))


if __name__ == "__main__":
    main()
