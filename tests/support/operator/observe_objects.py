"""Servers, pods and Deployments as the API server would give them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from devservers.api.devserver import DevServer
from devservers.api.flavor import DevServerFlavor
from devservers.api.user import DevServerUser
from devservers.observe.devserver import Children, Observation, observe
from devservers.observe.lifetime.lifecycle import decide
from devservers_core.types import Json

T0 = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def stamp(seconds: float) -> str:
    return at(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")


def server(status: Json | None = None, annotations: dict[str, str] | None = None, **spec: object) -> DevServer:
    return DevServer.parse(
        {
            "metadata": {
                "name": "mydev",
                "namespace": "dev-ann",
                "uid": "u-server",
                "generation": 1,
                "creationTimestamp": stamp(0),
                "annotations": annotations or {},
            },
            "spec": {"flavor": "cpu-small", **spec},
            "status": status or {},
        }
    )


def with_status(known: DevServer, status: Json) -> DevServer:
    return DevServer.parse({**known.manifest(), "status": status})


def user(**spec: object) -> DevServerUser:
    return DevServerUser.parse(
        {"metadata": {"name": "ann", "generation": 3}, "spec": {"username": "ann", **spec}, "status": {"uid": 20000}}
    )


def flavor(**spec: object) -> DevServerFlavor:
    return DevServerFlavor.parse({"metadata": {"name": "cpu-small"}, "spec": {"resources": {}, **spec}})


def condition(kind: str, value: str, seconds: float, reason: str = "", message: str = "") -> Json:
    return {"type": kind, "status": value, "lastTransitionTime": stamp(seconds), "reason": reason, "message": message}


def pod(
    name: str = "mydev-1",
    created: float = 1,
    conditions: list[Json] | None = None,
    main: Json | None = None,
    init: Json | None = None,
    **metadata: object,
) -> Json:
    return {
        "metadata": {"name": name, "creationTimestamp": stamp(created), **metadata},
        "spec": {
            "nodeName": "node-1",
            "initContainers": [{"name": "ssh", "image": "ssh:1"}],
            "containers": [{"name": "dev", "image": "alpine:3"}],
        },
        "status": {
            "phase": "Pending",
            "conditions": conditions or [],
            "initContainerStatuses": [{"name": "ssh", **init}] if init else [],
            "containerStatuses": [{"name": "dev", **main}] if main else [],
        },
    }


SCHEDULED = condition("PodScheduled", "True", 1)


def waiting(reason: str, message: str = "", **more: object) -> Json:
    return {"state": {"waiting": {"reason": reason, "message": message}}, **more}


def ended(reason: str, code: int, seconds: float) -> Json:
    return {"terminated": {"reason": reason, "exitCode": code, "startedAt": stamp(4), "finishedAt": stamp(seconds)}}


def running_pod(name: str = "mydev-1", first: float = 1, **more: object) -> Json:
    """A pod that was made at `first` and answered over SSH four seconds later."""
    return pod(
        name,
        first,
        [
            condition("PodScheduled", "True", first),
            condition("PodReadyToStartContainers", "True", first + 1),
            condition("Initialized", "True", first + 2),
            condition("ContainersReady", "True", first + 4),
            condition("Ready", "True", first + 4),
        ],
        {"ready": True, "restartCount": 0, "state": {"running": {"startedAt": stamp(first + 3)}}, **more},
    )


def failing_deployment(message: str, seconds: float = 1) -> Json:
    return {"status": {"conditions": [condition("ReplicaFailure", "True", seconds, "FailedCreate", message)]}}


def look(known: DevServer, seconds: float, owner: DevServerUser | None = None, **children: object) -> Observation:
    """An observation with an owner and a flavor there unless told otherwise."""
    owner = owner or user()
    fields: dict[str, Any] = {"user": owner, "flavor": flavor()} | children
    return observe(known, Children(**fields), decide(known, owner, at(seconds)), at(seconds))


def ready(status: Json) -> Json:
    found: Json = next(entry for entry in status["conditions"] if entry["type"] == "Ready")
    return found
