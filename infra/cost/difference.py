"""The difference between two cost estimates of a stack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from infra.cost.estimate import Estimate


@dataclass(frozen=True)
class Change:
    """One amount before and now; None where it isn't there."""

    what: str
    before: float | None
    now: float | None
    digits: int = 2
    """After the point, in which it counts as the same."""

    @property
    def changed(self) -> bool:
        """Whether it differs."""
        return self.before is None or self.now is None or round(self.amount, self.digits) != 0

    @property
    def amount(self) -> float:
        """How much more it is now."""
        return (self.now or 0) - (self.before or 0)


@dataclass(frozen=True)
class Difference:
    """The totals, and everything else that changed."""

    totals: tuple[Change, ...]
    """Minimum and maximum of a month."""
    others: tuple[Change, ...]
    """Terms of a month, the hour of a GPU server by flavor, the budget."""
    prices: tuple[str, ...]
    """Price lists that are of another day."""

    @property
    def changes(self) -> tuple[Change, ...]:
        """All of them, totals first."""
        return (*self.totals, *self.others)

    @property
    def empty(self) -> bool:
        """Whether no amount differs."""
        return not any(change.changed for change in self.changes)


def difference(before: Estimate, now: Estimate) -> Difference:
    """What is another amount now than before."""
    dates = (
        ("instances", before.instances_as_of, now.instances_as_of),
        ("the rest", before.fees_as_of, now.fees_as_of),
    )
    others = (*_changes(_lines(before), _lines(now)), *_changes(_hours(before), _hours(now), digits=4))
    others += tuple(_changes(_budget(before), _budget(now)))
    return Difference(
        totals=tuple(_changes(_totals(before), _totals(now))),
        others=tuple(change for change in others if change.changed),
        prices=tuple(f"{what}: of {old} before, of {new} now" for what, old, new in dates if old != new),
    )


def _changes(before: Mapping[str, float], now: Mapping[str, float], digits: int = 2) -> Iterator[Change]:
    """One for each key of either."""
    for key in dict.fromkeys([*now, *before]):
        yield Change(key, before.get(key), now.get(key), digits)


def _totals(of: Estimate) -> dict[str, float]:
    return {"all together, minimum": of.minimum, "all together, maximum": of.maximum}


def _lines(of: Estimate) -> dict[str, float]:
    ends = ("minimum", "maximum")
    pools = {f"pool {line.what}, {end}": float(getattr(line, end)) for line in of.pools for end in ends}
    return {line.what: line.maximum for line in of.fixed} | pools


def _hours(of: Estimate) -> dict[str, float]:
    return {f"a server of flavor {server.flavor}, an hour": server.hour for server in of.servers}


def _budget(of: Estimate) -> dict[str, float]:
    return {"budget": of.budget} if of.budget else {}
