"""A map by one process and by Dask workers. `python benchmarks/runs.py [--size 320] [--workers 2] [--folder FOLDER]`.

Writes a cube of size x size x 4 x 112 (102400 pixels for 320), inverts it by the command line in one process and by
workers, and prints the times, start and compilation included, and how far the two results are apart.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from common import header
from memory import write

import jaxinv as ji


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", default=None, help="where the cube goes for the time being")
    arguments = parser.parse_args()
    print(header())
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        cube = Path(name) / "cube.fits"
        write(cube, arguments.size)
        found = []
        for k, flags in enumerate(([], ["--workers", str(arguments.workers)])):
            maps = cube.with_name(f"maps{k}.fits")
            command = [
                sys.executable,
                "-m",
                "jaxinv",
                "invert",
                str(cube),
                "-o",
                str(maps),
                "--quiet",
                "--no-quicklook",
            ]
            begin = time.perf_counter()
            subprocess.run([*command, *flags], check=True)
            seconds = time.perf_counter() - begin
            what = f"{arguments.workers} workers" if flags else "one process"
            print(f"  {what:<12} {seconds:6.1f} s, {1e6 * seconds / arguments.size**2:.0f} us per pixel")
            found.append(ji.open(maps))
        one, other = found
        print(f"  status of {100 * np.mean(one.status == other.status):.2f} % of the pixels is the same")
        for parameter, values in one.parameters.items():
            apart = np.abs(values - other.parameters[parameter]) / one.standard_error[parameter]
            apart = apart[np.isfinite(apart)]
            print(f"  {parameter:<18} apart by {np.percentile(apart, 99.9):.1e} standard errors (99.9 % of the pixels)")


if __name__ == "__main__":
    main()
