"""Stars behind a burst as FITS: the table of stars first, then what the frames said."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from jaxinv.io.bursts import ORIGIN, detector_cards
from jaxinv.io.errors import InputError
from jaxinv.io.fits import image_of, native, number_of, open_fits, write_fits
from jaxinv.io.images import provenance_table, read_provenance
from jaxinv.results.stars import StarSystem

_IMAGES = {
    "mean_frame": ("electron", "frames laid on their brightest pixels"),
    "mean_model": ("electron", "the same of what was fitted"),
    "psf": ("", "of the frame that is explained best, sum 1"),
    "covariance": ("", "of x, y [arcsec] and magnitude, star by star"),
    "frame_values": ("", "x, y [arcsec] and magnitude, star by star, of each frame alone"),
    "wavefront": ("rad", "coefficients of Karhunen-Loeve modes: frame, mode"),
}
_OPTIONAL = ("covariance", "frame_values")
_COLUMNS = ("separation", "separation_err", "position_angle", "position_angle_err", "magnitude", "magnitude_err")


def write_star_system(path: str | os.PathLike[str], stars: StarSystem, *, overwrite: bool = False) -> None:
    """Write a system of stars, whole or not at all.

    Args:
        path: `.fits` or `.fits.gz`.
        stars: what was found; its provenance goes to the table `PROVENANCE`.
        overwrite: replace a file that is there.

    Raises:
        OutputError: the file exists, or cannot be written.
    """
    from astropy.io import fits

    primary = fits.PrimaryHDU()
    cards = detector_cards(stars.mean_frame.shape, stars.pixel_scale, stars.wavelength)
    primary.header.update({key: cards[key] for key in ("CDELT1", "CUNIT1", "WAVELNTH", "WAVEUNIT")})
    primary.header["CREATOR"] = f"jaxinv {stars.provenance.get('version', '')}".strip()
    primary.header.update(stars.header)
    number = range(1, stars.n_stars)
    rows = [(*stars.separation(k), *stars.position_angle(k), *stars.magnitude_difference(k)) for k in number]
    measured = np.array([[0.0, 0.0, np.nan, np.nan, 0.0, 0.0], *rows])
    origin = np.zeros((1, 2))
    places = np.concatenate([origin, stars.offsets])
    units = ("arcsec", "arcsec", "deg", "deg", "mag", "mag")
    columns = [fits.Column(name, "D", unit="arcsec", array=places[:, k]) for k, name in enumerate("xy")]
    columns += [
        fits.Column(name, "D", unit=unit, array=measured[:, k])
        for k, (name, unit) in enumerate(zip(_COLUMNS, units, strict=True))
    ]
    table = fits.BinTableHDU.from_columns(columns, name="STARS")
    table.header["COMMENT"] = "relative to the first star; position angles from y (up) to negative x"
    frames = fits.BinTableHDU.from_columns(
        [
            fits.Column("used", "L", array=stars.used),
            fits.Column("chi2", "D", array=stars.chi2),
            fits.Column("d_over_r0", "D", array=stars.d_over_r0),
        ],
        name="FRAMES",
    )
    hdus: list[Any] = [primary, table, frames]
    for name, (unit, comment) in _IMAGES.items():
        values = np.asarray(getattr(stars, name))
        if not values.size:
            continue  # a single star has none
        hdu = fits.ImageHDU(values.astype(np.float64 if name in _OPTIONAL else np.float32), name=name.upper())
        hdu.header["COMMENT"] = comment
        if unit:
            hdu.header["BUNIT"] = unit
        hdus.append(hdu)
    write_fits(path, fits.HDUList([*hdus, provenance_table(stars.provenance)]), overwrite=overwrite)


def read_star_system(path: str | os.PathLike[str]) -> StarSystem:
    """A system of stars that `write_star_system` wrote.

    Raises:
        InputError: the file is missing, damaged, or something else.
    """
    with open_fits(path) as hdus:
        needed = [name.upper() for name in ("stars", "frames", *_IMAGES) if name not in _OPTIONAL]
        missing = [name for name in needed if name not in hdus]
        if missing:
            raise InputError(f"{path} holds no measured stars: it has no part {', '.join(missing)}")
        first, table, frames = hdus[0].header, hdus["STARS"].data, hdus["FRAMES"].data
        arrays = {name: native(image_of(path, hdus[name.upper()])) for name in _IMAGES if name.upper() in hdus}
        n = 3 * (len(table) - 1)
        arrays.setdefault("covariance", np.zeros((n, n)))
        arrays.setdefault("frame_values", np.zeros((len(frames), n)))
        return StarSystem(
            offsets=np.stack([np.asarray(table[name][1:], float) for name in "xy"], axis=1),
            magnitudes=np.asarray(table["magnitude"][1:], float),
            used=np.asarray(frames["used"], bool),
            chi2=np.asarray(frames["chi2"], float),
            d_over_r0=np.asarray(frames["d_over_r0"], float),
            wavelength=number_of(path, first, "WAVELNTH", 0.0),
            pixel_scale=number_of(path, first, "CDELT1", 0.0),
            header={key: first[key] for key in ORIGIN if key in first},
            provenance=read_provenance(hdus),
            **arrays,
        )
