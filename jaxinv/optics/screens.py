"""Phase screens: the wavefront behind layers of frozen turbulence, which the wind carries over the telescope for ever.

A layer is a sum of plane waves whose frequencies are drawn, too (the sparse spectrum of Charnotskii 2013, JOSA A 30,
479),

    phase(x) = sum_k Re[c_k exp(2 pi i f_k x)],   E |c_k|^2 / 2 = the spectrum's integral over the cell of f_k,

one f_k for each cell of a polar grid, logarithmic in |f|, with the spectrum as its density there. So the structure
function is that of the spectrum at every distance, below the pixels and beyond the telescope; nothing repeats; and a
screen is a differentiable function of place and time. A lattice would need sub-harmonics, and be periodic.
"""

from __future__ import annotations

import dataclasses
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray
from numpy.typing import ArrayLike

from jaxinv.optics.pupil import Pupil
from jaxinv.optics.turbulence import integrated_spectrum

_RINGS, _SECTORS = 8, 16
"""Waves: rings in a decade of frequency, and sectors of the half plane."""
_FAR = 0.02
"""Waves of which the telescope sees less than this are taken to second order in place: their sum is as large as the
turbulence between here and the horizon."""
_LOWEST, _HIGHEST = 1e-7, 4.0
"""Frequencies that are left out: below the first, in cycles across the pupil (where there is no outer scale), and above
the second, in cycles across a pixel; either adds less than 1 % to the structure function."""


@dataclasses.dataclass(frozen=True)
class Layer:
    """Turbulence at one height.

    Attributes:
        height: above the telescope [m].
        strength: its share of the turbulence; shares are relative to their sum.
        wind: `(x, y)` of the velocity with which it is carried along [m/s].
    """

    height: float = 0.0
    strength: float = 1.0
    wind: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.height) and self.height >= 0):
            raise ValueError(f"a layer's height is in metres above the telescope; found {self.height}")
        if not (math.isfinite(self.strength) and self.strength > 0):
            raise ValueError(f"a layer's strength is a positive share; found {self.strength}")
        if len(self.wind) != 2 or not all(map(math.isfinite, self.wind)):
            raise ValueError(f"a layer's wind has two components, in metres per second; found {self.wind}")


class Screens(eqx.Module):
    """One realization of an atmosphere: a wavefront for every place, direction and time.

    Attributes:
        frequency: `(n_layers, n_waves, 2)` x and y [1/m].
        amplitude: `(n_layers, n_waves)` complex [rad], for r0 = 1 m.
        height: `(n_layers,)` [m].
        wind: `(n_layers, 2)` [m/s].
        r0: Fried's parameter [m].
        n_far: waves, the first ones, that are taken to second order.
    """

    frequency: Array
    amplitude: Array
    height: Array
    wind: Array
    r0: Array
    n_far: int = eqx.field(static=True)

    @eqx.filter_jit
    def __call__(self, x: ArrayLike, y: ArrayLike, time: ArrayLike = 0.0, angle: ArrayLike = (0.0, 0.0)) -> Array:
        """The phase `(n_y, n_x)` [rad] at places of the pupil, without the piston of the longest waves.

        Args:
            x: `(n_x,)` [m] from the centre.
            y: `(n_y,)` [m].
            time: [s].
            angle: `(x, y)` of the direction into which the telescope looks, from its axis [rad].
        """
        shift = self.height[:, None] * jnp.asarray(angle) - self.wind * jnp.asarray(time)
        x, y = jnp.asarray(x), jnp.asarray(y)

        def layer(frequency: Array, amplitude: Array, shift: Array) -> Array:
            here = amplitude * _wave(jnp.sum(frequency * shift, axis=-1) % 1)
            return self._far(frequency[: self.n_far], here[: self.n_far], x, y) + _near(
                frequency[self.n_far :], here[self.n_far :], x, y
            )

        phase = jnp.sum(jax.vmap(layer)(self.frequency, self.amplitude, shift), axis=0)
        return phase * self.r0 ** (-5 / 6)

    def on(self, pupil: Pupil, time: ArrayLike = 0.0, angle: ArrayLike = (0.0, 0.0)) -> Array:
        """The phase `(n_pixels, n_pixels)` [rad] on the pixels of a pupil, open or not."""
        x = pupil.x * (pupil.telescope.diameter / 2)
        return self(x, x, time, angle)

    @staticmethod
    def _far(frequency: Array, here: Array, x: Array, y: Array) -> Array:
        k = 2 * math.pi * frequency
        slope = -jnp.imag(here) @ k  # Re[c (i k.x - (k.x)^2 / 2)]
        bend = jnp.einsum("k,ka,kb->ab", jnp.real(here), k, k)
        tilt = slope[0] * x + slope[1] * y[:, None]
        return tilt - (bend[0, 0] * x**2 + 2 * bend[0, 1] * x * y[:, None] + bend[1, 1] * y[:, None] ** 2) / 2


