"""Limits of a person on the bastion: a real login, a real token, and the rights that the platform gives people."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from devservers_core.names import SERVER_COUNT
from tests.support.bastion.bastion import Replica, World, user
from tests.support.bastion.broker import running_broker
from tests.support.bastion.people import ship
from tests.support.cluster import operator_process
from tests.support.cluster.harness import ApiServer, running_api_server, running_controllers
from tests.support.cluster.operator_process import API, operator_for
from tests.support.cluster.shipped import install
from tests.support.wait import eventually

LIMITS = {"maxTimeToLive": "8h", "maxIdleTimeout": "2h"}
QUOTA = {"servers": 2, "storage": "15Gi"}


@pytest.fixture(scope="module")
def platform() -> Iterator[ApiServer]:
    """An API server with the operator, its roles and the flavor cpu-small."""
    with running_api_server() as server:
        install(server.admin)
        with running_controllers(server), operator_for(server):
            yield server


@pytest.fixture
def replica(fresh: World, platform: ApiServer) -> Iterator[Replica]:
    """A bastion with its broker, that ann may log in to; her limits are her DevServerUser's."""
    people = operator_process.World(platform.admin)
    ann = people.add_user("ann", lifecycle=LIMITS, quota=QUOTA, sshPublicKeys=[fresh.client.public("ann")])
    eventually(lambda: _counted(platform), "Kubernetes to have counted what her quota covers")
    found = fresh.replica()
    found.put([user(fresh.client, "ann", ann["status"]["uid"])])
    ship(found)
    found.start()
    with running_broker(platform, found.paths, found.root / "broker.log"):
        yield found


def _counted(platform: ApiServer) -> bool:
    """Whether her servers and their storage are counted; snapshots are not, without their kind."""
    quotas = platform.admin.list("v1", "ResourceQuota", "dev-ann")
    used = {key for quota in quotas for key in (quota.get("status") or {}).get("used") or {}}
    return {SERVER_COUNT, "requests.storage"} <= used


def test_create_beyond_a_limit_is_refused_by_its_name(fresh: World, replica: Replica, platform: ApiServer) -> None:
    def refused(*words: str) -> str:
        done = fresh.client.run(replica, "ann", "create", *words)
        assert (done.returncode, done.stdout) == (6, ""), done
        return done.stderr

    def created(*words: str) -> None:
        done = fresh.client.run(replica, "ann", "create", *words)
        assert done.returncode == 0, done

    small = ("cpu-small", "--ephemeral")
    assert "a time limit of 9h00m is too long: at most 8h00m is allowed" in refused("one", *small, "--time", "9h")
    assert "an idle timeout of 3h00m is too long: at most 2h00m is allowed" in refused(
        "one", *small, "--idle-timeout", "3h"
    )
    assert "a home of 20Gi does not fit: " in refused("one", "cpu-small", "--home-size", "20Gi")
    assert platform.admin.list(API, "DevServer", "dev-ann") == []
    created("one", *small, "--time", "8h", "--idle-timeout", "2h")
    created("two", *small)
    assert "this would exceed your quota (servers: 2 of 2 in use, 1 more asked)" in refused("three", *small)
    servers = platform.admin.list(API, "DevServer", "dev-ann")
    assert [server["metadata"]["name"] for server in servers] == ["one", "two"]
