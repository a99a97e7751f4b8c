"""`jaxinv sample`: from Stokes spectra on disk to posteriors on disk."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from jaxinv.cli.inputs import (
    Config,
    FileOptions,
    Observation,
    inputs_of,
    pipeline_part,
    read_instrument,
    read_observation,
)
from jaxinv.cli.invert import describe
from jaxinv.cli.job import AS_USUAL, Job, Running, Say, is_zarr
from jaxinv.cli.options import COMMAND_LINE, GROUPS, with_options
from jaxinv.cli.outputs import (
    NoQuicklook,
    Quicklook,
    check_outputs,
    fingerprint_of,
    keep_inputs,
    origin_of,
    picture_of,
    save_picture,
    sha256,
)
from jaxinv.pipelines.config import SampleConfig
from jaxinv.pipelines.options import OptionError, options


@options
class SampleOptions(SampleConfig, FileOptions):
    """What the command takes: the pipeline's options, and files."""

    @property
    def pipeline(self) -> SampleConfig:
        """The part that the pipeline takes."""
        return pipeline_part(self, SampleConfig)


@with_options(SampleOptions)
def sample(
    observation: Observation,
    /,
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"], help="where the summaries go: OUT.fits or OUT.zarr")],
    config: Config = None,
    store: Annotated[
        Path | None, Parameter(help="keep the draws in this folder, DRAWS.zarr", group=GROUPS["output"])
    ] = None,
    quicklook: Quicklook = None,
    no_quicklook: NoQuicklook = False,
    running: Running = AS_USUAL,
    options: SampleOptions,
) -> int:
    """Draw from the posterior of every pixel with a Milne-Eddington atmosphere.

    It reads what `jaxinv invert` reads and takes its options. The result has, for each parameter, the median, the 16
    and 84 percent quantiles, R-hat and the effective sample size, and for each pixel divergences, a posterior
    predictive p-value and a status; as Zarr, or with --store, also the draws. An interrupted run is resumed by the
    same command.

        jaxinv sample cube.fits -o posterior.fits --region 10 30 40 60
        jaxinv sample cube.fits -o posterior.fits --method hmc --store draws.zarr --thin 10
    """
    picture, say = picture_of(output, quicklook, no_quicklook), running.say
    from jaxinv import io, plot
    from jaxinv.pipelines import PosteriorRun, prepare

    inputs = inputs_of(observation, config, options)
    if store is not None and is_zarr(output):
        raise OptionError(f"{output} holds the draws itself: leave --store out")
    check_outputs(output, picture, inputs=inputs, zarr=True)
    keep_inputs([store, output, picture], inputs)
    cube = read_observation(observation, options)
    keep_inputs([output, picture], cube.source)  # the files of a folder, too
    psf, offset = read_instrument(options, config)
    digest, draws = sha256([*cube.source]), store is not None or is_zarr(output)
    depends = fingerprint_of(options, digest, psf, offset, cube.wavelength, draws="kept" if draws else "")
    job = Job(output, depends, kept=store, **running.how())
    if job.is_finished():
        if picture is not None and not picture.exists():
            save_picture(lambda: plot.quicklook(io.read_product(output)), picture)
        return 0
    job.begin(picture)
    ready = prepare(cube, options.pipeline, psf=psf, wavelength_offset=offset)
    describe(ready, cube, say)
    begin = time.perf_counter()
    maps = job.carry_out(PosteriorRun(ready, keep_draws=draws), progress=not running.quiet)
    seconds = time.perf_counter() - begin
    maps = job.publish(maps, **origin_of(COMMAND_LINE.get(), cube, digest, options))
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
