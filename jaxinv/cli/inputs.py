"""The options that name what a command reads: one statement for all commands."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from cyclopts import Parameter

from jaxinv.pipelines.options import Number, Text, option, options

T = TypeVar("T")
FILES = ("wavelengths", "psf_file", "cavity_map", "atmosphere_file", "sir_lines", "sir_grid")
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
    return [*observation, config, *(getattr(given, name, None) for name in FILES)]


def read_burst_as(path: Any, options: Any, dataset: str | None, wavelength: str = "wavelength") -> Any:
    """A burst, with the wavelength and the pixel scale that options give in place of its own.

    Args:
        path: of the file or folder.
        options: of the command.
        dataset: of an HDF5 file.
        wavelength: the option that gives it.
    """
    from jaxinv import io
    from jaxinv.pipelines.burst import in_unit

    given = {
        name: None if (text := getattr(options, option)) is None else in_unit(text, unit, option)
        for name, option, unit in (
            ("wavelength", wavelength, "Angstrom"),
            ("pixel_scale", "pixel_scale", "arcsec"),
        )
    }
    return io.read_burst(path, dataset=dataset, **given)
