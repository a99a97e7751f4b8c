"""Pipelines of files: where io and pipelines meet in Python, as they do in the commands."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from jaxinv import io, pipelines
from jaxinv.observation import StokesCube
from jaxinv.pipelines.config import InvertConfig
from jaxinv.pipelines.options import changed
from jaxinv.results.solution import SolutionMap

_BESIDES = ("psf", "wavelength_offset", "atmosphere", "network", "store", "workers", "progress")
"""Arguments of the pipeline that are no options."""


def invert(
    observation: StokesCube | str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    config: InvertConfig | None = None,
    **options: Any,
) -> SolutionMap:
    """Maps of the magnetic field, the velocity and the line parameters, with errors, from Stokes spectra.

    Args:
        observation: a file, a folder or a list of slits, all that `jaxinv.io.read_stokes` reads; or a `StokesCube`,
            which `jaxinv.io.stokes_cube` makes of arrays.
        config: the options of the inversion.
        options: single options by name in place of, or on top of, those of `config`, such as `lines="Fe I 6302.5"`, and
            what else [jaxinv.pipelines.invert][] takes: `psf`, `wavelength_offset`, `atmosphere`, `network`, `store`,
            `workers`, `progress`.

    Returns:
        Maps with the input's world coordinates; a pixel that fails is flagged in `status`.

    Raises:
        ValueError: the file cannot be read, there is no such option, or the options do not fit the observation.
    """
    more = {name: options.pop(name) for name in _BESIDES if name in options}
    config = changed(config or InvertConfig(), options)
    return pipelines.invert(_cube(observation), config, **more)


def open(path: str | os.PathLike[str]) -> Any:
    """A result, from the file that a command wrote: maps, a restored burst, measured stars, images.

    Maps also from a Zarr store, and from that of a run that is not finished. See [jaxinv.io.read_product][],
    [jaxinv.io.read_restoration][], [jaxinv.io.read_star_system][] and [jaxinv.io.read_reconstruction][].
    """
    return io.read_result(path)


def _cube(observation: Any) -> StokesCube:
    if isinstance(observation, StokesCube):
        return observation
    files = observation if isinstance(observation, list | tuple) else [observation]
    if all(isinstance(file, str | os.PathLike) for file in files):
        return io.read_stokes(observation)
    raise io.InputError(
        f"invert takes a file or a StokesCube; found a {type(observation).__name__}: "
        "jaxinv.io.stokes_cube(values, wavelength) makes a cube of arrays"
    )
