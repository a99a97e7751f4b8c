"""What a telescope looks at, and what blurs its images further: stages that follow a point spread function.

model = PointSpread(...) >> Jitter(0.059) >> DetectorPixel(0.059) >> ExtendedObject((256, 256), (128, 128))
frames = model({"wavefront": a, "jitter": 0.02, "object": sky})
"""

from __future__ import annotations

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from scipy.fft import next_fast_len

from jaxinv.forward import Parameter, Parameters, Stage
from jaxinv.optics.propagation import frequencies, seen_through, spread_of, transfer_function


class Jitter(Stage):
    """Pointing that shakes during an exposure: a Gaussian of rms `jitter` [arcsec] in each direction.

    Reads `jitter`, unless it is known. It acts on PSFs as on images, `(..., n, n)`.

    Args:
        pixel_scale: [arcsec].
        rms: the known one [arcsec]; `None`: it is a parameter.

    Raises:
        ValueError: a number that is negative or not finite.
    """

    pixel_scale: float = eqx.field(static=True)
    rms: float | None = eqx.field(static=True)

    def __init__(self, pixel_scale: float, rms: float | None = None) -> None:
        self.pixel_scale = _positive("the pixel scale", pixel_scale)
        self.rms = rms if rms is None or rms == 0 else _positive("the jitter's rms", rms)

    @property
    def parameters(self) -> dict[str, Parameter]:
        return {"jitter": Parameter("arcsec", lowest=0.0)} if self.rms is None else {}

    def __call__(self, parameters: Parameters, prediction: Array) -> Array:
        self.need(parameters)
        rms = jnp.asarray(parameters["jitter"] if self.rms is None else self.rms, prediction.dtype)
        u, v = frequencies(prediction.shape[-1], self.pixel_scale)
        return seen_through(prediction, jnp.exp(-2 * (math.pi * rms) ** 2 * (u**2 + v**2).astype(prediction.dtype)))


class DetectorPixel(Stage):
    """Square pixels that integrate over their area, where a PSF is of points.

    Args:
        pixel_scale: [arcsec].
        width: of what is sensitive, in pixels.
    """

    pixel_scale: float = eqx.field(static=True)
    width: float = eqx.field(static=True)

    def __init__(self, pixel_scale: float, width: float = 1.0) -> None:
        self.pixel_scale, self.width = _positive("the pixel scale", pixel_scale), _positive("a pixel's width", width)

    def __call__(self, parameters: Parameters, prediction: Array) -> Array:
        del parameters
        u, v = (np.sinc(f * self.pixel_scale * self.width) for f in frequencies(prediction.shape[-1], self.pixel_scale))
        return seen_through(prediction, jnp.asarray(u * v, prediction.dtype))


class ExtendedObject(Stage):
    """PSFs `(..., n, n)` to images of `object`, of a part of it where the detector sees less than there is.

    The object is convolved as if it repeated beyond its own borders: where a detector's `field` stays away from them
    by half a PSF its images have real edges, with light from outside.

    Args:
        shape: `(ny, nx)` of the object, in pixels of the detector, not below n.
        field: of the detector, in the middle of the object; `None`: all of it.

    Raises:
        ValueError: a field larger than the object.
    """

    shape: tuple[int, int] = eqx.field(static=True)
    field: tuple[int, int] = eqx.field(static=True)

    def __init__(self, shape: tuple[int, int], field: tuple[int, int] | None = None) -> None:
        self.shape, self.field = _field_of(shape, field)

    @property
    def parameters(self) -> dict[str, Parameter]:
        return {"object": Parameter(shape=self.shape)}

    def __call__(self, parameters: Parameters, prediction: Array) -> Array:
        image = _object(self, parameters, prediction)
        if prediction.shape[-1] > min(self.shape):
            raise ValueError(
                f"the object is {self.shape[0]} x {self.shape[1]} pixels, the PSF {prediction.shape[-1]}: give a "
                "larger object, or a PSF on fewer pixels"
            )
        spectra = jnp.fft.rfft2(image) * jnp.fft.rfft2(_around_0(prediction, self.shape))
        return _middle(jnp.fft.irfft2(spectra, self.shape), self.field)


