"""A batch spread over all devices: each runs the same compiled program on its share.

One way for all methods, with one guard: on a CPU, jaxlib's LAPACK kernels split a large batch of matrices among the
threads that run the program and wait for them, for ever where each thread is a device that waits (seen with jaxlib
0.10.2). A program that would hand them such a batch runs on one device.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np

from jaxinv.compute.batch import pad

_FEW = 64
"""Shares below this size are filled up to a power of two: programs for a few objects are soon there, and none is
compiled for the next one more."""
_LAPACK = 200_000
"""Work of one batch of matrices, on one device, that a CPU's LAPACK kernels do not yet split among threads."""
_OBJECTS = jax.sharding.PartitionSpec("objects")


def mesh_of(n: int, lapack: int = 0) -> jax.sharding.Mesh | None:
    """The devices that `n` objects are spread over, in equal shares; `None`: one device.

    Args:
        n: objects.
        lapack: floating-point operations of the matrix factorizations of one object that are left to LAPACK, about
            dimension^3 for each that is done at the same time (`small_matrices` says which).
    """
    devices = jax.devices()
    count = min(len(devices), n)
    waits = devices[0].platform == "cpu" and n * lapack > _LAPACK * count
    if count <= 1 or n % count or waits:
        return None
    return jax.make_mesh((count,), ("objects",), axis_types=(jax.sharding.AxisType.Auto,))


def place(mesh: Any, tree: Any) -> Any:
    """Arrays where a program wants them: from elsewhere, it would be compiled again."""
    devices = jax.devices()[0] if mesh is None else jax.sharding.NamedSharding(mesh, _OBJECTS)
    return jax.device_put(tree, devices)


def spread(run: Callable[..., Any], mesh: Any, *inputs: Any) -> Any:
    """`run(*inputs)` inside a compiled program, the leading axis of all inputs and outputs in equal shares."""
    if mesh is None:
        return run(*inputs)
    return jax.shard_map(run, mesh=mesh, in_specs=_OBJECTS, out_specs=_OBJECTS, check_vma=False)(*inputs)


def over_devices(run: Callable[[Any, Any], Any], common: Any, inputs: Any, *, lapack: int = 0) -> Any:
    """`run(common, inputs)`, compiled, with the leading axis of `inputs` in shares on all devices.

    Args:
        run: a pure function, the same object from call to call.
        common: what every share needs; its arrays are traced.
        inputs: pytree of arrays with the same leading axis, of any length.
        lapack: see `mesh_of`.

    Returns:
        NumPy arrays with that leading axis.
    """
    n = len(jax.tree.leaves(inputs)[0])
    n_devices = min(len(jax.devices()), n)
    size = -(-n // n_devices)
    if size < _FEW:
        size = 1 << (size - 1).bit_length()
    padded = jax.tree.map(lambda x: pad(x, size * n_devices), inputs)
    out = _compiled(run, common, padded, mesh_of(size * n_devices, lapack))
    return jax.tree.map(lambda x: np.asarray(x)[:n], out)


@eqx.filter_jit
def _compiled(run: Any, common: Any, inputs: Any, mesh: Any) -> Any:
    return spread(lambda inputs: run(common, inputs), mesh, inputs)
