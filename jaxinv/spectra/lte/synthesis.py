"""Stokes profiles of a stratified atmosphere in local thermodynamic equilibrium, with their response functions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxinv.forward import Forward, Parameter, Parameters, as_arrays, with_jacobian
from jaxinv.knowledge import Knowledge
from jaxinv.spectra.line import Line
from jaxinv.spectra.lines import checked_wavelength, find_lines
from jaxinv.spectra.lte.gas import Gas
from jaxinv.spectra.lte.line_opacity import ZeemanProfiles, check_line, damping, doppler_width, strength
from jaxinv.spectra.lte.models import standard_model
from jaxinv.spectra.lte.opacity import HC_OVER_K, continuous_opacity
from jaxinv.spectra.lte.stratification import REFERENCE, SOLAR_GRAVITY, check_depths, hydrostatic
from jaxinv.spectra.lte.transfer import Matter, Solver, delo_bezier, emergent, emergent_and_response
from jaxinv.spectra.propagation import absorption

_GAP = 20.0
"""Wavelengths further apart than this [angstrom] are windows with a continuum of their own."""
COOLEST, HOTTEST = 1000.0, 20000.0
"""Temperatures [K] that are computed with: partition functions are tabulated to 10 000 K, and continued."""
_ARRAYS = 40
"""Of `(n_depth, n_wavelength)` that are alive together: what the absorption follows from, its seven entries, ..."""
_DEEPEST, _HIGHEST = 0.5, -2.0
"""log tau that a grid has to reach at least: photospheric lines form between them."""


def planck(temperature: Array, wavelength: Any) -> Array:
    """Planck's function of the wavelength [angstrom], in units of 2 h c^2 / micron^5."""
    micron = wavelength / 1e4
    return 1 / (micron**5 * jnp.expm1(HC_OVER_K / (micron * temperature)))


