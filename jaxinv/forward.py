"""Forward models and their composition: an atmosphere, then an instrument, then a scene."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array

from jaxinv.knowledge import Knowledge
from jaxinv.linearization import MOST_DENSE, Dense, Linearization, Operator
from jaxinv.names import suggestion
from jaxinv.priors import Prior, Tied

Parameters = Mapping[str, Any]
"""Named arrays; the names are the field's terms in full (`field_strength`, not `B`)."""


class Parameter(NamedTuple):
    """What a model says of a parameter that it reads.

    Attributes:
        unit: FITS unit; "" for a pure number.
        shape: () for a scalar.
        lowest: the lowest value that has a meaning.
        highest: the highest one.
        optional: the model has a value of its own where the parameter is left out.
    """

    unit: str = ""
    shape: tuple[int, ...] = ()
    lowest: float = -math.inf
    highest: float = math.inf
    optional: bool = False


class _Reader(eqx.Module):
    """What reads named parameters: it declares each of them once, and all else about them follows."""

    @property
    def parameters(self) -> dict[str, Parameter]:
        """Every parameter that is read, in the order in which results list them."""
        return {}

    @property
    def units(self) -> dict[str, str]:
        """FITS unit of every parameter."""
        return {name: parameter.unit for name, parameter in self.parameters.items()}

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each parameter that is not a scalar."""
        return {name: parameter.shape for name, parameter in self.parameters.items() if parameter.shape}

    def need(self, parameters: Parameters) -> None:
        """Whether all that has no value of its own is there.

        Raises:
            KeyError: it is not; says what is missing.
        """
        missing = [name for name, known in self.parameters.items() if not known.optional and name not in parameters]
        if missing:
            said = [f"{n!r} [{self.units[n]}]" if self.units[n] else repr(n) for n in missing]
            which = "parameter " + said[0] + " is" if len(said) == 1 else "parameters " + ", ".join(said) + " are"
            raise KeyError(f"the {which} missing: give {'it' if len(said) == 1 else 'them'} a prior or a value")


def as_arrays(reader: _Reader, parameters: Parameters, defaults: Mapping[str, Any]) -> dict[str, Array]:
    """Everything that a model reads as arrays of one floating-point type, in its units.

    Args:
        reader: the model.
        parameters: as given: arrays, numbers, rows of numbers, quantities.
        defaults: of what is left out; 0 where they do not say.

    Raises:
        KeyError: something that is needed is missing.
        ValueError: a unit, or a shape, is not the parameter's.
    """
    plain = in_units(parameters, reader.units)
    given = {name: np.asarray(x) if isinstance(x, list | tuple) else x for name, x in plain.items()}
    reader.need(given)
    dtype = jnp.result_type(*given.values())
    dtype = dtype if jnp.issubdtype(dtype, jnp.floating) else jnp.result_type(float)
    arrays = {}
    for name, known in reader.parameters.items():
        arrays[name] = jnp.asarray(given.get(name, defaults.get(name, 0.0)), dtype)
        if arrays[name].shape != known.shape:
            raise ValueError(f"{name!r} has the shape {arrays[name].shape}; the model reads {known.shape}")
    return arrays


class Forward(_Reader):
    """A pure, differentiable map from named parameters to a prediction, written for one object; methods batch it.

    A subclass defines `__call__` and `parameters`; the rest has defaults to be replaced by what the physics knows.
    """

    @property
    def parameters(self) -> dict[str, Parameter]:
        raise NotImplementedError

    @property
    def knowledge(self) -> Knowledge:
        """First estimates, symmetries and coordinates."""
        return Knowledge()

    def __call__(self, parameters: Parameters) -> Array:
        """The prediction from parameters."""
        raise NotImplementedError

    def value_and_jacobian(self, parameters: Parameters) -> tuple[Array, dict[str, Array]]:
        """The prediction, and its derivatives by each parameter given: `(*prediction_shape, *parameter_shape)`."""
        parameters = {name: _inexact(value) for name, value in in_units(parameters, self.units).items()}
        return self(parameters), jax.jacfwd(self)(parameters)

    def linearize(self, parameters: Parameters, names: Sequence[str]) -> Linearization:
        """The prediction, and its derivative by the parameters `names` as an operator.

        With the Jacobian of `value_and_jacobian` where these are few numbers, else matrix-free. To be overridden by
        what has a better operator: an exact adjoint, a cheaper normal matrix.
        """
        parameters = in_units(parameters, self.units)
        by = {name: _inexact(parameters[name]) for name in names}
        if sum(x.size for x in by.values()) <= MOST_DENSE:
            prediction, jacobian = self.value_and_jacobian(parameters)
            return Dense(prediction, {name: jacobian[name] for name in names})
        return Operator.of(lambda values: self({**parameters, **values}), by)

    def factors(self) -> tuple[Forward, tuple[Stage, ...]]:
        """`(core, stages)`, together the same as the model; the core is all that an emulator has to learn."""
        return self, ()

    def check(self, prior: Prior) -> None:
        """Whether a problem with this prior can be stated.

        Raises:
            ValueError: it names what is no parameter of the model.
        """
        for name in prior:
            if name not in self.units:
                hint = suggestion(name, self.units)
                raise ValueError(
                    f"the forward model has no parameter {name!r}{hint} (it reads {', '.join(self.units)})"
                )

    def __rshift__(self, stage: Stage) -> Sequential:
        """`atmosphere >> instrument`: what the instrument makes of the atmosphere's light."""
        return Sequential(self, (stage,))


