"""Which changes of a status become Kubernetes Events.

An Event is for what a person waits for or must act on; the steps of a start have none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from devservers_core.names import (
    STOPPED_BY_END_OF_HOLD,
    STOPPED_BY_EXPIRATION,
    STOPPED_BY_IDLENESS,
    STOPPED_BY_WORKING_HOURS,
)
from devservers_core.types import Json

from .ends.interruption import INTERRUPTED
from .lifetime.planned_stop import Stop
from .times import format_time, parse_time

_UNANNOUNCED_REASONS = frozenset({"Starting", "Resizing", "Resized", "AgentMissing"})
_NORMAL_REASONS = frozenset(
    {"Running", "Stopped", "Expired", "Idle", "HoldEnded", "WorkingHours", "FlavorChanged", "Queued", "TimeLimited"}
)
_HOLD = " Work in it keeps it running, and so does `devctl hold {name} 8h --reason ...`."
_REMEDIES = {
    STOPPED_BY_EXPIRATION: " `devctl extend {name} 2h` gives it more time.",
    STOPPED_BY_IDLENESS: _HOLD,
    STOPPED_BY_END_OF_HOLD: _HOLD,
    STOPPED_BY_WORKING_HOURS: _HOLD,
}
"""By the reason of a planned stop: how to put it off."""
_COVERED_BY_READY = "Admitted"
"""Its reasons are Ready's as well, with words for people."""


@dataclass(frozen=True, slots=True)
class Event:
    """A Kubernetes Event about the object."""

    type: str
    """Normal or Warning."""

    reason: str
    message: str


def status_events(previous: Json, current: Json) -> tuple[Event, ...]:
    """The Events for the step from one status to the next."""
    return tuple(_changed_conditions(previous, current))


def stop_event(name: str, stop: Stop, now: datetime) -> Event:
    """The Event that announces a stop."""
    minutes = max(1, round((stop.at - now).total_seconds() / 60))
    ends = "is deleted (its home is kept)" if stop.deletes else "stops"
    return Event(
        "Warning",
        "StopPlanned",
        f"{name} {ends} in {minutes} minute{'s' if minutes > 1 else ''}, at {format_time(stop.at)}, because of "
        f"{stop.cause}.{_REMEDIES.get(stop.reason, '').format(name=name)}",
    )


def _changed_conditions(previous: Json, current: Json) -> Iterator[Event]:
    before_by_type = {condition["type"]: condition for condition in previous.get("conditions", ())}
    for condition in current.get("conditions", ()):
        if condition["type"] == _COVERED_BY_READY:
            continue
        before = before_by_type.get(condition["type"], {})
        reason, message = condition["reason"], condition["message"]
        if reason == before.get("reason") and not _is_new_interruption(before, condition):
            if reason == "Running" and "started again" in message and message != before.get("message"):
                yield Event("Warning", "Restarted", message)
            continue
        if reason in _UNANNOUNCED_REASONS:
            continue
        if reason == "Running":
            yield Event("Normal", reason, f"{message} Ready after {_start_seconds(current)} s.")
        else:
            yield Event("Normal" if reason in _NORMAL_REASONS else "Warning", reason, message)


def _is_new_interruption(before: Json, now: Json) -> bool:
    """Whether a server was interrupted a second time for the same reason."""
    moved = now["lastTransitionTime"] != before.get("lastTransitionTime")
    return bool(now["type"] == INTERRUPTED and moved)


def _start_seconds(status: Json) -> int:
    moments = [at for entry in status.get("timeline", ()) if (at := parse_time(entry["at"])) is not None]
    return int((moments[-1] - moments[0]).total_seconds()) if moments else 0
