"""Light through an atmosphere: spectral lines, the Zeeman effect, Stokes profiles, and the instrument that sees them.

Looking up lines imports no JAX; the models are imported when they are first used.
"""

from typing import TYPE_CHECKING

from jaxinv.names import lazily

if TYPE_CHECKING:
    from jaxinv.spectra.components import Components as Components
    from jaxinv.spectra.components import components_prior as components_prior
    from jaxinv.spectra.instrument import Macroturbulence as Macroturbulence
    from jaxinv.spectra.instrument import SpectralPSF as SpectralPSF
    from jaxinv.spectra.lande import lande_factor as lande_factor
    from jaxinv.spectra.line import Line as Line
    from jaxinv.spectra.line_table import LINES as LINES
    from jaxinv.spectra.lines import UnknownLineError as UnknownLineError
    from jaxinv.spectra.lines import air_to_vacuum as air_to_vacuum
    from jaxinv.spectra.lines import find_line as find_line
    from jaxinv.spectra.lines import find_lines as find_lines
    from jaxinv.spectra.lines import vacuum_to_air as vacuum_to_air
    from jaxinv.spectra.lte.nodes import Nodes as Nodes
    from jaxinv.spectra.lte.nodes import stratified_prior as stratified_prior
    from jaxinv.spectra.lte.synthesis import LTE as LTE
    from jaxinv.spectra.milne_eddington import MilneEddington as MilneEddington
    from jaxinv.spectra.milne_eddington import milne_eddington_prior as milne_eddington_prior
    from jaxinv.spectra.scene import Continuum as Continuum
    from jaxinv.spectra.scene import StrayLight as StrayLight
    from jaxinv.spectra.voigt import voigt as voigt
    from jaxinv.spectra.windows import Windows as Windows
    from jaxinv.spectra.zeeman import effective_lande as effective_lande
    from jaxinv.spectra.zeeman import zeeman_pattern as zeeman_pattern

_NAMES = {
    "LINES": "line_table",
    "LTE": "lte.synthesis",
    "Components": "components",
    "Continuum": "scene",
    "Line": "line",
    "Macroturbulence": "instrument",
    "MilneEddington": "milne_eddington",
    "Nodes": "lte.nodes",
    "SpectralPSF": "instrument",
    "StrayLight": "scene",
    "UnknownLineError": "lines",
    "Windows": "windows",
    "air_to_vacuum": "lines",
    "components_prior": "components",
    "effective_lande": "zeeman",
    "find_line": "lines",
    "find_lines": "lines",
    "lande_factor": "lande",
    "milne_eddington_prior": "milne_eddington",
    "stratified_prior": "lte.nodes",
    "vacuum_to_air": "lines",
    "voigt": "voigt",
    "zeeman_pattern": "zeeman",
}
__getattr__, __dir__, __all__ = lazily(__name__, _NAMES)
