"""The options of every command: one statement gives the YAML keys, the flags, their help, their ranges.

Imports nothing heavy: `jaxinv invert --help` reads only this.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from jaxinv.pipelines.options import (
    Count,
    Counts,
    NotNegative,
    NotNegatives,
    Number,
    Numbers,
    OptionError,
    Positive,
    Positives,
    Range,
    Seed,
    Text,
    Texts,
    long,
    option,
    options,
)


def _some_weight(value: tuple[float, ...]) -> tuple[float, ...]:
    if not any(value):
        raise ValueError("at least one weight above 0")
    return value


def _depths(value: tuple[float, ...]) -> tuple[float, ...]:
    if len(value) != 3 or value[0] == value[1] or value[2] != int(value[2]) or value[2] < 3:
        raise ValueError("deepest and highest log tau, and a whole number of depths, 3 or more")
    return value


def _nodes(value: Mapping[str, tuple[int, ...]]) -> Mapping[str, tuple[int, ...]]:
    if any(not counts or min(counts) < 1 for counts in value.values()):
        raise ValueError("numbers of nodes, 1 or more")
    return value


def _grid(value: tuple[float, ...]) -> tuple[float, ...]:
    if len(value) != 3 or not value[0] < value[1]:
        raise ValueError("first last number")
    if value[2] < 2 or value[2] != int(value[2]):
        raise ValueError("a whole number of samples, 2 or more")
    return value


def _factors(value: tuple[float, ...]) -> tuple[float, ...]:
    if len(value) != 2 or not 0 < value[0] <= value[1]:
        raise ValueError("two numbers above 0, the lower first")
    return value


def _above_zero(value: Mapping[str, tuple[float, float]]) -> Mapping[str, tuple[float, float]]:
    if any(low <= 0 for low, _ in value.values()):
        raise ValueError("values above 0")
    return value


Sigma = Annotated[Positives, long(0, 1, 4, what="one number or four")]
Weights = Annotated[NotNegatives, long(4, what="four numbers, none below 0"), AfterValidator(_some_weight)]
Grid = Annotated[Numbers, AfterValidator(_grid)]
Depths = Annotated[Numbers, AfterValidator(_depths)]
Steps = Annotated[Count, Field(ge=0)]
Pixels = Annotated[Count, Field(ge=16)]

_USED, _DATA, _NOISE, _INSTRUMENT, _MODEL = "what most observations need", "data", "noise", "instrument", "model"
_METHOD, _SOLVER, _SAMPLER = "method", "solver", "sampler"
_MU = "cosine of the heliocentric angle"
_PSF = "full width at half maximum of a Gaussian spectral profile [angstrom]"
_OPACITY = "opacity of each line relative to the first; default: ratio of gf"
_TRIPLET = "Zeeman triplets with the effective Lande factor (quicker, less exact)"
_FIXED = "parameters to hold at a value, e.g. damping: 0.2; angles in degrees"
_BOUNDS = "lowest and highest value of a parameter; angles in degrees"
_LINES = "lines, e.g. 'Fe I 6302.5'"


@options
class InvertConfig:
    """Options of `invert`: which lines, which data, which noise, which instrument, how hard to try."""

    lines: Texts = option((), "lines to invert, e.g. 'Fe I 6302.5'; default: all known ones that are covered", _USED)
    sigma: Sigma = option((), "noise of I, Q, U, V (or one number) in units of the continuum; default: measured", _USED)
    psf_fwhm: Positive | None = option(None, _PSF, _USED)
    region: Annotated[Counts, long(0, 4, what="x0 x1 y0 y1")] = option(
        (), "part of the map: x0 x1 y0 y1 in pixels, the ends excluded", _USED
    )
    wavelength_range: Annotated[Numbers, long(0, 2, what="two wavelengths")] = option(
        (), "first and last wavelength to use [angstrom]; default: all", _DATA
    )
    exclude: tuple[Range, ...] = option((), "wavelength ranges to leave out, pairs [angstrom]", _DATA)
    telluric: bool = option(False, "leave out the known telluric lines (observations from the ground)", _DATA)
    continuum: Positive | None = option(
        None, "continuum intensity that becomes 1, in the file's unit; default: measured", _DATA
    )
    wavelength_shift: Number | None = option(
        None, "added to the file's wavelengths [angstrom]; default: what brings the mean line cores to rest", _DATA
    )
    weights: Weights = option((1.0, 1.0, 1.0, 1.0), "weights of I, Q, U, V: sigma is divided by them", _NOISE)
    model_error: NotNegative = option(
        5e-3,
        "how well the model can describe Stokes I, in units of the continuum; joins sigma in quadrature if measured",
        _NOISE,
    )
    stray_light: bool = option(
        False, "infer a filling factor; the rest is the map's mean intensity profile", _INSTRUMENT
    )
    macroturbulence: bool = option(False, "infer a macroturbulent velocity", _INSTRUMENT)
    model: Literal["milne-eddington", "lte"] = option(
        "milne-eddington", "the atmosphere: milne-eddington, or lte with depth", _MODEL
    )
    nodes: Annotated[Mapping[str, Counts], AfterValidator(_nodes)] = option(
        {"temperature": (2, 5), "velocity": (1, 2)},
        "lte: nodes of each quantity, one number for each cycle, e.g. temperature=2:5 velocity=1:2; of others one "
        "(default: temperature=2:5 velocity=1:2)",
        _MODEL,
        "NAME=N:N",
    )
    log_tau: Depths = option((1.2, -4.0, 53.0), "lte: deepest and highest log tau, and number of depths", _MODEL)
    atmosphere: Text = option("FAL-C", "lte: standard model that the temperature is inferred relative to", _MODEL)
    abundances: Literal["asplund2009", "thevenin1989"] = option("asplund2009", "lte: table of abundances", _MODEL)
    fixed: Mapping[str, Number] = option({}, _FIXED, _MODEL)
    bounds: Mapping[str, Range] = option({}, _BOUNDS, _MODEL)
    mu: Number = option(1.0, _MU, _MODEL, gt=0, le=1)
    relative_strengths: Positives = option((), _OPACITY, _MODEL)
    effective_triplet: bool = option(False, _TRIPLET, _MODEL)
    method: Literal["lm", "learned"] = option(
        "lm", "lm, or learned: a shipped or own network whose answers are checked", _METHOD
    )
    adapt: Steps | None = option(
        None,
        "steps by which the network is trained on with the map itself; default: 1 for 10^4 pixels, 0 below 5 10^5",
        _METHOD,
    )
    starts: Count = option(4, "starting points to try, at most, for each pixel", _SOLVER, ge=1)
    max_iterations: Count = option(150, "iterations at most from each starting point", _SOLVER, ge=1)
    covariance: bool = option(
        False, "keep the covariance of each pixel's parameters, not only standard errors", _SOLVER
    )
    chunk_size: Count = option(0, "pixels worked on and saved together; 0: chosen for the device", _SOLVER, ge=0)
    seed: Seed = option(0, "of the random starting points", _SOLVER)

    def __post_init__(self) -> None:
        given = [name for name in ("relative_strengths", "effective_triplet") if getattr(self, name)]
        if self.model == "lte" and (given or self.method == "learned"):
            name = given[0] if given else "method"
            raise OptionError(f"the option {name!r} goes with the model milne-eddington; found {self.model}")


@options
class SampleConfig(InvertConfig):
    """Options of `sample`: those of the inversion that finds the modes, and how the posteriors are drawn from."""

    method: Literal["auto", "hmc", "nuts", "laplace", "svi", "importance"] = option(
        "auto",
        "auto (for each pixel the cheapest of importance, a trained density and hmc that passes), hmc, nuts, laplace, "
        "svi or importance, which corrects laplace by weights",
        _SAMPLER,
    )
    chains: Count = option(4, "Markov chains for each pixel (nuts, hmc)", _SAMPLER, ge=1)
    warmup: Count = option(
        400, "steps of each chain in which the sampler adapts; not kept (nuts, hmc)", _SAMPLER, ge=20
    )
    draws: Count = option(
        1000, "draws of each chain; in all where the method has no chains: four times as many", _SAMPLER, ge=25
    )
    target_accept: Number = option(
        0.9, "acceptance probability that step sizes adapt to (nuts, hmc)", _SAMPLER, gt=0, lt=1
    )
    max_doublings: Count = option(
        4, "how often a pixel whose chains disagree goes on for twice as long (nuts, hmc)", _SAMPLER, ge=0
    )
    max_steps: Count = option(12, "leapfrog steps of the longest trajectory (hmc)", _SAMPLER, ge=1)
    max_tree_depth: Count = option(8, "at most 2^depth - 1 leapfrog steps for a draw (nuts)", _SAMPLER, ge=1)
    r_hat: Number = option(1.01, "chains agree where R-hat is below this (nuts, hmc) ...", _SAMPLER, gt=1)
    ess: NotNegative = option(400.0, "... and effective sample sizes are above this (nuts, hmc)", _SAMPLER)
    svi_steps: Count = option(600, "of the optimizer (svi)", _SAMPLER, ge=10)
    svi_particles: Count = option(16, "draws for each estimate of the gradient (svi)", _SAMPLER, ge=1)
    svi_learning_rate: Positive = option(0.02, "at the first step (svi)", _SAMPLER)
    base: Literal["laplace", "svi"] = option("laplace", "what is corrected, laplace or svi (importance)", _SAMPLER)
    degrees: Positive = option(
        10.0, "of freedom of Student's t in place of the normal distribution (importance, auto)", _SAMPLER
    )
    proposals: Count = option(
        4000, "draws of it that are weighed, at least as many as are kept (importance, auto)", _SAMPLER, ge=100
    )
    thin: Count = option(1, "keep every so-many-th draw in the store of draws", _SAMPLER, ge=1)
    memory: Positive = option(1.0, "draws held in memory at a time [GiB]", _SAMPLER)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.thin > self.draws:
            raise OptionError(f"the option 'thin' takes at most `draws`, {self.draws}; found {self.thin}")
        if self.method == "auto" and self.chains * self.draws < 100:
            raise OptionError(
                f"the option 'draws' takes {-(-100 // self.chains)} or more with {self.chains} chains (auto: 100 draws "
                f"or more in all); found {self.draws}"
            )


@options
class SynthesizeConfig:
    """Options of `synthesize`: which lines at which wavelengths, through which instrument, with how much noise."""

    lines: Texts = option(("Fe I 6301.5", "Fe I 6302.5"), _LINES, _MODEL)
    wavelength: Grid = option((6300.8921, 6303.2675, 112.0), "first, last [angstrom] and number of samples", _MODEL)
    parameters: Mapping[str, Number] = option(
        {}, "values of parameters that no map gives, e.g. field_strength=1500; angles in degrees", _MODEL
    )
    mu: Number = option(1.0, _MU, _MODEL, gt=0, le=1)
    relative_strengths: Positives = option((), _OPACITY, _MODEL)
    effective_triplet: bool = option(False, _TRIPLET, _MODEL)
    psf_fwhm: Positive | None = option(None, _PSF, _INSTRUMENT)
    noise: NotNegative = option(
        0.0, "standard deviation of the noise that is added, in units of the continuum", _INSTRUMENT
    )
    seed: Seed = option(0, "of the noise", _INSTRUMENT)


@options
class TrainConfig:
    """Options of `train`: which network, for which lines and wavelengths, noise and parameters, and how long."""

    method: Literal["learned", "posterior", "surrogate"] = option(
        "learned", "what is trained: learned, posterior or surrogate", "what"
    )
    network: Mapping[str, Any] = option(
        {}, "settings of the network, e.g. width: 96 (see PointEstimate, NormalizingFlow, Emulator)", "what"
    )
    training: Mapping[str, Any] = option({}, "settings of the training, e.g. steps: 20000 (see Training)", "what")
    loop: Mapping[str, Any] = option({}, "settings of the learned steps, e.g. steps: 3 (see LearnedSteps)", "what")
    loop_training: Mapping[str, Any] = option({}, "settings of the training of the steps (see Training)", "what")
    n_report: Count = option(4096, "fresh simulated spectra that the report is made from", "what", ge=100)
    seed: Seed = option(0, "of everything that is drawn", "what")
    lines: Texts = option(("Fe I 6301.5", "Fe I 6302.5"), _LINES, _INSTRUMENT)
    wavelength: Grid = option(
        (6300.8733, 6303.265239, 112.0),
        "first, last [angstrom] and number of samples (default: Hinode/SP)",
        _INSTRUMENT,
    )
    wavelength_offset: NotNegative = option(
        0.05,
        "spectra may be displaced on the wavelength grid by this much to either side [angstrom]; 0: not at all",
        _INSTRUMENT,
    )
    psf_fwhm: Positive | None = option(None, _PSF, _INSTRUMENT)
    sigma: Annotated[Positives, long(1, 4, what="one number or four, above 0")] = option(
        (5e-3, 1e-3, 1e-3, 1e-3), "nominal noise of I, Q, U, V (or one number) in units of the continuum", _INSTRUMENT
    )
    noise_range: Annotated[Numbers, AfterValidator(_factors)] = option(
        (0.3, 3.0), "smallest and largest factor on sigma that is trained for", _INSTRUMENT
    )
    fixed: Mapping[str, Number] = option({}, _FIXED, _MODEL)
    bounds: Mapping[str, Range] = option({}, _BOUNDS, _MODEL)
    drawn: Mapping[str, Range] = option(
        {},
        "range that a parameter of the training spectra is drawn from evenly, where it is not all of its bounds; "
        "angles in degrees",
        _MODEL,
    )
    drawn_log: Annotated[Mapping[str, Range], AfterValidator(_above_zero)] = option(
        {}, "the same, evenly in the parameter's logarithm", _MODEL
    )
    mu: Number = option(1.0, _MU, _MODEL, gt=0, le=1)
    macroturbulence: bool = option(False, "infer a macroturbulent velocity", _MODEL)
    relative_strengths: Positives = option((), _OPACITY, _MODEL)
    effective_triplet: bool = option(False, _TRIPLET, _MODEL)


@options
class SimulateBurstConfig:
    """Options of `simulate-burst`: which telescope, which turbulence, which exposures, how much noise.

    Lengths, wavelengths and angles are numbers in the unit named, or texts with a unit: "10 cm", "854.2 nm".
    """

    telescope: Text = option("SST", "a known telescope: SST, GREGOR, DKIST, Sunrise, NOT, VTT, VLT", "telescope")
    diameter: Text | None = option(None, "of another telescope, in place of a known one [m]", "telescope")
    obscuration: Text = option("0", "diameter of its central obscuration [m]", "telescope")
    wavelength: Text = option("6173", "[angstrom]", "telescope")
    defocus: Number = option(
        0.0, "known defocus, centre to edge of the pupil [waves]; above 0: before the focus", "telescope"
    )
    pixel_scale: Text = option("0.059", "of the camera [arcsec]", "camera")
    n_pixels: Count = option(128, "of a frame in each direction, the middle of the object", "camera", ge=16)
    jitter: Text = option("0", "rms of the pointing within an exposure [arcsec]", "camera")
    integrate: bool = option(False, "pixels integrate over their area, in place of sampling", "camera")
    noise: NotNegative = option(
        0.005, "rms of Gaussian noise relative to the object's mean; not used with photons", "camera"
    )
    photons: Positive | None = option(
        None, "detected in a pixel of the object's mean, or of a star of flux 1", "camera"
    )
    read_noise: NotNegative = option(0.0, "rms [electrons], with photons", "camera")
    dark: NotNegative = option(0.0, "[electrons], with photons; taken off again", "camera")
    saturation: Positive | None = option(None, "full well of a pixel [electrons], with photons", "camera")
    r0: Text | None = option(None, "Fried's parameter at this wavelength [m]; default: 0.1", "turbulence")
    d_over_r0: Positive | None = option(None, "telescope's diameter over r0, in place of r0", "turbulence")
    outer_scale: Text | None = option(None, "of the turbulence [m]; default: infinite", "turbulence")
    layers: tuple[tuple[Number, Number, Number, Number], ...] = option(
        (),
        "layers of turbulence: height [m], share, wind along x and y [m/s]; default: one on the ground, 10 m/s along x",
        "turbulence",
        "HEIGHT:SHARE:VX:VY",
    )
    corrected: Count = option(
        0, "Zernike modes that are taken off the wavefront on the axis; 2: a tip-tilt tracker", "turbulence", ge=0
    )
    left: Number = option(0.0, "the fraction of them that remains", "turbulence", ge=0, le=1)
    frames: Count = option(12, "exposures", "exposures", ge=1)
    interval: Positive | None = option(
        None, "from one to the next [s], while the wind blows; default: independent ones", "exposures"
    )
    exposure: NotNegative = option(0.0, "of each [s]; 0: frozen", "exposures")
    psf_pixels: Pixels | None = option(
        None, "on which PSFs are computed; default: 6 lambda/r0, at most 512", "exposures"
    )
    nodes: Count = option(
        1,
        "PSFs over the object in each direction, for layers at heights; 1: the axis's for all of it",
        "exposures",
        ge=1,
    )
    object_scale: Text | None = option(
        None, "pixels of the object's image [arcsec]; default: as the camera's", "exposures"
    )
    modes: Count = option(104, "in which the true wavefronts are written, too", "truth", ge=1)
    basis: Literal["karhunen-loeve", "zernike"] = option(
        "karhunen-loeve", "of them, karhunen-loeve or zernike", "truth"
    )
    seed: Seed = option(0, "of everything that is drawn", "truth")

    def __post_init__(self) -> None:
        electrons = self.read_noise or self.dark or self.saturation
        for ok, name, expected in (
            (self.r0 is None or self.d_over_r0 is None, "d_over_r0", "a number where r0 is not given: one of the two"),
            (
                self.diameter is not None or self.obscuration == "0",
                "obscuration",
                "a number where diameter is given: a known telescope has its own",
            ),
            (self.corrected > 0 or not self.left, "left", "a fraction where modes are corrected"),
            (
                self.photons is not None or not electrons,
                "photons",
                "a number, with which read_noise, dark and saturation are electrons",
            ),
        ):
            if not ok:
                raise OptionError(f"the option {name!r} takes {expected}; found {getattr(self, name)!r}")


@options
class RestoreConfig:
    """Options of `restore`: which telescope the frames are of. There is nothing that has to be tuned."""

    telescope: Text = option("SST", "a known telescope: SST, GREGOR, DKIST, Sunrise, NOT, VTT, VLT", "telescope")
    diameter: Text | None = option(None, "of another telescope, in place of a known one [m]", "telescope")
    obscuration: Text = option("0", "diameter of its central obscuration [m]", "telescope")
    wavelength: Text | None = option(None, "[angstrom]; default: the file's", "telescope")
    pixel_scale: Text | None = option(None, "of the camera [arcsec]; default: the file's", "telescope")
    narrowband_wavelength: Text | None = option(
        None, "of the narrowband camera [angstrom]; default: its file's", "telescope"
    )
    noise: Positive | None = option(
        None, "rms relative to the mean; default: measured beyond the telescope's cutoff", "camera"
    )
    saturation: Positive | None = option(None, "of a raw pixel, from which on it is left out", "camera")
    defocus: Number | None = option(
        None, "of the diversity's frames, centre to edge of the pupil [waves]; above 0: before the focus", "telescope"
    )
    patch: Pixels | None = option(
        None, "pixels across a patch; default: 128, or a field up to 160 as a whole", "restoration"
    )
    modes: Count = option(150, "Karhunen-Loeve modes of each wavefront", "restoration", ge=3)
    draws: Count = option(
        12, "fresh starts of each wavefront, against wrong ones; 0: ten times as quick", "restoration", ge=0
    )
    filter: Literal["wiener", "scharmer"] = option(
        "wiener", "of the object: by its estimated spectrum, or by where frames exceed the noise", "restoration"
    )
    seed: Seed = option(0, "of the starts", "restoration")


@options
class StarsConfig:
    """Options of `stars`: which telescope the frames are of, and what its camera counts."""

    stars: Count = option(2, "how many there are", "stars", ge=1)
    telescope: Text = option("NOT", "a known telescope: SST, GREGOR, DKIST, Sunrise, NOT, VTT, VLT", "telescope")
    diameter: Text | None = option(None, "of another telescope, in place of a known one [m]", "telescope")
    obscuration: Text = option("0", "diameter of its central obscuration [m]", "telescope")
    wavelength: Text | None = option(None, "[angstrom]; default: the file's", "telescope")
    pixel_scale: Text | None = option(None, "of the camera [arcsec]; default: the file's", "telescope")
    gain: Positive = option(1.0, "electrons in a unit of the frames", "camera")
    read_noise: NotNegative | None = option(
        None, "rms [electrons]; default: that of the frames' borders, with the sky's", "camera"
    )
    field: Pixels = option(64, "pixels around the brightest that are used", "stars")
    modes: Count = option(200, "Karhunen-Loeve modes of each wavefront", "stars", ge=3)
    starts: Count = option(16, "of each wavefront, drawn from the prior, against wrong ones", "stars", ge=1)
    seed: Seed = option(0, "of the starts", "stars")


_RECONSTRUCTION = "reconstruction"
_STRENGTH = "of the regularization in units of the noise; default: such that chi2 is 1; for pnp 0.5"
_NETWORK = "folder of a trained image network for plug and play; default: the one that comes with jaxinv"
_LEVEL = "standard deviation of the noise in the unit of the data; default: measured"


@options
class DeconvolveConfig:
    """Options of `deconvolve`: by which method, with how much noise."""

    method: Literal["tv", "wavelets", "starlets", "pnp", "wiener", "richardson-lucy"] = option(
        "tv",
        "tv (total variation), wavelets, starlets, pnp (a network as the prior), wiener (with errors), or "
        "richardson-lucy (Poisson noise)",
        _RECONSTRUCTION,
    )
    noise: Positive | None = option(None, _LEVEL, "noise")
    gain: Positive = option(1.0, "electrons in a unit of the data, for richardson-lucy", "noise")
    strength: Positive | None = option(None, _STRENGTH, _RECONSTRUCTION)
    signed: bool = option(False, "the image may be negative", _RECONSTRUCTION)
    border: Literal["open", "periodic"] = option(
        "open", "open: the scene goes on beyond the border; periodic: what leaves comes in (quicker)", _RECONSTRUCTION
    )
    iterations: Count = option(500, "at most; of richardson-lucy exactly", _RECONSTRUCTION, ge=1)
    draws: Steps = option(100, "from the posterior, for the errors of wiener", _RECONSTRUCTION)
    network: Text | None = option(None, _NETWORK, _RECONSTRUCTION)
    seed: Seed = option(0, "of the draws", _RECONSTRUCTION)


@options
class TomographyConfig:
    """Options of `tomography`: by which method, at which angles."""

    method: Literal["fbp", "tv", "wavelets", "starlets", "pnp", "wiener"] = option(
        "tv",
        "fbp (filtered back-projection), tv (total variation), wavelets, starlets, pnp (a network as the prior), or "
        "wiener (with errors)",
        _RECONSTRUCTION,
    )
    span: Positive | None = option(
        None, "the angles are evenly spread over so many degrees, from 0, the end excluded", "data"
    )
    noise: Positive | None = option(None, _LEVEL, "noise")
    strength: Positive | None = option(None, _STRENGTH, _RECONSTRUCTION)
    signed: bool = option(False, "the image may be negative", _RECONSTRUCTION)
    smoothing: NotNegative = option(0.0, "of fbp: full width at half maximum of a Gaussian [pixel]", _RECONSTRUCTION)
    iterations: Count = option(500, "at most", _RECONSTRUCTION, ge=1)
    draws: Steps = option(100, "for the errors of fbp and wiener", _RECONSTRUCTION)
    network: Text | None = option(None, _NETWORK, _RECONSTRUCTION)
    seed: Seed = option(0, "of the draws", _RECONSTRUCTION)


@options
class MassmapConfig:
    """Options of `massmap`: by which method, in which frame the shear is stated."""

    method: Literal["kaiser-squires", "wiener", "sparse", "pnp"] = option(
        "wiener",
        "kaiser-squires, wiener (a Gaussian random field: posterior mean and errors), sparse (starlets), or pnp (a "
        "network as the prior)",
        _RECONSTRUCTION,
    )
    columns: Mapping[str, Text] = option(
        {},
        "of a catalogue, e.g. x=ra y=dec shear1=e1 shear2=e2 weight=w; default: those with a usual name",
        "data",
    )
    coordinates: Literal["auto", "sky", "plane"] = option(
        "auto", "of the positions: sky (degrees, right ascension first) or plane; auto: by the columns' names", "data"
    )
    pixel_scale: Text | None = option(
        None, "of the map: arcmin on the sky, the unit of x in the plane; default: ten galaxies in a pixel", "data"
    )
    shear_x: Literal["auto", "right", "left"] = option(
        "auto",
        "whether x of the frame of the shear grows with the columns (right) or against them (left); auto: as that of "
        "the positions",
        "data",
    )
    shear_y: Literal["up", "down"] = option("up", "whether its y grows with the rows", "data")
    noise: Positive | None = option(
        None, "of each component of the shear: of a galaxy, or of a pixel of maps; default: measured", "noise"
    )
    strength: Positive | None = option(
        None,
        "of sparse: details are kept from so many sigma on (default: 3); of pnp: sigma that the network is told (1)",
        _RECONSTRUCTION,
    )
    smoothing: NotNegative = option(
        4.0, "of kaiser-squires: full width at half maximum of a Gaussian [pixel]", _RECONSTRUCTION
    )
    iterations: Count = option(500, "at most", _RECONSTRUCTION, ge=1)
    draws: Steps = option(100, "for the errors of kaiser-squires and wiener", _RECONSTRUCTION)
    network: Text | None = option(None, _NETWORK, _RECONSTRUCTION)
    seed: Seed = option(0, "of the draws", _RECONSTRUCTION)
