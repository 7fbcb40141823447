"""Measures the operator on a real API server: writes per server and of a restart.

Invariant: counted from the API server's audit log and the operator's own clock, not from what the operator
says it wrote. Used by the cluster tests, which assert the bounds, and by the bench, which prints them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from tests.support.cluster.harness import ApiServer
from tests.support.cluster.operator_process import (
    OPERATOR,
    SYSTEM,
    FakeKubelet,
    World,
    flavor,
    install_operator,
    person,
    ready,
    running_operator,
    server_of,
)
from tests.support.wait import eventually

WRITES_BOUND = 12
RESTART_SECONDS_BOUND = 10.0
RESTART_SERVERS = 200


@dataclass(frozen=True)
class RestartFigures:
    """What it took a restarted operator to look at everything again."""

    servers: int
    seconds: float
    """From the lease acquired until the last server was reconciled."""
    writes: int
    """Writes to anything but the Lease."""
    memory_mib: float
    """Resident memory of the process afterwards."""


def operator_writes(server: ApiServer, since: int) -> list[str]:
    """Writes by the operator since an audit mark, without the Lease, as `verb resource/subresource code`."""
    user, _ = server.service_account(SYSTEM, OPERATOR)
    return [
        f"{w.verb} {w.resource}{'/' + w.subresource if w.subresource else ''} {w.namespace}/{w.name} {w.code}"
        for w in server.writes(user, since)
        if w.resource != "leases"
    ]


def writes_per_server(server: ApiServer, runs: int = 5) -> list[int]:
    """Writes from create to Ready (Events included) of servers with a home, one after the other."""
    prepare(server)
    world = World(server.admin)
    counts = []
    with FakeKubelet(server.admin), running_operator(server, "bench-writes"):
        world.add_user("bench-writes")
        for number in range(runs):
            mark = server.audit_mark()
            server.admin.create(server_of("bench-writes", f"one-{number}", persistentHomeSize="1Gi"))
            world.wait_reason("bench-writes", f"one-{number}", "Running", 60)
            counts.append(len(operator_writes(server, mark)))
        remove(server, ["bench-writes"])
    return counts


def restart(server: ApiServer, count: int = RESTART_SERVERS) -> RestartFigures:
    """Settles count servers of ten users, stops the operator cleanly, starts it again and counts."""
    prepare(server)
    users = [f"bench-restart{number}" for number in range(10)]
    with FakeKubelet(server.admin, steps=False):
        with running_operator(server, "bench-before"):
            for user in users:
                server.admin.create(person(user))
            world = World(server.admin)
            eventually(lambda: all(_active(world, user) for user in users), "users active", 60)
            for number in range(count):
                server.admin.create(server_of(users[number % 10], f"s{number}", persistentHomeSize="1Gi"))
            eventually(lambda: _running(world, users) == count, f"{count} servers running", 300, 0.5)
            _wait_until_quiet(server)
        mark = server.audit_mark()
        with running_operator(server, "bench-after", resync_seconds=20) as operator:
            seconds = operator.metric("devservers_initial_reconcile_seconds")
            # The writes that a wrong comparison would cause come at once or with the first watch events.
            _wait_until_quiet(server)
            writes = operator_writes(server, mark)
            memory = operator.memory_mib()
            remove(server, users)
    return RestartFigures(count, seconds, len(writes), memory)


def prepare(server: ApiServer) -> None:
    """The roles and one flavor."""
    install_operator(server)
    server.admin.apply(flavor("cpu-small"))


def remove(server: ApiServer, users: list[str]) -> None:
    """Deletes the users' servers, homes and the users, while an operator runs to clean up after them."""
    for user in users:
        base = f"/namespaces/dev-{user}"
        server.admin.request("DELETE", f"/apis/devservers.io/v1{base}/devservers")
        server.admin.request("DELETE", f"/api/v1{base}/persistentvolumeclaims")
        server.admin.delete("devservers.io/v1", "DevServerUser", user)
    eventually(
        lambda: not any(server.admin.find("v1", "Namespace", f"dev-{user}") for user in users),
        "namespaces gone",
        120,
        0.5,
    )


def _active(world: World, user: str) -> bool:
    found = world.admin.get("devservers.io/v1", "DevServerUser", user)
    return (found.get("status") or {}).get("phase") == "Active"


def _running(world: World, users: list[str]) -> int:
    return sum(
        ready(server).get("status") == "True"
        for user in users
        for server in world.admin.list("devservers.io/v1", "DevServer", f"dev-{user}")
    )


def _wait_until_quiet(server: ApiServer, quiet: float = 5.0, seconds: float = 60.0) -> None:
    """Until the operator has written nothing (but the Lease) for a while; AssertionError when it always does."""
    mark, since = server.audit_mark(), time.monotonic()
    deadline = since + seconds
    while time.monotonic() - since < quiet:
        time.sleep(0.25)
        if found := operator_writes(server, mark):
            assert time.monotonic() < deadline, f"it still writes after {seconds:g} s: {found[-5:]}"
            mark, since = server.audit_mark(), time.monotonic()
