"""Transfer functions on the frequencies that a telescope passes, and the spectrum of what it looks at.

Arrays `(..., n_support, n_support // 2 + 1)` are the block of lowest frequencies of an image, in the layout of
`numpy.fft.rfft2` of a smaller one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from scipy.fft import next_fast_len

from jaxinv.forward import Forward, Parameter, Parameters, Stage
from jaxinv.optics.point_spread import PointSpread
from jaxinv.optics.propagation import point_spread, transfer_function


class TransferFunctions(Forward):
    """The optical transfer functions of a `PointSpread`, on the frequencies that its telescope passes.

    Predicts complex `(..., n_support, n_support // 2 + 1)`, 1 at frequency 0: the block of lowest frequencies of
    `PointSpread.transfer_function`, which holds all that is not 0, at a fraction of its cost.

    Args:
        model: the telescope, its wavelength, modes and known aberrations, on the detector's pixels.
        n_support: pixels of the smaller image; `None`: as few as hold the transfer function, and are quick. Channels of
            other wavelengths need a common one.

    Raises:
        ValueError: fewer than hold the transfer function, or more than the detector has.
    """

    model: PointSpread
    n_support: int = eqx.field(static=True)

    def __init__(self, model: PointSpread, n_support: int | None = None) -> None:
        self.model = model
        fewest = min(2 * model.pupil.n_pixels, model.n_pixels)
        if n_support is None:
            n_support = min(_quick(fewest), model.n_pixels)
        if not fewest <= n_support <= model.n_pixels or (n_support % 2 and n_support < model.n_pixels):
            raise ValueError(
                f"`n_support` is an even number from {fewest} to the detector's {model.n_pixels} pixels; "
                f"found {n_support}"
            )
        self.n_support = int(n_support)

    @property
    def parameters(self) -> dict[str, Parameter]:
        return self.model.parameters

    def __call__(self, parameters: Parameters) -> Array:
        return self.of_phase(self.model.phase(parameters))

    def of_phase(self, phase: Array) -> Array:
        """Transfer functions of phases `(..., m, m)` on the pixels of the pupil [rad]."""
        return transfer_function(point_spread(self.model.amplitude, phase, self.n_support))


class Registration(Stage):
    """Channels that do not lie on each other: the images of each are moved by a fraction of a pixel.

    The parameter `registration` `(n_channels, 2)` [pixel], y and x, says by how much.

    Args:
        n_pixels: across a frame.
        n_channels: how many.
    """

    n_pixels: int = eqx.field(static=True)
    n_channels: int = eqx.field(static=True)

    @property
    def parameters(self) -> dict[str, Parameter]:
        return {"registration": Parameter("pixel", (self.n_channels, 2))}

    def __call__(self, parameters: Parameters, prediction: Array) -> Array:
        self.need(parameters)
        rows, columns = lowest(self.n_pixels, prediction.shape[-2])
        v, u = np.fft.fftfreq(self.n_pixels)[rows][:, None], columns / self.n_pixels
        shift = jnp.asarray(parameters["registration"], jnp.real(prediction).dtype)[..., None, None]
        turn = 2 * jnp.pi * (v * shift[:, 0] + u * shift[:, 1])
        turn = turn.reshape(self.n_channels, *(1,) * (prediction.ndim - 3), *turn.shape[-2:])
        return prediction * jnp.exp(-1j * turn.astype(shift.dtype))


class ObjectSpectrum(Stage):
    """Transfer functions times the root of the object's power spectrum, so that the noise's object is white.

    s(v) = c / (1 + (v / v_0)^2)^(p / 2) with ln v_0 = `log_object_corner` and p = `object_slope`; the constant c makes
    exp(`log_object_variance`) the variance of the object's pixels. Object by object, where there are several.

    Args:
        n_pixels: across a frame.
        pixel_scale: [arcsec].
        n_objects: that have a spectrum of their own; the channels of `objects`.
        objects: of each channel, the number of the object that it shows; `None`: there is one object.

    Raises:
        ValueError: objects that are not numbered from 0 without gaps.
    """

    n_pixels: int = eqx.field(static=True)
    pixel_scale: float = eqx.field(static=True)
    objects: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(self, n_pixels: int, pixel_scale: float, objects: Sequence[int] | None = None) -> None:
        self.n_pixels, self.pixel_scale = int(n_pixels), float(pixel_scale)
        self.objects = checked_objects(objects)

    @property
    def parameters(self) -> dict[str, Parameter]:
        shape = () if self.objects is None else (max(self.objects) + 1,)
        return {
            "log_object_variance": Parameter(shape=shape),
            "log_object_corner": Parameter(shape=shape),
            "object_slope": Parameter(shape=shape),
        }

    def power(self, parameters: Parameters, n_support: int | None = None) -> Array:
        """Of the object's orthonormal transform, s `(*n_objects, n_support, n_support // 2 + 1)`."""
        self.need(parameters)
        variance, corner, slope = (jnp.asarray(parameters[name], float)[..., None, None] for name in self.parameters)

        def shape(n_support: int) -> Array:
            square = jnp.asarray(_square_frequency(self.n_pixels, n_support, self.pixel_scale), slope.dtype)
            return jnp.exp(-slope / 2 * jnp.log1p(square * jnp.exp(-2 * corner)))

        weight = jnp.asarray(multiplicity(self.n_pixels, self.n_pixels), slope.dtype)
        whole = jnp.sum(weight * shape(self.n_pixels), axis=(-2, -1), keepdims=True) / self.n_pixels**2
        return jnp.exp(variance) * shape(n_support or self.n_pixels) / whole

    def __call__(self, parameters: Parameters, prediction: Array) -> Array:
        power = self.power(parameters, prediction.shape[-2])
        root = jnp.sqrt(power).astype(jnp.real(prediction).dtype)
        if self.objects is None:
            return prediction * root
        if prediction.ndim < 4 or prediction.shape[-4] != len(self.objects):
            raise ValueError(
                f"the objects of {len(self.objects)} channels are told apart, the model predicts "
                f"{prediction.shape}: expected (n_channels, n_frames, ...)"
            )
        return prediction * root[np.array(self.objects)][:, None]


