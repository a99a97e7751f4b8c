"""Restored bursts as FITS: the object first, then what it was seen through."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from jaxinv.io.bursts import ORIGIN, detector_cards
from jaxinv.io.errors import InputError
from jaxinv.io.fits import image_of, native, number_of, open_fits, write_fits
from jaxinv.io.images import provenance_table, read_provenance
from jaxinv.results.restoration import PatchStatus, Restoration

_IMAGES = {
    "error": ("", "standard error of the object, on the frequencies that the telescope passes"),
    "best_frame": ("", "the frame of highest contrast, before"),
    "psf": ("", "of each frame in the middle of the field, sum 1, without the frames' shifts"),
    "wavefront": ("rad", "coefficients of Karhunen-Loeve modes: patch, frame, mode"),
    "chi2": ("", "mean squared residuals over the noise's variance: patch, frame"),
    "residual_power": ("", "of the residuals over the noise's: patch, band up to Nyquist's frequency"),
    "gain": ("", "of each frame's light: patch, frame"),
    "shifts": ("pixel", "by which frames were moved, y and x: patch, frame"),
    "sigma": ("", "of the noise of each frame, in the unit of the frames"),
}
_STOKES = {
    "stokes": ("", "Stokes images, intensity first, in the unit of the frames"),
    "stokes_error": ("", "their standard errors, on the frequencies that the telescope passes"),
}
_OPTIONAL = {
    **_STOKES,
    "narrowband": ("", "what the narrowband camera shows, in the unit of its frames"),
    "narrowband_error": ("", "its standard error, on the frequencies that the telescope passes"),
    "narrowband_frame": ("", "the narrowband frame of highest contrast, before"),
}
"""Of modulated frames, and of a narrowband camera."""
_WHOLE = ("shifts",)


def write_restoration(path: str | os.PathLike[str], restoration: Restoration, *, overwrite: bool = False) -> None:
    """Write a restored burst, whole or not at all.

    Args:
        path: `.fits` or `.fits.gz`.
        restoration: what was found; its provenance goes to the table `PROVENANCE`.
        overwrite: replace a file that is there.

    Raises:
        OutputError: the file exists, or cannot be written.
    """
    from astropy.io import fits

    primary = fits.PrimaryHDU(np.asarray(restoration.object, np.float32))
    primary.header.update(
        {
            "EXTNAME": "OBJECT",
            **detector_cards(restoration.object.shape, restoration.pixel_scale, restoration.wavelength),
            "PATCH": (restoration.patch, "pixels across a patch"),
            "CREATOR": f"jaxinv {restoration.provenance.get('version', '')}".strip(),
        }
    )
    primary.header.update(restoration.header)
    hdus: list[Any] = [primary]
    for name, (unit, comment) in {**_IMAGES, **_OPTIONAL}.items():
        if name in _OPTIONAL and getattr(restoration, name) is None:
            continue
        values = np.asarray(getattr(restoration, name))
        hdu = fits.ImageHDU(values.astype(np.int32 if name in _WHOLE else np.float32), name=name.upper())
        hdu.header["COMMENT"] = comment
        if name in _STOKES and len(values) == 4:  # 1, 2, 3, 4: I, Q, U, V
            hdu.header.update({"CTYPE3": "STOKES", "CRPIX3": 1.0, "CRVAL3": 1.0, "CDELT3": 1.0})
        if name == "narrowband":
            hdu.header.update({"WAVELNTH": restoration.narrowband_wavelength, "WAVEUNIT": "Angstrom"})
        if unit:
            hdu.header["BUNIT"] = unit
        hdus.append(hdu)
    corners = np.asarray(restoration.corners)
    columns = {
        "x": ("J", "pixel", corners[:, 1]),
        "y": ("J", "pixel", corners[:, 0]),
        "r0": ("D", "m", restoration.r0),
        "relative_error": ("D", None, restoration.relative_error),
        "status": ("I", None, restoration.status),
    }
    table = fits.BinTableHDU.from_columns(
        [fits.Column(name, kind, unit=unit, array=values) for name, (kind, unit, values) in columns.items()],
        name="PATCHES",
    )
    table.header["COMMENT"] = "x and y: first pixel of a patch, from 0"
    table.header["COMMENT"] = "relative_error: rms error of the object over its rms contrast"
    for code in PatchStatus:
        table.header[f"STATUS{int(code)}"] = f"{code.name}: {code.message}"
    hdus += [table, provenance_table(restoration.provenance)]
    write_fits(path, fits.HDUList(hdus), overwrite=overwrite)


def read_restoration(path: str | os.PathLike[str]) -> Restoration:
    """A restored burst that `write_restoration` wrote.

    Raises:
        InputError: the file is missing, damaged, or something else.
    """
    with open_fits(path) as hdus:
        missing = [name.upper() for name in (*_IMAGES, "patches") if name.upper() not in hdus]
        if missing or hdus[0].header.get("NAXIS", 0) != 2:
            raise InputError(f"{path} is no restored burst: it has no part {', '.join(missing) or 'OBJECT'}")
        first, table = hdus[0], hdus["PATCHES"].data
        names = [*_IMAGES, *(name for name in _OPTIONAL if name.upper() in hdus)]
        arrays = {name: native(image_of(path, hdus[name.upper()])) for name in names}
        return Restoration(
            object=native(image_of(path, first)),
            corners=np.stack([np.asarray(table["y"], int), np.asarray(table["x"], int)], axis=1),
            patch=int(number_of(path, first.header, "PATCH", 0)),
            r0=np.asarray(table["r0"], float),
            relative_error=np.asarray(table["relative_error"], float),
            status=np.asarray(table["status"], np.int16),
            wavelength=number_of(path, first.header, "WAVELNTH", 0.0),
            narrowband_wavelength=_narrowband_wavelength(path, hdus),
            pixel_scale=number_of(path, first.header, "CDELT1", 0.0),
            header={key: first.header[key] for key in ORIGIN if key in first.header},
            provenance=read_provenance(hdus),
            **arrays,
        )


def _narrowband_wavelength(path: str | os.PathLike[str], hdus: Any) -> float | None:
    return number_of(path, hdus["NARROWBAND"].header, "WAVELNTH", 0.0) if "NARROWBAND" in hdus else None
