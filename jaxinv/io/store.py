"""The store of an unfinished run: a folder with a file for each finished piece, from which the same command resumes."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path

import numpy as np

from jaxinv.compute.atomic import OutputError, discard_folder, write_atomically
from jaxinv.compute.pieces import Piece
from jaxinv.io.errors import InputError


def unfinished(path: str | os.PathLike[str]) -> dict[str, str]:
    """The fingerprint of the run whose pieces a folder keeps; empty where there is none."""
    try:
        return json.loads((Path(path) / "run.json").read_text())
    except (OSError, ValueError):
        return {}


class PieceStore(MutableMapping[Piece, dict[str, np.ndarray]]):
    """Finished pieces on disk, by the objects that they cover; each is written whole or not at all.

    Args:
        path: the folder; made if it is not there.
        fingerprint: what the pieces depend on (input, options, version), by name.

    Raises:
        InputError: the folder holds pieces of a run with another fingerprint; names what differs.
    """

    def __init__(self, path: str | os.PathLike[str], fingerprint: Mapping[str, str]) -> None:
        self._path = Path(path)
        self._fingerprint = dict(fingerprint)
        if (self._path / "run.json").exists():
            found = unfinished(path)
            differing = [key for key in {*found, *self._fingerprint} if found.get(key) != self._fingerprint.get(key)]
            if differing:
                raise InputError(
                    f"{self._path} holds an unfinished run with another {', '.join(sorted(differing))}: repeat that "
                    "command to finish it, or discard it with --restart"
                )
            return
        try:
            self._path.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write {self._path}: {error.strerror}") from None
        text = json.dumps(self._fingerprint, indent=1).encode()
        write_atomically(self._path / "run.json", lambda file: file.write(text), overwrite=True)

    def __setitem__(self, piece: Piece, arrays: dict[str, np.ndarray]) -> None:
        named = {name.replace("/", "."): value for name, value in arrays.items()}
        write_atomically(self._file(piece), lambda file: np.savez(file, **named), overwrite=True)  # pyright: ignore

    def __getitem__(self, piece: Piece) -> dict[str, np.ndarray]:
        try:
            with np.load(self._file(piece)) as archive:
                return {name.replace(".", "/"): archive[name] for name in archive.files}
        except (OSError, ValueError, zipfile.BadZipFile, EOFError):
            raise KeyError(piece) from None

    def __delitem__(self, piece: Piece) -> None:
        self._file(piece).unlink()

    def __iter__(self) -> Iterator[Piece]:
        """Pieces that can be read: a damaged file counts as not there, and is written anew."""
        for file in sorted(self._path.glob("objects-*.npz")):
            try:
                first, end = map(int, file.stem.split("-")[1:])
                with zipfile.ZipFile(file) as archive:
                    whole = archive.testzip() is None
            except (OSError, ValueError, zipfile.BadZipFile, EOFError):
                continue
            if whole:
                yield first, end

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def discard(self) -> None:
        """Remove the folder and everything in it."""
        discard_folder(self._path)

    def _file(self, piece: Piece) -> Path:
        return self._path / f"objects-{piece[0]:09d}-{piece[1]:09d}.npz"
