"""Proximal methods: one answer from all of them, reference iterates, derivatives; and what is wrong in one line."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import jaxinv as ji
from jaxinv import imaging
from jaxinv.optimize import iterate

RNG = np.random.default_rng(3)
N, SIGMA, WEIGHT = 16, 0.05, 20.0
KERNEL = np.outer([1.0, 2.0, 1.0], [1.0, 2.0, 1.0]) / 16
TRUTH = np.zeros((N, N))
TRUTH[3:9, 4:12] = 1
TRUTH[10:14, 2:7] = 0.5
BLUR = imaging.Convolution(KERNEL, (N, N))
DATA = np.asarray(BLUR(TRUTH)) + SIGMA * RNG.normal(size=(N, N))
GAUSS = ji.noise.Gaussian(SIGMA)


def deblurring(**more: object) -> ji.Problem:
    return ji.Problem(BLUR, GAUSS, {"image": imaging.TotalVariation((N, N), WEIGHT, **more)})


def cost(problem: ji.Problem, data: np.ndarray, image: np.ndarray) -> float:
    parameters = {"image": jnp.asarray(image)}
    own = problem.prior["image"].log_prob(parameters["image"])
    return float(problem.noise.misfit(problem.predict(parameters), data) / 2 - own)


def reference_admm(data: np.ndarray, coupling: float, steps: int) -> np.ndarray:
    """Written down from Boyd et al. (2011, sec. 6.4), with loops and NumPy's transforms."""
    transfer = np.zeros((N, N))
    transfer[:3, :3] = KERNEL
    transfer = np.fft.fft2(np.roll(transfer, (-1, -1), (0, 1)))
    down, right = (np.fft.fft2(unit) for unit in (np.zeros((N, N)),) * 2)
    unit = np.zeros((N, N))
    unit[0, 0] = 1
    down, right = np.fft.fft2(np.roll(unit, -1, 0) - unit), np.fft.fft2(np.roll(unit, -1, 1) - unit)
    below = np.abs(transfer) ** 2 / SIGMA**2 + coupling * (np.abs(down) ** 2 + np.abs(right) ** 2)
    z, u = np.zeros((2, 2, N, N))
    for _ in range(steps):
        v = np.fft.fft2(z - u)
        above = np.conj(transfer) * np.fft.fft2(data) / SIGMA**2
        above = above + coupling * (np.conj(down) * v[0] + np.conj(right) * v[1])
        x = np.real(np.fft.ifft2(above / below))
        seen = np.real(np.fft.ifft2(np.stack([down, right]) * np.fft.fft2(x)))
        for i, j in np.ndindex(N, N):
            vector = seen[:, i, j] + u[:, i, j]
            length = np.hypot(*vector)
            z[:, i, j] = vector * max(1 - WEIGHT / coupling / length, 0) if length else 0
        u = u + seen - z
    return x


@pytest.mark.usefixtures("float64")
def test_admm_takes_the_reference_steps() -> None:
    found = jax.jit(
        lambda data: iterate(deblurring(), data, 7, {"image": np.zeros((N, N))}, solver=ji.ADMM(coupling=300.0))
    )(DATA)
    np.testing.assert_allclose(found["image"], reference_admm(DATA, 300.0, 7), atol=1e-6)


SOLVERS: dict[str, ji.Solver] = {
    "FISTA": ji.FISTA(tolerance=1e-5),
    "ADMM": ji.ADMM(tolerance=1e-5),
    "a fixed coupling, relaxed": ji.ADMM(tolerance=1e-5, coupling=300.0, relaxation=1.6),
    "PDHG": ji.PDHG(tolerance=1e-6, max_iterations=5000),
}


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
@pytest.mark.usefixtures("float64")
def test_all_find_the_minimum(solver: ji.Solver) -> None:
    problem = deblurring()
    best = reference_admm(DATA, 300.0, 3000)
    found = ji.fit(problem, DATA, solver=solver)
    assert found.status == ji.Status.CONVERGED
    np.testing.assert_allclose(found.parameters["image"], best, atol=2e-3)
    assert cost(problem, DATA, found.parameters["image"]) <= cost(problem, DATA, best) * (1 + 1e-4)
    assert found.chi2 == pytest.approx(float(np.mean((np.asarray(BLUR(best)) - DATA) ** 2) / SIGMA**2), rel=1e-2)
    assert found.covariance is None


