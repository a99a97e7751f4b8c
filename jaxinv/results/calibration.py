"""Whether posteriors mean what they say: ranks of the truth among draws, coverage of intervals, and their tests."""

from __future__ import annotations

import dataclasses

import numpy as np

LEVELS = (0.5, 0.68, 0.95)


@dataclasses.dataclass(frozen=True)
class CalibrationReport:
    """Ranks from simulation-based calibration (Talts, Betancourt, Simpson, Vehtari & Gelman 2018, arXiv:1804.06788).

    If truth and data are drawn from the problem and the method draws from the posterior, the rank of the truth among
    `n_draws` independent draws is uniform on 0 ... `n_draws`. A hump in its histogram means intervals that are too
    wide, a bowl too narrow, a slope a bias.

    Attributes:
        ranks: for each scalar, by its label, `(n,)` integers.
        n_draws: draws that each truth is ranked among.
        status: `(n_simulated,)`, values of `PosteriorStatus`; objects without draws have no rank.
        method: what was calibrated, for titles.
    """

    ranks: dict[str, np.ndarray]
    n_draws: int
    status: np.ndarray
    method: str = ""

    @property
    def n(self) -> int:
        """Objects that have ranks."""
        return len(next(iter(self.ranks.values())))

    def histogram(self, n_bins: int = 20) -> dict[str, np.ndarray]:
        """Counts of ranks in equal bins, by label."""
        edges = np.linspace(0, self.n_draws + 1, n_bins + 1)
        return {name: np.histogram(ranks, edges - 0.5)[0] for name, ranks in self.ranks.items()}

    def p_values(self) -> dict[str, float]:
        """Of the hypothesis that the ranks are uniform: chi-squared with 20 bins, fewer for few objects."""
        from scipy import stats

        n_bins = int(np.clip(self.n // 10, 2, 20))
        return {name: float(stats.chisquare(counts).pvalue) for name, counts in self.histogram(n_bins).items()}

    def adjusted_p_values(self) -> dict[str, float]:
        """The same after Holm's correction for testing all of them (Holm 1979, Scand. J. Statist. 6, 65)."""
        raw = self.p_values()
        out, largest = {}, 0.0
        for k, name in enumerate(sorted(raw, key=raw.__getitem__)):
            largest = max(largest, min((len(raw) - k) * raw[name], 1.0))
            out[name] = largest
        return {name: out[name] for name in raw}

    def coverage(self, level: float) -> dict[str, float]:
        """How often the truth lies within the central interval that holds `level` of the draws."""
        place = {name: (ranks + 0.5) / (self.n_draws + 1) for name, ranks in self.ranks.items()}
        return {name: float(np.mean(np.abs(x - 0.5) <= level / 2)) for name, x in place.items()}

    def coverage_error(self, level: float) -> float:
        """One binomial standard deviation of a coverage."""
        return float(np.sqrt(level * (1 - level) / self.n))

    def ecdf(self) -> dict[str, np.ndarray]:
        """Cumulative fraction of ranks minus that of uniform ones, at (0 ... n_draws + 1) / (n_draws + 1)."""
        grid = np.arange(self.n_draws + 2)
        out = {name: np.searchsorted(np.sort(r), grid, "left") / self.n for name, r in self.ranks.items()}
        return {name: x - grid / (self.n_draws + 1) for name, x in out.items()}

    def ecdf_band(self, level: float = 0.95) -> np.ndarray:
        """`(2, n_draws + 2)`: between these the whole curve of `ecdf` stays with this probability if ranks are uniform.

        Simulated (Sailynoja, Buerkner & Vehtari 2022, Stat. Comput. 32, 32).
        """
        grid = np.arange(self.n_draws + 2)
        rng = np.random.default_rng(0)
        ranks = np.sort(rng.integers(0, self.n_draws + 1, (1000, self.n)), axis=1)
        curves = np.stack([np.searchsorted(r, grid, "left") for r in ranks]) / self.n - grid / (self.n_draws + 1)
        deviation = np.sqrt(np.maximum(grid * (self.n_draws + 1 - grid), 1)) / (self.n_draws + 1)
        width = np.quantile(np.max(np.abs(curves) / deviation, axis=1), level) * deviation
        width[[0, -1]] = 0
        return np.stack([-width, width])

    def table(self) -> str:
        """One line for each parameter: coverages and p-value."""
        adjusted = self.adjusted_p_values()
        columns = [self.coverage(level) for level in LEVELS]
        head = "".join(f"{f'{100 * level:.0f} %':>10}" for level in LEVELS)
        lines = [
            f"{self.n} simulated objects, {self.method}".rstrip(", "),
            f"{'truth within':<20}{head}{'p (Holm)':>12}",
        ]
        for name in self.ranks:
            values = "".join(f"{100 * column[name]:>9.1f} " for column in columns)
            lines.append(f"{name:<20}{values}{adjusted[name]:>12.3f}")
        errors = "".join(f"{100 * self.coverage_error(level):>9.1f} " for level in LEVELS)
        lines.append(f"{'standard error':<20}{errors}")
        return "\n".join(lines)
