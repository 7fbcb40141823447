"""Figures of a thousand servers with agents: processor, writes and how late a stop comes.

The nodes and the agents are fake; the API server, its controllers and the operator are real. A quarter of the agents
never answer, answer 100 MB, or answer for another pod.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from devservers_core.names import AGENT_PORT
from devservers_core.types import Json
from tests.bench.figure import Figure
from tests.support.agents import KINDS
from tests.support.cluster.harness import ApiServer
from tests.support.cluster.operator_load import operator_writes, prepare, remove
from tests.support.cluster.operator_process import (
    API,
    FakeKubelet,
    OperatorProcess,
    World,
    person,
    running_operator,
    server_of,
)
from tests.support.wait import eventually

SERVERS = 1000
PEOPLE = 20
MEASURED = timedelta(minutes=10)
EXPIRING = 100
"""Servers that reach their end while lateness is measured."""
CPU_BOUND = 5.0
"""Percent of a core."""
WRITES_BOUND = 1.0
"""An hour and server."""
LAG_BOUND = 15.0
"""Seconds."""


class SpreadError(RuntimeError):
    """The exchanges were not those of the schedule."""


@contextmanager
def fake_agents(port: int = AGENT_PORT) -> Iterator[None]:
    """The program that answers for all agents."""
    process = subprocess.Popen([sys.executable, "-m", "tests.support.agents", str(port)])
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


def addresses(bad: int) -> Iterator[str]:
    """Loopback addresses, each of one agent; the first `bad` are hostile, in turn of each kind."""
    for number in range(SERVERS):
        kind = 1 + number % (len(KINDS) - 1) if number < bad else 0
        yield f"127.{10 + kind}.{number // 250 + 1}.{number % 250 + 1}"


def agent_figures(server: ApiServer) -> list[Figure]:
    """The rows idle_cpu_1000, idle_writes_1000 and expiry_lag_p95."""
    prepare(server)
    free = addresses(bad=SERVERS // 4)
    given: dict[str, str] = {}

    def address(pod: Json) -> str:
        return given.setdefault(pod["metadata"]["uid"], next(free, "127.10.9.9"))

    people = [f"crowd{number}" for number in range(PEOPLE)]
    world = World(server.admin)
    program = "tests.support.cluster.loopback_operator"
    with (
        fake_agents(),
        FakeKubelet(server.admin, steps=False, address=address),
        running_operator(server, "bench-agents", program=program) as operator,
    ):
        for name in people:
            server.admin.create(person(name))
        eventually(lambda: all(_active(world, name) for name in people), "people active", 120, 0.5)
        for number in range(SERVERS):
            lifecycle = {"idleTimeout": "8h", "timeToLive": "2d"}
            server.admin.create(server_of(people[number % PEOPLE], f"s{number}", lifecycle=lifecycle))
        eventually(lambda: _running(world, operator) == SERVERS, f"{SERVERS} servers running", 1800, 5.0)
        time.sleep(120)  # the first exchange with each agent, and what their reports change
        mark, began, cpu = server.audit_mark(), time.monotonic(), operator.metric("process_cpu_seconds_total")
        exchanges = sum(operator.metrics("devservers_agent_exchanges_total").values())
        time.sleep(MEASURED.total_seconds())
        seconds = time.monotonic() - began
        used = operator.metric("process_cpu_seconds_total") - cpu
        writes = operator_writes(server, mark)
        made = sum(operator.metrics("devservers_agent_exchanges_total").values()) - exchanges
        # Three quarters are asked every minute, the others less and less often, at least every five minutes.
        least = (SERVERS * 3 / 4 * (seconds / 60 - 1)) + SERVERS / 4 * (seconds / 300 - 1)
        if not least <= made <= SERVERS * (seconds / 60 + 1):
            raise SpreadError(f"{made:.0f} exchanges in {seconds:.0f} s, and not at least {least:.0f}")
        operator.check_running()
        lag = _expiry_lag(server, people)
        remove(server, people)
    hours = seconds / 3600
    return [
        Figure("idle_cpu_1000", used / seconds * 100, "%", bound=CPU_BOUND, runs=round(made)),
        Figure("idle_writes_1000", len(writes) / SERVERS / hours, "writes", bound=WRITES_BOUND, runs=SERVERS),
        Figure("expiry_lag_p95", lag, "s", bound=LAG_BOUND, runs=EXPIRING),
    ]


def _expiry_lag(server: ApiServer, people: list[str]) -> float:
    """The 95th percentile of the seconds from a server's end to its Deployment without replicas."""
    ends: dict[tuple[str, str], datetime] = {}
    # An end less than five minutes ahead is put off for its notice.
    base = datetime.now(UTC) + timedelta(minutes=6)
    for number in range(EXPIRING):
        place = SERVERS - 1 - number
        namespace, name = f"dev-{people[place % PEOPLE]}", f"s{place}"
        end = base + timedelta(seconds=number)
        lifecycle = {"expirationTime": end.strftime("%Y-%m-%dT%H:%M:%SZ")}
        server.admin.patch(API, "DevServer", name, {"spec": {"lifecycle": lifecycle}}, namespace)
        ends[namespace, name] = end
    lags: dict[tuple[str, str], float] = {}

    def all_stopped() -> bool:
        for namespace in sorted({namespace for namespace, _ in ends}):
            for deployment in server.admin.list("apps/v1", "Deployment", namespace):
                key = (namespace, deployment["metadata"]["name"])
                if key in ends and key not in lags and deployment["spec"]["replicas"] == 0:
                    lags[key] = (datetime.now(UTC) - ends[key]).total_seconds()
        return len(lags) == EXPIRING

    eventually(all_stopped, f"{EXPIRING} servers stopped at their end", 900, 0.5)
    if min(lags.values()) < -1:
        raise SpreadError(f"a server stopped {-min(lags.values()):.0f} s before its end")
    return sorted(lags.values())[int(EXPIRING * 0.95) - 1]


def _active(world: World, name: str) -> bool:
    return (world.admin.get(API, "DevServerUser", name).get("status") or {}).get("phase") == "Active"


def _running(world: World, operator: OperatorProcess) -> int:
    operator.check_running()
    servers = world.admin.list(API, "DevServer")
    return sum((server.get("status") or {}).get("phase") == "Running" for server in servers)
