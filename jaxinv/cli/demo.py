"""`jaxinv demo`: simulate a sunspot region, invert it, and compare with the truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from jaxinv.cli.invert import InvertOptions, invert_into
from jaxinv.cli.job import Running


def demo(
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"], help="the folder")] = Path("jaxinv-demo"),
    size: Annotated[int, Parameter(help="pixels along each side")] = 96,
    seed: Annotated[int, Parameter(help="of the simulation")] = 1,
    quiet: Annotated[bool, Parameter(help="print only the comparison", negative="")] = False,
) -> int:
    """Simulate a sunspot, invert it, compare with the truth.

    Simulate a sunspot region as Hinode/SP would record it (Fe I 6301.5 and 6302.5, the instrument's spectral profile,
    noise of 0.1 % of the continuum), invert it as `jaxinv invert` would, and print how far the result is from the
    truth. Writes the observation, the truth, the maps and pictures of them to a folder.

        jaxinv demo -o somewhere --size 128
    """
    from jaxinv import io, plot
    from jaxinv.pipelines import fitted_profiles, prepare, simulate_observation, sunspot_parameters
    from jaxinv.pipelines.sunspot import HINODE_FWHM

    folder = output
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"cannot make the folder {folder}: {error.strerror}") from None
    running = Running(restart=True, overwrite=True, quiet=quiet)
    truth = sunspot_parameters((size, size), seed=seed)
    cube = simulate_observation(truth, seed=seed)
    observation = folder / "observation.fits"
    io.write_stokes(observation, cube, overwrite=True)
    running.say(f"simulated {observation}")
    # The truth is known to be at rest, in units of the quiet Sun, and exactly of the model's kind.
    options = InvertOptions(psf_fwhm=HINODE_FWHM, wavelength_shift=0.0, continuum=1.0, model_error=0.0)
    maps = invert_into(folder / "maps.fits", folder / "maps.png", [str(observation)], options, running)
    _write_truth(folder / "truth.fits", truth, maps)
    plot.save(plot.comparison(truth, maps), folder / "comparison.png")
    ready = prepare(io.read_stokes(observation), options.pipeline)
    middle, edge = size // 2, int(0.72 * size)
    pixels = {"umbra": (middle, middle), "penumbra": (middle, edge), "quiet Sun": (3, 3)}
    observed, fitted = fitted_profiles(ready, maps, list(pixels.values()))
    figure = plot.profiles(observed, fitted, ready.wavelength, sigma=ready.sigma, titles=list(pixels))
    plot.save(figure, folder / "profiles.png")
    running.say(f"wrote       {folder / 'truth.fits'}, {folder / 'comparison.png'} and {folder / 'profiles.png'}")
    print(_table(truth, maps))
    return 0


def _write_truth(path: Path, truth: dict, maps) -> None:
    """The true maps with the units and world coordinates of the result."""
    from astropy.io import fits

    from jaxinv.io.fits import write_fits
    from jaxinv.results.units import degrees_in, shown_unit

    hdus = fits.HDUList([fits.PrimaryHDU()])
    for name, values in truth.items():
        unit = maps.units[name]
        hdu = fits.ImageHDU((values * degrees_in(unit)).astype("float32"), name=name.upper())
        hdu.header.update({**maps.header, "BUNIT": shown_unit(unit)})
        hdus.append(hdu)
    write_fits(path, hdus, overwrite=True)


def _table(truth: dict, maps) -> str:
    """Errors against the truth where the field is strong, and whether the error bars hold."""
    import numpy as np

    from jaxinv.results.units import degrees_in, shown_unit

    strong = (truth["field_strength"] > 500) & (maps.status <= 1)
    lines = [
        f"against the truth, {int(strong.sum())} pixels with more than 500 G:",
        f"{'parameter':<18}{'median |error|':>16}{'median std. error':>20}{'std of error/std. error':>26}",
    ]
    for name, error in maps.standard_error.items():
        difference = maps.parameters[name] - truth[name]
        if name == "azimuth":
            difference = (difference + np.pi / 2) % np.pi - np.pi / 2
        unit = shown_unit(maps.units[name])
        difference, error = (x * degrees_in(maps.units[name]) for x in (difference, error))
        label = f"{name} [{unit}]" if unit else name
        absolute, expected = np.median(np.abs(difference[strong])), np.median(error[strong])
        scatter = np.std((difference / error)[strong])
        lines.append(f"{label:<26}{absolute:>8.4g}{expected:>20.4g}{scatter:>26.2f}")
    return "\n".join(lines)
