"""What enters: data with their uncertainties, and Stokes cubes with wavelengths, units and world coordinates."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np


class Observation(NamedTuple):
    """Measured values that carry their own uncertainty; a pytree that every method accepts in place of an array.

    Shapes: `values` is `(*batch, *prediction_shape)`; `sigma` and `mask` broadcast against it. `sigma` is one standard
    deviation in the units of `values` (`None`: the noise model's own). `mask` is `True` where a sample is valid
    (`None`: everywhere). A missing sample is a `False` in the mask or an infinite sigma, never a magic value.

    `ids`, `(*batch,)`, are whole numbers that name the objects (`None`: 0, 1, 2, ... in their order). Whatever is drawn
    at random for an object depends on its id: give a part of a batch its ids in the whole, and it is treated as there.
    """

    values: Any
    sigma: Any = None
    mask: Any = None
    ids: Any = None

    @classmethod
    def of(cls, data: Any, **more: Any) -> Observation:
        """An array or an `Observation` as an `Observation`, with `more` of its fields set."""
        return (data if isinstance(data, cls) else cls(data))._replace(**more)


class LazyArray(Protocol):
    """What a cube's values must offer: a shape, and NumPy slicing along the first axis that returns a NumPy array."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, rows: slice, /) -> np.ndarray: ...


@dataclasses.dataclass(frozen=True)
class StokesCube:
    """A map of Stokes spectra on disk or in memory, as every reader returns it and `invert` takes it.

    Attributes:
        values: `(ny, nx, 4, n_wavelength)`, Stokes I, Q, U, V; a NumPy array or a lazy array that is read row by row.
        wavelength: `(n_wavelength,)` in angstrom, increasing.
        unit: FITS unit of `values` ("" for spectra normalized to the continuum, "DN" for counts).
        mask: `True` where valid, broadcastable to `values`, or `None`. Non-finite values need no mask.
        header: FITS cards of the two spatial axes (axis 1 = x, axis 2 = y) and of the observation's origin
            (`CTYPE1`, `CRPIX1`, `DATE-OBS`, `TELESCOP`, ...), copied to every output map.
        source: the files that the cube was read from, in order; empty for arrays.
        provenance: what made it, where it was synthesized.
    """

    values: np.ndarray | LazyArray
    wavelength: np.ndarray
    unit: str = ""
    mask: np.ndarray | None = None
    header: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    source: Sequence[str] = ()
    provenance: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = tuple(self.values.shape)
        if len(shape) != 4 or shape[2] != 4:
            raise ValueError(
                f"a Stokes cube has the shape (ny, nx, 4, n_wavelength); found {shape}: "
                "move the axes, or read the file with jaxinv.io.read_stokes"
            )
        wavelength = np.asarray(self.wavelength)
        if wavelength.shape != shape[3:]:
            raise ValueError(
                f"the cube has {shape[3]} wavelength samples but `wavelength` has the shape {wavelength.shape}"
            )
        if not (np.all(np.isfinite(wavelength)) and np.all(np.diff(wavelength) > 0)):
            raise ValueError("`wavelength` must be finite and strictly increasing, in angstrom")

    @property
    def map_shape(self) -> tuple[int, int]:
        """`(ny, nx)`."""
        ny, nx = self.values.shape[:2]
        return ny, nx

    @property
    def n_pixels(self) -> int:
        """The number of spectra in the map."""
        return self.map_shape[0] * self.map_shape[1]

    def pixels(self, start: int, stop: int, dtype: Any = np.float32) -> np.ndarray:
        """Spectra `start` to `stop` (row-major, x fastest), `(stop - start, 4, n_wavelength)`, read from their rows."""
        nx = self.map_shape[1]
        first = start // nx
        rows = np.asarray(self.values[first : -(-stop // nx)], dtype=dtype)
        flat = rows.reshape(-1, *rows.shape[2:])
        return flat[start - first * nx : stop - first * nx]


@dataclasses.dataclass(frozen=True)
class FrameBurst:
    """Short exposures of one field, as a reader returns them, and their truth where they were simulated.

    Attributes:
        frames: `(n_frames, ny, nx)` intensities, dark and flat taken off.
        wavelength: [angstrom].
        pixel_scale: [arcsec].
        header: FITS cards of where the frames come from.
        truth: what is known of them, by name: `object` `(oy, ox)` with the frames in its middle, or `stars` `(n, 3)` of
            x and y from the middle of the field [arcsec] and flux; `psf` `(n_frames, n, n)` or `(n_frames, n_y, n_x, n,
            n)` on nodes over the object; `phase` `(n_frames, m, m)` [rad] on `pupil` `(m, m)`; `wavefront` `(n_frames,
            n_modes)` [rad] of `modes` `(n_modes, m, m)`; `saturated` `(n_frames, ny, nx)`, 1 where a pixel was full.
        provenance: what made it, where it was simulated.

    Raises:
        ValueError: frames that are no stack of images, or numbers that are not positive.
    """

    frames: np.ndarray
    wavelength: float
    pixel_scale: float
    header: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    truth: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    provenance: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if np.ndim(self.frames) != 3:
            raise ValueError(f"a burst is (n_frames, ny, nx); found the shape {np.shape(self.frames)}")
        for name in ("wavelength", "pixel_scale"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"the {name.replace('_', ' ')} of a burst is a positive number; found {value}")

    @property
    def n_frames(self) -> int:
        """How many exposures."""
        return len(self.frames)
