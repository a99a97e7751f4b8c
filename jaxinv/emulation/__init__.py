"""Surrogates: a trained network with the signature of the forward model that it stands for."""

from jaxinv.emulation.emulator import Emulator as Emulator
from jaxinv.emulation.emulator import emulate as emulate
from jaxinv.emulation.report import Report as Report
from jaxinv.emulation.surrogate import Surrogate as Surrogate
