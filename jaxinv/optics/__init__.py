"""Light through a telescope: pupils, turbulence, the modes of a wavefront.

Nothing is imported before it is used.
"""

from typing import TYPE_CHECKING

from jaxinv.names import lazily

if TYPE_CHECKING:
    from jaxinv.optics import propagation as propagation
    from jaxinv.optics.burst import Burst as Burst
    from jaxinv.optics.burst import Correction as Correction
    from jaxinv.optics.burst import simulate_burst as simulate_burst
    from jaxinv.optics.deconvolution import BlindDeconvolution as BlindDeconvolution
    from jaxinv.optics.deconvolution import KnownObject as KnownObject
    from jaxinv.optics.detector import Detector as Detector
    from jaxinv.optics.karhunen_loeve import KarhunenLoeve as KarhunenLoeve
    from jaxinv.optics.layers import LayeredPointSpread as LayeredPointSpread
    from jaxinv.optics.layers import metapupil as metapupil
    from jaxinv.optics.point_spread import Channels as Channels
    from jaxinv.optics.point_spread import PointSpread as PointSpread
    from jaxinv.optics.point_spread import defocus_of as defocus_of
    from jaxinv.optics.point_spread import nyquist as nyquist
    from jaxinv.optics.point_spread import pupil_of as pupil_of
    from jaxinv.optics.polarimetry import ModulatedDeconvolution as ModulatedDeconvolution
    from jaxinv.optics.polarimetry import StokesSpectra as StokesSpectra
    from jaxinv.optics.pupil import Modes as Modes
    from jaxinv.optics.pupil import Pupil as Pupil
    from jaxinv.optics.scene import Background as Background
    from jaxinv.optics.scene import DetectorPixel as DetectorPixel
    from jaxinv.optics.scene import ExtendedObject as ExtendedObject
    from jaxinv.optics.scene import FieldDependentObject as FieldDependentObject
    from jaxinv.optics.scene import Jitter as Jitter
    from jaxinv.optics.scene import PointSources as PointSources
    from jaxinv.optics.screens import Atmosphere as Atmosphere
    from jaxinv.optics.screens import Layer as Layer
    from jaxinv.optics.screens import Screens as Screens
    from jaxinv.optics.telescope import TELESCOPES as TELESCOPES
    from jaxinv.optics.telescope import Telescope as Telescope
    from jaxinv.optics.telescope import Vane as Vane
    from jaxinv.optics.telescope import find_telescope as find_telescope
    from jaxinv.optics.transfer import ObjectSpectrum as ObjectSpectrum
    from jaxinv.optics.transfer import Registration as Registration
    from jaxinv.optics.transfer import TransferFunctions as TransferFunctions
    from jaxinv.optics.zernike import Zernike as Zernike

_NAMES = {
    "Atmosphere": "screens",
    "BlindDeconvolution": "deconvolution",
    "Burst": "burst",
    "Channels": "point_spread",
    "Correction": "burst",
    "Detector": "detector",
    "Background": "scene",
    "DetectorPixel": "scene",
    "ExtendedObject": "scene",
    "FieldDependentObject": "scene",
    "Jitter": "scene",
    "KarhunenLoeve": "karhunen_loeve",
    "KnownObject": "deconvolution",
    "Layer": "screens",
    "LayeredPointSpread": "layers",
    "Modes": "pupil",
    "ObjectSpectrum": "transfer",
    "PointSources": "scene",
    "PointSpread": "point_spread",
    "Pupil": "pupil",
    "Screens": "screens",
    "TELESCOPES": "telescope",
    "Telescope": "telescope",
    "ModulatedDeconvolution": "polarimetry",
    "StokesSpectra": "polarimetry",
    "Registration": "transfer",
    "TransferFunctions": "transfer",
    "Vane": "telescope",
    "Zernike": "zernike",
    "defocus_of": "point_spread",
    "find_telescope": "telescope",
    "metapupil": "layers",
    "nyquist": "point_spread",
    "propagation": "",
    "pupil_of": "point_spread",
    "simulate_burst": "burst",
}
__getattr__, __dir__, __all__ = lazily(__name__, _NAMES)
