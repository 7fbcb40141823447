"""The cost estimate as text, for somebody who answers for a budget. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from infra.cost.estimate import Estimate, Line

WIDTH = 40
"""Of what a line is about."""


def lines(estimate: Estimate) -> Iterator[str]:
    """The estimate's lines: fixed cost, pools, GPU servers, budget."""
    yield f"{f'Cost of stack {estimate.stack} a month, US dollars':<{WIDTH + 2}}{'minimum':>12}{'maximum':>12}"
    yield _row("fixed, whatever runs", estimate.fixed_month, estimate.fixed_month)
    yield from (_of(line) for line in estimate.fixed)
    low, high = (sum(getattr(line, end) for line in estimate.pools) for end in ("minimum", "maximum"))
    yield _row("nodes, by pool", low, high, "every pool at its smallest, and at its largest all month")
    yield from (_of(line) for line in estimate.pools)
    yield _row("all together", estimate.minimum, estimate.maximum)
    yield from _budget(estimate)
    if estimate.region_notice:
        yield f"  {estimate.region_notice}"
    yield ""
    yield from _servers(estimate)
    yield ""
    yield "Not counted"
    yield from (f"  - {each}" for each in estimate.not_counted)
    yield (
        f"Prices: us-east-1, without taxes, discounts and free tiers; instances of {estimate.instances_as_of}, "
        f"the rest as remembered on {estimate.fees_as_of}: check them with AWS's calculator"
    )


def _row(what: str, minimum: float, maximum: float, detail: str = "") -> str:
    return f"  {what:<{WIDTH}}{minimum:>12,.2f}{maximum:>12,.2f}  {detail}".rstrip()


def _of(line: Line) -> str:
    return _row(f"  {line.what}", line.minimum, line.maximum, line.detail)


def _budget(estimate: Estimate) -> Iterator[str]:
    if estimate.budget:
        over = estimate.maximum - estimate.budget
        yield (
            f"  {'budget (monthlyBudget)':<{WIDTH}}{'':>12}{estimate.budget:>12,.2f}  "
            + (
                f"the maximum is {over:,.2f} above it; AWS sends an e-mail and stops nothing"
                if over > 0
                else ("" if estimate.region_notice else "the maximum is within it")
            ).rstrip()
        )


def _servers(estimate: Estimate) -> Iterator[str]:
    if not estimate.servers:
        yield "No pool has GPUs."
        return
    yield f"{'A GPU server, US dollars':<{WIDTH + 2}}{'an hour':>12}{'a month':>12}"
    for server in estimate.servers:
        yield f"  {server.flavor:<{WIDTH}}{server.hour:>12,.4f}{server.month:>12,.2f}  {server.detail}"
    yield f"  A month is {hours(estimate.hours)}. It is the server's share of its node; a node is paid as a whole"
    yield "  from its start until no server has been on it for ten minutes."


def hours(count: int) -> str:
    """The hours of a server's month, as they are meant."""
    return f"{count} hours: 8 hours on each of {count // 8} working days"
