"""The exact symmetries of Stokes spectra, and the frame in which every spectrum looks alike.

Three of them move data and parameters together (Landi Degl'Innocenti & Landolfi 2004, secs. 1.7, 9.3): the polarimeter
turned about the line of sight; the field reflected, which changes the signs of U and V; and the brightness scaled.
An element is (scale, angle, sign): sign first, then angle, then scale. Its canonical frame has the continuum 1, linear
polarization along +Q, and V of a field that points towards the observer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from jaxinv import priors
from jaxinv.knowledge import Rotation, Symmetry
from jaxinv.spectra.guess import LineWindows

_BRIGHT = 32
"""Power with which samples of I are weighted by themselves, so that the mean is the continuum's."""


class StokesTurn(NamedTuple):
    """What happens to a spectrum; the first comes last.

    Attributes:
        scale: of all four Stokes parameters.
        angle: by which the azimuth of the field is turned [rad].
        sign: -1: the field is reflected, that is U, V, the azimuth and B cos(inclination) change their signs.
    """

    scale: Array
    angle: Array
    sign: Array


def stokes_symmetry(windows: LineWindows) -> Symmetry:
    """Of a model whose brightness is that of a linear source function.

    Args:
        windows: where the lines are among the samples.
    """
    return Symmetry(
        names=("inclination", "azimuth", "source_constant", "source_slope"),
        suits=_suits,
        mixed=((1, 2),),
        find=lambda values, valid: _found(values, valid, windows),
        draw=_drawn,
        inverse=lambda turn: StokesTurn(1 / turn.scale, -turn.sign * turn.angle, turn.sign),
        data=lambda turn, stokes: turn.scale * rotate(reflect(stokes, turn.sign), turn.angle),
        parameters=_moved,
        scale=lambda turn: turn.scale,
    )


def rotate(stokes: Array, angle: Array) -> Array:
    """Stokes parameters as seen with the field turned by `angle` [rad]."""
    cosine, sine = jnp.cos(2 * angle), jnp.sin(2 * angle)
    i, q, u, v = stokes
    return jnp.stack([i, cosine * q - sine * u, sine * q + cosine * u, v])


def _best_turn(prediction: Array, values: Array, weights: Array) -> Array:
    """The change of azimuth that turns Q and U onto the data's, where they have the same weights."""
    along = jnp.sum(weights[1:3] * values[1:3] * prediction[1:3])
    across = jnp.sum(weights[1] * (values[2] * prediction[1] - values[1] * prediction[2]))
    turn = jnp.arctan2(across, jnp.where((along == 0) & (across == 0), 1, along)) / 2
    return jnp.where(jnp.all(weights[1] == weights[2]), turn, 0)


AZIMUTH = Rotation("azimuth", rotate, _best_turn)
"""An azimuth that is the same all along the ray turns Q and U."""


def reflect(stokes: Array, sign: Array) -> Array:
    """Stokes parameters with U and V times a sign."""
    i, q, u, v = stokes
    return jnp.stack([i, q, sign * u, sign * v])


def _suits(prior: priors.Prior) -> bool:
    """The azimuth is a whole circle, and inclinations reach as far towards the observer as away."""
    inclination = priors.free(prior).get("inclination")
    ends = None if inclination is None else priors.limits(inclination)
    return "azimuth" in priors.circles(prior) and ends is not None and abs(sum(ends) - math.pi) < 1e-6


def _moved(turn: StokesTurn, parameters: Mapping[str, Any]) -> dict[str, Any]:
    out = dict(parameters)
    if "inclination" in out:
        out["inclination"] = jnp.where(turn.sign < 0, jnp.pi - out["inclination"], out["inclination"])
    if "azimuth" in out:
        out["azimuth"] = jnp.mod(turn.sign * out["azimuth"] + turn.angle, jnp.pi)
    for name in ("source_constant", "source_slope"):
        if name in out:
            out[name] = turn.scale * out[name]
    return out


def _drawn(key: PRNGKeyArray) -> StokesTurn:
    turn, flip = jax.random.split(key)
    sign = jnp.where(jax.random.bernoulli(flip), 1.0, -1.0)
    return StokesTurn(jnp.ones(()), jax.random.uniform(turn, maxval=jnp.pi), sign)


def _found(values: Array, valid: Array, windows: LineWindows) -> StokesTurn:
    """From the brightest samples; the direction in which (Q, U) scatter, and the signs of moments about the line."""
    usable = jnp.all(valid, axis=0)
    stokes = jnp.where(usable, values, 0)
    brightest = jnp.max(stokes[0])
    weight = (jnp.clip(stokes[0], 0) / jnp.where(brightest > 0, brightest, 1)) ** _BRIGHT
    continuum = jnp.sum(weight * stokes[0]) / jnp.maximum(jnp.sum(weight), 1e-6)
    continuum = jnp.where(continuum > 0, continuum, 1)

    distance = jnp.asarray(windows.distance, values.dtype)
    step = jnp.where(usable, jnp.asarray(windows.step, values.dtype), 0)
    absorption = jnp.clip(continuum - stokes[0], 0) * step
    centres = jnp.sum(absorption * distance, -1) / jnp.maximum(jnp.sum(absorption, -1), 1e-12)
    distance = distance - centres[:, None]
    second, first = jnp.sum(distance**2 * step, 0), jnp.sum(distance * step, 0)

    _, q, u, v = stokes
    along, across = jnp.sum(q**2 - u**2), 2 * jnp.sum(q * u)
    angle = jnp.arctan2(across, jnp.where((along == 0) & (across == 0), 1, along)) / 4
    forwards = jnp.sum(second * rotate(stokes, -angle)[1])
    angle = jnp.where(forwards < 0, angle + jnp.pi / 2, angle)
    # V of an absorption line is positive in its blue wing for a field towards the observer.
    sign = jnp.where(jnp.sum(first * v) > 0, -1.0, 1.0).astype(values.dtype)
    return StokesTurn(continuum, angle, sign)
