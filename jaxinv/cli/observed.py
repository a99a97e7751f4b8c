"""A Stokes observation as commands take it: read with the files that describe its instrument, told apart, described."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxinv.cli.inputs import FileOptions
from jaxinv.cli.job import Say
from jaxinv.cli.options import is_product
from jaxinv.cli.outputs import fingerprint_of, keep_inputs, origin_of, sha256


@dataclasses.dataclass(frozen=True)
class Observed:
    """An observation, and what is known of its instrument.

    Attributes:
        cube: from `jaxinv.io.read_stokes`.
        options: of the command.
        psf: spectral profile of the instrument, or `None`.
        offset: of the wavelengths, `(ny, nx)`, or `None`.
        digest: of the observation's files.
        lines: that the observation names, or `None`.
    """

    cube: Any
    options: FileOptions
    psf: Any
    offset: Any
    digest: str
    lines: Any = None

    def depends(self, **more: str) -> dict[str, str]:
        """What a result depends on."""
        return fingerprint_of(self.options, self.digest, self.psf, self.offset, self.cube.wavelength, **more)

    def changed(self, config: Any) -> Any:
        """The options of the pipeline; SIR's profiles have the continuum 1 and the wavelengths of their lines."""
        if self.lines is None:
            return config
        told = {"continuum": 1.0, "wavelength_shift": 0.0}
        return dataclasses.replace(config, **{name: x for name, x in told.items() if getattr(config, name) is None})

    @property
    def origin(self) -> dict[str, str]:
        """What a result's provenance says of it."""
        return origin_of(self.options, self.cube.source, self.digest)

    def prepare(self, config: Any, say: Say) -> Any:
        """The problem of each pixel; says what was found and decided."""
        from jaxinv import io
        from jaxinv.pipelines import prepare

        model = getattr(self.options, "atmosphere_file", None)
        atmosphere = None if model is None else io.read_sir_model(model).stratification
        lines = None if getattr(config, "lines", ()) else self.lines
        ready = prepare(
            self.cube, config, psf=self.psf, wavelength_offset=self.offset, atmosphere=atmosphere, lines=lines
        )
        ny, nx = ready.cube.map_shape
        wavelength, (weak, of) = ready.wavelength, ready.measured.weak
        span = f"from {wavelength[0]:.3f} to {wavelength[-1]:.3f} angstrom"
        say(f"{ny} x {nx} pixels, {len(wavelength)} wavelengths {span}")
        say(f"lines       {', '.join(line.name for line in ready.lines)}")
        say(f"continuum   {ready.measured.continuum:.6g} {self.cube.unit}".rstrip())
        say(f"sigma       {' '.join(f'{x:.2g}' for x in ready.sigma)} of the continuum in I, Q, U, V")
        say(f"wavelengths shifted by {1000 * ready.shift:.1f} mA ({weak} weakly polarized pixels of {of} looked at)")
        return ready


def observe(paths: Sequence[str], options: FileOptions, config: str | None, outputs: Sequence[Path | None]) -> Observed:
    """Read an observation and what the options name beside it.

    Args:
        paths: of the observation.
        options: of the command.
        config: the file of options; a result that is repeated has the profile itself, in place of a file that is gone.
        outputs: which must not be among the files that are read.

    Raises:
        InputError: something cannot be read; says what to give.
        OutputError: an output is an input.
    """
    from jaxinv import io

    cube, lines = read_sir(paths[0], options) if _is_sir(paths) else (read_observation(paths, options), None)
    keep_inputs(outputs, cube.source)  # the files of a folder, too
    psf = None
    if options.psf_file is not None:
        kept = None
        if config is not None and is_product(config) and not Path(options.psf_file).exists():
            kept = io.read_product(config).profile
        psf = io.read_spectral_psf(options.psf_file) if kept is None else tuple(kept)
    offset = None if options.cavity_map is None else io.read_map(options.cavity_map)
    return Observed(cube, options, psf, offset, sha256([*cube.source]), lines)


def _is_sir(paths: Sequence[str]) -> bool:
    return len(paths) == 1 and paths[0].lower().endswith(".per")


def read_sir(path: str, options: FileOptions) -> tuple[Any, Any]:
    """SIR's profiles and their lines, from the files that the options name.

    Raises:
        InputError: a file cannot be read; says what to give.
    """
    from jaxinv import io

    table = getattr(options, "sir_lines", None)
    if table is None:
        raise io.InputError(f"{path} counts its lines: give the table that they are in, --sir-lines LINEAS")
    lines = io.read_sir_lines(table)
    cube, numbers = io.read_sir_profiles(path, lines)
    grid = getattr(options, "sir_grid", None)
    if grid is not None:
        of = {window.lines[0]: window.lines for window in io.read_sir_grid(grid)}
        numbers = tuple(dict.fromkeys(x for number in numbers for x in of.get(number, (number,))))
    missing = [x for x in numbers if x not in lines]
    if missing:
        raise io.InputError(f"{grid} names line {missing[0]}, which {table} does not have")
    return cube, tuple(lines[x] for x in numbers)


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
