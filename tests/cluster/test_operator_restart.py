"""Restart, upgrade and fail-over of the operator, and their effect on servers."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from devservers_core.errors import ApiError
from tests.support.cluster.harness import ApiServer
from tests.support.cluster.limits import LIMITS, claim_of, counted, person_of
from tests.support.cluster.operator_load import RESTART_SECONDS_BOUND, operator_writes, remove, restart
from tests.support.cluster.operator_process import (
    SYSTEM,
    FakeKubelet,
    World,
    flavor,
    install_operator,
    person,
    running_operator,
    server_of,
)
from tests.support.wait import eventually

USERS = 'devservers_cached_objects{kind="DevServerUser"}'


@pytest.fixture(scope="module")
def server(controllers: ApiServer) -> Iterator[ApiServer]:
    install_operator(controllers)
    controllers.admin.apply(flavor("cpu-small"))
    with FakeKubelet(controllers.admin, steps=False):
        yield controllers


@pytest.fixture
def world(server: ApiServer) -> World:
    return World(server.admin)


def test_restart_over_200_settled_servers_writes_nothing(server: ApiServer) -> None:
    found = restart(server, 200)
    print(found)
    assert found.writes == 0
    assert found.seconds < RESTART_SECONDS_BOUND
    assert found.memory_mib < 200


def test_upgrade_restarts_no_server(server: ApiServer, world: World) -> None:
    with running_operator(server, "old"):
        world.add_user("upgrade")
        server.admin.create(server_of("upgrade", "mydev"))
        server.admin.create(server_of("upgrade", "other"))
        world.wait_reason("upgrade", "mydev", "Running")
        world.wait_reason("upgrade", "other", "Running")
        before = _pods(world)
        world.admin.patch("devservers.io/v1", "DevServer", "other", {"spec": {"running": False}}, "dev-upgrade")
        world.wait("upgrade", "other", lambda s: s["status"].get("phase") == "Stopped", "stopped")
    mark = server.audit_mark()
    with running_operator(server, "new", default_image="example.com/base:2", agent_image="example.com/agent:2"):
        assert operator_writes(server, mark) == []
        assert _pods(world)["mydev"] == before["mydev"]
        # What an operator injects enters a pod at its next start.
        world.admin.patch("devservers.io/v1", "DevServer", "other", {"spec": {"running": True}}, "dev-upgrade")
        world.wait_reason("upgrade", "other", "Running")
        pod = world.pods("upgrade", "other")[0]["spec"]
        assert pod["containers"][0]["image"] == "example.com/base:2"
        assert pod["initContainers"][0]["image"] == "example.com/agent:2"
        remove(server, ["upgrade"])


def test_standby_takes_over_at_once_after_a_clean_stop(server: ApiServer, world: World) -> None:
    with (
        running_operator(server, "first") as first,
        running_operator(server, "second", leads=False) as second,
    ):
        assert _holder(server) == "first"
        second.wait_for_log("operator starts")
        mark = server.audit_mark()
        assert first.stop() == 0
        stopped = time.monotonic()
        second.wait_for_log("all objects reconciled")
        assert time.monotonic() - stopped < 12, "less than the lease: it was given back"
        assert _holder(server) == "second"
        assert operator_writes(server, mark) == []
        world.add_user("standby")
        remove(server, ["standby"])


def test_standby_takes_over_from_a_killed_leader(server: ApiServer) -> None:
    with (
        running_operator(server, "first") as first,
        running_operator(server, "second", leads=False) as second,
    ):
        second.wait_for_log("operator starts")
        first.stop(signal.SIGKILL)
        second.wait_for_log("all objects reconciled", 40)
        assert _holder(server) == "second"


def test_leader_that_loses_the_lease_exits(server: ApiServer) -> None:
    with running_operator(server, "first") as first:
        lease = server.admin.get("coordination.k8s.io/v1", "Lease", "devservers-operator", SYSTEM)
        spec = {"holderIdentity": "usurper", "leaseDurationSeconds": 2}
        server.admin.patch("coordination.k8s.io/v1", "Lease", lease["metadata"]["name"], {"spec": spec}, SYSTEM)
        assert first.process.wait(30) == 3


def test_stopping_operator_finishes_its_work_queue(server: ApiServer, world: World) -> None:
    with running_operator(server, "draining") as operator:
        world.add_user("draining")
        users = operator.metric(USERS)
        server.admin.delete("devservers.io/v1", "DevServerUser", "draining")
        eventually(lambda: operator.metric(USERS) < users, "the operator to have heard of it", every=0.01)
        assert operator.stop() == 0
        namespace = server.admin.find("v1", "Namespace", "dev-draining")
        assert namespace is None or namespace["metadata"].get("deletionTimestamp")


def test_restart_handles_changes_made_while_it_was_down(server: ApiServer, world: World) -> None:
    with running_operator(server, "before"):
        world.add_user("away")
        server.admin.create(server_of("away", "mydev"))
        world.wait_reason("away", "mydev", "Running")
        world.add_user("leaving")
    server.admin.delete("v1", "Service", "mydev", "dev-away")
    server.admin.delete("devservers.io/v1", "DevServerUser", "leaving")
    with running_operator(server, "after"):
        eventually(lambda: world.child("Service", "away", "mydev"), "Service restored")
        eventually(lambda: server.admin.find("v1", "Namespace", "dev-leaving") is None, "namespace gone", 60)
        remove(server, ["away"])


def test_user_recreated_while_it_was_down_gets_no_old_servers(server: ApiServer, world: World) -> None:
    """Nothing tells the two apart but the DevServerUser's uid; the home stays, and nothing starts for a moment."""
    with running_operator(server, "before"):
        world.add_user("again")
        old = server.admin.create(server_of("again", "mydev", persistentHomeSize="1Gi"))
        world.wait_reason("again", "mydev", "Running")
    server.admin.delete("devservers.io/v1", "DevServerUser", "again")
    # Times of creation are whole seconds, and a server as old as its user is the user's.
    eventually(lambda: _now() > old["metadata"]["creationTimestamp"], "another second")
    server.admin.create(person("again"))
    with running_operator(server, "after"):
        eventually(lambda: server.admin.find("devservers.io/v1", "DevServer", "mydev", "dev-again") is None, "gone")
        eventually(lambda: server.admin.get("devservers.io/v1", "DevServerUser", "again").get("status"), "set up")
        eventually(lambda: not world.pods("again", "mydev"), "its pod gone")
        assert world.child("PersistentVolumeClaim", "again", "mydev-home")
        server.admin.create(server_of("again", "new"))
        world.wait_reason("again", "new", "Running")
        remove(server, ["again"])


