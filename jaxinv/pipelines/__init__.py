"""Systems a user names: each marries a domain's physics, a method and, where needed, a network."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxinv.pipelines.config import InvertConfig as InvertConfig
    from jaxinv.pipelines.config import SynthesizeConfig as SynthesizeConfig
    from jaxinv.pipelines.inversion import fitted_profiles as fitted_profiles
    from jaxinv.pipelines.inversion import invert as invert
    from jaxinv.pipelines.inversion import prepare as prepare
    from jaxinv.pipelines.sunspot import simulate_observation as simulate_observation
    from jaxinv.pipelines.sunspot import sunspot_parameters as sunspot_parameters
    from jaxinv.pipelines.synthesis import synthesize as synthesize

_NAMES = {
    "InvertConfig": "config",
    "SynthesizeConfig": "config",
    "fitted_profiles": "inversion",
    "invert": "inversion",
    "prepare": "inversion",
    "simulate_observation": "sunspot",
    "sunspot_parameters": "sunspot",
    "synthesize": "synthesis",
}
__all__ = sorted(_NAMES)


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(f"jaxinv.pipelines.{_NAMES[name]}"), name)
    raise AttributeError(f"module 'jaxinv.pipelines' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
