"""An operator that is killed between any two of its writes, on a real API server, and the one that comes after it."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

import pytest

from devservers_core.errors import ApiError
from tests.support.cluster.harness import ApiServer
from tests.support.cluster.killed_operator import Cluster, Death, KilledLife, Scenario
from tests.support.cluster.operator_process import flavor, install_operator

H = 3600


async def stop(life: KilledLife) -> None:
    await life.change(running=False)


async def start(life: KilledLife) -> None:
    await life.change(running=False)
    await life.settle()
    life.seconds = 100
    await life.change({"devservers.io/started-at": life.stamp(100)}, running=True)


async def update(life: KilledLife) -> None:
    life.seconds = 100
    await life.change({"devservers.io/restarted-at": life.stamp(100)}, flavor="cpu-large")


async def expiry(life: KilledLife) -> None:
    await life.change(lifecycle={"timeToLive": "1h"})
    await life.settle()
    life.seconds = 2 * H


async def deletion_at_expiry(life: KilledLife) -> None:
    await life.change(lifecycle={"timeToLive": "1h", "onExpiry": "delete"})
    await life.settle()
    life.seconds = 2 * H


async def idleness(life: KilledLife) -> None:
    await life.change(lifecycle={"idleTimeout": "1h"})
    await life.settle()
    life.quiet(H - 300)
    await life.settle()
    life.quiet(H)


@pytest.fixture(scope="module")
def server(controllers: ApiServer) -> ApiServer:
    install_operator(controllers)
    for name in ("cpu-small", "cpu-large"):
        controllers.admin.apply(flavor(name, cpu="1" if name == "cpu-small" else "2"))
    return controllers


@pytest.mark.parametrize("scenario", [stop, start, update, expiry, deletion_at_expiry, idleness])
def test_operator_killed_between_any_two_writes_ends_in_the_same_state(
    server: ApiServer, user_name: str, scenario: Scenario
) -> None:
    """The process dies before each write, and after the last one; a fresh one reconciles to the end.

    What is stored after write n is what is stored before write n + 1.
    """

    async def lived(cluster: Cluster, name: str, death: Death) -> tuple[Any, int]:
        life = KilledLife(cluster, name)
        await life.create(persistentHomeSize="1Gi")
        await scenario(life)
        await life.operator(death)
        with suppress(ApiError):
            await life.settle()
        writes = death.writes
        await life.operator()
        await life.settle()
        life.seconds += 10
        await life.settle()
        text = json.dumps(life.state(), indent=1, sort_keys=True)
        return text.replace(name, "NAME").splitlines(), writes

    async def main() -> None:
        cluster = Cluster(server, user_name)
        await cluster.connect()
        try:
            await cluster.add_user(quota={"servers": 100})
            expected, writes = await lived(cluster, "undisturbed", Death())
            assert writes > 1
            for number in range(1, writes + 1):
                name = f"before-{number:02}"
                state, _ = await lived(cluster, name, Death(number))
                assert state == expected, f"{name} of {writes} writes"
            state, _ = await lived(cluster, "after-last", Death(writes, after=True))
            assert state == expected, f"after the last of {writes} writes"
        finally:
            await cluster.kube.close()
            cluster.remove()

    asyncio.run(main())
