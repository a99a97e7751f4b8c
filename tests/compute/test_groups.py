"""Groups of objects inside a compiled program."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinv.compute.groups import map_in_groups


@pytest.mark.parametrize("n", [1, 3, 4, 5, 7, 8, 97])
def test_every_item_once_and_in_order(n: int) -> None:
    items = {"x": np.arange(n), "y": np.ones((n, 2))}
    out = map_in_groups(lambda item: (item["x"] + item["y"], item["x"]), items, 4)
    assert np.array_equal(out[0], np.repeat(items["x"][:, None] + 1.0, 2, axis=1))
    assert np.array_equal(out[1], items["x"])


def test_keys_are_items() -> None:
    keys = jax.random.split(jax.random.key(0), 5)
    assert np.array_equal(map_in_groups(jax.random.normal, keys, 3), jax.vmap(jax.random.normal)(keys))


def test_what_is_left_over_is_no_program_of_its_own() -> None:
    traced = []

    def count(x: jax.Array) -> jax.Array:
        traced.append(x)
        return jnp.sin(x)

    jax.make_jaxpr(lambda x: map_in_groups(count, x, 64))(jnp.ones(4000))
    assert len(traced) == 1
