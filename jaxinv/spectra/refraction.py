"""Wavelengths in air and in vacuum: the one formula that readers of files and the table of lines share.

Peck & Reeder 1972 (J. Opt. Soc. Am. 62, 958), as the NIST Atomic Spectra Database, from whose levels the wavelengths of
the lines come: data and lines must use the same air. Birch & Downs 1994 (as in Morton 2000, ApJS 130, 403, eq. 8) is
4 to 5 m/s away; Edlen 1953 (Morton 1991, ApJS 77, 119; the IAU's) 2 m/s at most.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np

Wavelength = TypeVar("Wavelength", float, np.ndarray)


def vacuum_to_air(wavelength: Wavelength) -> Wavelength:
    """Wavelength in standard air (15 C, 1 atm, dry) from that in vacuum [angstrom], 1850 angstrom to 1.7 micron."""
    return wavelength / _refractive_index(wavelength)


def air_to_vacuum(wavelength: Wavelength) -> Wavelength:
    """Wavelength in vacuum from that in standard air [angstrom]; the inverse of `vacuum_to_air` to rounding."""
    vacuum = wavelength
    for _ in range(5):  # gains more than four digits each time
        vacuum = wavelength * _refractive_index(vacuum)
    return vacuum


def _refractive_index(vacuum: Wavelength) -> Wavelength:
    squared = (1e4 / vacuum) ** 2  # wavenumber squared [1/micron^2]
    return 1 + 8060.51e-8 + 2480990e-8 / (132.274 - squared) + 17455.7e-8 / (39.32957 - squared)
