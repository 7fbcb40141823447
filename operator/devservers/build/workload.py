"""The workload of a server: the object that makes its pods, with the record of its last start."""

from __future__ import annotations

from devservers_core.names import LABEL_NAME, LABEL_PRIORITY, LABEL_QUEUE
from devservers_core.replicas import replicas_service
from devservers_core.types import Json

from .manifest import child_metadata
from .pod.template import pod_template, queue_labels
from .record import Record, input_hash, new_record
from .request import ServerRequest
from .storage import home_template

DEPLOYMENT, STATEFUL_SET = "Deployment", "StatefulSet"
WORKLOAD_KINDS = (DEPLOYMENT, STATEFUL_SET)
"""The kinds of workloads. A server has one of them, called as it is."""


def workload(request: ServerRequest, uid: int) -> Json | None:
    """The manifest of the workload, None when it can't be rendered; a stored one is then to be left as it is."""
    server = request.server
    start = _record(request, uid)
    if start is None:
        return None
    metadata = child_metadata(server.name, server, request.user) | {"annotations": start.annotations}
    runs = request.running and not request.user.spec.suspended
    spec = {
        "replicas": (server.replicas or 1) if runs else 0,
        "revisionHistoryLimit": 1,
        "selector": {"matchLabels": {LABEL_NAME: server.name}},
        "template": start.template,
    }
    if server.replicas is not None:
        return _stateful_set(request, metadata, spec)
    return {
        "apiVersion": "apps/v1",
        "kind": DEPLOYMENT,
        "metadata": metadata,
        "spec": {**spec, "strategy": {"type": "Recreate"}},
    }


def _stateful_set(request: ServerRequest, metadata: Json, spec: Json) -> Json:
    """The StatefulSet of a distributed server. Kueue admits it as a whole, by its labels."""
    server = request.server
    live = request.live_workload if (request.live_workload or {}).get("kind") == STATEFUL_SET else None
    if live is not None:
        # Kueue refuses another queue while pods run: the labels are those of its start.
        stored = live["metadata"].get("labels") or {}
        queue = {name: stored[name] for name in (LABEL_QUEUE, LABEL_PRIORITY) if name in stored}
    else:
        queue = queue_labels(request.flavor, request.settings) if request.flavor is not None else {}
    templates = ((live or {}).get("spec") or {}).get("volumeClaimTemplates") or ()
    home = home_template(server, request.user, request.settings.storage_class, next(iter(templates), None))
    if live is not None and not templates:
        home = None
    return {
        "apiVersion": "apps/v1",
        "kind": STATEFUL_SET,
        "metadata": metadata | {"labels": metadata["labels"] | queue},
        "spec": {
            **spec,
            "serviceName": replicas_service(server.name),
            # At once: no replica is ready before the others are there.
            "podManagementPolicy": "Parallel",
            # A change takes effect when the whole server starts anew, never replica by replica.
            "updateStrategy": {"type": "OnDelete"},
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
            **({"volumeClaimTemplates": [home]} if home is not None else {}),
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
