"""Which learned loop: what the network decides, for how many steps, and how it is trained."""

from __future__ import annotations

import dataclasses

VARIANTS = ("damping", "recurrent", "network")
BACKPROPAGATIONS = ("greedy", "exact")


@dataclasses.dataclass(frozen=True)
class LearnedSteps:
    """Settings of a loop of learned steps.

    Attributes:
        variant: what the network decides in theta_(i+1) = theta_i + g[J, y, f(theta_i)]:
            "damping": how careful the solver's own step is, for each coordinate (of Levenberg-Marquardt its damping);
            "recurrent": the same with a memory of the steps before, and a correction to the step;
            "network": the whole step; no linear system is solved.
        steps: that it is trained for; it may be used for more or fewer.
        width: of the network.
        backpropagation: "greedy": each step is judged by what it finds, by exact first derivatives, and only the
            network's memory reaches back to earlier steps; "exact": through all steps, the forward model's second
            derivatives included, each step computed twice.

    Raises:
        ValueError: a setting that does not exist.
    """

    variant: str = "damping"
    steps: int = 4
    width: int = 64
    backpropagation: str = "greedy"

    def __post_init__(self) -> None:
        check = [
            (self.variant in VARIANTS, "variant", f"one of {', '.join(VARIANTS)}"),
            (self.steps >= 1, "steps", "1 or more"),
            (self.width >= 1, "width", "1 or more"),
            (self.backpropagation in BACKPROPAGATIONS, "backpropagation", f"one of {', '.join(BACKPROPAGATIONS)}"),
        ]
        for ok, name, expected in check:
            if not ok:
                raise ValueError(f"the learned steps' {name!r} takes {expected}; found {getattr(self, name)!r}")
