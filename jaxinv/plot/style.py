"""How each quantity is shown: its label, unit, colours and range; and how a figure is made and saved."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from jaxinv.compute.atomic import write_atomically
from jaxinv.names import suggestion

DEGREES = 180 / np.pi

PALETTE = {"data": "0.25", "fit": "#d55e00", "band": "#56b4e9", "line": "#0072b2"}
"""Okabe & Ito's colours, which colour-blind readers can tell apart."""


class Look(NamedTuple):
    """How one quantity is drawn.

    Attributes:
        label: for the colour bar, unit included.
        colours: name of a colour map.
        factor: from the stored unit to the one shown.
        limits: fixed range, or `None`: the 1st to 99th percentile.
        symmetric: the range is symmetric about 0.
    """

    label: str
    colours: str = "viridis"
    factor: float = 1.0
    limits: tuple[float, float] | None = None
    symmetric: bool = False


LOOKS = {
    "field_strength": Look("field strength [G]", "inferno"),
    "inclination": Look("inclination [deg]", "RdYlBu", DEGREES, (0, 180)),
    "azimuth": Look("azimuth [deg]", "twilight", DEGREES, (0, 180)),
    "velocity": Look("velocity [km/s]", "RdBu_r", symmetric=True),
    "temperature": Look("temperature [K]", "inferno"),
    "microturbulence": Look("microturbulence [km/s]", "viridis"),
    "electron_pressure": Look("electron pressure [dyn/cm²]", "viridis"),
    "gas_pressure": Look("gas pressure [dyn/cm²]", "viridis"),
    "height": Look("height [km]", "viridis"),
    "doppler_width": Look("Doppler width [mÅ]", "viridis", 1000.0),
    "line_strength": Look("line strength", "viridis"),
    "damping": Look("damping", "viridis"),
    "source_constant": Look("source constant", "gray"),
    "source_slope": Look("source slope", "gray"),
    "macroturbulence": Look("macroturbulence [km/s]", "viridis"),
    "filling_factor": Look("filling factor", "cividis", limits=(0, 1)),
    "wavelength_offset": Look("wavelength offset [mÅ]", "RdBu_r", 1000.0, symmetric=True),
    "chi2": Look("misfit per sample", "magma"),
    "p_value": Look("posterior predictive p-value", "cividis", limits=(0, 1)),
}


def look_of(name: str, unit: str = "") -> Look:
    """The look of a quantity, also of one that is not in the table."""
    return LOOKS.get(name) or Look(name.replace("_", " ") + (f" [{unit}]" if unit else ""))


class Picture(Figure):
    """A figure outside pyplot's list of open ones, which a notebook shows all the same."""

    def savefig(self, *given: Any, **more: Any) -> None:
        """Write it; the layout settles first, since its first pass changes the ticks that it made room for."""
        self.draw_without_rendering()
        super().savefig(*given, **more)

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()


def new_figure(width: float, height: float, layout: Literal["constrained"] | None = "constrained") -> Figure:
    """An empty figure of this size in inches, with its own canvas; its axes are laid out by itself, or by nobody."""
    figure = Picture(figsize=(width, height), layout=layout, dpi=110)
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure, in place of one that is there; the format is that of the file's ending.

    Raises:
        OutputError: the folder cannot be written to, or the disk is full; nothing half-written stays behind.
        ValueError: matplotlib knows no format of that ending.
    """
    ending = check_ending(path)
    write_atomically(path, lambda file: figure.savefig(file, format=ending), overwrite=True)


def check_ending(path: str | os.PathLike[str]) -> str:
    """The format of a picture, by the file's ending.

    Raises:
        ValueError: matplotlib knows no format of that ending.
    """
    path = Path(path)
    known = FigureCanvasAgg.get_supported_filetypes()
    ending = path.suffix.lstrip(".").lower()
    if ending not in known:
        raise ValueError(
            f"cannot write a picture as {path.name!r}: its ending must be one of {', '.join(sorted(known))}"
        )
    return ending


def check_names(names: Iterable[str], known: Iterable[str]) -> None:
    """Every name is known.

    Raises:
        ValueError: it is not; names the nearest known one.
    """
    known = list(known)
    for name in names:
        if name not in known:
            raise ValueError(f"the result has no map {name!r}{suggestion(name, known)} (it has {', '.join(known)})")


def limits_of(look: Look, values: np.ndarray) -> tuple[float, float]:
    """The range of colours: robust against a few wild pixels."""
    if look.limits is not None:
        return look.limits
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    if look.symmetric:
        largest = float(np.percentile(np.abs(finite), 99)) or 1.0
        return -largest, largest
    low, high = (float(x) for x in np.percentile(finite, (1, 99)))
    return (low, high) if high > low else (low - 0.5, low + 0.5)
