"""Coordinates: one vector for each object, in which methods move.

The prior stays a statement about parameters; a method steps where the problem is as round as the physics can make it.
A vector consists of blocks, each of which stands for one or a few parameters: an interval, a circle, or what the
physics offers (`Knowledge.coordinates`). They come in two forms:

- *closed*, for optimizers: a point that leaves the support is projected onto it, so a parameter can rest on its bound;
- *opened*, for samplers and networks: every vector is inside, and the density carries the volume element. Opened blocks
  are adapted to one object: a bounded parameter is bent only where noise lets it feel its bound.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.scipy.linalg
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from jaxinv import priors
from jaxinv.regularizers import Correlated

_FLAT = 0.25
"""Curvature of a direction that nothing determines, for coordinates of order 1."""


class Layout(NamedTuple):
    """How the inferred parameters lie in one vector, as the covariance has them; hashable."""

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(int(np.prod(shape)) for shape in self.shapes)

    @property
    def labels(self) -> tuple[str, ...]:
        """One for each element: the name, with its index where the parameter is an array."""
        return _labels(self)

    def ravel(self, parameters: Mapping[str, Any]) -> Array:
        """`(n_free,)` from named arrays."""
        return jnp.concatenate([jnp.ravel(jnp.asarray(parameters[name])) for name in self.names])

    def unravel(self, vector: Array) -> dict[str, Array]:
        """Named arrays from `(n_free,)`."""
        parts = jnp.split(vector, np.cumsum(self.sizes)[:-1])
        return {n: jnp.reshape(x, shape) for n, x, shape in zip(self.names, parts, self.shapes, strict=True)}


@functools.lru_cache(maxsize=4)
def _labels(layout: Layout) -> tuple[str, ...]:
    # Remembered, since those of an image take longer to write than some fits.
    out: list[str] = []
    for name, shape in zip(layout.names, layout.shapes, strict=True):
        out += [name + (str(list(index)) if shape else "") for index in np.ndindex(*shape)]
    return tuple(out)


class Block(eqx.Module):
    """Some elements of the vector, and the parameters that they stand for.

    A subclass defines `names`, `size`, `vector` and `parameters`, and `log_volume` where it is opened.

    Attributes:
        folds: all parameters that predict the same are one point, so no symmetry has to be applied.
    """

    @property
    def folds(self) -> bool:
        return False

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters, in order."""
        raise NotImplementedError

    @property
    def size(self) -> int:
        """The number of elements."""
        raise NotImplementedError

    def on(self, prior: priors.Prior) -> Block:
        """The block with the bounds and scales of a prior."""
        del prior
        return self

    def vector(self, parameters: Mapping[str, Any]) -> Array:
        """`(size,)`; opened: a value on an edge is first moved inside."""
        raise NotImplementedError

    def parameters(self, vector: Array) -> dict[str, Array]:
        """The parameters of `(size,)`."""
        raise NotImplementedError

    def log_volume(self, vector: Array) -> Array:
        """Log |d parameters / d vector|, a scalar; of elements that are no parameter, their own log density, too."""
        raise NotImplementedError

    def scale(self) -> Array:
        """A typical size of each element, `(size,)`."""
        return jnp.ones(self.size)

    def project(self, vector: Array) -> Array:
        """The nearest point of the support; where the support is a circle, the same point."""
        return vector

    def held(self, vector: Array, gradient: Array) -> Array:
        """`(size,)`: on a bound that a step down the gradient would leave."""
        del gradient
        return jnp.zeros(vector.shape, bool)

    def at_bound(self, parameters: Mapping[str, Any]) -> Array:
        """Whether one of the parameters is at the edge of the prior's support, to rounding."""
        del parameters
        return jnp.asarray(False)

    def opened(self, near: Mapping[str, Any] | None = None, error: Mapping[str, Any] | None = None) -> Block:
        """The block without edges, adapted to one object by a fit's parameters and standard errors (NaN: unknown)."""
        del near, error
        return self

    def floor(self, vector: Array) -> Array:
        """The least curvature that a sampler takes each element to have, `(size,)`."""
        return jnp.full(self.size, _FLAT, vector.dtype) / (1 + jnp.sum(vector**2))

    def redrawn(self, vector: Array, key: PRNGKeyArray) -> Array:
        """The same parameters, with what the vector has beyond them drawn anew."""
        del key
        return vector


