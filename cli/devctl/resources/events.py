"""Events of a namespace, and which of them concern a server.

Invariant: read-only; an event belongs to a server if it is about the server or one of its children, by their
deterministic names.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from devctl.output import console
from devctl.output.errors import from_api
from devservers_core import names
from devservers_core.errors import ApiError
from devservers_core.replicas import is_replica_home

if TYPE_CHECKING:
    from devctl.context import Context
    from devservers_core.types import Json


def event_time(event: Json) -> str | None:
    """When an event was last observed."""
    series = event.get("series") or {}
    time = (
        series.get("lastObservedTime")
        or event.get("lastTimestamp")
        or event.get("eventTime")
        or event.get("firstTimestamp")
        or event["metadata"].get("creationTimestamp")
    )
    return str(time) if time else None


def concerns(event: Json, name: str) -> bool:
    """Whether an event is about server `name` or one of its children."""
    about = event.get("involvedObject") or {}
    kind, other = about.get("kind"), str(about.get("name", ""))
    if other == name or (
        kind == "PersistentVolumeClaim" and (other == names.home_name(name) or is_replica_home(other, name))
    ):
        return True
    if kind == "Pod" and re.fullmatch(re.escape(name) + r"-[0-9]{1,2}", other):  # of a StatefulSet
        return True
    # A Deployment's ReplicaSet is NAME-hash, its pod NAME-hash-suffix; hashes hold no vowels, no dashes.
    pattern = {"ReplicaSet": r"-[a-z0-9]{6,10}", "Pod": r"-[a-z0-9]{6,10}-[a-z0-9]{5}"}.get(str(kind))
    return pattern is not None and re.fullmatch(re.escape(name) + pattern, other) is not None


def related_events(context: Context, name: str | None) -> list[Json]:
    """List events of the namespace, or of one server, oldest first; [] when not readable."""
    from devservers_core.client.paths import core_path

    try:
        items = context.kube.get(core_path(context.namespace, "events")).get("items") or []
    except ApiError as error:
        if error.status == 403 and name is not None:
            return []
        raise from_api(error, "list events") from None
    events = [event for event in items if name is None or concerns(event, name)]
    return sorted(events, key=lambda event: event_time(event) or "")


def event_text(event: Json) -> str:
    """An event's message as one line without control characters."""
    return console.printable(" ".join(str(event.get("message", "")).split()))
