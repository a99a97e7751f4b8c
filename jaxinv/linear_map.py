"""A linear function whose transpose is stated, not derived: differentiable in either mode, and batched."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array


def linear_map(function: Callable[[Array], Array], transpose: Callable[[Array], Array], x: Array) -> Array:
    """`function(x)`; derivatives of any order, in either mode, are this function and its transpose.

    Args:
        function: linear, of one real array, whose shape it knows; hashable by value, and closes over no traced array.
        transpose: the same of the result, likewise.
        x: the array.
    """
    for one in (function, transpose):
        if not isinstance(one, Hashable):
            raise TypeError(f"{one!r} cannot be hashed: a linear map is compiled once for equal functions")
    return _linear_map.bind(jnp.asarray(x), function=function, transpose=transpose)


@dataclasses.dataclass(frozen=True)
class _Each:
    """A function of one array as a function of several, one after the other."""

    function: Callable[[Array], Array]

    def __call__(self, x: Array) -> Array:
        return jax.lax.map(self.function, x)


def _apply(x: Array, *, function: Callable[[Array], Array], transpose: Any) -> Array:
    del transpose
    return function(x)


def _shape(x: Any, *, function: Callable[[Array], Array], transpose: Any) -> Any:
    del transpose
    found = jax.eval_shape(function, jax.ShapeDtypeStruct(x.shape, x.dtype))
    return jax.core.ShapedArray(found.shape, found.dtype)


def _transposed(cotangent: Array, x: Any, *, function: Any, transpose: Any) -> list[Array]:
    del x
    return [linear_map(transpose, function, cotangent)]


def _batched(arrays: Any, axes: Any, *, function: Any, transpose: Any) -> tuple[Array, int]:
    return linear_map(_Each(function), _Each(transpose), jnp.moveaxis(arrays[0], axes[0], 0)), 0


_linear_map = Primitive("linear_map")
_linear_map.def_impl(jax.jit(_apply, static_argnames=("function", "transpose")))
_linear_map.def_abstract_eval(_shape)
mlir.register_lowering(_linear_map, mlir.lower_fun(_apply, multiple_results=False))
ad.deflinear2(_linear_map, _transposed)
batching.primitive_batchers[_linear_map] = _batched
