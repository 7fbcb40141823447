"""The interfaces of reconcilers: a Lister to read from, a Client to write to, the Agents.

Invariant: modules of reconcile/ read and write only through these protocols and know nothing of HTTP, kopf or the
cache. The names are controller-runtime's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

from devservers.observe.agent import AgentPlan, AgentState, Outcome
from devservers_core.errors import ApiError
from devservers_core.types import Json


class Key(NamedTuple):
    """A root object to reconcile; namespace is "" for cluster-scoped kinds."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return "/".join(part for part in self if part)


@dataclass(frozen=True)
class Result:
    """The seconds until the next reconcile, None for "when something changes"."""

    requeue_after: float | None = None


def utcnow() -> datetime:
    """The time now, in UTC; the clock that reconcilers take by default."""
    return datetime.now(UTC)


class Lister(Protocol):
    """Reads API objects from memory. What it returns is shared: never change it."""

    def get(self, kind: str, namespace: str, name: str) -> Json | None:
        """The object, None when there is none."""

    def list(self, kind: str, namespace: str | None = None) -> Sequence[Json]:
        """All objects of a kind; namespace None means all namespaces."""
        ...

    def changes(self, kind: str) -> int:
        """How many changes of objects of a kind there were: with the same number, a list is the same."""

    def former_pods(self, namespace: str) -> Sequence[Json]:
        """What remains of pods that were deleted of late (observe/ends/last_output.py)."""
        ...

    def put(self, obj: Json) -> None:
        """Stores an object that the API server returned, so that the next read has our own write."""
        ...

    def forget(self, obj: Json) -> None:
        """Drops an object that the API server no longer has."""
        ...


class Client(Protocol):
    """Talks to the API server. Every method raises ApiError."""

    async def get(self, kind: str, namespace: str, name: str) -> Json:
        """Reads one object; an absent one is ApiError 404."""

    async def list(self, kind: str, namespace: str = "", selector: str = "") -> list[Json]:
        """Lists objects of a kind in one namespace, or in all of them."""

    async def events(self, namespace: str, kind: str, name: str = "") -> Sequence[Json]:
        """The Warning Events (core/v1) about objects of a kind, or about one of them when name is given."""
        ...

    async def create(self, obj: Json) -> Json:
        """Creates an object; one that exists is ApiError 409."""

    async def replace(self, obj: Json) -> Json:
        """Replaces an object; ApiError 409 when its resourceVersion is old."""

    async def apply(self, obj: Json) -> Json:
        """Server-side apply."""

    async def apply_status(self, obj: Json) -> Json:
        """Server-side apply of the status subresource."""

    async def patch(self, obj: Json) -> Json:
        """Merge patch of the fields in obj, at the version and of the uid that its metadata names."""

    async def scale(self, kind: str, namespace: str, name: str, replicas: int) -> None:
        """Sets the replicas through the scale subresource."""

    async def delete(self, kind: str, namespace: str, name: str, uid: str = "") -> None:
        """Deletes an object, with uid only that very one; an absent object counts as deleted."""


class SecretEntries(Protocol):
    """The entries of each user's index of secrets."""

    def of(self, namespace: str) -> Mapping[str, str] | None:
        """The entries by the Secrets' names; None while they aren't known."""


class NoSecretEntries:
    """Entries of a cluster whose secrets nobody watches, for tests and tools."""

    def of(self, namespace: str) -> Mapping[str, str] | None:
        """No secret."""
        return {}


class Agents(Protocol):
    """The agents of all running servers."""

    def state(self, namespace: str, name: str, pod_uid: str) -> AgentState | None:
        """The last good report of that pod; None when this process has had none yet."""

    def plan(self, namespace: str, name: str, pod_uid: str, plan: AgentPlan) -> None:
        """Keeps what to send to that pod; what people see of it is sent at once when it changed."""

    def refresh(self, namespace: str, name: str, pod: Json) -> Outcome | None:
        """What the agent reports now, out of turn, before a stop that its people may put off.

        None while the exchange is under way: the server's key is queued when it ends, within ASKING_SECONDS. What it
        brought counts until the next plan.
        """

    def final(self, namespace: str, name: str, pod: Json, plan: AgentPlan) -> Outcome | None:
        """Announces a stop that comes now, and returns what the last report says.

        None while the exchange is under way, as for `refresh`. The agent hears nothing more until the next plan.
        """


ASKING_SECONDS = 3.0
"""How long a reconcile may have to wait for an exchange; it returns meanwhile."""


async def get_or_none(client: Client, kind: str, namespace: str, name: str) -> Json | None:
    """Reads one object; None when it is absent. Raises ApiError."""
    try:
        return await client.get(kind, namespace, name)
    except ApiError as error:
        if not error.not_found:
            raise
        return None
