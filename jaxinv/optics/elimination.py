"""What frames show of objects, with the objects eliminated: at each frequency, normal equations of a few unknowns.

Frames y_j = sum_k T_jk o_k + noise, where objects and noise have unit variance, have the covariance 1 + T T^H, and with
A = 1 + T^H T

    -2 log p = y^H y - y^H T A^-1 T^H y + log det A + constants.

The sum of squares is evaluated as the misfit of the best objects o, |y - T o|^2 + |o|^2: the same number without its
cancellation, and since o is best, its derivative by T is that for a fixed o.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array


class System(NamedTuple):
    """T `(n_objects, n_frames, ...)`, and the lower Cholesky factor of A, row by row: it is written out."""

    t: Array
    factor: list[list[Array]]

    def half(self, values: Array) -> Array:
        """L^-1 of `(n_objects, ...)`."""
        out: list[Array] = []
        for k, row in enumerate(self.factor):
            left = values[k] - sum((row[m] * out[m] for m in range(k)), start=jnp.zeros((), values.dtype))
            out.append(left / row[k])
        return jnp.stack(out)

    def solve(self, values: Array) -> Array:
        """A^-1 of `(n_objects, ...)`."""
        half, out = self.half(values), [values[0]] * len(self.factor)
        for k in reversed(range(len(out))):
            above = (jnp.conj(self.factor[m][k]) * out[m] for m in range(k + 1, len(out)))
            out[k] = (half[k] - sum(above, start=jnp.zeros((), half.dtype))) / self.factor[k][k]
        return jnp.stack(out)

    def best(self, values: Array) -> Array:
        """The most probable objects `(n_objects, ...)` behind frames `(n_frames, ...)`."""
        return self.solve(jnp.sum(jnp.conj(self.t) * values, axis=1))

    @property
    def log_determinant(self) -> Array:
        """Of A, `(...)`."""
        return 2 * jnp.log(jnp.stack([jnp.real(row[k]) for k, row in enumerate(self.factor)])).sum(axis=0)

    def covariance(self) -> Array:
        """A^-1, `(n_objects, n_objects, ...)`."""
        like = jnp.zeros(self.t.shape[2:], self.t.dtype)
        unit = jnp.eye(len(self.t), dtype=self.t.dtype)
        return jnp.stack([self.solve(unit[:, k, None, None] + like) for k in range(len(self.t))], axis=1)


def system_of(t: Array) -> System:
    """The system of T `(n_objects, n_frames, ...)`."""
    factor: list[list[Array]] = []
    for k in range(len(t)):
        row: list[Array] = []
        for m in range(k + 1):
            if m < k:
                known = sum((row[i] * jnp.conj(factor[m][i]) for i in range(m)), start=jnp.zeros((), t.dtype))
                row.append((jnp.sum(jnp.conj(t[k]) * t[m], axis=0) - known) / factor[m][m])
            else:
                known = sum((square(x) for x in row), start=jnp.zeros((), t.real.dtype))
                row.append(jnp.sqrt(1 + jnp.sum(square(t[k]), axis=0) - known))
        factor.append(row)
    return System(t, factor)


def eliminated(t: Array, values: Array, *, log_determinant: bool = True) -> Array:
    """-2 log p of frames `(n_frames, ...)` at each frequency, `(...)`, but for its constants."""
    system = system_of(t)
    best = jax.lax.stop_gradient(system.best(values))
    each = jnp.sum(square(values - jnp.sum(t * best[:, None], axis=0)), axis=0) + jnp.sum(square(best), axis=0)
    return each + system.log_determinant if log_determinant else each


def square(x: Array) -> Array:
    """|x|^2."""
    return jnp.real(x) ** 2 + jnp.imag(x) ** 2
