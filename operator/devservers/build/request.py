"""What the manifests of one server are rendered from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from devservers.api.devserver import DevServer
from devservers.api.flavor import DevServerFlavor
from devservers.api.secrets import SecretReference
from devservers.api.user import DevServerUser
from devservers_core.types import Json

from .record import Record
from .settings import BuildSettings


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

    kept: Record | None = None
    """The record of the last start where it stays (kept_record), None where a new one is rendered."""

    replica_key: str = ""
    """The public half of the key between the replicas of a distributed server."""

    host_ca_public: str = ""
    """The public key's line of the authority that signs host keys; for distributed servers."""

    live_workload: Json | None = None
    """The stored workload: of a StatefulSet what nothing may change is repeated."""

    live_homes: Mapping[str, Json] = field(default_factory=dict)
    """The stored claims of its homes, by name."""

    running: bool = True
    """Whether a pod is to exist, with time limits and suspension taken into account."""

    today: date | None = None
    """In UTC, for the note on the home when it was used last."""

    started: str | None = None
    """When the start was asked for that a new pod begins, as RFC 3339, for its record."""
