"""`solve` as a pure function: its derivatives are those of the minimum, by finite differences and closed forms."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jaxtyping import Array

import jaxinv as ji
from jaxinv.noise import Gaussian, StudentT
from tests.models import Decay, Line, X
from tests.optimize.test_solvers import NAMES, blurred_map
from tests.optimize.test_two_frames import GAINS, TwoFrames, gains

pytestmark = pytest.mark.usefixtures("float64")
SOLVERS = {
    "LevenbergMarquardt": ji.LevenbergMarquardt(tolerance=1e-18, relative_tolerance=0.0),
    "GaussNewtonCG": ji.GaussNewtonCG(tolerance=1e-18, relative_tolerance=0.0, accuracy=1e-8),
    "LBFGS": ji.LBFGS(tolerance=1e-16, relative_tolerance=0.0),
}


def decay() -> tuple[ji.Problem, Array]:
    prior = {"amplitude": dist.Uniform(0.0, 10.0), "rate": dist.Normal(1.0, 0.5), "background": dist.Normal(0.0, 1.0)}
    problem = ji.Problem(Decay(), Gaussian(0.05), prior)
    _, data = problem.simulate(jax.random.key(3))
    return problem, data


def check(function: Callable[[Array], Array], at: Array, rtol: float, step: Array) -> None:
    """Both modes of differentiation by each number against central differences."""
    compiled = jax.jit(function)
    expected = np.stack([(compiled(at + h) - compiled(at - h)) / (2 * np.sum(h)) for h in np.diag(step)], axis=-1)
    np.testing.assert_allclose(jax.jit(jax.jacfwd(function))(at), expected, rtol=rtol, atol=1e-9)
    np.testing.assert_allclose(jax.jit(jax.jacrev(function))(at), expected, rtol=rtol, atol=1e-9)


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
def test_derivatives_by_data_noise_prior_and_what_is_known(solver: ji.Solver) -> None:
    problem, data = decay()
    wiggle = jnp.sin(5 * jnp.asarray(X.copy()))

    def best(problem: ji.Problem, data: Array, known: dict | None = None) -> Array:
        found = ji.solve(problem, data, known=known, solver=solver)
        return jnp.stack([found.parameters[name] for name in sorted(found.parameters)])

    robust = eqx.tree_at(lambda p: p.noise, problem, StudentT(0.05))

    def of_all(t: Array) -> Array:
        changed = eqx.tree_at(lambda p: (p.noise.sigma, p.prior["rate"].loc), robust, (t[1], t[2]))
        return best(changed, data + (0.1 + t[0]) * wiggle)

    # Steps that are taken by the cost end at the root of its rounding, which differences show.
    rtol = 1e-4 if isinstance(solver, ji.LBFGS) else 3e-4
    check(of_all, jnp.asarray([0.02, 0.05, 0.8]), rtol, np.array([1e-3, 1e-4, 1e-3]))
    check(lambda t: best(problem, data, {"background": t[0]}), jnp.asarray([0.1]), rtol, np.array([1e-3]))


def test_it_is_where_fit_ends_and_maps_over_objects() -> None:
    problem, _ = decay()
    _, data = problem.simulate(jax.random.key(4), (6,))
    solver = ji.LevenbergMarquardt(tolerance=1e-9, relative_tolerance=0.0, n_starts=1)
    fitted = ji.fit(problem, data, solver=solver)
    solved = jax.jit(jax.vmap(lambda values: ji.solve(problem, values, solver=solver)))(data)
    for name in problem.names:
        np.testing.assert_allclose(solved.parameters[name], fitted.parameters[name], rtol=1e-6)
    assert np.all(solved.converged)
    np.testing.assert_array_equal(solved.evaluations, fitted.iterations)
    np.testing.assert_allclose(solved.cost, [problem_cost(problem, data[k], solved, k) for k in range(6)], rtol=1e-9)


def problem_cost(problem: ji.Problem, data: Array, solved: object, k: int) -> float:
    at = {name: solved.parameters[name][k] for name in problem.names}
    prior = ((at["rate"] - 1) / 0.5) ** 2 + at["background"] ** 2
    return float(jnp.sum(problem.residual(at, data) ** 2) + prior)


def test_on_a_bound_nothing_moves_but_the_others_do() -> None:
    prior = {"intercept": dist.Uniform(-3.0, 0.5), "slope": dist.Uniform(-9.0, 9.0)}
    problem = ji.Problem(Line(), Gaussian(0.1), prior)
    x = jnp.asarray(X.copy())
    solver = ji.LevenbergMarquardt(tolerance=1e-12, relative_tolerance=0.0)
    change = jax.jacfwd(lambda t: ji.solve(problem, 1.0 + 2.0 * x + t * x, solver=solver).parameters)(0.0)
    assert float(change["intercept"]) == 0
    assert float(change["slope"]) == pytest.approx(1, rel=1e-9)


def test_what_nothing_determines_has_no_derivative() -> None:
    prior = {"a": dist.Uniform(-1.0, 1.0), "b": dist.Uniform(-1.0, 1.0)}
    problem = ji.Problem(lambda p: p["a"] * jnp.ones(3) + 0 * p["b"], Gaussian(0.1), prior)
    change = jax.jacrev(lambda t: ji.solve(problem, t * jnp.ones(3)).parameters["a"])(0.2)
    assert float(change) == pytest.approx(1, rel=1e-6)


def test_a_noise_without_residuals() -> None:
    problem = ji.Problem(gains, TwoFrames(), GAINS)
    frames = problem.noise.simulate(jax.random.key(1), problem.predict({"gain": jnp.asarray([1.0, 0.6])}))
    solver = ji.LBFGS(tolerance=1e-13, relative_tolerance=0.0)
    scaled = lambda t: ji.solve(problem, frames * t[0], solver=solver).parameters["gain"]  # noqa: E731
    check(scaled, jnp.asarray([1.1]), 1e-4, np.array([1e-3]))
    with pytest.raises(ValueError, match=r"take solver=LBFGS\(\)"):
        ji.solve(problem, frames, solver=ji.LevenbergMarquardt())
    with pytest.raises(ValueError, match="`initial` names gains; inferred are gain"):
        ji.solve(problem, frames, {"gains": jnp.ones(2)})
    with pytest.raises(ValueError, match=r"shape \(5, 2, 64\); one object has \(2, 64\): map"):
        ji.solve(problem, jnp.zeros((5, 2, 64)))
    assert not ji.solve(problem, jnp.full((2, 64), jnp.nan)).converged


def test_a_coupled_map_is_differentiated_without_a_matrix() -> None:
    """The best map is linear in the data: the derivative along other data is the best map of those."""
    problem, data, mean, _ = blurred_map()
    data = jnp.asarray(data, float)
    solver = ji.GaussNewtonCG(accuracy=1e-8, tolerance=1e-8, relative_tolerance=0.0)
    best, change = jax.jvp(lambda d: ji.solve(problem, d, solver=solver).parameters, (0.5 * data,), (data,))
    for k, name in enumerate(NAMES):
        np.testing.assert_allclose(best[name], 0.5 * mean[k], atol=1e-4)
        np.testing.assert_allclose(change[name], mean[k], atol=1e-4)
