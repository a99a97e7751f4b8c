"""Figures of results: maps, fits, comparisons. Matplotlib is imported when the first figure is drawn.

Every function returns a `matplotlib.figure.Figure` that is tied to no window: a notebook shows it, `save` writes it.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxinv.plot.mapping import comparison as comparison
    from jaxinv.plot.mapping import maps as maps
    from jaxinv.plot.mapping import quicklook as quicklook
    from jaxinv.plot.spectra import profiles as profiles
    from jaxinv.plot.style import save as save

_NAMES = {"comparison": "mapping", "maps": "mapping", "quicklook": "mapping", "profiles": "spectra", "save": "style"}
__all__ = sorted(_NAMES)


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(f"jaxinv.plot.{_NAMES[name]}"), name)
    raise AttributeError(f"module 'jaxinv.plot' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
