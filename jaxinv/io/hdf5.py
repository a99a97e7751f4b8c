"""Frames in HDF5 files, as cameras write them: a dataset (frame, y, x), whose attributes are FITS cards by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxinv.io.errors import InputError

HDF5_ENDINGS = (".h5", ".hdf5", ".hdf", ".he5")
_SIGNATURE = b"\x89HDF\r\n\x1a\n"


@dataclasses.dataclass(frozen=True)
class Stack:
    """Frames of one file.

    Attributes:
        frames: `(n_frames, ny, nx)`.
        header: what the file says of them, by the names of FITS cards.
        truth: see `FrameBurst`.
        provenance: what made them.
    """

    frames: np.ndarray
    header: Mapping[str, Any]
    truth: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    provenance: Mapping[str, str] = dataclasses.field(default_factory=dict)


def is_hdf5(path: Path) -> bool:
    """Whether a file is HDF5, by its first bytes, or by its name where it has none."""
    if not path.is_file():
        return path.suffix.lower() in HDF5_ENDINGS
    with path.open("rb") as file:
        start = file.read(len(_SIGNATURE))
    return start == _SIGNATURE or path.suffix.lower() in HDF5_ENDINGS


def read_frames(path: Path, dataset: str | None = None) -> Stack:
    """The frames of a file, `(frame, y, x)` or a single one.

    Args:
        path: of the file.
        dataset: its name within the file; `None`: the only one with three axes, or else with two.

    Raises:
        InputError: there is no such file or dataset, it is damaged, holds no numbers, or several could be meant.
    """
    import h5py

    if not path.is_file():
        raise InputError(f"there is no file {path}")
    try:
        with h5py.File(path) as file:
            found = _chosen(path, file, dataset)
            values = np.array(found)
            header: dict[str, Any] = {**_attributes(file), **_attributes(found.parent), **_attributes(found)}
    except (OSError, RuntimeError) as error:
        why = " ".join(str(error).split())
        raise InputError(f"{path} cannot be read as HDF5 ({why:.200}): copy it again") from None
    if values.dtype.kind not in "fiu" or values.ndim not in (2, 3) or not values.size:
        raise InputError(
            f"{path} holds no burst: its frames are {values.dtype} of shape {values.shape}, "
            "expected numbers (frame, y, x)"
        )
    return Stack(values.astype(np.float32).reshape(-1, *values.shape[-2:]), header)


def _chosen(path: Path, file: Any, dataset: str | None) -> Any:
    import h5py

    there: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            there[name] = item

    file.visititems(visit)
    if dataset is not None:
        if dataset.strip("/") not in there:
            raise InputError(f"{path} has no dataset {dataset!r}; it has {', '.join(sorted(there)) or 'none'}")
        return there[dataset.strip("/")]
    for axes in (3, 2):
        fitting = sorted(name for name, item in there.items() if item.ndim == axes)
        if len(fitting) == 1:
            return there[fitting[0]]
        if fitting:
            raise InputError(f"{path} has several datasets with {axes} axes, {', '.join(fitting)}: say which (dataset)")
    raise InputError(f"{path} holds no burst: no dataset has three axes (frame, y, x)")


def _attributes(item: Any) -> dict[str, Any]:
    """By upper-case names; texts as such, and single numbers."""
    out: dict[str, Any] = {}
    for name, value in item.attrs.items():
        plain = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        if isinstance(plain, np.ndarray | np.generic) and np.size(plain) == 1:
            plain = np.asarray(plain).reshape(())[()].item()
        if isinstance(plain, str | int | float):
            out[str(name).upper()] = plain
    return out
