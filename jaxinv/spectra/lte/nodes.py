"""A stratified atmosphere in few numbers: values at nodes, and what lies between them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array
from scipy.interpolate import CubicSpline

from jaxinv.coordinates import Block
from jaxinv.forward import Forward, Parameter, Parameters, as_arrays, with_jacobian
from jaxinv.knowledge import Knowledge
from jaxinv.names import suggestion
from jaxinv.priors import Cyclic, Prior, Smooth
from jaxinv.spectra.field_vector import FieldVector, canonical_field
from jaxinv.spectra.guess import LineWindows, classical_guess
from jaxinv.spectra.lte.models import resampled, standard_model
from jaxinv.spectra.lte.opacity import HC_OVER_K
from jaxinv.spectra.lte.synthesis import COOLEST, HOTTEST, LTE
from jaxinv.spectra.symmetry import AZIMUTH
from jaxinv.spectra.zeeman import effective_lande

HIGHEST, DEEPEST, ONLY = -3.0, 0.0, -1.0
"""log tau of the outermost nodes, and of a single one, where only their number is given."""
_CURVED = ("temperature", "velocity")
"""Quantities that splines run through; straight lines keep the others within the values at their nodes."""
_FIELD = ("field_strength", "inclination", "azimuth")
_TILTS, _FACTORS = (0.0, -250.0, 150.0), (1.0, 0.6, 1.5)
"""Of the first estimates: change of the temperature with log tau [K], and factors on the field strength."""
_FARTHEST = 2500.0
"""How far [K] a first estimate may lie from the reference."""


class Nodes(Forward):
    """Stokes profiles of an atmosphere whose stratification is given by its values at nodes; `(4, n_wavelength)`.

    Between nodes: a constant (one node), a straight line (two), cubic splines of the temperature and the velocity,
    level at their ends, straight lines of all others (three or more); beyond the outermost node as at that node. Of the
    temperature that is its difference to the reference, whose gradient and chromosphere are kept (Ruiz Cobo & del Toro
    Iniesta 1992, ApJ 398, 375, perturb a model likewise). The electron pressure follows from hydrostatic equilibrium.

    Parameters: each quantity in `nodes` at its nodes, `(n_nodes,)`, or a scalar where it has one node; in the units of
    `LTE`. Optional: `wavelength_offset` [angstrom].

    Args:
        model: an `LTE` model with `hydrostatic=True`.
        nodes: of each quantity their number, equidistant from log tau 0 to -3 (-1 if it is one), or their log tau. What
            is not named is held as in the reference: 0 where that does not say.
        reference: name of a standard model, or a stratification by name of quantity: `(n_depth,)` on the model's grid,
            or on its own, `log_tau`.

    Raises:
        ValueError: the model is not hydrostatic, a name is no quantity of it, or nodes or reference do not fit.
    """

    model: LTE
    positions: tuple[tuple[str, tuple[float, ...]], ...] = eqx.field(static=True)
    reference: dict[str, np.ndarray]
    weights: dict[str, np.ndarray]
    windows: LineWindows

    def __init__(
        self,
        model: LTE,
        nodes: Mapping[str, int | Sequence[float]],
        reference: str | Mapping[str, Any] = "FAL-C",
    ) -> None:
        if not model.hydrostatic:
            raise ValueError("nodes need an LTE model with hydrostatic=True: the electron pressure follows")
        known = [name for name, parameter in model.parameters.items() if parameter.shape]
        for name in nodes:
            if name not in known:
                raise ValueError(f"no nodes of {name!r}{suggestion(name, known)} (there are {', '.join(known)})")
        if not nodes:
            raise ValueError(f"at least one quantity needs nodes: {', '.join(known)}")
        self.model = model
        self.positions = tuple((name, _positions(name, nodes[name], model.log_tau)) for name in known if name in nodes)
        grid = np.asarray(model.log_tau)
        given = standard_model(reference, grid) if isinstance(reference, str) else resampled(reference, grid)
        if "temperature" not in given:
            raise ValueError("the reference has no temperature")
        self.reference = {name: given.get(name, np.zeros(len(grid))) for name in known}
        self.weights = {name: _between(grid, at, curved=name in _CURVED) for name, at in self.positions}
        self.windows = LineWindows(model.wavelength, [(line.wavelength, effective_lande(line)) for line in model.lines])

    @property
    def parameters(self) -> dict[str, Parameter]:
        of = self.model.parameters
        own = {name: of[name]._replace(shape=(len(at),) * (len(at) > 1)) for name, at in self.positions}
        return own | {"wavelength_offset": of["wavelength_offset"]}

    @property
    def log_tau(self) -> np.ndarray:
        """`(n_depth,)` of the grid."""
        return np.asarray(self.model.log_tau)

    @property
    def knowledge(self) -> Knowledge:
        """Classical estimates; what Milne-Eddington knows of a field, too, where it is the same at all depths."""
        plain = all(self.parameters[name].shape == () for name in _FIELD if name in self.parameters)
        whole = plain and all(name in self.parameters for name in _FIELD)
        rotation = AZIMUTH if "azimuth" in self.parameters and not self.parameters["azimuth"].shape else None

        def coordinates(prior: Prior) -> tuple[Block, ...]:
            return FieldVector.of(prior) if whole else ()

        canonical = canonical_field if whole else dict
        return Knowledge(self._guess, canonical, coordinates, rotation, working_set=self.model.working_set)

    def __call__(self, parameters: Parameters) -> Array:
        return with_jacobian(self._light, self._value_and_jacobian, self._arrays(parameters))

    def value_and_jacobian(self, parameters: Parameters) -> tuple[Array, dict[str, Array]]:
        """Stokes profiles and their derivatives, `(4, n_wavelength, n_nodes)`, of scalars `(4, n_wavelength)`."""
        value, jacobian = self._value_and_jacobian(self._arrays(parameters))
        return value, {name: jacobian[name] for name in parameters}

    def stratification(self, parameters: Parameters) -> dict[str, Array]:
        """Every quantity at every depth, `(n_depth,)`: what `LTE` reads, and the electron pressure [dyn/cm2]."""
        arrays = self._stratified(self._arrays(parameters))
        return self.model.balanced({name: arrays[name] for name in self.reference})

    def at_nodes(self, stratification: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """The parameters that come nearest: the values of a stratification at the nodes.

        A start for more nodes than what found it had: `fine.at_nodes(coarse.stratification(parameters))`.

        Args:
            stratification: quantities `(*batch, n_depth)` on the grid of the model.
        """
        found = {}
        for name, at in self.positions:
            values, picked = np.asarray(stratification[name]), _picked(self.log_tau, at)
            if name == "temperature":  # of which the difference to the reference is smooth
                reference = np.asarray(self.reference[name])
                values = (values - reference) @ picked.T + picked @ reference
            else:
                values = values @ picked.T
            found[name] = values if len(at) > 1 else values[..., 0]
        return found

    def _arrays(self, parameters: Parameters) -> dict[str, Array]:
        return as_arrays(self, parameters, {})

    def _stratified(self, arrays: dict[str, Array]) -> dict[str, Array]:
        """What the LTE model reads."""
        dtype = arrays["wavelength_offset"].dtype
        out = {name: jnp.asarray(x, dtype) for name, x in self.reference.items()}
        out |= {name: self.between(name, jnp.atleast_1d(arrays[name])) for name, _ in self.positions}
        return {**out, "wavelength_offset": arrays["wavelength_offset"]}

    def between(self, name: str, values: Any) -> Array:
        """A quantity at every depth, `(*batch, n_depth)`, from its values at the nodes, `(*batch, n_nodes)`."""
        values = jnp.asarray(values)
        weights = jnp.asarray(self.weights[name], values.dtype).T
        if name != "temperature":
            return jnp.matmul(values, weights, precision="highest")
        at = dict(self.positions)[name]
        moved = jnp.matmul(values - jnp.asarray(self._referred(at), values.dtype), weights, precision="highest")
        return jnp.clip(jnp.asarray(self.reference[name], values.dtype) + moved, COOLEST, HOTTEST)

    def _referred(self, at: Sequence[float]) -> Array:
        """The reference's temperature at nodes."""
        return jnp.matmul(_picked(self.log_tau, at), self.reference["temperature"], precision="highest")

    def _light(self, arrays: dict[str, Array]) -> Array:
        return self.model(self._stratified(arrays))

    def _value_and_jacobian(self, arrays: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
        along = {name: {name: self.weights[name]} for name, _ in self.positions}
        along["wavelength_offset"] = {"wavelength_offset": np.ones((len(self.log_tau), 1))}
        value, jacobian = self.model.value_and_derivatives(self._stratified(arrays), along)
        return value, {name: jacobian[name].reshape(*value.shape, *x.shape) for name, x in arrays.items()}

    def _guess(self, values: Array, valid: Array) -> dict[str, Array]:
        """Three estimates; field and velocity, the same at all depths, by `classical_guess`.

        The reference is moved to the brightness temperature: what is seen comes from tau = mu (Eddington-Barbier). The
        second has a weaker field and is hotter at the top, the third a stronger one and cooler.
        """
        found = classical_guess(values, valid, self.windows)
        start, stop, centre, unit = self.model.windows[0]
        bright = jnp.max(jnp.where(valid[0, start:stop], values[0, start:stop], 0))
        micron, level = centre / 1e4, jnp.clip(bright, 0.02, 5.0) * unit
        seen = HC_OVER_K / (micron * jnp.log1p(1 / (level * micron**5)))
        order = np.argsort(self.log_tau)
        reference = jnp.asarray(self.reference["temperature"])
        here = jnp.interp(math.log10(self.model.mu), self.log_tau[order], reference[order])
        found |= {"temperature": jnp.clip(seen - here, -_FARTHEST, _FARTHEST), "microturbulence": jnp.ones_like(seen)}
        out = {}
        for name, at in self.positions:
            value = jnp.broadcast_to(found[name], (len(_TILTS), len(at)))
            if name == "temperature":
                tilt = np.outer(_TILTS, np.minimum(at, 0))
                value = value + jnp.asarray(self._referred(at) + tilt, value.dtype)
            elif name == "field_strength":
                value = value * jnp.asarray(_FACTORS, value.dtype)[:, None]
            out[name] = value.reshape(len(_TILTS), *self.parameters[name].shape)
        return out


def stratified_prior(model: Nodes, **changes: Any) -> dict[str, Any]:
    """The prior of the parameters of `Nodes`: wide bounds, and little change from one node to the next.

    The temperature lies within 3500 K below and 4500 K above the reference, and its difference to that changes by
    300 K (one sigma) over a unit of log tau, as sqrt of the distance; the velocity by 3 km/s, the field strength by
    500 G, the inclination by 20 degrees, the microturbulence by 1 km/s. Each by itself is flat within its bounds.

    Args:
        model: what describes the stratification.
        **changes: entries that replace or join these: `microturbulence=1.0` holds it.
    """
    prior: dict[str, Any] = {}
    order = np.argsort(model.log_tau)
    for name, at in model.positions:
        low, high, step = _BOUNDS[name]
        trend = np.zeros(len(at))
        if name == "temperature":
            trend = np.interp(at, model.log_tau[order], model.reference[name][order])
            bottom, top = np.maximum(trend + low, 1.5 * COOLEST), np.minimum(trend + high, HOTTEST)
        else:
            bottom, top = np.full(len(at), low), np.full(len(at), high)
        if name == "azimuth":
            one: Any = Cyclic(low, high)
            prior[name] = one if len(at) == 1 else one.expand([len(at)]).to_event(1)
        elif len(at) == 1:
            prior[name] = dist.Uniform(float(bottom[0]), float(top[0]))
        else:
            prior[name] = Smooth(bottom, top, step * np.sqrt(np.abs(np.diff(at))), trend)
    return prior | changes


_BOUNDS = {
    "temperature": (-3500.0, 4500.0, 300.0),
    "microturbulence": (0.1, 5.0, 1.0),  # at 0 the profiles do not feel it: a fit would stay there
    "velocity": (-20.0, 20.0, 3.0),
    "field_strength": (0.0, 5000.0, 500.0),
    "inclination": (0.0, math.pi, math.radians(20.0)),
    "azimuth": (0.0, math.pi, math.inf),
}
"""Lowest, highest, and change over a unit of log tau (one sigma)."""


def _positions(name: str, given: int | Sequence[float], log_tau: Sequence[float]) -> tuple[float, ...]:
    """The log tau of a quantity's nodes, deepest first."""
    if isinstance(given, int | np.integer) and not isinstance(given, bool):
        if given < 1:
            raise ValueError(f"the nodes of {name!r} are 1 or more, or their log tau; found {given}")
        return (ONLY,) if given == 1 else tuple(np.linspace(DEEPEST, HIGHEST, given).tolist())
    try:
        at = np.atleast_1d(np.asarray(given, float))
    except (TypeError, ValueError):
        at = np.array([math.nan])
    if at.ndim != 1 or not at.size or not np.all(np.isfinite(at)) or len(np.unique(at)) < len(at):
        raise ValueError(f"the nodes of {name!r} are a number, or different values of log tau; found {given!r}")
    if at.min() < min(log_tau) or at.max() > max(log_tau):
        raise ValueError(
            f"the nodes of {name!r} run from log tau {at.max():g} to {at.min():g}, "
            f"beyond the grid, {max(log_tau):g} to {min(log_tau):g}"
        )
    return tuple(np.sort(at)[::-1].tolist())


def _between(grid: np.ndarray, at: Sequence[float], *, curved: bool) -> np.ndarray:
    """`(n_depth, n_nodes)`: what values at nodes are multiplied by."""
    nodes, one = np.asarray(at)[::-1], np.eye(len(at))[::-1]
    inside = np.clip(grid, nodes[0], nodes[-1])
    if len(at) < 3 or not curved:
        return np.stack([np.interp(inside, nodes, column) for column in one.T], 1)
    return CubicSpline(nodes, one, bc_type="clamped")(inside)


def _picked(grid: np.ndarray, at: Sequence[float]) -> np.ndarray:
    """`(n_nodes, n_depth)`: linear interpolation of a stratification at nodes."""
    order = np.argsort(grid)
    found = np.zeros((len(at), len(grid)))
    found[:, order] = np.stack([np.interp(at, grid[order], column) for column in np.eye(len(grid))], 1)
    return found
