"""An image through an instrument: linear operators with exact adjoints.

Nothing is imported before it is used.
"""

from typing import TYPE_CHECKING

from jaxinv.names import lazily

if TYPE_CHECKING:
    from jaxinv.imaging.convolution import Convolution as Convolution
    from jaxinv.imaging.lensing import KaiserSquires as KaiserSquires
    from jaxinv.imaging.operator import Composition as Composition
    from jaxinv.imaging.operator import LinearOperator as LinearOperator
    from jaxinv.imaging.operator import Stack as Stack
    from jaxinv.imaging.phantoms import shepp_logan as shepp_logan
    from jaxinv.imaging.radon import Radon as Radon
    from jaxinv.imaging.random_fields import PowerSpectrum as PowerSpectrum
    from jaxinv.imaging.random_fields import Tikhonov as Tikhonov
    from jaxinv.imaging.random_images import DeadLeaves as DeadLeaves
    from jaxinv.imaging.regularizers import Bounded as Bounded
    from jaxinv.imaging.regularizers import Denoiser as Denoiser
    from jaxinv.imaging.regularizers import Positivity as Positivity
    from jaxinv.imaging.regularizers import Starlets as Starlets
    from jaxinv.imaging.regularizers import TotalVariation as TotalVariation
    from jaxinv.imaging.regularizers import Wavelets as Wavelets
    from jaxinv.imaging.sampling import Cutouts as Cutouts
    from jaxinv.imaging.sampling import Downsampling as Downsampling
    from jaxinv.imaging.sampling import FourierSampling as FourierSampling
    from jaxinv.imaging.sampling import Mask as Mask
    from jaxinv.imaging.sampling import Rotation as Rotation
    from jaxinv.imaging.sampling import Warp as Warp

_NAMES = {
    "Composition": "operator",
    "Convolution": "convolution",
    "Bounded": "regularizers",
    "DeadLeaves": "random_images",
    "Denoiser": "regularizers",
    "Positivity": "regularizers",
    "PowerSpectrum": "random_fields",
    "Starlets": "regularizers",
    "Tikhonov": "random_fields",
    "TotalVariation": "regularizers",
    "Wavelets": "regularizers",
    "Cutouts": "sampling",
    "Downsampling": "sampling",
    "FourierSampling": "sampling",
    "KaiserSquires": "lensing",
    "LinearOperator": "operator",
    "Mask": "sampling",
    "Radon": "radon",
    "Rotation": "sampling",
    "Stack": "operator",
    "Warp": "sampling",
    "shepp_logan": "phantoms",
}
__getattr__, __dir__, __all__ = lazily(__name__, _NAMES)