def _holder(server: ApiServer) -> str:
    lease = server.admin.get("coordination.k8s.io/v1", "Lease", "devservers-operator", SYSTEM)
    return str(lease["spec"]["holderIdentity"])


def _now() -> str:
    """The time as creationTimestamp has it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _pods(world: World) -> dict[str, list[str]]:
    return {name: [pod["metadata"]["uid"] for pod in world.pods("upgrade", name)] for name in ("mydev", "other")}


def test_upgrade_with_lower_limits_keeps_existing_and_refuses_new(server: ApiServer, world: World) -> None:
    """A person with more storage and servers than the new limits keeps, stops and starts them all."""
    user = "limited"
    with running_operator(server, "before"):
        world.add_user(user)
        for name in ("one", "two", "three", "four"):
            world.admin.create(server_of(user, name, persistentHomeSize="40Gi"))
        for name in ("one", "two", "three", "four"):
            world.wait_reason(user, name, "Running")
        pods = {each["metadata"]["uid"] for each in world.pods(user, "one")}
    with running_operator(server, "after", **LIMITS) as operator:
        hard = counted(world, user)
        assert (hard["requests.storage"], hard["count/devservers.devservers.io"]) == ("50Gi", "3")
        assert {each["metadata"]["uid"] for each in world.pods(user, "one")} == pods
        world.admin.patch("devservers.io/v1", "DevServer", "one", {"spec": {"running": False}}, f"dev-{user}")
        eventually(lambda: not world.pods(user, "one"), "one stopped", 60)
        world.admin.patch("devservers.io/v1", "DevServer", "one", {"spec": {"running": True}}, f"dev-{user}")
        world.wait_reason(user, "one", "Running")
        person = person_of(operator, user)
        with pytest.raises(ApiError, match="exceeded quota"):
            person.create(server_of(user, "five"))
        with pytest.raises(ApiError, match="exceeded quota"):
            person.create(claim_of(user, "more", "1Gi"))
        # Nor is there less to delete: the volume of a home above the largest size goes as any other.
        world.admin.delete("devservers.io/v1", "DevServer", "four", f"dev-{user}")
        person.delete("v1", "PersistentVolumeClaim", "four-home", f"dev-{user}")
        eventually(lambda: world.child("PersistentVolumeClaim", user, "four-home") is None, "the home is gone", 60)
