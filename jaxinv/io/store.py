"""The store of an unfinished run: a folder with a file for each finished chunk, from which the same command resumes."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path

import numpy as np

from jaxinv.atomic import OutputError, write_atomically
from jaxinv.io.errors import InputError


def unfinished(path: str | os.PathLike[str]) -> dict[str, str]:
    """The fingerprint of the run whose chunks a folder keeps; empty where there is none."""
    try:
        return json.loads((Path(path) / "run.json").read_text())
    except (OSError, ValueError):
        return {}


class ChunkStore(MutableMapping[int, dict[str, np.ndarray]]):
    """Finished chunks on disk, by index; each is written whole or not at all.

    Args:
        path: the folder; made when the first chunk is kept.
        fingerprint: what the chunks depend on (input, options, version), by name.

    Raises:
        InputError: the folder holds chunks of a run with another fingerprint; names what differs.
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

    def __setitem__(self, index: int, chunk: dict[str, np.ndarray]) -> None:
        try:
            self._path.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write {self._path}: {error.strerror}") from None
        if not (self._path / "run.json").exists():
            text = json.dumps(self._fingerprint, indent=1).encode()
            write_atomically(self._path / "run.json", lambda file: file.write(text), overwrite=True)
        named = {name.replace("/", "."): value for name, value in chunk.items()}
        write_atomically(self._file(index), lambda file: np.savez(file, **named), overwrite=True)  # pyright: ignore

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        try:
            with np.load(self._file(index)) as archive:
                return {name.replace(".", "/"): archive[name] for name in archive.files}
        except (OSError, ValueError, zipfile.BadZipFile, EOFError):
            raise KeyError(index) from None

    def __contains__(self, index: object) -> bool:
        if not isinstance(index, int) or not self._file(index).exists():
            return False
        try:
            self[index]
        except KeyError:
            return False  # a damaged file counts as not there, and is written anew
        return True

    def __delitem__(self, index: int) -> None:
        self._file(index).unlink()

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(int(file.stem.split("-")[1]) for file in self._path.glob("chunk-*.npz")))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def discard(self) -> None:
        """Remove the folder and everything in it."""
        shutil.rmtree(self._path, ignore_errors=True)

    def _file(self, index: int) -> Path:
        return self._path / f"chunk-{index:06d}.npz"
