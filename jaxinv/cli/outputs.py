"""The files of one run of a command: settled before the work, and such that the same command always finishes it."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from jaxinv.cli.inputs import FILES
from jaxinv.cli.job import is_zarr
from jaxinv.cli.options import GROUPS

_FITS = (".fits", ".fit", ".fts", ".fits.gz")
_HOW = {"chunk_size": 0, "memory": 1.0, **dict.fromkeys(FILES)}
"""Options that say how the work is done, not what it means, and files that count by their contents."""

_OF_MODEL = ("atmosphere_file", "sir_lines", "sir_grid")
"""Options that name a file of the model."""

Quicklook = Annotated[
    Path | None, Parameter(help="where the picture goes, FILE.png (default: OUT.png)", group=GROUPS["output"])
]
NoQuicklook = Annotated[
    bool,
    Parameter(name="--no-quicklook", help="make no picture", negative="", show_default=False, group=GROUPS["output"]),
]


def picture_of(output: Path, quicklook: Path | None, no_quicklook: bool) -> Path | None:
    """Where a quick look goes."""
    return None if no_quicklook else quicklook or output.with_suffix(".png")


def check_outputs(
    output: Path, *others: Path | None, inputs: Sequence[str | os.PathLike[str] | None], zarr: bool = False
) -> None:
    """Refuse, before the work, files that could not be written, and files that are also read.

    Args:
        output: a FITS file.
        others: pictures.
        inputs: what the command reads.
        zarr: the output may be a Zarr store, too.

    Raises:
        OutputError: an ending is unknown, a folder is not writable, or a file stands for two things.
    """
    from jaxinv import io

    endings = (*_FITS, ".zarr") if zarr else _FITS
    if not any(output.name.lower().endswith(ending) for ending in endings):
        raise io.OutputError(f"cannot write maps as {output.name!r}: its ending must be one of {', '.join(endings)}")
    check_pictures(*others)
    keep_inputs([output, *others], inputs)
    for path in (output, *others):
        if path is not None:
            io.check_writable(path.with_name(path.name + ".probe") if is_zarr(path) else path, overwrite=True)


def check_pictures(*pictures: Path | None) -> None:
    """Refuse, before the work, pictures whose ending says no format."""
    from jaxinv import plot

    for picture in pictures:
        if picture is not None:
            plot.check_ending(picture)


def keep_inputs(outputs: Sequence[Path | None], inputs: Sequence[str | os.PathLike[str] | None]) -> None:
    """Refuse outputs that are the same file as an input or as each other.

    Raises:
        OutputError: says which.
    """
    from jaxinv import io

    places = [path.resolve() for path in outputs if path is not None]
    twice = next((path for k, path in enumerate(places) if path in places[:k]), None)
    if twice is not None:
        raise io.OutputError(f"two outputs would go to {twice}: give them different names")
    for path in outputs:
        for source in inputs:
            if path is None or source is None:
                continue
            same = path.resolve() == Path(source).resolve()
            if same or (path.exists() and Path(source).exists() and os.path.samefile(path, source)):
                raise io.OutputError(f"{path} is read by this command, and would be destroyed: choose another name")


def fingerprint_of(options: Any, digest: str, *instrument: Any, **more: str) -> dict[str, str]:
    """What a result depends on: a run that is cut goes on only where all of this is the same.

    Args:
        options: of the command.
        digest: of the observation's files.
        instrument: arrays that come from other files, `None` where there is none.
        more: what else there is.
    """
    from jaxinv import __version__

    files = []
    network = getattr(options, "network", None)
    if network is not None:
        files.append(str(Path(network) / "card.json"))
    for name in _OF_MODEL:
        if (path := getattr(options, name, None)) is not None:
            if not Path(path).is_file():
                from jaxinv import io

                raise io.InputError(f"there is no file {path}")
            files.append(path)
    what = dataclasses.replace(options, **{name: value for name, value in _HOW.items() if hasattr(options, name)})
    return {
        "input": digest,
        "options": repr(what),
        "instrument": sha256(files, *instrument),
        "version": __version__,
        **more,
    }


def origin_of(options: Any, sources: Sequence[str], digest: str) -> dict[str, str]:
    """What the provenance of a result says of the command's options and input."""
    from jaxinv.results.product import options_text

    files = {"input": " ".join(sources), "input_sha256": digest} if sources else {}
    return {"options": options_text(dataclasses.asdict(options)), **files}


def sha256(paths: Sequence[str], *arrays: Any) -> str:
    """Of the files' contents, those in folders included, and of arrays, one after the other."""
    import numpy as np

    digest = hashlib.sha256()
    for array in arrays:
        digest.update(b"-" if array is None else np.ascontiguousarray(array, np.float64).tobytes())
    files = []
    for path in map(Path, paths):
        files += sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    for path in files:
        with path.open("rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()
