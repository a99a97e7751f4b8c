import warnings

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.infer import MCMC
from numpyro.infer import NUTS as NumPyroNUTS
from scipy import stats

import jaxinv as ji
from jaxinv import priors
from jaxinv.noise import Gaussian, StudentT
from jaxinv.observation import Observation
from jaxinv.problem import Problem
from jaxinv.results.posterior import PosteriorStatus
from jaxinv.sampling import HMC, NUTS, SVI, Importance, Laplace, draw, predict
from tests.models import Banana, Decay, Direct, Line, Polynomial, Wave, X

KEY = jax.random.key(0)
LONG = {"n_warmup": 300, "n_draws": 6000, "max_doublings": 0}
METHODS = [NUTS(**LONG), HMC(**LONG), Laplace(n_draws=20000), SVI(n_draws=20000), Importance(Laplace(n_draws=20000))]


def polynomial(degree: int) -> tuple[Problem, np.ndarray, np.ndarray, np.ndarray]:
    """A linear problem, its data, and the exact mean and covariance of its posterior."""
    prior = {"coefficients": dist.Normal(jnp.ones(degree + 1), 3.0).to_event(1), "scale": 2.0}
    problem = Problem(Polynomial(degree), Gaussian(0.3), prior)
    _, data = problem.simulate(jax.random.key(degree), (3,))
    design = 2 * X[:, None] ** np.arange(degree + 1)
    precision = design.T @ design / 0.09 + np.eye(degree + 1) / 9
    covariance = np.linalg.inv(precision)
    mean = (np.asarray(data, float) @ design / 0.09 + 1 / 9) @ covariance
    return problem, np.asarray(data), mean, covariance


@pytest.mark.slow
@pytest.mark.parametrize(
    ("degree", "method"),
    [*((1, method) for method in METHODS), (4, METHODS[1])],
    ids=lambda x: x if isinstance(x, int) else type(x).__name__,
)
def test_linear_gaussian(degree: int, method: ji.NUTS) -> None:
    problem, data, mean, covariance = polynomial(degree)
    found = draw(problem, data, key=KEY, method=method)
    x = found.draws["coefficients"].reshape(3, -1, degree + 1).astype(float)
    deviation = np.sqrt(np.diag(covariance))
    error = deviation / np.sqrt(found.ess_bulk["coefficients"])
    # The variational density is only as near as its optimizer came.
    # An approximation's centre is as good as an optimizer in float32 finds it.
    variational, found_by_optimizer = isinstance(method, SVI), isinstance(method, Laplace | SVI)
    assert np.all(np.abs(x.mean(1) - mean) < 3.5 * error + 0.05 * found_by_optimizer * deviation)
    np.testing.assert_allclose(
        x.std(1), np.broadcast_to(deviation, (3, degree + 1)), rtol=0.05 if variational else 0.02
    )
    assert np.all(found.status == PosteriorStatus.CONVERGED)


