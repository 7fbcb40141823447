"""An Event is worth its write when something a person waits for or must act on came about; steps of a
start are not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from devservers_core.types import Json

from .interruption import INTERRUPTED
from .times import parse_time

_QUIET = frozenset({"Starting", "Resizing", "Resized"})
_NORMAL = frozenset({"Running", "Stopped", "Expired", "FlavorChanged", "Queued"})
_TOLD_BY_READY = "Admitted"
"""Its reasons are Ready's as well, with words for people."""


@dataclass(frozen=True, slots=True)
class Event:
    """A Kubernetes Event about the object."""

    type: str
    """Normal or Warning."""

    reason: str
    message: str


def events(previous: Json, current: Json) -> tuple[Event, ...]:
    """What to tell about the step from one status to the next."""
    return tuple(_events(previous, current))


def _events(previous: Json, current: Json) -> Iterator[Event]:
    known = {condition["type"]: condition for condition in previous.get("conditions", ())}
    for condition in current.get("conditions", ()):
        if condition["type"] == _TOLD_BY_READY:
            continue
        before = known.get(condition["type"], {})
        reason, message = condition["reason"], condition["message"]
        if reason == before.get("reason") and not _interrupted_anew(before, condition):
            if reason == "Running" and "started again" in message and message != before.get("message"):
                yield Event("Warning", "Restarted", message)
            continue
        if reason in _QUIET:
            continue
        if reason == "Running":
            yield Event("Normal", reason, f"{message} Ready after {_seconds(current)} s.")
        else:
            yield Event("Normal" if reason in _NORMAL else "Warning", reason, message)


def _interrupted_anew(before: Json, now: Json) -> bool:
    """Whether the same cause came a second time; every other condition only has one life."""
    again = now["lastTransitionTime"] != before.get("lastTransitionTime")
    return bool(now["type"] == INTERRUPTED and again)


def _seconds(status: Json) -> int:
    moments = [at for entry in status.get("timeline", ()) if (at := parse_time(entry["at"])) is not None]
    return int((moments[-1] - moments[0]).total_seconds()) if moments else 0
