"""The share of server hours that stops for idleness save in the model of a month (month_model.py).

The operator's own decision says when each server stops: it is asked again whenever it says it wants to be, with the
activity of the model.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from devservers.api.devserver import DevServer
from devservers.api.flavor import DevServerFlavor
from devservers.observe.lifetime.idle import Activity
from devservers.observe.lifetime.lifecycle import decide
from devservers_core.names import ANNOTATION_STARTED_AT
from tests.bench.figure import Figure
from tests.bench.month_model import DAYS, FIRST_DAY, FORGETS_TO_STOP, SEEDS, Day, month

IDLE_TIMEOUT = "1h"
"""What flavors with GPUs of AWS stacks ship with (infra/settings/checks/flavors.py)."""
SHARE_BOUND = 0.30
MONTH_END = FIRST_DAY + timedelta(days=DAYS)

_FLAVOR = DevServerFlavor.parse(
    {
        "metadata": {"name": "gpu"},
        "spec": {"resources": {}, "lifecycle": {"idleTimeout": IDLE_TIMEOUT}},
    }
)


@dataclass
class Hours:
    """Hours that servers ran."""

    without: timedelta = timedelta()
    """When only people stop them."""
    with_stops: timedelta = timedelta()
    """When idleness stops them too."""
    starts: int = 0
    """How often somebody had to start a server that idleness had stopped during the day."""

    @property
    def saved(self) -> float:
        """The share that was saved."""
        return 1 - self.with_stops / self.without


def saved_figures() -> list[Figure]:
    """The rows saved_share, and saved_share_half for a month in which half as many servers are forgotten."""
    figures = []
    for name, forgets in (("saved_share", FORGETS_TO_STOP), ("saved_share_half", FORGETS_TO_STOP / 2)):
        shares = [simulate(month(seed, forgets)).saved for seed in SEEDS]
        bound = SHARE_BOUND if name == "saved_share" else None
        figures.append(Figure(name, min(shares), "share", bound=bound, at_least=True, runs=len(shares)))
    return figures


def simulate(people: list[list[Day]]) -> Hours:
    """The hours of everybody's server in the month."""
    hours = Hours()
    for days in people:
        _simulate_person(days, hours)
    return hours


def _simulate_person(days: list[Day], hours: Hours) -> None:
    running_since: datetime | None = None
    unlimited_since: datetime | None = None
    for number, day in enumerate(days):
        following = days[number + 1].activity[0].start if number + 1 < len(days) else MONTH_END
        for position, interval in enumerate(day.activity):
            if unlimited_since is None:
                unlimited_since = interval.start
            if running_since is None:
                running_since = interval.start
                hours.starts += position > 0
            last = position + 1 == len(day.activity)
            until = following if last else day.activity[position + 1].start
            if last and day.stops:
                hours.without += interval.end - unlimited_since
                hours.with_stops += interval.end - running_since
                running_since = unlimited_since = None
                break
            stopped = _stopped_at(running_since, interval.end, until)
            if stopped is not None:
                hours.with_stops += stopped - running_since
                running_since = None
    if unlimited_since is not None:
        hours.without += MONTH_END - unlimited_since
    if running_since is not None:
        hours.with_stops += MONTH_END - running_since


def _stopped_at(started: datetime, idle_since: datetime, until: datetime) -> datetime | None:
    """When the operator stops a server that is idle from `idle_since` to `until`; None when it doesn't."""
    server = DevServer.parse(
        {
            "metadata": {
                "name": "box",
                "namespace": "dev-ann",
                "creationTimestamp": FIRST_DAY - timedelta(days=1),
                "annotations": {ANNOTATION_STARTED_AT: started.isoformat()},
            },
            "spec": {"flavor": "gpu"},
        }
    )
    now, activity = idle_since, Activity(idle_since, "terminal")
    while now < until:
        decision = decide(
            server, None, now, _FLAVOR, _FLAVOR.spec.lifecycle, replace(activity, checked_at=now + timedelta(minutes=5))
        )
        if not decision.running:
            return now
        if decision.requeue_after is None:
            return None
        now += max(decision.requeue_after, timedelta(seconds=1))
    return None
