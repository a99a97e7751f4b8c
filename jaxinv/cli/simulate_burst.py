"""`jaxinv simulate-burst`: short exposures through the atmosphere and a telescope, with their truth."""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path

from jaxinv.cli.job import Job, add_running, running, silent
from jaxinv.cli.options import add_options, gather
from jaxinv.cli.outputs import check_outputs, save_picture, sha256
from jaxinv.pipelines.config import SimulateBurstConfig

NAME = "simulate-burst"
SUMMARY = "short exposures through turbulence and a telescope, with the true wavefronts, PSFs and object"
NEEDS_JAX = True
DESCRIPTION = """\
Simulate a burst of short exposures as a telescope records them through the turbulent atmosphere: of an image,
of a list of stars, or of a texture like granulation. The file holds the frames, and in extensions what made
them: OBJECT or STARS, PSF, PHASE, PUPIL, WAVEFRONT, MODES.

  jaxinv simulate-burst -o burst.fits --telescope SST --wavelength "6173 angstrom" --r0 "10 cm"
  jaxinv simulate-burst -o burst.fits --object image.fits --object-scale 0.02 --d-over-r0 8 --frames 100
  jaxinv simulate-burst -o stars.fits --stars stars.txt --telescope NOT --wavelength 8000 --pixel-scale 0.03 \\
         --photons 1e5 --read-noise 1 --interval 0.03 --layers 0:0.7:10:0 6000:0.3:20:5
"""
USAGE = "-o BURST.fits [options]"

GROUPS = {
    "telescope": ("telescope", "diameter", "obscuration", "wavelength", "defocus"),
    "camera": (
        "pixel_scale",
        "n_pixels",
        "jitter",
        "integrate",
        "noise",
        "photons",
        "read_noise",
        "dark",
        "saturation",
    ),
    "turbulence": ("r0", "d_over_r0", "outer_scale", "layers", "corrected", "left"),
    "exposures": ("frames", "interval", "exposure", "psf_pixels", "nodes", "object_scale"),
    "truth": ("modes", "basis", "seed"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("-o", "--output", required=True, metavar="BURST.fits", help="where the burst goes")
    parser.add_argument("--object", metavar="IMAGE.fits", help="what is seen; default: a texture like granulation")
    parser.add_argument("--stars", metavar="FILE", help="stars in its place: columns x, y [arcsec], flux")
    parser.add_argument("--flat", metavar="FLAT.fits", help="relative sensitivity of the camera's pixels, with photons")
    parser.add_argument("--config", metavar="FILE.yaml", help="options by name; a flag on the command line wins")
    add_options(parser, SimulateBurstConfig, GROUPS)
    group = parser.add_argument_group("output")
    group.add_argument("--plot", metavar="FILE.png", help="draw the burst and its truth")
    add_running(parser)


def run(arguments: argparse.Namespace, command_line: str) -> int:
    """Read what is seen, simulate, write."""
    config = gather(SimulateBurstConfig, arguments, arguments.config)
    from jaxinv import __version__, io, plot
    from jaxinv.pipelines.burst import BurstRun, plan_burst

    output = Path(arguments.output)
    picture = None if arguments.plot is None else Path(arguments.plot)
    sources = [path for path in (arguments.object, arguments.stars, arguments.flat) if path is not None]
    check_outputs(output, picture, inputs=[*sources, arguments.config])
    scene = None if arguments.object is None else io.read_map(arguments.object, stale_sums=True)
    stars = None if arguments.stars is None else io.read_stars(arguments.stars)
    flat = None if arguments.flat is None else io.read_map(arguments.flat)
    kinds = [name for name in ("object", "stars", "flat") if getattr(arguments, name) is not None]
    digest = sha256(sources)
    depends = {"input": digest, "kinds": " ".join(kinds), "options": repr(config), "version": __version__}
    say = silent if arguments.quiet else print
    job = Job(output, depends, **running(arguments))
    if job.is_finished():
        return 0
    plan = plan_burst(config, scene=scene, stars=stars, flat=flat)
    job.begin(picture)
    describe(plan, say)
    begin = time.perf_counter()
    burst = job.carry_out(BurstRun(plan), "frames", progress=say is print)
    provenance = {
        "version": __version__,
        "command": command_line,
        "run": job.identity,
        **{name: str(value) for name, value in dataclasses.asdict(config).items()},
        **({"files": ", ".join(sources), "input": digest} if sources else {}),
        "turbulence": f"r0 {plan.atmosphere.r0:.6g} m at {plan.model.wavelength:g} angstrom",
        "telescope": plan.model.pupil.telescope.source or f"{plan.model.pupil.telescope.diameter:g} m",
    }
    io.write_burst(output, burst, provenance, overwrite=arguments.overwrite)
    written = [str(output)]
    if picture is not None and save_picture(lambda: plot.burst(burst), picture):
        written.append(str(picture))
    job.finish()
    if "saturated" in burst.truth:
        say(f"saturated   {int(burst.truth['saturated'].sum())} pixels are full (SATURATED says which)")
    say(f"time        {time.perf_counter() - begin:.1f} s, compilation included")
    say(f"wrote       {' and '.join(written)}")
    return 0


def describe(plan, say) -> None:
    """What will be simulated."""
    model, air, config = plan.model, plan.atmosphere, plan.config
    telescope = model.pupil.telescope
    obscured = f", {telescope.obscuration:g} m obscured" if telescope.obscuration else ""
    say(f"telescope   {telescope.name or 'given'}: {telescope.diameter:g} m{obscured}; {model.wavelength:g} angstrom")
    ratio, n = telescope.diameter / air.r0, config.n_pixels
    layers = f"{len(air.layers)} layer{'s' * (len(air.layers) > 1)}"
    say(f"turbulence  r0 = {air.r0:.3g} m, D/r0 = {ratio:.3g}, outer scale {air.outer_scale:g} m, {layers}")
    if "object" in plan.scene:
        ny, nx = plan.scene["object"].shape
        what = f"an object of {ny} x {nx} pixels"
    else:
        what = f"{len(plan.scene['fluxes'])} stars"
    psf = f"PSFs of {model.n_pixels} x {model.n_pixels}"
    say(f"frames      {config.frames} of {n} x {n} pixels of {model.pixel_scale:g} arcsec: {what}, {psf}")