class Function(Forward):
    """A plain function of a dict of named parameters as a forward model: it reads what the prior names.

    Args:
        function: any callable; an Equinox module's arrays are traced, those that a function closes over are constants.
        parameters: name -> shape.
    """

    arrays: Any
    rest: Any = eqx.field(static=True)
    reads: tuple[tuple[str, tuple[int, ...]], ...] = eqx.field(static=True)

    def __init__(self, function: Callable[[Parameters], Any], parameters: Mapping[str, tuple[int, ...]]) -> None:
        self.arrays, self.rest = eqx.partition(function, lambda x: isinstance(x, jax.Array | np.ndarray | np.generic))
        self.reads = tuple((name, tuple(shape)) for name, shape in parameters.items())

    @property
    def function(self) -> Callable[[Parameters], Any]:
        """The callable."""
        return eqx.combine(self.arrays, self.rest)

    @property
    def parameters(self) -> dict[str, Parameter]:
        return {name: Parameter(shape=shape) for name, shape in self.reads}

    def __call__(self, parameters: Parameters) -> Array:
        prediction = self.function(dict(in_units(parameters, self.units)))
        try:
            return jnp.asarray(prediction)
        except (TypeError, ValueError):
            found = type(prediction).__name__
            raise ValueError(f"a forward model returns one array; {_named(self.function)} returned a {found}") from None


def as_forward(model: Any, prior: Prior) -> Forward:
    """The model itself, or a plain function as the forward model whose parameters are the prior's.

    Raises:
        ValueError: it is no function of one dict of parameters.
    """
    if isinstance(model, Forward):
        return model
    if isinstance(model, type):
        raise ValueError(f"the forward model is the class {model.__name__}: make one of it, {model.__name__}(...)")
    if not callable(model):
        raise ValueError(
            "the forward model is a function of a dict of parameters, `lambda p: p['a'] * x`, or a jaxinv.Forward; "
            f"found a {type(model).__name__}"
        )
    try:
        inspect.signature(model).bind({})
    except TypeError:
        raise ValueError(
            f"{_named(model)} takes {inspect.signature(model)}: a forward model takes one dict of parameters, "
            "`lambda p: p['a'] * x`"
        ) from None
    except ValueError:  # a built-in function that does not say what it takes
        pass
    return Function(model, {name: _shape(entry) for name, entry in prior.items()})


def _shape(entry: Any) -> tuple[int, ...]:
    if isinstance(entry, dist.Distribution):
        return tuple(entry.shape())
    return () if isinstance(entry, Tied | type) else np.shape(entry)


