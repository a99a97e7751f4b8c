"""`jaxinv restore`: the object behind a burst of short exposures."""

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
from jaxinv.pipelines.config import RestoreConfig

CAMERA = GROUPS["camera"]


@with_options(RestoreConfig)
def restore(
    burst: Annotated[Path, Parameter(help="a FITS or HDF5 cube (frame, y, x), or a folder of frames")],
    /,
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"], help="where the object goes: OUT.fits")],
    diversity: Annotated[
        Path | None, Parameter(help="the same exposures out of focus, by --defocus: phase diversity", group=CAMERA)
    ] = None,
    narrowband: Annotated[
        Path | None,
        Parameter(
            help="the same exposures of a camera with another filter, calibrated: an object of its own, seen through "
            "the same wavefronts",
            group=CAMERA,
        ),
    ] = None,
    modulation: Annotated[
        Path | None,
        Parameter(
            help="of a polarimeter (before the narrowband camera, if there is one): a row for each frame, or of a "
            "cycle that repeats, a column for each Stokes parameter, intensity first (text or FITS)",
            group=CAMERA,
        ),
    ] = None,
    dataset: Annotated[
        str | None, Parameter(help="of an HDF5 file, that holds the frames; default: the only one", group=CAMERA)
    ] = None,
    dark: Annotated[Path | None, Parameter(help="to be taken off the frames (FITS)", group=CAMERA)] = None,
    flat: Annotated[Path | None, Parameter(help="to divide the frames by (FITS)", group=CAMERA)] = None,
    bad_pixels: Annotated[Path | None, Parameter(help="not 0 where a pixel is bad (FITS)", group=CAMERA)] = None,
    config: Config = None,
    quicklook: Quicklook = None,
    no_quicklook: NoQuicklook = False,
    running: Running = AS_USUAL,
    options: RestoreConfig,
) -> int:
    """Restore a burst of short exposures by multiframe blind deconvolution.

    The frames alone say what the wavefronts were and what is behind them: no guide star, no learning rate, no number of
    iterations. The file holds the object first, then WAVEFRONT, PSF, CHI2 and what else was found, patch by patch; the
    picture is the report on it.

        jaxinv restore burst.fits --telescope SST --wavelength "6173 angstrom" --pixel-scale "0.059 arcsec" -o out.fits
        jaxinv restore frames/ --diameter 1.0 --wavelength 8542 --pixel-scale 0.059 --dark dark.fits -o out.fits
        jaxinv restore burst.h5 --draws 0 --workers 2 -o out.fits
        jaxinv restore focus.fits --diversity defocus.fits --defocus 1 --telescope Sunrise -o out.fits
        jaxinv restore wideband.fits --narrowband line.fits --narrowband-wavelength 6173.3 --telescope SST -o out.fits
        jaxinv restore modulated.fits --modulation cycle.txt --telescope SST -o stokes.fits
    """
    from jaxinv import io
    from jaxinv.pipelines.cameras import calibrated
    from jaxinv.pipelines.restoration import RestorationRun, plan_restoration
    from jaxinv.plot import restoration as draw

    maps = {"dark": dark, "flat": flat, "bad": bad_pixels}
    picture = picture_of(output, quicklook, no_quicklook)
    others = {**maps, "diversity": diversity, "narrowband": narrowband, "modulation": modulation}
    sources = [str(path) for path in (burst, *others.values()) if path is not None]
    check_outputs(output, picture, inputs=[*sources, config])
    frames = read_burst_as(burst, options, dataset)
    second = None if diversity is None else read_burst_as(diversity, options, dataset)
    line = None if narrowband is None else read_burst_as(narrowband, options, dataset, "narrowband_wavelength")
    seen: dict[str, Any] = {name: None if path is None else io.read_map(path) for name, path in maps.items()}
    matrix = None if modulation is None else io.read_matrix(modulation)
    digest = sha256(sources)
    kinds = " ".join(name for name, path in others.items() if path is not None)
    job = Job(output, fingerprint_of(options, digest, kinds=kinds, dataset=dataset or ""), running, picture=picture)

    def plan() -> Any:
        without_camera = lambda frames: calibrated(frames, saturation=options.saturation, **seen)  # noqa: E731
        diverse = None if second is None else without_camera(second)
        given = {"diversity": diverse, "narrowband": line, "modulation": matrix}
        ready = plan_restoration(without_camera(frames), options, **given)
        describe(ready, running.say)
        return RestorationRun(ready)

    def summary(found: Any) -> Iterator[str]:
        count = {name.replace("_", " "): n for name, n in found.count().items() if n}
        yield f"status      {', '.join(f'{n} {name}' for name, n in count.items())}"
        low, middle, high = np.nanpercentile(found.r0, [0, 50, 100])
        spread = f" ({low:.3g} to {high:.3g})" if len(found.r0) > 1 else ""
        yield f"r0          {middle:.3g} m{spread}; residuals {np.nanmedian(found.chi2):.2f} of the noise's variance"
        contrast = lambda image: f"{100 * np.nanstd(image) / np.nanmean(image):.2f} %"  # noqa: E731
        yield f"contrast    {contrast(found.best_frame)} in the best frame, {contrast(found.object)} restored"
        yield f"error       {100 * np.nanmedian(found.relative_error):.1f} % of the contrast"
        if found.narrowband is not None and found.narrowband_error is not None:
            before, after = contrast(found.narrowband_frame), contrast(found.narrowband)
            off = 100 * np.sqrt(np.nanmean(found.narrowband_error**2)) / np.nanstd(found.narrowband)
            yield f"narrowband  contrast {before} in the best frame, {after} restored; error {off:.1f} % of it"
        if found.stokes is not None:
            level = np.nanmean(found.stokes[0])
            rms = lambda values: 100 * np.sqrt(np.nanmean(values**2)) / level  # noqa: E731
            pairs = zip(found.stokes_names[1:], found.stokes[1:], found.stokes_error[1:], strict=True)
            parts = (f"{name} {rms(image):.2g} +- {rms(error):.2g}" for name, image, error in pairs)
            yield f"Stokes      {', '.join(parts)} % of the intensity (rms of signal and error)"

    kind = Kind(io.read_restoration, io.write_restoration, draw)
    job.do(plan, kind, origin=origin_of(options, sources, digest), summary=summary, objects="patches")
    return 0


