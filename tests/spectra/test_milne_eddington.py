"""Milne-Eddington profiles against an independent code, finite differences, closed forms and symmetries."""

import functools
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxinv.spectra import Line, MilneEddington, UnknownLineError, milne_eddington_prior
from jaxinv.spectra.constants import SPEED_OF_LIGHT

NAMES = (
    "field_strength", "inclination", "azimuth", "velocity", "doppler_width",
    "line_strength", "damping", "source_constant", "source_slope",
)  # fmt: skip
TYPICAL = dict(zip(NAMES, (1200.0, 0.9, 0.6, 0.4, 0.03, 12.0, 0.3, 0.3, 0.7), strict=True))
WAVELENGTH = np.linspace(6300.9, 6303.3, 112)
LINES = ["Fe I 6301.5", "Fe I 6302.5"]
REFERENCES = {
    "me_hinode_6301_6302": LINES,
    "me_fe6173_fine": ["Fe I 6173.3"],
    "me_fe6173_hmi6": ["Fe I 6173.3"],
}


def reference(folder: Path, name: str) -> tuple[MilneEddington, np.lib.npyio.NpzFile]:
    data = np.load(folder / "spectra/reference" / f"{name}.npz")
    return MilneEddington(REFERENCES[name], data["wavelength_A"]), data


def named(table: np.ndarray, dtype: type = np.float64) -> dict[str, jax.Array]:
    return {name: jnp.asarray(table[:, k], dtype) for k, name in enumerate(NAMES)}


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.usefixtures("float64")
def test_profiles_of_an_independent_code_to_1e_9(reference_data: Path, name: str) -> None:
    model, data = reference(reference_data, name)
    stokes = jax.jit(jax.vmap(model.__call__))(named(data["params"]))
    assert np.max(np.abs(stokes - data["stokes"])) < 1e-9


@pytest.mark.parametrize("name", REFERENCES)
def test_profiles_of_an_independent_code_in_float32_to_1e_5(reference_data: Path, name: str) -> None:
    model, data = reference(reference_data, name)
    stokes = jax.jit(jax.vmap(model.__call__))(named(data["params"], np.float32))
    assert stokes.dtype == jnp.float32
    assert np.max(np.abs(stokes - data["stokes"])) < 1e-5


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.usefixtures("float64")
def test_response_functions_of_an_independent_code_to_1e_6(reference_data: Path, name: str) -> None:
    model, data = reference(reference_data, name)
    n = len(data["rf"])
    _, jacobian = jax.vmap(model.value_and_jacobian)(named(data["params"][:n]))
    for k, parameter in enumerate(NAMES):
        expected = data["rf"][:, k]
        # Where a response all but vanishes, rounding limits the reference's own differences to some 1e-13.
        largest = np.maximum(np.abs(expected).max(axis=(1, 2), keepdims=True), 1e-6)
        assert np.max(np.abs(jacobian[parameter] - expected) / largest) < 1e-6, parameter


@pytest.mark.usefixtures("float64")
def test_jacobian_against_central_differences() -> None:
    model = MilneEddington(LINES, WAVELENGTH)
    at = {**TYPICAL, "wavelength_offset": 0.01, "mu": 0.8}
    value, jacobian = model.value_and_jacobian(at)
    np.testing.assert_allclose(value, model(at), atol=1e-14)
    for name, centre in at.items():
        step = 1e-5 * max(abs(centre), 0.1)
        up, down = (model({**at, name: centre + sign * step}) for sign in (1, -1))
        numeric = (up - down) / (2 * step)
        assert np.max(np.abs(jacobian[name] - numeric)) < 1e-6 * np.max(np.abs(numeric)), name


