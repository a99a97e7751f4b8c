"""The folder of a training run: checkpoints to go on from, and logs that TensorBoard reads."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxinv.compute.atomic import OutputError, write_atomically


class Checkpoints:
    """Keeps the last states of a run in a folder by Orbax, and its losses as TensorBoard events.

    Args:
        path: the folder; made at the first evaluation.
        fingerprint: what the run depends on (configuration, versions), by name.

    Raises:
        ValueError: the folder holds a run with another fingerprint; names what differs.
    """

    def __init__(self, path: str | os.PathLike[str], fingerprint: Mapping[str, str]) -> None:
        self._path = Path(path).absolute()
        self._fingerprint = dict(fingerprint)
        self._parts: dict[str, Checkpoints] = {}
        self._manager: Any = None
        self._writer: Any = None
        found = self._read()
        if found is not None and found != self._fingerprint:
            differing = sorted(key for key in {*found, *self._fingerprint} if found.get(key) != fingerprint.get(key))
            raise ValueError(
                f"{path} holds a training with another {', '.join(differing)}: repeat that command to finish it, or "
                "discard it with --restart"
            )

    def part(self, name: str) -> Checkpoints:
        """The same run's folder for one of several trainings."""
        if name not in self._parts:
            self._parts[name] = Checkpoints(self._path / name, self._fingerprint)
        return self._parts[name]

    def _read(self) -> dict[str, str] | None:
        try:
            return json.loads((self._path / "run.json").read_text())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise ValueError(f"{self._path / 'run.json'} cannot be read ({error}): discard it with --restart") from None

    def _open(self) -> Any:
        if self._manager is None:
            import orbax.checkpoint as ocp

            logging.getLogger("absl").setLevel(logging.ERROR)
            try:
                self._path.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise OutputError(f"cannot write {self._path}: {error.strerror}") from None
            if not (self._path / "run.json").exists():
                text = json.dumps(self._fingerprint, indent=1).encode()
                write_atomically(self._path / "run.json", lambda file: file.write(text), overwrite=True)
            options = ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=False, create=True)
            self._manager = ocp.CheckpointManager(self._path / "checkpoints", options=options)
        return self._manager

    def save(self, step: int, state: Any) -> None:
        """Keep the state after a step."""
        import orbax.checkpoint as ocp

        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(state)]
        self._open().save(step, args=ocp.args.StandardSave({"leaves": leaves}))  # pyright: ignore[reportCallIssue]

    def restore(self, like: Any) -> Any | None:
        """The last state, in the structure of `like`; `None` where there is none.

        Raises:
            ValueError: the checkpoint is damaged, or of another network.
        """
        import orbax.checkpoint as ocp

        if not (self._path / "checkpoints").is_dir():
            return None
        manager = self._open()
        step = manager.latest_step()
        if step is None:
            return None
        leaves, tree = jax.tree.flatten(like)
        abstract = {"leaves": [jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype) for leaf in leaves]}
        try:
            found = manager.restore(step, args=ocp.args.StandardRestore(abstract))["leaves"]  # pyright: ignore
            shapes = [np.shape(leaf) for leaf in found]
            if shapes != [np.shape(leaf) for leaf in leaves]:
                raise ValueError("its arrays have other shapes")
        except Exception as error:  # Orbax raises many kinds for a damaged folder
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise ValueError(
                f"the checkpoint {self._path / 'checkpoints' / str(step)} is damaged or of another network "
                f"({reason[:120]}): discard it with --restart"
            ) from None
        return jax.tree.unflatten(tree, [jax.numpy.asarray(leaf) for leaf in found])

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add numbers to the log; a run that is gone on with continues where its checkpoint stands."""
        if self._writer is None:
            from tensorboardX import SummaryWriter

            self._writer = SummaryWriter(str(self._path / "log"), purge_step=step)
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        """Close files."""
        for part in (*self._parts.values(), self._manager, self._writer):
            if part is not None:
                part.close()
        self._manager = self._writer = None
