"""Make the figures of the documentation: `python docs/figures/make.py [conventions demo hinode crisp corner ...]`.

The figures of the real observation need the reference data (see CONTRIBUTING.md).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import jax
import numpy as np

import jaxinv as ji
from jaxinv import optics, plot, spectra
from jaxinv.pipelines import InvertConfig, fitted_profiles, prepare, simulate_observation, sunspot_parameters
from jaxinv.pipelines.sunspot import HINODE_FWHM
from jaxinv.plot.style import new_figure

HERE = Path(__file__).parent
REFERENCE = Path(os.environ.get("JAXINV_REFERENCE_DATA") or HERE.parents[2] / "shared" / "data")
BASE = {
    "field_strength": 2000.0, "inclination": 0.0, "azimuth": 0.0, "velocity": 0.0, "doppler_width": 0.03,
    "line_strength": 8.0, "damping": 0.2, "source_constant": 0.3, "source_slope": 0.7,
}  # fmt: skip
COLOURS = ("#0072b2", "#d55e00", "#009e73")


def conventions() -> None:
    """One panel for each sign."""
    wavelength = np.linspace(6301.9, 6303.1, 400)
    model = spectra.MilneEddington(["Fe I 6302.5"], wavelength)
    across, none = {"inclination": np.pi / 2}, {"field_strength": 0.0}

    def turned(*degrees: int) -> list[tuple[str, dict]]:
        return [(f"azimuth {d}°", {**across, "azimuth": np.radians(d)}) for d in degrees]

    velocities = [(f"{v:+d} km/s" if v else "0", {**none, "velocity": float(v)}) for v in (-4, 0, 4)]
    offsets = [(f"{o:+.1f} Å", {**none, "wavelength_offset": o}) for o in (-0.1, 0.1)]
    sources = [
        ("S0 = 0.3, S1 = 0.7", none),
        ("S0 = 0.5, S1 = 0.5", {**none, "source_constant": 0.5, "source_slope": 0.5}),
    ]
    directions = [("to the observer, inclination 0°", {}), ("away, 180°", {"inclination": np.pi})]
    panels = [
        ("Stokes V: the field points ...", 3, directions),
        ("Stokes Q: transverse field", 1, turned(0, 45, 90)),
        ("Stokes U: transverse field", 2, turned(0, 45, 135)),
        ("Stokes I: velocity", 0, velocities),
        ("Stokes I: wavelength offset", 0, offsets),
        ("Stokes I: source function", 0, sources),
    ]
    figure = new_figure(12.0, 6.4)
    for axis, (title, stokes, curves) in zip(figure.subplots(2, 3).ravel(), panels, strict=True):
        for (label, changes), colour in zip(curves, COLOURS, strict=False):
            axis.plot(wavelength - 6302.4931, 100 * model({**BASE, **changes})[stokes], color=colour, label=label)
        axis.set_title(title, fontsize=10)
        axis.axvline(0, color="0.8", lw=0.8, zorder=0)
        axis.set_xlabel("distance from 6302.4931 Å [Å]", fontsize=9)
        axis.set_ylabel("% of the continuum", fontsize=9)
        low, high = axis.get_ylim()
        axis.set_ylim(low - 0.3 * (high - low), high)
        axis.legend(fontsize=8, frameon=False, loc="lower center", ncols=len(curves), columnspacing=1, handlelength=1.2)
    plot.save(figure, HERE / "conventions.png")


def demo() -> None:
    """What `jaxinv demo` shows, at twice its size."""
    truth = sunspot_parameters((160, 160), seed=1)
    config = InvertConfig(psf_fwhm=HINODE_FWHM, wavelength_shift=0.0, continuum=1.0, model_error=0.0)
    maps = ji.invert(simulate_observation(truth, seed=1), config)
    plot.save(plot.maps(maps, ["field_strength", "inclination", "azimuth", "velocity"]), HERE / "demo.png")


def hinode() -> None:
    """A slit of Hinode/SP and three fits: a strong field, a fast flow, a typical pixel."""
    cube = ji.io.read_stokes(REFERENCE / "spectra/hinode/SP4D20070227_002010.0C.fits")
    config = InvertConfig(sigma=(5e-3, 1e-3, 1e-3, 1e-3))
    maps = ji.invert(cube, config)
    plot.save(plot.quicklook(maps), HERE / "hinode_slit.png")
    ready = prepare(cube, config)
    along = maps.parameters["field_strength"][:, 0] * np.abs(np.cos(maps.parameters["inclination"][:, 0]))
    fits = np.where(maps.chi2[:, 0] < np.percentile(maps.chi2, 75), 1.0, 0.0)
    typical = int(np.argsort(maps.chi2[:, 0])[512])
    chosen = [int(np.argmax(along)), int(np.argmax(along * fits)), typical]
    observed, fitted = fitted_profiles(ready, maps, [(y, 0) for y in chosen])
    titles = [f"y = {y}, {maps.parameters['field_strength'][y, 0]:.0f} G\nmisfit {maps.chi2[y, 0]:.1f}" for y in chosen]
    figure = plot.profiles(observed, fitted, ready.wavelength, sigma=ready.sigma, titles=titles)
    plot.save(figure, HERE / "hinode_fits.png")
    print("median chi2", np.median(maps.chi2), maps.count(), "shown", chosen)


def crisp() -> None:
    """A simulated spot at the wavelengths of a real CRISP observation, each pixel shifted by its cavity map."""
    name = REFERENCE / "spectra/crisp/crisp.6301_6302.2019-05-10"
    wavelength = ji.io.read_wavelengths(f"{name}_wave.fits", reference=6302.4931)
    cavity = ji.io.read_map(f"{name}_cmap.fits").astype(np.float32)
    truth = sunspot_parameters(cavity.shape, seed=3)
    model = spectra.MilneEddington(["Fe I 6301.5", "Fe I 6302.5"], wavelength)
    cube = simulate_observation({**truth, "wavelength_offset": cavity}, model, wavelength)
    maps = ji.invert(cube, wavelength_shift=0.0, wavelength_offset=cavity)
    plot.save(plot.quicklook(maps), HERE / "crisp.png")
    strong = (truth["field_strength"] > 500) & (maps.status <= 1)
    for name in ("velocity", "field_strength", "inclination"):
        away = np.abs(maps.parameters[name] - truth[name])[strong]
        print(name, "median error", np.median(away), maps.units[name])


def corner() -> None:
    """The posterior of a weak field beside Levenberg-Marquardt's ellipses."""
    model = spectra.MilneEddington(["Fe I 6301.5", "Fe I 6302.5"], np.linspace(6300.9, 6303.3, 112))
    problem = ji.Problem(model, ji.noise.Gaussian(1e-3), spectra.milne_eddington_prior())
    truth = {
        "field_strength": 50.0, "inclination": np.radians(70.0), "azimuth": np.radians(125.0), "velocity": -2.0,
        "doppler_width": 0.027, "line_strength": 18.0, "damping": 0.4, "source_constant": 0.35, "source_slope": 0.8,
    }  # fmt: skip
    clean = problem.predict(truth)
    data = clean + 1e-3 * jax.random.normal(jax.random.key(0), clean.shape)
    fit = ji.fit(problem, data)
    posterior = ji.draw(problem, data, key=jax.random.key(1), initial=fit)
    shown = ["field_strength", "inclination", "azimuth", "velocity", "line_strength"]
    plot.save(plot.corner(posterior, shown, fit=fit, truth=truth), HERE / "corner.png")
    low, middle, high = (posterior.quantile(q) for q in (0.16, 0.5, 0.84))
    for name, unit in (("field_strength", 1.0), ("inclination", 180 / np.pi), ("azimuth", 180 / np.pi)):
        error = fit.standard_error[name] * unit
        print(name, "fit", fit.parameters[name] * unit, "+-", error, end="; ")
        print("posterior", *(unit * x[name] for x in (low, middle, high)))