@pytest.mark.usefixtures("float64")
def test_all_modes_of_differentiation_agree() -> None:
    model = MilneEddington(LINES, WAVELENGTH)
    _, jacobian = model.value_and_jacobian(TYPICAL)
    forward, reverse = jax.jacfwd(model.__call__)(TYPICAL), jax.jacrev(model.__call__)(TYPICAL)
    for name in NAMES:
        np.testing.assert_allclose(forward[name], jacobian[name], rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(reverse[name], jacobian[name], rtol=1e-12, atol=1e-13)


@pytest.mark.usefixtures("float64")
def test_second_derivatives_against_differences_of_gradients() -> None:
    model = MilneEddington(LINES, WAVELENGTH[::4])
    target = model({**TYPICAL, "field_strength": 900.0, "velocity": -0.2})

    def misfit(x: jax.Array) -> jax.Array:
        return jnp.sum((model(dict(zip(NAMES, x, strict=True))) - target) ** 2)

    at = jnp.array(list(TYPICAL.values()))
    hessian = jax.jit(jax.hessian(misfit))(at)
    gradient = jax.jit(jax.grad(misfit))
    scale = jnp.maximum(jnp.abs(at), 0.1)
    for k in range(len(NAMES)):
        step = 1e-5 * scale[k] * jnp.eye(len(NAMES))[k]
        numeric = (gradient(at + step) - gradient(at - step)) / (2e-5 * scale[k])
        assert np.max(np.abs((hessian[k] - numeric) * scale)) < 1e-6 * np.max(np.abs(hessian[k] * scale)), NAMES[k]


EDGES = [
    {"field_strength": 0.0},
    {"inclination": 0.0},
    {"inclination": np.pi},
    {"azimuth": 0.0},
    {"azimuth": np.pi},
    {"damping": 0.0},
    {"line_strength": 0.0},
    {"source_slope": 0.0},
    {"field_strength": 0.0, "damping": 0.0, "inclination": 0.0},
    {"doppler_width": 0.005, "line_strength": 200.0},
    {"doppler_width": 0.19, "damping": 3.0},
    {"field_strength": 5000.0, "velocity": 20.0},
]


@functools.cache
def everything(dtype: type) -> Callable:
    """Value, Jacobian, gradient and Hessian in one compiled function."""
    with jax.enable_x64(dtype == np.float64):
        model = MilneEddington(LINES, WAVELENGTH[::6])

        def misfit(p: dict) -> jax.Array:
            return jnp.sum(model(p) ** 2)

        return jax.jit(lambda p: (model.value_and_jacobian(p), jax.grad(misfit)(p), jax.hessian(misfit)(p)))


@pytest.mark.parametrize("edge", EDGES, ids=lambda edge: ",".join(edge))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gradients_are_finite_at_the_edges_of_every_support(edge: dict[str, float], dtype: type) -> None:
    with jax.enable_x64(dtype == np.float64):
        at = {name: jnp.asarray(value, dtype) for name, value in {**TYPICAL, **edge}.items()}
        results = everything(dtype)(at)
        assert results[0][0].dtype == dtype
        for name in NAMES:
            assert np.all(np.isfinite(results[0][1][name])), name
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(results))


def test_signs_against_the_conventions() -> None:
    model = MilneEddington(["Fe I 6302.5"], WAVELENGTH)
    blue = WAVELENGTH < 6302.4931
    towards = model({**TYPICAL, "inclination": 0.0, "velocity": 0.0})
    assert towards[3][blue].max() > 0.05
    assert towards[3][blue].min() > -1e-6
    away = model({**TYPICAL, "inclination": np.pi, "velocity": 0.0})
    np.testing.assert_allclose(away[3], -towards[3], atol=1e-6)
    across = {**TYPICAL, "inclination": np.pi / 2, "velocity": 0.0, "field_strength": 2500.0}
    wing = int(np.argmin(np.abs(WAVELENGTH - 6302.4931 - 0.12)))
    assert model({**across, "azimuth": 0.0})[1][wing] > 0.05
    assert model({**across, "azimuth": np.pi / 2})[1][wing] < -0.05
    assert model({**across, "azimuth": np.pi / 4})[2][wing] > 0.05
    red = model({**TYPICAL, "velocity": 3.0, "field_strength": 0.0})[0]
    core = WAVELENGTH[int(np.argmin(red))]
    assert core == pytest.approx(6302.4931 * (1 + 3.0 / SPEED_OF_LIGHT), abs=0.022)


