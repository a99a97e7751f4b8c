"""Systems a user names: each marries a domain's physics, a method and, where needed, a network."""

from typing import TYPE_CHECKING

from jaxinv.names import lazily

if TYPE_CHECKING:
    from jaxinv.pipelines.burst import BurstRun as BurstRun
    from jaxinv.pipelines.burst import plan_burst as plan_burst
    from jaxinv.pipelines.burst import simulate_frames as simulate_frames
    from jaxinv.pipelines.config import DeconvolveConfig as DeconvolveConfig
    from jaxinv.pipelines.config import InvertConfig as InvertConfig
    from jaxinv.pipelines.config import MassmapConfig as MassmapConfig
    from jaxinv.pipelines.config import RestoreConfig as RestoreConfig
    from jaxinv.pipelines.config import SampleConfig as SampleConfig
    from jaxinv.pipelines.config import SimulateBurstConfig as SimulateBurstConfig
    from jaxinv.pipelines.config import StarsConfig as StarsConfig
    from jaxinv.pipelines.config import SynthesizeConfig as SynthesizeConfig
    from jaxinv.pipelines.config import TomographyConfig as TomographyConfig
    from jaxinv.pipelines.config import TrainConfig as TrainConfig
    from jaxinv.pipelines.deconvolution import deconvolve as deconvolve
    from jaxinv.pipelines.deconvolution import plan_deconvolution as plan_deconvolution
    from jaxinv.pipelines.density import load_density as load_density
    from jaxinv.pipelines.inversion import adapt_network as adapt_network
    from jaxinv.pipelines.inversion import fitted_profiles as fitted_profiles
    from jaxinv.pipelines.inversion import invert as invert
    from jaxinv.pipelines.inversion import plan_inversion as plan_inversion
    from jaxinv.pipelines.learned import load_network as load_network
    from jaxinv.pipelines.mass_maps import massmap as massmap
    from jaxinv.pipelines.mass_maps import plan_massmap as plan_massmap
    from jaxinv.pipelines.posterior import PosteriorRun as PosteriorRun
    from jaxinv.pipelines.posterior import method_of as method_of
    from jaxinv.pipelines.posterior import plan_calibration as plan_calibration
    from jaxinv.pipelines.posterior import posterior_predictive as posterior_predictive
    from jaxinv.pipelines.posterior import sample_maps as sample_maps
    from jaxinv.pipelines.preparation import prepare as prepare
    from jaxinv.pipelines.reconstruction import ReconstructionRun as ReconstructionRun
    from jaxinv.pipelines.restoration import RestorationRun as RestorationRun
    from jaxinv.pipelines.restoration import plan_restoration as plan_restoration
    from jaxinv.pipelines.restoration import restore as restore
    from jaxinv.pipelines.stars import StarsRun as StarsRun
    from jaxinv.pipelines.stars import measure_stars as measure_stars
    from jaxinv.pipelines.stars import plan_stars as plan_stars
    from jaxinv.pipelines.sunspot import simulate_observation as simulate_observation
    from jaxinv.pipelines.sunspot import sunspot_parameters as sunspot_parameters
    from jaxinv.pipelines.synthesis import plan_synthesis as plan_synthesis
    from jaxinv.pipelines.synthesis import synthesize as synthesize
    from jaxinv.pipelines.tomograms import plan_tomography as plan_tomography
    from jaxinv.pipelines.tomograms import tomography as tomography
    from jaxinv.pipelines.training import train_network as train_network

_NAMES = {
    "DeconvolveConfig": "config",
    "InvertConfig": "config",
    "MassmapConfig": "config",
    "ReconstructionRun": "reconstruction",
    "TomographyConfig": "config",
    "deconvolve": "deconvolution",
    "massmap": "mass_maps",
    "plan_deconvolution": "deconvolution",
    "plan_massmap": "mass_maps",
    "plan_tomography": "tomograms",
    "tomography": "tomograms",
    "RestoreConfig": "config",
    "SampleConfig": "config",
    "SimulateBurstConfig": "config",
    "StarsConfig": "config",
    "SynthesizeConfig": "config",
    "TrainConfig": "config",
    "BurstRun": "burst",
    "PosteriorRun": "posterior",
    "plan_calibration": "posterior",
    "plan_inversion": "inversion",
    "plan_restoration": "restoration",
    "StarsRun": "stars",
    "measure_stars": "stars",
    "plan_stars": "stars",
    "plan_synthesis": "synthesis",
    "fitted_profiles": "inversion",
    "invert": "inversion",
    "load_density": "density",
    "method_of": "posterior",
    "plan_burst": "burst",
    "posterior_predictive": "posterior",
    "adapt_network": "inversion",
    "load_network": "learned",
    "prepare": "preparation",
    "RestorationRun": "restoration",
    "restore": "restoration",
    "sample_maps": "posterior",
    "simulate_frames": "burst",
    "simulate_observation": "sunspot",
    "sunspot_parameters": "sunspot",
    "synthesize": "synthesis",
    "train_network": "training",
}
__getattr__, __dir__, __all__ = lazily(__name__, _NAMES)
