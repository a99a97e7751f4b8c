"""Flax networks: architecture only, no training, no physics."""

from jaxinv.networks.convolutional import SpectrumDecoder as SpectrumDecoder
from jaxinv.networks.convolutional import SpectrumEncoder as SpectrumEncoder
from jaxinv.networks.dense import MLP as MLP
from jaxinv.networks.dense import ResidualMLP as ResidualMLP
from jaxinv.networks.flow import ConditionalFlow as ConditionalFlow
from jaxinv.networks.images import ImageUNet as ImageUNet
from jaxinv.networks.images import LocalNetwork as LocalNetwork
from jaxinv.networks.network import KINDS as KINDS
from jaxinv.networks.network import Network as Network
from jaxinv.networks.recurrent import Recurrent as Recurrent
