"""The Voigt and Faraday-Voigt profiles against SciPy's Faddeeva function."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import wofz

from jaxinv.spectra.voigt import derivatives, voigt

RNG = np.random.default_rng(0)
V = np.concatenate([RNG.uniform(-6, 6, 20000), RNG.uniform(-300, 300, 20000), [0.0, 0.0]])
A = np.concatenate([10 ** RNG.uniform(-4, 1, 40000), [0.0, 2.0]])
A[::5] = 0


@pytest.mark.usefixtures("float64")
def test_float64_agrees_to_1e_12() -> None:
    h, f = voigt(jnp.asarray(V), jnp.asarray(A))
    expected = wofz(V + 1j * A)
    assert np.max(np.abs(h - expected.real)) < 1e-12
    assert np.max(np.abs(f - expected.imag)) < 1e-12


def test_float32_agrees_to_1e_6() -> None:
    v, a = V.astype(np.float32), A.astype(np.float32)
    h, f = voigt(jnp.asarray(v), jnp.asarray(a))
    expected = wofz(v.astype(float) + 1j * a.astype(float))
    assert h.dtype == jnp.float32
    assert np.max(np.abs(h - expected.real)) < 1e-6
    assert np.max(np.abs(f - expected.imag)) < 1e-6


@pytest.mark.usefixtures("float64")
def test_derivatives_are_those_of_the_faddeeva_function() -> None:
    v, a = jnp.asarray(V), jnp.asarray(A)
    w = wofz(V + 1j * A)
    slope = -2 * (V + 1j * A) * w + 2j / np.sqrt(np.pi)
    h_v, f_v = derivatives(v, a, *voigt(v, a))
    np.testing.assert_allclose(h_v, slope.real, atol=1e-9)
    np.testing.assert_allclose(f_v, slope.imag, atol=1e-9)
    (_, _), (h_a, f_a) = jax.jvp(lambda a: voigt(v, a), (a,), (jnp.ones_like(a),))
    np.testing.assert_allclose(h_a, (1j * slope).real, atol=1e-9)
    np.testing.assert_allclose(f_a, (1j * slope).imag, atol=1e-9)


@pytest.mark.usefixtures("float64")
def test_reverse_mode_and_second_derivatives() -> None:
    def h(x: jax.Array) -> jax.Array:
        return voigt(x[0], x[1])[0]

    at, step = jnp.array([0.7, 0.3]), 1e-5
    np.testing.assert_allclose(jax.grad(h)(at), jax.jacfwd(h)(at), atol=1e-14)
    numeric = [(jax.grad(h)(at + step * e) - jax.grad(h)(at - step * e)) / (2 * step) for e in jnp.eye(2)]
    np.testing.assert_allclose(jax.hessian(h)(at), jnp.stack(numeric), atol=1e-9)