def _named(function: Any) -> str:
    return getattr(function, "__name__", type(function).__name__)


class Stage(_Reader):
    """What happens to a prediction on its way to the detector: `(parameters, prediction) -> prediction`.

    `parameters` declares what it reads beyond the prediction: nothing, for most instruments.
    """

    def __call__(self, parameters: Parameters, prediction: Array) -> Array:
        """The prediction after this stage."""
        raise NotImplementedError

    @property
    def smooths(self) -> bool:
        """Whether it is one linear operation along the last axis, the same for every row, that keeps constants."""
        return False

    def undo(self, values: Array, valid: Array) -> tuple[Array, Array]:
        """Data and their validity brought back before this stage, roughly: good enough for a first estimate."""
        return values, valid


class Sequential(Forward):
    """A forward model followed by stages, in the order of the light."""

    first: Forward
    stages: tuple[Stage, ...]

    @property
    def parameters(self) -> dict[str, Parameter]:
        """The first model's, then the stages'; of one that several read, what the first of them says."""
        merged = dict(self.first.parameters)
        for stage in self.stages:
            for name, parameter in stage.parameters.items():
                said = merged.setdefault(name, parameter)
                merged[name] = said._replace(optional=said.optional and parameter.optional)
        return merged

    @property
    def knowledge(self) -> Knowledge:
        """The first model's, with estimates from the data before the stages: none tells equivalent parameters apart.

        What has a closed form keeps it behind stages that treat all rows of a prediction alike, and so do the
        symmetries that move data.
        """

        def undone(values: Array, valid: Array) -> tuple[Array, Array]:
            for stage in reversed(self.stages):
                values, valid = stage.undo(values, valid)
            return values, valid

        first = self.first.knowledge
        symmetry = first.symmetry
        if not all(stage.smooths for stage in self.stages):
            first = first._replace(rotation=None, affine=None, symmetry=None)
        elif symmetry is not None:
            find = lambda values, valid: symmetry.find(*undone(values, valid))  # noqa: E731
            first = first._replace(symmetry=symmetry._replace(find=find))
        return first._replace(guess=lambda values, valid: first.guess(*undone(values, valid)))

    def __call__(self, parameters: Parameters) -> Array:
        parameters = in_units(parameters, self.units)
        prediction = self.first(parameters)
        for stage in self.stages:
            prediction = stage(parameters, prediction)
        return prediction

    def __rshift__(self, stage: Stage) -> Sequential:
        return Sequential(self.first, (*self.stages, stage))

    def value_and_jacobian(self, parameters: Parameters) -> tuple[Array, dict[str, Array]]:
        """The first model's Jacobian, pushed through each stage, plus each stage's own parameters by forward mode."""
        parameters = in_units(parameters, self.units)
        own = {name for stage in self.stages for name in stage.units} - set(self.first.units)
        value, jacobian = self.first.value_and_jacobian({k: v for k, v in parameters.items() if k not in own})
        return self._pushed(parameters, value, jacobian)

    def _pushed(
        self, parameters: Parameters, value: Array, jacobian: dict[str, Array]
    ) -> tuple[Array, dict[str, Array]]:
        for stage in self.stages:
            value, jacobian = _push_through(stage, parameters, value, jacobian)
        return value, jacobian

    def linearize(self, parameters: Parameters, names: Sequence[str]) -> Linearization:
        """The first model's, followed by the stages."""
        parameters = in_units(parameters, self.units)
        inner = self.first.linearize(
            {name: x for name, x in parameters.items() if name in self.first.units},
            [name for name in names if name in self.first.units],
        )
        if isinstance(inner, Dense):
            if sum(np.size(parameters[name]) for name in names) > MOST_DENSE:  # the stages' own are many
                return super().linearize(parameters, names)
            value, jacobian = self._pushed(parameters, inner.prediction, inner.jacobian)
            return Dense(value, {name: jacobian[name] for name in names})
        if not isinstance(inner, Operator):
            return super().linearize(parameters, names)
        reads = {name for stage in self.stages for name in stage.units}

        def through(prediction: Array, own: dict[str, Array]) -> Array:
            for stage in self.stages:
                prediction = stage({**parameters, **own}, prediction)
            return prediction

        return inner.followed(through, {name: _inexact(parameters[name]) for name in names if name in reads})

    def factors(self) -> tuple[Forward, tuple[Stage, ...]]:
        """The first model's core, then its stages and these."""
        core, stages = self.first.factors()
        return core, (*stages, *self.stages)

    def check(self, prior: Prior) -> None:
        """The first model's check, of what it reads, too."""
        super().check(prior)
        self.first.check({name: entry for name, entry in prior.items() if name in self.first.units})