def on_frame(spectrum: Array, n_pixels: int) -> Array:
    """`(..., n_pixels, n_pixels // 2 + 1)` of which the block of lowest frequencies is given, the rest 0."""
    rows, columns = lowest(n_pixels, spectrum.shape[-2])
    whole = jnp.zeros((*spectrum.shape[:-2], n_pixels, n_pixels // 2 + 1), spectrum.dtype)
    return whole.at[..., rows[:, None], columns].set(spectrum)


def checked_objects(objects: Sequence[int] | None) -> tuple[int, ...] | None:
    """Numbers of objects, one of each channel.

    Raises:
        ValueError: they do not count from 0 without gaps.
    """
    if objects is None:
        return None
    found = tuple(int(k) for k in objects)
    if not found or set(found) != set(range(max(found) + 1)):
        raise ValueError(f"`objects` numbers the object of each channel, from 0 without gaps; found {found}")
    return found


def _quick(size: int) -> int:
    """The next even size whose transform is quick."""
    found: Any = next_fast_len(-(-size // 2), real=True)
    return 2 * int(found)


def lowest(n_pixels: int, n_support: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the lowest frequencies in a transform of `n_pixels`, in the layout of a smaller one."""
    above = n_support // 2
    rows = np.concatenate([np.arange(n_support - above), np.arange(n_pixels - above, n_pixels)])
    return rows, np.arange(n_support // 2 + 1)


def multiplicity(n_pixels: int, n_support: int) -> np.ndarray:
    """How often a column of the half plane counts in the whole one, `(n_support // 2 + 1,)`."""
    weight = np.full(n_support // 2 + 1, 2.0)
    weight[0] = 1
    if n_support == n_pixels and n_pixels % 2 == 0:
        weight[-1] = 1
    return weight


def _square_frequency(n_pixels: int, n_support: int, pixel_scale: float) -> np.ndarray:
    rows, columns = lowest(n_pixels, n_support)
    v = np.fft.fftfreq(n_pixels, pixel_scale)[rows]
    u = columns / (n_pixels * pixel_scale)
    return v[:, None] ** 2 + u**2
