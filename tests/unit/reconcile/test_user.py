"""What a user's reconcile does with obstacles, and when the user is gone."""

from __future__ import annotations

import asyncio

import pytest

from devservers.reconcile.applier import Applier
from devservers.reconcile.interfaces import Result
from devservers.reconcile.uids import UidAllocator
from devservers.reconcile.user import UserReconciler
from devservers_core.errors import ApiError
from devservers_core.names import LABEL_NAMESPACE_CREATED_BY, OPERATOR
from devservers_core.types import Json
from tests.support.operator.world import World

USER = ("DevServerUser", "", "ann")
NAMESPACE = ("Namespace", "", "dev-ann")


def reconcile(world: World) -> Result:
    return asyncio.run(world.users.reconcile("ann"))


def ready(world: World) -> Json:
    conditions = world.api.objects[USER]["status"]["conditions"]
    return next(condition for condition in conditions if condition["type"] == "Ready")


def gone() -> World:
    """A world whose user was just deleted, with their namespace."""
    world = World()
    world.user()
    world.cache.forget(world.api.objects.pop(USER))
    world.api.log.clear()
    return world


def namespace(world: World, created_by: str, **metadata: object) -> None:
    labels = {LABEL_NAMESPACE_CREATED_BY: created_by}
    obj = {"kind": "Namespace", "metadata": {"name": "dev-ann", "labels": labels, **metadata}}
    stored = world.api.put(obj)
    if created_by == OPERATOR:
        world.cache.put(stored)


@pytest.mark.parametrize(
    ("created_by", "metadata", "text"),
    [
        ("somebody", {}, "exists and wasn't made by this operator"),
        (OPERATOR, {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "is being deleted"),
    ],
)
def test_namespace_that_cannot_be_used_is_reported_and_tried_again(
    created_by: str, metadata: dict[str, object], text: str
) -> None:
    world = World()
    namespace(world, created_by, **metadata)
    world.user()
    assert (ready(world)["reason"], world.api.objects[USER]["status"]["phase"]) == ("SetupFailed", "Failed")
    assert text in ready(world)["message"]
    assert reconcile(world).requeue_after == 30
    assert [address for address in world.api.objects if address[0] == "RoleBinding"] == []


def test_unreadable_user_changes_nothing() -> None:
    world = World()
    world.put("DevServerUser", "", "ann", spec={"username": 5})
    assert reconcile(world) == Result()
    assert world.api.log == []


def test_user_being_deleted_changes_nothing() -> None:
    world = World()
    world.user()
    leaving = world.api.objects[USER]
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    world.cache.put(world.api.put(leaving))
    world.api.log.clear()
    reconcile(world)
    assert world.api.log == []


def test_namespace_of_a_deleted_user_without_claims_is_deleted() -> None:
    world = gone()
    reconcile(world)
    assert world.api.log == ["delete Namespace/dev-ann"]


def test_namespace_of_a_deleted_user_with_a_claim_is_kept_without_servers_and_named_once() -> None:
    world = gone()
    world.api.put({"kind": "PersistentVolumeClaim", "metadata": {"name": "mydev-home", "namespace": "dev-ann"}})
    world.api.put({"kind": "DevServer", "metadata": {"name": "mydev", "namespace": "dev-ann"}})
    for _ in range(2):
        reconcile(world)
    assert NAMESPACE in world.api.objects
    assert world.api.log[0] == "delete DevServer/mydev"
    assert [line.split("/")[0] for line in world.api.log[1:]] == ["create Event"]
    (event,) = [obj for address, obj in world.api.objects.items() if address[0] == "Event"]
    assert "it holds volume claims: mydev-home" in event["note"]


def test_namespace_of_a_deleted_user_whose_claims_are_being_deleted_is_deleted() -> None:
    world = gone()
    metadata = {"name": "mydev-home", "namespace": "dev-ann", "deletionTimestamp": "2026-01-01T00:00:00Z"}
    world.api.put({"kind": "PersistentVolumeClaim", "metadata": metadata})
    reconcile(world)
    assert world.api.log == ["delete Namespace/dev-ann"]


def test_clean_up_that_cannot_ask_for_the_user_deletes_nothing() -> None:
    world = gone()

    async def get(kind: str, namespace: str, name: str) -> Json:
        raise ApiError(503, "Unavailable", "")

    world.api.get = get  # type: ignore[method-assign]
    with pytest.raises(ApiError):
        reconcile(world)
    assert world.api.log == []


def test_missing_flavors_of_a_user_are_a_condition() -> None:
    world = World()
    world.flavor()
    world.put("DevServerUser", "", "ann", spec={"username": "ann", "flavors": ["small", "huge", "*"]})
    reconcile(world)
    (condition,) = [c for c in world.api.objects[USER]["status"]["conditions"] if c["type"] == "FlavorsFound"]
    assert "There is no flavor huge." in condition["message"]


INDEX = ("ConfigMap", "dev-ann", "secrets")


class Entries:
    """What is known of secrets; None before they were listed."""

    def __init__(self, **names: str) -> None:
        self.known: dict[str, str] | None = dict(names)

    def of(self, namespace: str) -> dict[str, str] | None:
        return self.known


def with_entries(entries: Entries) -> World:
    world = World()
    applier = Applier(world.cache, world.api)
    world.users = UserReconciler(world.cache, world.api, applier, UidAllocator(world.api, "s"), secret_entries=entries)
    return world


def test_index_of_secrets_is_what_the_watch_knows_and_settles() -> None:
    entries = Entries(a="1")
    world = with_entries(entries)
    world.user()
    assert world.api.objects[INDEX]["data"] == {"a": "1"}
    entries.known = {"b": "2"}
    reconcile(world)
    assert world.api.objects[INDEX]["data"] == {"b": "2"}
    writes = len(world.api.log)
    reconcile(world)
    assert world.api.log[writes:] == []


def test_index_of_secrets_before_the_first_list_is_left_alone_or_made_empty() -> None:
    entries = Entries()
    entries.known = None
    world = with_entries(entries)
    world.user()
    assert "data" not in world.api.objects[INDEX]
    entries.known = {"a": "1"}
    reconcile(world)
    entries.known = None
    reconcile(world)
    assert world.api.objects[INDEX]["data"] == {"a": "1"}


def test_index_of_secrets_loses_what_an_earlier_versions_user_wrote() -> None:
    """An apply takes away its own entries only."""
    world = with_entries(Entries(a="1"))
    world.user()
    stored = world.api.objects[INDEX]
    world.cache.put(world.api.put({**stored, "data": {"a": "1", "forged": "x"}}))
    reconcile(world)
    assert [line for line in world.api.log if line.startswith("patch")] == ["patch ConfigMap/secrets"]
    assert world.api.objects[INDEX]["data"] == {"a": "1"}