def describe(plan: Any, say: Any) -> None:
    """What will be restored."""
    burst, tools = plan.burst, plan.tools
    n_frames, ny, nx = burst.frames.shape
    obscured = f", {tools.telescope.obscuration:g} m obscured" if tools.telescope.obscuration else ""
    name = tools.telescope.name or "given"
    say(f"telescope   {name}: {tools.telescope.diameter:g} m{obscured}; {burst.wavelength:g} angstrom")
    cameras = plan.cameras
    bad = int(sum(np.sum(~np.isfinite(each)) for each in cameras.frames))
    missing = f", {bad} pixels missing" if bad else ""
    twice = f", in focus and {plan.config.defocus:g} waves out of it" if cameras.wide > 1 else ""
    twice += "" if cameras.narrowband is None else f", and at {cameras.bursts[-1].wavelength:g} angstrom"
    say(f"frames      {n_frames} of {ny} x {nx} pixels of {burst.pixel_scale:g} arcsec{twice}{missing}")
    of_mean = [s / np.nanmean(each, axis=(1, 2)) for s, each in zip(plan.sigma, cameras.frames, strict=True)]
    relative = " and ".join(f"{np.median(each):.2e}" for each in (of_mean[0], *of_mean[cameras.wide :]))
    measured = "" if plan.config.noise is not None else ", measured"
    moved = int(np.abs(plan.shifts).max())
    say(f"noise       {relative} of the mean{measured}; frames moved by up to {moved} pixels")
    if cameras.modulated:
        say(f"modulation  {len(range(tools.n_objects)[cameras.stokes])} Stokes parameters of {n_frames} frames")
    count = len(plan.corners)
    say(f"patches     {count} of {tools.n_pixels} x {tools.n_pixels} pixels, {tools.n_modes} modes")