@pytest.mark.slow
def test_a_curved_density() -> None:
    problem = Problem(Banana(), Gaussian(0.3), {"a": dist.Normal(0.0, 1.0), "b": dist.Normal(0.0, 100.0)})
    found = draw(problem, np.zeros(1), key=KEY, method=NUTS(**LONG))
    a, b = found.draws["a"].ravel(), found.draws["b"].ravel()
    error = float(4 / np.sqrt(min(found.ess_bulk["a"], found.ess_tail["b"], found.ess_bulk["b"])))
    assert a.mean() == pytest.approx(0, abs=error)
    assert a.var() == pytest.approx(1, abs=1.5 * error)
    assert b.mean() == pytest.approx(1, abs=1.5 * error)
    assert b.var() == pytest.approx(2.09, abs=10 * error)
    assert np.corrcoef(a**2, b)[0, 1] == pytest.approx(np.sqrt(2 / 2.09), abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("measured", [-0.2, 0.0, 0.97, 1.3])
def test_mass_at_the_edge(measured: float) -> None:
    problem = Problem(Direct(), Gaussian(0.1), {"x": dist.Uniform(0.0, 1.0)})
    data = np.full((4, 1), measured)
    exact = stats.truncnorm((0 - measured) / 0.1, (1 - measured) / 0.1, measured, 0.1)
    for method in (NUTS(n_draws=4000), Importance(Laplace(n_draws=20000))):
        found = draw(problem, data, key=KEY, method=method)
        x = found.draws["x"].ravel()
        assert np.all((x >= 0) & (x <= 1))
        assert x.mean() == pytest.approx(exact.mean(), abs=0.05 * exact.std())
        assert x.std() == pytest.approx(exact.std(), rel=0.05)
        quantiles = np.quantile(x, [0.05, 0.5, 0.95])
        np.testing.assert_allclose(quantiles, exact.ppf([0.05, 0.5, 0.95]), atol=0.06 * exact.std())
        assert found.scalars.get("divergences", np.zeros(1)).sum() == 0


@pytest.mark.slow
def test_a_cyclic_parameter() -> None:
    problem = Problem(Wave(), Gaussian(0.5), {"amplitude": 1.0, "phase": priors.Cyclic(0.0, 2 * np.pi)})
    rng = np.random.default_rng(0)
    truth = np.array([0.02, 3.0, 2 * np.pi - 0.02])
    data = np.cos(3 * X - truth[:, None]) + 0.5 * rng.standard_normal((3, 30))
    found = draw(problem, data, key=KEY, method=NUTS(n_draws=2000, max_doublings=0))
    # Exact, on a grid of the circle.
    grid = np.linspace(0, 2 * np.pi, 4001)[:-1]
    for k in range(3):
        log_p = -np.sum((data[k] - np.cos(3 * X - grid[:, None])) ** 2, 1) / 2 / 0.25
        p = np.exp(log_p - log_p.max())
        mean = np.angle(np.sum(p * np.exp(1j * grid)))
        away = np.angle(np.exp(1j * (grid - mean)))
        deviation = np.sqrt(np.sum(p * away**2) / p.sum())
        assert np.abs(np.angle(np.exp(1j * (found.median()["phase"][k] - mean)))) < 0.1 * deviation
        assert found.standard_deviation()["phase"][k] == pytest.approx(deviation, rel=0.06)
        assert found.quantile(0.84)["phase"][k] - found.quantile(0.16)["phase"][k] < 2.4 * deviation
    assert found.scalars["divergences"].sum() == 0
    assert np.all((found.median()["phase"] >= 0) & (found.median()["phase"] < 2 * np.pi))


@pytest.mark.slow
def test_numpyro_itself_agrees() -> None:
    prior = {"amplitude": dist.HalfNormal(5.0), "rate": dist.Uniform(0.0, 3.0), "background": dist.Normal(0.0, 1.0)}
    problem = Problem(Decay(), StudentT(0.1, 5.0), prior)
    truth = {"amplitude": 3.0, "rate": 1.5, "background": 0.2}
    data = problem.noise.simulate(jax.random.key(4), problem.predict(truth))
    ours = draw(problem, data, key=KEY, method=NUTS(n_draws=2000))
    theirs = MCMC(NumPyroNUTS(problem.numpyro_model), num_warmup=500, num_samples=5000, progress_bar=False)
    theirs.run(jax.random.key(9), data=data)
    for name, x in theirs.get_samples().items():
        deviation = float(np.std(x))
        assert ours.median()[name] == pytest.approx(float(np.median(x)), abs=0.08 * deviation)
        assert ours.standard_deviation()[name] == pytest.approx(deviation, rel=0.08)


def test_keys() -> None:
    problem, data, _, _ = polynomial(1)
    method = HMC(n_warmup=50, n_draws=50, max_doublings=0)
    first = draw(problem, data, key=KEY, method=method).draws["coefficients"]
    again = draw(problem, data, key=KEY, method=method).draws["coefficients"]
    np.testing.assert_array_equal(first, again)
    old_style = draw(problem, data, key=jax.random.PRNGKey(0), method=method).draws["coefficients"]
    np.testing.assert_array_equal(first, old_style)
    other = draw(problem, data, key=jax.random.key(1), method=method).draws["coefficients"]
    assert not np.any(first == other)
    twice = draw(problem, np.stack([data[0]] * 3), key=KEY, method=method).draws["coefficients"]
    assert not np.any(twice[0] == twice[1])
    for bad in (0, None, np.arange(3), jax.random.split(KEY, 2)):
        with pytest.raises(ValueError, match="key must be one random key"):
            draw(problem, data, key=bad, method=method)


# Five steps of warm-up: the adaptation of the step size magnifies rounding tenfold for every three of them.
@pytest.mark.parametrize("method", [HMC(n_warmup=5, n_draws=20, max_doublings=0), Laplace(n_draws=100)])
def test_pieces_of_a_batch_draw_what_the_whole_does(method: ji.HMC) -> None:
    problem, data, _, _ = polynomial(1)
    whole = draw(problem, data, key=KEY, method=method)
    piece = draw(problem, Observation(data[1:], ids=np.arange(1, len(data))), key=KEY, method=method)
    draws = whole.draws["coefficients"][1:]
    spread = draws.std((1, 2), keepdims=True)
    assert np.max(np.abs(piece.draws["coefficients"] - draws) / spread) < 5e-3
    np.testing.assert_allclose(piece.scalars["p_value"], whole.scalars["p_value"][1:], atol=1e-4)
    # The id of an object is what tells its draws from another's.
    unnumbered = draw(problem, data[1:], key=KEY, method=method).draws["coefficients"]
    assert np.max(np.abs(unnumbered - draws) / spread) > 1


def test_pieces_of_one_size_draw_the_same_to_the_bit() -> None:
    problem, data, _, _ = polynomial(1)
    found = ji.fit(problem, data)
    options = {"key": KEY, "method": HMC(n_warmup=50, n_draws=50, max_doublings=1)}
    whole = draw(problem, data, initial=found, **options).draws["coefficients"]
    last = np.array(data)
    last[:2] = np.nan  # without data, as what fills a piece up
    piece = Observation(np.roll(last, -2, 0), ids=np.roll(np.arange(len(data)), -2))
    piece = draw(problem, piece, initial=found.each(lambda x: np.roll(x, -2, 0)), **options)
    assert np.all(piece.status[-2:] == PosteriorStatus.NO_DATA)
    np.testing.assert_array_equal(piece.draws["coefficients"][:-2], whole[2:])


def test_the_key_that_drew_the_data_can_draw_the_posterior() -> None:
    problem = Problem(Direct(), Gaussian(1.0), {"x": dist.Normal(0.0, 1.0)})
    truth, data = problem.simulate(KEY, (400,))
    found = draw(problem, data, key=KEY, method=Laplace(n_draws=100)).draws["x"][:, 0, 0]
    expected = np.asarray(data[:, 0]) / 2
    assert abs(np.corrcoef(found - expected, np.asarray(truth["x"]) - expected)[0, 1]) < 0.15


@pytest.mark.slow
def test_objects_without_data_and_with_impossible_data_are_flagged() -> None:
    problem, data, _, _ = polynomial(1)
    data = np.stack([data[0], np.full(30, np.nan), data[1], np.full(30, 1e30), data[2]]).astype(np.float32)
    data[2, :29] = np.nan  # one sample for two parameters: a posterior all the same, the prior's in one direction
    found = draw(problem, data, key=KEY, method=NUTS(n_warmup=200, n_draws=500, max_doublings=0, ess=100, r_hat=1.05))
    assert list(found.status[[0, 1, 4]]) == [0, 3, 0]
    assert found.status[2] != PosteriorStatus.NO_DATA
    assert found.standard_deviation()["coefficients"][2].max() > 1
    assert found.status[3] not in (PosteriorStatus.CONVERGED, PosteriorStatus.NO_DATA)
    assert np.isnan(found.draws["coefficients"][1]).all()
    assert np.isnan(found.median()["coefficients"][1]).all()


@pytest.mark.slow
def test_a_prior_that_excludes_the_data() -> None:
    problem = Problem(Direct(), Gaussian(0.01), {"x": dist.Uniform(0.0, 1.0)})
    found = draw(problem, np.array([[0.5], [4.0]]), key=KEY, method=NUTS(n_draws=500, max_doublings=1, ess=100))
    x = found.draws["x"][1]
    assert np.all((x >= 0) & (x <= 1))
    assert x.mean() > 0.999  # the edge next to the data ...
    assert found.scalars["p_value"][1] == 0  # ... and a misfit that says so
    assert found.scalars["chi2"][1] > 1e4
    assert found.scalars["p_value"][0] > 0.05


@pytest.mark.slow
def test_chains_that_disagree_go_on_and_are_flagged() -> None:
    problem, data, _, _ = polynomial(4)
    short = HMC(n_warmup=100, n_draws=40, max_doublings=0, max_steps=1)
    found = draw(problem, data, key=KEY, method=short)
    assert np.all(found.status == PosteriorStatus.NOT_CONVERGED)
    longer = HMC(n_warmup=100, n_draws=40, max_doublings=6, max_steps=2, ess=80, r_hat=1.1)
    found = draw(problem, data, key=KEY, method=longer)
    assert np.all(found.scalars["doublings"] >= 1)
    assert found.draws["coefficients"].shape == (3, 4, 40, 5)
    assert np.all(found.status == PosteriorStatus.CONVERGED)


def test_weights_that_cannot_be_relied_on_are_flagged() -> None:
    method = Importance(Laplace(n_draws=1000))
    heavy = Problem(Direct(), StudentT(0.1, 1.0), {"x": dist.Normal(0.0, 100.0)})
    found = draw(heavy, np.zeros(1), key=KEY, method=method)
    assert found.status == PosteriorStatus.UNRELIABLE_WEIGHTS
    assert found.scalars["pareto_k"] > 0.7
    curved = Problem(Banana(), Gaussian(0.01), {"a": dist.Normal(0.0, 3.0), "b": dist.Normal(0.0, 100.0)})
    found = draw(curved, np.zeros(1), key=KEY, method=method)
    assert found.status == PosteriorStatus.UNRELIABLE_WEIGHTS
    assert found.scalars["weights_ess"] < 400  # of 4000


def test_auto_takes_weights_where_they_pass_and_chains_elsewhere() -> None:
    # Where the data say nothing the posterior is the prior, which is normal; where they do, it is a parabola.
    problem = Problem(Banana(), Gaussian(1.0), {"a": dist.Normal(0.0, 1.0), "b": dist.Normal(0.0, 3.0)})
    data = Observation(np.zeros((4, 1), np.float32), sigma=np.array([[1e3], [0.4], [1e3], [0.4]], np.float32))
    heavy = Importance(Laplace(n_draws=2000, degrees=3.0), 2000)
    method = ji.Auto(heavy, HMC(n_warmup=200, n_draws=500, ess=100, r_hat=1.05))
    seen = []
    found = draw(problem, data, key=KEY, method=method, advance=lambda *counts: seen.append(counts))
    assert found.draws["a"].shape == found.stats["lp"].shape == (4, 4, 500)
    assert found.scalars["route"].tolist() == [2, 4, 2, 4]
    assert np.all(found.status[[0, 2]] == PosteriorStatus.CONVERGED)
    np.testing.assert_allclose(found.standard_deviation()["a"], [1, 0.843, 1, 0.843], atol=0.13)
    off = found.draws["b"] - found.draws["a"] ** 2  # which the data measure in two of them
    np.testing.assert_allclose(off[[1, 3]].std((1, 2)), 0.4, atol=0.04)
    assert np.all(found.scalars["pareto_k"][[0, 2]] < 0.5)
    assert np.all(found.scalars["weights_ess"][[1, 3]] < 400)  # why they fell through
    assert found.scalars["doublings"][0] == 0
    assert np.isnan(found.scalars["bfmi"][0])
    assert found.ess_bulk["a"][0] == pytest.approx(found.scalars["weights_ess"][0])
    assert np.sum(seen, axis=0)[0] == 4
    # As the chains alone would have it, and nothing is left for them.
    only = draw(problem, np.zeros((2, 1)), key=KEY, method=ji.Auto(Importance(Laplace(n_draws=2000), 2000)))
    assert only.draws["a"].shape == (2, 1, 2000)
    with pytest.raises(ValueError, match="must make as many draws of an object; found 4000 of Importance, 40 of HMC"):
        ji.Auto(Importance(), HMC(n_draws=10))
    with pytest.raises(ValueError, match="Auto tries methods such as"):
        ji.Auto("hmc")


def test_few_draws_are_kept_of_many_that_are_weighed() -> None:
    problem, data, mean, covariance = polynomial(4)
    method = Importance(Laplace(n_draws=100, degrees=5.0))
    found = draw(problem, data, key=KEY, method=method)
    assert found.draws["coefficients"].shape == (3, 1, 100, 5)
    assert np.all(found.status == PosteriorStatus.CONVERGED)
    assert np.all(found.scalars["weights_ess"] > 400)
    np.testing.assert_array_equal(found.ess_bulk["coefficients"], 100)
    off = (found.draws["coefficients"].mean((1, 2)) - mean) / np.sqrt(np.diagonal(covariance))
    assert np.max(np.abs(off)) < 0.4  # of 100 independent draws


def test_heavy_tails_do_not_change_what_weights_make_of_them() -> None:
    problem, data, mean, covariance = polynomial(1)
    found = draw(problem, data, key=KEY, method=Importance(Laplace(n_draws=8000, degrees=5.0)))
    spread = np.sqrt(np.diagonal(covariance))
    off = (found.draws["coefficients"].mean((1, 2)) - mean) / spread
    assert np.max(np.abs(off)) < 0.06
    np.testing.assert_allclose(found.draws["coefficients"].std((1, 2)) / spread, 1, atol=0.05)
    fraction = found.scalars["weights_ess"] / 8000
    # Of a t distribution with 5 degrees of freedom for a normal one in two dimensions, by quadrature.
    r = np.linspace(0, 12, 20001)
    normal, t = np.exp(-(r**2) / 2), (1 + r**2 / 5) ** -3.5
    expected = 1 / np.trapezoid(r * normal**2 / t, r)
    np.testing.assert_allclose(fraction, expected, rtol=0.03)
    with pytest.raises(ValueError, match="degrees must be above 0"):
        Laplace(degrees=0.0)


def test_shapes_fixed_tied_sigma_and_predictions() -> None:
    prior = {"intercept": dist.Normal(0.0, 5.0), "slope": priors.Tied("intercept", lambda x: 2 * x)}
    problem = Problem(Line(), Gaussian(1.0), prior)
    _, data = problem.simulate(KEY, (2, 3))
    observation = Observation(data, sigma=np.full((2, 3, 30), 0.5))
    method = Laplace(n_draws=400)
    found = draw(problem, observation, key=KEY, method=method)
    assert found.draws["intercept"].shape == (2, 3, 1, 400)
    np.testing.assert_allclose(found.draws["slope"], 2 * found.draws["intercept"], rtol=1e-6)
    assert found.r_hat.keys() == {"intercept"}
    assert found.status.shape == found.scalars["chi2"].shape == (2, 3)
    narrow = found.standard_deviation()["intercept"]
    np.testing.assert_allclose(
        draw(problem, data, key=KEY, method=method).standard_deviation()["intercept"] / narrow, 2, rtol=0.2
    )
    replicates = predict(problem, observation, found, key=KEY, n=300)
    assert replicates.shape == (2, 3, 300, 30)
    assert np.std(replicates - replicates.mean(2, keepdims=True)) == pytest.approx(np.hypot(0.5, 0.1), rel=0.1)
    known = draw(problem, data, key=KEY, method=method, fixed={"slope": np.ones((2, 3))})
    assert "slope" not in known.draws


def test_p_values_are_uniform_when_the_model_is_right_and_low_when_not() -> None:
    problem, _, _, _ = polynomial(1)
    _, data = problem.simulate(jax.random.key(8), (200,))
    right = draw(problem, data, key=KEY, method=Laplace(n_draws=500)).scalars["p_value"]
    assert 0.3 < np.mean(right) < 0.7
    wrong = draw(problem, Observation(data, sigma=0.15), key=KEY, method=Laplace(n_draws=500)).scalars["p_value"]
    assert np.mean(wrong) < 0.01


def test_arviz_object() -> None:
    problem, data, _, _ = polynomial(2)
    method = NUTS(n_warmup=100, n_draws=100, max_doublings=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one = ji.sample(problem, data[0], key=KEY, method=method, n_predictive=20)
        import arviz

        summary = arviz.summary(one)
    posterior = one["posterior"]
    assert dict(posterior.sizes) == {"chain": 4, "draw": 100, "coefficients_dim_0": 3}
    assert one["sample_stats"]["diverging"].dtype == bool
    assert {"energy", "lp", "tree_depth", "acceptance_rate"} <= set(one["sample_stats"])
    assert one["posterior_predictive"]["data"].shape == (1, 20, 30)
    np.testing.assert_array_equal(one["observed_data"]["data"], data[0])
    assert len(summary) == 3
    assert {"status", "divergences", "bfmi", "tree_depth", "coefficients_r_hat"} <= set(one["diagnostics"])


def test_bad_input() -> None:
    problem, data, _, _ = polynomial(1)
    with pytest.raises(ValueError, match="the data have the shape"):
        ji.sample(problem, data[:, :7], key=KEY)
    with pytest.raises(ValueError, match=r"need 16.* GiB, more than memory=2"):
        ji.sample(problem, np.broadcast_to(data[0], (60000, 30)), key=KEY)
    with pytest.raises(ValueError, match="target_accept is a probability"):
        NUTS(target_accept=1.5)
    with pytest.raises(ValueError, match="n_draws must be 4 or more"):
        HMC(n_draws=2)
    with pytest.raises(ValueError, match="n_draws must be 100 or more"):
        Laplace(n_draws=10)
    with pytest.raises(ValueError, match="no parameter of the forward model"):
        ji.sample(problem, data, key=KEY, fixed={"slop": 1.0})
    with pytest.raises(ValueError, match=r"method must be HMC\(\)"):
        ji.sample(problem, data, key=KEY, method="nuts")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="the data hold no object"):
        draw(problem, data[:0], key=KEY)
    with pytest.raises(ValueError, match=r"Importance corrects Laplace\(\), SVI\(\) or a trained density"):
        Importance(HMC())  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="proposals must be 100 or more"):
        Importance(proposals=10)
    with pytest.raises(ValueError, match="max_steps must be 1 or more"):
        HMC(max_steps=0)
    with pytest.raises(ValueError, match="max_tree_depth must be 1 or more"):
        NUTS(max_tree_depth=0)
    with pytest.raises(ValueError, match="n_steps must be 10 or more"):
        SVI(n_steps=0)
    with pytest.raises(ValueError, match=r"a batch of \(\); expected coefficients for \(3,\)"):
        draw(problem, data, key=KEY, initial=ji.fit(problem, data[0]))
    found = draw(problem, data, key=KEY, method=Laplace(n_draws=100))
    with pytest.raises(ValueError, match="the posterior is of a batch of"):
        predict(problem, data[:2], found, key=KEY)
    with pytest.raises(ValueError, match="n must be 1 or more"):
        predict(problem, data, found, key=KEY, n=0)


