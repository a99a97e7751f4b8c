"""Classical inversion: the best parameters and their covariance."""

from jaxinv.optimize.fit import fit as fit
from jaxinv.optimize.levenberg_marquardt import LevenbergMarquardt as LevenbergMarquardt
