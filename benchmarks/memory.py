"""Peak memory of a large map processed from disk. `python benchmarks/memory.py [--size 1024] [--folder FOLDER]`.

Writes a FITS cube of size x size x 4 x 112 float32 (1.9 GB for 1024), inverts it with one start in a process of its
own, and prints that process' peak memory, pages of the mapped file included.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from astropy.io import fits
from common import header

from jaxinv.pipelines import simulate_observation, sunspot_parameters


def write(path: Path, size: int) -> None:
    """A map of tiles of one simulated spot, row by row."""
    tile = simulate_observation(sunspot_parameters((64, 64), seed=1)).values
    head = fits.Header(
        {"SIMPLE": True, "BITPIX": -32, "NAXIS": 4, "NAXIS1": 112, "NAXIS2": 4, "NAXIS3": size, "NAXIS4": size}
        | {"CTYPE1": "AWAV", "CUNIT1": "Angstrom", "CRPIX1": 1.0, "CRVAL1": 6300.8921, "CDELT1": 0.0214}
        | {"CTYPE2": "STOKES", "CRPIX2": 1.0, "CRVAL2": 1.0, "CDELT2": 1.0}
    )
    stream = fits.StreamingHDU(str(path), head)
    for row in range(size):
        strip = np.tile(tile[row % 64], (-(-size // 64), 1, 1))[:size]
        stream.write(strip.astype(">f4"))
    stream.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--folder", default=None, help="where the cube goes for the time being")
    arguments = parser.parse_args()
    print(header())
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        path = Path(name) / "cube.fits"
        write(path, arguments.size)
        command = [sys.executable, "-m", "jaxinv", "invert", str(path), "-o", str(path.with_name("maps.fits"))]
        begin = time.perf_counter()
        subprocess.run([*command, "--starts", "1", "--quiet"], check=True)
        seconds = time.perf_counter() - begin
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024**2
        print(f"{arguments.size} x {arguments.size} x 4 x 112, {path.stat().st_size / 1e9:.2f} GB on disk:")
        rate = 1e6 * seconds / arguments.size**2
        print(f"  peak memory {peak:.2f} GiB (goal: below 4 GB)")
        print(f"  {seconds:.0f} s, {rate:.0f} us per pixel with hashing, reading, writing and the picture")


if __name__ == "__main__":
    main()
