"""How a network is trained: everything but what it learns."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import optax
import optax.contrib

OPTIMIZERS = ("adam", "muon")


@dataclasses.dataclass(frozen=True)
class Training:
    """Settings of the training loop.

    Attributes:
        optimizer: "adam" (Kingma & Ba 2015) or "muon" (Jordan et al. 2024: the gradient of each matrix is
            orthogonalized; a step costs more and gains more, most in large batches).
        steps: optimizer steps at most.
        batch_size: examples of one step, over all devices together.
        learning_rate: at its highest; 2e-3 suits adam, 2e-2 muon.
        warmup: fraction of the steps in which the rate rises from zero; then it falls along a cosine.
        last_rate: the last rate as a fraction of the highest.
        weight_decay: of the weights, not of the biases (Loshchilov & Hutter 2019).
        clip: largest norm of the gradient; longer ones are shortened.
        average: rate at which the weights that are judged and kept follow those that are trained (an exponential
            average; Polyak & Juditsky 1992); 1: they are the same. At first they are the mean of all so far.
        evaluate: steps between evaluations on the validation examples.
        patience: training stops after this many evaluations without a new best; the best weights are kept.
        n_validation: validation examples, never trained on.

    Raises:
        ValueError: a setting out of its range.
    """

    optimizer: str = "adam"
    steps: int = 20_000
    batch_size: int = 512
    learning_rate: float = 2e-3
    warmup: float = 0.02
    last_rate: float = 1e-3
    weight_decay: float = 0.0
    clip: float = 1.0
    average: float = 1.0
    evaluate: int = 250
    patience: int = 40
    n_validation: int = 2048

    def __post_init__(self) -> None:
        check = [
            (self.optimizer in OPTIMIZERS, "optimizer", " or ".join(OPTIMIZERS)),
            (self.steps >= 1, "steps", "1 or more"),
            (self.batch_size >= 1, "batch_size", "1 or more"),
            (0 < self.learning_rate < math.inf, "learning_rate", "a number above 0"),
            (0 <= self.warmup < 1, "warmup", "a fraction from 0 to below 1"),
            (0 <= self.last_rate <= 1, "last_rate", "a fraction from 0 to 1"),
            (0 <= self.weight_decay < math.inf, "weight_decay", "a number that is not negative"),
            (self.clip > 0, "clip", "a number above 0"),
            (0 < self.average <= 1, "average", "a number above 0, at most 1"),
            (self.evaluate >= 1, "evaluate", "1 or more"),
            (self.patience >= 1, "patience", "1 or more"),
            (self.n_validation >= 1, "n_validation", "1 or more"),
        ]
        for ok, name, expected in check:
            if not ok:
                raise ValueError(f"the training setting {name!r} takes {expected}; found {getattr(self, name)!r}")

    @property
    def rate(self) -> optax.Schedule:
        """The learning rate at each step."""
        return optax.warmup_cosine_decay_schedule(
            init_value=0.0 if self.warmup else self.learning_rate,
            peak_value=self.learning_rate,
            warmup_steps=max(int(self.warmup * self.steps), 1),
            decay_steps=max(self.steps, 2),
            end_value=self.last_rate * self.learning_rate,
        )

    @property
    def transformation(self) -> optax.GradientTransformation:
        """The optimizer with the schedule, clipping and decoupled weight decay."""
        if self.optimizer == "muon":
            step = optax.contrib.muon(
                self.rate, weight_decay=self.weight_decay, weight_decay_mask=_decaying, adam_learning_rate=self.rate
            )
        else:
            step = optax.adamw(self.rate, weight_decay=self.weight_decay, mask=_decaying)
        return optax.chain(optax.clip_by_global_norm(self.clip), step)


def _decaying(weights: Any) -> Any:
    return jax.tree.map(lambda array: array.ndim > 1, weights)
