"""Figures of results: maps, fits, comparisons. Matplotlib is imported when the first figure is drawn.

Every function returns a `matplotlib.figure.Figure` that is tied to no window: a notebook shows it, `save` writes it.
"""

from typing import TYPE_CHECKING

from jaxinv.lazy import lazily

if TYPE_CHECKING:
    from jaxinv.plot.mapping import comparison as comparison
    from jaxinv.plot.mapping import maps as maps
    from jaxinv.plot.mapping import quicklook as quicklook
    from jaxinv.plot.spectra import profiles as profiles
    from jaxinv.plot.style import save as save

_NAMES = {"comparison": "mapping", "maps": "mapping", "quicklook": "mapping", "profiles": "spectra", "save": "style"}
__getattr__, __dir__, __all__ = lazily(__name__, _NAMES)
