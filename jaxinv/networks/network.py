"""A Flax network as an Equinox module, whose weights pass through `jit`, `vmap` and `grad` as leaves of a pytree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import numpy as np
from flax import nnx

from jaxinv.networks.convolutional import SpectrumDecoder, SpectrumEncoder
from jaxinv.networks.dense import MLP, ResidualMLP
from jaxinv.networks.flow import ConditionalFlow
from jaxinv.networks.images import ImageUNet, LocalNetwork
from jaxinv.networks.recurrent import Recurrent

KINDS: dict[str, Any] = {
    "mlp": MLP,
    "residual": ResidualMLP,
    "decoder": SpectrumDecoder,
    "encoder": SpectrumEncoder,
    "recurrent": Recurrent,
    "flow": ConditionalFlow,
    "unet": ImageUNet,
    "local": LocalNetwork,
}


class Network(eqx.Module):
    """A network of a known architecture.

    Attributes:
        kind: of `KINDS`.
        settings: arguments of the network's class.
        weights: its `nnx.State`.
    """

    kind: str = eqx.field(static=True)
    settings: tuple[tuple[str, Any], ...] = eqx.field(static=True)
    graph: Any = eqx.field(static=True)
    weights: Any

    @staticmethod
    def new(kind: str, settings: Mapping[str, Any], key: Any = 0) -> Network:
        """A network with random weights, from a random key or a seed.

        Raises:
            ValueError: there is no such kind, or it has no such setting.
        """
        if kind not in KINDS:
            raise ValueError(f"there is no network {kind!r} (there are {', '.join(KINDS)})")
        try:
            settings = {name: tuple(x) if isinstance(x, list) else x for name, x in settings.items()}  # as from a card
            graph, weights = nnx.split(KINDS[kind](**settings, rngs=nnx.Rngs(key)))
        except TypeError as error:
            raise ValueError(f"the network {kind!r}: {error}") from None
        return Network(kind, tuple(sorted(settings.items())), graph, weights)

    def __call__(self, *inputs: Any, method: str = "__call__") -> Any:
        """The network's output; `method` names another of its methods."""
        return getattr(nnx.merge(self.graph, self.weights), method)(*inputs)

    def arrays(self) -> dict[str, np.ndarray]:
        """The weights by name, such as `hidden/0/kernel`."""
        return {"/".join(map(str, path)): np.asarray(leaf[...]) for path, leaf in nnx.to_flat_state(self.weights)}

    @staticmethod
    def restored(kind: str, settings: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Network:
        """The network that has these weights, as `arrays` names them.

        Raises:
            ValueError: there is no such kind or setting, or a name or a shape is not the network's.
        """
        blank = jax.eval_shape(lambda: Network.new(kind, settings))  # draws no weights, which takes seconds
        leaves, tree = jax.tree.flatten(blank)
        names = ["/".join(map(str, path)) for path, _ in nnx.to_flat_state(blank.weights)]
        if set(names) != arrays.keys():
            odd = sorted(set(names) ^ arrays.keys())[0]
            raise ValueError(f"the weights are those of another network: {odd!r} is in one of them only")
        for name, leaf in zip(names, leaves, strict=True):
            if leaf.shape != arrays[name].shape:
                raise ValueError(
                    f"the weights are those of another network: {name!r} has the shape {arrays[name].shape}, "
                    f"expected {leaf.shape}"
                )
        new = [np.asarray(arrays[name], leaf.dtype) for name, leaf in zip(names, leaves, strict=True)]
        return jax.tree.unflatten(tree, new)

    @property
    def n_weights(self) -> int:
        """The number of weights."""
        return sum(int(np.size(leaf)) for leaf in jax.tree.leaves(self.weights))
