"""Volumes of a namespace, with their servers, used bytes and last use.

Invariant: pure; what isn't known is None and never 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from devctl.output import times
from devctl.resources import home
from devservers_core import names

if TYPE_CHECKING:
    from devservers_core.types import Json

ENDED_PODS = ("Succeeded", "Failed")
"""Phases in which a pod has given its volumes back."""
_KIB = 1024


@dataclass(frozen=True)
class Volume:
    """One volume claim and what is known about its use."""

    claim: Json
    mounted_by: tuple[str, ...]
    """Servers, or other pods, that run with it."""
    wanted_by: tuple[str, ...]
    """Servers that mount it when they run."""
    used_bytes: int | None
    """As the newest report of a server has it."""
    last_used: datetime | None
    """When a server was last known to run with it; None when it isn't known."""
    home_of: str | None
    """The server whose home it is."""
    kept: bool
    """Whether that server was deleted."""

    @property
    def name(self) -> str:
        """The claim's name."""
        return str(self.claim["metadata"]["name"])

    @property
    def size(self) -> str | None:
        """The volume's capacity, or the request before there is a volume."""
        return home.size(self.claim)

    @property
    def storage_class(self) -> str | None:
        """The name of its StorageClass."""
        return (self.claim.get("spec") or {}).get("storageClassName") or None

    @property
    def bound(self) -> bool:
        """Whether there is a disk behind it."""
        return (self.claim.get("status") or {}).get("phase") == "Bound"

    @property
    def deleting(self) -> bool:
        """Whether it is being deleted."""
        return home.is_deleting(self.claim)


def volumes(claims: Iterable[Json], servers: Sequence[Json], pods: Sequence[Json]) -> list[Volume]:
    """The volumes of a namespace's claims, by name."""
    items = [_volume(claim, servers, pods) for claim in claims]
    return sorted(items, key=lambda volume: volume.name)


def _volume(claim: Json, servers: Sequence[Json], pods: Sequence[Json]) -> Volume:
    name = claim["metadata"]["name"]
    wanting = [server for server in servers if name in home.claims_of(server)]
    owner = home_owner(claim)
    use = _newest_use(name, wanting)
    return Volume(
        claim=claim,
        mounted_by=tuple(sorted({_server_of(pod) for pod in pods if _mounts(pod, name)})),
        wanted_by=tuple(sorted(str(server["metadata"]["name"]) for server in wanting)),
        used_bytes=_bytes(use.get("usedBytes")) if use else None,
        last_used=_last_used(claim, wanting, use),
        home_of=owner,
        kept=owner is not None and all(server["metadata"]["name"] != owner for server in servers),
    )


def home_owner(claim: Json) -> str | None:
    """The server whose home the operator made this claim as; its name proves nothing."""
    metadata = claim["metadata"]
    owner = (metadata.get("annotations") or {}).get(names.ANNOTATION_HOME_OF)
    return str(owner) if owner else (metadata.get("labels") or {}).get(names.LABEL_NAME)


def _mounts(pod: Json, claim: str) -> bool:
    if (pod.get("status") or {}).get("phase") in ENDED_PODS:
        return False
    volumes_of_pod = (pod.get("spec") or {}).get("volumes") or []
    return any(
        (pod_volume.get("persistentVolumeClaim") or {}).get("claimName") == claim for pod_volume in volumes_of_pod
    )


def _server_of(pod: Json) -> str:
    """The pod's server; a pod that is no server's has its own name."""
    metadata = pod["metadata"]
    return str((metadata.get("labels") or {}).get(names.LABEL_NAME) or f"pod {metadata['name']}")


def _newest_use(claim: str, servers: Sequence[Json]) -> Json | None:
    """The newest entry about a claim in the servers' status.volumes."""
    uses = [
        use
        for server in servers
        for use in (server.get("status") or {}).get("volumes") or []
        if use.get("claimName") == claim
    ]
    return max(uses, key=lambda use: str(use.get("at") or ""), default=None)


def _last_used(claim: Json, servers: Sequence[Json], use: Json | None) -> datetime | None:
    texts = [(claim["metadata"].get("annotations") or {}).get(names.ANNOTATION_LAST_USED), (use or {}).get("at")]
    texts += [((server.get("status") or {}).get("lastStop") or {}).get("at") for server in servers]
    return max((time for text in texts if (time := times.parse_time(text))), default=None)


def _bytes(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def size_text(number: int | None) -> str:
    """A number of bytes in the largest binary unit that leaves at least 1: `1.5Gi`; `-` when it isn't known."""
    if number is None:
        return "-"
    amount, units = float(number), ["", "Ki", "Mi", "Gi", "Ti", "Pi"]
    while amount >= _KIB and len(units) > 1:
        amount /= _KIB
        del units[0]
    return f"{amount:.1f}{units[0]}" if units[0] and amount < 10 else f"{amount:.0f}{units[0]}"


def document(volume: Volume) -> Json:
    """The volume as JSON and YAML have it."""
    return {
        "name": volume.name,
        "size": volume.size,
        "usedBytes": volume.used_bytes,
        "class": volume.storage_class,
        "mountedBy": list(volume.mounted_by),
        "wantedBy": list(volume.wanted_by),
        "homeOf": volume.home_of,
        "kept": volume.kept,
        "lastUsed": volume.last_used.isoformat() if volume.last_used else None,
        "deleting": volume.deleting,
    }
