"""Other processes that do the pieces of a run: Dask's workers, on this machine or on a cluster.

Each works with all JAX devices that it sees. Inputs go to it and arrays come back, so that it needs no file of the run;
the process that started the run reads and writes. A worker that is lost costs the piece that it was at: Dask gives it
to another one.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np

_IN_HAND = 2
"""Pieces that a worker has at a time, so that it need not wait for the next one."""
_WAIT = 30
"""For the first worker of a scheduler [s]."""
_LOCAL: dict[str, Any] = {"dashboard_address": None, "silence_logs": 50, "memory_limit": 0}
_SETTINGS = ("jax_enable_x64", "jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
"""Of JAX, that workers take over: results must not depend on who computes them."""

Job = tuple[Any, Callable[[], Any]]
"""What a piece is called, and what gives its inputs."""


class WorkerError(OSError):
    """Workers cannot be had, or were lost again and again."""


@dataclasses.dataclass(frozen=True)
class Workers:
    """Who does the pieces of a run.

    A script that asks for processes of its own is imported by each of them: keep what it does behind
    `if __name__ == "__main__":`.

    Args:
        n: processes of this machine, which share its cores.
        scheduler: or the address of a Dask scheduler, `tcp://host:8786`, whose workers have jaxinv installed.

    Raises:
        ValueError: none or both are given, or `n` is below 1.
        WorkerError: Dask is not installed.
    """

    n: int = 0
    scheduler: str | None = None

    def __post_init__(self) -> None:
        if self.n < 0 or (self.n == 0) == (self.scheduler is None):
            raise ValueError(
                f"workers are a number of processes or the address of a scheduler, one of the two; found {self.n} and "
                f"{self.scheduler!r}"
            )
        if importlib.util.find_spec("distributed") is None:
            raise WorkerError('workers need Dask: pip install "jaxinv[distributed]"')

    @contextmanager
    def crew(self) -> Iterator[Crew]:
        """Workers that are there while the `with` statement lasts.

        Raises:
            WorkerError: the scheduler does not answer or has no worker.
        """
        from dask import config
        from distributed import Client, LocalCluster

        quiet = {
            "distributed.admin.large-graph-warning-threshold": "1GB",
            "distributed.comm.timeouts.connect": f"{_WAIT}s",
            "distributed.worker.daemon": True,
        }
        with config.set(quiet):
            if self.scheduler is None:
                cores = _cores()
                cluster: Any = LocalCluster(n_workers=self.n, threads_per_worker=1, **_LOCAL)
            else:
                cores, cluster = [], self.scheduler
            try:
                client = Client(cluster, timeout=_WAIT, set_as_default=False)
                client.wait_for_workers(1, timeout=_WAIT)
            except (OSError, TimeoutError) as error:
                if not isinstance(cluster, str):
                    cluster.close()
                why, where = " ".join(str(error).split())[:120], self.scheduler or "this machine"
                raise WorkerError(f"no Dask worker answers at {where} ({why})") from None
            try:
                settings = {name: getattr(jax.config, name) for name in _SETTINGS}
                client.register_plugin(_plugin(settings, cores, self.n))
                yield Crew(client)
            finally:
                client.close()
                if not isinstance(cluster, str):
                    cluster.close()


class Crew:
    """Workers that are there."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def each(self, work: Any, jobs: list[Job]) -> Iterator[tuple[Any, dict[str, np.ndarray]]]:
        """What became of each piece, in the order in which they are done; few are on their way at a time.

        Raises:
            WorkerError: a piece has cost several workers, or the scheduler is gone.
        """
        import cloudpickle
        from distributed import as_completed
        from distributed.scheduler import KilledWorker

        blob, left = cloudpickle.dumps(work), iter(jobs)
        names: dict[Any, Any] = {}
        most = _IN_HAND * max(len(self._client.scheduler_info(n_workers=-1)["workers"]), 1)

        def send() -> Any:
            name, inputs = next(left)
            future = self._client.submit(_do, blob, inputs(), pure=False)
            names[future.key] = name
            return future

        coming = as_completed([send() for _ in range(min(most, len(jobs)))], loop=self._client.loop)
        sent = min(most, len(jobs))
        for future in coming:
            try:
                arrays = future.result()
            except KilledWorker as error:
                raise WorkerError(
                    f"the piece {names[future.key]} has cost {error.allowed_failures + 1} workers (out of memory?): "
                    "what is done is kept; make pieces smaller (chunk_size)"
                ) from None
            except CancelledError:
                raise WorkerError("the Dask scheduler is gone: what is done is kept, and is gone on with") from None
            if sent < len(jobs):
                coming.add(send())
                sent += 1
            yield names.pop(future.key), arrays


_known: dict[bytes, Any] = {}
"""The last work that this process was given, so that its compiled programs serve all pieces."""


def _do(blob: bytes, inputs: Any) -> dict[str, np.ndarray]:
    if blob not in _known:
        _known.clear()
        _known[blob] = pickle.loads(blob)
    return _known[blob](inputs, _told_nobody)


def _told_nobody(objects: int, draws: int = 0, divergences: int = 0) -> None:
    """On a worker there is no bar."""


def _cores() -> list[int]:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def _plugin(settings: dict[str, Any], cores: list[int], n: int) -> Any:
    """Sets a worker up before it imports anything heavy: its share of the cores, and JAX's settings."""
    from distributed import WorkerPlugin

    class Settings(WorkerPlugin):
        name = "jaxinv"

        def setup(self, worker: Any) -> None:
            if len(cores) >= n > 0:
                mine = int(worker.name) % n
                os.sched_setaffinity(0, cores[mine::n])
            import jax

            for name, value in settings.items():
                jax.config.update(name, value)

    return Settings()