def _near(frequency: Array, here: Array, x: Array, y: Array) -> Array:
    columns = _wave(frequency[:, 0] * x[:, None])
    rows = here * _wave(frequency[:, 1] * y[:, None])
    product = lambda a, b: jnp.matmul(a, b.T, precision="highest")  # noqa: E731
    return product(jnp.real(rows), jnp.real(columns)) - product(jnp.imag(rows), jnp.imag(columns))


def _wave(cycles: Array) -> Array:
    return jax.lax.complex(jnp.cos(2 * math.pi * cycles), jnp.sin(2 * math.pi * cycles))


@dataclasses.dataclass(frozen=True)
class Atmosphere:
    """Turbulence above a telescope, at the wavelength at which r0 is given.

    Attributes:
        r0: Fried's parameter of all layers together [m]; grows as the wavelength to the power 6/5.
        outer_scale: [m]; infinite: Kolmogorov.
        layers: with their heights, shares and winds.
    """

    r0: float
    outer_scale: float = math.inf
    layers: tuple[Layer, ...] = (Layer(),)

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        if not (math.isfinite(self.r0) and self.r0 > 0):
            raise ValueError(f"Fried's parameter r0 is a positive number of metres; found {self.r0}")
        if not self.outer_scale > 0:
            raise ValueError(f"the outer scale is a positive number of metres; found {self.outer_scale}")
        if not self.layers:
            raise ValueError("an atmosphere has at least one layer")

    def draw(self, key: PRNGKeyArray, pupil: Pupil) -> Screens:
        """A realization, as fine as the pixels of a pupil need.

        Args:
            key: every key has another one.
            pupil: the coarsest and the finest waves depend on its size and on that of its pixels.
        """
        across = pupil.telescope.diameter
        lowest = _LOWEST / across if math.isinf(self.outer_scale) else min(1e-2 / self.outer_scale, _FAR / across)
        highest = _HIGHEST / pupil.pixel_size
        far, near = _edges(lowest, _FAR / across), _edges(_FAR / across, highest)
        edges = np.concatenate([far, near[1:]])
        total = integrated_spectrum(edges, self.outer_scale)
        variance = np.repeat((total[:-1] - total[1:]) / _SECTORS, _SECTORS)
        n_waves, n_layers = len(variance), len(self.layers)
        share = np.array([layer.strength for layer in self.layers])
        radius_key, angle_key, amplitude_key = jax.random.split(key, 3)
        shape = (n_layers, len(edges) - 1, _SECTORS)
        # With the spectrum as their density inside a ring, what lies above a frequency falls evenly.
        lower, a = edges[:-1, None] ** 2, self.outer_scale**-2.0
        lost = jax.random.uniform(radius_key, shape) * (1 - total[1:] / total[:-1])[:, None]
        radius = jnp.sqrt(lower + (lower + a) * jnp.expm1(-6 / 5 * jnp.log1p(-lost)))
        theta = (jnp.arange(_SECTORS) + jax.random.uniform(angle_key, shape)) * (math.pi / _SECTORS)
        frequency = jnp.stack([radius * jnp.cos(theta), radius * jnp.sin(theta)], axis=-1)
        real, imaginary = jax.random.normal(amplitude_key, (2, n_layers, n_waves))
        size = np.sqrt(variance * (share / share.sum())[:, None])
        return Screens(
            frequency=frequency.reshape(n_layers, n_waves, 2),
            amplitude=jax.lax.complex(real * size, imaginary * size),
            height=jnp.array([layer.height for layer in self.layers], float),
            wind=jnp.array([layer.wind for layer in self.layers], float),
            r0=jnp.asarray(self.r0, float),
            n_far=(len(far) - 1) * _SECTORS,
        )


def _edges(low: float, high: float) -> np.ndarray:
    """Of rings between two frequencies."""
    return np.geomspace(low, high, math.ceil(math.log10(high / low) * _RINGS) + 1)
