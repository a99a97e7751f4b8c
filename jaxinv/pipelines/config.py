"""The options of every command, as typed dataclasses: one statement gives the YAML keys, the flags and their help.

Imports nothing heavy: `jaxinv --help` reads only this.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from jaxinv.pipelines.options import settle


def option(default: Any, text: str, metavar: str | None = None) -> Any:
    """A dataclass field with a default, its help text, and how its value is called there."""
    metadata = {"help": text, "metavar": metavar}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=lambda: dict(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class InvertConfig:
    """Options of `invert`: which lines, which data, which noise, which instrument, how hard to try."""

    methods: ClassVar[tuple[str, ...]] = ("lm", "learned")

    lines: tuple[str, ...] = option((), "lines to invert, e.g. 'Fe I 6302.5'; default: all known ones that are covered")
    wavelength_range: tuple[float, ...] = option((), "first and last wavelength to use [angstrom]; default: all")
    exclude: tuple[tuple[float, float], ...] = option((), "wavelength ranges to leave out, pairs [angstrom]")
    telluric: bool = option(False, "leave out the known telluric lines (observations from the ground)")
    region: tuple[int, ...] = option((), "part of the map: x0 x1 y0 y1 in pixels, the ends excluded")
    continuum: float | None = option(None, "continuum intensity that becomes 1, in the file's unit; default: measured")
    sigma: tuple[float, ...] = option(
        (), "noise of I, Q, U, V (or one number) in units of the continuum; default: measured"
    )
    weights: tuple[float, ...] = option((1.0, 1.0, 1.0, 1.0), "weights of I, Q, U, V: sigma is divided by them")
    model_error: float = option(
        5e-3,
        "how well the model can describe Stokes I, in units of the continuum; joins sigma in quadrature if measured",
    )
    wavelength_shift: float | None = option(
        None, "added to the file's wavelengths [angstrom]; default: what brings the mean line cores to rest"
    )
    psf_fwhm: float | None = option(None, "full width at half maximum of a Gaussian spectral profile [angstrom]")
    mu: float = option(1.0, "cosine of the heliocentric angle")
    stray_light: bool = option(False, "infer a filling factor; the rest is the map's mean intensity profile")
    macroturbulence: bool = option(False, "infer a macroturbulent velocity")
    relative_strengths: tuple[float, ...] = option(
        (), "opacity of each line relative to the first; default: ratio of gf"
    )
    effective_triplet: bool = option(False, "Zeeman triplets with the effective Lande factor (quicker, less exact)")
    fixed: Mapping[str, float] = option({}, "parameters to hold at a value, e.g. damping: 0.2; angles in degrees")
    bounds: Mapping[str, tuple[float, float]] = option({}, "lowest and highest value of a parameter; angles in degrees")
    method: str = option("lm", "lm, or learned: a shipped or own network whose answers are checked")
    adapt: int | None = option(
        None,
        "steps by which the network is trained on with the map itself; default: 1 for 10^4 pixels, 0 below 5 10^5",
    )
    starts: int = option(4, "starting points to try, at most, for each pixel")
    max_iterations: int = option(150, "iterations at most from each starting point")
    covariance: bool = option(False, "keep the covariance of each pixel's parameters, not only standard errors")
    chunk_size: int = option(0, "pixels fitted and saved together; 0: chosen for the device")
    seed: int = option(0, "of the random starting points")

    def __post_init__(self) -> None:
        settle(self)
        check = [
            (len(self.wavelength_range) in (0, 2), "wavelength_range", "two wavelengths"),
            (len(self.region) in (0, 4), "region", "x0 x1 y0 y1"),
            (len(self.sigma) in (0, 1, 4), "sigma", "one number or four"),
            (all(value > 0 for value in self.sigma), "sigma", "numbers above 0"),
            (len(self.weights) == 4 and all(w >= 0 for w in self.weights), "weights", "four numbers, none below 0"),
            (any(self.weights), "weights", "at least one weight above 0"),
            (self.continuum is None or self.continuum > 0, "continuum", "a number above 0"),
            (self.model_error >= 0, "model_error", "a number that is not negative"),
            (self.psf_fwhm is None or self.psf_fwhm > 0, "psf_fwhm", "a number above 0 [angstrom]"),
            (0 < self.mu <= 1, "mu", "a number within (0, 1]"),
            (self.method in self.methods, "method", f"one of {', '.join(self.methods)}"),
            (self.adapt is None or self.adapt >= 0, "adapt", "0 or more"),
            (self.starts >= 1, "starts", "1 or more"),
            (self.max_iterations >= 1, "max_iterations", "1 or more"),
            (self.chunk_size >= 0, "chunk_size", "0 or more"),
            (0 <= self.seed < 2**63, "seed", "a whole number from 0 to 2^63 - 1"),
            (all(s > 0 for s in self.relative_strengths), "relative_strengths", "numbers above 0"),
            (all(low < high for low, high in self.exclude), "exclude", "pairs with the lower wavelength first"),
            (all(low < high for low, high in self.bounds.values()), "bounds", "the lower value first"),
        ]
        for ok, name, expected in check:
            if not ok:
                raise ValueError(f"the option {name!r} takes {expected}; found {getattr(self, name)!r}")


@dataclasses.dataclass(frozen=True)
class SampleConfig(InvertConfig):
    """Options of `sample`: those of the inversion that finds the modes, and how the posteriors are drawn from."""

    methods: ClassVar[tuple[str, ...]] = ("hmc", "nuts", "laplace", "svi", "importance")

    method: str = option("hmc", "hmc, nuts, laplace, svi or importance, which corrects laplace by weights")
    chains: int = option(4, "Markov chains for each pixel (nuts, hmc)")
    warmup: int = option(400, "steps of each chain in which the sampler adapts; not kept (nuts, hmc)")
    draws: int = option(1000, "draws of each chain; in all where the method has no chains: four times as many")
    target_accept: float = option(0.9, "acceptance probability that step sizes adapt to (nuts, hmc)")
    max_doublings: int = option(4, "how often a pixel whose chains disagree goes on for twice as long (nuts, hmc)")
    thin: int = option(1, "keep every so-many-th draw in the store of draws")
    memory: float = option(1.0, "draws held in memory at a time [GiB]")

    def __post_init__(self) -> None:
        super().__post_init__()
        check = [
            (self.chains >= 1, "chains", "1 or more"),
            (self.warmup >= 20, "warmup", "20 or more"),
            (self.draws >= 25, "draws", "25 or more"),
            (0 < self.target_accept < 1, "target_accept", "a number between 0 and 1"),
            (self.max_doublings >= 0, "max_doublings", "0 or more"),
            (1 <= self.thin <= self.draws, "thin", "1 or more, at most `draws`"),
            (self.memory > 0, "memory", "a number above 0 [GiB]"),
        ]
        for ok, name, expected in check:
            if not ok:
                raise ValueError(f"the option {name!r} takes {expected}; found {getattr(self, name)!r}")


@dataclasses.dataclass(frozen=True)
class SynthesizeConfig:
    """Options of `synthesize`: which lines at which wavelengths, through which instrument, with how much noise."""

    lines: tuple[str, ...] = option(("Fe I 6301.5", "Fe I 6302.5"), "lines, e.g. 'Fe I 6302.5'")
    wavelength: tuple[float, ...] = option(
        (6300.8921, 6303.2675, 112.0), "first, last [angstrom] and number of samples"
    )
    parameters: Mapping[str, float] = option(
        {}, "values of parameters that no map gives, e.g. field_strength=1500; angles in degrees"
    )
    mu: float = option(1.0, "cosine of the heliocentric angle")
    psf_fwhm: float | None = option(None, "full width at half maximum of a Gaussian spectral profile [angstrom]")
    noise: float = option(0.0, "standard deviation of the noise that is added, in units of the continuum")
    seed: int = option(0, "of the noise")
    relative_strengths: tuple[float, ...] = option(
        (), "opacity of each line relative to the first; default: ratio of gf"
    )
    effective_triplet: bool = option(False, "Zeeman triplets with the effective Lande factor (quicker, less exact)")

    def __post_init__(self) -> None:
        settle(self)
        n = self.wavelength[2] if len(self.wavelength) == 3 else 0
        check = [
            (len(self.wavelength) == 3 and self.wavelength[0] < self.wavelength[1], "wavelength", "first last number"),
            (n >= 2 and n == int(n), "wavelength", "a whole number of samples, 2 or more"),
            (0 < self.mu <= 1, "mu", "a number within (0, 1]"),
            (self.psf_fwhm is None or self.psf_fwhm > 0, "psf_fwhm", "a number above 0 [angstrom]"),
            (self.noise >= 0, "noise", "a number that is not negative"),
        ]
        for ok, name, expected in check:
            if not ok:
                raise ValueError(f"the option {name!r} takes {expected}; found {getattr(self, name)!r}")


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Options of `train`: which network, for which lines and wavelengths, noise and parameters, and how long."""

    methods: ClassVar[tuple[str, ...]] = ("learned", "posterior", "surrogate")

    method: str = option("learned", f"what is trained: {', '.join(methods)}")
    lines: tuple[str, ...] = option(("Fe I 6301.5", "Fe I 6302.5"), "lines, e.g. 'Fe I 6302.5'")
    wavelength: tuple[float, ...] = option(
        (6300.8733, 6303.265239, 112.0), "first, last [angstrom] and number of samples (default: Hinode/SP)"
    )
    sigma: tuple[float, ...] = option(
        (5e-3, 1e-3, 1e-3, 1e-3), "nominal noise of I, Q, U, V (or one number) in units of the continuum"
    )
    noise_range: tuple[float, ...] = option((0.3, 3.0), "smallest and largest factor on sigma that is trained for")
    wavelength_offset: float = option(
        0.05, "spectra may be displaced on the wavelength grid by this much to either side [angstrom]; 0: not at all"
    )
    psf_fwhm: float | None = option(None, "full width at half maximum of a Gaussian spectral profile [angstrom]")
    mu: float = option(1.0, "cosine of the heliocentric angle")
    macroturbulence: bool = option(False, "infer a macroturbulent velocity")
    relative_strengths: tuple[float, ...] = option(
        (), "opacity of each line relative to the first; default: ratio of gf"
    )
    effective_triplet: bool = option(False, "Zeeman triplets with the effective Lande factor (quicker, less exact)")
    fixed: Mapping[str, float] = option({}, "parameters to hold at a value, e.g. damping: 0.2; angles in degrees")
    bounds: Mapping[str, tuple[float, float]] = option({}, "lowest and highest value of a parameter; angles in degrees")
    drawn: Mapping[str, tuple[float, float]] = option(
        {},
        "range that a parameter of the training spectra is drawn from evenly, where it is not all of its bounds; "
        "angles in degrees",
    )
    drawn_log: Mapping[str, tuple[float, float]] = option({}, "the same, evenly in the parameter's logarithm")
    network: Mapping[str, Any] = option(
        {}, "settings of the network, e.g. width: 96 (see PointEstimate, NormalizingFlow, Emulator)"
    )
    training: Mapping[str, Any] = option({}, "settings of the training, e.g. steps: 20000 (see Training)")
    loop: Mapping[str, Any] = option({}, "settings of the learned steps, e.g. steps: 3 (see LearnedSteps)")
    loop_training: Mapping[str, Any] = option({}, "settings of the training of the steps (see Training)")
    n_report: int = option(4096, "fresh simulated spectra that the report is made from")
    seed: int = option(0, "of everything that is drawn")

    def __post_init__(self) -> None:
        settle(self)
        n = self.wavelength[2] if len(self.wavelength) == 3 else 0
        ranges = (*self.bounds.items(), *self.drawn.items(), *self.drawn_log.items())
        check = [
            (self.method in self.methods, "method", f"one of {', '.join(self.methods)}"),
            (len(self.wavelength) == 3 and self.wavelength[0] < self.wavelength[1], "wavelength", "first last number"),
            (n >= 2 and n == int(n), "wavelength", "a whole number of samples, 2 or more"),
            (len(self.sigma) in (1, 4) and all(s > 0 for s in self.sigma), "sigma", "one number or four, above 0"),
            (
                len(self.noise_range) == 2 and 0 < self.noise_range[0] <= self.noise_range[1],
                "noise_range",
                "two numbers above 0, the lower first",
            ),
            (self.wavelength_offset >= 0, "wavelength_offset", "a number that is not negative [angstrom]"),
            (self.psf_fwhm is None or self.psf_fwhm > 0, "psf_fwhm", "a number above 0 [angstrom]"),
            (0 < self.mu <= 1, "mu", "a number within (0, 1]"),
            (all(low < high for _, (low, high) in ranges), "bounds or drawn", "the lower value first"),
            (all(low > 0 for low, _ in self.drawn_log.values()), "drawn_log", "values above 0"),
            (self.n_report >= 100, "n_report", "100 or more"),
            (0 <= self.seed < 2**63, "seed", "a whole number from 0 to 2^63 - 1"),
        ]
        for ok, name, expected in check:
            if not ok:
                found = getattr(self, name, "another order")
                raise ValueError(f"the option {name!r} takes {expected}; found {found!r}")


