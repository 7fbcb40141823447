"""What the reconcilers refuse, stop or leave as it is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from devservers_core.errors import ApiError
from devservers_core.types import Json
from tests.support.operator.world import World


def reason(server: Json) -> str:
    return next(str(c["reason"]) for c in server["status"]["conditions"] if c["type"] == "Ready")


def user(world: World, name: str = "ann") -> None:
    world.put("DevServerUser", "", name, spec={"username": name})
    asyncio.run(world.users.reconcile(name))


def test_server_of_an_owner_from_another_namespace_gets_no_children() -> None:
    world = World()
    user(world)
    server = world.server("dev-bob", owner="ann")
    assert reason(server) == "InvalidSpec"
    assert not [place for place in world.api.objects if place[0] in ("Deployment", "Secret", "Service")]


def test_unreadable_server_is_reported_once() -> None:
    world = World()
    server = world.server(volumes="none")
    assert reason(server) == "InvalidSpec"
    writes = len(world.api.log)
    world.cache.put(server)
    asyncio.run(world.servers.reconcile("dev-ann", "mydev"))
    assert len(world.api.log) == writes


def test_server_without_user_waits_without_deployment() -> None:
    world = World()
    assert reason(world.server()) == "OwnerNotFound"
    assert not [place for place in world.api.objects if place[0] == "Deployment"]


def test_server_before_its_users_uid_is_requeued_soon() -> None:
    """The user's status is the operator's own write, which wakes nobody."""
    world = World()
    world.put("DevServerFlavor", "", "small", spec={"resources": {"limits": {"cpu": "1"}}})
    world.put("DevServerUser", "", "ann", spec={"username": "ann"})
    assert reason(world.server()) == "Starting"
    look = asyncio.run(world.servers.reconcile("dev-ann", "mydev"))
    assert look.requeue_after is not None
    assert look.requeue_after <= 1
    asyncio.run(world.users.reconcile("ann"))
    look = asyncio.run(world.servers.reconcile("dev-ann", "mydev"))
    assert ("Deployment", "dev-ann", "mydev") in world.api.objects
    assert look.requeue_after is None or look.requeue_after > 1


def test_second_reconcile_of_a_settled_server_writes_nothing() -> None:
    world = World()
    user(world)
    world.put("DevServerFlavor", "", "small", spec={"resources": {"limits": {"cpu": "1"}}})
    world.server(persistentHomeSize="1Gi")
    assert ("Deployment", "dev-ann", "mydev") in world.api.objects
    writes = len(world.api.log)
    for _ in range(3):
        asyncio.run(world.servers.reconcile("dev-ann", "mydev"))
        asyncio.run(world.users.reconcile("ann"))
    assert world.api.log[writes:] == []


def suspended(**spec: Any) -> World:
    """A world with a server that ran when its user was suspended, and was not looked at since."""
    world = World()
    user(world)
    world.put("DevServerFlavor", "", "small", spec={"resources": {"limits": {"cpu": "1"}}})
    world.server()
    assert replicas(world) == 1
    status = world.api.objects[("DevServerUser", "", "ann")]["status"]
    world.put("DevServerUser", "", "ann", spec={"username": "ann", "suspended": True}, status=status)
    world.put("DevServer", "dev-ann", "mydev", spec={"flavor": "small", **spec})
    world.api.log.clear()
    return world


def replicas(world: World) -> int:
    return int(world.api.objects[("Deployment", "dev-ann", "mydev")]["spec"]["replicas"])


def deployments(world: World) -> list[str]:
    return [line for line in world.api.log if " Deployment/" in line]


def test_suspended_users_server_is_stopped_by_one_write() -> None:
    world = suspended()
    asyncio.run(world.servers.reconcile("dev-ann", "mydev"))
    assert (replicas(world), deployments(world)) == (0, ["apply Deployment/mydev"])


def test_suspended_users_unreadable_server_is_stopped() -> None:
    world = suspended(volumes="none")
    asyncio.run(world.servers.reconcile("dev-ann", "mydev"))
    assert (replicas(world), deployments(world)) == (0, ["scale Deployment/mydev"])


def test_suspended_users_server_is_stopped_when_the_reconcile_fails() -> None:
    world = suspended()

    def refuse(verb: str, obj: Json) -> None:
        if obj["kind"] == "ConfigMap":
            raise ApiError(500, "InternalError", "a webhook does not answer")

    world.api.before_write = refuse
    with pytest.raises(ApiError, match="webhook"):
        asyncio.run(world.servers.reconcile("dev-ann", "mydev"))
    assert (replicas(world), deployments(world)) == (0, ["scale Deployment/mydev"])


def test_broken_host_key_is_replaced_and_a_usable_one_is_kept() -> None:
    world = World()
    user(world)
    world.put("DevServerFlavor", "", "small", spec={"resources": {"limits": {"cpu": "1"}}})
    world.server()
    place = ("Secret", "dev-ann", "mydev-host-key")
    before = world.api.objects[place]["data"]
    world.server()
    assert world.api.objects[place]["data"] == before
    world.api.objects[place]["data"] = {**before, "ssh_host_ed25519_key": "AAAA"}
    world.server()
    after = world.api.objects[place]["data"]
    assert after["ssh_host_ed25519_key.pub"] != before["ssh_host_ed25519_key.pub"]


def test_stale_cache_deletes_no_namespace() -> None:
    world = World()
    user(world)
    world.cache.apply(
        "DevServerUser",
        {"metadata": {"name": "ann", "uid": "x", "resourceVersion": "999999999"}, "kind": "DevServerUser"},
        deleted=True,
    )
    asyncio.run(world.users.reconcile("ann"))
    assert not [line for line in world.api.log if line.startswith("delete")]


def test_former_users_server_deleted_without_event_delays_nothing() -> None:
    """It was deleted between the operator's first list and the beginning of its watch."""
    world = World()
    user(world)
    world.put("DevServer", "dev-ann", "mydev", spec={"flavor": "small"})
    old = world.api.objects[("DevServer", "dev-ann", "mydev")]
    old["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    world.cache.put(world.api.put(old))
    del world.api.objects[("DevServer", "dev-ann", "mydev")], world.api.objects[("DevServerUser", "", "ann")]
    world.cache.forget(world.cache.get("DevServerUser", "", "ann") or {})
    made = {"name": "ann", "generation": 1, "creationTimestamp": "2026-02-01T00:00:00Z"}
    again = {"apiVersion": "devservers.io/v1", "kind": "DevServerUser", "metadata": made, "spec": {"username": "ann"}}
    world.cache.put(world.api.put(again))
    asyncio.run(world.users.reconcile("ann"))
    assert world.api.objects[("DevServerUser", "", "ann")]["status"]["phase"] == "Active"
    assert world.cache.get("DevServer", "dev-ann", "mydev") is None


def secret_variables(world: World) -> dict[str, str]:
    deployment = world.api.objects[("Deployment", "dev-ann", "mydev")]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    references = {v["name"]: v.get("valueFrom", {}).get("secretKeyRef") for v in container["env"]}
    return {name: reference["name"] for name, reference in references.items() if reference}


def set_up(world: World, text: str) -> None:
    """Write the person's set-up; the cache doesn't have it."""
    metadata = {"name": "setup", "namespace": "dev-ann"}
    world.api.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"secrets": text}})


def test_secrets_of_the_set_up_are_those_of_the_last_start() -> None:
    """A start that follows a change at once has it, also where the watch is behind."""
    world = World()
    world.flavor()
    user(world)
    set_up(world, "env HF_TOKEN hf value\nno line\nenv HOME hf value")
    world.server()
    assert secret_variables(world) == {"HF_TOKEN": "user-secret-hf"}
    set_up(world, "env OTHER hf value")
    world.reconcile()
    assert secret_variables(world) == {"HF_TOKEN": "user-secret-hf"}
    world.server(running=False)
    world.server(running=True)
    assert secret_variables(world) == {"OTHER": "user-secret-hf"}
