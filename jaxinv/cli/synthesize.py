"""`jaxinv synthesize`: Stokes spectra from parameters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from jaxinv.cli.inputs import Config, ProfileOptions, pipeline_part
from jaxinv.cli.job import AS_USUAL, Job, Kind, Running
from jaxinv.cli.observed import read_observation
from jaxinv.cli.options import GROUPS, with_options
from jaxinv.cli.outputs import check_outputs, fingerprint_of, origin_of, sha256
from jaxinv.pipelines.config import SynthesizeConfig
from jaxinv.pipelines.options import options

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


@options
class SynthesizeOptions(SynthesizeConfig, ProfileOptions):
    """What the command takes beyond the pipeline: files."""


@with_options(SynthesizeOptions)
def synthesize(
    maps: Annotated[str | None, Parameter(name="MAPS", help="maps of parameters; without them, one pixel")] = None,
    /,
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"], help="where the spectra go: OUT.fits")],
    config: Config = None,
    like: Annotated[str | None, Parameter(help="take the wavelengths of this observation")] = None,
    plot: Annotated[Path | None, Parameter(help="draw the spectrum of the first pixel", group=GROUPS["output"])] = None,
    running: Running = AS_USUAL,
    options: SynthesizeOptions,
) -> int:
    """Compute Stokes spectra of a Milne-Eddington atmosphere.

    Of one set of parameters, or of every pixel of maps that `jaxinv invert` wrote. The units of --parameters: gauss,
    degrees, km/s, angstrom.

        jaxinv synthesize -o stokes.fits --plot stokes.png --parameters field_strength=1500 inclination=45
        jaxinv synthesize maps.fits -o stokes.fits --like cube.fits --noise 1e-3
    """
    from jaxinv import io
    from jaxinv import plot as figures
    from jaxinv.pipelines import plan_synthesis

    sources = [path for path in (maps, like, options.psf_file) if path is not None]
    check_outputs(output, plot, inputs=[*sources, config])
    digest = sha256(sources)
    given = [name for name, path in (("maps", maps), ("like", like)) if path is not None]
    job = Job(output, fingerprint_of(options, digest, kinds=" ".join(given)), running, picture=plot)

    def plan() -> Any:
        header, parameters = {}, dict(_TYPICAL)
        if maps is not None:
            found = io.read_product(maps)
            header, parameters = found.header, dict(found.estimate)
        wavelength = None if like is None else read_observation([like]).wavelength
        psf = None if options.psf_file is None else io.read_spectral_psf(options.psf_file)
        config = pipeline_part(options, SynthesizeConfig)
        return plan_synthesis(parameters, config, wavelength=wavelength, psf=psf, header=header)

    def first(cube: Any) -> Any:
        return figures.profiles(cube.values[:1][0, :1], None, cube.wavelength)

    def summary(cube: Any) -> Iterator[str]:
        ny, nx = cube.map_shape
        yield f"spectra     of {ny} x {nx} pixels, {len(cube.wavelength)} wavelengths"

    kind = Kind(io.read_stokes, io.write_stokes, first)
    job.do(plan, kind, origin=origin_of(options, sources, digest), summary=summary)
    return 0