@dataclasses.dataclass(frozen=True)
class SimulateBurstConfig:
    """Options of `simulate-burst`: which telescope, which turbulence, which exposures, how much noise.

    Lengths, wavelengths and angles are numbers in the unit named, or texts with a unit: "10 cm", "854.2 nm".
    """

    telescope: str = option("SST", "a known telescope: SST, GREGOR, DKIST, Sunrise, NOT, VTT, VLT")
    diameter: str | None = option(None, "of another telescope, in place of a known one [m]")
    obscuration: str = option("0", "diameter of its central obscuration [m]")
    wavelength: str = option("6173", "[angstrom]")
    pixel_scale: str = option("0.059", "of the camera [arcsec]")
    defocus: float = option(0.0, "known defocus, centre to edge of the pupil [waves]; above 0: before the focus")
    r0: str | None = option(None, "Fried's parameter at this wavelength [m]; default: 0.1")
    d_over_r0: float | None = option(None, "telescope's diameter over r0, in place of r0")
    outer_scale: str | None = option(None, "of the turbulence [m]; default: infinite")
    layers: tuple[tuple[float, float, float, float], ...] = option(
        (),
        "layers of turbulence: height [m], share, wind along x and y [m/s]; default: one on the ground, 10 m/s along x",
        "HEIGHT:SHARE:VX:VY",
    )
    corrected: int = option(0, "Zernike modes that are taken off the wavefront on the axis; 2: a tip-tilt tracker")
    left: float = option(0.0, "the fraction of them that remains")
    jitter: str = option("0", "rms of the pointing within an exposure [arcsec]")
    integrate: bool = option(False, "pixels integrate over their area, in place of sampling")
    frames: int = option(12, "exposures")
    interval: float | None = option(None, "from one to the next [s], while the wind blows; default: independent ones")
    exposure: float = option(0.0, "of each [s]; 0: frozen")
    n_pixels: int = option(128, "of a frame in each direction, the middle of the object")
    psf_pixels: int | None = option(None, "on which PSFs are computed; default: 6 lambda/r0, at most 512")
    nodes: int = option(1, "PSFs over the object in each direction, for layers at heights; 1: the axis's for all of it")
    object_scale: str | None = option(None, "pixels of the object's image [arcsec]; default: as the camera's")
    noise: float = option(0.005, "rms of Gaussian noise relative to the object's mean; not used with photons")
    photons: float | None = option(None, "detected in a pixel of the object's mean, or of a star of flux 1")
    read_noise: float = option(0.0, "rms [electrons], with photons")
    dark: float = option(0.0, "[electrons], with photons; taken off again")
    saturation: float | None = option(None, "full well of a pixel [electrons], with photons")
    modes: int = option(104, "in which the true wavefronts are written, too")
    basis: str = option("karhunen-loeve", "of these modes: karhunen-loeve or zernike")
    seed: int = option(0, "of everything that is drawn")

    def __post_init__(self) -> None:
        settle(self)
        check = [
            (self.r0 is None or self.d_over_r0 is None, "d_over_r0", "a number where r0 is not given: one of the two"),
            (self.d_over_r0 is None or self.d_over_r0 > 0, "d_over_r0", "a number above 0"),
            (
                self.diameter is not None or self.obscuration == "0",
                "obscuration",
                "a number where diameter is given: a known telescope has its own",
            ),
            (self.corrected >= 0, "corrected", "0 or more"),
            (self.corrected > 0 or not self.left, "left", "a fraction where modes are corrected"),
            (0 <= self.left <= 1, "left", "a fraction from 0 to 1"),
            (self.frames >= 1, "frames", "1 or more"),
            (self.interval is None or self.interval > 0, "interval", "a number of seconds above 0"),
            (self.exposure >= 0, "exposure", "a number of seconds from 0"),
            (self.n_pixels >= 16, "n_pixels", "16 or more"),
            (self.psf_pixels is None or self.psf_pixels >= 16, "psf_pixels", "16 or more"),
            (self.nodes >= 1, "nodes", "1 or more"),
            (self.noise >= 0, "noise", "a number from 0"),
            (self.photons is None or self.photons > 0, "photons", "a number above 0"),
            (self.read_noise >= 0, "read_noise", "a number from 0 [electrons]"),
            (self.dark >= 0, "dark", "a number from 0 [electrons]"),
            (self.saturation is None or self.saturation > 0, "saturation", "a number above 0 [electrons]"),
            (
                self.photons is not None or not (self.read_noise or self.dark or self.saturation),
                "photons",
                "a number, with which read_noise, dark and saturation are electrons",
            ),
            (self.modes >= 1, "modes", "1 or more"),
            (self.basis in ("karhunen-loeve", "zernike"), "basis", "karhunen-loeve or zernike"),
            (0 <= self.seed < 2**63, "seed", "a whole number from 0 to 2^63 - 1"),
        ]
        for ok, name, expected in check:
            if not ok:
                raise ValueError(f"the option {name!r} takes {expected}; found {getattr(self, name)!r}")
