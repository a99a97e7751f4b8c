"""The cheapest method that passes, for each object."""

from __future__ import annotations

import math
from typing import Any

import equinox as eqx

from jaxinv.sampling.approximations import Importance
from jaxinv.sampling.methods import HMC, Method


class Auto(eqx.Module):
    """Methods in turn: an object goes on to the next one until its draws can be relied on.

    What an approximation costs is a few thousand predictions; chains cost a hundred times as many. Where the weights of
    the one pass (`Importance`), its draws stand for the posterior as well as the chains' do. An object's status, draws
    and diagnostics are those of the method that passed, or of the last one; its `route` says which that was, and its
    `pareto_k` and `weights_ess` are those of the last weights that were tried.

    Attributes:
        methods: `Importance()` and `HMC()` by default. A trained density comes between them:
            `Auto(Importance(), Importance(flow), HMC())`.

    Raises:
        ValueError: something is no method, or one makes more draws than another.
    """

    methods: tuple[Method, ...]

    def __init__(self, *methods: Method) -> None:
        self.methods = methods or (Importance(), HMC())
        for method in self.methods:
            if not isinstance(method, Method):
                raise ValueError(f"Auto tries methods such as Importance() and HMC(); found {method!r}")
        counts = [math.prod(method.shape) for method in self.methods]
        if len(set(counts)) > 1:
            raise ValueError(
                "all methods that Auto tries must make as many draws of an object; found "
                + ", ".join(f"{n} of {type(m).__name__}" for m, n in zip(self.methods, counts, strict=True))
            )

    @property
    def shape(self) -> tuple[int, int]:
        """`(n_chains, n_draws)`, those of the last method; others' draws are arranged alike."""
        return self.methods[-1].shape


def checked(method: Any) -> Method | Auto:
    """The method, `HMC()` for `None`.

    Raises:
        ValueError: it is none.
    """
    if method is None:
        return HMC()
    if not isinstance(method, Method | Auto):
        raise ValueError(f"method must be HMC(), NUTS(), Laplace(), SVI(), Importance() or Auto(); found {method!r}")
    return method
