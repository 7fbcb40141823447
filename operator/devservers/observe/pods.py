"""Of a server's pods one counts: the newest that is neither ending nor over. What is read of it is read
here.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from devservers_core.names import MAIN_CONTAINER
from devservers_core.types import Json

from .times import parse_time

_OVER = ("Failed", "Succeeded")
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


def current_pod(pods: Iterable[Json]) -> Json | None:
    """The pod that is, or is becoming, the server."""
    alive = [pod for pod in pods if not _ending(pod) and pod_phase(pod) not in _OVER]
    return max(alive, key=_age_key, default=None)


def being_replaced(deployment: Json | None) -> bool:
    """Whether the Deployment was changed and its pod, if any, is still the one from before.

    Between the change and the pod's end the old pod looks as ready as ever (deployment controller, Recreate: the old
    ReplicaSet is scaled down first, and only then is there an updated replica).
    """
    if deployment is None:
        return False
    seen = status(deployment)
    generation = (deployment.get("metadata") or {}).get("generation") or 0
    observed = int(seen.get("observedGeneration") or 0)
    if observed and observed < int(generation):  # 0: it was only just made, and replaces nothing
        return True
    return bool(seen.get("replicas")) and not seen.get("updatedReplicas")


def any_left(pods: Iterable[Json]) -> bool:
    """Whether some pod still holds its place on a node."""
    return any(pod_phase(pod) not in _OVER for pod in pods)


def pod_phase(pod: Json) -> str:
    """status.phase, empty before the first status."""
    return str(status(pod).get("phase") or "")


def status(obj: Json) -> Json:
    """An object's status, empty when it has none."""
    return obj.get("status") or {}


def condition(obj: Json, kind: str) -> Json | None:
    """An object's condition of that type."""
    return next((found for found in status(obj).get("conditions") or () if found.get("type") == kind), None)


def true_since(pod: Json, kind: str) -> datetime | None:
    """Since when a condition is True, None while it isn't."""
    found = condition(pod, kind)
    return parse_time(found.get("lastTransitionTime")) if found and found.get("status") == "True" else None


def container(pod: Json) -> Json:
    """The owner's container's status, empty before there is one."""
    return _named(status(pod).get("containerStatuses"), MAIN_CONTAINER)


def init_container(pod: Json) -> Json:
    """The platform's init container's status, empty before there is one."""
    return _first(status(pod).get("initContainerStatuses"))


def image(pod: Json) -> str:
    """The owner's container's image as it was asked for."""
    return str(_named((pod.get("spec") or {}).get("containers"), MAIN_CONTAINER).get("image") or "")


def init_image(pod: Json) -> str:
    """The init container's image as it was asked for."""
    return str(_first((pod.get("spec") or {}).get("initContainers")).get("image") or "")


def waiting(container_status: Json) -> Json:
    """The reason and message a container waits with, empty when it doesn't wait."""
    return (container_status.get("state") or {}).get("waiting") or {}


def last_end(container_status: Json) -> Json:
    """How the container ended last, empty when it never did."""
    for state in ("state", "lastState"):
        ended = (container_status.get(state) or {}).get("terminated")
        if ended:
            return dict(ended)
    return {}


def started_at(container_status: Json) -> datetime | None:
    """When the container was started, the latest start that is known; None when it never was."""
    for state, kind in (("state", "running"), ("state", "terminated"), ("lastState", "terminated")):
        found = parse_time(((container_status.get(state) or {}).get(kind) or {}).get("startedAt"))
        if found:
            return found
    return None


def pod_name(pod: Json | None) -> str | None:
    """metadata.name."""
    return str(pod["metadata"]["name"]) if pod else None


def created_at(obj: Json) -> datetime | None:
    """metadata.creationTimestamp."""
    return parse_time((obj.get("metadata") or {}).get("creationTimestamp"))


def is_going(pod: Json) -> bool:
    """Whether it is ending, or over."""
    return _ending(pod) or pod_phase(pod) in _OVER


def _ending(pod: Json) -> bool:
    return bool((pod.get("metadata") or {}).get("deletionTimestamp"))


def _age_key(pod: Json) -> tuple[datetime, str]:
    return created_at(pod) or _LONG_AGO, pod_name(pod) or ""


def _named(entries: Any, name: str) -> Json:  # noqa: ANN401  a list of a foreign object
    return next((entry for entry in entries or () if entry.get("name") == name), {})


def _first(entries: Any) -> Json:  # noqa: ANN401  a list of a foreign object
    return next(iter(entries or ()), {})
