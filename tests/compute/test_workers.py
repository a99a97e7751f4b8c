"""Workers do what one process does, and a lost one costs its piece only."""

import dataclasses
import importlib.util
import multiprocessing
from typing import Any

import numpy as np
import pytest

from jaxinv.compute.store import Store
from jaxinv.compute.workers import WorkerError, Workers
from jaxinv.pipelines import InvertConfig, plan_inversion, prepare, simulate_observation, sunspot_parameters
from tests.models import cut_after

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("distributed") is None, reason="Dask's workers are in the extra `distributed`"
)
CONFIG = InvertConfig(
    lines=("Fe I 6302.5",), effective_triplet=True, sigma=(1e-3,), starts=2, chunk_size=8, psf_fwhm=0.025
)


@pytest.mark.slow
def test_two_workers_one_of_them_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    run = plan_inversion(prepare(simulate_observation(sunspot_parameters((8, 8), seed=2)), CONFIG))
    alone = run.store()
    run.into(alone)
    killed, write = [], Store.write

    def kill_one(store: Store, start: int, stop: int, arrays: Any) -> None:
        write(store, start, stop, arrays)
        if not killed:
            worker = multiprocessing.active_children()[0]
            worker.kill()
            killed.append(worker.pid)

    store = run.store()
    with monkeypatch.context() as patch:  # begun by one process, gone on with by two
        cut_after(1, patch)
        with pytest.raises(KeyboardInterrupt):
            run.into(store)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "write", kill_one)
        run.into(store, workers=Workers(2))
    assert killed
    for name, values in alone.arrays().items():
        if name.startswith("parameters/"):
            error = alone[name.replace("parameters", "standard_error")]
            assert np.max(np.abs(store[name] - values) / error) < 0.05, name
    np.testing.assert_array_equal(store["status"], alone["status"])


def test_workers_of_a_scheduler_do_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    from distributed import LocalCluster

    config = dataclasses.replace(CONFIG, starts=1, chunk_size=0)
    run = plan_inversion(prepare(simulate_observation(sunspot_parameters((8, 8), seed=2)), config))
    alone = run.into()
    options: dict[str, Any] = {"dashboard_address": None, "silence_logs": 50}
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, **options) as cluster:
        found = run.into(workers=Workers(scheduler=cluster.scheduler_address))
        np.testing.assert_array_equal(found.parameters["velocity"], alone.parameters["velocity"])
        write = Store.write

        def close(store: Store, start: int, stop: int, arrays: Any) -> None:
            write(store, start, stop, arrays)
            cluster.close()

        monkeypatch.setattr(Store, "write", close)
        run = plan_inversion(prepare(run.ready.cube, CONFIG))
        store = run.store()
        with pytest.raises(WorkerError, match="scheduler is gone"):
            run.into(store, workers=Workers(scheduler=cluster.scheduler_address))
        assert 0 < store.n_done < store.n


def test_workers_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    for bad in ({}, {"n": 2, "scheduler": "tcp://here:8786"}, {"n": -1}):
        with pytest.raises(ValueError, match="a number of processes or the address of a scheduler"):
            Workers(**bad)
    monkeypatch.setattr("jaxinv.compute.workers._WAIT", 1)
    with (
        pytest.raises(WorkerError, match=r"no Dask worker answers at tcp://127.0.0.1:1 "),
        Workers(scheduler="tcp://127.0.0.1:1").crew(),
    ):
        pass
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(WorkerError, match=r"pip install"):
        Workers(2)
