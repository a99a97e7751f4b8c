"""The transfer of polarized light through a stratified atmosphere: formal solutions, and their responses.

dI/dtau = K (I - S), I and S = (S, 0, 0, 0) Stokes vectors, tau the optical depth at 5000 angstrom along the ray, K the
propagation matrix for each unit of it. A formal solver writes the equation between neighbouring depths as

    M_k I_k = R_k I_(k+1) + r_k,

k counted from the top; M, R and r are computed for all depths and wavelengths at once, and only the recurrence runs
from depth to depth. Its transpose gives the response of the emergent light to all of them in one more sweep: with
P_k = dI_0/dI_k and L_k = P_k M_k^-1, dI_0 = sum_k L_k (dr_k + dR_k I_(k+1) - dM_k I_k).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

_LN10 = math.log(10)
_THIN = 1.0
"""Optical thickness below which moments of the exponential are power series."""
_TERMS = 12


class Matter(NamedTuple):
    """What light meets, top first.

    Attributes:
        absorption: `(7, n_depth, n_wavelength)`: eta_I, eta_Q, eta_U, eta_V, rho_Q, rho_U, rho_V for each unit of the
            optical depth at 5000 angstrom.
        source: `(n_depth, n_wavelength)`, the source function.
    """

    absorption: Array
    source: Array


class Step(NamedTuple):
    """M, R and r between neighbouring depths, `(4, 4, n, n_wavelength)` twice and `(4, n, n_wavelength)`."""

    own: Array
    below: Array
    constant: Array


Solver = Callable[[Matter, np.ndarray, float], tuple[Step, Array]]
"""`(matter, log_tau, mu) -> steps, bottom`: the last is the light that comes up at the bottom, `(4, n_wavelength)`."""


def delo_bezier(matter: Matter, log_tau: np.ndarray, mu: float) -> tuple[Step, Array]:
    """De la Cruz Rodriguez & Piskunov 2013, ApJ 764, 33: the effective source vector is a cubic Bezier curve.

    Of third order or better where steps are thin, exact where light is thermal, however thick they are.
    """
    x = log_tau * _LN10
    eta, bar, change = _normalized(matter.absorption, x)
    source, source_change = matter.source, slopes(matter.source, x)
    rate = eta * _column(np.exp(x) / mu, eta)  # of optical depth along the ray with x
    thickness = _thickness(rate, x)
    per = 1 / rate
    bar_change = [c * per for c in change]
    one = jnp.ones_like(eta)
    emitted = [source * (one if j == 0 else bar[j - 1]) for j in range(4)]
    emitted_change = [source_change * per]
    emitted_change += [source_change * per * bar[j] + source * bar_change[j] for j in range(3)]
    k, k_change = _matrix(bar), _matrix(bar_change)
    square = _product(k, k)
    second = [[k_change[i][j] + k[i][j] + square[i][j] for j in range(4)] for i in range(4)]
    pushed = _applied(k, emitted)
    first = [emitted_change[i] + pushed[i] for i in range(4)]

    through = jnp.exp(-thickness)
    m0, m1, m2, m3 = _moments(thickness, through)
    alpha, beta = m3, m0 - 3 * m1 + 3 * m2 - m3
    gamma, epsilon = 3 * (m1 - 2 * m2 + m3), 3 * (m2 - m3)
    near, far = beta + gamma, alpha + epsilon
    near_third, far_third = gamma * thickness / 3, epsilon * thickness / 3
    own = [[near * k[i][j][:-1] + near_third * second[i][j][:-1] + (i == j) for j in range(4)] for i in range(4)]
    below = [
        [(through if i == j else 0) - far * k[i][j][1:] + far_third * second[i][j][1:] for j in range(4)]
        for i in range(4)
    ]
    constant = [
        far * emitted[i][1:] + near * emitted[i][:-1] + near_third * first[i][:-1] - far_third * first[i][1:]
        for i in range(4)
    ]
    return Step(_stacked(own), _stacked(below), jnp.stack(constant)), _diffused(source, source_change, per)


def hermite(matter: Matter, log_tau: np.ndarray, mu: float) -> tuple[Step, Array]:
    """Bellot Rubio, Ruiz Cobo & Collados 1998, ApJ 506, 805: the light itself is a Hermite polynomial of log tau.

    Of fourth order where steps are thin; it rings where they are thick and the light is far from thermal.
    """
    x = log_tau * _LN10
    h = _column(np.diff(x), matter.source)
    scale = _column(np.exp(x) / mu, matter.source)
    entries = [matter.absorption[j] * scale for j in range(7)]
    eta, k = entries[0], _matrix(entries[1:])
    k = [[eta if i == j else k[i][j] for j in range(4)] for i in range(4)]
    moved = [slopes(entry, x) for entry in entries]
    k_change = _matrix(moved[1:])
    k_change = [[moved[0] if i == j else k_change[i][j] for j in range(4)] for i in range(4)]
    square = _product(k, k)
    second = [[k_change[i][j] + square[i][j] for j in range(4)] for i in range(4)]
    source, source_change = matter.source, slopes(matter.source, x)
    # f = k (I - S), f' = (k' + k k)(I - S) - k S'; I_k = I_(k+1) - h/2 (f_k + f_(k+1)) - h^2/12 (f'_k - f'_(k+1)).
    own = [[(i == j) + h / 2 * k[i][j][:-1] + h**2 / 12 * second[i][j][:-1] for j in range(4)] for i in range(4)]
    below = [[(i == j) - h / 2 * k[i][j][1:] + h**2 / 12 * second[i][j][1:] for j in range(4)] for i in range(4)]
    constant = [
        h / 2 * (k[i][0] * source)[:-1] + h**2 / 12 * (second[i][0] * source + k[i][0] * source_change)[:-1]
        + h / 2 * (k[i][0] * source)[1:] - h**2 / 12 * (second[i][0] * source + k[i][0] * source_change)[1:]
        for i in range(4)
    ]  # fmt: skip
    return Step(_stacked(own), _stacked(below), jnp.stack(constant)), _diffused(source, source_change, 1 / eta)


def emergent(solver: Solver, matter: Matter, log_tau: np.ndarray, mu: float) -> Array:
    """The light that leaves at the top, `(4, n_wavelength)`."""
    steps, bottom = solver(matter, log_tau, mu)
    return _upwards(steps, bottom)[:, 0]


def emergent_and_response(solver: Solver, matter: Matter, log_tau: np.ndarray, mu: float) -> tuple[Array, Matter]:
    """The light that leaves at the top, and its derivative by what it met: each with a leading axis of Stokes."""
    (steps, bottom), back = jax.vjp(lambda matter: solver(matter, log_tau, mu), matter)
    light = _upwards(steps, bottom)

    def up(p: Array, step: tuple[Array, Array]) -> tuple[Array, Array]:
        own, below = step
        weight = _solved_left(p, own)
        return _times(weight, below), weight

    n_wavelength = bottom.shape[-1]
    start = jnp.broadcast_to(jnp.eye(4, dtype=bottom.dtype)[:, :, None], (4, 4, n_wavelength))
    last, weights = jax.lax.scan(up, start, (jnp.moveaxis(steps.own, 2, 0), jnp.moveaxis(steps.below, 2, 0)))
    weights = jnp.moveaxis(weights, 0, 2)  # (of Stokes, row, depth, wavelength)

    def one(weight: Array, last: Array) -> Matter:
        by_own = -weight[:, None] * light[None, :, :-1]
        by_below = weight[:, None] * light[None, :, 1:]
        (by,) = back((Step(by_own, by_below, weight), last))
        return by

    return light[:, 0], jax.vmap(one)(weights, last)


def _upwards(steps: Step, bottom: Array) -> Array:
    """The light at all depths, `(4, n_depth, n_wavelength)`; its first is at the top."""
    rows = jnp.concatenate([steps.below, steps.constant[:, None]], 1)
    solved = _solved(steps.own, rows)

    def up(light: Array, step: Array) -> tuple[Array, Array]:
        light = sum((step[:, j] * light[j] for j in range(4)), step[:, 4])
        return light, light

    _, above = jax.lax.scan(up, bottom, jnp.moveaxis(solved, 2, 0), reverse=True)
    return jnp.concatenate([jnp.moveaxis(above, 0, 1), bottom[:, None]], 1)


def slopes(y: Array, x: np.ndarray) -> Array:
    """dy/dx along the first axis: of the parabola through each point and its neighbours."""
    h = np.diff(x)
    secant = jnp.diff(y, axis=0) / _column(h, y)
    left, right = _column(h[1:] / (h[1:] + h[:-1]), y), _column(h[:-1] / (h[1:] + h[:-1]), y)
    inner = left * secant[:-1] + right * secant[1:]
    return jnp.concatenate([2 * secant[:1] - inner[:1], inner, 2 * secant[-1:] - inner[-1:]])


def _column(numbers: np.ndarray, like: Array) -> Array:
    return jnp.asarray(numbers, like.dtype)[:, None]


def _thickness(rate: Array, x: np.ndarray) -> Array:
    """Integrals of `rate` between neighbouring x, by cubic Hermite polynomials; never much less than the trapezoids."""
    h, change = _column(np.diff(x), rate), slopes(rate, x)
    trapezoid = h / 2 * (rate[1:] + rate[:-1])
    return jnp.maximum(trapezoid + h**2 / 12 * (change[:-1] - change[1:]), 0.2 * trapezoid)


def _normalized(absorption: Array, x: np.ndarray) -> tuple[Array, list[Array], list[Array]]:
    """eta_I, the others over it, and how these change with x."""
    eta = absorption[0]
    bar = [absorption[j] / eta for j in range(1, 7)]
    return eta, bar, [slopes(entry, x) for entry in bar]


def _matrix(entries: list[Array]) -> list[list[Array]]:
    """The propagation matrix without its diagonal (LL04 eq. 9.28), from eta_Q, eta_U, eta_V, rho_Q, rho_U, rho_V."""
    q, u, v, rq, ru, rv = entries
    zero = jnp.zeros_like(q)
    return [[zero, q, u, v], [q, zero, rv, -ru], [u, -rv, zero, rq], [v, ru, -rq, zero]]


def _product(a: list[list[Array]], b: list[list[Array]]) -> list[list[Array]]:
    return [[sum((a[i][m] * b[m][j] for m in range(1, 4)), a[i][0] * b[0][j]) for j in range(4)] for i in range(4)]


def _applied(a: list[list[Array]], b: list[Array]) -> list[Array]:
    return [sum((a[i][m] * b[m] for m in range(1, 4)), a[i][0] * b[0]) for i in range(4)]


def _stacked(matrix: list[list[Array]]) -> Array:
    return jnp.stack([jnp.stack(row) for row in matrix])


def _times(a: Array, b: Array) -> Array:
    """Products of matrices `(4, 4, ...)`."""
    return sum((a[:, m, None] * b[None, m] for m in range(1, 4)), a[:, 0, None] * b[None, 0])


def _solved(matrix: Array, right: Array) -> Array:
    """matrix^-1 right of `(4, 4, ...)` and `(4, n, ...)`, by elimination without pivots: the diagonals dominate."""
    a = [[matrix[i, j] for j in range(4)] for i in range(4)]
    b = [right[i] for i in range(4)]
    for i in range(4):
        inverse = 1 / a[i][i]
        for row in range(i + 1, 4):
            factor = a[row][i] * inverse
            a[row] = [a[row][j] - factor * a[i][j] if j > i else a[row][j] for j in range(4)]
            b[row] = b[row] - factor * b[i]
    out: list[Array] = [b[3] / a[3][3]]
    for i in (2, 1, 0):
        rest = b[i] - sum((a[i][j] * out[j - i - 1] for j in range(i + 2, 4)), a[i][i + 1] * out[0])
        out.insert(0, rest / a[i][i])
    return jnp.stack(out)


def _solved_left(left: Array, matrix: Array) -> Array:
    """Left matrix^-1 of matrices `(4, 4, ...)`."""
    return jnp.swapaxes(_solved(jnp.swapaxes(matrix, 0, 1), jnp.swapaxes(left, 0, 1)), 0, 1)


def _moments(d: Array, through: Array) -> tuple[Array, Array, Array, Array]:
    """Integrals of t^n d exp(-d t) over t from 0 to 1, n from 0 to 3."""
    thick = jnp.maximum(d, _THIN)
    far = [1 - through]
    for n in (1, 2, 3):
        far.append(-through + n / thick * far[-1])
    thin = jnp.minimum(d, _THIN)
    out = []
    for n in range(4):
        series = jnp.zeros_like(d)
        for j in reversed(range(_TERMS)):
            series = series * -thin + 1 / (math.factorial(j) * (n + j + 1))
        out.append(jnp.where(d < _THIN, series * thin, far[n]))
    return out[0], out[1], out[2], out[3]


def _diffused(source: Array, change: Array, per: Array) -> Array:
    """Light from below the last depth: the source function and its slope in the optical depth of the line."""
    first = source[-1] + change[-1] * per[-1]
    return jnp.stack([first, *[jnp.zeros_like(first)] * 3])