class LTE(Forward):
    """Stokes I, Q, U, V of lines in a stratified atmosphere; `(4, n_wavelength)`.

    In units of the continuum of the HSRA model at the centre of the disc in each window. Blends of all lines given;
    full Zeeman patterns; natural and collisional broadening (`line_opacity.damping`).

    Parameters, `(n_depth,)` each:
        `temperature` [K]; `electron_pressure` [dyn/cm2] (FITS: erg/cm3), left out where `hydrostatic`;
        `microturbulence` [km/s]; `velocity` [km/s], positive = away from the observer (redshift); `field_strength` [G];
        `inclination` [rad], 0 = towards the observer; `azimuth` [rad], of the transverse field from the direction of
        positive Q. Optional: `wavelength_offset` [angstrom], a scalar shift of the spectrum towards the red.

    Signs: as `MilneEddington`: inclination 0 gives V > 0 in the blue wing of an absorption line.

    Args:
        lines: names (`"Fe I 6302.5"`) or `Line`s.
        wavelength: `(n_wavelength,)` in angstrom (air), any spacing: one window or several.
        log_tau: `(n_depth,)`, log10 of the optical depth at 5000 angstrom, deepest or highest first; it spans the
            lines' formation, at least from 0.5 to -2.
        mu: cosine of the heliocentric angle.
        composition: abundances, see `Gas`.
        hydrostatic: the electron pressure follows from the temperature.
        top_pressure: of the gas at the top [dyn/cm2], where `hydrostatic`; left out, see `lte.hydrostatic`.
        gravity: [cm/s2], where `hydrostatic`.
        solver: `transfer.delo_bezier` or `transfer.hermite`.
        local_continuum: in units of the HSRA model's continuum at the same `mu`, in place of the disc's centre: for
            data that were divided by the continuum of their own surroundings.

    Raises:
        UnknownLineError: a name is not in the table.
        ValueError: a line lacks atomic data, the depths are not sorted, too few or do not span the lines' formation,
            the wavelengths do not cover a line's centre, or `mu` is not within (0, 1].
    """

    lines: tuple[Line, ...] = eqx.field(static=True)
    spectrum: tuple[float, ...] = eqx.field(static=True)
    log_tau: tuple[float, ...] = eqx.field(static=True)
    mu: float = eqx.field(static=True)
    gas: Gas
    hydrostatic: bool = eqx.field(static=True)
    top_pressure: float | None = eqx.field(static=True)
    gravity: float = eqx.field(static=True)
    solver: Solver = eqx.field(static=True)
    windows: tuple[tuple[int, int, float, float], ...] = eqx.field(static=True)

    def __init__(
        self,
        lines: Sequence[Line | str],
        wavelength: Sequence[float] | np.ndarray,
        log_tau: Sequence[float] | np.ndarray,
        *,
        mu: float = 1.0,
        composition: str | Mapping[str, float] = "asplund2009",
        hydrostatic: bool = False,
        top_pressure: float | None = None,
        gravity: float = SOLAR_GRAVITY,
        solver: Solver = delo_bezier,
        local_continuum: bool = False,
    ) -> None:
        self.lines = tuple(check_line(line) for line in find_lines([lines] if isinstance(lines, str | Line) else lines))
        samples = checked_wavelength(wavelength, self.lines)
        if not 0 < mu <= 1:
            raise ValueError(f"`mu` is the cosine of the heliocentric angle, within (0, 1]; found {mu}")
        grid = check_depths(log_tau)
        if grid.max() < _DEEPEST or grid.min() > _HIGHEST:
            raise ValueError(
                f"log_tau runs from {grid.min():g} to {grid.max():g}: "
                f"it has to span {_HIGHEST:g} to {_DEEPEST:g}, where lines form"
            )
        self.log_tau, self.mu, self.gas = tuple(grid.tolist()), float(mu), Gas(composition)
        self.hydrostatic, self.top_pressure, self.gravity = bool(hydrostatic), top_pressure, float(gravity)
        self.solver = solver
        self.spectrum = tuple(samples.tolist())
        seen = self.mu if local_continuum else 1.0
        self.windows = tuple((*window, hsra_continuum(window[-1], seen)) for window in _windows(samples))

    @property
    def wavelength(self) -> np.ndarray:
        """`(n_wavelength,)` [angstrom]."""
        return np.asarray(self.spectrum)

    @property
    def working_set(self) -> int:
        """Numbers that a synthesis with its response functions holds at a time, roughly."""
        return _ARRAYS * len(self.log_tau) * len(self.spectrum)

    @property
    def knowledge(self) -> Knowledge:
        return Knowledge(working_set=self.working_set)

    @property
    def parameters(self) -> dict[str, Parameter]:
        depth = (len(self.log_tau),)
        pressure = {} if self.hydrostatic else {"electron_pressure": Parameter("erg/cm3", depth, lowest=0.0)}
        return {
            "temperature": Parameter("K", depth, lowest=COOLEST, highest=HOTTEST),
            **pressure,
            "microturbulence": Parameter("km/s", depth, lowest=0.0),
            "velocity": Parameter("km/s", depth),
            "field_strength": Parameter("G", depth, lowest=0.0),
            "inclination": Parameter("rad", depth, lowest=0.0, highest=math.pi),
            "azimuth": Parameter("rad", depth, lowest=0.0, highest=math.pi),
            "wavelength_offset": Parameter("Angstrom", optional=True),
        }

    def __call__(self, parameters: Parameters) -> Array:
        light = lambda arrays: emergent(self.solver, self._matter(arrays), self._grid, self.mu)  # noqa: E731
        return with_jacobian(light, self._value_and_response, self.balanced(self._arrays(parameters)))

    def value_and_jacobian(self, parameters: Parameters) -> tuple[Array, dict[str, Array]]:
        """Stokes profiles, and response functions `(4, n_wavelength, n_depth)`: derivatives for each depth of the grid.

        Of `wavelength_offset`, `(4, n_wavelength)`.
        """
        arrays = self._arrays(parameters)
        if not self.hydrostatic:
            value, response = self._value_and_response(arrays)
            return value, {name: response[name] for name in parameters}
        value, response = self._value_and_response(self.balanced(arrays))
        pressure = jax.jacfwd(lambda t: self.balanced({**arrays, "temperature": t})["electron_pressure"])
        response["temperature"] += response.pop("electron_pressure") @ pressure(arrays["temperature"])
        return value, {name: response[name] for name in parameters}

    def value_and_derivatives(
        self, parameters: Parameters, along: Mapping[str, Mapping[str, Any]]
    ) -> tuple[Array, dict[str, Array]]:
        """Stokes profiles, and their derivatives along some changes of the stratification alone.

        What a few numbers change at all depths costs no response function at every depth: these are contracted one
        Stokes parameter at a time.

        Args:
            parameters: as always.
            along: groups of changes by any name; a group of n changes the quantities that it names by the columns of
                `(n_depth, n)`, all together. Where `hydrostatic`, the electron pressure follows a changed temperature.

        Returns:
            `(4, n_wavelength)`, and of each group `(4, n_wavelength, n)`.
        """
        arrays = self._arrays(parameters)
        dtype = arrays["temperature"].dtype
        along = {group: {n: jnp.asarray(x, dtype) for n, x in each.items()} for group, each in along.items()}
        if self.hydrostatic:
            balance = lambda t: self.balanced({**arrays, "temperature": t})["electron_pressure"]  # noqa: E731
            pressure, push = jax.linearize(balance, arrays["temperature"])
            arrays = arrays | {"electron_pressure": pressure}
            for group, changes in along.items():
                if "temperature" in changes:
                    moved = jax.vmap(push, in_axes=1, out_axes=1)(changes["temperature"])
                    along[group] = {**changes, "electron_pressure": moved}
        return self._value_and_response(arrays, along)

    @property
    def _order(self) -> np.ndarray:
        """Positions of the grid's depths, top first."""
        return np.argsort(self.log_tau)

    @property
    def _grid(self) -> np.ndarray:
        return np.sort(self.log_tau)

    def _arrays(self, parameters: Parameters) -> dict[str, Array]:
        arrays = as_arrays(self, parameters, {})
        if self.hydrostatic and "electron_pressure" in parameters:
            raise ValueError("'electron_pressure' follows from the temperature where `hydrostatic`: leave it out")
        _check_range(arrays)
        return arrays

    def balanced(self, arrays: dict[str, Array]) -> dict[str, Array]:
        """With the electron pressure of hydrostatic equilibrium, where that is wanted."""
        if not self.hydrostatic:
            return arrays
        grid, top = np.asarray(self.log_tau), self.top_pressure
        pressure = hydrostatic(self.gas, grid, arrays["temperature"], top_pressure=top, gravity=self.gravity)
        return arrays | {"electron_pressure": pressure}

    def _value_and_response(
        self, arrays: dict[str, Array], along: Mapping[str, Mapping[str, Array]] | None = None
    ) -> tuple[Array, dict[str, Array]]:
        """The chain of three: light by matter, matter by numbers at the same depth, these by the parameters there."""
        local, push = jax.linearize(self._local, arrays)
        shape = (len(self.log_tau), len(self.spectrum))
        wide = jax.tree.map(lambda x: jnp.broadcast_to(x, (*x.shape[:-2], *shape)), local)
        matter, back = jax.vjp(self._matter_of, wide)
        value, by = emergent_and_response(self.solver, jax.lax.optimization_barrier(matter), self._grid, self.mu)
        names = [name for name in arrays if name not in Local._fields or name == "temperature"]
        # All changes in one program, which is compiled in a third of the time that three take.
        each = {name: jnp.stack([jnp.full_like(x, name == one) for one in names]) for name, x in arrays.items()}
        changes = jax.vmap(push)(each)
        mixed = {name: Local(*(x[k] for x in changes)) for k, name in enumerate(names)}

        def felt(name: str, by: Local) -> Array:
            """The change of one Stokes parameter for a unit of a quantity at each depth, `(n_depth, n_wavelength)`."""
            if name not in mixed:
                return getattr(by, name)
            parts = [
                (b * x).reshape(-1, *shape).sum(0)
                for b, x, field in zip(by, mixed[name], Local._fields)
                if field not in arrays or field == name
            ]
            return sum(parts[1:], parts[0])

        def of_one(by: Matter) -> dict[str, Array]:
            (local,) = back(by)
            if along is None:
                found = {name: felt(name, local)[np.argsort(self._order)] for name in arrays}
                return {name: x if arrays[name].ndim else x.sum(0) for name, x in found.items()}
            reach = {name: felt(name, local) for name in {n: None for changes in along.values() for n in changes}}
            parts = {
                group: [jnp.matmul(change[self._order].T, reach[n], precision="highest") for n, change in each.items()]
                for group, each in along.items()
            }
            return {group: sum(each[1:], each[0]) for group, each in parts.items()}

        response = jax.lax.map(of_one, jax.lax.optimization_barrier(by))  # one Stokes parameter after the other
        return value, {name: jnp.moveaxis(x, 1, -1) if x.ndim == 3 else x for name, x in response.items()}

    def _matter(self, arrays: dict[str, Array]) -> Matter:
        return self._matter_of(self._local(arrays))

    def _local(self, arrays: dict[str, Array]) -> Local:
        p = {name: value[self._order] if value.ndim else value for name, value in arrays.items()}
        state = self.gas.state(p["temperature"], p["electron_pressure"])
        per = 1 / continuous_opacity(state, REFERENCE)
        helium = dict(self.gas.abundances).get("He", 0.0)
        widths = [doppler_width(line, p["temperature"], p["microturbulence"]) for line in self.lines]
        dampings = [damping(line, state, width, helium) for line, width in zip(self.lines, widths)]
        strengths = [strength(line, self.gas, state, width) * per for line, width in zip(self.lines, widths)]
        ratios = [
            jnp.broadcast_to((continuous_opacity(state, centre) * per)[:, None], (len(per), stop - start))
            for start, stop, centre, _ in self.windows
        ]
        column = lambda name: p[name][:, None]  # noqa: E731
        return Local(
            column("temperature"), column("velocity"), column("field_strength"), column("inclination"),
            column("azimuth"), jnp.broadcast_to(p["wavelength_offset"], per.shape)[:, None],
            jnp.concatenate(ratios, 1), jnp.stack(widths)[..., None], jnp.stack(dampings)[..., None],
            jnp.stack(strengths)[..., None],
        )  # fmt: skip

    def _matter_of(self, local: Local) -> Matter:
        """What light meets, top first."""
        phi = psi = jnp.zeros(())
        for k, line in enumerate(self.lines):
            profiles = ZeemanProfiles(line, self.wavelength)
            absorbed, dispersed = profiles(
                local.field_strength, local.velocity, local.width[k], local.damping[k], local.wavelength_offset
            )
            phi, psi = phi + local.strength[k] * absorbed, psi + local.strength[k] * dispersed
        eta, q, v, rq, rv = absorption(phi, psi, local.inclination)
        cosine, sine = jnp.cos(2 * local.azimuth), jnp.sin(2 * local.azimuth)
        spectrum = jnp.asarray(self.spectrum, local.temperature.dtype)
        unit = np.concatenate([np.full(stop - start, unit) for start, stop, _, unit in self.windows])
        source = planck(local.temperature, spectrum) / jnp.asarray(unit, spectrum.dtype)
        entries = [eta + local.continuum, q * cosine, q * sine, v, rq * cosine, rq * sine, rv]
        return Matter(jnp.stack(entries), source)


