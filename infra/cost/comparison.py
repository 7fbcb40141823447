"""A cost estimate compared with another, as text or pull request comment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from infra.cost import difference, text
from infra.cost.difference import Change, Difference
from infra.cost.estimate import Estimate

MARKER = "<!-- devservers: cost of {} -->"
"""The first line of a comment, by which the next one finds it and takes its place."""


@dataclass(frozen=True)
class Comparison:
    """An estimate and the one before it."""

    now: Estimate
    before: Estimate | None
    """None when there is nothing to compare with."""
    before_label: str = ""
    """Where ``before`` comes from."""
    why_not_deployed: str = ""
    """Why the deployed state was not used; empty when it was, or when another base was asked for."""
    why_no_before: str = ""
    """Why ``before`` is missing."""

    @property
    def difference(self) -> Difference | None:
        """What differs; None with nothing to compare."""
        return difference.difference(self.before, self.now) if self.before else None

    def text(self) -> str:
        """For a terminal."""
        return "\n".join([*text.lines(self.now), "", *self._text_lines()])

    def markdown(self) -> str:
        """For a pull request: totals and what changed; the whole estimate is folded."""
        head = [MARKER.format(self.now.stack), f"### Cost of stack `{self.now.stack}`, US dollars a month", ""]
        whole = ["", "<details><summary>The whole estimate</summary>", "", "```", *text.lines(self.now), "```"]
        return "\n".join([*head, *self._table(), *whole, "</details>", ""])

    def _caption(self) -> str:
        unread = f"the last deployed state can't be read ({self.why_not_deployed})"
        if self.before:
            return f"Compared with {self.before_label}" + (f", as {unread}" if self.why_not_deployed else "")
        return f"Not compared: {unread}, and {self.why_no_before}"

    def _text_lines(self) -> Iterator[str]:
        yield self._caption()
        found = self.difference
        if found and found.empty:
            yield "  nothing costs more or less"
        elif found:
            yield f"  {'US dollars a month':<{text.WIDTH}}{'before':>12}{'now':>12}{'difference':>13}"
            for change in found.changes:
                before, now, more = _cells(change)
                yield f"  {f'  {change.what}':<{text.WIDTH}}{before:>12}{now:>12}{more:>13}"
        if found:
            yield from (f"  prices of {each}" for each in found.prices)

    def _table(self) -> Iterator[str]:
        yield f"{self._caption()}."
        yield ""
        if self.now.region_notice:
            yield f"**{self.now.region_notice}**"
            yield ""
        found = self.difference
        if found and not found.empty:
            yield "| | before | now | difference |"
            yield "|---|---:|---:|---:|"
            for change in found.changes:
                yield f"| {change.what} | {' | '.join(_cells(change))} |"
        else:
            same = "Nothing costs more or less: " if found else "All together "
            yield f"{same}{self.now.minimum:,.2f} to {self.now.maximum:,.2f}."
        if found:
            yield from (f"\nPrices of {each}." for each in found.prices)


def _cells(change: Change) -> tuple[str, str, str]:
    before, now = ("-" if each is None else f"{each:,.{change.digits}f}" for each in (change.before, change.now))
    return before, now, f"{change.amount:+,.{change.digits}f}"