def test_half_quadratic_splitting_comes_near() -> None:
    problem = deblurring()
    best = cost(problem, DATA, reference_admm(DATA, 300.0, 1000))
    found = ji.fit(problem, DATA, solver=ji.HQS(steps=60))
    assert found.iterations == 60
    assert best < cost(problem, DATA, found.parameters["image"]) < best * 1.03


def test_a_prior_with_kinks_takes_admm_by_itself_and_maps_are_fitted() -> None:
    data = np.stack([DATA, DATA[::-1], np.full_like(DATA, np.nan)]).astype(np.float32)
    found = ji.fit(deblurring(), data)
    assert list(found.status) == [ji.Status.CONVERGED, ji.Status.CONVERGED, ji.Status.NO_DATA]
    best = reference_admm(DATA, 300.0, 500)
    np.testing.assert_allclose(found.parameters["image"][0], best, atol=0.01)
    assert np.isnan(found.parameters["image"][2]).all()


@pytest.mark.parametrize("case", ["missing samples", "open border", "tomography"])
def test_admm_by_conjugate_gradients(case: str) -> None:
    """Where no spectrum divides: a step of ISTA, which needs none, leaves the answer where it is."""
    mask = RNG.uniform(size=(N, N)) > 0.3
    problem, data = deblurring(), DATA
    if case == "missing samples":
        data = np.where(mask, DATA, np.nan)
    elif case == "open border":
        problem = deblurring(border="open")
    else:
        radon = imaging.Radon(N, np.arange(0, 180, 20.0))
        problem = ji.Problem(radon, ji.noise.Gaussian(0.1), {"image": imaging.TotalVariation((N, N), 5.0)})
        data = np.asarray(radon(TRUTH)) + 0.1 * RNG.normal(size=(9, N))
    fit = ji.fit(problem, data.astype(np.float32))
    assert fit.status == ji.Status.CONVERGED
    found = fit.parameters
    step = jax.jit(lambda data, start: iterate(problem, data, 20, start, solver=ji.FISTA()))
    again = step(data, found)
    assert found["image"].std() > 0.2
    np.testing.assert_allclose(again["image"], found["image"], atol=2e-3)


def test_poisson_noise() -> None:
    """Richardson-Lucy's known update; and primal-dual against FISTA, whose step is found by halving."""
    counts = np.random.default_rng(0).poisson(np.asarray(BLUR(20 * TRUTH + 5))).astype(np.float32)
    lucy = ji.Problem(BLUR, ji.noise.Poisson(), {"image": imaging.Positivity((N, N))})
    found = ji.fit(lucy, counts, solver=ji.ISRA(max_iterations=20))
    assert found.status == ji.Status.NOT_CONVERGED  # it was stopped early, on purpose
    image = np.full((N, N), counts.sum() / N**2)
    for _ in range(20):
        image = image * np.asarray(BLUR.adjoint(counts / np.asarray(BLUR(image))))
    np.testing.assert_allclose(found.parameters["image"], image, rtol=1e-3)

    # The bound is where the mean of the counts is none: the start has to be elsewhere.
    prior = imaging.TotalVariation((N, N), 0.3) + imaging.Positivity((N, N))
    problem = ji.Problem(BLUR, ji.noise.Poisson(), {"image": prior})
    each = [
        ji.fit(problem, counts, solver=solver) for solver in (ji.PDHG(tolerance=1e-5, max_iterations=10000), ji.FISTA())
    ]
    costs = [cost(problem, counts, one.parameters["image"]) for one in each]
    assert costs[0] == pytest.approx(costs[1], rel=1e-3)
    assert all(one.status in (ji.Status.CONVERGED, ji.Status.AT_BOUND) for one in each)


