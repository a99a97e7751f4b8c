"""jaxinv: differentiable physics simulators for inverse problems in solar physics, astronomy and scientific imaging.

A problem is a forward model, a noise and a prior; a method turns a problem and data into an answer. Nothing is
imported before it is used, so that `import jaxinv` costs nothing.
"""

from typing import TYPE_CHECKING

from jaxinv.lazy import lazily

__version__ = "0.1.0"

if TYPE_CHECKING:
    from jaxinv import io as io
    from jaxinv import noise as noise
    from jaxinv import plot as plot
    from jaxinv import priors as priors
    from jaxinv import spectra as spectra
    from jaxinv.amortization import NormalizingFlow as NormalizingFlow
    from jaxinv.amortization import PointEstimate as PointEstimate
    from jaxinv.amortization import amortize as amortize
    from jaxinv.emulation import Emulator as Emulator
    from jaxinv.emulation import Surrogate as Surrogate
    from jaxinv.emulation import emulate as emulate
    from jaxinv.observation import Observation as Observation
    from jaxinv.observation import StokesCube as StokesCube
    from jaxinv.optimize import LevenbergMarquardt as LevenbergMarquardt
    from jaxinv.optimize import assure as assure
    from jaxinv.optimize import fit as fit
    from jaxinv.pipelines import invert as invert
    from jaxinv.priors import Tied as Tied
    from jaxinv.problem import Problem as Problem
    from jaxinv.sampling import HMC as HMC
    from jaxinv.sampling import NUTS as NUTS
    from jaxinv.sampling import SVI as SVI
    from jaxinv.sampling import Importance as Importance
    from jaxinv.sampling import Laplace as Laplace
    from jaxinv.sampling import calibrate as calibrate
    from jaxinv.sampling import sample as sample
    from jaxinv.solution import Solution as Solution
    from jaxinv.solution import SolutionMap as SolutionMap
    from jaxinv.solution import Status as Status
    from jaxinv.training import Conditions as Conditions
    from jaxinv.training import Training as Training
    from jaxinv.unrolling import LearnedLM as LearnedLM
    from jaxinv.unrolling import unroll as unroll

_NAMES = {
    "Conditions": "training",
    "Emulator": "emulation.emulator",
    "LearnedLM": "unrolling.settings",
    "NormalizingFlow": "amortization.settings",
    "PointEstimate": "amortization.settings",
    "Surrogate": "emulation.surrogate",
    "Training": "training",
    "amortize": "amortization",
    "assure": "optimize",
    "emulate": "emulation",
    "unroll": "unrolling",
    "HMC": "sampling",
    "Importance": "sampling",
    "Laplace": "sampling",
    "LevenbergMarquardt": "optimize",
    "NUTS": "sampling",
    "Observation": "observation",
    "Problem": "problem",
    "SVI": "sampling",
    "Solution": "solution",
    "SolutionMap": "solution",
    "Status": "solution",
    "StokesCube": "observation",
    "Tied": "priors",
    "calibrate": "sampling",
    "fit": "optimize",
    "invert": "pipelines",
    "io": "",
    "noise": "",
    "plot": "",
    "priors": "",
    "sample": "sampling",
    "spectra": "",
}
__getattr__, __dir__, __all__ = lazily(__name__, _NAMES)