@pytest.mark.slow
def test_a_hierarchical_prior_shrinks_a_patch() -> None:
    # Eight noisy lines whose slopes come from one population: the model of one object, inside a larger model.
    prior = {"intercept": dist.Normal(0.0, 5.0), "slope": dist.Normal(0.0, 10.0)}
    problem = Problem(Line(), Gaussian(4.0), prior)
    rng = np.random.default_rng(1)
    slopes = 3 + 0.3 * rng.standard_normal(8)
    data = jnp.asarray(1 + slopes[:, None] * X + 4.0 * rng.standard_normal((8, 30)))

    def patch(data: jax.Array) -> None:
        mean = numpyro.sample("mean", dist.Normal(0.0, 10.0))
        spread = numpyro.sample("spread", dist.HalfNormal(1.0))
        offset = numpyro.sample("offset", dist.Normal(0.0, 1.0).expand([8]).to_event(1))
        for k in range(8):
            with numpyro.handlers.scope(prefix=f"pixel{k}"):
                problem.given(["slope"]).numpyro_model(data[k], known={"slope": mean + spread * offset[k]})

    run = MCMC(NumPyroNUTS(patch, target_accept_prob=0.9), num_warmup=500, num_samples=1500, progress_bar=False)
    run.run(KEY, data)
    draws = run.get_samples()
    together = draws["mean"][:, None] + draws["spread"][:, None] * draws["offset"]
    alone = draw(problem, data, key=KEY, method=NUTS(n_draws=1000))
    error = lambda x: np.sqrt(np.mean((np.asarray(x) - slopes) ** 2))  # noqa: E731
    assert np.mean(np.std(together, 0)) < 0.8 * np.mean(alone.standard_deviation()["slope"])
    assert error(together.mean(0)) < 0.8 * error(alone.median()["slope"])