def test_positive_least_squares_by_multiplication() -> None:
    problem = ji.Problem(BLUR, GAUSS, {"image": imaging.Positivity((N, N))})
    found = ji.fit(problem, DATA + 0.3, solver=ji.ISRA(max_iterations=2000))
    other = ji.fit(problem, DATA + 0.3, solver=ji.FISTA(max_iterations=5000))
    assert np.all(found.parameters["image"] >= 0)
    assert float(found.chi2) == pytest.approx(float(other.chi2), rel=0.1)


def test_a_nonlinear_model_with_two_parameters() -> None:
    """A gain beside an image, with a normal prior that has no prox."""
    prior = {"image": imaging.Wavelets((8, 8), 3.0, wavelet="haar", levels=2), "gain": dist.Normal(1.0, 0.1)}
    problem = ji.Problem(lambda p: p["gain"] * p["image"], ji.noise.Gaussian(0.05), prior)
    truth = np.kron([[1.0, 2.0], [3.0, 1.5]], np.ones((4, 4)))
    found = ji.fit(problem, truth.astype(np.float32), solver=ji.FISTA(tolerance=1e-6), initial={"image": truth})
    assert found.status == ji.Status.CONVERGED
    np.testing.assert_allclose(found.parameters["gain"] * found.parameters["image"], truth, atol=0.1)
    assert found.parameters["gain"] == pytest.approx(1.0, abs=0.05)


DERIVED: dict[str, ji.Solver] = {
    "FISTA": ji.FISTA(tolerance=1e-11, max_iterations=20000),
    "ADMM": ji.ADMM(tolerance=1e-9, coupling=300.0, max_iterations=20000),
}


@pytest.mark.parametrize("solver", DERIVED.values(), ids=DERIVED)
@pytest.mark.usefixtures("float64")
def test_the_answer_is_differentiated_at_the_fixed_point(solver: ji.Solver) -> None:
    """By the prior's weight and by the data, forward and reverse, against finite differences."""

    def error(weight: jax.Array, data: jax.Array) -> jax.Array:
        prior = imaging.Wavelets((N, N), weight, wavelet="haar", levels=2)
        found = ji.solve(ji.Problem(BLUR, GAUSS, {"image": prior}), data, solver=solver)
        return jnp.sum((found.parameters["image"] - TRUTH) ** 2)

    data, move = jnp.asarray(DATA), jnp.asarray(RNG.normal(size=(N, N)))
    at, small = jnp.asarray(8.0), 1e-4
    by, by_data = jax.jit(jax.grad(error, (0, 1)))(at, data)
    value = jax.jit(error)
    expected = (value(at + small, data) - value(at - small, data)) / (2 * small)
    assert float(by) == pytest.approx(float(expected), rel=1e-4)
    expected = (value(at, data + small * move) - value(at, data - small * move)) / (2 * small)
    assert float(jnp.sum(by_data * move)) == pytest.approx(float(expected), rel=1e-3)
    _, forward = jax.jit(lambda w: jax.jvp(lambda w: error(w, data), (w,), (jnp.ones(()),)))(at)
    assert float(forward) == pytest.approx(float(by), rel=1e-5)


@pytest.mark.usefixtures("float64")
def test_an_answer_of_which_parts_do_not_depend_on_what_is_varied() -> None:
    """The image is made of the copies, so that only these depend on the weight."""

    @jax.jit
    def error(weight: jax.Array) -> jax.Array:
        solver = ji.ADMM(tolerance=1e-9, coupling=300.0, max_iterations=20000)
        prior = imaging.TotalVariation((N, N), weight)
        found = ji.solve(ji.Problem(BLUR, GAUSS, {"image": prior}), DATA, solver=solver)
        return jnp.sum((found.parameters["image"] - TRUTH) ** 2)

    at, small = jnp.asarray(10.0), 1e-4
    expected = (error(at + small) - error(at - small)) / (2 * small)
    assert float(jax.grad(error)(at)) == pytest.approx(float(expected), rel=1e-3)