class Interval(Block):
    """Each element of one parameter, which may have a lower and an upper bound: itself, or a logarithm.

    Attributes:
        name: the parameter.
        offset: the coordinate is log(parameter + offset); `None`: it is the parameter.
        lower: lower bounds of the parameter, in its shape; `None` before `on`.
        upper: upper bounds.
        typical: sizes of the coordinate.
        softness: opened: how far from its bounds the coordinate begins to be bent.
    """

    name: str = eqx.field(static=True)
    offset: float | None = eqx.field(static=True, default=None)
    lower: Any = None
    upper: Any = None
    typical: Any = None
    softness: Any = None

    def on(self, prior: priors.Prior) -> Interval:
        distribution = prior[self.name]
        lower, upper = priors.bounds(distribution)
        deviation = jnp.sqrt(jnp.broadcast_to(jnp.asarray(distribution.variance, float), lower.shape))
        if self.offset is not None:
            range_ = self._to(upper) - self._to(lower)
            deviation = deviation / (priors.centre(distribution) + self.offset)
            deviation = jnp.where(jnp.isfinite(range_), range_ / np.sqrt(12), deviation)
        typical = jnp.where(jnp.isfinite(deviation) & (deviation > 0), deviation, 1.0)
        return Interval(self.name, self.offset, lower, upper, typical)

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name,)

    @property
    def size(self) -> int:
        return int(np.prod(self.lower.shape))

    def _to(self, value: Array) -> Array:
        return value if self.offset is None else jnp.log(value + self.offset)

    def _edges(self, dtype: Any) -> tuple[Array, Array]:
        """In the coordinate, `(size,)` each."""
        lower, upper = (self._to(jnp.asarray(edge, dtype)).ravel() for edge in (self.lower, self.upper))
        return lower, upper

    def vector(self, parameters: Mapping[str, Any]) -> Array:
        value = jnp.ravel(jnp.asarray(parameters[self.name]))
        if self.softness is None:
            return self._to(value)
        dtype = jnp.result_type(value, jnp.float32)
        return _unbent(self._to(value), *self._edges(dtype), jnp.ravel(self.softness).astype(dtype))

    def parameters(self, vector: Array) -> dict[str, Array]:
        if self.softness is not None:
            vector = _bent(vector, *self._edges(vector.dtype), jnp.ravel(self.softness).astype(vector.dtype))[0]
        value = jnp.reshape(vector, self.lower.shape)
        if self.offset is not None:
            edges = (jnp.asarray(edge, vector.dtype) for edge in (self.lower, self.upper))
            value = jnp.exp(value) - self.offset
            # By rounding alone it may lie beyond; the derivative on a bound stays what it is.
            value = value + jax.lax.stop_gradient(jnp.clip(value, *edges) - value)
        return {self.name: value}

    def log_volume(self, vector: Array) -> Array:
        total = jnp.zeros((), vector.dtype)
        if self.softness is not None:
            softness = jnp.ravel(self.softness).astype(vector.dtype)
            vector, slope = _bent(vector, *self._edges(vector.dtype), softness)
            total = total + jnp.sum(slope)
        return total if self.offset is None else total + jnp.sum(vector)

    def scale(self) -> Array:
        return jnp.ravel(self.typical)

    def project(self, vector: Array) -> Array:
        return jnp.clip(vector, *self._edges(vector.dtype))

    def held(self, vector: Array, gradient: Array) -> Array:
        lower, upper = self._edges(vector.dtype)
        return ((vector <= lower) & (gradient > 0)) | ((vector >= upper) & (gradient < 0))

    def at_bound(self, parameters: Mapping[str, Any]) -> Array:
        value = jnp.ravel(jnp.asarray(parameters[self.name]))
        few = 8 * jnp.finfo(value.dtype).eps
        lower, upper = (jnp.ravel(jnp.asarray(edge, value.dtype)) for edge in (self.lower, self.upper))
        return jnp.any((value <= lower + few * jnp.abs(lower)) | (value >= upper - few * jnp.abs(upper)))

    def opened(self, near: Mapping[str, Any] | None = None, error: Mapping[str, Any] | None = None) -> Interval:
        """Bent within a third of a standard error, so that what lies beyond a bound is no longer than what lies before.

        Where the error is not known, within a fifth of the range.
        """
        found = None if near is None else jnp.asarray(near[self.name])
        size = jnp.full(self.lower.shape, jnp.nan) if error is None else jnp.asarray(error[self.name])
        if self.offset is not None and found is not None:
            size = size / (found + self.offset)
        dtype = size.dtype
        range_ = (self._to(self.upper) - self._to(self.lower)).astype(dtype)
        both = jnp.isfinite(range_)
        typical = jnp.where(both, range_, 3 * self.typical).astype(dtype)
        softness = jnp.where(jnp.isfinite(size) & (size > 0), size, typical) / 3
        softness = jnp.where(both, jnp.clip(softness, 1e-5 * typical, typical / 5), softness)
        return Interval(self.name, self.offset, self.lower, self.upper, self.typical, softness)

    def floor(self, vector: Array) -> Array:
        """None where the parameter is unbounded: its prior sets the scale."""
        lower, upper = self._edges(vector.dtype)
        both = jnp.isfinite(upper - lower)
        one = jnp.isfinite(upper) | jnp.isfinite(lower)
        softness = jnp.ravel(self.softness).astype(vector.dtype)
        return jnp.where(
            both, 4 / jnp.where(both, upper - lower, 1) ** 2, jnp.where(one, 1e-4 / softness**2, jnp.zeros(self.size))
        ).astype(vector.dtype)


