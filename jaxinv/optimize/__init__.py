"""Classical inversion: the best parameters and their covariance."""

from jaxinv.optimize.assure import Assured as Assured
from jaxinv.optimize.assure import assure as assure
from jaxinv.optimize.fit import fit as fit
from jaxinv.optimize.fit import labels_of as labels_of
from jaxinv.optimize.gauss_newton_cg import GaussNewtonCG as GaussNewtonCG
from jaxinv.optimize.iterate import iterate as iterate
from jaxinv.optimize.lbfgs import LBFGS as LBFGS
from jaxinv.optimize.levenberg_marquardt import LevenbergMarquardt as LevenbergMarquardt
from jaxinv.optimize.proximal import FISTA as FISTA
from jaxinv.optimize.proximal import ISRA as ISRA
from jaxinv.optimize.proximal import ISTA as ISTA
from jaxinv.optimize.proximal import PDHG as PDHG
from jaxinv.optimize.solve import Solved as Solved
from jaxinv.optimize.solve import solve as solve
from jaxinv.optimize.solver import Solver as Solver
from jaxinv.optimize.splitting import ADMM as ADMM
from jaxinv.optimize.splitting import HQS as HQS
