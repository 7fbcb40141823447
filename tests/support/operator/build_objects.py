"""Objects the tables of this folder start from, as the API server would give them."""

from __future__ import annotations

from typing import Any

from devservers.api.devserver import DevServer
from devservers.api.flavor import DevServerFlavor
from devservers.api.user import DevServerUser
from devservers.build.devserver import BuildSettings, ServerRequest, input_hash, kept_record, manifests
from devservers_core.types import Json

UID = 20007
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIexample ann@laptop"
CA = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIauthority user-ca\n"
SETTINGS = BuildSettings("registry.example/base:1", "registry.example/agent:1")


def server(annotations: dict[str, str] | None = None, **spec: object) -> DevServer:
    metadata = {
        "name": "mydev",
        "namespace": "dev-ann",
        "uid": "u-server",
        "generation": 1,
        "creationTimestamp": "2026-11-21T12:00:00Z",
        "annotations": annotations or {},
    }
    return DevServer.parse({"metadata": metadata, "spec": {"flavor": "cpu-small", **spec}})


def user(**spec: object) -> DevServerUser:
    return DevServerUser.parse(
        {
            "metadata": {"name": "ann", "uid": "u-ann", "generation": 1},
            "spec": {"username": "ann", "sshPublicKeys": [KEY], **spec},
            "status": {"uid": UID},
        }
    )


def flavor(**spec: object) -> DevServerFlavor:
    resources = {"requests": {"cpu": "0.5", "memory": "512Mi"}, "limits": {"cpu": "2000m", "memory": "2048Mi"}}
    return DevServerFlavor.parse({"metadata": {"name": "cpu-small"}, "spec": {"resources": resources, **spec}})


def request(live_workload: Json | None = None, **changes: Any) -> ServerRequest:
    """A request for the children of a server, whose stored workload may be `live_workload`."""
    fields: dict[str, Any] = {
        "server": server(),
        "flavor": flavor(),
        "user": user(),
        "settings": SETTINGS,
        "user_ca_public": CA,
    }
    fields |= changes
    inputs = input_hash(fields["server"], fields["user"].status.uid)
    kept = kept_record(live_workload, inputs, running=fields.get("running", True))
    return ServerRequest(**{"kept": kept, "live_workload": live_workload} | fields)


def child(kind: str, **changes: Any) -> dict[str, Any]:
    return next(found for found in manifests(request(**changes)) if found["kind"] == kind)


def template(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = child("Deployment", **changes)["spec"]["template"]
    return found


def main_container(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = template(**changes)["spec"]["containers"][0]
    return found