def optics_conventions() -> None:
    """What each sign does: phases on the pupil, and the images that they make."""
    telescope = optics.Telescope(1.0, 0.3)
    model = optics.PointSpread(telescope, 8542.0, 0.059, 128, optics.Zernike(10))
    closed = model.pupil.amplitude == 0
    one = {"Z2, a > 0": (0, 6.0), "Z3, a > 0": (1, 6.0), "Z8, a > 0": (6, 2.0)}
    figure = new_figure(13.0, 5.6)
    axes = figure.subplots(2, 5)

    def phase(axis, values, title: str) -> None:
        axis.imshow(np.where(closed, np.nan, values), origin="lower", cmap="RdBu_r", vmin=-12, vmax=12)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("x of the pupil")
        axis.set_ylabel("y of the pupil")

    def image(axis, psf, title: str) -> None:
        shown = np.asarray(psf)[34:95, 34:95]
        half = 30.5 * 0.059
        axis.imshow(shown**0.4, origin="lower", cmap="magma", extent=(-half, half, -half, half))
        axis.axhline(0, color="0.6", lw=0.5)
        axis.axvline(0, color="0.6", lw=0.5)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("x [arcsec]")
        axis.set_ylabel("y [arcsec]")

    said = ("the image moves to +x", "the image moves to +y", "coma: the tail to +x")
    for k, ((title, (mode, size)), what) in enumerate(zip(one.items(), said, strict=True)):
        a = np.zeros(10)
        a[mode] = size
        phase(axes[0, k], model.phase({"wavefront": a}), title)
        image(axes[1, k], model({"wavefront": a}), what)
    out = optics.PointSpread(telescope, 8542.0, 0.059, 128, optics.Zernike(10), defocus=3.0)
    phase(axes[0, 3], out.known, "defocus of 3 waves")
    lit = np.asarray(out.pupil.amplitude).copy()
    lit[:, : lit.shape[1] // 2] = 0
    image(
        axes[1, 3],
        optics.propagation.point_spread(lit, out.known, 128),
        "light of the pupil's right half:\nbefore the focus",
    )
    windy = optics.Atmosphere(0.15, 10.0, (optics.Layer(0.0, 1.0, (10.0, 0.0)),))
    screens = windy.draw(jax.random.key(2), model.pupil)
    for axis, time in ((axes[0, 4], 0.0), (axes[1, 4], 0.03)):
        screen = np.asarray(screens.on(model.pupil, time))
        phase(axis, screen - np.sum(screen * model.pupil.weight), f"wind to +x, t = {1e3 * time:.0f} ms")
    for axis in axes.ravel():
        axis.set_xticks([]) if "pupil" in axis.get_xlabel() else None
        axis.set_yticks([]) if "pupil" in axis.get_ylabel() else None
    plot.save(figure, HERE / "optics_conventions.png")


def modes() -> None:
    """Karhunen-Loeve modes of a disc and of an obscured pupil with vanes."""
    vanes = tuple(optics.Vane(angle, 0.03) for angle in (45.0, 135.0, 225.0, 315.0))
    figure = new_figure(13.0, 4.2)
    axes = figure.subplots(3, 12)
    telescopes = {"disc": optics.Telescope(1.0), "annulus": optics.Telescope(1.0, 0.4)}
    telescopes["spider"] = optics.Telescope(1.0, 0.4, vanes)
    for row, (name, telescope) in enumerate(telescopes.items()):
        pupil = optics.Pupil.across(telescope, 80)
        recipe = optics.KarhunenLoeve(telescope, 36)
        basis = np.where(pupil.amplitude == 0, np.nan, recipe.on(pupil))
        for axis, k in zip(axes[row], (0, 1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 35), strict=True):
            axis.imshow(basis[k], origin="lower", cmap="RdBu_r", vmin=-2.5, vmax=2.5)
            axis.set_title(f"{k}: {recipe.variance[k]:.2g}", fontsize=8)
            axis.set_axis_off()
        axes[row, 0].text(-0.35, 0.5, name, transform=axes[row, 0].transAxes, rotation=90, va="center", fontsize=9)
    plot.save(figure, HERE / "modes.png")


def burst() -> None:
    """What `jaxinv simulate-burst --plot` shows."""
    config = ji.SimulateBurstConfig(wavelength="6173", d_over_r0=7.0, frames=12, seed=4)
    plot.save(plot.burst(ji.pipelines.simulate_frames(ji.pipelines.plan_burst(config))), HERE / "burst.png")


FIGURES = {f.__name__: f for f in (conventions, demo, hinode, crisp, corner, optics_conventions, modes, burst)}

if __name__ == "__main__":
    for name in sys.argv[1:] or FIGURES:
        FIGURES[name]()
