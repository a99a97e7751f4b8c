"""Writing that either succeeds or leaves no trace: a temporary name in the same folder, then a rename."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


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
        probe = path.with_name(f".{path.name}.probe")
        probe.touch()
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}; choose another folder") from None


def write_atomically(path: str | os.PathLike[str], write: Callable[[Any], object], *, overwrite: bool) -> None:
    """Let `write` fill a temporary file, then give it its name.

    The temporary name follows from `path`, so that what a killed process left behind is gone when the file is written
    the next time.

    Raises:
        OutputError: as `check_writable`; or the disk is full, or anything else that the system refuses; or another
            process is writing the same file.
    """
    path = Path(path)
    check_writable(path, overwrite=overwrite)
    temporary = _temporary(path)
    try:
        with _Watched(temporary) as file:
            try:
                write(file)
            except Exception:
                if file.failure is not None:  # what the writing library made of it does not matter
                    raise file.failure from None
                raise
            file.flush()
            os.fsync(file.fileno())
            temporary.replace(path)
    except BlockingIOError:
        raise OutputError(f"cannot write {path}: another process is writing it") from None
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from None
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def discard_folder(path: str | os.PathLike[str]) -> None:
    """Remove a folder; one that was half removed when a process was killed has another name, and goes as well."""
    path = Path(path)
    gone = path.with_name(f".{path.name}.discarded")
    shutil.rmtree(gone, ignore_errors=True)
    if path.exists():
        path.replace(gone)
        shutil.rmtree(gone, ignore_errors=True)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.unfinished")


class _Watched(io.BufferedIOBase):
    """A file for one writer that remembers the first error of the system, which libraries may hide behind their own."""

    def __init__(self, path: Path) -> None:
        self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
        self.failure: OSError | None = None
        if fcntl is not None:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._file.close()
                raise
            except OSError:  # a file system without locks
                pass
        self._file.truncate(0)

    def write(self, data: Any, /) -> int:
        try:
            return self._file.write(data)
        except OSError as error:
            self.failure = self.failure or error
            raise

    def flush(self) -> None:
        if not self._file.closed:
            self._file.flush()

    def fileno(self) -> int:
        return self._file.fileno()

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._file.seek(offset, whence)

    def close(self) -> None:
        self._file.close()
        super().close()