@pytest.mark.usefixtures("float64")
def test_unrolled_steps_are_differentiated() -> None:
    def error(weight: jax.Array, rematerialized: bool) -> jax.Array:
        problem = ji.Problem(BLUR, GAUSS, {"image": imaging.TotalVariation((N, N), weight)})
        found = iterate(problem, DATA, 8, solver=ji.ADMM(coupling=300.0), rematerialized=rematerialized)
        return jnp.sum((found["image"] - TRUTH) ** 2)

    at, small = jnp.asarray(20.0), 1e-4
    value = jax.jit(lambda w: error(w, False))
    expected = (value(at + small) - value(at - small)) / (2 * small)
    for rematerialized in (False, True):
        by = jax.jit(jax.grad(lambda w, r=rematerialized: error(w, r)))(at)
        assert float(by) == pytest.approx(float(expected), rel=1e-5)


def test_plug_and_play() -> None:
    """A denoiser that is a prox gives what the prior gives."""
    weight = 30.0
    wavelets = imaging.Wavelets((N, N), weight, wavelet="haar", levels=2)
    denoiser = imaging.Denoiser((N, N), lambda image, sigma: wavelets.prox(image, sigma**2))
    plugged, own = (
        ji.fit(ji.Problem(BLUR, GAUSS, {"image": prior}), DATA, solver=ji.ADMM()).parameters["image"]
        for prior in (denoiser, wavelets)
    )
    np.testing.assert_allclose(plugged, own, atol=1e-4)


PROBLEMS: list[tuple[Callable[[], object], str]] = [
    (lambda: ji.fit(deblurring(), DATA, solver=ji.LBFGS()), "TotalVariation, has kinks, which LBFGS cannot meet"),
    (lambda: ji.fit(deblurring(), DATA, solver=ji.ADMM(covariance="diagonal")), 'give the solver covariance="none"'),
    (
        lambda: ji.fit(
            ji.Problem(BLUR, GAUSS, {"image": dist.Normal(0.0, 1.0).expand((N, N)).to_event(2)}), DATA, solver=ji.ADMM()
        ),
        "ADMM needs a prior with a prox, and that of 'image' is a",
    ),
    (
        lambda: ji.fit(ji.Problem(BLUR, ji.noise.Poisson(), deblurring().prior), DATA, solver=ji.ADMM()),
        "ADMM needs a linear operator with Gaussian noise",
    ),
    (
        lambda: ji.fit(ji.Problem(lambda p: p["image"] ** 2, GAUSS, deblurring().prior), DATA, solver=ji.PDHG()),
        "PDHG needs a linear operator",
    ),
    (lambda: ji.fit(deblurring(), DATA, solver=ji.ISRA()), "ISRA knows no prior but positivity"),
    *(
        (
            lambda prior=prior: ji.fit(ji.Problem(BLUR, GAUSS, {"image": prior}), DATA, solver=ji.ISRA()),
            "ISRA knows no prior but positivity",
        )
        for prior in (imaging.Bounded((N, N), 0.0, 1.0), imaging.Tikhonov((N, N), 1.0) + imaging.Positivity((N, N)))
    ),
    (lambda: iterate(deblurring(), DATA, 0, solver=ji.ADMM()), "`steps` is a whole number above 0; found 0"),
    (
        lambda: ji.fit(
            ji.Problem(lambda p: p["a"] * p["b"], GAUSS, {name: imaging.Positivity((N, N)) for name in "ab"}),
            DATA,
            solver=ji.HQS(),
        ),
        "HQS infers one image; the prior infers a, b",
    ),
]


@pytest.mark.parametrize(("run", "said"), PROBLEMS)
def test_what_is_wrong_is_said(run: Callable[[], object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        run()