class Local(NamedTuple):
    """Numbers at each depth that absorption and emission follow from; `(n_depth, 1)`, top first, or what it says.

    Attributes:
        temperature, velocity, field_strength, inclination, azimuth: as the model's parameters.
        wavelength_offset: the same at all depths.
        continuum: `(n_depth, n_wavelength)`, opacity over that at 5000 angstrom.
        width, damping, strength: `(n_lines, n_depth, 1)`: Doppler width [angstrom], damping [Doppler widths], and
            opacity at the centre over that of the continuum at 5000 angstrom.
    """

    temperature: Array
    velocity: Array
    field_strength: Array
    inclination: Array
    azimuth: Array
    wavelength_offset: Array
    continuum: Array
    width: Array
    damping: Array
    strength: Array


def _check_range(arrays: dict[str, Array]) -> None:
    """Raises ValueError where numbers are missing or out of the gas's reach, unless they are being traced."""
    try:
        known = {name: np.asarray(value) for name, value in arrays.items()}
    except jax.errors.TracerArrayConversionError:
        return
    for name, values in known.items():
        if not np.all(np.isfinite(values)):
            raise ValueError(f"{name!r} holds numbers that are not finite")
    temperature, pressure = known["temperature"], known.get("electron_pressure", np.ones(()))
    if temperature.min() < COOLEST or temperature.max() > HOTTEST:
        raise ValueError(
            f"temperatures run from {temperature.min():g} to {temperature.max():g} K; the equation of state covers "
            f"{COOLEST:g} to {HOTTEST:g} K"
        )
    if pressure.min() <= 0:
        raise ValueError(f"'electron_pressure' is above 0; found {pressure.min():g}")


