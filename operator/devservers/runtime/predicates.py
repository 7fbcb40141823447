"""Which changes of an object can move a reconcile; every other event costs the cache's update and nothing more.

Invariant: what is left out of an object's meaning here is read by no reconcile, but for the numbers in what a server
in a queue waits for, which are allowed to be a little old (see `NUMBERS_PER_SECOND`).

Those numbers move with every start and stop of anybody, for everybody who waits. So digits in a Workload's texts are
no change, and a ClusterQueue wakes only servers that wait, together at most so often, however many they are: quota
that comes free costs its own server's writes at once, and the others' later. A server that gets a place is told by
its own Workload, and never waits for any of this.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from devservers.runtime.cache import Change
from devservers_core.types import Json

MAX_REFRESHES_PER_SECOND = 5
"""Servers that may be written to only because what is free has changed."""
MIN_REFRESH_SECONDS = 5.0
"""The least time between two such looks at one server."""

_DIGITS = re.compile(r"\d+")
_METADATA_IGNORED = ("resourceVersion", "generation")


def should_enqueue(kind: str, change: Change) -> bool:
    """False for a change that can't move any reconcile."""
    relevant_part = _RELEVANT_PARTS.get(kind)
    if relevant_part is None or change.old is None or change.new is None:
        return True
    return relevant_part(change.old) != relevant_part(change.new)


def debounce_seconds(waiting: int) -> float:
    """Seconds over which looks at that many waiting servers are spread."""
    return max(MIN_REFRESH_SECONDS, waiting / MAX_REFRESHES_PER_SECOND)


def _without_status(obj: Json) -> Json:
    metadata = {key: value for key, value in obj["metadata"].items() if key not in _METADATA_IGNORED}
    return {**{key: value for key, value in obj.items() if key != "status"}, "metadata": metadata}


def _workload(obj: Json) -> Json:
    status = obj.get("status") or {}
    conditions = [
        (each.get("type"), each.get("status"), each.get("reason"), _DIGITS.sub("", str(each.get("message") or "")))
        for each in status.get("conditions") or ()
    ]
    checks = [each.get("name") for each in status.get("admissionChecks") or ()]
    return {**_without_status(obj), "conditions": conditions, "checks": checks}


def _cluster_queue(obj: Json) -> Json:
    status = obj.get("status") or {}
    return {**_without_status(obj), "used": status.get("flavorsReservation"), "conditions": status.get("conditions")}


_RELEVANT_PARTS: dict[str, Callable[[Json], Json]] = {
    # Their status moves with every pod and says nothing a reconcile reads.
    "ResourceQuota": _without_status,
    "NetworkPolicy": _without_status,
    "Service": _without_status,
    "LocalQueue": _without_status,
    "Workload": _workload,
    "ClusterQueue": _cluster_queue,
}
