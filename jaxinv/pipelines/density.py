"""Trained densities for the posteriors of an observation: which one serves it, and where it comes from."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from jaxinv.amortization import Flow
from jaxinv.pipelines.learned import WEIGHTS, shipped
from jaxinv.pipelines.preparation import Preparation
from jaxinv.problem import Problem
from jaxinv.training.folder import FolderError, read_card


class TrainedDensity(NamedTuple):
    """A density of posteriors with its card.

    It lives in the coordinates of each pixel's mode, and weights correct what it gets wrong, so that it serves any
    wavelengths and any noise; what has to be the same is what is inferred.

    Attributes:
        flow: the density.
        card: what its folder says of it.
        path: the folder, or the name of one that comes with the package.
    """

    flow: Flow
    card: dict[str, Any]
    path: str

    def check(self, problem: Problem) -> None:
        """Whether it is a density of what a problem infers.

        Raises:
            FolderError: it is not.
        """
        own = inferred(self.card)
        if own != set(problem.names):
            raise FolderError(
                f"{self.path} was trained to infer {', '.join(sorted(own))}; the options infer "
                f"{', '.join(sorted(problem.names))}: train one with these options, or leave it out"
            )
        if not self.serves(problem):
            raise FolderError(
                f"{self.path} was trained for posteriors in {self.flow.dimension} coordinates; with these bounds they "
                f"have {problem.coordinates.opened().size} (a field that may vanish is a vector, another is not): "
                "train one with these bounds, or leave it out"
            )

    def serves(self, problem: Problem) -> bool:
        """Whether it lives in coordinates such as a problem's posteriors have."""
        same = inferred(self.card) == set(problem.names)
        return same and problem.coordinates.opened().size == self.flow.dimension

    @property
    def origin(self) -> str:
        """For a provenance."""
        return f"{self.path}, {self.card['weights_sha256'][:16]}"


def load_density(path: str | os.PathLike[str]) -> TrainedDensity:
    """A density that `jaxinv train` wrote with the method posterior.

    Raises:
        FolderError: the folder is not there, damaged, of another kind or version.
    """
    return TrainedDensity(Flow.load(path), read_card(path), str(path))


def density_for(ready: Preparation) -> TrainedDensity | None:
    """The density that comes with the package for the lines of an observation and what is inferred, if there is one."""
    lines = [line.name for line in ready.lines]
    for name, card in shipped("Flow").items():
        if card["config"]["lines"] == lines:
            density = load_density(WEIGHTS / name)._replace(path=name)
            if density.serves(ready.problem):
                return density
    return None


def inferred(card: dict[str, Any]) -> set[str]:
    """The parameters that a network was trained to infer."""
    entries = card["prior"].items()
    return {name for name, entry in entries if isinstance(entry, dict) and "distribution" in entry}
