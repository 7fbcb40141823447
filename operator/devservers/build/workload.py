"""The workload of a server: the object that makes its pods, with the record of its last start."""

from __future__ import annotations

from devservers_core.names import LABEL_NAME
from devservers_core.types import Json

from .manifest import child_metadata
from .pod.template import pod_template
from .record import Record, input_hash, new_record
from .request import ServerRequest

WORKLOAD_KINDS = ("Deployment",)
"""The kinds of workloads. A server has one of them, called as it is."""


def workload(request: ServerRequest, uid: int) -> Json | None:
    """The manifest of the workload, None when it can't be rendered; a stored one is then to be left as it is."""
    server = request.server
    start = _record(request, uid)
    if start is None:
        return None
    metadata = child_metadata(server.name, server, request.user)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata | {"annotations": start.annotations},
        "spec": {
            "replicas": 1 if request.running and not request.user.spec.suspended else 0,
            "revisionHistoryLimit": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": {LABEL_NAME: server.name}},
            "template": start.template,
        },
    }


def _record(request: ServerRequest, uid: int) -> Record | None:
    """The record to use: the kept one, or one rendered now, or None when there is neither."""
    if request.kept is not None:
        return request.kept.with_start(request.started) if request.running else request.kept
    if request.flavor is None:
        return None
    template = pod_template(request.server, request.flavor, request.user, uid, request.settings, request.setup_secrets)
    return new_record(input_hash(request.server, uid), request.flavor, template, request.started)
