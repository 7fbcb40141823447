"""The condition Interrupted: why a server ended without its owner's request.

Invariant: the cause is read once, from the pod that was the server while it ends. The condition keeps it until the
owner stops, starts or restarts the server.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from devservers.api.conditions import find
from devservers.api.devserver import DevServer
from devservers_core.names import ANNOTATION_RESTARTED_AT, ANNOTATION_STARTED_AT, HOME_PATH
from devservers_core.types import Json

from .. import pods
from ..conditions import make_condition
from ..times import parse_time

INTERRUPTED = "Interrupted"

_MAX_TEXT = 200
_DISRUPTIONS = {
    "EvictionByEvictionAPI": ("Evicted", "it was evicted from its node{node}, which is what a drain does"),
    "DeletionByTaintManager": ("NodeLost", "its node{node} stopped answering or was taken out of service"),
    "DeletionByPodGC": ("NodeLost", "its node{node} is gone"),
    "PreemptionByScheduler": ("Preempted", "a pod with more priority took its place on node{node}"),
    "TerminationByKubelet": ("EndedByNode", "its node{node} ended it{node_text}"),
}
"""By the reason of a pod's condition DisruptionTarget (Kubernetes, pkg/apis/core/types.go and its users)."""


def interrupted_condition(
    server: DevServer, workload: Json | None, all_pods: Sequence[Json], now: datetime, *, running: bool
) -> Json | None:
    """The condition Interrupted, None when the owner asked for the current start."""
    if not running or server.metadata.deletion_timestamp is not None:
        return None
    recorded_condition = find(server.status.conditions, INTERRUPTED)
    cause = cause_of_loss(server, workload, all_pods)
    if cause is not None:
        reason, text = cause
        return make_condition(
            (), INTERRUPTED, True, reason, _message(server, text), generation=server.metadata.generation, now=now
        )
    if recorded_condition is None or (
        recorded_condition.last_transition_time is not None
        and _requested_by_owner(server, recorded_condition.last_transition_time)
    ):
        return None
    return recorded_condition.to_dict()


def cause_of_loss(server: DevServer, workload: Json | None, all_pods: Sequence[Json]) -> tuple[str, str] | None:
    """Reason and text when the pod in the status has just been lost, or a replica of a distributed server."""
    if server.replicas is None:
        return _cause_of(server, workload, all_pods, server.status.pod_name)
    loss = _loss_of_replica(server, workload, all_pods)
    return (loss.reason, f"{loss.pod}: {loss.text}") if loss is not None else None


def lost_pod(server: DevServer, workload: Json | None, all_pods: Sequence[Json]) -> str | None:
    """The name of the pod that cause_of_loss is about."""
    if server.replicas is None:
        return server.status.pod_name
    loss = _loss_of_replica(server, workload, all_pods)
    return loss.pod if loss is not None else None


class _Loss(NamedTuple):
    """The loss of a replica."""

    pod: str
    reason: str
    text: str


def _loss_of_replica(server: DevServer, workload: Json | None, all_pods: Sequence[Json]) -> _Loss | None:
    """The loss of a replica that is in no status yet."""
    if not int(((workload or {}).get("spec") or {}).get("replicas") or 0) or server.status.phase is None:
        return None  # it starts anew as a whole
    recorded = find(server.status.conditions, INTERRUPTED)
    known_since = recorded.last_transition_time if recorded is not None else None
    for pod in filter(pods.is_terminating, all_pods):
        # What is left of a pod says why it ends; one that is gone came back under its name.
        created = pods.created_at(pod)
        if known_since is None or created is None or created > known_since:
            cause = _cause_of(server, workload, [pod], pods.pod_name(pod))
            if cause is not None:
                return _Loss(pods.pod_name(pod) or "", *cause)
    return None


def _cause_of(
    server: DevServer, workload: Json | None, all_pods: Sequence[Json], former: str | None
) -> tuple[str, str] | None:
    """Reason and text when the pod called `former` has just been lost."""
    lost = next((pod for pod in all_pods if pods.pod_name(pod) == former), None) if former else None
    if former is None or (lost is not None and not pods.is_terminating(lost)):
        return None
    if lost is None:
        # The pod was deleted unobserved. A change of the server that isn't in the status yet may have been the cause.
        started = next((entry.at for entry in server.status.timeline), None)
        unnoticed = server.status.phase == "Running" and server.status.observed_generation == server.metadata.generation
        if not unnoticed or started is None or _requested_by_owner(server, started):
            return None
        return "PodLost", "its pod is gone, and the cause is unknown"
    created = pods.created_at(lost)
    started_with = pods.input_hash(lost)
    changed = started_with is not None and started_with != pods.input_hash(workload)
    if changed or (created is not None and _requested_by_owner(server, created)):
        return None
    return _cause_of_pod(lost, recorded=started_with is not None)


def _cause_of_pod(lost: Json, *, recorded: bool) -> tuple[str, str] | None:
    """What Kubernetes recorded on the pod.

    `recorded` is whether the pod has its input hash: then no change of the server ended it.
    """
    name = (lost.get("spec") or {}).get("nodeName")
    node = f" {name}" if name else ""
    text = _one_line(str(pods.status(lost).get("message") or ""))
    node_text = f": {text}" if text else ""
    target = pods.condition(lost, "DisruptionTarget") or {}
    if target.get("status") == "True":
        reason, sentence = _DISRUPTIONS.get(str(target.get("reason")), ("Disrupted", "the cluster ended it{node_text}"))
        return reason, sentence.format(node=node, node_text=node_text)
    queue = pods.condition(lost, "TerminationTarget") or {}
    if queue.get("status") == "True":  # Kueue's
        kueue_text = _one_line(str(queue.get("message") or ""))
        return "LostItsPlace", "it lost its place in the queue" + (f": {kueue_text}" if kueue_text else "")
    reason = str(pods.status(lost).get("reason") or "")
    # A pod that is deleted ends Failed as well, without either: devserver-agent's exit code is that of a signal.
    if pods.pod_phase(lost) == "Failed" and (reason or node_text):
        return "EndedByNode", f"its node{node} ended it" + (node_text or (f" ({reason})" if reason else ""))
    return ("PodDeleted", "its pod was deleted, but not by you") if recorded else None


def _message(server: DevServer, text: str) -> str:
    spec = server.spec
    home_kept = spec.persistent_home_size is not None or any(
        volume.mount_path.rstrip("/") == HOME_PATH for volume in spec.volumes
    )
    home = "Its home is kept." if home_kept else f"Its files in {HOME_PATH} are lost: it has no persistent home."
    if server.replicas is not None:
        return f"A replica has ended, and with it any run it took part in: {text}. It starts again by itself. {home}"
    return f"Everything that ran in it has ended: {text}. It starts again by itself. {home}"


def _requested_by_owner(server: DevServer, since: datetime) -> bool:
    """Whether the owner started or restarted the server after `since`."""
    annotations = server.metadata.annotations
    moments = (parse_time(annotations.get(name)) for name in (ANNOTATION_STARTED_AT, ANNOTATION_RESTARTED_AT))
    return any(moment is not None and moment > since for moment in moments)


def _one_line(text: str) -> str:
    return " ".join(text.split()).rstrip(".")[:_MAX_TEXT]
