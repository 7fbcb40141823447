"""One measured figure, and how many are summed up into one."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Figure:
    """A line of the bench table.

    ``value`` is in ``unit`` (s, MiB, % of a core, or 1 for counts and shares). ``baseline`` is what it was held
    against in the same run and ``ratio`` their quotient; ``bound`` is the most that is allowed, of the ratio
    where there is one, else of the value. ``runs`` is how many measurements are behind it.
    """

    name: str
    value: float
    unit: str
    baseline: float | None = None
    ratio: float | None = None
    bound: float | None = None
    runs: int = 1

    @classmethod
    def of(cls, name: str, value: float, unit: str, **others: Any) -> Figure:
        """A figure with its ratio worked out."""
        baseline = others.get("baseline")
        return cls(name, value, unit, ratio=value / baseline if baseline else None, **others)

    @property
    def met(self) -> bool:
        """Whether the bound is kept."""
        held = self.value if self.ratio is None else self.ratio
        return self.bound is None or held <= self.bound

    def record(self) -> dict[str, Any]:
        """The entry of ``.bench/results.json``."""
        return asdict(self)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * round(share * 100) // 100) - 1)]


def median(values: Sequence[float]) -> float:
    """The middle value."""
    return statistics.median(values)
