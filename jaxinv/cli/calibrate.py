"""`jaxinv calibrate`: do the intervals of a sampler hold the truth as often as they say?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from jaxinv.cli.inputs import Config, Observation, inputs_of
from jaxinv.cli.job import AS_USUAL, Job, Running
from jaxinv.cli.observed import observe
from jaxinv.cli.options import with_options
from jaxinv.cli.outputs import check_pictures, keep_inputs
from jaxinv.cli.sample import SampleOptions
from jaxinv.pipelines.options import OptionError


@with_options(SampleOptions)
def calibrate(
    observation: Observation,
    /,
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"], help="where the picture goes: OUT.png")],
    number: Annotated[int, Parameter(name=["--number", "-n"], help="simulated pixels")] = 300,
    config: Config = None,
    running: Running = AS_USUAL,
    options: SampleOptions,
) -> int:
    """Calibrate a sampler by simulations of the problem of an observation.

    Simulate pixels with the lines, wavelengths and noise of an observation and parameters from the prior, sample the
    posterior of each, and count how often it holds the truth. The population is the prior: narrow it with --bounds.

        jaxinv calibrate cube.fits -o calibration.png -n 300
        jaxinv calibrate cube.fits -o calibration.png --method laplace --bounds field_strength=0:3000 velocity=-3:3
    """
    from jaxinv import plot
    from jaxinv.pipelines import load_density, plan_calibration

    check_pictures(output)
    keep_inputs([output], inputs_of(observation, config, options))
    if options.cavity_map is not None:
        raise OptionError("calibrate simulates pixels that are not shifted: leave 'cavity_map' out")
    density = None if options.network is None else load_density(options.network)
    seen = observe(observation, options, config, [output])
    job = Job(output, seen.depends(number=str(number)), running)
    job.begin(output)
    run = plan_calibration(seen.prepare(options.pipeline, running.say), number, density)
    report = job.carry_out(run, "simulated pixels")
    plot.save(plot.calibration(report), output)
    print(report.table())
    print(f"wrote       {output}")
    job.finish()
    return 0
