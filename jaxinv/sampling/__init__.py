"""Posteriors: Hamiltonian Monte Carlo over maps of objects, cheaper approximations, and proof of calibration."""

from jaxinv.sampling.approximations import SVI as SVI
from jaxinv.sampling.approximations import Importance as Importance
from jaxinv.sampling.approximations import Laplace as Laplace
from jaxinv.sampling.auto import Auto as Auto
from jaxinv.sampling.calibration import calibrate as calibrate
from jaxinv.sampling.methods import HMC as HMC
from jaxinv.sampling.methods import NUTS as NUTS
from jaxinv.sampling.perturbation import PerturbAndOptimize as PerturbAndOptimize
from jaxinv.sampling.sampler import draw as draw
from jaxinv.sampling.sampler import predict as predict
from jaxinv.sampling.sampler import sample as sample