def with_jacobian(
    value: Callable[[dict[str, Array]], Array],
    value_and_jacobian: Callable[[dict[str, Array]], tuple[Array, dict[str, Array]]],
    arrays: dict[str, Array],
) -> Array:
    """`value(arrays)`, which JAX differentiates, in either mode and twice, by the Jacobian of the second function.

    Args:
        value: of named arrays.
        value_and_jacobian: the same value, and its derivatives `(*value_shape, *array_shape)` by name.
        arrays: where.
    """
    run = jax.custom_jvp(value)

    @run.defjvp
    def _(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
        found, jacobian = value_and_jacobian(primals[0])
        moved = [jnp.tensordot(jacobian[name], tangent, tangent.ndim) for name, tangent in tangents[0].items()]
        return found, sum(moved[1:], moved[0])

    return run(arrays)


def in_units(parameters: Parameters, units: Mapping[str, str]) -> Parameters:
    """Parameters as plain numbers: astropy quantities are converted to the model's units, before JAX drops theirs.

    Raises:
        ValueError: a unit cannot be converted, or values are masked; says which.
    """
    if not any(hasattr(value, "unit") or isinstance(value, np.ma.MaskedArray) for value in parameters.values()):
        return parameters
    out = {}
    for name, given in parameters.items():
        value: Any = given
        if isinstance(given, np.ma.MaskedArray):
            if np.ma.is_masked(given):
                raise ValueError(f"{name!r} holds masked values: fill them")
            value = np.ma.getdata(given)
        if hasattr(value, "unit"):
            try:
                value = value.to_value(units.get(name, ""))
            except Exception:
                unit = units.get(name) or "no unit"
                raise ValueError(f"{name!r} carries the unit {value.unit}, the model reads it in {unit}") from None
        out[name] = value
    return out


def _inexact(value: Any) -> Array:
    """A float array, also of a whole number such as a known `filling_factor = 1`, which JAX would not differentiate."""
    array = jnp.asarray(value)
    return array if jnp.issubdtype(array.dtype, jnp.inexact) else array.astype(float)


def _push_through(
    stage: Stage, parameters: Parameters, value: Array, jacobian: dict[str, Array]
) -> tuple[Array, dict[str, Array]]:
    def push(tangent: Array) -> Array:
        return jax.jvp(lambda prediction: stage(parameters, prediction), (value,), (tangent,))[1]

    push = jax.vmap(push, in_axes=-1, out_axes=-1)
    # All scalars in one product; each array by itself, so that the compiler drops a known one (a stray-light profile),
    # whose derivative nobody reads.
    scalars = [name for name, column in jacobian.items() if column.ndim == value.ndim]
    pushed = {}
    if scalars:
        columns = push(jnp.stack([jacobian[name] for name in scalars], axis=-1))
        pushed = {name: columns[..., k] for k, name in enumerate(scalars)}
    out = {}
    for name, column in jacobian.items():
        if name not in pushed:
            columns = push(column.reshape(*value.shape, -1))
            pushed[name] = columns.reshape(*columns.shape[:-1], *column.shape[value.ndim :])
        out[name] = pushed[name]
    for name in stage.units:
        if name in parameters:
            own = _inexact(parameters[name])
            direct = jax.jacfwd(lambda x, name=name: stage({**parameters, name: x}, value))(own)
            out[name] = out[name] + direct if name in out else direct
    return stage(parameters, value), out
