"""What is compiled of the restoration of a patch: functions of a problem, the frames and a vector of its unknowns."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxinv.optics.canvas import Canvas, Seen
from jaxinv.optics.deconvolution import KnownObject, Others, Spectra
from jaxinv.optics.uncertainty import object_error
from jaxinv.optimize.lbfgs import descend
from jaxinv.optimize.objective import Objective
from jaxinv.problem import Problem

_BANDS = 10
"""Of modes, in which the data's curvature is measured together."""


@eqx.filter_jit
def felt(problem: Problem, data: Any, vector: Any) -> tuple[Spectra, Array]:
    """The frames' spectra, and the data's curvature by each coefficient of each frame, means over bands of modes."""
    noise: Any = problem.noise
    parameters = problem.coordinates.parameters(vector)
    predict = lambda wavefront: problem.predict({**parameters, "wavefront": wavefront})  # noqa: E731
    prediction, push = jax.linearize(predict, parameters["wavefront"])
    ready = noise.prepared(data, prediction.shape)
    n_frames, n_modes = parameters["wavefront"].shape
    edges = np.unique(np.round(np.geomspace(2, n_modes, min(_BANDS, n_modes - 1))).astype(int))
    band = np.searchsorted(edges, np.arange(n_modes), side="right")
    signs = np.random.default_rng(0).choice([-1.0, 1.0], n_modes).astype(np.float32)
    along = np.stack([np.where(band == k, signs, 0) for k in range(band.max() + 1)])

    def mean(direction: Array) -> Array:
        change = push(jnp.broadcast_to(direction, (n_frames, n_modes)))
        felt = noise.curvature(prediction, ready, change)
        return jnp.sum(felt, axis=0) / jnp.sum(direction**2)

    return ready, jax.lax.map(mean, jnp.asarray(along))[band].T


@eqx.filter_jit
def predicted(problem: Problem, data: Any, vector: Any) -> tuple[Array, Spectra, Array]:
    """Coloured transfer functions, the frames' spectra, and the root of each object's power."""
    noise: Any = problem.noise
    forward: Any = problem.forward
    parameters = problem.coordinates.parameters(jnp.asarray(vector))
    prediction = problem.predict(parameters)
    root = jnp.sqrt(forward.stages[-1].power(parameters, prediction.shape[-2]))
    ready = data if isinstance(data, Spectra) else noise.prepared(jnp.asarray(data), prediction.shape)
    return prediction, ready, root


@eqx.filter_jit
def erring(problem: Problem, data: Any, vector: Any, sigma: Any, window: Array) -> Array:
    """The standard error of the object, given the wavefronts."""
    noise: Any = problem.noise
    prediction, spectra, root = predicted(problem, data, vector)
    return object_error(noise.whitened(prediction), spectra.values, root, sigma / noise.frame_sigma, window)


@eqx.filter_jit
def descended(problem: Problem, ready: Spectra, vector: Any, unit: Any, steps: int) -> tuple[Array, Array]:
    """A lower point, and the evaluations that it took."""
    found, _, count = descend(Objective(problem, ready, {}, jnp.asarray(unit)), jnp.asarray(vector), steps)
    return found, count


@eqx.filter_jit
def told(problem: Problem, ready: Spectra, vector: Any) -> tuple[Others, Array]:
    """What the others say of what each exposure sees, and its spectra `(n_frames, n_channels, ...)`."""
    noise: Any = problem.noise
    prediction, _, root = predicted(problem, ready, vector)
    return noise.without(prediction, ready, root), jnp.swapaxes(ready.values, 0, 1)


@eqx.filter_jit
def searched(
    problem: Problem,
    sigma: Any,
    known: Others,
    values: Any,
    starts: Any,
    unit: Any,
    steps: Array,
) -> tuple[Array, Array]:
    """`(n_frames, n_draws, n_modes)` from starts of that shape, and the cost of each."""

    def exposure(item: Any) -> tuple[Array, Array]:
        sigma, known, values, starts, unit = item
        noise = KnownObject(problem.noise.n_pixels, sigma, known)  # type: ignore[attr-defined]
        own = eqx.tree_at(lambda p: p.noise, problem, noise)
        objective = Objective(own, Spectra(values, jnp.zeros((), values.real.dtype)), {}, unit)
        found, cost, _ = jax.vmap(lambda start: descend(objective, start, steps))(starts)
        return found, cost

    return jax.lax.map(exposure, (jnp.asarray(sigma), known, values, jnp.asarray(starts), jnp.asarray(unit)))


@eqx.filter_jit
def solved(
    problem: Problem,
    canvas: Canvas,
    vector: Any,
    frames: Any,
    mask: Any,
    sigma: Any,
    start: Any,
    steps: int,
) -> tuple[Seen, Array]:
    """The object on the canvas, and frames that repeat beyond their borders."""
    parameters = problem.complete(problem.coordinates.parameters(jnp.asarray(vector)))
    forward: Any = problem.forward
    transfer = forward.first(parameters)
    for stage in forward.stages[:-1]:
        transfer = stage(parameters, transfer)
    flat = lambda x: jnp.asarray(x).reshape(-1, *jnp.shape(x)[2:])  # noqa: E731
    transfer, frames_, mask = flat(transfer), flat(frames), flat(mask)
    scene = {name: parameters[name] for name in forward.stages[-1].parameters}
    mixing = flat(problem.noise.modulation)  # type: ignore[attr-defined]
    seen = canvas.object(frames_, mask, transfer, scene, jnp.ravel(sigma), start, steps, mixing)
    return seen, canvas.periodic(frames_, mask, transfer, seen, mixing).reshape(jnp.shape(frames))
