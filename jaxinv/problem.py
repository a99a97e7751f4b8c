"""A problem is a forward model, a noise and a prior: the one thing that every method consumes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array, PRNGKeyArray

from jaxinv import priors
from jaxinv.coordinates import Block, Circle, Coordinates, Layout
from jaxinv.forward import Forward, Parameters, as_forward, in_units
from jaxinv.knowledge import Symmetry
from jaxinv.linearization import Linearization
from jaxinv.names import suggestion
from jaxinv.noise import Noise, Samplewise, as_noise
from jaxinv.observation import Observation


class Problem(eqx.Module):
    """`Problem(forward, noise, prior)`; its methods are for one object unless they say otherwise: batch them by `vmap`.

    `parameters` below are the free ones, by name, and any known for this object in place of what the prior says; tied
    and fixed ones are added where they are needed.

    Args:
        forward: the forward model, or any function of a dict of parameters, which are then those that the prior names.
        noise: scores its prediction against data; a number or an array is the sigma of `Gaussian`.
        prior: name -> NumPyro distribution (inferred), number or array (fixed), or `priors.Tied`.

    Raises:
        ValueError: the prior names a parameter that the forward model does not read, or infers none; or one of the
            three is something else.
    """

    forward: Forward
    noise: Noise
    prior: dict[str, Any]
    blocks: tuple[Block, ...]
    symmetric: bool = eqx.field(static=True)

    def __init__(self, forward: Forward | Callable[[Parameters], Any], noise: Any, prior: priors.Prior) -> None:
        if not isinstance(prior, Mapping):
            raise ValueError(f"the prior is a dict, name -> NumPyro distribution; found a {type(prior).__name__}")
        self.forward = as_forward(forward, prior)
        self.noise = as_noise(noise)
        self.forward.check(prior)
        self.prior = {name: _plain(name, entry, self.forward.units) for name, entry in prior.items()}
        if not priors.free(self.prior):
            raise ValueError("the prior infers nothing: give at least one parameter a NumPyro distribution")
        # Here, where the prior's bounds are numbers; inside a compiled program they would be traced.
        self.blocks = self.forward.knowledge.coordinates(self.prior)
        self.symmetric = self._symmetric()

    @property
    def names(self) -> tuple[str, ...]:
        """The inferred parameters, in the forward model's order."""
        return tuple(name for name in self.forward.units if isinstance(self.prior.get(name), dist.Distribution))

    def given(self, names: Iterable[str]) -> Problem:
        """The same problem with these parameters left to be supplied as known values for each object."""
        names = set(names)
        unknown = names - set(self.forward.units)
        if unknown:
            raise ValueError(
                f"the forward model has no parameter {', '.join(map(repr, sorted(unknown)))} to fix "
                f"(it reads {', '.join(self.forward.units)})"
            )
        if not names & set(self.prior):
            return self
        return Problem(self.forward, self.noise, {name: v for name, v in self.prior.items() if name not in names})

    def complete(self, parameters: Parameters) -> dict[str, Any]:
        """All parameters of the forward model: the ones given, the prior's fixed ones, then the tied ones."""
        values = {**priors.fixed(self.prior), **in_units(parameters, self.forward.units)}
        return values | {name: tie(values) for name, tie in priors.tied(self.prior).items()}

    def prediction_shape(self, known: Iterable[str] = ()) -> tuple[int, ...]:
        """The shape of one object's prediction; nothing is computed. `known` names parameters that the prior lacks."""
        known = tuple(known)
        try:
            key = (_signature(self), known)
            if key in _SHAPES:
                return _SHAPES[key]
        except (TypeError, ValueError):  # something in it has no hash
            key = None
        declared = self.forward.parameters

        def predict() -> Array:
            given = {name: jnp.ones(declared[name].shape) for name in known}
            return self.predict({name: priors.centre(self.prior[name]) for name in self.names} | given)

        shape = jax.eval_shape(predict).shape
        if key is not None:
            if len(_SHAPES) == _MOST_SHAPES:
                _SHAPES.clear()
            _SHAPES[key] = shape
        return shape

    def data_shape(self, known: Iterable[str] = ()) -> tuple[int, ...]:
        """The shape of one object's data; that of its prediction unless the noise says otherwise."""
        return self.noise.data_shape(self.prediction_shape(known))

    def predict(self, parameters: Parameters) -> Array:
        """What the noise compares with data: the noiseless data, for a noise of independent samples.

        Raises:
            ValueError: the forward model reads a parameter of which neither `parameters` nor the prior says anything.
        """
        complete = self.complete(parameters)
        for name, parameter in self.forward.parameters.items():
            if name not in complete and not parameter.optional:
                raise self._unnamed(name, complete)
        try:
            return self.forward(complete)
        except KeyError as error:  # a plain function reads what it likes
            name = error.args[0] if error.args else None
            if not isinstance(name, str) or name in complete or not name.isidentifier():  # it says something else
                raise
            raise self._unnamed(name, complete) from None

    def _unnamed(self, name: str, complete: Parameters) -> ValueError:
        return ValueError(
            f"the forward model reads {name!r}, which the prior does not name{suggestion(name, complete)} "
            f"(it names {', '.join(self.prior)}): give it a distribution or a number, or pass it as `fixed`"
        )

    def linearize(self, parameters: Parameters) -> Linearization:
        """The prediction, and its derivative by the inferred parameters as an operator; ties are followed."""
        ties = priors.tied(self.prior)
        found = self.forward.linearize(self.complete(parameters), [*self.names, *ties])
        if not ties:
            return found
        inferred = {name: jnp.asarray(parameters[name]) for name in self.names}
        return found.tied(lambda free: {n: self.complete({**parameters, **free})[n] for n in ties}, inferred)

    def residual(self, parameters: Parameters, data: Any) -> Array:
        """Whitened residuals in the shape of the prediction; 0 where a sample is left out."""
        return self.samplewise.residual(self.predict(parameters), data)

    @property
    def samplewise(self) -> Samplewise:
        """The noise, for what works with residuals.

        Raises:
            ValueError: it has none.
        """
        if not isinstance(self.noise, Samplewise):
            name = type(self.noise).__name__
            raise ValueError(f"{name} noise is no sum over samples, so it has no residuals, which this method needs")
        return self.noise

    def log_likelihood(self, parameters: Parameters, data: Any) -> Array:
        """The noise's log density of the data, a scalar."""
        return self.noise.log_density(self.predict(parameters), data)

    @property
    def layout(self) -> Layout:
        """How the inferred parameters lie in the covariance."""
        return Layout(self.names, tuple(tuple(self.prior[name].shape()) for name in self.names))

    @property
    def coordinates(self) -> Coordinates:
        """The closed coordinates of the inferred parameters: the physics' own, then each parameter for itself."""
        return Coordinates.of(self.prior, self.names, self.blocks)

    @property
    def symmetry(self) -> Symmetry | None:
        """The forward model's symmetry, where all that it moves is inferred, over a support that it keeps."""
        return self.forward.knowledge.symmetry if self.symmetric else None

    def _symmetric(self) -> bool:
        found = self.forward.knowledge.symmetry
        bound = {name for tie in priors.tied(self.prior).values() for name in tie.of}
        return found is not None and set(found.names) <= set(self.names) - bound and found.suits(self.prior)

    def log_density(self, coordinates: Coordinates, z: Array, data: Any, known: Parameters | None = None) -> Array:
        """The unnormalized log posterior in opened coordinates, a scalar; `z` is `(coordinates.size,)`."""
        parameters = coordinates.parameters(z)
        prior = priors.log_prob(self.prior, parameters) + coordinates.log_volume(z)
        return prior + self.log_likelihood({**(known or {}), **parameters}, data)

    def canonical(self, parameters: Parameters) -> dict[str, Array]:
        """Equivalent parameters inside the prior's support: the model's symmetry, then wrapping, then projection.

        The symmetry moves inferred parameters alone: where it would move one that is known, fixed or tied otherwise
        than its tie does, it is left out.
        """
        symmetry = self.forward.knowledge.canonical
        before = self.complete(parameters)
        moved = symmetry(before)
        own = [name for name in self.names if name in parameters]
        after = {**parameters, **{name: moved[name] for name in own}}
        if any(moved[name] is not before[name] for name in before if name not in own):
            # Two sets predict the same if they have the same representative.
            again = symmetry(self.complete(after))
            same = jnp.all(jnp.stack([jnp.all(_close(again[name], moved[name])) for name in before]))
            after = {**parameters, **{name: jnp.where(same, after[name], parameters[name]) for name in own}}
        return priors.project(self.prior, after)

    def guess(self, data: Any, known: Parameters | None = None) -> dict[str, Array]:
        """Starting points from one object's data, inside the support: `(n_guesses, *parameter_shape)`.

        The forward model's classical estimates where it has any; the centre of the prior where it has none.
        """
        centre = {name: priors.centre(self.prior[name]) for name in self.names}
        values = data.values if isinstance(data, Observation) else data
        valid = self.noise.valid(values, data)
        found = self.forward.knowledge.guess(jnp.where(valid, values, 0), valid)
        n_guesses = len(next(iter(found.values()))) if found else 1
        centre = {name: jnp.broadcast_to(value, (n_guesses, *value.shape)) for name, value in centre.items()}
        starts = centre | {name: found[name] for name in self.names if name in found}
        return {name: jax.vmap(lambda p: priors.project(self.prior, p))(starts)[name] for name in starts}

    def simulate(
        self, key: PRNGKeyArray, shape: tuple[int, ...] = (), known: Parameters | None = None
    ) -> tuple[dict[str, Array], Array]:
        """Draws from the prior and noisy data of each.

        Args:
            key: random key; the draw of one parameter does not depend on which others are inferred.
            shape: batch shape.
            known: parameters known for each object, `(*shape, *parameter_shape)`.

        Returns:
            `(parameters, data)`: dict of `(*shape, *parameter_shape)`, and `(*shape, *prediction_shape)`.
        """
        prior_key, noise_key = jax.random.split(key)
        n = int(np.prod(shape, dtype=int))
        parameters = priors.sample(self.prior, prior_key, (n,))
        known = {name: jnp.reshape(v, (n, *jnp.shape(v)[len(shape) :])) for name, v in (known or {}).items()}

        def one(parameters: Parameters, known: Parameters, key: PRNGKeyArray) -> Array:
            return self.noise.simulate(key, self.predict({**parameters, **known}))

        data = jax.vmap(one)(parameters, known, jax.random.split(noise_key, n))
        reshape = lambda x: x.reshape((*shape, *x.shape[1:]))  # noqa: E731
        return jax.tree.map(reshape, parameters), reshape(data)

    def numpyro_model(self, data: Any = None, known: Parameters | None = None) -> dict[str, Array]:
        """A NumPyro model of one object: a sample site for each inferred parameter and the likelihood as a factor.

        A cyclic parameter is a deterministic site of a vector `<name>_direction`, so that a sampler meets no edge.
        Can be called inside a user's own model. Returns all parameters.
        """
        values: dict[str, Any] = dict(known or {})
        circles = priors.circles(self.prior)
        for name in self.names:
            shape = self.prior[name].shape()
            if name in circles:
                direction = numpyro.sample(f"{name}_direction", priors.Ring().expand(shape).to_event(len(shape)))
                circle = Circle(name, *circles[name], ring=True)
                values[name] = numpyro.deterministic(name, circle.parameters(jnp.ravel(jnp.asarray(direction)))[name])
            else:
                values[name] = numpyro.sample(name, self.prior[name])
        values = self.complete(values)
        if data is not None:
            numpyro.factor("likelihood", self.noise.log_density(self.forward(values), data))
        return values


