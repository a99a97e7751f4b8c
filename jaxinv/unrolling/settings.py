"""Which learned loop: what the network sees, what it decides, and by what it is judged."""

from __future__ import annotations

import dataclasses

VARIANTS = ("damping", "recurrent", "network")
LOSSES = ("misfit", "parameters", "both")
BACKPROPAGATIONS = ("gauss-newton", "truncated", "rematerialized")


@dataclasses.dataclass(frozen=True)
class LearnedLM:
    """Settings of a learned Levenberg-Marquardt loop.

    Attributes:
        variant: what the network g decides in theta_(i+1) = theta_i + g[J, y, f(theta_i)]:
            "damping": the damping of each parameter in the classical step, from the local quadratic model;
            "recurrent": the same, and a correction to the step, from that, the data, and a memory of the steps before;
            "network": the whole step, from the same; no linear system is solved.
        steps: of the loop; the forward model is evaluated once more than that.
        width: of the recurrent network's memory; the perceptron of "damping" has two layers of it.
        encoded: numbers into which the data are condensed once, before the loop ("recurrent" and "network").
        loss: by which the loop is judged: "misfit", the logarithm of the cost after every step; "parameters", the error
            of the parameters against the truth in units of their expected one; "both", the sum.
        backpropagation: through the loop:
            "gauss-newton": through all steps, with the derivative of the gradient approximated by the curvature, which
                the loop has anyway: no more expensive than the loop itself;
            "truncated": each step is judged by its own result only;
            "rematerialized": exact, the forward model's second derivatives included; each step is computed twice.

    Raises:
        ValueError: a setting that does not exist.
    """

    variant: str = "recurrent"
    steps: int = 6
    width: int = 64
    encoded: int = 64
    loss: str = "misfit"
    backpropagation: str = "gauss-newton"

    def __post_init__(self) -> None:
        check = [
            (self.variant in VARIANTS, "variant", f"one of {', '.join(VARIANTS)}"),
            (self.steps >= 1, "steps", "1 or more"),
            (self.width >= 1, "width", "1 or more"),
            (self.encoded >= 1, "encoded", "1 or more"),
            (self.loss in LOSSES, "loss", f"one of {', '.join(LOSSES)}"),
            (self.backpropagation in BACKPROPAGATIONS, "backpropagation", f"one of {', '.join(BACKPROPAGATIONS)}"),
        ]
        for ok, name, expected in check:
            if not ok:
                raise ValueError(f"the learned loop's {name!r} takes {expected}; found {getattr(self, name)!r}")
