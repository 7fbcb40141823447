"""The server that a command line asks for, and its object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from devctl import validation
from devservers_core import names
from devservers_core.replicas import DISTRIBUTED

if TYPE_CHECKING:
    from devservers_core.types import Json


@dataclass(frozen=True)
class ServerRequest:
    """The server that the command line asks for, its values validated.

    `flavor` is None when none was given.
    """

    name: str
    flavor: str | None
    image: str | None
    home_size: str | None
    volumes: list[validation.Mount]
    shared: str | None
    env: list[dict[str, str]]
    secrets: list[dict[str, str]]
    lifecycle: Json
    ssh: bool
    command: list[str]
    distributed: Json | None = None
    """spec.distributed of a distributed server."""

    @property
    def replicas(self) -> int | None:
        """How many replicas a distributed server has."""
        return int(self.distributed["replicas"]) if self.distributed is not None else None

    @property
    def claims(self) -> list[str]:
        """Every volume claim that has to exist."""
        return list(dict.fromkeys([m.claim for m in self.volumes] + ([self.shared] if self.shared else [])))

    def manifest(self, namespace: str) -> Json:
        """The DevServer object; values that equal the API's defaults are left out."""
        spec: dict[str, Any] = {"flavor": self.flavor}
        if self.image:
            spec["image"] = self.image
        if self.command:
            spec["command"] = self.command
        if self.env:
            spec["env"] = self.env
        if self.secrets:
            spec["secrets"] = self.secrets
        if self.home_size:
            spec["persistentHomeSize"] = self.home_size
        if self.shared:
            spec["sharedVolumeClaimName"] = self.shared
        if self.volumes:
            spec["volumes"] = [m.to_api() for m in self.volumes]
        if self.distributed is not None:
            spec |= {"mode": DISTRIBUTED, "distributed": self.distributed}
        if not self.ssh:
            spec["enableSSH"] = False
        if self.lifecycle:
            spec["lifecycle"] = self.lifecycle
        return {
            "apiVersion": names.API_VERSION,
            "kind": "DevServer",
            "metadata": {"name": self.name, "namespace": namespace},
            "spec": spec,
        }
