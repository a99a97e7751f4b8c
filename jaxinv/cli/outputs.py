"""The files of one run of a command: settled before the work, and such that the same command always finishes it."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jaxinv.cli.inputs import FILES

_FITS = (".fits", ".fit", ".fts", ".fits.gz")
_HOW = {"chunk_size": 0, "memory": 1.0, **dict.fromkeys(FILES)}
"""Options that say how the work is done, not what it means, and files that count by their contents."""


def check_outputs(output: Path, *others: Path | None, inputs: Sequence[str | os.PathLike[str] | None]) -> None:
    """Refuse, before the work, files that could not be written, and files that are also read.

    Args:
        output: maps, as FITS.
        others: pictures.
        inputs: what the command reads.

    Raises:
        OutputError: an ending is unknown, a folder is not writable, or a file stands for two things.
    """
    from jaxinv import io

    if not any(output.name.lower().endswith(ending) for ending in _FITS):
        raise io.OutputError(f"cannot write maps as {output.name!r}: its ending must be one of {', '.join(_FITS)}")
    check_pictures(*others)
    keep_inputs([output, *others], inputs)
    for path in (output, *others):
        if path is not None:
            io.check_writable(path, overwrite=True)


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


def fingerprint_of(options: Any, digest: str, **more: str) -> dict[str, str]:
    """What a result depends on: a run that is cut goes on only where all of this is the same."""
    from jaxinv import __version__

    files = [path for path in (getattr(options, name) for name in FILES) if path is not None]
    network = getattr(options, "network", None)
    if network is not None:
        files.append(str(Path(network) / "card.json"))
    what = dataclasses.replace(options, **{name: value for name, value in _HOW.items() if hasattr(options, name)})
    return {
        "input": digest,
        "options": repr(what),
        "instrument files": sha256(files),
        "version": __version__,
        **more,
    }


def save_picture(make: Callable[[], Any], path: Path) -> bool:
    """Draw and write a picture; what goes wrong with it is a note, since the maps are whole."""
    from jaxinv import plot

    try:
        plot.save(make(), path)
    except Exception as error:  # whatever a drawing library does with an odd header or a full disk
        why = " ".join(f"{error}".split()) or type(error).__name__
        warnings.warn(f"no picture was made ({why:.200}); the maps are whole", stacklevel=2)
        return False
    return True


def sha256(paths: Sequence[str]) -> str:
    """Of the files' contents, one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()