def _windows(wavelength: np.ndarray) -> list[tuple[int, int, float]]:
    """First and last position, and central wavelength, of samples without a gap."""
    cuts = [0, *(np.flatnonzero(np.abs(np.diff(wavelength)) > _GAP) + 1).tolist(), len(wavelength)]
    return [(a, b, float((wavelength[a:b].min() + wavelength[a:b].max()) / 2)) for a, b in itertools.pairwise(cuts)]


def hsra_continuum(wavelength: float, mu: float = 1.0) -> float:
    """The continuum of the HSRA model, in the units of `planck`.

    Args:
        wavelength: [angstrom].
        mu: cosine of the heliocentric angle; 1: the disc's centre.
    """
    with jax.ensure_compile_time_eval():
        return _hsra_continuum(wavelength, mu)


def _hsra_continuum(wavelength: float, mu: float) -> float:
    model = standard_model("HSRA")
    x, temperature = model["log_tau"][::-1], model["temperature"][::-1]
    state = Gas().state(jnp.asarray(model["temperature"]), jnp.asarray(model["electron_pressure"]))
    ratio = np.asarray(continuous_opacity(state, wavelength) / continuous_opacity(state, REFERENCE), float)[::-1]
    fine = np.linspace(x[0], x[-1], 2000)
    rate = np.exp(np.interp(fine, x, np.log(ratio)) + fine * math.log(10)) * math.log(10)
    tau = 10.0 ** x[0] * ratio[0] + np.concatenate([[0], np.cumsum(np.diff(fine) * (rate[1:] + rate[:-1]) / 2)])
    tau = tau / mu
    own = np.asarray(planck(np.interp(fine, x, temperature), wavelength), float)
    return float(np.trapezoid(own * np.exp(-tau), tau) + own[0] * -np.expm1(-tau[0]) + own[-1] * np.exp(-tau[-1]))
