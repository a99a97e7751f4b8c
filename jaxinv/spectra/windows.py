"""Several spectral windows of one object, seen as one: a field and a velocity in common, each line formed by itself."""

from __future__ import annotations

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from jaxinv.forward import Forward, Parameter, Parameters, in_units
from jaxinv.knowledge import Knowledge

_SHARED = ("field_strength", "inclination", "azimuth", "velocity")


class Windows(Forward):
    """Forward models joined along wavelength: `(4, n_1 + n_2 + ...)`.

    Parameters named in `shared` are scalars that all windows see; every other one has the shape `(n_windows,)`, an
    element for each window (`doppler_width[1]` is that of the second).

    Args:
        models: one for each window, each `(4, n_k)`, all reading the same parameters; the one that feels the field most
            comes first: it gives the first estimate of what is shared.
        shared: names of the common parameters.

    Raises:
        ValueError: no model, models that read different parameters or arrays, or a shared name that they do not read.
    """

    models: tuple[Forward, ...]
    shared: tuple[str, ...] = eqx.field(static=True)

    def __init__(self, models: Sequence[Forward], shared: Sequence[str] = _SHARED) -> None:
        self.models, self.shared = tuple(models), tuple(shared)
        if not self.models:
            raise ValueError("`Windows` needs at least one model")
        names = list(self.models[0].units)
        for model in self.models:
            if list(model.units) != names or model.shapes:
                raise ValueError(
                    f"the windows must read the same scalar parameters; found {list(model.units)} beside {names}"
                )
        if unknown := [name for name in self.shared if name not in names]:
            raise ValueError(f"`shared` names {unknown[0]!r}, which the models do not read ({', '.join(names)})")

    @property
    def parameters(self) -> dict[str, Parameter]:
        one, each = self.models[0].parameters, (len(self.models),)
        return {name: p if name in self.shared else p._replace(shape=each) for name, p in one.items()}

    @property
    def knowledge(self) -> Knowledge:
        """The first window's of what is shared, each one's of its own.

        The source function, which each window has to itself, multiplies no prediction as a whole.
        """
        first = self.models[0].knowledge
        alike = all((model.knowledge.rotation is None) == (first.rotation is None) for model in self.models)
        rotation = first.rotation if alike and first.rotation and first.rotation.name in self.shared else None
        return first._replace(
            guess=self._guess, canonical=self._canonical, rotation=rotation, affine=None, symmetry=None
        )

    def __call__(self, parameters: Parameters) -> Array:
        return jnp.concatenate([model(self._of(k, parameters)) for k, model in enumerate(self.models)], axis=-1)

    def value_and_jacobian(self, parameters: Parameters) -> tuple[Array, dict[str, Array]]:
        """Profiles, and derivatives that are zero outside the window of the parameter's element."""
        parts = [model.value_and_jacobian(self._of(k, parameters)) for k, model in enumerate(self.models)]
        jacobian = {}
        for name in parameters:
            columns = [derivatives[name] for _, derivatives in parts]
            if name not in self.shared:
                one = jnp.eye(len(self.models), dtype=columns[0].dtype)
                columns = [column[..., None] * one[k] for k, column in enumerate(columns)]
            jacobian[name] = jnp.concatenate(columns, axis=1)
        return jnp.concatenate([value for value, _ in parts], axis=-1), jacobian

    def _guess(self, values: Array, valid: Array) -> dict[str, Array]:
        """What is shared from the first window, the rest from each one's own data."""
        start, found = 0, []
        empty = {name: jnp.zeros((), values.dtype) for name in self.units}
        for k, model in enumerate(self.models):
            stop = start + jnp.shape(eqx.filter_eval_shape(model, self._of(k, self._blank(empty))))[-1]
            found.append(model.knowledge.guess(values[:, start:stop], valid[:, start:stop]))
            start = stop
        return {
            name: found[0][name] if name in self.shared else jnp.stack([guess[name] for guess in found], axis=-1)
            for name in found[0]
        }

    def _canonical(self, parameters: Parameters) -> dict[str, Array]:
        """Each window's representative; where theirs of what is shared differ, the parameters as they are."""
        moved = [model.knowledge.canonical(self._of(k, parameters)) for k, model in enumerate(self.models)]
        first, shared = moved[0], [name for name in parameters if name in self.shared]
        agree = jnp.all(jnp.stack([jnp.asarray(True)] + [each[n] == first[n] for each in moved[1:] for n in shared]))
        whole = {n: first[n] if n in shared else jnp.stack([each[n] for each in moved]) for n in parameters}
        return {name: jnp.where(agree, whole[name], value) for name, value in parameters.items()}

    def _of(self, k: int, parameters: Parameters) -> Parameters:
        parameters = in_units(parameters, self.units)
        return {name: value if name in self.shared else value[k] for name, value in parameters.items()}

    def _blank(self, empty: dict[str, Array]) -> dict[str, Array]:
        return {n: v if n in self.shared else jnp.broadcast_to(v, (len(self.models),)) for n, v in empty.items()}
