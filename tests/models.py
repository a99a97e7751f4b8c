"""Small forward models with known answers, and a count of compiled programs, shared by the tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxinv.compute.store import Store
from jaxinv.forward import Forward, Parameter, Parameters
from jaxinv.training import Checkpoints

X = np.linspace(0, 2, 30)
"""Copied where it is used: JAX 0.10 keeps constants by identity, in the precision in which it first met them."""


class Line(Forward):
    """intercept + slope x."""

    @property
    def parameters(self) -> dict[str, Parameter]:
        return {"intercept": Parameter("V"), "slope": Parameter("V/s")}

    def __call__(self, parameters: Parameters) -> Array:
        return parameters["intercept"] + parameters["slope"] * jnp.asarray(X.copy())


class Polynomial(Forward):
    """sum of coefficients[k] x^k, an array-valued parameter, times a scale."""

    degree: int = 2

    @property
    def parameters(self) -> dict[str, Parameter]:
        return {"coefficients": Parameter(shape=(self.degree + 1,)), "scale": Parameter()}

    def __call__(self, parameters: Parameters) -> Array:
        powers = jnp.asarray(X.copy())[:, None] ** jnp.arange(self.degree + 1)
        return parameters["scale"] * (powers @ parameters["coefficients"])


class Decay(Forward):
    """amplitude exp(-rate x) + background."""

    @property
    def parameters(self) -> dict[str, Parameter]:
        return {"amplitude": Parameter(), "rate": Parameter("1/s"), "background": Parameter()}

    def __call__(self, parameters: Parameters) -> Array:
        decay = jnp.exp(-parameters["rate"] * jnp.asarray(X.copy()))
        return parameters["amplitude"] * decay + parameters["background"]


class Wave(Forward):
    """amplitude cos(x - phase): the phase is cyclic, and (amplitude, phase) is (-amplitude, phase + pi)."""

    @property
    def parameters(self) -> dict[str, Parameter]:
        return {"amplitude": Parameter(), "phase": Parameter("rad")}

    def __call__(self, parameters: Parameters) -> Array:
        return parameters["amplitude"] * jnp.cos(3 * jnp.asarray(X.copy()) - parameters["phase"])


class Banana(Forward):
    """b - a^2: with a normal prior of a and a wide one of b, the posterior is a parabola with known moments."""

    @property
    def parameters(self) -> dict[str, Parameter]:
        return {"a": Parameter(), "b": Parameter()}

    def __call__(self, parameters: Parameters) -> Array:
        return jnp.asarray(parameters["b"] - parameters["a"] ** 2)[None]


class Direct(Forward):
    """A parameter measured as it is."""

    @property
    def parameters(self) -> dict[str, Parameter]:
        return {"x": Parameter("m")}

    def __call__(self, parameters: Parameters) -> Array:
        return jnp.asarray(parameters["x"])[None]


def cut_after(n_pieces: int, monkeypatch: Any) -> None:
    """From here on a run is interrupted when it has kept so many pieces."""
    kept, write = [], Store.write

    def interrupted(store: Store, start: int, stop: int, arrays: Any) -> None:
        write(store, start, stop, arrays)
        kept.append((start, stop))
        if len(kept) == n_pieces:
            raise KeyboardInterrupt

    monkeypatch.setattr(Store, "write", interrupted)


def compilations(work: Callable[[], object]) -> int:
    """How many programs are traced and compiled while `work` runs."""
    seen: list[str] = []

    def listen(event: str, duration: float, **more: object) -> None:
        seen.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        work()
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    return sum(event.endswith("jaxpr_to_mlir_module_duration") for event in seen)


def interrupted_after(part: str, step: int, monkeypatch: Any) -> None:
    """The next training that keeps its state is interrupted once, after a checkpoint of one of its parts."""
    saved, stops = Checkpoints.save, [(part, step)]

    def save(self: Checkpoints, step: int, state: Any) -> None:
        saved(self, step, state)
        if (self._path.name, step) in stops:
            stops.clear()
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoints, "save", save)
