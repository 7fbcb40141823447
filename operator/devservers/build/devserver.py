"""The manifests of a server's children.

Invariant: they are a function of the request alone: same request, same manifests, byte for byte. Of a stored Deployment
only the record of its last start is used (see record.py), of a stored home its size and class.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from devservers.api.devserver import DevServer
from devservers.api.flavor import DevServerFlavor
from devservers.api.secrets import SecretReference
from devservers.api.user import DevServerUser
from devservers_core.names import ANNOTATION_INPUT_HASH, LABEL_NAME
from devservers_core.types import Json

from . import record
from .keys import keys_config_map
from .manifest import child_metadata
from .pod.template import pod_template
from .record import flavor_changed, input_hash, limiting_flavor, recorded_defaults, running_since
from .service import service
from .settings import BuildSettings
from .storage import home_claim

__all__ = [
    "BuildSettings",
    "ServerRequest",
    "flavor_changed",
    "input_hash",
    "keeps_record",
    "limiting_flavor",
    "manifests",
    "recorded_defaults",
    "running_since",
]


@dataclass(frozen=True, slots=True)
class ServerRequest:
    """Everything the manifests of one server depend on."""

    server: DevServer
    flavor: DevServerFlavor | None
    """None when the flavor the server names doesn't exist."""

    user: DevServerUser
    """The owner; status.uid must be set."""

    settings: BuildSettings
    user_ca_public: str
    """One public key line; the bastion's inner hop signs with its other half."""

    agent_public_key: str = ""
    """The public half of the key that signs plans for the agent, 32 bytes in base64; empty without exchanges."""

    setup_secrets: tuple[SecretReference, ...] = ()
    """The references to secrets of the person's own set-up; used where a new record is rendered."""

    live_deployment: Json | None = None
    live_home: Json | None = None
    running: bool = True
    """Whether a pod is to exist, with time limits and suspension taken into account."""

    today: date | None = None
    """In UTC, for the note on the home when it was used last."""

    started: str | None = None
    """When the start was asked for that a new pod begins, as RFC 3339, for its record."""


def manifests(request: ServerRequest) -> list[Json]:
    """The children to apply, in order: home claim, keys ConfigMap, Service, Deployment.

    There is a home claim if the server has a home, and a Service with enableSSH. The Deployment is left out when it
    can't be rendered, which is when the flavor is missing and nothing recorded can be kept; a stored one is then to be
    left as it is. Raises ValueError for a user without a uid or a server without one: both must have been stored and
    set up before.
    """
    server, user, uid = request.server, request.user, request.user.status.uid
    if uid is None:
        raise ValueError(f"user {user.name} has no uid yet")
    children = [
        home_claim(
            server,
            user,
            request.settings.storage_class,
            request.live_home,
            request.today if request.running and not user.spec.suspended else None,
        ),
        keys_config_map(server, user, uid, request.user_ca_public, request.agent_public_key),
        service(server, user) if server.spec.enable_ssh else None,
        _deployment(request, uid),
    ]
    return [child for child in children if child is not None]


def keeps_record(live_deployment: Json | None, inputs: str, *, running: bool) -> bool:
    """Whether the record of the last start stays, so that nothing is rendered anew."""
    stored = record.recorded_annotations(live_deployment)
    if stored is None:
        return False
    # A stopped server keeps its old record: that costs no write, and its next start renders a new one.
    return not running or (record.live_replicas(live_deployment) > 0 and stored[ANNOTATION_INPUT_HASH] == inputs)


def _deployment(request: ServerRequest, uid: int) -> Json | None:
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
    stored = record.recorded_annotations(request.live_deployment)
    inputs = record.input_hash(request.server, uid)
    if stored is not None and keeps_record(request.live_deployment, inputs, running=request.running):
        return record.with_start(stored, request.started) if request.running else stored
    if request.flavor is None:
        return None
    template = pod_template(request.server, request.flavor, request.user, uid, request.settings, request.setup_secrets)
    return record.new_annotations(inputs, request.flavor, template, request.started)
