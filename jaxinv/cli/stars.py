"""`jaxinv stars`: separations and magnitudes of stars behind the atmosphere, from a burst of short exposures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter

from jaxinv.cli.inputs import Config, read_burst_as
from jaxinv.cli.job import AS_USUAL, Job, Kind, Running
from jaxinv.cli.options import GROUPS, with_options
from jaxinv.cli.outputs import NoQuicklook, Quicklook, check_outputs, fingerprint_of, origin_of, picture_of, sha256
from jaxinv.pipelines.config import StarsConfig


@with_options(StarsConfig)
def stars(
    burst: Annotated[Path, Parameter(help="a FITS or HDF5 cube (frame, y, x), or a folder of frames")],
    /,
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"], help="where the stars go: OUT.fits")],
    dataset: Annotated[
        str | None,
        Parameter(help="of an HDF5 file, that holds the frames; default: the only one", group=GROUPS["camera"]),
    ] = None,
    config: Config = None,
    quicklook: Quicklook = None,
    no_quicklook: NoQuicklook = False,
    running: Running = AS_USUAL,
    options: StarsConfig,
) -> int:
    """Measure double and multiple stars: separation, position angle and magnitude difference, with standard errors.

    The wavefront of every exposure is found together with the stars' positions and fluxes; no reference star is needed.
    Frames are dark-subtracted and flat-fielded. The file holds the table STARS first, then FRAMES and what was found of
    each; the picture shows it.

        jaxinv stars burst.fits --telescope NOT --wavelength 8000 --pixel-scale "30.3 mas" --read-noise 1 -o binary.fits
        jaxinv stars burst.fits --stars 3 --gain 2.1 --diameter 4.2 --obscuration 1.2 --workers 2 -o triple.fits
    """
    from jaxinv import io
    from jaxinv.pipelines.stars import StarsRun, plan_stars
    from jaxinv.plot import stars as draw

    picture = picture_of(output, quicklook, no_quicklook)
    sources = [str(burst)]
    check_outputs(output, picture, inputs=[*sources, config])
    frames = read_burst_as(burst, options, dataset)
    digest = sha256(sources)
    job = Job(output, fingerprint_of(options, digest, dataset=dataset or ""), running, picture=picture)

    def plan() -> Any:
        ready = plan_stars(frames, options)
        tools = ready.tools
        running.say(f"telescope   {tools.telescope.name or 'given'}: {tools.telescope.diameter:g} m")
        running.say(
            f"frames      {len(ready.frames)} of {tools.n_pixels} x {tools.n_pixels} pixels around the brightest; "
            f"{ready.totals.mean():.3g} electrons, noise {ready.read_noise:.3g}"
        )
        return StarsRun(ready)

    def summary(found: Any) -> Iterator[str]:
        used = f"{found.used.sum()} of {len(found.used)} explained and used"
        yield f"frames      {used}; D/r0 {float(np.nanmedian(found.d_over_r0)):.3g}"
        for k in range(1, found.n_stars):
            apart, angle, fainter = found.separation(k), found.position_angle(k), found.magnitude_difference(k)
            yield (
                f"star {k + 1}      {apart.value:.5f} +- {apart.error:.5f} arcsec at {angle.value:.3f} +- "
                f"{angle.error:.3f} degrees from y to -x, {fainter.value:.4f} +- {fainter.error:.4f} mag fainter"
                + ("" if found.detected(k) else "; NOT DETECTED: its flux is below 5 of its error")
            )

    kind = Kind(io.read_star_system, io.write_star_system, draw)
    job.do(plan, kind, origin=origin_of(options, sources, digest), summary=summary, objects="frames")
    return 0
