"""`jaxinv train`: a network for an instrument, from a configuration alone."""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path

from jaxinv.cli.inputs import read_observation
from jaxinv.cli.options import add_options, gather
from jaxinv.cli.outputs import sha256
from jaxinv.pipelines.config import TrainConfig

NAME = "train"
SUMMARY = "train a network that answers for an instrument"
NEEDS_JAX = True
DESCRIPTION = """\
Train a network for the lines, wavelengths and noise of a configuration, on spectra that are simulated as
it learns, and on an observation's if there is one. The result is a folder: weights, settings, and a card
that says how it was trained and how good it is on fresh spectra. An interrupted training is gone on with
by the same command, with the same result.

  jaxinv train config.yaml -o my_network
  jaxinv invert cube.fits -o maps.fits --method learned --network my_network
"""
USAGE = "CONFIG.yaml -o FOLDER [options]"

GROUPS = {
    "what": ("method", "network", "training", "loop", "loop_training", "n_report", "seed"),
    "instrument": ("lines", "wavelength", "wavelength_offset", "psf_fwhm", "sigma", "noise_range"),
    "model": ("fixed", "bounds", "drawn", "drawn_log", "mu", "macroturbulence", "relative_strengths",
              "effective_triplet"),
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("config", metavar="CONFIG.yaml", help="options by name; a flag on the command line wins")
    parser.add_argument("-o", "--output", required=True, metavar="FOLDER", help="where the network goes")
    parser.add_argument("--observation", nargs="+", metavar="OBS", help="real spectra to learn from, too")
    add_options(parser, TrainConfig, GROUPS)
    group = parser.add_argument_group("output")
    group.add_argument("--overwrite", action="store_true", help="replace a network that exists")
    group.add_argument("--restart", action="store_true", help="discard an unfinished training instead of resuming it")
    group.add_argument("--quiet", action="store_true", help="no progress bar, no summary")


def run(arguments: argparse.Namespace, command_line: str) -> int:
    """Read, train, write."""
    from jaxinv import __version__, io
    from jaxinv.pipelines import train_network
    from jaxinv.training import Checkpoints, TrainingError

    config = gather(TrainConfig, arguments, arguments.config)
    output = Path(arguments.output)
    say = (lambda *_: None) if arguments.quiet else print
    if output.exists() and not arguments.overwrite:
        raise io.OutputError(f"{output} exists: choose another name, or give --overwrite")
    cube = None
    if arguments.observation:
        cube = read_observation(arguments.observation)
    partial = output.with_name(output.name + ".partial")
    if arguments.restart:
        shutil.rmtree(partial, ignore_errors=True)
    digest = sha256([*cube.source]) if cube is not None else ""
    keeper = Checkpoints(partial, {"options": repr(config), "observation": digest, "version": __version__})
    begin = time.perf_counter()
    try:
        trained = train_network(config, observation=cube, keeper=keeper, progress=say is print)
    except KeyboardInterrupt:
        kept = f": the last checkpoint is kept in {partial}; the same command goes on from there"
        raise KeyboardInterrupt(kept) from None
    except TrainingError as error:
        raise ValueError(str(error)) from None
    finally:
        keeper.close()
    trained = trained._replace(card={**trained.card, "command": command_line})
    trained.save(output)
    log = output / "log"
    shutil.rmtree(log, ignore_errors=True)
    for part in sorted(partial.glob("*/log")):
        shutil.copytree(part, log / part.parent.name)
    shutil.rmtree(partial, ignore_errors=True)
    for name, value in (trained.card.get("report") or {}).items():
        say(f"{name.replace('_', ' '):<40}{value:g}")
    if hasattr(trained.network, "report"):
        say(str(trained.network.report))
    say(f"time        {time.perf_counter() - begin:.0f} s")
    say(f"wrote       {output} (its log is for TensorBoard)")
    return 0
