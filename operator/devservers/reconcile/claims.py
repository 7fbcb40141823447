"""The volume claims that a server mounts, read from the Lister."""

from __future__ import annotations

from devservers.api.devserver import DevServer
from devservers.reconcile.interfaces import Lister
from devservers_core.replicas import home_names
from devservers_core.types import Json

CLAIM = "PersistentVolumeClaim"


def referenced_claims(server: DevServer) -> list[str]:
    """Names of the claims a server mounts besides its own home, without repeats."""
    claims = [volume.claim_name for volume in server.spec.volumes]
    if server.spec.shared_volume_claim_name:
        claims.append(server.spec.shared_volume_claim_name)
    return list(dict.fromkeys(claims))


def missing_claims(lister: Lister, server: DevServer) -> tuple[str, ...]:
    """The referenced claims that don't exist."""
    namespace = server.metadata.namespace
    return tuple(claim for claim in referenced_claims(server) if lister.get(CLAIM, namespace, claim) is None)


def claims_being_deleted(lister: Lister, server: DevServer) -> tuple[str, ...]:
    """The mounted claims that are being deleted, the homes first."""
    home = home_names(server.name, server.replicas) if server.spec.persistent_home_size is not None else ()
    return tuple(
        claim
        for claim in (*home, *referenced_claims(server))
        if (_claim(lister, server, claim).get("metadata") or {}).get("deletionTimestamp")
    )


def claims_by_volume(lister: Lister, server: DevServer) -> dict[str, str]:
    """The mounted claims by the names of their PersistentVolumes."""
    claims = {}
    for claim in (*home_names(server.name, server.replicas), *referenced_claims(server)):
        if volume := (_claim(lister, server, claim).get("spec") or {}).get("volumeName"):
            claims[volume] = claim
    return claims


def _claim(lister: Lister, server: DevServer, name: str) -> Json:
    return lister.get(CLAIM, server.metadata.namespace, name) or {}
