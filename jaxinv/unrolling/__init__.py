"""Learned loops: Levenberg-Marquardt with a fixed number of steps that networks take part in."""

from jaxinv.unrolling.settings import LearnedLM as LearnedLM
from jaxinv.unrolling.training import unroll as unroll
from jaxinv.unrolling.unrolled import Unrolled as Unrolled