def _close(a: Any, b: Any) -> Array:
    return jnp.abs(jnp.asarray(a) - b) <= 1e-5 * (1 + jnp.abs(jnp.asarray(b)))


def _plain(name: str, entry: Any, units: Mapping[str, str]) -> Any:
    """An entry of a prior without units: known values are converted, a distribution's numbers have to be plain.

    Raises:
        ValueError: a distribution carries a unit, or a value one that cannot be converted.
    """
    if isinstance(entry, dist.Distribution):
        unit = next((x.unit for x in jax.tree.leaves(entry) if hasattr(x, "unit")), None)
        if unit is not None:
            expected = units[name] or "pure numbers"
            raise ValueError(
                f"the prior of {name!r} carries the unit {unit}: give its numbers in {expected}, without one"
            )
        return entry
    if isinstance(entry, priors.Tied):
        return entry
    entry = in_units({name: entry}, units)[name]
    entry = np.asarray(entry) if isinstance(entry, list | tuple) else entry
    if not isinstance(entry, int | float) and getattr(getattr(entry, "dtype", None), "kind", "") not in tuple("fiub"):
        raise ValueError(
            f"the prior's {name!r} is {entry!r:.60}: expected a NumPyro distribution (inferred), a number or an array "
            "(fixed), or jaxinv.Tied"
        )
    return entry


_SHAPES: dict[Any, tuple[int, ...]] = {}
"""Prediction shapes of problems seen: tracing a forward model takes as long as fitting hundreds of objects."""
_MOST_SHAPES = 64


def _signature(problem: Problem) -> Any:
    """What the shape of a prediction can depend on: everything but the values of arrays."""
    leaves, structure = jax.tree.flatten(problem)
    return structure, tuple((x.shape, x.dtype) if hasattr(x, "dtype") else (type(x), x) for x in leaves)
