"""Point spread functions that change over the field because turbulence lies at heights: as a forward model of layers.

A layer at height h is seen in the direction theta through the part of it around h theta, so each layer has a wavefront
on a pupil of its own that is wider than the telescope's: its metapupil.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxinv.forward import Forward, Parameter, Parameters, in_units
from jaxinv.optics.point_spread import ARCSEC, checked_frames, number_in, pupil_of, wavefront_of
from jaxinv.optics.propagation import point_spread
from jaxinv.optics.pupil import Modes, Pupil
from jaxinv.optics.telescope import Telescope


def metapupil(telescope: Telescope, height: float, field: tuple[float, float]) -> Telescope:
    """The disc of a layer that a telescope sees from all directions of its field, as a telescope of that diameter.

    Args:
        telescope: whose pupil it is.
        height: of the layer above it [m].
        field: `(height, width)` of the field [arcsec].
    """
    if not (math.isfinite(height) and height >= 0):
        raise ValueError(f"a layer's height is in metres above the telescope; found {height}")
    return Telescope(telescope.diameter + height * math.hypot(*field) * ARCSEC)


class LayeredPointSpread(Forward):
    """`model({"wavefront": a})`: PSFs `(n_y, n_x, n_pixels, n_pixels)` on nodes over the field, each of sum 1.

    `wavefront` is `(n_layers, n_modes)` or `(n_frames, n_layers, n_modes)` [rad]: of the modes on the metapupil of each
    layer. The nodes lie as those of `FieldDependentObject`, which makes images of these PSFs.

    Args:
        telescope: its pupil.
        wavelength: [angstrom].
        pixel_scale: of the detector [arcsec].
        n_pixels: across a PSF.
        modes: for each layer, as many each: made for `metapupil(telescope, height, field)`.
        heights: `(n_layers,)` [m].
        shape: `(ny, nx)` of the field, in pixels of the detector.
        nodes: `(n_y, n_x)`.
        n_frames: of one object; a call takes any leading axes.

    Raises:
        ValueError: as `PointSpread`; layers that do not go with modes, or unequal numbers of modes.
    """

    amplitude: Array
    basis: Array
    pupil: Pupil = eqx.field(static=True)
    nodes: tuple[int, int] = eqx.field(static=True)
    n_pixels: int = eqx.field(static=True)
    n_frames: int | None = eqx.field(static=True)

    def __init__(
        self,
        telescope: Telescope,
        wavelength: float,
        pixel_scale: float,
        n_pixels: int,
        modes: Sequence[Modes],
        heights: Sequence[float],
        shape: tuple[int, int],
        nodes: tuple[int, int],
        *,
        n_frames: int | None = None,
    ) -> None:
        if not modes or len(modes) != len(heights) or len({each.count for each in modes}) > 1:
            raise ValueError(
                f"each layer has modes, as many as the others; found {[each.count for each in modes]} for the heights "
                f"{list(heights)}"
            )
        self.pupil = pupil_of(telescope, wavelength, pixel_scale, n_pixels)
        self.n_pixels, self.n_frames, self.nodes = (
            int(n_pixels),
            checked_frames(n_frames),
            (int(nodes[0]), int(nodes[1])),
        )
        self.amplitude = jnp.asarray(self.pupil.amplitude)
        scale = number_in(pixel_scale, "arcsec")
        at = lambda size, n: (np.linspace(0, size - 1, n) - (size - 1) / 2) * scale * ARCSEC  # noqa: E731
        y, x = (at(size, n) for size, n in zip(shape, self.nodes, strict=True))
        field = (shape[0] * scale, shape[1] * scale)
        self.basis = jnp.asarray(
            np.stack([self._seen(each, h, field, x, y) for each, h in zip(modes, heights, strict=True)], axis=2)
        )

    def _seen(
        self, modes: Modes, height: float, field: tuple[float, float], x: np.ndarray, y: np.ndarray
    ) -> np.ndarray:
        """`(n_y, n_x, n_modes, m, m)` of one layer, from the directions of all nodes."""
        over = metapupil(self.pupil.telescope, height, field)
        wide = Pupil(over, self.pupil.pixel_size)
        here = self.pupil.x * (self.pupil.telescope.diameter / 2)
        # Each row of nodes at once: the modes are the same functions for all.
        across = (here + height * x[:, None]) / (over.diameter / 2)
        rows = []
        for each in y:
            down = (here + height * each) / (over.diameter / 2)
            at = np.broadcast_arrays(across[:, None, :], down[:, None])
            rows.append(np.moveaxis(modes.at(wide, *at), 0, 1))
        return np.stack(rows) * (self.pupil.amplitude > 0)

    @property
    def parameters(self) -> dict[str, Parameter]:
        one = self.basis.shape[2:4]
        return {"wavefront": Parameter("rad", one if self.n_frames is None else (self.n_frames, *one))}

    def __call__(self, parameters: Parameters) -> Array:
        return point_spread(self.amplitude, self.phase(parameters), self.n_pixels)

    def phase(self, parameters: Parameters) -> Array:
        """`(..., n_y, n_x, m, m)` on the pixels of the pupil, from the direction of each node [rad]."""
        parameters = in_units(parameters, self.units)
        self.need(parameters)
        wavefront = wavefront_of(parameters, self.basis.shape[2:4])
        basis = self.basis.astype(wavefront.dtype)
        return jnp.einsum("...lk,YXlkyx->...YXyx", wavefront, basis, precision="highest")
