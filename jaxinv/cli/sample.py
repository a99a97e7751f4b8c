"""`jaxinv sample`: from Stokes spectra on disk to posteriors on disk."""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path
from typing import Any

from jaxinv.cli.inputs import (
    FileOptions,
    add_observation,
    inputs_of,
    pipeline_part,
    read_instrument,
    read_observation,
)
from jaxinv.cli.invert import GROUPS as INVERT_GROUPS
from jaxinv.cli.invert import describe
from jaxinv.cli.job import Job, Say, add_running, is_zarr, running, silent
from jaxinv.cli.options import add_options, gather
from jaxinv.cli.outputs import check_outputs, fingerprint_of, keep_inputs, origin_of, save_picture, sha256
from jaxinv.pipelines.config import SampleConfig
from jaxinv.pipelines.options import OptionError

NAME = "sample"
SUMMARY = "posteriors of field, velocity and line parameters of every pixel"
NEEDS_JAX = True
DESCRIPTION = """\
Draw from the posterior of every pixel with a Milne-Eddington atmosphere. It reads what `jaxinv invert` reads and
takes its options. The result has, for each parameter, the median, the 16 and 84 percent quantiles, R-hat and the
effective sample size, and for each pixel divergences, a posterior predictive p-value and a status; with --store also
the draws, as Zarr. An interrupted run is resumed by the same command.

  jaxinv sample cube.fits -o posterior.fits --region 10 30 40 60
  jaxinv sample cube.fits -o posterior.fits --method hmc --store draws.zarr --thin 10
"""

GROUPS = {
    **{heading: names for heading, names in INVERT_GROUPS.items() if heading != "method"},
    "sampler": ("method", "chains", "warmup", "draws", "target_accept", "max_doublings", "thin", "memory"),
}


USAGE = "OBS [OBS ...] -o OUT.fits [options]"


@dataclasses.dataclass(frozen=True)
class SampleOptions(SampleConfig, FileOptions):
    """What the command takes: the pipeline's options, and files."""

    @property
    def pipeline(self) -> SampleConfig:
        """The part that the pipeline takes."""
        return pipeline_part(self, SampleConfig)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    add_observation(parser)
    parser.add_argument("-o", "--output", required=True, metavar="OUT.fits", help="where the summaries go")
    add_options(parser, SampleOptions, GROUPS)
    group = parser.add_argument_group("output")
    group.add_argument("--store", metavar="DRAWS.zarr", help="keep the draws in this folder")
    group.add_argument("--quicklook", metavar="FILE.png", help="where the picture goes (default: OUT.png)")
    group.add_argument("--no-quicklook", action="store_true", help="make no picture")
    add_running(parser)


def run(arguments: argparse.Namespace, command_line: str) -> int:
    """Read, sample, write; everything that can be refused is refused before the long work."""
    options = gather(SampleOptions, arguments, arguments.config)
    output = Path(arguments.output)
    picture = None if arguments.no_quicklook else Path(arguments.quicklook or output.with_suffix(".png"))
    say = silent if arguments.quiet else print
    from jaxinv import io, plot
    from jaxinv.pipelines import PosteriorRun, prepare

    store = None if arguments.store is None else Path(arguments.store)
    inputs = inputs_of(arguments, options)
    if store is not None and is_zarr(output):
        raise OptionError(f"{output} holds the draws itself: leave --store out")
    check_outputs(output, picture, inputs=inputs, zarr=True)
    keep_inputs([store, output, picture], inputs)
    cube = read_observation(arguments.observation, options)
    keep_inputs([output, picture], cube.source)  # the files of a folder, too
    psf, offset = read_instrument(options, arguments.config)
    digest, draws = sha256([*cube.source]), store is not None or is_zarr(output)
    depends = fingerprint_of(options, digest, psf, offset, cube.wavelength, draws="kept" if draws else "")
    job = Job(output, depends, kept=store, **running(arguments))
    if job.is_finished():
        if picture is not None and not picture.exists():
            save_picture(lambda: plot.quicklook(io.read_product(output)), picture)
        return 0
    job.begin(picture)
    ready = prepare(cube, options.pipeline, psf=psf, wavelength_offset=offset)
    describe(ready, cube, say)
    begin = time.perf_counter()
    maps = job.carry_out(PosteriorRun(ready, keep_draws=draws), progress=say is print)
    seconds = time.perf_counter() - begin
    maps = job.publish(maps, **origin_of(command_line, cube, digest, options))
    written = [str(output)]
    if picture is not None and save_picture(lambda: plot.quicklook(maps), picture):
        written.append(str(picture))
    if store is not None:
        written.append(str(store))
    _summarize(maps, seconds, say)
    say(f"wrote       {' and '.join(written)}")
    job.finish()
    return 0


def _summarize(maps: Any, seconds: float, say: Say) -> None:
    import numpy as np

    count = {name.replace("_", " "): n for name, n in maps.count().items() if n}
    say(f"status      {', '.join(f'{n} {name}' for name, n in count.items())}")
    if "divergences" in maps.scalars:
        worst = np.max(list(maps.r_hat.values()), axis=0)
        clean = np.mean((worst < 1.01) & (maps.scalars["divergences"] == 0))
        say(f"chains      {100 * clean:.1f} % of the pixels have R-hat < 1.01 and no divergence")
    least = np.min(list(maps.ess.values()), axis=0)
    finite = least[np.isfinite(least)]
    say(f"effective   {np.median(finite) if finite.size else np.nan:.0f} draws of the least certain parameter (median)")
    p_value = maps.scalars["p_value"]
    p_value = p_value[np.isfinite(p_value)]
    if p_value.size:
        low = 100 * np.mean(p_value < 0.01)
        say(f"misfit      p < 0.01 in {low:.1f} % of the pixels: there the noise or the model is not as stated")
    n = maps.status.size
    say(f"time        {seconds:.1f} s, {seconds / max(n, 1):.2f} s per pixel, compilation included")
