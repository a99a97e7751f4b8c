"""jaxinv: differentiable physics simulators for inverse problems in solar physics, astronomy and scientific imaging.

A problem is a forward model, a noise and a prior; a method turns a problem and data into an answer. Nothing is
imported before it is used, so that `import jaxinv` costs nothing.
"""

from typing import TYPE_CHECKING

from jaxinv.names import lazily

__version__ = "0.1.0"

if TYPE_CHECKING:
    from jaxinv import imaging as imaging
    from jaxinv import io as io
    from jaxinv import noise as noise
    from jaxinv import optics as optics
    from jaxinv import pipelines as pipelines
    from jaxinv import plot as plot
    from jaxinv import priors as priors
    from jaxinv import spectra as spectra
    from jaxinv.amortization import ImageEstimate as ImageEstimate
    from jaxinv.amortization import NormalizingFlow as NormalizingFlow
    from jaxinv.amortization import PointEstimate as PointEstimate
    from jaxinv.amortization import adapt as adapt
    from jaxinv.amortization import amortize as amortize
    from jaxinv.cli.from_files import invert as invert
    from jaxinv.cli.from_files import open as open
    from jaxinv.compute.workers import Workers as Workers
    from jaxinv.emulation import Emulator as Emulator
    from jaxinv.emulation import Surrogate as Surrogate
    from jaxinv.emulation import emulate as emulate
    from jaxinv.forward import Forward as Forward
    from jaxinv.forward import Parameter as Parameter
    from jaxinv.forward import Stage as Stage
    from jaxinv.knowledge import Knowledge as Knowledge
    from jaxinv.observation import FrameBurst as FrameBurst
    from jaxinv.observation import Observation as Observation
    from jaxinv.observation import StokesCube as StokesCube
    from jaxinv.optimize import ADMM as ADMM
    from jaxinv.optimize import FISTA as FISTA
    from jaxinv.optimize import HQS as HQS
    from jaxinv.optimize import ISRA as ISRA
    from jaxinv.optimize import ISTA as ISTA
    from jaxinv.optimize import LBFGS as LBFGS
    from jaxinv.optimize import PDHG as PDHG
    from jaxinv.optimize import GaussNewtonCG as GaussNewtonCG
    from jaxinv.optimize import LevenbergMarquardt as LevenbergMarquardt
    from jaxinv.optimize import Solver as Solver
    from jaxinv.optimize import assure as assure
    from jaxinv.optimize import fit as fit
    from jaxinv.optimize import solve as solve
    from jaxinv.pipelines import InvertConfig as InvertConfig
    from jaxinv.pipelines import SampleConfig as SampleConfig
    from jaxinv.pipelines import SimulateBurstConfig as SimulateBurstConfig
    from jaxinv.pipelines import SynthesizeConfig as SynthesizeConfig
    from jaxinv.pipelines import TrainConfig as TrainConfig
    from jaxinv.priors import Tied as Tied
    from jaxinv.problem import Problem as Problem
    from jaxinv.results.posterior import Posterior as Posterior
    from jaxinv.results.posterior import PosteriorRoute as PosteriorRoute
    from jaxinv.results.posterior import PosteriorStatus as PosteriorStatus
    from jaxinv.results.solution import Solution as Solution
    from jaxinv.results.solution import SolutionMap as SolutionMap
    from jaxinv.results.solution import Status as Status
    from jaxinv.sampling import HMC as HMC
    from jaxinv.sampling import NUTS as NUTS
    from jaxinv.sampling import SVI as SVI
    from jaxinv.sampling import Auto as Auto
    from jaxinv.sampling import Importance as Importance
    from jaxinv.sampling import Laplace as Laplace
    from jaxinv.sampling import PerturbAndOptimize as PerturbAndOptimize
    from jaxinv.sampling import calibrate as calibrate
    from jaxinv.sampling import draw as draw
    from jaxinv.sampling import predict as predict
    from jaxinv.sampling import sample as sample
    from jaxinv.training import Conditions as Conditions
    from jaxinv.training import Training as Training
    from jaxinv.unrolling import LearnedSteps as LearnedSteps
    from jaxinv.unrolling import unroll as unroll

_NAMES = {
    "ADMM": "optimize",
    "FISTA": "optimize",
    "HQS": "optimize",
    "ISRA": "optimize",
    "ISTA": "optimize",
    "PDHG": "optimize",
    "Auto": "sampling",
    "PerturbAndOptimize": "sampling",
    "Conditions": "training",
    "Emulator": "emulation.emulator",
    "Forward": "forward",
    "FrameBurst": "observation",
    "GaussNewtonCG": "optimize",
    "HMC": "sampling",
    "Importance": "sampling",
    "InvertConfig": "pipelines",
    "Knowledge": "knowledge",
    "LBFGS": "optimize",
    "Laplace": "sampling",
    "LearnedSteps": "unrolling.settings",
    "LevenbergMarquardt": "optimize",
    "NUTS": "sampling",
    "ImageEstimate": "amortization.settings",
    "NormalizingFlow": "amortization.settings",
    "Observation": "observation",
    "Parameter": "forward",
    "PointEstimate": "amortization.settings",
    "Posterior": "results.posterior",
    "PosteriorRoute": "results.posterior",
    "PosteriorStatus": "results.posterior",
    "Problem": "problem",
    "SVI": "sampling",
    "SampleConfig": "pipelines",
    "SimulateBurstConfig": "pipelines",
    "Solution": "results.solution",
    "SolutionMap": "results.solution",
    "Solver": "optimize",
    "Stage": "forward",
    "Status": "results.solution",
    "StokesCube": "observation",
    "Surrogate": "emulation.surrogate",
    "SynthesizeConfig": "pipelines",
    "Tied": "priors",
    "TrainConfig": "pipelines",
    "Training": "training",
    "Workers": "compute.workers",
    "adapt": "amortization",
    "amortize": "amortization",
    "assure": "optimize",
    "calibrate": "sampling",
    "draw": "sampling",
    "emulate": "emulation",
    "fit": "optimize",
    "imaging": "",
    "invert": "cli.from_files",
    "io": "",
    "noise": "",
    "open": "cli.from_files",
    "optics": "",
    "pipelines": "",
    "plot": "",
    "predict": "sampling",
    "priors": "",
    "sample": "sampling",
    "solve": "optimize",
    "spectra": "",
    "unroll": "unrolling",
}
__getattr__, __dir__, __all__ = lazily(
    __name__, _NAMES, ("spectra", "optics", "imaging", "noise", "io", "plot", "pipelines", "priors")
)
