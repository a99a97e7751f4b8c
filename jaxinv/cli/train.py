"""`jaxinv train`: a network for an instrument, from a configuration alone."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from jaxinv.cli.job import AS_USUAL, Alone
from jaxinv.cli.observed import read_observation
from jaxinv.cli.options import COMMAND_LINE, with_options
from jaxinv.cli.outputs import sha256
from jaxinv.pipelines.config import TrainConfig


@with_options(TrainConfig)
def train(
    config: Annotated[str, Parameter(name="CONFIG", help="YAML of options by name; flags on the command line win")],
    /,
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"], help="the folder where the network goes")],
    observation: Annotated[
        list[str] | None, Parameter(help="real spectra to learn from, too", consume_multiple=True)
    ] = None,
    running: Alone = AS_USUAL,
    options: TrainConfig,
) -> int:
    """Train a network that answers for an instrument.

    Train it for the lines, wavelengths and noise of a configuration, on spectra that are simulated as it learns, and on
    an observation's if there is one. The result is a folder: weights, settings, and a card that says how it was trained
    and how good it is on fresh spectra. An interrupted training is gone on with by the same command, with the same
    result.

        jaxinv train config.yaml -o my_network
        jaxinv invert cube.fits -o maps.fits --method learned --network my_network
    """
    from jaxinv import __version__, io
    from jaxinv.pipelines import train_network
    from jaxinv.training import Checkpoints, TrainingError

    say = running.say
    if output.exists() and not running.overwrite:
        raise io.OutputError(f"{output} exists: choose another name, or give --overwrite")
    cube = None
    if observation:
        cube = read_observation(observation)
    partial = output.with_name(output.name + ".partial")
    if running.restart:
        shutil.rmtree(partial, ignore_errors=True)
    digest = sha256([*cube.source]) if cube is not None else ""
    keeper = Checkpoints(partial, {"options": repr(options), "observation": digest, "version": __version__})
    begin = time.perf_counter()
    try:
        trained = train_network(options, observation=cube, keeper=keeper, progress=not running.quiet)
    except KeyboardInterrupt:
        kept = f": the last checkpoint is kept in {partial}; the same command goes on from there"
        raise KeyboardInterrupt(kept) from None
    except TrainingError as error:
        raise ValueError(str(error)) from None
    finally:
        keeper.close()
    trained = trained._replace(card={**trained.card, "command": COMMAND_LINE.get()})
    trained.save(output)
    log = output / "log"
    shutil.rmtree(log, ignore_errors=True)
    for part in sorted(partial.glob("**/log")):
        shutil.copytree(part, log / part.parent.relative_to(partial))
    shutil.rmtree(partial, ignore_errors=True)
    for name, value in (trained.card.get("report") or {}).items():
        say(f"{name.replace('_', ' '):<40}{value:g}")
    if hasattr(trained.network, "report"):
        say(str(trained.network.report))
    say(f"time        {time.perf_counter() - begin:.0f} s")
    say(f"wrote       {output} (its log is for TensorBoard)")
    return 0
