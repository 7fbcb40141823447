"""Reads pods: which one is the server, its containers' states and times.

The server's pod is the newest one that is neither being deleted nor finished.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from devservers_core.names import AGENT_PORT_NAME, ANNOTATION_INPUT_HASH, LABEL_NAME, MAIN_CONTAINER
from devservers_core.types import Json

from .times import parse_time

_FINISHED = ("Failed", "Succeeded")
_BEGINNING_OF_TIME = datetime.min.replace(tzinfo=UTC)


def of_server(all_pods: Iterable[Json], name: str) -> list[Json]:
    """The pods of the server `name`, out of those of its namespace."""
    return [pod for pod in all_pods if (pod["metadata"].get("labels") or {}).get(LABEL_NAME) == name]


def current_pod(pods: Iterable[Json]) -> Json | None:
    """The pod that is, or is becoming, the server."""
    return max(itertools.filterfalse(is_terminating, pods), key=_age_key, default=None)


def replica_pods(pods: Iterable[Json]) -> list[Json]:
    """The pods that are, or are becoming, the replicas of a distributed server, by number."""
    return sorted(itertools.filterfalse(is_terminating, pods), key=replica_index)


def replica_index(pod: Json) -> int:
    """The number of a pod of a StatefulSet, by its name."""
    number = (pod_name(pod) or "").rpartition("-")[2]
    return int(number) if number.isascii() and number.isdigit() else 0


def is_ready(pod: Json) -> bool:
    """Whether a pod can be used."""
    return condition_true_since(pod, "Ready") is not None


def least_ready(pods: Iterable[Json], replicas: int) -> Json | None:
    """The pod that tells how far a distributed server is; None while one is missing.

    It is the first replica once all are ready, and before that the one with the least behind it.
    """
    active = replica_pods(pods)
    if len(active) < replicas:
        return None
    return min(active, key=lambda pod: (is_ready(pod), _progress(pod), replica_index(pod)))


def _progress(pod: Json) -> int:
    """How many stages of its start a pod that isn't ready has behind it."""
    if is_ready(pod):
        return 0
    stages = ("PodScheduled", "PodReadyToStartContainers", "Initialized", "ContainersReady")
    return sum(condition_true_since(pod, stage) is not None for stage in stages)


def being_replaced(workload: Json | None) -> bool:
    """Whether the workload was changed and its pod, if any, is still the previous one.

    Between the change and the pod's end the old pod looks as ready as ever (deployment controller, Recreate: the old
    ReplicaSet is scaled down first, and only then is there an updated replica).
    """
    if workload is None:
        return False
    observed_status = status(workload)
    generation = (workload.get("metadata") or {}).get("generation") or 0
    observed = int(observed_status.get("observedGeneration") or 0)
    if observed and observed < int(generation):  # 0: it is new, and replaces nothing
        return True
    if workload.get("kind") == "StatefulSet":  # it never changes running pods
        return False
    return bool(observed_status.get("replicas")) and not observed_status.get("updatedReplicas")


def any_active(pods: Iterable[Json]) -> bool:
    """Whether some pod still takes resources of a node."""
    return any(pod_phase(pod) not in _FINISHED for pod in pods)


def pod_phase(pod: Json) -> str:
    """status.phase, empty before the first status."""
    return str(status(pod).get("phase") or "")


def status(obj: Json) -> Json:
    """An object's status, empty when it has none."""
    return obj.get("status") or {}


def condition(obj: Json, kind: str) -> Json | None:
    """An object's condition of that type."""
    return next((entry for entry in status(obj).get("conditions") or () if entry.get("type") == kind), None)


def condition_true_since(pod: Json, kind: str) -> datetime | None:
    """Since when a condition is True, None while it isn't."""
    entry = condition(pod, kind)
    return parse_time(entry.get("lastTransitionTime")) if entry and entry.get("status") == "True" else None


def container_status(pod: Json) -> Json:
    """The status of the owner's container, empty before there is one."""
    return _entry_named(status(pod).get("containerStatuses"), MAIN_CONTAINER)


def init_container_status(pod: Json) -> Json:
    """The status of the platform's init container, empty before there is one."""
    return _first_entry(status(pod).get("initContainerStatuses"))


def container_image(pod: Json) -> str:
    """The image of the owner's container as the pod's spec has it."""
    return str(_entry_named((pod.get("spec") or {}).get("containers"), MAIN_CONTAINER).get("image") or "")


def init_container_image(pod: Json) -> str:
    """The image of the init container as the pod's spec has it."""
    return str(_first_entry((pod.get("spec") or {}).get("initContainers")).get("image") or "")


def waiting_state(container_status: Json) -> Json:
    """The reason and message a container waits with, empty when it doesn't wait."""
    return (container_status.get("state") or {}).get("waiting") or {}


def last_termination(container_status: Json) -> Json:
    """How the container ended last, empty when it never did."""
    for state in ("state", "lastState"):
        terminated = (container_status.get(state) or {}).get("terminated")
        if terminated:
            return dict(terminated)
    return {}


def started_at(container_status: Json) -> datetime | None:
    """When the container was started last; None when it never was."""
    for state, kind in (("state", "running"), ("state", "terminated"), ("lastState", "terminated")):
        started = parse_time(((container_status.get(state) or {}).get(kind) or {}).get("startedAt"))
        if started:
            return started
    return None


def has_agent(pod: Json) -> bool:
    """Whether a pod has an agent; one that an earlier version started has none."""
    container = _entry_named((pod.get("spec") or {}).get("containers"), MAIN_CONTAINER)
    return any(port.get("name") == AGENT_PORT_NAME for port in container.get("ports") or ())


def pod_name(pod: Json | None) -> str | None:
    """metadata.name."""
    return str(pod["metadata"]["name"]) if pod else None


def created_at(obj: Json) -> datetime | None:
    """metadata.creationTimestamp."""
    return parse_time((obj.get("metadata") or {}).get("creationTimestamp"))


def input_hash(obj: Json | None) -> str | None:
    """What a pod was begun with, or a Deployment asks for (build/record.py); None from an earlier version."""
    value = (((obj or {}).get("metadata") or {}).get("annotations") or {}).get(ANNOTATION_INPUT_HASH)
    return str(value) if value else None


def is_running(container_status: Json) -> bool:
    """Whether the container runs now."""
    return bool((container_status.get("state") or {}).get("running"))


def is_terminating(pod: Json) -> bool:
    """Whether it is being deleted, or finished."""
    return _is_being_deleted(pod) or pod_phase(pod) in _FINISHED


def _is_being_deleted(pod: Json) -> bool:
    return bool((pod.get("metadata") or {}).get("deletionTimestamp"))


def _age_key(pod: Json) -> tuple[datetime, str]:
    return created_at(pod) or _BEGINNING_OF_TIME, pod_name(pod) or ""


def _entry_named(entries: Any, name: str) -> Json:  # noqa: ANN401  a list of a foreign object
    return next((entry for entry in entries or () if entry.get("name") == name), {})


def _first_entry(entries: Any) -> Json:  # noqa: ANN401  a list of a foreign object
    return next(iter(entries or ()), {})
