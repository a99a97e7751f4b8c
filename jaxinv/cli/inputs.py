"""The files that a command reads: one statement for all commands."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from jaxinv.cli.options import is_product
from jaxinv.pipelines.config import option

T = TypeVar("T")
MOST_USED = ("lines", "sigma", "psf_fwhm", "region", "axes", "wavelengths", "wavelength_reference")
FILES = ("wavelengths", "psf_file", "cavity_map")
"""Options that name a file."""


@dataclasses.dataclass(frozen=True)
class FileOptions:
    """What a command takes beyond the pipeline: how to read the observation, and files that describe the instrument."""

    axes: str | None = option(None, "roles of the axes where the header lacks them, e.g. 'y x stokes wavelength'")
    wavelengths: str | None = option(
        None, "text or FITS file with the wavelength of each sample [angstrom or nm], where the observation lacks them"
    )
    wavelength_reference: float | None = option(
        None, "added to the wavelengths of that file, which are then offsets [angstrom], e.g. 6302.4935"
    )
    psf_file: str | None = option(None, "table of the spectral profile: offset [milliangstrom], transmission")
    cavity_map: str | None = option(None, "FITS map of the spectrum's shift towards the red [angstrom]")


def pipeline_part(options: Any, kind: type[T]) -> T:
    """The options that the pipeline's own dataclass has."""
    names = [field.name for field in dataclasses.fields(kind)]  # pyright: ignore[reportArgumentType]
    return kind(**{name: getattr(options, name) for name in names})


def add_observation(parser: argparse.ArgumentParser) -> None:
    """The arguments of every command that reads Stokes spectra."""
    parser.add_argument("observation", nargs="+", metavar="OBS", help="FITS file, folder of slits, or several slits")
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="YAML of options by name, or a result to repeat; a flag on the command line wins",
    )


def inputs_of(arguments: argparse.Namespace, options: Any) -> list[str | None]:
    """Everything that is read, so that no output takes its place."""
    return [*arguments.observation, arguments.config, *(getattr(options, name) for name in FILES)]


def read_observation(paths: Sequence[str], options: FileOptions | None = None) -> Any:
    """The Stokes cube of one file, of a folder or of several slits.

    Raises:
        InputError: it cannot be read; says what to give.
    """
    from jaxinv import io

    options = options or FileOptions()
    wavelength = None
    if options.wavelengths is not None:
        wavelength = io.read_wavelengths(options.wavelengths, reference=options.wavelength_reference)
    elif options.wavelength_reference is not None:
        raise io.InputError("the option 'wavelength_reference' goes with a file of offsets, 'wavelengths'")
    return io.read_stokes(paths if len(paths) > 1 else paths[0], axes=options.axes, wavelength=wavelength)


def read_instrument(options: FileOptions, config: str | None = None) -> tuple[Any, Any]:
    """`(spectral profile, wavelength offsets)`; `None` for what is not given.

    A result that is repeated, `config`, has the profile itself, in place of a file that is no longer there.
    """
    from jaxinv import io

    psf = None
    if options.psf_file is not None:
        kept = None
        if config is not None and is_product(config) and not Path(options.psf_file).exists():
            kept = io.read_product(config).profile
        psf = io.read_spectral_psf(options.psf_file) if kept is None else tuple(kept)
    return psf, None if options.cavity_map is None else io.read_map(options.cavity_map)
