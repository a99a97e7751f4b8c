"""What an amortized answer is, what it is trained by, and what its network sees."""

from __future__ import annotations

import dataclasses

LOSSES = ("misfit", "truth")
ENCODERS = ("dense", "spectrum")


@dataclasses.dataclass(frozen=True)
class PointEstimate:
    """Settings of a network that answers with parameters and their errors.

    Attributes:
        loss: "misfit": the prediction from the network's parameters against the data, through the exact forward model:
            of simulated data without their noise, of real ones as they are, without any truth; "truth": the true
            parameters of simulated objects alone.
        encoder: "dense": a residual perceptron; "spectrum": residual convolutions along the last axis of the data.
        width: of the network's layers; of a "spectrum" its features.
        depth: residual blocks, or levels of the "spectrum".
        real: share of the examples that are taken from real data, where they are given.

    Raises:
        ValueError: a setting that does not exist or is out of its range.
    """

    loss: str = "misfit"
    encoder: str = "dense"
    width: int = 256
    depth: int = 3
    real: float = 0.5

    def __post_init__(self) -> None:
        check = [
            (self.loss in LOSSES, "loss", f"one of {', '.join(LOSSES)}"),
            (self.encoder in ENCODERS, "encoder", f"one of {', '.join(ENCODERS)}"),
            (self.width >= 1, "width", "1 or more"),
            (self.depth >= 1, "depth", "1 or more"),
            (0 <= self.real <= 1, "real", "a fraction from 0 to 1"),
        ]
        for ok, name, expected in check:
            if not ok:
                raise ValueError(f"the point estimate's {name!r} takes {expected}; found {getattr(self, name)!r}")


@dataclasses.dataclass(frozen=True)
class NormalizingFlow:
    """Settings of a posterior in one pass.

    Attributes:
        width: of the hidden layers.
        depth: hidden layers of each coupling.
        layers: couplings.
        bins: of each spline.
        examples: simulated objects that it is trained on.

    Raises:
        ValueError: a setting out of its range.
    """

    width: int = 96
    depth: int = 2
    layers: int = 6
    bins: int = 8
    examples: int = 50_000

    def __post_init__(self) -> None:
        least = {"width": 1, "depth": 1, "layers": 2, "bins": 2, "examples": 100}
        for name, lowest in least.items():
            if getattr(self, name) < lowest:
                raise ValueError(f"the flow's {name!r} takes {lowest} or more; found {getattr(self, name)}")

    def network(self, n: int, n_context: int) -> dict[str, int]:
        """Arguments of the flow's network."""
        own = {name: getattr(self, name) for name in ("width", "depth", "layers", "bins")}
        return {"n": n, "n_context": n_context, **own}
