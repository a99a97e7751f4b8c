"""`jaxinv simulate-burst`: short exposures through the atmosphere and a telescope, with their truth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from jaxinv.cli.inputs import Config
from jaxinv.cli.job import AS_USUAL, Job, Kind, Running
from jaxinv.cli.options import GROUPS, with_options
from jaxinv.cli.outputs import check_outputs, fingerprint_of, origin_of, sha256
from jaxinv.pipelines.config import SimulateBurstConfig

File = str | None


@with_options(SimulateBurstConfig)
def simulate_burst(
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"], help="where the burst goes: BURST.fits")],
    object: Annotated[File, Parameter(help="image of what is seen; default: a texture like granulation")] = None,
    stars: Annotated[File, Parameter(help="stars in its place: columns x, y [arcsec], flux")] = None,
    flat: Annotated[File, Parameter(help="relative sensitivity of the camera's pixels (FITS), with photons")] = None,
    config: Config = None,
    plot: Annotated[Path | None, Parameter(help="draw the burst and its truth", group=GROUPS["output"])] = None,
    running: Running = AS_USUAL,
    options: SimulateBurstConfig,
) -> int:
    """Simulate short exposures through turbulence and a telescope, with the true wavefronts, PSFs and object.

    A burst of short exposures as a telescope records them through the turbulent atmosphere: of an image, of a list of
    stars, or of a texture like granulation. The file holds the frames, and in extensions what made them: OBJECT or
    STARS, PSF, PHASE, PUPIL, WAVEFRONT, MODES.

        jaxinv simulate-burst -o burst.fits --telescope SST --wavelength "6173 angstrom" --r0 "10 cm"
        jaxinv simulate-burst -o burst.fits --object image.fits --object-scale 0.02 --d-over-r0 8 --frames 100
        jaxinv simulate-burst -o stars.fits --stars stars.txt --telescope NOT --wavelength 8000 --pixel-scale 0.03
            --photons 1e5 --read-noise 1 --interval 0.03 --layers 0:0.7:10:0 6000:0.3:20:5
    """
    from jaxinv import io
    from jaxinv.pipelines.burst import BurstRun, plan_burst
    from jaxinv.plot import burst as draw

    sources = [path for path in (object, stars, flat) if path is not None]
    check_outputs(output, plot, inputs=[*sources, config])
    kinds = [name for name, path in (("object", object), ("stars", stars), ("flat", flat)) if path is not None]
    seen = {
        "scene": None if object is None else io.read_map(object, stale_sums=True),
        "stars": None if stars is None else io.read_stars(stars),
        "flat": None if flat is None else io.read_map(flat),
    }
    digest = sha256(sources)
    job = Job(output, fingerprint_of(options, digest, kinds=" ".join(kinds)), running, picture=plot)

    def plan() -> Any:
        ready = plan_burst(options, **seen)
        describe(ready, running.say)
        return BurstRun(ready)

    def summary(burst: Any) -> Iterator[str]:
        if "saturated" in burst.truth:
            yield f"saturated   {int(burst.truth['saturated'].sum())} pixels are full (SATURATED says which)"

    kind = Kind(io.read_burst, io.write_burst, draw)
    job.do(plan, kind, origin=origin_of(options, sources, digest), summary=summary, objects="frames")
    return 0


def describe(plan: Any, say: Any) -> None:
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
