"""`jaxinv deconvolve`, `tomography` and `massmap`: images behind a linear instrument."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter

from jaxinv.cli.inputs import Config
from jaxinv.cli.job import AS_USUAL, Job, Kind, Running
from jaxinv.cli.options import GROUPS, with_options
from jaxinv.cli.outputs import NoQuicklook, Quicklook, check_outputs, fingerprint_of, origin_of, picture_of, sha256
from jaxinv.pipelines.config import DeconvolveConfig, MassmapConfig, TomographyConfig

Output = Annotated[Path, Parameter(name=["--output", "-o"], help="where the image goes: OUT.fits")]
Mask = Annotated[Path | None, Parameter(help="not 0 where a pixel is bad (FITS)", group=GROUPS["data"])]


@with_options(DeconvolveConfig)
def deconvolve(
    image: Annotated[Path, Parameter(help="a FITS image, or a stack of them (image, y, x)")],
    /,
    *,
    psf: Annotated[
        Path,
        Parameter(help="FITS image of a point; its centre is the pixel n // 2, counted from 0", group=GROUPS["data"]),
    ],
    output: Output,
    mask: Mask = None,
    config: Config = None,
    quicklook: Quicklook = None,
    no_quicklook: NoQuicklook = False,
    running: Running = AS_USUAL,
    options: DeconvolveConfig,
) -> int:
    """Sharpen images that were blurred by a known point spread function.

    The noise is measured and the strength of the regularization chosen such that the residuals are what the noise
    explains, unless both are given. NaN stands for a missing pixel. The file holds the image first, then ERROR where
    the method has one, RESIDUAL in units of the noise, and the table IMAGES with the misfit and status of each.

        jaxinv deconvolve galaxy.fits --psf star.fits -o sharp.fits
        jaxinv deconvolve galaxy.fits --psf star.fits --method wiener -o mean_and_error.fits
        jaxinv deconvolve counts.fits --psf star.fits --method richardson-lucy --iterations 30 --gain 2.1 -o rl.fits
    """
    from jaxinv import io
    from jaxinv.pipelines.deconvolution import plan_deconvolution

    sources = [str(path) for path in (image, psf, mask) if path is not None]
    place = (output, quicklook, no_quicklook, sources, config, options, running)

    def plan() -> Any:
        values, header = io.read_images(image)
        bad = None if mask is None else io.read_map(mask)
        return plan_deconvolution(values, io.read_map(psf), options, mask=bad, header=header)

    return _reconstruct(plan, *place, masked=mask is not None)


@with_options(TomographyConfig)
def tomography(
    projections: Annotated[Path, Parameter(help="a FITS image (angle, detector), or a stack of slices")],
    /,
    *,
    output: Output,
    angles: Annotated[
        Path | None, Parameter(help="angle of each projection [degrees]: text or FITS", group=GROUPS["data"])
    ] = None,
    config: Config = None,
    quicklook: Quicklook = None,
    no_quicklook: NoQuicklook = False,
    running: Running = AS_USUAL,
    options: TomographyConfig,
) -> int:
    """Reconstruct slices through an object from its projections by parallel rays.

    At the angle 0 a projection is the sum of the columns; angles grow counter-clockwise; the axis of rotation is in the
    middle of the detector. The file holds the slices first, then ERROR where the method has one, RESIDUAL in units of
    the noise, and the table IMAGES with the misfit and status of each.

        jaxinv tomography sinogram.fits --span 180 -o slice.fits
        jaxinv tomography sinogram.fits --angles angles.txt --method fbp --smoothing 2 -o fbp.fits
    """
    from jaxinv import io
    from jaxinv.pipelines.tomograms import plan_tomography

    sources = [str(path) for path in (projections, angles) if path is not None]
    place = (output, quicklook, no_quicklook, sources, config, options, running)

    def plan() -> Any:
        values, header = io.read_images(projections)
        origin = {key: x for key, x in header.items() if not _of_axes(key)}
        return plan_tomography(values, None if angles is None else io.read_angles(angles), options, header=origin)

    return _reconstruct(plan, *place)


@with_options(MassmapConfig)
def massmap(
    shear: Annotated[Path, Parameter(help="a catalogue of galaxies (FITS, ECSV, CSV), or FITS maps GAMMA1 and GAMMA2")],
    /,
    *,
    output: Output,
    mask: Mask = None,
    config: Config = None,
    quicklook: Quicklook = None,
    no_quicklook: NoQuicklook = False,
    running: Running = AS_USUAL,
    options: MassmapConfig,
) -> int:
    """Map the matter that shears the images of the galaxies behind it: the convergence, up to its mean.

    A catalogue is laid on a grid, on the sky with world coordinates. Around a mass galaxies are stretched tangentially:
    in a mirrored frame of the shear a mass has four lobes in place of a peak, and as much signal in the B_MODE, which
    holds nothing but noise where all is well. The file holds the CONVERGENCE first, then ERROR where the method has
    one, B_MODE, COVERAGE (galaxies in each pixel), and RESIDUAL in units of the noise.

        jaxinv massmap catalogue.fits --pixel-scale "0.5 arcmin" -o mass.fits
        jaxinv massmap catalogue.csv --columns x=RA y=DEC shear1=e1 shear2=e2 --method sparse -o clusters.fits
        jaxinv massmap shear_maps.fits --method kaiser-squires --smoothing 6 -o ks.fits
    """
    from jaxinv import io
    from jaxinv.pipelines.mass_maps import plan_massmap

    sources = [str(path) for path in (shear, mask) if path is not None]
    place = (output, quicklook, no_quicklook, sources, config, options, running)

    def plan() -> Any:
        bad = None if mask is None else io.read_map(mask)
        maps = io.read_shear(shear) if str(shear).lower().endswith((".fits", ".fit", ".fts", ".fits.gz")) else None
        if maps is None:
            return plan_massmap(io.read_catalogue(shear), options, mask=bad)
        return plan_massmap(maps[0], options, mask=bad, header=maps[1])

    def more(found: Any) -> Iterator[str]:
        rms = lambda values: float(np.sqrt(np.nanmean(values**2)))  # noqa: E731
        peak = np.unravel_index(np.nanargmax(found.image), found.image.shape)
        highest = f"{np.nanmax(found.image):.3g} at x {peak[1]}, y {peak[0]}"
        yield f"convergence rms {rms(found.image):.3g}, B mode {rms(found.more['b_mode']):.3g}; highest {highest}"
        if found.error is not None:
            yield f"error       {np.nanmedian(found.error[0]):.3g}, highest over its error {_peak(found):.1f}"

    return _reconstruct(plan, *place, more=more, masked=mask is not None)


def _peak(found: Any) -> float:
    return float(np.nanmax(found.image / found.error[0]))


def _of_axes(key: str) -> bool:
    return key.startswith(("CTYPE", "CUNIT", "CRPIX", "CRVAL", "CDELT", "PC", "PV", "BUNIT"))


def _reconstruct(
    plan: Callable[[], Any],
    output: Path,
    quicklook: Path | None,
    no_quicklook: bool,
    sources: list[str],
    config: str | None,
    options: Any,
    running: Running,
    *,
    more: Callable[[Any], Iterator[str]] = lambda found: iter(()),
    masked: bool = False,
) -> int:
    """What the three commands have in common."""
    from jaxinv import io
    from jaxinv.pipelines.reconstruction import ReconstructionRun
    from jaxinv.plot import reconstruction as draw

    picture = picture_of(output, quicklook, no_quicklook)
    check_outputs(output, picture, inputs=[*sources, config])
    for source in sources:
        if not Path(source).is_file():
            raise io.InputError(f"there is no file {source}")
    digest = sha256(sources)
    # What cannot be used is said before anything is begun.
    ready = plan()
    job = Job(output, fingerprint_of(options, digest, masked=str(masked)), running, picture=picture)

    def described() -> Any:
        shape, data = ready.recipe.operator.input_shape, ready.values.shape
        running.say(f"data        {data[0]} of {' x '.join(map(str, data[1:]))}, {ready.notes['missing']} missing")
        running.say(f"noise       {ready.notes['noise']}{'' if options.noise else ', measured'}")
        running.say(f"method      {options.method}, images of {shape[0]} x {shape[1]} pixels")
        return ReconstructionRun(ready)

    def summary(found: Any) -> Iterator[str]:
        count = {name.replace("_", " "): n for name, n in found.count().items() if n}
        yield f"status      {', '.join(f'{n} {name}' for name, n in count.items())}"
        strength = f"; strength {np.nanmedian(found.strength):.3g}" if np.isfinite(found.strength).any() else ""
        yield f"residuals   {np.nanmedian(found.chi2):.3g} of the noise's variance{strength}"
        yield from more(found)

    kind = Kind(io.read_reconstruction, io.write_reconstruction, draw)
    job.do(described, kind, origin=origin_of(options, sources, digest), summary=summary, objects="images")
    return 0
