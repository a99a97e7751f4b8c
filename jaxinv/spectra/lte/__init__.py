"""A gas in local thermodynamic equilibrium: its electrons, its opacity, its stratification.

Units are cgs: pressures in dyn/cm2, number densities in cm-3, opacities in cm-1; temperatures in K.
"""

from typing import TYPE_CHECKING

from jaxinv.names import lazily

if TYPE_CHECKING:
    from jaxinv.spectra.lte.elements import abundances as abundances
    from jaxinv.spectra.lte.gas import Gas as Gas
    from jaxinv.spectra.lte.gas import GasState as GasState
    from jaxinv.spectra.lte.models import model_names as model_names
    from jaxinv.spectra.lte.models import resampled as resampled
    from jaxinv.spectra.lte.models import standard_model as standard_model
    from jaxinv.spectra.lte.opacity import continuous_opacity as continuous_opacity
    from jaxinv.spectra.lte.opacity import contributions as contributions
    from jaxinv.spectra.lte.stratification import geometric_height as geometric_height
    from jaxinv.spectra.lte.stratification import hydrostatic as hydrostatic

_NAMES = {
    "Gas": "gas",
    "GasState": "gas",
    "abundances": "elements",
    "continuous_opacity": "opacity",
    "contributions": "opacity",
    "geometric_height": "stratification",
    "hydrostatic": "stratification",
    "model_names": "models",
    "resampled": "models",
    "standard_model": "models",
}
__getattr__, __dir__, __all__ = lazily(__name__, _NAMES)
