"""Settings of fast starts: images pulled ahead and headroom for servers.

Both are off by default: headroom keeps nodes that nobody uses, which cost as much as those that somebody does.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from infra.policy.workload_rules import unpinned
from infra.settings.model import Image, SettingsModel, allowed


def _pinned(reference: str) -> str:
    if why := unpinned(reference):
        raise PydanticCustomError("unpinned", "an image {why}; name a version's tag or a digest", {"why": why})
    return reference


PoolName = Annotated[str, Field(min_length=1, max_length=63, json_schema_extra=allowed("a pool's name"))]


class PrePull(SettingsModel):
    """An image that is on the nodes before a server asks for it."""

    image: Annotated[Image, AfterValidator(_pinned)]
    """Pulled with the logins of imagePullSecrets; nothing of it runs."""
    pools: Annotated[
        tuple[PoolName, ...],
        Field(max_length=20, json_schema_extra=allowed("names of pools, or none for all (local: the only one)")),
    ] = ()
    """Pools on whose nodes it is."""


class Headroom(SettingsModel):
    """Placeholder pods, which keep room for servers of one flavor in one pool."""

    pool: Annotated[
        str,
        Field(min_length=1, max_length=63, json_schema_extra=allowed("a pool of the stack; with cluster local: local")),
    ]
    """Where the room is."""
    flavor: Annotated[
        str, Field(max_length=63, json_schema_extra=allowed("a flavor of the pool; empty: its own, or cpu-small"))
    ] = ""
    """How much one placeholder asks for: as much as a server of this flavor."""
    servers: int = Field(ge=1, le=100, json_schema_extra=allowed("1 to 100"))
    """How many servers find room at once. On AWS it keeps that much of a node running, all day."""


class FastStarts(SettingsModel):
    """What makes servers start fast; both lists are empty by default."""

    pre_pull: Annotated[
        tuple[PrePull, ...], Field(max_length=32, json_schema_extra=allowed("a list of images, each once"))
    ] = ()
    """Images that each node of the pools pulls as soon as it is there, images.agent and images.base with them."""
    headroom: Annotated[
        tuple[Headroom, ...], Field(max_length=40, json_schema_extra=allowed("a list, each pool and flavor once"))
    ] = ()
    """Room that servers find at once, while a node that takes its place is made."""

    @property
    def enabled(self) -> bool:
        """Whether there is anything of it."""
        return bool(self.pre_pull or self.headroom)
