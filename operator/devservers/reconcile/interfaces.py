"""The two edges reconciling touches: a Lister to read from and a Client to write to.

Invariant: everything under reconcile/ reads and writes only through these protocols, so that what it does
can be followed from one page and no module here knows about HTTP, kopf or caches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from devservers_core.types import Json


class Key(NamedTuple):
    """A root object to reconcile: (kind, namespace, name); namespace is "" for cluster-scoped kinds."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return "/".join(part for part in self if part)


@dataclass(frozen=True)
class Result:
    """What reconciling asks for next: seconds until the next look at this key, or None for "when something
    changes".
    """

    requeue_after: float | None = None


class Lister(Protocol):
    """Reads from memory. What is returned is shared: never change it."""

    def get(self, kind: str, namespace: str, name: str) -> Json | None: ...

    def list(self, kind: str, namespace: str | None = None) -> Sequence[Json]:
        """All objects of a kind; namespace None means all namespaces."""
        ...

    def put(self, obj: Json) -> None:
        """Remembers an object the API server just returned, so that the next read sees our own write."""
        ...

    def forget(self, obj: Json) -> None:
        """Drops an object that the API server no longer has, whether its event is still to come or was missed."""
        ...


class Client(Protocol):
    """Talks to the API server. Every method raises ApiError."""

    async def get(self, kind: str, namespace: str, name: str) -> Json: ...

    async def list(self, kind: str, namespace: str = "", selector: str = "") -> list[Json]: ...

    async def events(self, namespace: str, kind: str, name: str = "") -> Sequence[Json]:
        """The Warning Events (core/v1) about objects of a kind, or about one of them when name is given."""
        ...

    async def create(self, obj: Json) -> Json: ...

    async def replace(self, obj: Json) -> Json: ...

    async def apply(self, obj: Json) -> Json: ...

    async def apply_status(self, obj: Json) -> Json: ...

    async def scale(self, kind: str, namespace: str, name: str, replicas: int) -> None: ...

    async def delete(self, kind: str, namespace: str, name: str, uid: str = "") -> None: ...
