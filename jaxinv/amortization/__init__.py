"""Networks that answer in one pass: parameters with errors, or a posterior."""

from jaxinv.amortization.estimator import PointEstimator as PointEstimator
from jaxinv.amortization.flow import Flow as Flow
from jaxinv.amortization.images import ImageEstimator as ImageEstimator
from jaxinv.amortization.settings import ImageEstimate as ImageEstimate
from jaxinv.amortization.settings import NormalizingFlow as NormalizingFlow
from jaxinv.amortization.settings import PointEstimate as PointEstimate
from jaxinv.amortization.training import ADAPTATION as ADAPTATION
from jaxinv.amortization.training import adapt as adapt
from jaxinv.amortization.training import amortize as amortize