@pytest.mark.usefixtures("float64")
@settings(max_examples=25, deadline=None)
@given(
    field=st.floats(-3000, 3000),
    inclination=st.floats(-6, 9),
    azimuth=st.floats(-7, 7),
    velocity=st.floats(-3, 3),
)
def test_canonical_parameters_predict_the_same(
    field: float, inclination: float, azimuth: float, velocity: float
) -> None:
    model = MilneEddington(LINES, WAVELENGTH[::4])
    at = {**TYPICAL, "field_strength": field, "inclination": inclination, "azimuth": azimuth, "velocity": velocity}
    moved = model.knowledge.canonical(at)
    np.testing.assert_allclose(model(moved), model(at), atol=1e-10)
    assert moved["field_strength"] >= 0
    assert 0 <= moved["inclination"] <= np.pi
    assert 0 <= moved["azimuth"] <= np.pi  # a tiny negative angle rounds to pi


@pytest.mark.usefixtures("float64")
@settings(max_examples=20, deadline=None)
@given(strength=st.floats(1, 3000), inclination=st.floats(0, np.pi), azimuth=st.floats(0, np.pi))
def test_turning_and_reversing_the_field(strength: float, inclination: float, azimuth: float) -> None:
    model = MilneEddington(LINES, WAVELENGTH[::4])
    at = {**TYPICAL, "field_strength": strength, "inclination": inclination, "azimuth": azimuth}
    i, q, u, v = model(at)
    reversed_field = model({**at, "inclination": np.pi - inclination})
    turned = model({**at, "azimuth": azimuth + np.pi / 2})
    np.testing.assert_allclose(reversed_field[0], i, atol=1e-12)
    np.testing.assert_allclose(reversed_field[3], -v, atol=1e-12)
    np.testing.assert_allclose(turned, jnp.stack([i, -q, -u, v]), atol=1e-12)


@pytest.mark.usefixtures("float64")
def test_weak_field_limit() -> None:
    """V = -4.67e-13 g lambda^2 B cos(inclination) dI/dlambda (LL04 eq. 9.77)."""
    wavelength = np.linspace(6302.0, 6303.0, 2001)
    model = MilneEddington(["Fe I 6302.5"], wavelength)
    stokes = model({**TYPICAL, "field_strength": 10.0})
    slope = np.gradient(np.asarray(stokes[0]), wavelength)
    expected = -4.668644772e-13 * 2.49 * 6302.4931**2 * 10.0 * np.cos(0.9) * slope
    np.testing.assert_allclose(stokes[3], expected, atol=5e-3 * np.abs(expected).max())


def test_no_field_no_polarization_and_the_continuum() -> None:
    model = MilneEddington(LINES, np.r_[6290.0, WAVELENGTH], mu=0.6)
    stokes = model({**TYPICAL, "field_strength": 0.0, "damping": 0.0})
    assert np.max(np.abs(stokes[1:])) < 1e-7
    assert stokes[0, 0] == pytest.approx(0.3 + 0.6 * 0.7, abs=1e-6)


def test_windows_far_apart_do_not_touch() -> None:
    far = np.linspace(6172.9, 6173.8, 40)
    both = MilneEddington(["Fe I 6302.5", "Fe I 6173.3"], np.r_[far, WAVELENGTH], relative_strengths=[1.0, 0.5])
    stokes = both(TYPICAL)
    alone = MilneEddington(["Fe I 6302.5"], WAVELENGTH)(TYPICAL)
    np.testing.assert_allclose(stokes[:, 40:], alone, atol=1e-5)
    other = MilneEddington(["Fe I 6173.3"], far)({**TYPICAL, "line_strength": 6.0})
    np.testing.assert_allclose(stokes[:, :40], other, atol=1e-5)


def test_effective_triplet_is_exact_only_for_a_triplet() -> None:
    for name, same in (("Fe I 6302.5", True), ("Fe I 6301.5", False)):
        exact = MilneEddington([name], WAVELENGTH)(TYPICAL)
        triplet = MilneEddington([name], WAVELENGTH, effective_triplet=True)(TYPICAL)
        assert np.allclose(exact, triplet, atol=1e-5) is same
        np.testing.assert_allclose(exact, triplet, atol=0.05)


def test_constants_do_not_depend_on_when_float64_is_switched_on() -> None:
    model = MilneEddington(LINES, WAVELENGTH)
    with jax.enable_x64(True):
        late = model({name: jnp.asarray(value, float) for name, value in TYPICAL.items()})
        early = MilneEddington(LINES, WAVELENGTH)(TYPICAL)
        assert late.dtype == jnp.float64
        np.testing.assert_allclose(late, early, atol=1e-14)


