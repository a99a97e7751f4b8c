"""The transfer of polarized light through a stratified atmosphere: formal solutions, and their responses.

dI/dtau = K (I - S), I and S = (S, 0, 0, 0) Stokes vectors, tau the optical depth at 5000 angstrom along the ray, K the
propagation matrix for each unit of it. A formal solver writes the equation between neighbouring depths as

    M_k I_k = R_k I_(k+1) + r_k,

k counted from the top; M, R and r are computed for all depths and wavelengths at once, and only the recurrence runs
from depth to depth. Its transpose gives the response of the emergent light in one more sweep: with P_k = dI_0/dI_k and
L_k = P_k M_k^-1, dI_0 = sum_k L_k (dr_k + dR_k I_(k+1) - dM_k I_k), where the light is given and no matrix is needed.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

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


class Solver(Protocol):
    """A formal solver; both methods state the same equation.

    A static part of a model: one must not be equal to another, or compiled programs are taken for each other's.
    """

    def steps(self, matter: Matter, log_tau: np.ndarray, mu: float) -> tuple[Step, Array]:
        """M, R and r; and the light that comes up at the bottom, `(4, n_wavelength)`."""
        ...

    def misses(self, matter: Matter, log_tau: np.ndarray, mu: float, light: Array) -> tuple[Array, Array]:
        """R I_below + r - M I of given light, `(4, n_depth, n_wavelength)`; and the light at the bottom.

        Zero for the solution. Its derivatives by matter need no matrices.
        """
        ...


class DeloBezier:
    """De la Cruz Rodriguez & Piskunov 2013, ApJ 764, 33: the effective source vector is a cubic Bezier curve.

    Of third order or better where steps are thin, exact where light is thermal, however thick they are.
    """

    def steps(self, matter: Matter, log_tau: np.ndarray, mu: float) -> tuple[Step, Array]:
        """See `Solver`."""
        way = _Way.of(matter, log_tau, mu)
        k, k_change = _matrix(way.bar), _matrix(way.bar_change)
        square = _product(k, k)
        second = [[k_change[i][j] + k[i][j] + square[i][j] for j in range(4)] for i in range(4)]
        pushed = _applied(k, way.emitted)
        first = [way.emitted_change[i] + pushed[i] for i in range(4)]
        own = [
            [way.near * k[i][j][:-1] + way.near_third * second[i][j][:-1] + (i == j) for j in range(4)]
            for i in range(4)
        ]
        below = [
            [
                (way.transmitted if i == j else 0) - way.far * k[i][j][1:] + way.far_third * second[i][j][1:]
                for j in range(4)
            ]
            for i in range(4)
        ]
        constant = [
            way.far * way.emitted[i][1:]
            + way.near * way.emitted[i][:-1]
            + way.near_third * first[i][:-1]
            - way.far_third * first[i][1:]
            for i in range(4)
        ]
        return Step(_stacked(own), _stacked(below), jnp.stack(constant)), way.bottom

    def misses(self, matter: Matter, log_tau: np.ndarray, mu: float, light: Array) -> tuple[Array, Array]:
        """See `Solver`."""
        way = _Way.of(matter, log_tau, mu)
        own = [light[i] for i in range(4)]
        absorbed, changed = _rotated(way.bar, own), _rotated(way.bar_change, own)
        effective = [way.emitted[i] - absorbed[i] for i in range(4)]
        lag = _rotated(way.bar, [own[i] - effective[i] for i in range(4)])
        change = [way.emitted_change[i] - changed[i] - lag[i] for i in range(4)]
        missed = [
            way.transmitted * own[i][1:]
            - own[i][:-1]
            + way.far * effective[i][1:]
            + way.near * effective[i][:-1]
            + way.near_third * change[i][:-1]
            - way.far_third * change[i][1:]
            for i in range(4)
        ]
        return jnp.stack(missed), way.bottom


class _Way(NamedTuple):
    """What light meets between the depths, for `DeloBezier`."""

    bar: list[Array]  # eta_Q ... rho_V over eta_I
    bar_change: list[Array]  # ... and their derivatives by the line's optical depth
    emitted: list[Array]
    emitted_change: list[Array]
    transmitted: Array  # exp(-thickness) of each step
    near: Array  # weights of the effective source's ends, and of its derivatives there
    far: Array
    near_third: Array
    far_third: Array
    bottom: Array

    @classmethod
    def of(cls, matter: Matter, log_tau: np.ndarray, mu: float) -> _Way:
        x = log_tau * _LN10
        eta, source = matter.absorption[0], matter.source
        per_eta = 1 / eta
        bar = [matter.absorption[j] * per_eta for j in range(1, 7)]
        rate = eta * _column(np.exp(x) / mu, eta)  # of optical depth along the ray with x
        thickness = _thickness(rate, x)
        per = per_eta * _column(mu * np.exp(-x), eta)
        bar_change = [slopes(entry, x) * per for entry in bar]
        source_change = slopes(source, x)
        emitted = [source, *(source * bar[j] for j in range(3))]
        source_change = source_change * per
        emitted_change = [source_change, *(source_change * bar[j] + source * bar_change[j] for j in range(3))]
        m0, m1, m2, m3 = _moments(thickness)
        gamma, epsilon = 3 * (m1 - 2 * m2 + m3), 3 * (m2 - m3)
        near, far = m0 - m3 - epsilon, m3 + epsilon
        bottom = _unpolarized(source[-1] + source_change[-1])
        return cls(
            bar, bar_change, emitted, emitted_change, 1 - m0, near, far, gamma * thickness / 3,
            epsilon * thickness / 3, bottom,
        )  # fmt: skip


class Hermite:
    """Bellot Rubio, Ruiz Cobo & Collados 1998, ApJ 506, 805: the light itself is a Hermite polynomial of log tau.

    Of fourth order where steps are thin; it rings where they are thick and the light is far from thermal.
    """

    def steps(self, matter: Matter, log_tau: np.ndarray, mu: float) -> tuple[Step, Array]:
        """See `Solver`."""
        x = log_tau * _LN10
        h = _column(np.diff(x), matter.source)
        k, k_change = self._matrices(matter, x, mu)
        square = _product(k, k)
        second = [[k_change[i][j] + square[i][j] for j in range(4)] for i in range(4)]
        source, source_change = matter.source, slopes(matter.source, x)
        own = [[(i == j) + h / 2 * k[i][j][:-1] + h**2 / 12 * second[i][j][:-1] for j in range(4)] for i in range(4)]
        below = [[(i == j) - h / 2 * k[i][j][1:] + h**2 / 12 * second[i][j][1:] for j in range(4)] for i in range(4)]
        value = [k[i][0] * source for i in range(4)]
        change = [second[i][0] * source + k[i][0] * source_change for i in range(4)]
        constant = [
            h / 2 * (value[i][:-1] + value[i][1:]) + h**2 / 12 * (change[i][:-1] - change[i][1:]) for i in range(4)
        ]
        return Step(_stacked(own), _stacked(below), jnp.stack(constant)), self._bottom(matter, x, mu)

    def misses(self, matter: Matter, log_tau: np.ndarray, mu: float, light: Array) -> tuple[Array, Array]:
        """See `Solver`."""
        x = log_tau * _LN10
        h = _column(np.diff(x), matter.source)
        k, k_change = self._matrices(matter, x, mu)
        above = [light[0] - matter.source, light[1], light[2], light[3]]
        rate = _applied(k, above)  # dI/dx, and its derivative
        second = _applied(k, rate)
        moved, source_change = _applied(k_change, above), slopes(matter.source, x)
        change = [second[i] + moved[i] - k[i][0] * source_change for i in range(4)]
        missed = [
            light[i][1:]
            - light[i][:-1]
            - h / 2 * (rate[i][1:] + rate[i][:-1])
            + h**2 / 12 * (change[i][1:] - change[i][:-1])
            for i in range(4)
        ]
        return jnp.stack(missed), self._bottom(matter, x, mu)

    @staticmethod
    def _matrices(matter: Matter, x: np.ndarray, mu: float) -> tuple[list[list[Array]], list[list[Array]]]:
        """The propagation matrix for each unit of x, and its derivative by x."""
        scale = _column(np.exp(x) / mu, matter.source)
        entries = [matter.absorption[j] * scale for j in range(7)]
        both = []
        for eta, *others in (entries, [slopes(entry, x) for entry in entries]):
            rows = _matrix(others)
            both.append([[eta if i == j else rows[i][j] for j in range(4)] for i in range(4)])
        return both[0], both[1]

    @staticmethod
    def _bottom(matter: Matter, x: np.ndarray, mu: float) -> Array:
        rate = matter.absorption[0, -1] * (math.exp(x[-1]) / mu)
        return _unpolarized(matter.source[-1] + slopes(matter.source[-3:], x[-3:])[-1] / rate)


delo_bezier: Solver = DeloBezier()
hermite: Solver = Hermite()


def emergent(solver: Solver, matter: Matter, log_tau: np.ndarray, mu: float) -> Array:
    """The light that leaves at the top, `(4, n_wavelength)`."""
    steps, bottom = solver.steps(matter, log_tau, mu)
    return _upwards(_solved_steps(steps), bottom)[:, 0]


def emergent_and_response(solver: Solver, matter: Matter, log_tau: np.ndarray, mu: float) -> tuple[Array, Matter]:
    """The light that leaves at the top, and its derivative by what it met: each with a leading axis of Stokes."""
    steps, bottom = solver.steps(matter, log_tau, mu)
    solved = _solved_steps(steps)
    light = jax.lax.optimization_barrier(_upwards(solved, bottom))

    def down(p: Array, step: Array) -> tuple[Array, Array]:
        return _times(p, step), p

    start = jnp.broadcast_to(jnp.eye(4, dtype=bottom.dtype)[:, :, None], (4, 4, bottom.shape[-1]))
    last, reach = jax.lax.scan(down, start, jnp.moveaxis(solved[:, :4], 2, 0))
    weights = _solved_left(jnp.moveaxis(reach, 0, 2), steps.own)  # (of Stokes, row, depth, wavelength)

    _, back = jax.vjp(lambda matter: solver.misses(matter, log_tau, mu, light), matter)
    # One Stokes parameter after the other: together, each would compute anew what they share.
    (by,) = jax.lax.map(back, (weights, last))
    return light[:, 0], by


def _solved_steps(steps: Step) -> Array:
    """M^-1 (R, r), `(4, 5, n, n_wavelength)`."""
    return _solved(steps.own, jnp.concatenate([steps.below, steps.constant[:, None]], 1))


def _upwards(solved: Array, bottom: Array) -> Array:
    """The light at all depths, `(4, n_depth, n_wavelength)`; its first is at the top."""

    def up(light: Array, step: Array) -> tuple[Array, Array]:
        light = sum((step[:, j] * light[j] for j in range(4)), step[:, 4])
        return light, light

    _, above = jax.lax.scan(up, bottom, jnp.moveaxis(solved, 2, 0), reverse=True)
    return jnp.concatenate([jnp.moveaxis(above, 0, 1), bottom[:, None]], 1)


def slopes(y: Array, x: np.ndarray) -> Array:
    """dy/dx along the last axis but one: of the parabola through each point and its neighbours.

    As a product with a matrix, whose transpose is as quick.
    """
    return jnp.matmul(jnp.asarray(_slope_matrix(x), y.dtype), y, precision="highest")


def _slope_matrix(x: np.ndarray) -> np.ndarray:
    h = np.diff(x)
    secant = (np.eye(len(x), k=1) - np.eye(len(x)))[:-1] / h[:, None]
    weight = (h[1:] / (h[1:] + h[:-1]))[:, None]
    inner = weight * secant[:-1] + (1 - weight) * secant[1:]
    return np.concatenate([2 * secant[:1] - inner[:1], inner, 2 * secant[-1:] - inner[-1:]])


def _column(numbers: np.ndarray, like: Array) -> Array:
    return jnp.asarray(numbers, like.dtype)[:, None]


def _thickness(rate: Array, x: np.ndarray) -> Array:
    """Integrals of `rate` between neighbouring x, by cubic Hermite polynomials; never much less than the trapezoids."""
    h, change = _column(np.diff(x), rate), slopes(rate, x)
    trapezoid = h / 2 * (rate[1:] + rate[:-1])
    return jnp.maximum(trapezoid + h**2 / 12 * (change[:-1] - change[1:]), 0.2 * trapezoid)


def _matrix(entries: list[Array]) -> list[list[Array]]:
    """The propagation matrix without its diagonal (LL04 ch. 9), from eta_Q, eta_U, eta_V, rho_Q, rho_U, rho_V."""
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


@jax.custom_jvp
def _moments(d: Array) -> Array:
    """Integrals of t^n d exp(-d t) over t from 0 to 1, n from 0 to 3; `(4, ...)`."""
    return _moments_and_more(d)[0]


@_moments.defjvp
def _moments_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    moments, slope = jax.lax.optimization_barrier(_moments_and_more(primals[0]))
    return moments, slope * tangents[0]


def _moments_and_more(d: Array) -> tuple[Array, Array]:
    """And their derivatives by d: that of n is its integral over d, less the integral of n + 1."""
    thin, thick = jnp.minimum(d, _THIN), jnp.maximum(d, _THIN)
    through = jnp.exp(-thick)
    far = [1 - through]
    for n in range(1, 5):
        far.append(n / thick * far[-1] - through)
    moments, per = [], []
    for n in range(5):
        series = jnp.zeros_like(d)
        for j in reversed(range(_TERMS)):
            series = series * -thin + 1 / (math.factorial(j) * (n + j + 1))
        moments.append(jnp.where(d < _THIN, series * thin, far[n]))
        per.append(jnp.where(d < _THIN, series, far[n] / thick))
    return jnp.stack(moments[:4]), jnp.stack([per[n] - moments[n + 1] for n in range(4)])


def _unpolarized(intensity: Array) -> Array:
    return jnp.stack([intensity, *[jnp.zeros_like(intensity)] * 3])


def _rotated(entries: list[Array], light: list[Array]) -> list[Array]:
    """The matrix of `_matrix` times a Stokes vector."""
    q, u, v, rq, ru, rv = entries
    return [
        q * light[1] + u * light[2] + v * light[3],
        q * light[0] + rv * light[2] - ru * light[3],
        u * light[0] - rv * light[1] + rq * light[3],
        v * light[0] + ru * light[1] - rq * light[2],
    ]
