"""Learned loops: a fixed number of a solver's steps, in which a network takes part."""

from jaxinv.unrolling.settings import LearnedSteps as LearnedSteps
from jaxinv.unrolling.training import unroll as unroll
from jaxinv.unrolling.unrolled import Unrolled as Unrolled
