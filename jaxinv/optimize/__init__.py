"""Classical inversion: the best parameters and their covariance."""

from jaxinv.optimize.assure import Assured as Assured
from jaxinv.optimize.assure import assure as assure
from jaxinv.optimize.fit import fit as fit
from jaxinv.optimize.fit import labels_of as labels_of
from jaxinv.optimize.gauss_newton_cg import GaussNewtonCG as GaussNewtonCG
from jaxinv.optimize.lbfgs import LBFGS as LBFGS
from jaxinv.optimize.levenberg_marquardt import LevenbergMarquardt as LevenbergMarquardt
from jaxinv.optimize.solve import Solved as Solved
from jaxinv.optimize.solve import solve as solve
from jaxinv.optimize.solver import Solver as Solver
