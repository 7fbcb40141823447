"""Announces a stop 30, 15 and 5 minutes before it happens.

Invariant: a server that runs is stopped by its limits or for idleness 5 minutes after an announcement at the earliest,
also when a change of limits or a late report makes the stop overdue at once. A limit of 5 minutes or less has a minute.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from devservers.api.devserver_status import PlannedStop
from devservers_core.types import Json

from ..times import format_time, whole_seconds

NOTICES = (timedelta(minutes=30), timedelta(minutes=15), timedelta(minutes=5))
SHORT_NOTICE = timedelta(minutes=1)
"""Of a stop after a limit that leaves no room for the last of NOTICES."""
PAST_PLAN = timedelta(minutes=5)
"""How long after its time an announced stop that did not happen still counts as announced."""
STEADY = timedelta(seconds=90)
"""A stop that moves by less keeps the time that was announced: reports come in whole seconds and up to a minute
late."""


@dataclass(frozen=True, slots=True)
class Stop:
    """A stop that is due at a time unless something changes."""

    at: datetime
    reason: str
    """One of STOP_REASONS."""
    cause: str
    """For people: `its time to live of 1h`."""
    after: timedelta | None = None
    """The length of the limit that it comes after; notices that are no shorter are left out."""
    deletes: bool = False
    """Whether the server is deleted, and not only stopped."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """What a status says of the next stop, and when it will say something else."""

    planned: Json | None
    """status.plannedStop, None before the first notice."""
    requeue_after: timedelta | None


def notices_of(stop: Stop) -> list[timedelta]:
    """How long before a stop it is announced, the longest first."""
    if stop.after is None or stop.after <= timedelta(0):
        return list(NOTICES)
    return [notice for notice in NOTICES if notice < stop.after] or [min(SHORT_NOTICE, stop.after)]


def with_notice(stop: Stop, previous: PlannedStop | None, now: datetime) -> Stop:
    """The stop, late enough for its last notice; `previous` is the announcement in the status.

    An announced stop that became due earlier keeps its time, or has another notice if that is sooner.
    """
    earliest = now + notices_of(stop)[-1]
    if previous is not None and previous.reason == stop.reason and previous.at > now - PAST_PLAN:
        earliest = min(earliest, previous.at)
    return replace(stop, at=earliest) if stop.at < earliest else stop


def announce(stop: Stop | None, previous: PlannedStop | None, now: datetime) -> Announcement:
    """The announcement of `stop` at `now`; `previous` is the one in the status."""
    if stop is None or stop.at <= now:
        return Announcement(None, None)
    notices = notices_of(stop)
    given = [notice for notice in notices if stop.at - notice <= now]
    coming = [notice for notice in notices if stop.at - notice > now]
    requeue = (stop.at - coming[0] if coming else stop.at) - now
    if not given:
        return Announcement(None, requeue)
    same = previous is not None and previous.reason == stop.reason and abs(previous.at - stop.at) <= STEADY
    at = previous.at if same and previous is not None else stop.at
    announced = whole_seconds(now)
    if same and previous is not None and previous.announced_at >= whole_seconds(stop.at - given[-1]) - STEADY:
        announced = previous.announced_at
    planned = {"at": format_time(at), "reason": stop.reason, "announcedAt": format_time(announced)}
    return Announcement(planned, requeue)
