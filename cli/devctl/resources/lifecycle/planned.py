"""When and why a server stops next, and what holds it.

Invariant: pure; read from the object alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from devctl.output import console, times
from devctl.resources.home import keeps_home
from devctl.resources.server_state import phase, status_of
from devservers_core import names

if TYPE_CHECKING:
    from devservers_core.types import Json


SOON_SECONDS = 1800
"""A stop within these seconds is said by every command that reads the server."""
REASONS = {
    "user": "its owner stopped it",
    "expired": "its time was over",
    "idle": "nothing happened in it",
    "holdEnded": "nothing happened in it after its hold",
    "workingHours": "working hours were over",
    "preempted": "another server with a higher priority needed its place",
    "nodeLost": "its node was lost",
    "outOfMemory": "it ran out of memory",
    "evictedForDisk": "its node's disk was full",
    "suspended": "its owner's account is suspended",
    "budget": "its owner's budget is used up",
    "clusterDrained": "its node was drained",
}
"""What each reason of a stop means, for the end of a sentence."""
_EXTENDABLE = frozenset({"expired"})
_HOLDABLE = frozenset({"idle", "holdEnded", "workingHours"})


@dataclass(frozen=True)
class PlannedStop:
    """A stop that comes by itself."""

    at: datetime
    reason: str

    def seconds_left(self, now: datetime) -> float:
        """Seconds until it, 0 when it is due."""
        return max((self.at - now).total_seconds(), 0.0)


def lifecycle_of(server: Json) -> Json:
    """spec.lifecycle; {} when the owner set nothing."""
    return (server.get("spec") or {}).get("lifecycle") or {}


def is_stopped(server: Json) -> bool:
    """Whether a server is stopped, or is to be."""
    return not (server.get("spec") or {}).get("running", True) or phase(server) in ("Stopped", "Stopping")


def next_stop(server: Json) -> PlannedStop | None:
    """The earliest stop that is planned; None for a stopped server and for one that goes on."""
    if is_stopped(server):
        return None
    status = status_of(server)
    announced = status.get("plannedStop") or {}
    stops = []
    if at := times.parse_time(announced.get("at")):
        stops.append(PlannedStop(at, console.printable(str(announced.get("reason") or "expired"))))
    if at := times.parse_time(status.get("expiresAt")):
        stops.append(PlannedStop(at, "expired"))
    return min(stops, key=lambda stop: stop.at, default=None)


def hold_until(server: Json, now: datetime | None = None) -> datetime | None:
    """When the hold in force ends, by the limits of flavor and user too; None without one."""
    until = times.parse_time((lifecycle_of(server).get("hold") or {}).get("until"))
    counted = status_of(server).get("hold") or {}
    if until and times.parse_time(counted.get("requestedUntil")) == until:
        until = times.parse_time(counted.get("until")) or until
    return until if until and until > (now or datetime.now(UTC)) else None


def stops_in(server: Json, now: datetime | None = None) -> str:
    """The time that is left, with a reason other than the time limit: `25m (idle)`; "-" for a server that goes on."""
    stop = next_stop(server)
    if stop is None:
        return "-"
    left = times.duration(stop.seconds_left(now or datetime.now(UTC)))
    return left if stop.reason == "expired" else f"{left} ({stop.reason})"


def last_active(server: Json) -> str:
    """How long ago something happened in a running server, and what: `45m (ssh)`; "-" where that isn't known."""
    activity = status_of(server).get("lastActivity") or {}
    if is_stopped(server) or not times.parse_time(activity.get("at")):
        return "-"
    return f"{times.age(activity['at'])} ({console.printable(str(activity.get('source') or 'unknown'))})"


def notice(server: Json, now: datetime | None = None) -> str | None:
    """One line for a server that stops within SOON_SECONDS, with what keeps it; None for any other."""
    now = now or datetime.now(UTC)
    stop = next_stop(server)
    if stop is None or stop.seconds_left(now) > SOON_SECONDS:
        return None
    name = server["metadata"]["name"]
    verb = "is deleted" if stop.reason == "expired" and lifecycle_of(server).get("onExpiry") == "delete" else "stops"
    lost = "" if keeps_home(server) else f", and its files in {names.HOME_PATH} are lost"
    text = f"{name} {verb} in {times.duration(stop.seconds_left(now))} ({stop.reason}){lost}"
    if stop.reason in _EXTENDABLE:
        return f"{text}; `devctl extend {name} 2h` gives it more time"
    if stop.reason in _HOLDABLE:
        return f"{text}; `devctl hold {name} 8h --reason TEXT` keeps it"
    return text


def because(server: Json) -> str:
    """Why a stopped server is stopped: `idle: nothing happened in it for 1h`; "" when that isn't known."""
    status = status_of(server)
    last = status.get("lastStop") or {}
    reason = str(status.get("stopReason") or last.get("reason") or "")
    message = str(last.get("message") or "") if last.get("reason") in (None, reason) else ""
    message = message or REASONS.get(reason, "")
    return f"{reason}: {message}" if reason and message else reason


class StopNotice:
    """Warns once of each server that stops soon; called with each one that a command reads."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def __call__(self, server: Json) -> None:
        """Print the warning on standard error, the first time."""
        text = notice(server)
        if text and server["metadata"]["name"] not in self._seen:
            self._seen.add(server["metadata"]["name"])
            console.warn(text)
