"""Figures of results: maps, fits, comparisons. Matplotlib is imported when the first figure is drawn.

Every function returns a `matplotlib.figure.Figure` that is tied to no window: a notebook shows it, `save` writes it.
"""

from typing import TYPE_CHECKING

from jaxinv.names import lazily

if TYPE_CHECKING:
    from jaxinv.plot.bursts import burst as burst
    from jaxinv.plot.bursts import images as images
    from jaxinv.plot.depth import responses as responses
    from jaxinv.plot.depth import stratifications as stratifications
    from jaxinv.plot.mapping import comparison as comparison
    from jaxinv.plot.mapping import maps as maps
    from jaxinv.plot.mapping import quicklook as quicklook
    from jaxinv.plot.posteriors import bands as bands
    from jaxinv.plot.posteriors import calibration as calibration
    from jaxinv.plot.posteriors import corner as corner
    from jaxinv.plot.posteriors import trace as trace
    from jaxinv.plot.reconstructions import reconstruction as reconstruction
    from jaxinv.plot.restorations import restoration as restoration
    from jaxinv.plot.spectra import profiles as profiles
    from jaxinv.plot.star_systems import stars as stars
    from jaxinv.plot.style import check_ending as check_ending
    from jaxinv.plot.style import save as save

_NAMES = {
    "bands": "posteriors",
    "burst": "bursts",
    "calibration": "posteriors",
    "check_ending": "style",
    "comparison": "mapping",
    "corner": "posteriors",
    "images": "bursts",
    "maps": "mapping",
    "profiles": "spectra",
    "quicklook": "mapping",
    "responses": "depth",
    "reconstruction": "reconstructions",
    "restoration": "restorations",
    "stars": "star_systems",
    "save": "style",
    "stratifications": "depth",
    "trace": "posteriors",
}
__getattr__, __dir__, __all__ = lazily(__name__, _NAMES)
