"""What every method does with a batch first: check names, units and shapes, and put the objects in a row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jaxinv.names import suggestion
from jaxinv.observation import Observation, StokesCube
from jaxinv.problem import Problem


class Rows(NamedTuple):
    """Objects in a row.

    Attributes:
        problem: what is known for each object is taken out of its prior; any sigma common to all is in its noise.
        observed: `(n, *data_shape)`, NaN where masked, or an `Observation` of that with each object's sigma.
        known: `(n, *parameter_shape)` each.
        ids: `(n,)` of the objects, from which what is drawn for each follows.
        shape: the batch axes that the data came with.
    """

    problem: Problem
    observed: Any
    known: dict[str, np.ndarray]
    ids: np.ndarray
    shape: tuple[int, ...]

    @property
    def n(self) -> int:
        """The number of objects."""
        return int(np.prod(self.shape, dtype=int))

    @property
    def dtype(self) -> Any:
        """Of the data, float32 or float64."""
        return jax.tree.leaves(self.observed)[0].dtype

    def pick(self, index: np.ndarray) -> Rows:
        """Some of the objects, in a row."""
        observed, known = jax.tree.map(lambda x: x[index], (self.observed, self.known))
        return Rows(self.problem, observed, known, self.ids[index], (len(index),))


def in_rows(problem: Problem, data: Any, fixed: Mapping[str, Any] | None) -> Rows:
    """Check what a method was given, and put the objects in a row; data that are in rows already stay as they are.

    Raises:
        ValueError: the data's shape does not end with the prediction's, an array has the wrong batch axes, a name is
            not a parameter, the data carry a unit, or ids are no whole numbers from 0.
    """
    if isinstance(data, Rows):
        return data
    check_names(problem, "fixed", fixed or {})
    problem, values, sigma, shape = _prepare(problem, data, fixed)
    n = int(np.prod(shape, dtype=int))
    known = per_object(problem, "fixed", fixed, shape, values.dtype)
    observed = values.reshape(n, *values.shape[len(shape) :])
    observed = observed if sigma is None else Observation(observed, sigma.reshape(observed.shape))
    problem = problem.given(known)
    problem = eqx.tree_at(lambda p: p.noise, problem, problem.noise.with_arrays(values.dtype))
    return Rows(problem, observed, known, _ids(Observation.of(data).ids, shape), shape)


def _ids(ids: Any, shape: tuple[int, ...]) -> np.ndarray:
    if ids is None:
        return np.arange(int(np.prod(shape, dtype=int)), dtype=np.uint32)
    ids = np.asarray(ids)
    if ids.shape != shape or ids.dtype.kind not in "iu" or np.any(ids < 0) or np.any(ids >= 2**32):
        raise ValueError(
            f"the ids of the objects are whole numbers from 0 of the batch's shape {shape}; found {ids.dtype} of the "
            f"shape {ids.shape}"
        )
    return ids.ravel().astype(np.uint32)


def _prepare(
    problem: Problem, data: Any, fixed: Mapping[str, Any] | None
) -> tuple[Problem, np.ndarray, np.ndarray | None, tuple[int, ...]]:
    """The problem with any sigma common to all objects, values with NaN where masked, sigma of each object, batch."""
    observation = Observation.of(data)
    for name, value in zip(Observation._fields, observation, strict=True):
        _check_numbers(name, value)
        if hasattr(value, "unit"):
            raise ValueError(
                f"the {name} carry the unit {value.unit}; convert them to the forward model's units and pass plain "
                "arrays (`quantity.to_value(unit)`)"
            )
    given = [_unmasked(array) for array in (observation.values, observation.sigma)]
    mask = observation.mask
    for _, valid in given:  # masked arrays say themselves what is missing
        if valid is not None:
            shape = np.broadcast_shapes(np.shape(observation.values), valid.shape)
            mask = np.broadcast_to(valid, shape) if mask is None else np.logical_and(np.asarray(mask), valid)
    observation = Observation(given[0][0], given[1][0], mask)
    values = np.asarray(observation.values)
    # Native byte order (FITS is big-endian), and float64 only where JAX has it switched on.
    kept = values.dtype.kind == "f" and values.dtype.itemsize == 4
    values = values.astype(np.float32 if kept else jnp.result_type(float), copy=False)
    shape = problem.given(fixed or {}).data_shape(fixed or {})
    if values.ndim < len(shape) or values.shape[values.ndim - len(shape) :] != shape:
        same = shape == problem.given(fixed or {}).prediction_shape(fixed or {})
        predicts = "the forward model predicts" if same else f"{type(problem.noise).__name__} noise takes"
        raise ValueError(
            f"the data have the shape {values.shape}; {predicts} {shape} for one object, so the data "
            f"must be (..., {', '.join(map(str, shape))}): move or trim the axes"
        )
    batch = values.shape[: values.ndim - len(shape)]
    if 0 in batch:
        raise ValueError(f"the data hold no object: their shape is {values.shape}")
    if observation.mask is not None:
        values = np.where(_broadcast("mask", observation.mask, values.shape), values, np.nan)
    sigma = observation.sigma
    if sigma is None:
        return problem, values, None, batch
    sigma = np.asarray(sigma, values.dtype)
    scaled = problem.noise.with_sigma(sigma)
    if sigma.ndim <= len(shape):
        sigma = np.broadcast_to(_broadcast("sigma", sigma, values.shape)[(0,) * len(batch)], shape)
        scaled = scaled.with_sigma(np.array(sigma))
        return eqx.tree_at(lambda p: p.noise, problem, scaled), values, None, batch
    return problem, values, np.array(_broadcast("sigma", sigma, values.shape)), batch


def _check_numbers(name: str, value: Any) -> None:
    if value is None:
        return
    if isinstance(value, StokesCube):
        raise ValueError(
            "the data are a StokesCube, which jaxinv.invert takes; `cube.pixels(0, cube.n_pixels)` is its array"
        )
    try:
        dtype = value.dtype if hasattr(value, "dtype") else np.asanyarray(value).dtype
    except (TypeError, ValueError):  # ragged
        dtype = np.dtype(object)
    if dtype.kind not in "fiub" and not jnp.issubdtype(dtype, jnp.floating):  # the latter are JAX's narrow ones
        raise ValueError(
            f"the {name} of the data are no array of real numbers: found {value!r:.60}"
            + ("; jaxinv.io reads files" if isinstance(value, str) else "")
        )


def _unmasked(array: Any) -> tuple[Any, np.ndarray | None]:
    """An array, and where it is valid if it is a masked one."""
    if not isinstance(array, np.ma.MaskedArray):
        return array, None
    return np.ma.getdata(array), ~np.ma.getmaskarray(array)


def _broadcast(name: str, array: Any, shape: tuple[int, ...]) -> np.ndarray:
    try:
        return np.broadcast_to(np.asarray(array), shape)
    except ValueError:
        raise ValueError(f"the {name} has the shape {np.shape(array)}, which does not broadcast to {shape}") from None


def check_names(problem: Problem, what: str, given: Mapping[str, Any]) -> None:
    """Every name is a parameter of the forward model, and its value a plain array; else a `ValueError`."""
    for name, value in given.items():
        units = problem.forward.units
        if name not in units:
            raise ValueError(
                f"`{what}` names {name!r}, which is no parameter of the forward model{suggestion(name, units)} "
                f"(it reads {', '.join(units)})"
            )
        if hasattr(value, "unit"):
            raise ValueError(
                f"`{what}[{name!r}]` carries the unit {value.unit}; pass a plain array in the model's unit"
            )
        if np.ma.is_masked(value):
            raise ValueError(f"`{what}[{name!r}]` holds masked values: fill them")


def per_object(
    problem: Problem, what: str, given: Mapping[str, Any] | None, batch: tuple[int, ...], dtype: Any
) -> dict[str, np.ndarray]:
    """Named arrays with one leading axis over all objects."""
    out = {}
    n = int(np.prod(batch, dtype=int))
    for name, value in (given or {}).items():
        shape = batch + problem.forward.parameters[name].shape
        try:
            array = np.broadcast_to(np.asarray(value, dtype), shape)
        except (TypeError, ValueError):
            raise ValueError(f"`{what}[{name!r}]` has the shape {np.shape(value)}; expected {shape}") from None
        out[name] = array.reshape(n, *shape[len(batch) :])
    return out


def filled(tree: Any, n: int) -> Any:
    """Arrays of a piece of a batch filled up to `n` objects, so that all pieces run one compiled program.

    An `Observation` is filled up with objects without data, which cost nothing; other arrays repeat the last object.
    """

    def fill(x: Any) -> Any:
        if not isinstance(x, Observation):
            return pad(x, n)
        more = jax.tree.map(lambda x: pad(x, n), x)
        more.values[len(x.values) :] = np.nan
        return more

    return jax.tree.map(fill, tree, is_leaf=lambda x: isinstance(x, Observation))


def pad(array: np.ndarray, n: int) -> np.ndarray:
    """`array` with its last element repeated up to a length of `n`."""
    return array if len(array) == n else np.concatenate([array, np.repeat(array[-1:], n - len(array), axis=0)])
