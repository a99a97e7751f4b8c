"""`jaxinv invert`: from Stokes spectra on disk to maps on disk."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from jaxinv.cli.inputs import Config, FileOptions, Observation, inputs_of, pipeline_part
from jaxinv.cli.job import AS_USUAL, Job, Running, products, status_line
from jaxinv.cli.observed import observe
from jaxinv.cli.options import with_options
from jaxinv.cli.outputs import NoQuicklook, Quicklook, check_outputs, picture_of
from jaxinv.pipelines.config import InvertConfig
from jaxinv.pipelines.options import OptionError, Text, option, options

_TO_KEEP = 300
"""Steps by which a network that is kept is adapted, if nobody says."""


@options
class InvertOptions(InvertConfig, FileOptions):
    """What the command takes: the pipeline's options, and files."""

    network: Text | None = option(
        None,
        "folder that `jaxinv train` wrote; default: the shipped one for the observation's lines and wavelengths",
        "method",
    )
    atmosphere_file: Text | None = option(
        None, "lte: model of SIR (.mod) that the temperature is inferred relative to, in place of `atmosphere`", "model"
    )
    sir_lines: Text | None = option(None, "SIR's table of lines (LINEAS), for an observation OBS.per", "model")
    sir_grid: Text | None = option(
        None, "SIR's grid (.grid), for the blends of an observation OBS.per; default: one line for each number", "model"
    )
    keep_network: Text | None = option(
        None,
        "folder for the adapted network, for the next map of the instrument (300 steps if `adapt` is not given)",
        "method",
    )

    @property
    def pipeline(self) -> InvertConfig:
        """The part that the pipeline takes."""
        return pipeline_part(self, InvertConfig)


@with_options(InvertOptions)
def invert(
    observation: Observation,
    /,
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"], help="where the maps go: OUT.fits or OUT.zarr")],
    config: Config = None,
    quicklook: Quicklook = None,
    no_quicklook: NoQuicklook = False,
    running: Running = AS_USUAL,
    options: InvertOptions,
) -> int:
    """Invert Stokes spectra: a Milne-Eddington atmosphere, or one with depth.

    The observation is a FITS cube whose header names a STOKES axis and a wavelength axis (WAVE or AWAV; --axes and
    --wavelengths say what it does not), a Hinode/SP level-1 slit, a folder of such slits, SPINOR's profiles, or SIR's
    (.per). The result has an image for each parameter and its standard error, the misfit, the status of each pixel,
    and a quick look as PNG. An interrupted run is resumed by the same command.

        jaxinv invert cube.fits -o maps.fits
        jaxinv invert hinode_folder/ -o maps.fits --sigma 5e-3 1e-3 1e-3 1e-3
        jaxinv invert cube.fits -o maps.fits --config options.yaml --psf-fwhm 0.025
        jaxinv invert cube.fits -o maps.fits --model lte --nodes temperature=2:5 velocity=1:2
    """
    picture = picture_of(output, quicklook, no_quicklook)
    check_outputs(output, picture, inputs=inputs_of(observation, config, options), zarr=True)
    invert_into(output, picture, observation, options, running, config)
    return 0


def one_device_for_each_core() -> None:
    """Has JAX see a CPU's cores one by one, for pixels that one core each is quicker with than all together."""
    import contextlib
    import os

    import jax

    with contextlib.suppress(RuntimeError):  # something has computed already
        jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)


def invert_into(
    output: Path,
    picture: Path | None,
    observation: Sequence[str],
    options: InvertOptions,
    running: Running,
    repeated: str | None = None,
) -> Any:
    """What the command does once its words are understood; returns the maps, or `None` if they were there already."""
    from jaxinv.pipelines import load_network, plan_inversion
    from jaxinv.results.solution import Route

    if options.method != "learned":
        given = [name for name in ("network", "adapt", "keep_network") if getattr(options, name) is not None]
        if given:
            raise OptionError(f"the option {given[0]!r} goes with the method learned; found {options.method}")
    network = None if options.network is None else load_network(options.network)
    if options.model != "lte" and options.atmosphere_file is not None:
        raise OptionError(f"the option 'atmosphere_file' goes with the model lte; found {options.model}")
    if options.model == "lte":
        one_device_for_each_core()
    seen = observe(observation, options, repeated, [output, picture])
    config, kept, say = seen.changed(options.pipeline), options.keep_network, running.say
    if kept is not None and config.adapt is None:
        config = dataclasses.replace(config, adapt=_TO_KEEP)
    job = Job(output, seen.depends(), running, picture=picture)

    def plan() -> Any:
        job.check(None if kept is None else Path(kept))
        ready = seen.prepare(config, say)
        run = plan_inversion(ready, network, progress=not running.quiet)
        if run.learned is not None:
            gained = f", adapted by {run.learned.adapted}" if run.learned.adapted else ""
            say(f"network     {Path(run.learned.path).name}{gained}")
        return run

    def keep(run: Any) -> None:
        if kept is not None:
            run.learned.save(kept)
            say(f"kept        {kept}")

    def summary(maps: Any) -> Iterator[str]:
        import numpy as np

        yield status_line(maps)
        if maps.route is not None:
            ways = {route.name.lower(): int(np.sum(maps.route == route)) for route in Route}
            yield f"route       {', '.join(f'{n} {name}' for name, n in ways.items())}"
        usable = maps.chi2[np.isfinite(maps.chi2)]
        yield f"misfit      {np.median(usable) if usable.size else np.nan:.3f} per sample (median)"

    return job.do(plan, products(), origin=seen.origin, summary=summary, beside=keep)
