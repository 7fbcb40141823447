"""Quota of each user (storage, servers), and allowed image registries.

Invariant: a limit refuses what is new and takes nothing away from whoever has more already.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from devservers.api import registries
from devservers.api.fields import Matching
from infra.settings.model import SettingsModel, allowed

Size = Annotated[
    str,
    Matching(r"^[1-9][0-9]*(Mi|Gi|Ti)$", "not an amount of storage", 16),
    Field(json_schema_extra=allowed("an amount in Mi, Gi or Ti, like 500Gi")),
]
Registries = Annotated[
    tuple[Annotated[str, Matching(registries.PATTERN, "not a registry", 253)], ...],
    Field(
        min_length=1,
        max_length=64,
        json_schema_extra=allowed(
            "a list of registries, with the first parts of a path or without, like ghcr.io/team; or *"
        ),
    ),
]


class Quota(SettingsModel):
    """What each person may have whose own quota says nothing else."""

    storage: Size = "500Gi"
    """Of all their volume claims together, kept homes included."""
    claim: Size = "1Ti"
    """Of one volume claim, whoever's it is."""
    shared: Size = "1Ti"
    """Of all their claims of class `efs`, with cluster `aws`: those count here instead of under storage."""
    servers: int = Field(default=20, ge=0, le=1000, json_schema_extra=allowed("0 to 1000"))
    """Stopped ones included."""
    snapshots: int = Field(default=5, ge=0, le=1000, json_schema_extra=allowed("0 to 1000"))
    """Of their volumes. No amount of storage limits them: each may hold as much as a volume of the size of `claim`."""
