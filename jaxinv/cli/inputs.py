"""The files that a command reads: one statement for all commands."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from cyclopts import Parameter

from jaxinv.cli.options import is_product
from jaxinv.pipelines.options import Number, Text, option, options

T = TypeVar("T")
FILES = ("wavelengths", "psf_file", "cavity_map")
"""Options that name a file."""
_USED = "what most observations need"

Observation = Annotated[list[str], Parameter(name="OBS", help="FITS file, folder of slits, or several slits")]
Config = Annotated[
    str | None, Parameter(help="options by name (YAML), or a result to repeat; flags on the command line win")
]


@options
class ProfileOptions:
    """A file that describes the instrument."""

    psf_file: Text | None = option(
        None, "table of the spectral profile: offset [milliangstrom], transmission", "instrument"
    )


@options
class FileOptions(ProfileOptions):
    """What a command takes beyond the pipeline: how to read the observation, and files that describe the instrument."""

    axes: Text | None = option(
        None,
        "roles of the axes where the header lacks them, e.g. 'y x stokes wavelength'",
        _USED,
    )
    wavelengths: Text | None = option(
        None,
        "text or FITS file with the wavelength of each sample [angstrom or nm], where the observation lacks them",
        _USED,
    )
    wavelength_reference: Number | None = option(
        None,
        "added to the wavelengths of that file, which are then offsets [angstrom], e.g. 6302.4935",
        _USED,
    )
    cavity_map: Text | None = option(None, "FITS map of the spectrum's shift towards the red [angstrom]", "instrument")


def pipeline_part(given: Any, kind: type[T]) -> T:
    """The options that the pipeline's own class has."""
    names = [field.name for field in dataclasses.fields(kind)]  # pyright: ignore[reportArgumentType]
    return kind(**{name: getattr(given, name) for name in names})


def inputs_of(observation: Sequence[str], config: str | None, given: Any) -> list[str | None]:
    """Everything that is read, so that no output takes its place."""
    return [*observation, config, *(getattr(given, name) for name in FILES)]


def read_observation(paths: Sequence[str], given: FileOptions | None = None) -> Any:
    """The Stokes cube of one file, of a folder or of several slits.

    Raises:
        InputError: it cannot be read; says what to give.
    """
    from jaxinv import io

    given = given or FileOptions()
    wavelength = None
    if given.wavelengths is not None:
        wavelength = io.read_wavelengths(given.wavelengths, reference=given.wavelength_reference)
    elif given.wavelength_reference is not None:
        raise io.InputError("the option 'wavelength_reference' goes with a file of offsets, 'wavelengths'")
    return io.read_stokes(paths if len(paths) > 1 else paths[0], axes=given.axes, wavelength=wavelength)


def read_instrument(given: FileOptions, config: str | None = None) -> tuple[Any, Any]:
    """`(spectral profile, wavelength offsets)`; `None` for what is not given.

    A result that is repeated, `config`, has the profile itself, in place of a file that is no longer there.
    """
    from jaxinv import io

    psf = None
    if given.psf_file is not None:
        kept = None
        if config is not None and is_product(config) and not Path(given.psf_file).exists():
            kept = io.read_product(config).profile
        psf = io.read_spectral_psf(given.psf_file) if kept is None else tuple(kept)
    return psf, None if given.cavity_map is None else io.read_map(given.cavity_map)
