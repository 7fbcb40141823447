"""The workload of a server: the object that makes its pods, with the record of its last start."""

from __future__ import annotations

from devservers_core.names import ANNOTATION_INPUT_HASH, LABEL_NAME
from devservers_core.types import Json

from . import record
from .manifest import child_metadata
from .pod.template import pod_template
from .request import ServerRequest

WORKLOAD_KINDS = ("Deployment",)
"""The kinds of workloads. A server has one of them, called as it is."""


def keeps_record(live_workload: Json | None, inputs: str, *, running: bool) -> bool:
    """Whether the record of the last start stays, so that nothing is rendered anew."""
    stored = record.recorded_annotations(live_workload)
    if stored is None:
        return False
    # A stopped server keeps its old record: that costs no write, and its next start renders a new one.
    return not running or (record.live_replicas(live_workload) > 0 and stored[ANNOTATION_INPUT_HASH] == inputs)


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
        "metadata": metadata | {"annotations": start},
        "spec": {
            "replicas": 1 if request.running and not request.user.spec.suspended else 0,
            "revisionHistoryLimit": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": {LABEL_NAME: server.name}},
            "template": record.template_of(start),
        },
    }


def _record(request: ServerRequest, uid: int) -> dict[str, str] | None:
    """The record to use: the stored one, or one rendered now, or None when there is neither."""
    stored = record.recorded_annotations(request.live_workload)
    inputs = record.input_hash(request.server, uid)
    if stored is not None and keeps_record(request.live_workload, inputs, running=request.running):
        return record.with_start(stored, request.started) if request.running else stored
    if request.flavor is None:
        return None
    template = pod_template(request.server, request.flavor, request.user, uid, request.settings, request.setup_secrets)
    return record.new_annotations(inputs, request.flavor, template, request.started)
