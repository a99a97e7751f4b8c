"""`jaxinv calibrate`: do the intervals of a sampler hold the truth as often as they say?"""

from __future__ import annotations

import argparse
from pathlib import Path

from jaxinv.cli.inputs import add_observation, inputs_of, read_instrument, read_observation
from jaxinv.cli.invert import describe
from jaxinv.cli.job import Job, add_running, running, silent
from jaxinv.cli.options import add_options, gather
from jaxinv.cli.outputs import check_pictures, fingerprint_of, keep_inputs, sha256
from jaxinv.cli.sample import GROUPS, SampleOptions
from jaxinv.pipelines.options import OptionError

NAME = "calibrate"
SUMMARY = "simulation-based calibration of a sampler on the problem of an observation"
NEEDS_JAX = True
DESCRIPTION = """\
Simulate pixels with the lines, wavelengths and noise of an observation and parameters from the prior, sample the
posterior of each, and count how often it holds the truth. The population is the prior: narrow it with --bounds.

  jaxinv calibrate cube.fits -o calibration.png -n 300
  jaxinv calibrate cube.fits -o calibration.png --method laplace --bounds field_strength=0:3000 velocity=-3:3
"""

USAGE = "OBS [OBS ...] -o OUT.png [options]"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    add_observation(parser)
    parser.add_argument("-o", "--output", required=True, metavar="OUT.png", help="where the picture goes")
    parser.add_argument("-n", "--number", type=int, default=300, help="simulated pixels (default: 300)")
    add_options(parser, SampleOptions, GROUPS)
    add_running(parser)


def run(arguments: argparse.Namespace, command_line: str) -> int:
    """Read, simulate, sample, report."""
    options = gather(SampleOptions, arguments, arguments.config)
    output = Path(arguments.output)
    from jaxinv import plot
    from jaxinv.pipelines import plan_calibration, prepare

    check_pictures(output)
    keep_inputs([output], inputs_of(arguments, options))
    if options.cavity_map is not None:
        raise OptionError("calibrate simulates pixels that are not shifted: leave 'cavity_map' out")
    cube = read_observation(arguments.observation, options)
    keep_inputs([output], cube.source)
    psf, _ = read_instrument(options, arguments.config)
    depends = fingerprint_of(options, sha256([*cube.source]), psf, cube.wavelength, number=str(arguments.number))
    say = silent if arguments.quiet else print
    job = Job(output, depends, **running(arguments))
    job.begin(output)
    ready = prepare(cube, options.pipeline, psf=psf)
    describe(ready, cube, say)
    run = plan_calibration(ready, arguments.number)
    report = job.carry_out(run, "simulated pixels", progress=not arguments.quiet)
    plot.save(plot.calibration(report), output)
    print(report.table())
    print(f"wrote       {output}")
    job.finish()
    return 0
