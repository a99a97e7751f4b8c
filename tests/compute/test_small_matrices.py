import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinv.compute.small_matrices import cholesky, cholesky_solve, positive_part, solve_lower, solve_upper


@pytest.mark.parametrize("n", [1, 2, 9, 24, 25, 60])
@pytest.mark.parametrize("columns", [(), (3,)])
def test_agrees_with_numpy(n: int, columns: tuple[int, ...], float64: None) -> None:
    rng = np.random.default_rng(n)
    half = rng.standard_normal((n, n + 3))
    matrix, right = half @ half.T, rng.standard_normal((n, *columns))
    factor = cholesky(jnp.asarray(matrix))
    np.testing.assert_allclose(factor, np.linalg.cholesky(matrix), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(cholesky_solve(factor, right), np.linalg.solve(matrix, right), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(np.tensordot(factor, solve_lower(factor, right), 1), right, atol=1e-9)
    np.testing.assert_allclose(np.tensordot(factor.T, solve_upper(factor, right), 1), right, atol=1e-9)


@pytest.mark.parametrize("n", [3, 30])
def test_what_is_not_positive_definite_is_nan(n: int) -> None:
    matrix = np.eye(n, dtype=np.float32)
    matrix[1, 1] = -1
    assert np.isnan(cholesky(jnp.asarray(matrix))).any()
    assert np.isnan(cholesky_solve(cholesky(jnp.asarray(matrix)), jnp.ones(n))).all()


def test_a_large_batch_on_many_devices_comes_back() -> None:
    # LAPACK's kernels wait for each other here, for ever.
    matrices = jnp.eye(9) * jnp.arange(1.0, 8193.0)[:, None, None]
    mesh = jax.make_mesh((len(jax.devices()),), ("n",), axis_types=(jax.sharding.AxisType.Auto,))
    here = jax.sharding.PartitionSpec("n")

    def solve(matrices: jax.Array) -> jax.Array:
        return jax.vmap(lambda m: cholesky_solve(cholesky(m), jnp.ones(9)))(matrices)

    run = jax.jit(jax.shard_map(solve, mesh=mesh, in_specs=here, out_specs=here))
    np.testing.assert_allclose(run(matrices), 1 / np.arange(1.0, 8193.0)[:, None] * np.ones(9), rtol=1e-5)


@pytest.mark.parametrize("n", [1, 2, 5, 12])
def test_the_positive_part_of_a_symmetric_matrix(n: int) -> None:
    rng = np.random.default_rng(n)
    root = rng.normal(size=(n, n)) * 10.0 ** rng.uniform(-2, 2, n)[:, None]
    definite = (root @ root.T).astype(np.float32)
    np.testing.assert_array_equal(positive_part(jnp.asarray(definite)), definite)  # as it is
    values = np.linspace(-1, 2, n) if n > 1 else np.array([-1.0])
    turn = np.linalg.qr(rng.normal(size=(n, n)))[0]
    mixed = (turn * values) @ turn.T
    found = np.asarray(positive_part(jnp.asarray(mixed, jnp.float32)))
    size = np.sqrt(np.abs(np.diag(mixed)))
    lambdas, vectors = np.linalg.eigh(mixed / np.outer(size, size))
    expected = (vectors * np.maximum(lambdas, 0)) @ vectors.T * np.outer(size, size)
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max() + 1e-7)
