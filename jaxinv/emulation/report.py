"""How good a surrogate is on draws that it was not trained on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Report:
    """Errors of a surrogate on fresh draws from its prior, in the units of the prediction.

    Attributes:
        n_draws: fresh draws.
        rms: for each row of the prediction (a Stokes parameter); of a vector, one number.
        percentile_99: of the absolute error, the same.
        maximum: of the absolute error, the same.
        jacobian: name of a parameter and the rms error of the derivatives by it, relative to their rms.
        truncation: rms and 99th percentile of what the principal components leave out; 0 without them.
        seconds: of the forward model for one object in a batch.
        surrogate_seconds: of the surrogate.
        curve: of the training: step, mean loss since the last entry, validation loss, learning rate.
        best_step: whose weights were kept.
    """

    n_draws: int
    rms: tuple[float, ...]
    percentile_99: tuple[float, ...]
    maximum: tuple[float, ...]
    jacobian: tuple[tuple[str, float], ...]
    truncation: tuple[float, float]
    seconds: float
    surrogate_seconds: float
    curve: tuple[tuple[float, ...], ...] = dataclasses.field(repr=False)
    best_step: int

    @property
    def speed_up(self) -> float:
        """How many times quicker than the forward model a batch is."""
        return self.seconds / self.surrogate_seconds

    def __str__(self) -> str:
        lines = [f"surrogate on {self.n_draws} fresh draws", "  row        rms   99th percentile   maximum"]
        for k, (rms, high, most) in enumerate(zip(self.rms, self.percentile_99, self.maximum, strict=True)):
            lines.append(f"  {k:<4} {rms:9.2e} {high:17.2e} {most:9.2e}")
        if self.truncation[0]:
            lines.append(f"  left out by the principal components: rms {self.truncation[0]:.2e}")
        lines += [f"  derivative by {name}: {100 * error:.2f} % (rms, relative)" for name, error in self.jacobian]
        lines.append(
            f"  {1e6 * self.surrogate_seconds:.1f} us in place of {1e6 * self.seconds:.1f} us "
            f"({self.speed_up:.1f} times as fast)"
        )
        return "\n".join(lines)

    @staticmethod
    def of(fields: Mapping[str, Any]) -> Report:
        """From what JSON made of it."""
        return Report(**{name: _tuples(value) for name, value in fields.items()})


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