class Circle(Block):
    """A cyclic parameter: itself, wrapped; opened, a vector in the plane whose polar angle it is.

    The plane has no edge. The vector's length is kept near 1: at 0, a well-determined angle would make the density a
    narrow funnel.

    Attributes:
        name: the parameter.
        low: where the circle is cut, in the parameter's shape.
        period: its length.
        ring: whether it is opened.
    """

    name: str = eqx.field(static=True)
    low: Any
    period: Any
    ring: bool = eqx.field(static=True, default=False)

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name,)

    @property
    def size(self) -> int:
        return int(np.prod(self.low.shape)) * (2 if self.ring else 1)

    def vector(self, parameters: Mapping[str, Any]) -> Array:
        value = jnp.asarray(parameters[self.name])
        if not self.ring:
            return jnp.ravel(value)
        angle = 2 * jnp.pi * (value - self.low) / self.period
        return jnp.stack([jnp.cos(angle), jnp.sin(angle)], -1).ravel()

    def parameters(self, vector: Array) -> dict[str, Array]:
        if not self.ring:
            return {self.name: jnp.reshape(vector, self.low.shape)}
        x, y = jnp.moveaxis(vector.reshape(*self.low.shape, 2), -1, 0)
        turn = jnp.mod(jnp.arctan2(y, jnp.where((x == 0) & (y == 0), 1, x)) / (2 * jnp.pi), 1)
        return {self.name: jnp.asarray(self.low, vector.dtype) + jnp.asarray(self.period, vector.dtype) * turn}

    def log_volume(self, vector: Array) -> Array:
        if not self.ring:
            return jnp.zeros((), vector.dtype)
        plane = vector.reshape(-1, 2)
        angle = jnp.log(jnp.asarray(self.period, vector.dtype) / (2 * jnp.pi))
        radius = jnp.sqrt(jnp.sum(plane**2, -1) + 1e-12)
        return jnp.sum(priors.RADIUS.log_prob(radius) - jnp.log(radius)) + jnp.sum(angle)

    def scale(self) -> Array:
        return jnp.ravel(self.period) / np.sqrt(12)

    def project(self, vector: Array) -> Array:
        low, period = (jnp.ravel(jnp.asarray(x, vector.dtype)) for x in (self.low, self.period))
        return low + jnp.mod(vector - low, period)

    def opened(self, near: Mapping[str, Any] | None = None, error: Mapping[str, Any] | None = None) -> Circle:
        del near, error
        return Circle(self.name, self.low, self.period, ring=True)

    def redrawn(self, vector: Array, key: PRNGKeyArray) -> Array:
        """The length of the vector says nothing of the angle."""
        plane = vector.reshape(-1, 2)
        return (priors.RADIUS.sample(key, (len(plane), 1)) * plane).ravel()


