"""Which changes of a status become Kubernetes Events.

An Event is for what a person waits for or must act on; the steps of a start have none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from devservers_core.types import Json

from .interruption import INTERRUPTED
from .times import parse_time

_UNANNOUNCED_REASONS = frozenset({"Starting", "Resizing", "Resized"})
_NORMAL_REASONS = frozenset({"Running", "Stopped", "Expired", "FlavorChanged", "Queued"})
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
