"""A measured figure, and percentiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Figure:
    """A line of the bench table.

    ``value`` is in ``unit`` (s, MiB, % of a core, or a count's noun). ``baseline`` is what it was held against in
    the same run, in the same unit. ``bound`` is the most that is allowed: of the ratio where there is a baseline,
    unless ``bounds_value``, which says that it is of the value all the same; with ``at_least`` it is the least that
    is allowed. ``runs`` is how many measurements are behind it.
    """

    name: str
    value: float
    unit: str
    baseline: float | None = None
    bound: float | None = None
    runs: int = 1
    bounds_value: bool = False
    at_least: bool = False

    @property
    def ratio(self) -> float | None:
        """Value by baseline, None without one."""
        return self.value / self.baseline if self.baseline else None

    @property
    def met(self) -> bool:
        """Whether the bound is kept."""
        ratio = self.ratio
        held = self.value if ratio is None or self.bounds_value else ratio
        if self.bound is None:
            return True
        return held >= self.bound if self.at_least else held <= self.bound

    def record(self) -> dict[str, Any]:
        """The entry of ``.bench/results.json``."""
        fields = asdict(self) | {"ratio": self.ratio}
        return {key: fields[key] for key in ("name", "value", "unit", "baseline", "ratio", "bound", "runs")}

    def line(self) -> str:
        """The line of the table, below :data:`HEADER`."""

        def cell(value: float | None) -> str:
            return "-" if value is None else f"{value:.3g}"

        numbers = f"{cell(self.baseline):>10}{cell(self.ratio):>8}{cell(self.bound):>8}{self.runs:>6}"
        return (
            f"{self.name:<26}{cell(self.value):>10} {self.unit:<7}{numbers}{'' if self.met else MISSED[self.at_least]}"
        )


MISSED = {False: "  over the bound", True: "  below the bound"}
HEADER = f"{'figure':<26}{'value':>10} {'unit':<7}{'baseline':>10}{'ratio':>8}{'bound':>8}{'runs':>6}"


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * round(share * 100) // 100) - 1)]
