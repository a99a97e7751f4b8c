"""Writing that either succeeds or leaves no trace: a temporary name in the same folder, then a rename."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


class OutputError(OSError):
    """A result cannot be written; nothing half-written was left behind."""


def check_writable(path: str | os.PathLike[str], *, overwrite: bool) -> None:
    """Fail now, before hours of work, if `path` could not be written later.

    Raises:
        OutputError: its folder is missing or not writable, it is a folder, or it exists and may not be replaced.
    """
    path = Path(path)
    if path.is_dir():
        raise OutputError(f"cannot write {path}: it is a folder; name a file in it")
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists already: choose another name, or allow it to be replaced (overwrite)")
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}; choose another folder") from None
    os.close(handle)
    Path(temporary).unlink()


def write_atomically(path: str | os.PathLike[str], write: Callable[[BinaryIO], object], *, overwrite: bool) -> None:
    """Let `write` fill a temporary file, then give it its name.

    Raises:
        OutputError: as `check_writable`; or the disk is full, or anything else that the system refuses.
    """
    path = Path(path)
    check_writable(path, overwrite=overwrite)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(FileNotFoundError):
            Path(temporary).unlink()
