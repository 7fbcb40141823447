"""The timeline of one start: its stages in order, each at or after the one before.

A new pod begins a new timeline. A stage once recorded for a pod keeps its time, also when the container is started
again inside that pod.
"""

from __future__ import annotations

from datetime import datetime

from devservers.api.devserver import DevServer
from devservers_core.names import ANNOTATION_RESTARTED_AT, ANNOTATION_STARTED_AT, STAGES
from devservers_core.types import Json

from .. import pods
from ..children import is_pod_of_status
from ..queueing.state import QueueState
from ..times import parse_time, whole_seconds

Timeline = tuple[tuple[str, datetime], ...]


def recorded_timeline(server: DevServer) -> Timeline:
    """The timeline in the server's status."""
    return tuple((entry.stage, entry.at) for entry in server.status.timeline)


def timeline(server: DevServer, pod: Json | None, now: datetime, queue: QueueState | None = None) -> Timeline:
    """The stages the present start has reached. `pod` is the current one, None before there is one."""
    previous = dict(recorded_timeline(server))
    same_pod = is_pod_of_status(server, pod)
    reached = {"Accepted": _accepted_at(server, pod, now, previous.get("Accepted"))}
    if pod is not None:
        reached |= _queue_stages(queue) | _stages(pod, ssh=server.spec.enable_ssh)
    if same_pod:
        reached |= previous
    entries: list[tuple[str, datetime]] = []
    for stage in STAGES:
        if stage in reached:
            at = whole_seconds(reached[stage])
            entries.append((stage, max(at, entries[-1][1]) if entries else at))
    return tuple(entries)


def _accepted_at(server: DevServer, pod: Json | None, now: datetime, previous: datetime | None) -> datetime:
    """When this start was requested: it begins when the previous pod is gone or replaced."""
    status = server.status
    same_pod = is_pod_of_status(server, pod)
    still_waiting = status.pod_name is None and status.phase in ("Pending", "Starting", "Failed")
    if previous is not None and same_pod:
        return previous
    annotations = server.metadata.annotations
    requested = [
        server.metadata.creation_timestamp,
        *(parse_time(annotations.get(name)) for name in (ANNOTATION_STARTED_AT, ANNOTATION_RESTARTED_AT)),
    ]
    latest = max((moment for moment in requested if moment is not None and moment <= now), default=now)
    if previous is None or whole_seconds(latest) > previous:
        return latest
    if still_waiting:
        return previous
    # Nobody requested it: the pod was lost (a failed node, an eviction) and replaced.
    return (pods.created_at(pod) if pod else None) or now


def _queue_stages(queue: QueueState | None) -> dict[str, datetime]:
    times = {"Queued": queue.queued_at, "Admitted": queue.admitted_at} if queue else {}
    return {stage: at for stage, at in times.items() if at is not None}


def _stages(pod: Json, *, ssh: bool) -> dict[str, datetime]:
    """Stages by the pod's own times.

    VolumesReady is PodReadyToStartContainers, which the kubelet sets once volumes are mounted and the network is up. A
    pod doesn't record when an image was pulled: ImagePulled is the container's start, which follows at once.
    """
    container = pods.container_status(pod)
    started = pods.started_at(container)
    volumes = pods.condition_true_since(pod, "PodReadyToStartContainers") or pods.started_at(
        pods.init_container_status(pod)
    )
    times = {
        "Scheduled": pods.condition_true_since(pod, "PodScheduled"),
        "VolumesReady": volumes or started,
        "ImagePulled": started,
        "ContainerStarted": started,
        "SSHReady": pods.condition_true_since(pod, "Ready") if ssh else None,
    }
    return {stage: at for stage, at in times.items() if at is not None}
