"""Killed at any moment that touches a file: the same command finishes, with the same arrays, and leaves nothing behind.

`JAXINV_KILLS=20 pytest tests/cli/test_kills.py` kills each command so often; by default it is once, and only the two
quickest commands: all go the same way from a plan to files.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from jaxinv import io
from jaxinv.pipelines import simulate_observation, sunspot_parameters

KILLED = """
import os, sys
where, left = sys.argv[1], int(sys.argv[2])
count = 0

def hook(event, arguments):
    global count
    if event in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"):
        path = str(arguments[0])
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            return
        if path.startswith(where) or not path.startswith("/"):
            count += 1
            if count == left:
                os._exit(137)

sys.argv = ["jaxinv", *sys.argv[3:]]
from jaxinv.cli import main
if left:
    sys.addaudithook(hook)
status = main()
print("events", count, file=sys.stderr)
sys.exit(status)
"""

STOKES = ["--chunk-size", "32", "--lines", "Fe I 6302.5", "--effective-triplet", "--sigma", "1e-3", "--starts", "1"]
COMMANDS = {
    "invert": ["invert", "cube.fits", "-o", "out.fits", *STOKES],
    "sample": ["sample", "cube.fits", "-o", "out.fits", *STOKES, "--method", "laplace", "--draws", "25",
               "--store", "draws.zarr"],
    "simulate-burst": ["simulate-burst", "-o", "out.fits", "--telescope", "NOT", "--wavelength", "8000",
                       "--pixel-scale", "0.03", "--n-pixels", "64", "--psf-pixels", "64", "--frames", "4",
                       "--modes", "9"],
    "synthesize": ["synthesize", "-o", "out.fits", "--plot", "out.png", "--parameters", "field_strength=1500"],
}  # fmt: skip
KILLS = int(os.environ.get("JAXINV_KILLS", "0"))


def run(folder: Path, left: int, arguments: list[str]) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder), str(left), *arguments],
        cwd=folder, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    return done.returncode, done.stderr


def arrays(folder: Path) -> dict[str, np.ndarray]:
    with fits.open(folder / "out.fits") as hdus:
        return {hdu.name: np.array(hdu.data) for hdu in hdus[:-1] if hdu.data is not None}


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS if KILLS else ("simulate-burst", "synthesize"))
def test_the_same_command_finishes_whenever_it_was_killed(tmp_path: Path, name: str) -> None:
    command = [*COMMANDS[name], "--quiet"]
    cube = simulate_observation(sunspot_parameters((8, 8), seed=2))
    whole = tmp_path / "whole"
    whole.mkdir()
    io.write_stokes(whole / "cube.fits", cube)
    status, said = run(whole, 10**9, command)
    assert status == 0, said
    events = int(said.split("events")[1])
    expected, files = arrays(whole), sorted(path.name for path in whole.iterdir())
    rng = np.random.default_rng(KILLS)
    for k in range(max(KILLS, 1)):
        folder = tmp_path / str(k)
        folder.mkdir()
        io.write_stokes(folder / "cube.fits", cube)
        left = int(rng.integers(1, events + 1))
        assert run(folder, left, command)[0] in (137, 0), (left, events)  # 0: this run touched fewer files
        status, said = run(folder, 0, command)
        assert status == 0, (left, events, said)
        assert sorted(path.name for path in folder.iterdir()) == files, (left, events)
        for extension, values in arrays(folder).items():
            np.testing.assert_array_equal(values, expected[extension], err_msg=f"{extension} {left} of {events}")
