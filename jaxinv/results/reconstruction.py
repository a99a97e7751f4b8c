"""Images through an instrument, reconstructed: the images, their errors, and what is left of the data."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from typing import Any

import numpy as np


class ImageStatus(enum.IntEnum):
    """What became of an image."""

    RECONSTRUCTED = 0
    UNEXPLAINED = 1
    NOT_CONVERGED = 2
    FAILED = 3
    NOT_DONE = 4
    NO_DATA = 5

    @property
    def message(self) -> str:
        """In words."""
        return {
            ImageStatus.RECONSTRUCTED: "reconstructed",
            ImageStatus.UNEXPLAINED: "the residuals are more than the noise explains",
            ImageStatus.NOT_CONVERGED: "more iterations are needed",
            ImageStatus.FAILED: "no finite result",
            ImageStatus.NOT_DONE: "not reconstructed yet",
            ImageStatus.NO_DATA: "no valid sample",
        }[self]


@dataclasses.dataclass(frozen=True)
class Reconstruction:
    """Images behind a linear instrument, one for each set of data of a file.

    Attributes:
        images: `(n, ny, nx)`.
        residuals: `(n, *data_shape)`, data minus what the images predict, in units of the noise; NaN where there are no
            data.
        chi2: `(n,)` mean squared residual.
        status: `(n,)` an `ImageStatus`.
        strength: `(n,)` of the regularization, as `--strength` takes it; NaN where there is none.
        quantity: what the images show.
        unit: of the images.
        error: `(n, ny, nx)` standard errors; `None`: the method has none.
        more: further maps of the field by name, such as `b_mode` `(n, ny, nx)` and `coverage`.
        header: FITS cards of the world coordinates and of where the data come from.
        provenance: what made it.
    """

    images: np.ndarray
    residuals: np.ndarray
    chi2: np.ndarray
    status: np.ndarray
    strength: np.ndarray
    quantity: str = "image"
    unit: str = ""
    error: np.ndarray | None = None
    more: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    header: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    provenance: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def image(self) -> np.ndarray:
        """The only image, or the first, `(ny, nx)`."""
        return self.images[0]

    def count(self) -> dict[str, int]:
        """How many images ended with each status, by name."""
        return {code.name.lower(): int(np.sum(self.status == code)) for code in ImageStatus}
