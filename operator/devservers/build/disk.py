"""How much of its node's disk a server may fill.

Invariant: every server has a limit, its flavor's `ephemeral-storage` or a default. A full disk makes the kubelet evict
pods that did nothing, so a server that writes too much has to be the one that goes; and the less it requests, the
sooner it is.
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
    """The request and limit of ephemeral storage, in the API server's spelling."""

    request: str
    limit: str

    @classmethod
    def of(cls, flavor: DevServerFlavor) -> Disk:
        """The disk of a flavor. If the flavor names only one of both, the other is chosen to fit."""
        declared = flavor.spec.resources
        request, limit = declared.requests.get(DISK), declared.limits.get(DISK)
        if limit is None:
            limit = max(request or DEFAULT_LIMIT, DEFAULT_LIMIT, key=parse_quantity)
        if request is None:
            request = min(limit, DEFAULT_REQUEST, key=parse_quantity)
        return cls(canonical(request), canonical(limit))
