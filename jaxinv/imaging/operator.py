"""Linear operators as forward models: they know their shapes, their exact adjoint and their norm."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array

from jaxinv.forward import Forward, Parameter, Parameters
from jaxinv.knowledge import Knowledge
from jaxinv.linearization import Linear, Linearization

IMAGE = "image"
"""What the parameter of a linear operator is called."""
_TURNS = 100
"""Of the power iteration, at most."""


class LinearOperator(Forward):
    """A linear map of a real image; a forward model whose one parameter is `image`.

    A subclass defines the two shapes and `apply`; its exact transpose (`transposed`) comes from the program itself, and
    `norm`, the largest singular value, from power iteration, unless it knows better. `a @ b` is a after b.

    `operator(image)` and `operator({"image": image})` are the same.
    """

    @property
    @abc.abstractmethod
    def input_shape(self) -> tuple[int, ...]:
        """Of the image."""

    @property
    @abc.abstractmethod
    def output_shape(self) -> tuple[int, ...]:
        """Of the data."""

    @abc.abstractmethod
    def apply(self, image: Array) -> Array:
        """The data of an image."""

    def adjoint(self, data: Any) -> Array:
        """The image A^T d: <A x, d> = <x, A^T d> for all x.

        Args:
            data: `output_shape`.

        Raises:
            ValueError: another shape.
        """
        return self.transposed(_checked(data, self.output_shape, "data"))

    def transposed(self, data: Array) -> Array:
        """`adjoint` of data that have the right shape."""
        image = jax.ShapeDtypeStruct(self.input_shape, data.dtype)
        (found,) = jax.linear_transpose(self.apply, image)(data)
        return found

    def estimate(self, data: Any) -> Array:
        """The classical image in one pass, linear in the data: A^T d / norm^2 unless an operator knows better.

        Args:
            data: `output_shape`.

        Raises:
            ValueError: another shape.
        """
        return self.estimated(_checked(data, self.output_shape, "data"))

    def estimated(self, data: Array) -> Array:
        """`estimate` of data that have the right shape."""
        return self.transposed(data) / self.largest() ** 2

    @property
    def norm(self) -> Any:
        """The largest singular value: a number, or traced where the operator is."""
        found = self.largest()
        return found if isinstance(found, Tracer) else float(found)

    def largest(self) -> Any:
        """`norm`, as the operator computes it: by power iteration, unless it knows better."""
        return largest_singular_value(self)

    @property
    def spectrum(self) -> Any:
        """Eigenvalues of A^T A, as `rfft2` orders them, where the Fourier transform diagonalizes it; else `None`."""
        return None

    @property
    def parameters(self) -> dict[str, Parameter]:
        return {IMAGE: Parameter(shape=self.input_shape)}

    @property
    def knowledge(self) -> Knowledge:
        """The first estimate, the image that is the same everywhere and fits best; and the classical one."""

        def guess(values: Array, valid: Array) -> dict[str, Array]:
            flat = jnp.where(valid, self.apply(jnp.ones(self.input_shape)), 0)
            size = jnp.sum(flat**2)
            level = jnp.sum(flat * values) / jnp.where(size > 1e-6, size, jnp.inf)
            return {IMAGE: jnp.full((1, *self.input_shape), level)}

        def inverse(values: Array, valid: Array) -> dict[str, Array]:
            typical = jnp.sum(jnp.where(valid, values, 0)) / jnp.maximum(jnp.sum(valid), 1)
            return {IMAGE: self.estimated(jnp.where(valid, values, typical))}

        return Knowledge(guess=guess, inverse=inverse)

    def __call__(self, image: Any) -> Array:
        """The data of an image, an array of `input_shape` or named parameters.

        Raises:
            ValueError: another shape, or complex numbers.
            KeyError: there is no image among the parameters.
        """
        if isinstance(image, Mapping):
            self.need(image)
            image = image[IMAGE]
        return self.apply(_checked(image, self.input_shape, "image"))

    def linearize(self, parameters: Parameters, names: Sequence[str]) -> Linearization:
        """Itself: its own derivative, with its own adjoint."""
        if list(names) != [IMAGE]:
            return super().linearize(parameters, names)
        return Linear(
            self(parameters),
            {IMAGE: self.input_shape},
            lambda tangents: self(tangents[IMAGE]),
            lambda cotangent: {IMAGE: self.adjoint(cotangent)},
            norm=lambda: self.norm,
            spectrum=self.spectrum,
        )

    def __matmul__(self, inner: LinearOperator) -> Composition:
        return Composition(self, inner)


class Composition(LinearOperator):
    """`outer` after `inner`.

    Raises:
        ValueError: what comes out of the inner one is not what goes into the outer one.
    """

    outer: LinearOperator
    inner: LinearOperator

    def __check_init__(self) -> None:
        if self.outer.input_shape != self.inner.output_shape:
            raise ValueError(
                f"{type(self.inner).__name__} gives {self.inner.output_shape}, but {type(self.outer).__name__} takes "
                f"{self.outer.input_shape}"
            )

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.inner.input_shape

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self.outer.output_shape

    def apply(self, image: Array) -> Array:
        return self.outer.apply(self.inner.apply(image))

    def transposed(self, data: Array) -> Array:
        return self.inner.transposed(self.outer.transposed(data))

    def estimated(self, data: Array) -> Array:
        return self.inner.estimated(self.outer.estimated(data))


class Stack(LinearOperator):
    """Several operators on the same image: frames of it, `(n, *output_shape)`.

    Raises:
        ValueError: none, or their shapes differ.
    """

    operators: tuple[LinearOperator, ...]

    def __init__(self, operators: Sequence[LinearOperator]) -> None:
        self.operators = tuple(operators)
        shapes = {(one.input_shape, one.output_shape) for one in self.operators}
        if len(shapes) != 1:
            raise ValueError(f"a stack is of operators with the same shapes; found {sorted(shapes)}")

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.operators[0].input_shape

    @property
    def output_shape(self) -> tuple[int, ...]:
        return (len(self.operators), *self.operators[0].output_shape)

    def apply(self, image: Array) -> Array:
        return jnp.stack([one.apply(image) for one in self.operators])

    def transposed(self, data: Array) -> Array:
        each = [one.transposed(part) for one, part in zip(self.operators, data, strict=True)]
        return sum(each[1:], each[0])

    def estimated(self, data: Array) -> Array:
        return jnp.mean(jnp.stack([one.estimated(part) for one, part in zip(self.operators, data, strict=True)]), 0)

    @property
    def spectrum(self) -> Any:
        each = [one.spectrum for one in self.operators]
        return None if any(one is None for one in each) else sum(each[1:], each[0])


def largest_singular_value(operator: LinearOperator) -> Array:
    """By power iteration on A^T A, to 1e-4 where the next singular value is well below, never above the true one."""

    def turn(state: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        k, x, _, now = state
        x = operator.transposed(operator.apply(x))
        size = jnp.sqrt(jnp.sum(x**2))
        return k + 1, x / jnp.where(size > 0, size, 1), now, jnp.sqrt(size)

    def open_(state: tuple[Array, Array, Array, Array]) -> Array:
        k, _, before, now = state
        return (k < _TURNS) & (jnp.abs(now - before) > 1e-6 * now)

    start = np.random.default_rng(0).normal(size=operator.input_shape) + 1.0
    start = jnp.asarray(start / np.sqrt(np.sum(start**2)), float)
    zero = jnp.zeros((), start.dtype)
    with jax.ensure_compile_time_eval():
        found = jax.jit(lambda x: jax.lax.while_loop(open_, turn, (jnp.zeros((), int), x, zero - 1, zero)))(start)
    return found[3]


def _checked(given: Any, shape: tuple[int, ...], what: str) -> Array:
    array = jnp.asarray(given)
    if array.shape != shape:
        raise ValueError(f"the {what} has the shape {array.shape}; the operator takes {shape}")
    if jnp.iscomplexobj(array):
        raise ValueError(f"the {what} holds complex numbers; the operator takes real ones, such as [z.real, z.imag]")
    return array if jnp.issubdtype(array.dtype, jnp.inexact) else array.astype(float)


def check_shape(shape: Sequence[int]) -> tuple[int, int]:
    """The shape of an image, (ny, nx).

    Raises:
        ValueError: it is none.
    """
    try:
        ny, nx = (int(n) for n in shape)
    except (TypeError, ValueError):
        raise ValueError(f"the shape of an image is two whole numbers, (ny, nx); found {shape!r}") from None
    if ny < 1 or nx < 1:
        raise ValueError(f"the shape of an image is two whole numbers above 0; found ({ny}, {nx})")
    return ny, nx
