"""What an amortized answer is, what it is trained by, and what its network sees."""

from __future__ import annotations

import dataclasses
from typing import Any

LOSSES = ("misfit", "truth")
IMAGE_LOSSES = ("truth", "pairs")
IMAGE_NETWORKS = ("unet", "local")
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
class ImageEstimate:
    """Settings of a network that answers with an image.

    Attributes:
        loss: "truth": the true images of simulated objects; "pairs": a second observation of the same object with its
            own noise, simulated or real (Lehtinen et al. 2018, ICML: Noise2Noise), which on average says the same.
        network: "unet": a U-Net on the whole image; "local": each pixel from its surroundings, learned from some pixels
            of each image, so that the memory of a step does not depend on the size of the images.
        width: of the layers; of the "unet" at its finest level.
        depth: residual blocks, of the "unet" at each level.
        levels: of the "unet", each with twice the features.
        size: of the "local" network, places along each side of the surroundings.
        pixels: of an image in each step, for the "local" network.
        examples: simulated objects that the "local" network is trained on; the "unet" sees new ones in each step.

    Raises:
        ValueError: a setting that does not exist or is out of its range.
    """

    loss: str = "truth"
    network: str = "unet"
    width: int = 32
    depth: int = 1
    levels: int = 3
    size: int = 11
    pixels: int = 512
    examples: int = 512

    def __post_init__(self) -> None:
        check = [
            (self.loss in IMAGE_LOSSES, "loss", f"one of {', '.join(IMAGE_LOSSES)}"),
            (self.network in IMAGE_NETWORKS, "network", f"one of {', '.join(IMAGE_NETWORKS)}"),
            (self.size >= 3 and self.size % 2 == 1, "size", "an odd number, 3 or more"),
            *((getattr(self, name) >= 1, name, "1 or more") for name in ("width", "depth", "levels", "pixels")),
            (self.examples >= 10, "examples", "10 or more"),
        ]
        for ok, name, expected in check:
            if not ok:
                raise ValueError(f"the image estimate's {name!r} takes {expected}; found {getattr(self, name)!r}")

    @property
    def architecture(self) -> tuple[str, dict[str, Any]]:
        """The kind of the network and its arguments."""
        if self.network == "local":
            return "local", {"size": self.size, "width": self.width, "depth": self.depth}
        return "unet", {"widths": tuple(self.width * 2**k for k in range(self.levels)), "depth": self.depth}


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
