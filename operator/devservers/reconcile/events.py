"""Posts Kubernetes Events; a failure to post one is logged and nothing else."""

from __future__ import annotations

import logging
import uuid
from datetime import datetime

from devservers.observe.devserver import Event
from devservers.reconcile.interfaces import Client
from devservers_core.errors import ApiError
from devservers_core.names import OPERATOR
from devservers_core.types import Json

log = logging.getLogger("devservers.reconcile")


async def post_event(client: Client, regarding: Json, event: Event, now: datetime, name: str = "") -> None:
    """Creates one events.k8s.io Event. With a name, posting it again does nothing while it exists."""
    metadata = regarding["metadata"]
    # Events of cluster-scoped objects live in namespace default: the API server's rule.
    namespace = metadata.get("namespace") or "default"
    body = {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": name or f"{metadata['name']}.{uuid.uuid4().hex[:16]}", "namespace": namespace},
        "eventTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "type": event.type,
        "reason": event.reason,
        "note": event.message[:1000],
        "action": event.reason,
        "reportingController": OPERATOR,
        "reportingInstance": OPERATOR,
        "regarding": {
            "apiVersion": regarding["apiVersion"],
            "kind": regarding["kind"],
            "name": metadata["name"],
            "uid": metadata.get("uid", ""),
            **({"namespace": metadata["namespace"]} if metadata.get("namespace") else {}),
        },
    }
    try:
        await client.create(body)
    except ApiError as error:
        if not (name and error.conflict):
            log.warning("event not posted reason=%s error=%s", event.reason, error)
