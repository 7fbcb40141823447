"""When a server stops at the end of working hours.

Invariant: only a server that has been quiet for the hours' idle timeout is stopped, within WINDOW after the end of
working hours, and never one that was started after it. The time of day is that of the time zone, also across changes
of clocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from devservers.api.lifecycle import WEEKDAYS, WorkingHours
from devservers_core.duration import parse_duration
from devservers_core.names import STOPPED_BY_WORKING_HOURS

from .planned_stop import Stop

IDLE_TIMEOUT = timedelta(minutes=30)
"""How long nothing must have happened in a server before working hours stop it, where they say nothing else."""
WINDOW = timedelta(hours=8)
"""How long after the end of working hours a server that has become quiet is still stopped."""


def working_hours_stop(
    hours: WorkingHours, last: datetime | None, started: datetime | None, now: datetime
) -> Stop | None:
    """The stop of a server whose last activity was at `last`; None when that isn't known, or no day is left."""
    if last is None:
        return None
    zone = time_zone(hours.time_zone)
    if zone is None:
        return None
    quiet = parse_duration(hours.idle_timeout) if hours.idle_timeout is not None else IDLE_TIMEOUT
    for end in _ends(hours, zone, now):
        at = max(end, last + quiet)
        if at < end + WINDOW and (started is None or started < end):
            cause = f"the end of working hours at {hours.stop_at} {hours.time_zone}"
            return Stop(at, STOPPED_BY_WORKING_HOURS, cause, quiet)
    return None


def time_zone(name: str) -> ZoneInfo | None:
    """The zone of that name, None when there is none."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None


def _ends(hours: WorkingHours, zone: ZoneInfo, now: datetime) -> Iterator[datetime]:
    """The ends of working hours from WINDOW ago on, for the next eight days."""
    hour, minute = map(int, hours.stop_at.split(":"))
    today = now.astimezone(zone).date()
    for offset in range(-1, 9):
        day = today + timedelta(days=offset)
        if WEEKDAYS[day.weekday()] not in hours.days:
            continue
        end = datetime.combine(day, time(hour, minute), zone).astimezone(now.tzinfo)
        if end > now - WINDOW:
            yield end
