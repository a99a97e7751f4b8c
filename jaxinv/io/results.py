"""Any result that a command wrote, by what its file holds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from jaxinv.io.fits import open_fits
from jaxinv.io.products import read_product
from jaxinv.io.reconstructions import read_reconstruction
from jaxinv.io.restorations import read_restoration
from jaxinv.io.stars import read_star_system


def read_result(path: str | os.PathLike[str]) -> Any:
    """A product on a map, a restored burst (`Restoration`) measured stars (`StarSystem`) or images (`Reconstruction`).

    Raises:
        InputError: the file is missing, damaged, or something else.
    """
    if Path(path).is_file():
        with open_fits(path) as hdus:
            parts = {hdu.name for hdu in hdus}
        if {"PATCHES", "BEST_FRAME"} <= parts:
            return read_restoration(path)
        if {"STARS", "FRAMES"} <= parts:
            return read_star_system(path)
        if {"IMAGES", "RESIDUAL"} <= parts:
            return read_reconstruction(path)
    return read_product(path)
