"""A batch spread over all devices: each runs the same compiled program on its share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np

from jaxinv.batch import pad

_FEW = 64
"""Shares below this size are filled up to a power of two: programs for a few objects are soon there, and none is
compiled for the next one more."""


def over_devices(run: Callable[[Any, Any], Any], common: Any, inputs: Any) -> Any:
    """`run(common, inputs)`, compiled, with the leading axis of `inputs` in equal shares on all devices.

    Args:
        run: a pure function, the same object from call to call.
        common: what every share needs; its arrays are traced.
        inputs: pytree of arrays with the same leading axis.

    Returns:
        NumPy arrays with that leading axis.
    """
    n = len(jax.tree.leaves(inputs)[0])
    n_devices = min(len(jax.devices()), n)
    size = -(-n // n_devices)
    if size < _FEW:
        size = 1 << (size - 1).bit_length()
    padded = jax.tree.map(lambda x: pad(x, size * n_devices), inputs)
    if n_devices == 1:
        out = _here(run, common, padded)
    else:
        mesh = jax.make_mesh((n_devices,), ("objects",), axis_types=(jax.sharding.AxisType.Auto,))
        out = _shared(run, common, padded, mesh)
    return jax.tree.map(lambda x: np.asarray(x)[:n], out)


@eqx.filter_jit
def _here(run: Any, common: Any, inputs: Any) -> Any:
    return run(common, inputs)


@eqx.filter_jit
def _shared(run: Any, common: Any, inputs: Any, mesh: Any) -> Any:
    here = jax.sharding.PartitionSpec("objects")
    share = lambda inputs: run(common, inputs)  # noqa: E731
    return jax.shard_map(share, mesh=mesh, in_specs=here, out_specs=here, check_vma=False)(inputs)
