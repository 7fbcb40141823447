"""Predicates: which changes of an object enqueue a reconcile, and how soon.

Invariant: a field that a predicate ignores is read by no reconcile. One exception: the numbers in a waiting server's
message may be a little old (see `MAX_REFRESHES_PER_SECOND`).

Those numbers change with every start and stop in the cluster, for every server that waits. So digits in a Workload's
messages are no change, and a ClusterQueue enqueues only servers that wait, debounced to a bounded rate however many
they are (kopf_source.py adds them to the queue with the delay). A server that is admitted is enqueued by its own
Workload at once. The delay of status writes is in observe/status_write_delay.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from devservers.runtime.cache import Change
from devservers_core.types import Json

MAX_REFRESHES_PER_SECOND = 10
"""How many servers a second are reconciled for no other reason than a change of free quota."""
MIN_REFRESH_SECONDS = 2.5
"""The least time between such a change and the reconcile of a waiting server."""

_DIGITS = re.compile(r"\d+")
_METADATA_IGNORED = ("resourceVersion", "generation")


def should_enqueue(kind: str, change: Change) -> bool:
    """Whether a change of an object can change what a reconcile does."""
    relevant_part = _RELEVANT_PARTS.get(kind)
    if relevant_part is None or change.old is None or change.new is None:
        return True
    return relevant_part(change.old) != relevant_part(change.new)


def debounce_seconds(waiting: int) -> float:
    """The shortest delay of the reconciles of that many waiting servers; the longest is twice that.

    `waiting` counts the waiting servers of all queues, also of those that did not change. Spread evenly between the
    two delays, the reconciles keep to MAX_REFRESHES_PER_SECOND.
    """
    return max(MIN_REFRESH_SECONDS, waiting / MAX_REFRESHES_PER_SECOND)


def _without_status(obj: Json) -> Json:
    metadata = {key: value for key, value in obj["metadata"].items() if key not in _METADATA_IGNORED}
    return {**{key: value for key, value in obj.items() if key != "status"}, "metadata": metadata}


def _workload(obj: Json) -> Json:
    status = obj.get("status") or {}
    conditions = [
        (
            condition.get("type"),
            condition.get("status"),
            condition.get("reason"),
            _DIGITS.sub("", str(condition.get("message") or "")),
        )
        for condition in status.get("conditions") or ()
    ]
    checks = [check.get("name") for check in status.get("admissionChecks") or ()]
    return {**_without_status(obj), "conditions": conditions, "checks": checks}


def _cluster_queue(obj: Json) -> Json:
    status = obj.get("status") or {}
    return {**_without_status(obj), "used": status.get("flavorsReservation"), "conditions": status.get("conditions")}


_RELEVANT_PARTS: dict[str, Callable[[Json], Json]] = {
    # Their status changes with every pod, and no reconcile reads it.
    "ResourceQuota": _without_status,
    "NetworkPolicy": _without_status,
    "Service": _without_status,
    "LocalQueue": _without_status,
    "Workload": _workload,
    "ClusterQueue": _cluster_queue,
}