def test_predictive_p_values_are_exact_for_gaussian_noise_and_fine_enough_for_others() -> None:
    problem = Problem(Line(), Gaussian(0.5), {"intercept": dist.Normal(0, 1), "slope": dist.Normal(0, 1)})
    _, data = problem.simulate(jax.random.key(2), (40,))
    data = np.array(data)
    data[::2] += np.linspace(0.2, 0.6, 20)[:, None] * (-1.0) ** np.arange(len(X))  # what a line does not describe
    found = draw(problem, data, key=KEY, method=Laplace(n_draws=1000))
    p_value = found.scalars["p_value"]
    # The same by replicated data, of which there are as many as it takes.
    replicates = predict(problem, data, found, key=jax.random.key(5), n=1000)
    draws = {name: np.moveaxis(x[:, 0], 1, 0)[..., None] for name, x in found.draws.items()}
    fitted = np.moveaxis(draws["intercept"] + draws["slope"] * X, 0, 1)
    theirs = np.mean(np.sum((replicates - fitted) ** 2, -1) >= np.sum((data[:, None] - fitted) ** 2, -1), axis=1)
    assert np.max(np.abs(p_value - theirs)) < 0.08
    assert np.sum(p_value < 0.01) > 5
    assert np.all(p_value[p_value < 0.01] != 0)
    heavy = Problem(Line(), StudentT(0.5, 5.0), problem.prior)
    first = draw(heavy, data, key=KEY, method=Laplace(n_draws=400)).scalars["p_value"]
    assert np.all(np.isclose(first * 1000 % 1, 0, atol=1e-3) | np.isclose(first * 1000 % 1, 1, atol=1e-3))
    # Each object has its own numbers: the same object twice in one batch does not give the same count twice.
    twice = draw(heavy, np.repeat(data[1:2], len(data), 0), key=KEY, method=Laplace(n_draws=400)).scalars["p_value"]
    assert len(np.unique(twice)) > 3