class Whitened(Block):
    """An array with a correlated normal prior: the white array of which the prior makes it.

    Attributes:
        name: the parameter.
        prior: its own.
    """

    name: str = eqx.field(static=True)
    prior: Any

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name,)

    @property
    def size(self) -> int:
        return int(np.prod(self.prior.shape()))

    def vector(self, parameters: Mapping[str, Any]) -> Array:
        return jnp.ravel(self.prior.whitened(jnp.asarray(parameters[self.name])))

    def parameters(self, vector: Array) -> dict[str, Array]:
        return {self.name: self.prior.coloured(vector.reshape(self.prior.shape()))}

    def log_volume(self, vector: Array) -> Array:
        return self.prior.log_scale.astype(vector.dtype)

    def floor(self, vector: Array) -> Array:
        """None: the prior's own curvature is 1."""
        return jnp.zeros(self.size, vector.dtype)


def logarithm(prior: priors.Prior, name: str, offset: float = 0.0) -> tuple[Interval, ...]:
    """The coordinate log(parameter + offset), if the parameter is inferred and never below -offset; else none."""
    distribution = priors.free(prior).get(name)
    found = None if distribution is None else priors.limits(distribution)
    return (Interval(name, offset),) if found is not None and found[0] >= -offset else ()


class Coordinates(eqx.Module):
    """The vector of one object.

    Attributes:
        blocks: in the order of the vector.
        layout: the order of the parameters themselves.
    """

    blocks: tuple[Block, ...]
    layout: Layout = eqx.field(static=True)

    @staticmethod
    def of(prior: priors.Prior, names: Sequence[str], given: Sequence[Block] = ()) -> Coordinates:
        """Closed coordinates of the inferred parameters `names`: the blocks given, then each one for itself."""
        layout = Layout(tuple(names), tuple(tuple(prior[name].shape()) for name in names))
        blocks = list(given)
        taken = {name for block in blocks for name in block.names}
        circles = priors.circles(prior)
        for name in names:
            if name not in taken:
                if isinstance(prior[name], Correlated):
                    blocks.append(Whitened(name, prior[name]))
                else:
                    blocks.append(Circle(name, *circles[name]) if name in circles else Interval(name))
        blocks.sort(key=lambda block: layout.names.index(block.names[0]))
        return Coordinates(tuple(block.on(prior) for block in blocks), layout)

    def opened(self, near: Mapping[str, Any] | None = None, error: Mapping[str, Any] | None = None) -> Coordinates:
        """Without edges, adapted to an object by a fit's parameters and standard errors."""
        return Coordinates(tuple(block.opened(near, error) for block in self.blocks), self.layout)

    def unwound(self) -> Coordinates:
        """With each cyclic parameter as a vector in the plane, so that nothing jumps where its circle is cut."""
        blocks = (block.opened() if isinstance(block, Circle) else block for block in self.blocks)
        return Coordinates(tuple(blocks), self.layout)

    @property
    def size(self) -> int:
        """The length of the vector."""
        return sum(block.size for block in self.blocks)

    @property
    def folds(self) -> bool:
        """Whether parameters that predict the same are one point."""
        return any(block.folds for block in self.blocks)

    def vector(self, parameters: Mapping[str, Any]) -> Array:
        """`(size,)` from the inferred parameters."""
        return jnp.concatenate([block.vector(parameters) for block in self.blocks])

    def parameters(self, vector: Array) -> dict[str, Array]:
        """The inferred parameters of `(size,)`."""
        out: dict[str, Array] = {}
        for block, part in self._parts(vector):
            out |= block.parameters(part)
        return {name: out[name] for name in self.layout.names}

    def log_volume(self, vector: Array) -> Array:
        """Log |d parameters / d vector|; see `Block.log_volume`."""
        return sum((block.log_volume(part) for block, part in self._parts(vector)), jnp.zeros((), vector.dtype))

    def chain(self, vector: Array) -> Array:
        """D parameters / d vector, `(n_free, size)`, the rows as in `layout`."""

        def jacobian(block: Block, part: Array) -> Array:
            def raveled(part: Array) -> Array:
                found = block.parameters(part)
                return jnp.concatenate([jnp.ravel(found[name]) for name in block.names])

            return jax.jacfwd(raveled)(part)

        rows = jax.scipy.linalg.block_diag(*[jacobian(block, part) for block, part in self._parts(vector)])
        sizes = dict(zip(self.layout.names, self.layout.sizes, strict=True))
        mine = [name for block in self.blocks for name in block.names]
        first = dict(zip(mine, np.cumsum([0, *(sizes[name] for name in mine)]), strict=False))
        order = np.concatenate([first[name] + np.arange(sizes[name]) for name in self.layout.names])
        return rows if np.array_equal(order, np.arange(len(order))) else rows[order]

    def scale(self) -> Array:
        """A typical size of each element, `(size,)`."""
        return jnp.concatenate([block.scale() for block in self.blocks])

    def project(self, vector: Array) -> Array:
        """The nearest point of the support."""
        return jnp.concatenate([block.project(part) for block, part in self._parts(vector)])

    def held(self, vector: Array, gradient: Array) -> Array:
        """`(size,)`: elements on a bound that a step down the gradient would leave."""
        slopes = self._split(gradient)
        return jnp.concatenate([b.held(part, slope) for (b, part), slope in zip(self._parts(vector), slopes)])

    def at_bound(self, parameters: Mapping[str, Any]) -> Array:
        """Whether a parameter is at the edge of the prior's support."""
        return jnp.any(jnp.stack([block.at_bound(parameters) for block in self.blocks]))

    def floor(self, vector: Array) -> Array:
        """The least curvature that a sampler takes each element to have, `(size,)`."""
        return jnp.concatenate([block.floor(part) for block, part in self._parts(vector)])

    def redrawn(self, vector: Array, key: PRNGKeyArray) -> Array:
        """The same parameters, with what the vector has beyond them drawn anew."""
        keys = jax.random.split(key, len(self.blocks))
        return jnp.concatenate([b.redrawn(part, k) for (b, part), k in zip(self._parts(vector), keys)])

    def _split(self, vector: Array) -> list[Array]:
        return jnp.split(vector, np.cumsum([block.size for block in self.blocks])[:-1])

    def _parts(self, vector: Array) -> list[tuple[Block, Array]]:
        return list(zip(self.blocks, self._split(vector), strict=True))


def _bent(z: Array, lower: Array, upper: Array, softness: Array) -> tuple[Array, Array]:
    """`z` itself far from the bounds, bent so as to stay between them; and the log of the derivative."""
    below, above = (lower - z) / softness, (z - upper) / softness
    value = z + softness * (jax.nn.softplus(below) - jax.nn.softplus(above))
    # 1 / (1 + e^below) - 1 / (1 + e^-above), as a product, which does not cancel
    width = jnp.expm1(below + above)
    slope = -jax.nn.softplus(below) - jax.nn.softplus(above) + jnp.log(-width)
    return jnp.clip(value, lower, upper), slope


def _unbent(value: Array, lower: Array, upper: Array, softness: Array) -> Array:
    """The inverse of `_bent`."""
    least = 1e-3 * softness
    value = jnp.clip(value, lower + least, upper - least)
    bend = lambda distance: jnp.log(-jnp.expm1(-distance / softness))  # noqa: E731
    return value + softness * (bend(value - lower) - bend(upper - value))
