"""How much of its node's disk a server may fill: its flavor's `ephemeral-storage`, or a default.

Invariant: every server has a limit. A full disk makes the kubelet evict pods that did nothing, so a server that writes
too much has to be the one that goes; and the less it asks for, the sooner it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from devservers.api.flavor import DevServerFlavor
from devservers_core.quantity import canonical, parse_quantity

DISK = "ephemeral-storage"
DEFAULT_REQUEST, DEFAULT_LIMIT = "1Gi", "20Gi"
"""Of a flavor, or any other pod of a person, that names none."""


@dataclass(frozen=True, slots=True)
class Disk:
    """What is set aside for a server's own files, and the most they may take, in the API server's spelling."""

    request: str
    limit: str

    @classmethod
    def of(cls, flavor: DevServerFlavor) -> Disk:
        """What a flavor gives. One that names a half gets the other so that the two fit."""
        declared = flavor.spec.resources
        request, limit = declared.requests.get(DISK), declared.limits.get(DISK)
        if limit is None:
            limit = max(request or DEFAULT_LIMIT, DEFAULT_LIMIT, key=parse_quantity)
        if request is None:
            request = min(limit, DEFAULT_REQUEST, key=parse_quantity)
        return cls(canonical(request), canonical(limit))