def test_own_lines_and_the_contract() -> None:
    line = Line(wavelength=6302.4931, j_lower=1, g_lower=2.49, j_upper=0, g_upper=0.0, log_gf=-1.160)
    own, table = MilneEddington([line], WAVELENGTH), MilneEddington("Fe I 6302.5", WAVELENGTH)
    np.testing.assert_array_equal(own(TYPICAL), table(TYPICAL))
    assert set(milne_eddington_prior()) == set(NAMES)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((["Fe I 9999.9"], WAVELENGTH), UnknownLineError, "nearest"),
        ((["Fe I 6173.3"], WAVELENGTH), ValueError, "do not cover Fe I 6173.3"),
        ((LINES, WAVELENGTH / 10), ValueError, "do not cover"),
        ((LINES, np.r_[WAVELENGTH, np.nan]), ValueError, "finite"),
        ((LINES, WAVELENGTH[None]), ValueError, "shape"),
    ],
)
def test_clear_errors(arguments: tuple, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        MilneEddington(*arguments)


def test_more_clear_errors() -> None:
    with pytest.raises(ValueError, match=r"within \(0, 1\]; found 1.2"):
        MilneEddington(LINES, WAVELENGTH, mu=1.2)
    with pytest.raises(ValueError, match="found 1 for 2 lines"):
        MilneEddington(LINES, WAVELENGTH, relative_strengths=[1.0])
    with pytest.raises(KeyError, match="'damping' is missing"):
        MilneEddington(LINES, WAVELENGTH)({name: TYPICAL[name] for name in NAMES if name != "damping"})


def truths(n: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    low = (300, 0, 0, -3, 0.015, 2, 0.05, 0.2, 0.4)
    high = (3000, np.pi, np.pi, 3, 0.05, 60, 1.0, 0.5, 0.9)
    return {k: rng.uniform(a, b, n).astype(np.float32) for k, a, b in zip(NAMES, low, high, strict=True)}


def test_the_classical_guess_is_near_the_truth() -> None:
    model = MilneEddington(LINES, WAVELENGTH)
    truth = truths(400, 0)
    data = jax.vmap(model.__call__)(truth)
    guess = {k: v[:, 0] for k, v in jax.vmap(model.knowledge.guess)(data, jnp.ones(data.shape, bool)).items()}
    assert np.median(np.abs(guess["velocity"] - truth["velocity"])) < 0.5
    along, expected = (p["field_strength"] * np.cos(p["inclination"]) for p in (guess, truth))
    strong = np.abs(expected) > 100
    assert np.mean(np.sign(along[strong]) == np.sign(expected[strong])) > 0.98
    assert np.corrcoef(along, expected)[0, 1] > 0.9
    across = truth["field_strength"] * np.sin(truth["inclination"]) > 500
    turn = np.abs((guess["azimuth"] - truth["azimuth"] + np.pi / 2) % np.pi - np.pi / 2)
    assert np.median(turn[across]) < np.radians(10)
    assert np.mean(turn[across] > np.radians(45)) < 0.05


@pytest.mark.parametrize("fill", [0.0, 1.0, 1e30, -1.0])
def test_the_guess_is_finite_for_any_data(fill: float) -> None:
    model = MilneEddington(LINES, WAVELENGTH)
    values = jnp.full((4, 112), fill)
    for valid in (jnp.ones((4, 112), bool), jnp.zeros((4, 112), bool)):
        guess = model.knowledge.guess(values, valid)
        assert all(np.all(np.isfinite(value)) for value in guess.values())


def test_masked_samples_do_not_touch_the_guess() -> None:
    model = MilneEddington(LINES, WAVELENGTH)
    data = np.array(model(TYPICAL))
    valid = np.ones((4, 112), bool)
    valid[:, 50:60] = False
    spoiled = data.copy()
    spoiled[:, 50:60] = 1e6
    one, other = (model.knowledge.guess(jnp.asarray(x), jnp.asarray(valid)) for x in (data, spoiled))
    for name in NAMES:
        np.testing.assert_array_equal(one[name], other[name])
