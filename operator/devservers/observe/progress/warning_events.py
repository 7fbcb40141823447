"""Finds the Kubernetes Event that explains why a start makes no progress.

Where no object's status has the cause, Events are read with a field selector, for one object or kind, and less often
the longer it lasts. Nothing is watched and nothing is kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from devservers.api.devserver import DevServer
from devservers_core.types import Json

from .. import pods
from ..times import parse_time

MOUNT_GRACE = timedelta(seconds=5)
"""How long mounting may take before Events are asked; until then a failure is mostly of the kind that passes."""
_MAX_INTERVAL = timedelta(seconds=60)

_LATELY = timedelta(minutes=20)
"""How old the refusal of a replica's pod may be: Kubernetes tries again after 1000 seconds at most."""

_SUMMARY = "Unable to attach or mount volumes"
"""The kubelet's summary of failures that have Events of their own."""
_COMBINED = re.compile(r"^\(combined from similar events\): ")


@dataclass(frozen=True, slots=True)
class EventQuery:
    """Which Events to read."""

    kind: str
    """Kind of the object the Events are about."""

    pattern: str
    """Its name, as a regular expression; a ReplicaSet's is made up by Kubernetes."""

    reasons: tuple[str, ...]
    since: datetime
    """Older ones are about something else."""

    requeue_after: timedelta
    """Until the next query without an event: Kubernetes retries without changing any object."""

    name: str = ""
    """The object's name, where it is known."""


def event_query(
    server: DevServer, workload: Json | None, pod: Json | None, now: datetime
) -> EventQuery | timedelta | None:
    """The query for a start without progress, None for others.

    Before there is anything to ask, it is the time until then.
    """
    failure = pods.condition(workload, "ReplicaFailure") if workload and pod is None else None
    if failure and failure.get("status") == "True":
        since = parse_time(failure.get("lastTransitionTime")) or now
        pattern = rf"{re.escape(server.name)}-[a-z0-9]+"
        return EventQuery("ReplicaSet", pattern, ("FailedCreate",), since, _interval(now - since))
    if pod is None and workload and server.replicas is not None:
        return _query_of_replicas(server, workload, now)
    scheduled = pods.condition_true_since(pod, "PodScheduled") if pod else None
    if pod is None or scheduled is None or _volumes_mounted(pod):
        return None
    age = now - scheduled
    if age < MOUNT_GRACE:
        return MOUNT_GRACE - max(age, timedelta(0))
    name = str(pods.pod_name(pod))
    reasons = ("FailedMount", "FailedAttachVolume")
    return EventQuery("Pod", re.escape(name), reasons, scheduled - MOUNT_GRACE, _interval(age), name)


def _query_of_replicas(server: DevServer, workload: Json, now: datetime) -> EventQuery | timedelta | None:
    """The query for a StatefulSet that lacks pods: its status has no condition for that."""
    missing = int((workload.get("spec") or {}).get("replicas") or 0) > int(pods.status(workload).get("replicas") or 0)
    created = pods.created_at(workload)
    if not missing or created is None:
        return None
    age = now - created
    if age < MOUNT_GRACE:
        return MOUNT_GRACE - max(age, timedelta(0))
    since = max(created, now - _LATELY)
    return EventQuery("StatefulSet", re.escape(server.name), ("FailedCreate",), since, _interval(age), server.name)


def newest_message(query: EventQuery, events: Iterable[Json]) -> str | None:
    """The newest message that matches the query, None when there is none."""
    candidates: list[tuple[bool, datetime, str]] = []
    for event in events:
        regarding = event.get("involvedObject") or {}
        at = _last_seen(event)
        matches = regarding.get("kind") == query.kind and re.fullmatch(query.pattern, str(regarding.get("name") or ""))
        if matches and event.get("reason") in query.reasons and at is not None and at >= query.since:
            text = _COMBINED.sub("", str(event.get("message") or ""))
            candidates.append((not text.startswith(_SUMMARY), at, text))
    return max(candidates)[2] if candidates else None


def _interval(age: timedelta) -> timedelta:
    return min(max(age / 4, MOUNT_GRACE), _MAX_INTERVAL)


def _volumes_mounted(pod: Json) -> bool:
    """Whether the volumes are mounted: the kubelet reports it, or has begun to run a container."""
    state = pods.init_container_status(pod).get("state") or {}
    return bool(
        pods.condition_true_since(pod, "PodReadyToStartContainers") or "running" in state or "terminated" in state
    )


def _last_seen(event: Json) -> datetime | None:
    series = event.get("series") or {}
    for text in (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime")):
        if at := parse_time(text):
            return at
    return parse_time((event.get("metadata") or {}).get("creationTimestamp"))
