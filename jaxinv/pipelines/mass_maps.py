"""Maps of the projected mass behind which galaxies are sheared: from catalogues, or from maps of the shear."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxinv import imaging
from jaxinv.names import suggestion
from jaxinv.pipelines.config import MassmapConfig
from jaxinv.pipelines.deconvolution import masked, measured_noise
from jaxinv.pipelines.reconstruction import DENOISER, Recipe, ReconstructionPlan, ReconstructionRun, check_used
from jaxinv.results.reconstruction import Reconstruction

_USUAL = {
    "x": ("ra", "alpha_j2000", "alphawin_j2000", "raj2000", "x", "x_image", "xwin_image"),
    "y": ("dec", "delta_j2000", "deltawin_j2000", "dej2000", "y", "y_image", "ywin_image"),
    "shear1": ("shear1", "gamma1", "g1", "e1", "e1_a", "mcal_g1", "epsilon1"),
    "shear2": ("shear2", "gamma2", "g2", "e2", "e2_a", "mcal_g2", "epsilon2"),
    "weight": ("weight", "w", "shape_weight", "lensfit_weight"),
}
_SKY = ("ra", "alpha", "dec", "delta", "raj2000", "dej2000")
_PER_PIXEL = 10
"""Galaxies, by default."""
_LARGEST = 4096
_WIDEST = 30.0
"""Degrees, up to which the sky is flat enough."""


class ShearField(NamedTuple):
    """The shear on a grid.

    Attributes:
        shear: `(2, ny, nx)`; NaN where there is none.
        sigma: of each component, `(2, ny, nx)`; infinite where there is none.
        coverage: galaxies in each pixel, `(ny, nx)`; `None` where it is not known.
        header: cards of the map.
        x: whether x of the frame of the positions grows to the "right" or to the "left".
    """

    shear: np.ndarray
    sigma: np.ndarray
    coverage: np.ndarray | None
    header: Mapping[str, Any]
    x: str


def plan_massmap(
    shear: np.ndarray | Mapping[str, np.ndarray],
    config: MassmapConfig | None = None,
    *,
    mask: np.ndarray | None = None,
    header: Mapping[str, Any] | None = None,
) -> ReconstructionPlan:
    """What is to be mapped: everything that can be refused is refused here.

    Args:
        shear: a catalogue, column -> `(n,)` numbers; or maps, `(2, ny, nx)`, NaN: a missing pixel.
        config: the options; the defaults where `None`.
        mask: `(ny, nx)` of maps, not 0 where a pixel is bad.
        header: cards of the maps.

    Raises:
        ValueError: a column that is needed is not there, no galaxy has finite numbers, the field is too wide or has too
            many pixels, a mask of another shape, or one that hides everything.
    """
    config = config or MassmapConfig()
    check_used(config)
    if isinstance(shear, Mapping):
        if mask is not None:
            raise ValueError("a mask belongs to maps of the shear; a catalogue has none: leave the galaxies out")
        field = binned(shear, config)
    else:
        field = _of_maps(np.asarray(shear, float), config, mask, header or {})
    x = field.x if config.shear_x == "auto" else config.shear_x
    shape = (field.shear.shape[1], field.shear.shape[2])
    operator = imaging.KaiserSquires(shape, x=x, y=config.shear_y)  # pyright: ignore[reportArgumentType]
    method = {"kaiser-squires": "classical", "sparse": "starlets"}.get(config.method, config.method)
    recipe = Recipe(
        operator,
        method,
        config.strength or (3.0 if method == "starlets" else 1.0),
        draws=config.draws,
        iterations=config.iterations,
        smoothing=config.smoothing,
        mean_free=True,
        network=config.network or str(DENOISER),
        seed=config.seed,
    )
    modes = [np.asarray(x) for x in operator.convergence(np.float32(np.nan_to_num(field.shear)))]
    more = {"b_mode": modes[1]}
    if field.coverage is not None:
        more["coverage"] = field.coverage
    seen = np.isfinite(field.sigma[0])
    count = "" if field.coverage is None else f", {int(field.coverage.sum())} galaxies"
    notes = {
        "shear": f"x of its frame grows to the {x}, y {config.shear_y}{count}",
        "noise": f"{np.median(field.sigma[0][seen]):.6g} of a component in a pixel",
        "missing": f"{int(np.sum(~seen))} pixels",
    }
    return ReconstructionPlan(
        recipe, field.shear[None], field.sigma[None], "convergence", more=more, header=dict(field.header), notes=notes
    )


def massmap(
    shear: np.ndarray | Mapping[str, np.ndarray], config: MassmapConfig | None = None, **given: Any
) -> Reconstruction:
    """The convergence of a field; arguments are those of `plan_massmap`."""
    return ReconstructionRun(plan_massmap(shear, config, **given)).into()


def binned(catalogue: Mapping[str, np.ndarray], config: MassmapConfig) -> ShearField:
    """The weighted means of a catalogue's shears in pixels.

    Positions on the sky are projected onto the tangent plane at their middle, right ascension to the left. The noise of
    a galaxy is the standard deviation of all shears, unless it is given.
    """
    column = _columns(catalogue, config)
    given = {name: np.asarray(catalogue[key], float) for name, key in column.items()}
    given.setdefault("weight", np.ones_like(given["x"]))
    good = np.all([np.isfinite(array) for array in given.values()], 0) & (given["weight"] > 0)
    if good.sum() < 16:
        raise ValueError(f"the catalogue has {int(good.sum())} galaxies with finite numbers and a weight above 0")
    x, y, first, second, weight = (given[name][good] for name in ("x", "y", "shear1", "shear2", "weight"))
    sky = config.coordinates == "sky"
    if config.coordinates == "auto":
        sky = any(column["x"].lower().startswith(name) for name in _SKY)
    header: dict[str, Any] = {}
    if sky:
        x, y, centre = _projected(x, y)
    scale = _scale(x, y, config, sky)
    low = np.array([x.min(), y.min()])
    size = [max(math.ceil((np.ptp(axis) + 1e-9 * scale) / scale), 8) for axis in (x, y)]
    size = [n + n % 2 for n in size]
    if max(size) > _LARGEST:
        raise ValueError(f"the map would have {size[0]} x {size[1]} pixels: take --pixel-scale larger")
    nx, ny = size
    # The field in the middle of the map.
    low = low - (np.array(size) * scale - np.array([np.ptp(x), np.ptp(y)])) / 2
    column_of = np.clip(((x - low[0]) / scale).astype(int), 0, nx - 1)
    row_of = np.clip(((y - low[1]) / scale).astype(int), 0, ny - 1)
    if sky:  # x is offset towards the east, which is drawn to the left
        column_of = nx - 1 - column_of
        high = low[0] + nx * scale
        degree = 1 / 60
        header = {
            "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CUNIT1": "deg", "CUNIT2": "deg",
            "CRVAL1": centre[0], "CRVAL2": centre[1], "CDELT1": -scale * degree, "CDELT2": scale * degree,
            "CRPIX1": high / scale + 0.5, "CRPIX2": -low[1] / scale + 0.5,
        }  # fmt: skip
    else:
        header = {
            "CRPIX1": 0.5, "CRPIX2": 0.5, "CRVAL1": float(low[0]), "CRVAL2": float(low[1]), "CDELT1": scale,
            "CDELT2": scale,
        }  # fmt: skip
    index = row_of * nx + column_of
    total = lambda values: np.bincount(index, values, nx * ny).reshape(ny, nx)  # noqa: E731
    summed, squares = total(weight), total(weight**2)
    level = config.noise
    if level is None:
        mean = [np.average(shear, weights=weight) for shear in (first, second)]
        level = math.sqrt(np.average((first - mean[0]) ** 2 + (second - mean[1]) ** 2, weights=weight) / 2)
    if not level > 0:
        raise ValueError("all shears are the same, so that their noise cannot be measured: give it (--noise)")
    empty = summed == 0
    per = np.where(empty, np.nan, 1 / np.where(empty, 1, summed))
    shear = np.stack([total(weight * first) * per, total(weight * second) * per])
    sigma = np.where(empty, np.inf, level * np.sqrt(squares) * np.nan_to_num(per))
    coverage = np.bincount(index, minlength=nx * ny).reshape(ny, nx).astype(float)
    return ShearField(shear, np.stack([sigma, sigma]), coverage, header, "left" if sky else "right")


def _columns(catalogue: Mapping[str, np.ndarray], config: MassmapConfig) -> dict[str, str]:
    """The column of each quantity."""
    unknown = [name for name in config.columns if name not in _USUAL]
    if unknown:
        raise ValueError(
            f"--columns: there is no {unknown[0]!r}{suggestion(unknown[0], _USUAL)} (there are {', '.join(_USUAL)})"
        )
    found, lower = {}, {name.lower(): name for name in catalogue}
    for name, usual in _USUAL.items():
        if name in config.columns:
            asked = str(config.columns[name])
            if asked not in catalogue and asked.lower() not in lower:
                raise ValueError(
                    f"the catalogue has no column {asked!r} of numbers{suggestion(asked, catalogue)} (it has "
                    f"{', '.join(catalogue)})"
                )
            found[name] = asked if asked in catalogue else lower[asked.lower()]
            continue
        match = next((lower[each] for each in usual if each in lower), None)
        if match is not None:
            found[name] = match
        elif name != "weight":
            raise ValueError(
                f"the catalogue has no column for {name} (looked for {', '.join(usual[:4])}, ...; it has "
                f"{', '.join(catalogue)}): say which by --columns {name}=NAME"
            )
    return found


def _projected(ra: np.ndarray, dec: np.ndarray) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
    """Offsets [arcmin] towards the east and the north on the tangent plane, and its point [degrees]."""
    if np.any(np.abs(dec) > 90) or np.any((ra < -360) | (ra > 720)):
        raise ValueError(
            f"right ascensions from {ra.min():g} to {ra.max():g} and declinations from {dec.min():g} to {dec.max():g} "
            "are no degrees: say --coordinates plane, or which columns by --columns"
        )
    a, d = np.radians(ra), np.radians(dec)
    vector = np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)])
    middle = vector.mean(1)
    middle /= np.linalg.norm(middle)
    if np.any(middle @ vector < math.cos(math.radians(_WIDEST / 2))):
        raise ValueError(f"the field is wider than {_WIDEST:g} degrees: the sky is not flat over it; cut it in parts")
    a0, d0 = math.atan2(middle[1], middle[0]) % (2 * math.pi), math.asin(middle[2])
    below = np.sin(d) * math.sin(d0) + np.cos(d) * math.cos(d0) * np.cos(a - a0)
    east = np.cos(d) * np.sin(a - a0) / below
    north = (np.sin(d) * math.cos(d0) - np.cos(d) * math.sin(d0) * np.cos(a - a0)) / below
    to_arcmin = math.degrees(1) * 60
    return east * to_arcmin, north * to_arcmin, (math.degrees(a0), math.degrees(d0))


def _scale(x: np.ndarray, y: np.ndarray, config: MassmapConfig, sky: bool) -> float:
    if config.pixel_scale is None:
        area = max(float(np.ptp(x)) * float(np.ptp(y)), 1e-30)
        return math.sqrt(area * _PER_PIXEL / len(x))
    text = config.pixel_scale
    try:
        scale = float(text)
    except ValueError:
        from astropy import units

        try:
            value: Any = units.Quantity(text)
            scale = float(value.to_value("arcmin"))
        except (TypeError, ValueError):
            raise ValueError(
                f"the option 'pixel_scale' takes arcmin, or a number with a unit, '30 arcsec'; found {text!r}"
            ) from None
        if not sky:
            raise ValueError(
                "the pixel scale has a unit of angle, but the positions are in a plane: give a number"
            ) from None
    if not (scale > 0 and math.isfinite(scale)):
        raise ValueError(f"the pixel scale is a number above 0; found {text!r}")
    return scale


def _of_maps(
    shear: np.ndarray, config: MassmapConfig, mask: np.ndarray | None, header: Mapping[str, Any]
) -> ShearField:
    if shear.ndim != 3 or len(shear) != 2 or min(shear.shape[1:]) < 8:
        raise ValueError(f"maps of the shear are (2, ny, nx), 8 x 8 pixels or more; found the shape {shear.shape}")
    shear = masked(shear, mask)
    missing = ~np.isfinite(shear).all(0)
    if missing.all():
        raise ValueError("the maps of the shear hold no pixel where both components are finite numbers")
    shear = np.where(missing, np.nan, shear)
    level = np.full(2, config.noise) if config.noise is not None else measured_noise(shear)
    sigma = np.where(missing, np.inf, level[:, None, None])
    mirrored = float(header.get("CDELT1", 1.0) or 1.0) < 0
    return ShearField(shear, sigma, None, header, "left" if mirrored else "right")
