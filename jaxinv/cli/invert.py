"""`jaxinv invert`: from Stokes spectra on disk to maps on disk."""

from __future__ import annotations

import dataclasses
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
from jaxinv.cli.job import AS_USUAL, Job, Running, Say
from jaxinv.cli.options import COMMAND_LINE, with_options
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
from jaxinv.pipelines.config import InvertConfig
from jaxinv.pipelines.options import Text, option, options

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
    """Invert Stokes spectra with a Milne-Eddington atmosphere.

    The observation is a FITS cube whose header names a STOKES axis and a wavelength axis (WAVE or AWAV; --axes and
    --wavelengths say what it does not), a Hinode/SP level-1 slit, a folder of such slits, or SPINOR's profiles. The
    result has an image for each parameter and its standard error, the misfit, the status of each pixel, and a quick
    look as PNG. An interrupted run is resumed by the same command.

        jaxinv invert cube.fits -o maps.fits
        jaxinv invert hinode_folder/ -o maps.fits --sigma 5e-3 1e-3 1e-3 1e-3
        jaxinv invert cube.fits -o maps.fits --config options.yaml --psf-fwhm 0.025
    """
    picture = picture_of(output, quicklook, no_quicklook)
    check_outputs(output, picture, inputs=inputs_of(observation, config, options), zarr=True)
    cube = read_observation(observation, options)
    invert_cube(cube, options, output, picture, repeated=config, **running.how())
    return 0


def invert_cube(
    cube: Any,
    options: InvertOptions,
    output: Path,
    picture: Path | None,
    *,
    repeated: str | None = None,
    overwrite: bool = False,
    say: Say = print,
    **how: Any,
) -> Any:
    """Invert a cube that is already open, resuming what an earlier run left; returns the maps."""
    import numpy as np

    from jaxinv import io, plot
    from jaxinv.pipelines import load_network, plan_inversion, prepare
    from jaxinv.results.solution import Route

    keep_inputs([output, picture], cube.source)  # the files of a folder, too
    psf, offset = read_instrument(options, repeated)
    config = options.pipeline
    network = None
    if config.method == "learned":
        network = None if options.network is None else load_network(options.network)
        if options.keep_network is not None and Path(options.keep_network).exists() and not overwrite:
            raise io.OutputError(f"{options.keep_network} exists: choose another name, or give --overwrite")
        if options.keep_network is not None and config.adapt is None:
            config = dataclasses.replace(config, adapt=_TO_KEEP)
    elif given := [n for n in ("network", "adapt", "keep_network") if getattr(options, n) is not None]:
        raise ValueError(f"the option {given[0]!r} goes with the method learned; found lm")
    digest = sha256([*cube.source])
    depends = fingerprint_of(options, digest, psf, offset, cube.wavelength)
    job = Job(output, depends, overwrite=overwrite, say=say, **how)
    if job.is_finished():
        maps = io.read_product(output)
        if picture is not None and not picture.exists():
            save_picture(lambda: plot.quicklook(maps), picture)
        return maps
    job.begin(picture)
    ready = prepare(cube, config, psf=psf, wavelength_offset=offset)
    describe(ready, cube, say)
    begin, shown = time.perf_counter(), say is print
    run = plan_inversion(ready, network, progress=shown)
    if run.learned is not None:
        gained = f", adapted by {run.learned.adapted}" if run.learned.adapted else ""
        say(f"network     {Path(run.learned.path).name}{gained}")
    maps = job.carry_out(run, progress=shown)
    seconds, n_pixels = time.perf_counter() - begin, ready.cube.n_pixels
    maps = job.publish(maps, **origin_of(COMMAND_LINE.get(), cube, digest, options))
    written = [str(output)]
    if picture is not None and save_picture(lambda: plot.quicklook(maps), picture):
        written.append(str(picture))
    count = {name.replace("_", " "): n for name, n in maps.count().items() if n}
    say(f"status      {', '.join(f'{n} {name}' for name, n in count.items())}")
    if maps.route is not None:
        ways = {route.name.lower(): int(np.sum(maps.route == route)) for route in Route}
        say(f"route       {', '.join(f'{n} {name}' for name, n in ways.items())}")
    if run.learned is not None and options.keep_network is not None:
        run.learned.save(options.keep_network)
        written.append(options.keep_network)
    usable = maps.chi2[np.isfinite(maps.chi2)]
    say(f"misfit      {np.median(usable) if usable.size else np.nan:.3f} per sample (median)")
    say(f"time        {seconds:.1f} s, {1e3 * seconds / max(n_pixels, 1):.2f} ms per pixel, compilation included")
    say(f"wrote       {' and '.join(written)}")
    job.finish()
    return maps


def describe(ready: Any, cube: Any, say: Any) -> None:
    """What was found in the observation and decided for it."""
    ny, nx = ready.cube.map_shape
    wavelength = ready.wavelength
    say(f"{ny} x {nx} pixels, {len(wavelength)} wavelengths from {wavelength[0]:.3f} to {wavelength[-1]:.3f} angstrom")
    say(f"lines       {', '.join(line.name for line in ready.lines)}")
    say(f"continuum   {ready.measured.continuum:.6g} {cube.unit}".rstrip())
    say(f"sigma       {' '.join(f'{x:.2g}' for x in ready.sigma)} of the continuum in I, Q, U, V")
    weak, all_ = ready.measured.weak
    say(f"wavelengths shifted by {1000 * ready.shift:.1f} mA ({weak} weakly polarized pixels of {all_} looked at)")
