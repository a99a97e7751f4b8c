"""jaxinv: differentiable physics simulators for inverse problems in solar physics, astronomy and scientific imaging.

A problem is a forward model, a noise and a prior; a method turns a problem and data into an answer. Nothing is
imported before it is used, so that `import jaxinv` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from jaxinv import io as io
    from jaxinv import noise as noise
    from jaxinv import plot as plot
    from jaxinv import priors as priors
    from jaxinv import spectra as spectra
    from jaxinv.observation import Observation as Observation
    from jaxinv.observation import StokesCube as StokesCube
    from jaxinv.optimize import LevenbergMarquardt as LevenbergMarquardt
    from jaxinv.optimize import fit as fit
    from jaxinv.pipelines import invert as invert
    from jaxinv.priors import Tied as Tied
    from jaxinv.problem import Problem as Problem
    from jaxinv.solution import Solution as Solution
    from jaxinv.solution import SolutionMap as SolutionMap
    from jaxinv.solution import Status as Status

_MODULES = ("io", "noise", "plot", "priors", "spectra")
_NAMES = {
    "LevenbergMarquardt": "optimize",
    "Observation": "observation",
    "Problem": "problem",
    "Solution": "solution",
    "SolutionMap": "solution",
    "Status": "solution",
    "StokesCube": "observation",
    "Tied": "priors",
    "fit": "optimize",
    "invert": "pipelines",
}
__all__ = sorted(["__version__", *_MODULES, *_NAMES])


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"jaxinv.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(f"jaxinv.{_NAMES[name]}"), name)
    raise AttributeError(f"module 'jaxinv' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
