"""`jaxinv synthesize`: Stokes spectra from parameters."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from jaxinv.cli.inputs import read_observation
from jaxinv.cli.job import Job, add_running, running
from jaxinv.cli.options import add_options, gather
from jaxinv.cli.outputs import check_outputs, sha256
from jaxinv.pipelines.config import SynthesizeConfig, option

NAME = "synthesize"
SUMMARY = "Stokes spectra from parameters, or from maps that `invert` wrote"
NEEDS_JAX = True
DESCRIPTION = """\
Compute Stokes spectra of a Milne-Eddington atmosphere: of one set of parameters, or of every pixel of maps
that `jaxinv invert` wrote. The units of --parameters: gauss, degrees, km/s, angstrom.

  jaxinv synthesize -o stokes.fits --plot stokes.png --parameters field_strength=1500 inclination=45
  jaxinv synthesize maps.fits -o stokes.fits --like cube.fits --noise 1e-3
"""
USAGE = "[MAPS.fits] -o OUT.fits [options]"

GROUPS = {
    "model": ("lines", "wavelength", "parameters", "mu", "relative_strengths", "effective_triplet"),
    "instrument": ("psf_fwhm", "psf_file", "noise", "seed"),
}

_TYPICAL = {
    "field_strength": 1000.0,
    "inclination": 0.7853981633974483,
    "azimuth": 0.5235987755982988,
    "velocity": 0.0,
    "doppler_width": 0.03,
    "line_strength": 15.0,
    "damping": 0.3,
    "source_constant": 0.3,
    "source_slope": 0.7,
}


@dataclasses.dataclass(frozen=True)
class SynthesizeOptions(SynthesizeConfig):
    """What the command takes beyond the pipeline: files."""

    psf_file: str | None = option(None, "table of the spectral profile: offset [milliangstrom], transmission")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("maps", nargs="?", metavar="MAPS.fits", help="maps of parameters; without them, one pixel")
    parser.add_argument("-o", "--output", required=True, metavar="OUT.fits", help="where the spectra go")
    parser.add_argument("--config", metavar="FILE.yaml", help="options by name; a flag on the command line wins")
    parser.add_argument("--like", metavar="OBS", help="take the wavelengths of this observation")
    add_options(parser, SynthesizeOptions, GROUPS)
    group = parser.add_argument_group("output")
    group.add_argument("--plot", metavar="FILE.png", help="draw the spectrum of the first pixel")
    add_running(parser)


def run(arguments: argparse.Namespace, command_line: str) -> int:
    """Read parameters, synthesize, write."""
    del command_line
    options = gather(SynthesizeOptions, arguments, arguments.config)
    from jaxinv import __version__, io, plot
    from jaxinv.pipelines import plan_synthesis

    output, picture = Path(arguments.output), None if arguments.plot is None else Path(arguments.plot)
    sources = [path for path in (arguments.maps, arguments.like, options.psf_file) if path is not None]
    check_outputs(output, picture, inputs=[*sources, arguments.config])
    given = [name for name in ("maps", "like") if getattr(arguments, name) is not None]
    depends = {"input": sha256(sources), "kinds": " ".join(given), "options": repr(options), "version": __version__}
    job = Job(output, depends, **running(arguments))
    io.check_writable(output, overwrite=arguments.overwrite)
    job.begin(picture)
    header, parameters = {}, dict(_TYPICAL)
    if arguments.maps is not None:
        maps = io.read_product(arguments.maps)
        header, parameters = maps.header, dict(maps.estimate)
    wavelength = None if arguments.like is None else read_observation([arguments.like]).wavelength
    psf = None if options.psf_file is None else io.read_spectral_psf(options.psf_file)
    run = plan_synthesis(parameters, options, wavelength=wavelength, psf=psf, header=header)
    cube = job.carry_out(run, progress=not arguments.quiet)
    io.write_stokes(output, cube, overwrite=arguments.overwrite)
    written = [str(output)]
    if picture is not None:
        plot.save(plot.profiles(cube.values[:1][0, :1], None, cube.wavelength), picture)
        written.append(str(picture))
    job.finish()
    if not arguments.quiet:
        ny, nx = cube.map_shape
        print(f"wrote {' and '.join(written)}: {ny} x {nx} pixels, {len(cube.wavelength)} wavelengths")
    return 0
