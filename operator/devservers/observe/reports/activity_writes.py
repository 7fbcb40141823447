"""How often status.lastActivity is written.

Invariant: while nothing else changes, at most once an hour for a server that is in use, and once for one that has
become idle.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from devservers_core.types import Json

from ..lifetime.lifecycle import Decision
from ..lifetime.planned_stop import STEADY
from ..times import format_time, parse_time

INTERVAL = timedelta(hours=1)


def reported_activity(decision: Decision) -> Json | None:
    """status.lastActivity by the last report, None when it says nothing."""
    activity = decision.activity
    if activity is None or activity.last is None:
        return None
    return {"at": format_time(activity.last), "source": activity.source}


def coarse_activity(
    previous: Json, candidate: Json, decision: Decision, now: datetime
) -> tuple[Json, timedelta | None]:
    """`candidate` with the activity that is to be written, and when it is due if that is later.

    A change of the activity alone is written when it is an hour out of date, and when half of the idle timeout has
    passed since.
    """
    before, after = previous.get("lastActivity"), candidate.get("lastActivity")
    last = parse_time(after["at"]) if after else None
    if last is None or before == after or decision.activity is None or not decision.running:
        return candidate, None
    recorded = parse_time(before["at"]) if before else None
    if recorded is not None and abs(last - recorded) <= STEADY:
        return _with(candidate, before), None
    if _with(candidate, before) != previous:
        return candidate, None
    since = recorded or _first_stage(previous) or last
    timeout = decision.idle_timeout.length
    due = max(now, since + INTERVAL)
    if timeout is not None:
        due = min(due, last + timeout / 2)
    if due <= now and (last - since >= INTERVAL or (timeout is not None and now - last >= timeout / 2)):
        return candidate, None
    return _with(candidate, before), max(due - now, STEADY)


def _with(status: Json, activity: Json | None) -> Json:
    rest = {key: value for key, value in status.items() if key != "lastActivity"}
    return rest if activity is None else rest | {"lastActivity": activity}


def _first_stage(status: Json) -> datetime | None:
    timeline = status.get("timeline") or []
    return parse_time(timeline[0]["at"]) if timeline else None
