"""Two atmospheres in one resolution element."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpyro.distributions as dist
from jaxtyping import Array

from jaxinv.coordinates import Block
from jaxinv.forward import Forward, Parameter, Parameters, in_units
from jaxinv.knowledge import Knowledge
from jaxinv.priors import Prior

_BEHIND = "_2"
_OF_BOTH = ("wavelength_offset", "mu")
_FILLING, _WEAKER = 0.7, 0.2
"""First estimates: the part that the first atmosphere fills, and the second one's field over the first one's."""


class Components(Forward):
    """Two atmospheres side by side, I = f I_1 + (1 - f) I_2: what fills f of the resolution element, and the rest.

    Parameters: those of the first by their names; those of the second with `_2` behind (`field_strength_2`), but what
    is shared; and `filling_factor`, f in [0, 1], of the first. An instrument comes behind both: `Components(a) >> psf`.

    Args:
        first: a forward model.
        second: another one, with the same prediction; `None`: one like the first.
        shared: parameters that both read, such as an azimuth; `wavelength_offset` and `mu` are always shared.

    Raises:
        ValueError: a shared name that they do not both read, or names that would mean two things.
    """

    first: Forward
    second: Forward
    shared: tuple[str, ...] = eqx.field(static=True)

    def __init__(self, first: Forward, second: Forward | None = None, shared: Sequence[str] = ()) -> None:
        self.first, self.second = first, first if second is None else second
        for name in shared:
            if name not in self.first.parameters or name not in self.second.parameters:
                raise ValueError(f"`shared` names {name!r}, which not both components read")
        both = [name for name in _OF_BOTH if name in self.first.parameters and name in self.second.parameters]
        self.shared = (*dict.fromkeys((*shared, *both)),)
        names = [*self.first.parameters, *self._second_names.values(), "filling_factor"]
        twice = sorted({name for name in names if names.count(name) > 1} - {*self.shared})
        if twice:
            raise ValueError(f"the parameter {twice[0]!r} would mean two things in two components")

    @property
    def _second_names(self) -> dict[str, str]:
        """The second component's parameters, and what they are called here."""
        return {name: name if name in self.shared else name + _BEHIND for name in self.second.parameters}

    @property
    def parameters(self) -> dict[str, Parameter]:
        of = self.second.parameters
        second = {here: of[name] for name, here in self._second_names.items() if name not in self.shared}
        return {**self.first.parameters, **second, "filling_factor": Parameter(lowest=0.0, highest=1.0)}

    @property
    def knowledge(self) -> Knowledge:
        """The first one's, and estimates that tell the two apart: the second has a weaker field."""
        one, two = self.first.knowledge, self.second.knowledge

        def guess(values: Array, valid: Array) -> dict[str, Array]:
            found, other = one.guess(values, valid), two.guess(values, valid)
            out = dict(found)
            for name, here in self._second_names.items():
                if name in other and name not in self.shared:
                    out[here] = other[name] * (_WEAKER if name == "field_strength" else 1.0)
            count = min((len(x) for x in out.values()), default=1)
            return {**{name: x[:count] for name, x in out.items()}, "filling_factor": jnp.full(count, _FILLING)}

        def canonical(parameters: Parameters) -> dict[str, Any]:
            moved = one.canonical({name: x for name, x in parameters.items() if name in self.first.parameters})
            mine = {name: parameters[here] for name, here in self._second_names.items() if here in parameters}
            moved_2 = two.canonical(mine)
            rest = {here: moved_2[name] for name, here in self._second_names.items() if name in moved_2}
            # What both read must stay what it is to both.
            kept = {name: parameters[name] for name in self.shared if name in parameters}
            if any(name not in _OF_BOTH for name in kept):
                return dict(parameters)
            return {**parameters, **moved, **rest, **kept}

        def coordinates(prior: Prior) -> tuple[Block, ...]:
            return one.coordinates(prior) if not any(name not in _OF_BOTH for name in self.shared) else ()

        return Knowledge(guess, canonical, coordinates, working_set=one.working_set + two.working_set)

    def __call__(self, parameters: Parameters) -> Array:
        parameters = in_units(parameters, self.units)
        self.need(parameters)
        part = jnp.asarray(parameters["filling_factor"])
        return part * self.first(self._of_first(parameters)) + (1 - part) * self.second(self._of_second(parameters))

    def value_and_jacobian(self, parameters: Parameters) -> tuple[Array, dict[str, Array]]:
        """Each component's, weighted; of the filling factor, the difference of the two."""
        parameters = in_units(parameters, self.units)
        self.need(parameters)
        part = jnp.asarray(parameters["filling_factor"])
        one, by_one = self.first.value_and_jacobian(self._of_first(parameters))
        two, by_two = self.second.value_and_jacobian(self._of_second(parameters))
        jacobian = {name: part * x for name, x in by_one.items()}
        for name, x in by_two.items():
            here, own = self._second_names[name], (1 - part) * x
            jacobian[here] = jacobian[here] + own if here in jacobian else own
        jacobian["filling_factor"] = one - two
        return part * one + (1 - part) * two, {name: jacobian[name] for name in parameters}

    def _of_first(self, parameters: Parameters) -> dict[str, Any]:
        return {name: x for name, x in parameters.items() if name in self.first.parameters}

    def _of_second(self, parameters: Parameters) -> dict[str, Any]:
        return {name: parameters[here] for name, here in self._second_names.items() if here in parameters}


def components_prior(model: Components, first: Prior, second: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The prior of two components from that of each.

    Args:
        model: the components.
        first: the first one's prior.
        second: the second one's, by its own names; like the first one's where it is left out.
    """
    second = first if second is None else second
    rest = {name + _BEHIND: entry for name, entry in second.items() if name not in model.shared}
    return {**first, **rest, "filling_factor": dist.Uniform(0.0, 1.0)}
