"""A forward model near a point: its prediction, and its derivative as an operator.

Two forms with one face. Where few numbers are inferred the Jacobian is at hand (`Dense`: ten scalars of a pixel);
where many are, only what it does to a vector (`Operator`: modes of a burst, a whole map). Solvers use the face. Physics
that can do better overrides `Forward.linearize`: with an exact adjoint, or a normal matrix cheaper than the Jacobian.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

MOST_DENSE = 100
"""Inferred numbers up to which Jacobians and covariances are dense where nothing else is asked for."""


class Linearization(abc.ABC):
    """The prediction at a point, and the derivative J there by some of the parameters.

    Attributes:
        prediction: at the point.
        shapes: name -> shape of the parameters by which it is differentiated; their order is that of `normal`.
    """

    prediction: Array
    shapes: dict[str, tuple[int, ...]]

    @abc.abstractmethod
    def jvp(self, tangents: Mapping[str, Any]) -> Array:
        """J times a change of the parameters: the change of the prediction."""

    @abc.abstractmethod
    def vjp(self, cotangent: Array) -> dict[str, Array]:
        """J transposed times a cotangent of the prediction, by parameter."""

    @abc.abstractmethod
    def tied(self, tie: Callable[[dict[str, Array]], dict[str, Array]], free: Mapping[str, Any]) -> Linearization:
        """The derivative by the parameters `free` alone, on which the others depend as `tie` says."""

    @property
    @abc.abstractmethod
    def jacobian(self) -> dict[str, Array]:
        """J itself, `(*prediction_shape, *parameter_shape)` by parameter."""

    @abc.abstractmethod
    def normal(self, whitening: Array) -> Array:
        """J^T W^2 J, `(n, n)`, where W multiplies each sample of the prediction by `whitening`."""


class Dense(Linearization):
    """With the Jacobian at hand.

    Args:
        prediction: at the point.
        jacobian: `(*prediction_shape, *parameter_shape)` by parameter.
    """

    def __init__(self, prediction: Array, jacobian: Mapping[str, Array]) -> None:
        self.prediction = prediction
        self._jacobian = dict(jacobian)
        self.shapes = {name: tuple(x.shape[prediction.ndim :]) for name, x in self._jacobian.items()}

    @property
    def jacobian(self) -> dict[str, Array]:
        return dict(self._jacobian)

    @property
    def rows(self) -> Array:
        """`(n, *prediction_shape)`."""
        # Rows keep the prediction's shape: flattened before they are stacked, each would be computed one by one.
        ndim = self.prediction.ndim
        return jnp.concatenate(
            [
                x[None] if x.ndim == ndim else jnp.moveaxis(x.reshape(*x.shape[:ndim], -1), -1, 0)
                for x in self._jacobian.values()
            ]
        )

    def jvp(self, tangents: Mapping[str, Any]) -> Array:
        total = jnp.zeros_like(self.prediction)
        for name, column in self._jacobian.items():
            total = total + _product(column, jnp.asarray(tangents[name]), len(self.shapes[name]))
        return total

    def vjp(self, cotangent: Array) -> dict[str, Array]:
        axes = list(range(-self.prediction.ndim, 0))
        vector = jnp.real(jnp.tensordot(self.rows, cotangent, (axes, axes), precision="highest"))
        parts = jnp.split(vector, np.cumsum([int(np.prod(shape)) for shape in self.shapes.values()])[:-1])
        return {name: part.reshape(self.shapes[name]) for name, part in zip(self.shapes, parts, strict=True)}

    def tied(self, tie: Callable[[dict[str, Array]], dict[str, Array]], free: Mapping[str, Any]) -> Dense:
        out = {name: self._jacobian[name] for name in free}
        for name, by in jax.jacfwd(tie)(dict(free)).items():
            for other, derivative in by.items():
                out[other] = out[other] + _product(self._jacobian[name], derivative, len(self.shapes[name]))
        return Dense(self.prediction, out)

    def normal(self, whitening: Array) -> Array:
        rows = self.rows * whitening
        axes = list(range(1, rows.ndim))
        return jnp.tensordot(rows, rows, (axes, axes), precision="highest")  # an accelerator would round further


class Operator(Linearization):
    """With J as two functions.

    Args:
        prediction: at the point.
        shapes: name -> shape of the parameters.
        push: J times named tangents.
        pull: J transposed times a cotangent of the prediction.
    """

    def __init__(
        self,
        prediction: Array,
        shapes: Mapping[str, tuple[int, ...]],
        push: Callable[[dict[str, Any]], Array],
        pull: Callable[[Array], dict[str, Array]],
    ) -> None:
        self.prediction = prediction
        self.shapes = {name: tuple(shape) for name, shape in shapes.items()}
        self._push, self._pull = push, pull

    @staticmethod
    def of(function: Callable[[dict[str, Array]], Array], at: Mapping[str, Any]) -> Operator:
        """A function of named arrays at a point, by automatic differentiation."""
        at = {name: jnp.asarray(value) for name, value in at.items()}
        prediction, push = jax.linearize(function, at)
        transposed = jax.linear_transpose(push, at)
        return Operator(prediction, {name: x.shape for name, x in at.items()}, push, lambda c: transposed(c)[0])

    def jvp(self, tangents: Mapping[str, Any]) -> Array:
        return self._push({name: jnp.asarray(tangents[name]) for name in self.shapes})

    def vjp(self, cotangent: Array) -> dict[str, Array]:
        return self._pull(cotangent)

    def tied(self, tie: Callable[[dict[str, Array]], dict[str, Array]], free: Mapping[str, Any]) -> Operator:
        free = {name: jnp.asarray(value) for name, value in free.items()}
        _, push = jax.linearize(tie, free)
        pull = jax.linear_transpose(push, free)

        def pulled(cotangent: Array) -> dict[str, Array]:
            by = self._pull(cotangent)
            (through,) = pull({name: x for name, x in by.items() if name not in free})
            return {name: by[name] + through[name] for name in free}

        def pushed(tangents: dict[str, Array]) -> Array:
            return self._push({**tangents, **push(tangents)})

        return Operator(self.prediction, {name: x.shape for name, x in free.items()}, pushed, pulled)

    def followed(self, function: Callable[[Array, dict[str, Array]], Array], own: Mapping[str, Any]) -> Operator:
        """What `function` makes of the prediction, with parameters of its own."""
        own = {name: jnp.asarray(value) for name, value in own.items()}
        prediction, push = jax.linearize(function, self.prediction, own)
        pull = jax.linear_transpose(push, self.prediction, own)

        def pushed(tangents: dict[str, Array]) -> Array:
            first = self._push({name: tangents[name] for name in self.shapes})
            return push(first, {name: tangents[name] for name in own})

        def pulled(cotangent: Array) -> dict[str, Array]:
            first, out = pull(cotangent)
            for name, x in self._pull(first).items():
                out[name] = out[name] + x if name in out else x
            return out

        shapes = {**self.shapes, **{name: x.shape for name, x in own.items()}}
        return Operator(prediction, shapes, pushed, pulled)

    @property
    def jacobian(self) -> dict[str, Array]:
        zeros = {name: jnp.zeros(shape, self._dtype) for name, shape in self.shapes.items()}

        def column(name: str) -> Array:
            size = int(np.prod(self.shapes[name]))
            unit = jnp.eye(size, dtype=self._dtype).reshape(size, *self.shapes[name])
            columns = jax.vmap(lambda tangent: self._push({**zeros, name: tangent}))(unit)
            return jnp.moveaxis(columns, 0, -1).reshape(*self.prediction.shape, *self.shapes[name])

        return {name: column(name) for name in self.shapes}

    def normal(self, whitening: Array) -> Array:
        return Dense(self.prediction, self.jacobian).normal(whitening)

    @property
    def _dtype(self) -> Any:
        return jnp.real(self.prediction).dtype


class Linear(Operator):
    """Of a linear forward model: it holds everywhere, and more may be known of it.

    Args:
        operator: what makes an `Operator`, in its order.
        norm: gives the largest singular value of J; may be traced.
        spectrum: eigenvalues of J^T J where the Fourier transform diagonalizes it, as `rfft2` orders them; `None`: it
            does not.
    """

    def __init__(self, *operator: Any, norm: Callable[[], Any], spectrum: Any = None) -> None:
        super().__init__(*operator)
        self.norm, self.spectrum = norm, spectrum


def _product(columns: Array, right: Array, axes: int) -> Array:
    """Contract the last `axes` axes of `columns` with the first of `right`."""
    return columns * right if right.ndim == 0 else jnp.tensordot(columns, right, axes, precision="highest")