class PointSources(Stage):
    """PSFs `(..., n, n)` to images of stars at `positions` `(n_stars, 2)` with `fluxes` `(n_stars,)`.

    A position is (x, y) from the optical axis, pixel (n // 2, n // 2) [arcsec]; what lies outside the field comes in on
    the other side. A flux is the sum of a star's image.

    Args:
        n_stars: how many.
        pixel_scale: [arcsec].
    """

    n_stars: int = eqx.field(static=True)
    pixel_scale: float = eqx.field(static=True)

    def __init__(self, n_stars: int, pixel_scale: float) -> None:
        if not isinstance(n_stars, int | np.integer) or n_stars < 1:
            raise ValueError(f"the number of stars is a whole number from 1; found {n_stars!r}")
        self.n_stars, self.pixel_scale = int(n_stars), _positive("the pixel scale", pixel_scale)

    @property
    def parameters(self) -> dict[str, Parameter]:
        return {
            "positions": Parameter("arcsec", (self.n_stars, 2)),
            "fluxes": Parameter(shape=(self.n_stars,), lowest=0.0),
        }

    def __call__(self, parameters: Parameters, prediction: Array) -> Array:
        self.need(parameters)
        positions, fluxes = (jnp.asarray(parameters[name], prediction.dtype) for name in ("positions", "fluxes"))
        if positions.shape != (self.n_stars, 2) or fluxes.shape != (self.n_stars,):
            raise ValueError(
                f"{self.n_stars} stars have `positions` ({self.n_stars}, 2) and `fluxes` ({self.n_stars},); found "
                f"{positions.shape} and {fluxes.shape}"
            )
        n = prediction.shape[-1]
        u, v = (jnp.asarray(f, prediction.dtype) for f in frequencies(n, self.pixel_scale))
        # Each star is an outer product of two shifts.
        across, down = (_wave(-f.ravel() * p[:, None]) for f, p in ((u, positions[:, 0]), (v, positions[:, 1])))
        stars = jnp.einsum("s,sv,su->vu", fluxes.astype(across.dtype), down, across)
        return spread_of(transfer_function(prediction) * stars, n)


class Background(Stage):
    """Light that is the same in every pixel: the parameter `background`, in the unit of the image."""

    @property
    def parameters(self) -> dict[str, Parameter]:
        return {"background": Parameter()}

    def __call__(self, parameters: Parameters, prediction: Array) -> Array:
        self.need(parameters)
        return prediction + jnp.asarray(parameters["background"], prediction.dtype)


class FieldDependentObject(Stage):
    """PSFs on nodes over the field, `(..., n_y, n_x, n, n)`, to images of `object`: interpolated linearly in between.

    The nodes divide the object evenly from the centre of its first pixel to that of its last. Each point of the object
    is spread by the PSF of its own direction; with `of_images`, each point of an image is that of the blurred image of
    its own direction, which is what codes that blend patches do. The two differ where images move.

    Args:
        shape: `(ny, nx)` of the object, which repeats beyond its borders.
        nodes: `(n_y, n_x)`, 2 or more each.
        field: as in `ExtendedObject`.
        of_images: interpolate between blurred images in place of PSFs.

    Raises:
        ValueError: a field larger than the object, or too few nodes.
    """

    shape: tuple[int, int] = eqx.field(static=True)
    field: tuple[int, int] = eqx.field(static=True)
    nodes: tuple[int, int] = eqx.field(static=True)
    of_images: bool = eqx.field(static=True)

    def __init__(
        self,
        shape: tuple[int, int],
        nodes: tuple[int, int],
        field: tuple[int, int] | None = None,
        *,
        of_images: bool = False,
    ) -> None:
        self.shape, self.field = _field_of(shape, field)
        self.nodes, self.of_images = (int(nodes[0]), int(nodes[1])), of_images
        if min(self.nodes) < 2 or any(n > size for n, size in zip(self.nodes, self.shape, strict=True)):
            raise ValueError(f"the nodes are 2 or more in each direction, and no more than pixels; found {nodes}")

    @property
    def parameters(self) -> dict[str, Parameter]:
        return {"object": Parameter(shape=self.shape)}

    def __call__(self, parameters: Parameters, prediction: Array) -> Array:
        image = _object(self, parameters, prediction)
        if prediction.shape[-4:-2] != self.nodes:
            raise ValueError(f"the PSFs are on {prediction.shape[-4:-2]} nodes, the field is divided by {self.nodes}")
        flat = prediction.reshape(-1, *prediction.shape[-4:])
        images = jax.lax.map(lambda psf: self._seen(image, psf), flat)
        return _middle(images.reshape(*prediction.shape[:-4], *self.shape), self.field)

    def _seen(self, image: Array, psf: Array) -> Array:
        """The object through the PSFs of all nodes, one after another: what a node reaches is a small image."""
        n = psf.shape[-1]
        before, after = n // 2, n - n // 2
        (y_start, y_weight, y_tile), (x_start, x_weight, x_tile) = (
            _hats(size, k) for size, k in zip(self.shape, self.nodes, strict=True)
        )
        reach = (y_tile + n, x_tile + n)
        size = (_fast(reach[0]), _fast(reach[1]))
        # The object with what lies beyond its borders, which is its other side: pixel p is at p + before.
        rows = (np.arange(self.shape[0] + n) - before) % self.shape[0]
        columns = (np.arange(self.shape[1] + n) - before) % self.shape[1]
        wide = image[np.ix_(rows, columns)]
        inner = lambda whole: whole[before : before + y_tile, before : before + x_tile]  # noqa: E731
        framed = lambda tile: jnp.pad(tile, ((before, after), (before, after)))  # noqa: E731

        def node(canvas: Array, at: Any) -> tuple[Array, None]:
            y, x, window, one = at
            part = jax.lax.dynamic_slice(wide, (y, x), reach)
            if not self.of_images:
                part = framed(inner(part) * window)
            spectrum = jnp.fft.rfft2(part, size) * jnp.fft.rfft2(_around_0(one, size))
            seen = jnp.fft.irfft2(spectrum, size)[: reach[0], : reach[1]]
            if self.of_images:
                seen = framed(inner(seen) * window)
            return jax.lax.dynamic_update_slice(
                canvas, jax.lax.dynamic_slice(canvas, (y, x), reach) + seen, (y, x)
            ), None

        windows = jnp.asarray(y_weight[:, None, :, None] * x_weight[:, None, :], image.dtype)
        y, x = np.repeat(y_start, self.nodes[1]), np.tile(x_start, self.nodes[0])
        each = (jnp.asarray(y), jnp.asarray(x), windows.reshape(-1, y_tile, x_tile), psf.reshape(-1, n, n))
        canvas, _ = jax.lax.scan(node, jnp.zeros_like(wide), each)
        # What fell beyond a border belongs to the other side.
        folded = jax.ops.segment_sum(canvas, jnp.asarray(rows), self.shape[0])
        return jax.ops.segment_sum(folded.T, jnp.asarray(columns), self.shape[1]).T


