"""Maps of a solution as FITS: an image for each parameter and each standard error, with units and world coordinates."""

from __future__ import annotations

import os

import numpy as np

from jaxinv.io.errors import InputError
from jaxinv.io.fits import open_fits
from jaxinv.io.images import Images, kept_cards, read_image, read_provenance, unit_of
from jaxinv.results.solution import Route, Solution, SolutionMap, Status
from jaxinv.results.units import degrees_in, shown_unit


def write_maps(path: str | os.PathLike[str], maps: SolutionMap, *, overwrite: bool = False) -> None:
    """Write a solution.

    Extensions: one image for each parameter (`EXTNAME` its name in capitals, `BUNIT`, angles in degrees, the input's
    world coordinates); its standard error (`..._ERR`); `CHI2`; `STATUS` and, of a network's answers, `ROUTE` (their
    codes stand in the headers); `ITERATIONS`, `STARTS`; where there is one, `COVARIANCE`, `(n, n, ny, nx)` with labels
    and units in the header; the table `PROVENANCE`.

    Raises:
        OutputError: the file exists, or cannot be written; nothing half-written is left.
    """
    solution = maps.solution
    images = Images(maps.header, maps.provenance)
    for name, values in solution.parameters.items():
        unit = maps.units.get(name, "")
        images.add(name.upper(), values, unit)
        if name in solution.standard_error:
            images.add(f"{name.upper()}_ERR", solution.standard_error[name], unit, "one standard deviation")
    images.add(
        "CHI2", solution.chi2, comment="sum of squared whitened residuals divided by the number of valid samples"
    )
    images.add_codes("STATUS", solution.status, Status)
    if maps.route is not None:
        images.add_codes("ROUTE", maps.route, Route)
    images.add("ITERATIONS", solution.iterations.astype(np.int32), comment="model evaluations over all starts")
    images.add("STARTS", solution.starts.astype(np.int16), comment="starting points used")
    if solution.has_matrix:
        _add_covariance(images, maps)
    images.write(path, overwrite=overwrite)


def _add_covariance(images: Images, maps: SolutionMap) -> None:
    solution = maps.solution
    units = [maps.units.get(label.partition("[")[0], "") for label in solution.labels]
    factor = np.array([degrees_in(unit) for unit in units])
    covariance = solution.covariance * (factor[:, None] * factor).astype(solution.covariance.dtype)
    header = images.add("COVARIANCE", covariance, comment="of PAR1, PAR2, ... in their units UNIT1, UNIT2, ...")
    for index, (label, unit) in enumerate(zip(solution.labels, units, strict=True), 1):
        header[f"PAR{index}"] = label
        header[f"UNIT{index}"] = shown_unit(unit)


def read_maps(path: str | os.PathLike[str]) -> SolutionMap:
    """Read what `write_maps` wrote; angles in degrees (BUNIT = 'deg') or radians become radians.

    Raises:
        InputError: the file is missing, truncated, or not such a file.
    """
    with open_fits(path) as hdus:
        names = [hdu.name for hdu in hdus]
        missing = [name for name in ("CHI2", "STATUS", "ITERATIONS", "STARTS", "PROVENANCE") if name not in names]
        if missing:
            raise InputError(f"{path} is no file of maps: it lacks the extension {', '.join(missing)}")
        images = {hdu.name: read_image(path, hdu) for hdu in hdus if hdu.name in names[1:-1]}
        parameters, errors, units = {}, {}, {}
        for name in names[1 : names.index("CHI2")]:
            if name.endswith("_ERR"):
                errors[name[:-4].lower()] = images[name]
            else:
                parameters[name.lower()] = images[name]
                units[name.lower()] = unit_of(hdus[name].header)[0]
        labels = list(errors)
        if "COVARIANCE" in images:
            cards = hdus["COVARIANCE"].header
            numbers = range(1, images["COVARIANCE"].shape[-1] + 1)
            labels = [str(cards.get(f"PAR{k}", "")) for k in numbers]
            if not all(labels):
                raise InputError(
                    f"{path}: the covariance lacks the card PAR{labels.index('') + 1}, the name of a parameter"
                )
            factor = np.array([unit_of(cards, f"UNIT{k}")[1] for k in numbers])
            images["COVARIANCE"] /= (factor[:, None] * factor).astype(images["COVARIANCE"].dtype)
        header = kept_cards(hdus["CHI2"].header)
        provenance = read_provenance(hdus)
    solution = Solution(
        parameters=parameters,
        standard_error=errors,
        covariance=images.get("COVARIANCE"),
        labels=tuple(labels),
        chi2=images["CHI2"],
        iterations=images["ITERATIONS"],
        starts=images["STARTS"],
        status=images["STATUS"],
    )
    return SolutionMap(solution, units=units, header=header, provenance=provenance, route=images.get("ROUTE"))
