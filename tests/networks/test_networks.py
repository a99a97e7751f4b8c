import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate

from jaxinv.networks import KINDS, Network

CASES = {
    "mlp": ({"n_in": 3, "n_out": 5, "width": 8, "depth": 2}, [(3,)], (5,)),
    "residual": ({"n_in": 3, "n_out": 5, "width": 8, "depth": 2}, [(3,)], (5,)),
    "decoder": ({"n_in": 3, "n_out": 44, "n_channels": 4, "width": 6, "depth": 2}, [(3,)], (44,)),
    "encoder": (
        {"n_channels": 4, "n_wavelength": 13, "n_more": 2, "n_out": 5, "width": 4, "depth": 2},
        [(4, 13), (2,)],
        (5,),
    ),
    "unet": ({"widths": (4, 6), "depth": 1}, [(6, 9), ()], (6, 9)),
    "local": ({"size": 3, "width": 8, "depth": 1, "groups": 2}, [(6, 9), ()], (6, 9)),
}


@pytest.mark.parametrize("kind", CASES)
def test_shapes_batches_and_derivatives(kind: str) -> None:
    settings, inputs, expected = CASES[kind]
    network = Network.new(kind, settings, 1)
    apply = jax.jit(lambda network, *x: network(*x))
    x = [jax.random.normal(jax.random.key(k), shape) for k, shape in enumerate(inputs)]
    out = apply(network, *x)
    assert out.shape == expected
    # A batch by vmap is each object for itself.
    many = jax.jit(jax.vmap(network))(*[jnp.stack([a, 2 * a]) for a in x])
    np.testing.assert_allclose(many[0], out, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(many[1], apply(network, *[2 * a for a in x]), rtol=1e-4, atol=1e-5)
    # Every weight takes part.
    gradient = jax.jit(jax.grad(lambda n: jnp.sum(n(*x) ** 2)))(network)
    for leaf in jax.tree.leaves(gradient.weights):
        assert np.all(np.isfinite(leaf))
        assert np.any(leaf != 0)
    assert network.n_weights == sum(array.size for array in network.arrays().values())


@pytest.mark.parametrize("kind", CASES)
def test_weights_are_carried_over_by_name(kind: str) -> None:
    settings, inputs, _ = CASES[kind]
    x = [jax.random.normal(jax.random.key(k), shape) for k, shape in enumerate(inputs)]
    one = Network.new(kind, settings, 1)
    apply = jax.jit(lambda network: network(*x))
    again = Network.restored(kind, settings, one.arrays())
    assert jax.tree.structure(again) == jax.tree.structure(one)
    np.testing.assert_array_equal(apply(again), apply(one))
    arrays = one.arrays()
    name = next(iter(arrays))
    with pytest.raises(ValueError, match="shape"):
        Network.restored(kind, settings, {**arrays, name: np.zeros(7)})
    with pytest.raises(ValueError, match="in one of them only"):
        Network.restored(kind, settings, {**arrays, "extra": np.zeros(7)})


def test_there_are_no_other_kinds_and_settings() -> None:
    assert set(CASES) | {"flow", "recurrent"} == set(KINDS)
    with pytest.raises(ValueError, match="no network 'transformer'"):
        Network.new("transformer", {})
    with pytest.raises(ValueError, match="'mlp'"):
        Network.new("mlp", {"n_in": 1, "n_out": 1, "colour": 3})


def test_a_recurrent_network_remembers_and_starts_by_changing_little() -> None:
    network = Network.new("recurrent", {"n_in": 3, "n_out": 2, "width": 8})
    x = jax.random.normal(jax.random.key(0), (3,))
    memory, first = network(jnp.zeros(8), x)
    _, second = network(memory, x)
    assert first.shape == (2,)
    assert np.all(np.abs(first) < 0.1)
    assert not np.allclose(first, second)


@pytest.fixture
def flow() -> Network:
    """A flow far from the identity, whose last shift and scale stay near those of a standard normal distribution."""
    network = Network.new("flow", {"n": 2, "n_context": 1, "width": 16, "layers": 4, "bins": 5})
    noise = {
        name: (0.02 if name.startswith("scale") else 0.15) * np.random.default_rng(0).standard_normal(x.shape)
        for name, x in network.arrays().items()
    }
    arrays = {name: array + noise[name] for name, array in network.arrays().items()}
    return Network.restored(network.kind, dict(network.settings), arrays)


def test_a_flow_is_inverted(flow: Network, float64: None) -> None:
    flow = jax.tree.map(lambda x: jnp.asarray(x, float), flow)
    context = jnp.array([0.7])
    noise = jax.random.normal(jax.random.key(0), (200, 2), float)
    x, change = jax.jit(jax.vmap(lambda e: flow(e, context, method="transform")))(noise)
    again, back = jax.jit(jax.vmap(lambda x: flow(x, context, method="invert")))(x)
    np.testing.assert_allclose(again, noise, atol=1e-7)
    np.testing.assert_allclose(back, -change, atol=1e-7)
    assert not np.allclose(x, noise, atol=0.2)
    jacobian = jax.jit(jax.vmap(jax.jacfwd(lambda e: flow(e, context, method="transform")[0])))(noise)
    np.testing.assert_allclose(np.linalg.slogdet(jacobian)[1], change, atol=1e-8)


def test_a_flow_is_normalized(flow: Network) -> None:
    grid = np.linspace(-14, 14, 561)
    points = np.stack(np.meshgrid(grid, grid, indexing="ij"), -1).reshape(-1, 2)
    noise, change = jax.jit(jax.vmap(lambda x: flow(x, jnp.array([-0.4]), method="invert")))(
        jnp.asarray(points, jnp.float32)
    )
    log_q = -0.5 * jnp.sum(noise**2, axis=1) - np.log(2 * np.pi) + change
    total = integrate.trapezoid(integrate.trapezoid(np.exp(log_q).reshape(561, 561), grid), grid)
    assert total == pytest.approx(1, abs=5e-3)