def _fast(size: int) -> int:
    """The next size whose transform is quick."""
    found: Any = next_fast_len(size, real=True)
    return int(found)


def _hats(size: int, nodes: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Where the tile of each node begins, its weights `(nodes, tile)` of linear interpolation, and the tile's size."""
    at = np.linspace(0, size - 1, nodes)
    spacing = at[1] - at[0]
    tile = min(2 * math.ceil(spacing) + 1, size)
    start = np.clip(np.ceil(at - spacing).astype(int), 0, size - tile)
    pixel = start[:, None] + np.arange(tile)
    return start, np.clip(1 - np.abs(pixel - at[:, None]) / spacing, 0, None), tile


def _around_0(psf: Array, shape: tuple[int, int]) -> Array:
    """PSFs on a larger field, the optical axis brought to pixel 0."""
    n = psf.shape[-1]
    wide = jnp.pad(psf, [(0, 0)] * (psf.ndim - 2) + [(0, shape[0] - n), (0, shape[1] - n)])
    return jnp.roll(wide, (-(n // 2), -(n // 2)), (-2, -1))


def _middle(images: Array, field: tuple[int, int]) -> Array:
    y, x = ((whole - part) // 2 for whole, part in zip(images.shape[-2:], field, strict=True))
    return images[..., y : y + field[0], x : x + field[1]]


def _object(stage: ExtendedObject | FieldDependentObject, parameters: Parameters, like: Array) -> Array:
    stage.need(parameters)
    image = jnp.asarray(parameters["object"], like.dtype)
    if image.shape != stage.shape:
        raise ValueError(f"the object has the shape {image.shape}, the model's is {stage.shape}")
    return image


def _field_of(shape: tuple[int, int], field: tuple[int, int] | None) -> tuple[tuple[int, int], tuple[int, int]]:
    whole = (int(shape[0]), int(shape[1]))
    part = whole if field is None else (int(field[0]), int(field[1]))
    if min(part) < 1 or any(a > b for a, b in zip(part, whole, strict=True)):
        raise ValueError(f"the detector's field is a part of the object, {whole} pixels; found {part}")
    return whole, part


def _wave(cycles: Array) -> Array:
    return jax.lax.complex(jnp.cos(2 * math.pi * cycles), jnp.sin(2 * math.pi * cycles))


def _positive(what: str, value: float) -> float:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{what} is a positive number; found {value}")
    return float(value)
