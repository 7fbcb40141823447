"""Stops and restarts of servers whose agents are silent: workers, queue, exchanger and reconciler together."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from devservers.build.devserver import BuildSettings
from devservers.reconcile.agent_signing_key import SigningKey
from devservers.reconcile.applier import Applier
from devservers.reconcile.devserver import ServerReconciler
from devservers.reconcile.interfaces import Key, Result
from devservers.reconcile.ssh.certificate_authority import HostCa, UserCa
from devservers.reconcile.uids import UidAllocator
from devservers.reconcile.user import UserReconciler
from devservers.runtime.agents.exchange_client import ExchangeClient
from devservers.runtime.agents.exchanger import Exchanger
from devservers.runtime.cache import Cache
from devservers.runtime.metrics import Metrics
from devservers.runtime.workers import Workers
from devservers.runtime.workqueue import WorkQueue
from tests.support.operator.api_stand_in import ApiStandIn
from tests.support.operator.observe_objects import running_pod, stamp
from tests.support.wait import eventually_async

NAMESPACE = "dev-ann"
SERVERS = [f"s{number}" for number in range(12)]


class Cluster:
    """Servers that run, with agents on 127.0.0.1 that accept a connection and say nothing."""

    def __init__(self, port: int) -> None:
        self.api, self.cache = ApiStandIn(), Cache()
        self.queue: WorkQueue[Key] = WorkQueue()
        applier = Applier(self.cache, self.api)
        self.exchanger = Exchanger(
            self.cache, SigningKey(self.api, "s"), ExchangeClient(port), self.queue.add, allowed=lambda address: True
        )
        self.servers = ServerReconciler(
            self.cache, self.api, applier, UserCa(self.api, "s"), HostCa(self.api, "s"),
            BuildSettings("a/b:1", "c/d:1"), agents=self.exchanger,
        )  # fmt: skip
        self.users = UserReconciler(self.cache, self.api, applier, UidAllocator(self.api, "s"))
        self.reconciled: list[str] = []

    def put(self, kind: str, namespace: str, name: str, **fields: Any) -> None:
        metadata = {"name": name, "generation": 1, "creationTimestamp": stamp(0)}
        metadata |= {"namespace": namespace} if namespace else {}
        api = {"apiVersion": "v1" if kind == "Pod" else "devservers.io/v1", "kind": kind}
        fields["metadata"] = metadata | fields.get("metadata", {})
        self.cache.put(self.api.put(api | fields))

    async def begin(self, change: dict[str, Any]) -> None:
        """Servers that run, and that their owner has just changed."""
        for flavor in ("small", "large"):
            self.put("DevServerFlavor", "", flavor, spec={"resources": {"limits": {"cpu": "1"}}})
        self.put("DevServerUser", "", "ann", spec={"username": "ann"})
        await self.users.reconcile("ann")
        for name in [*SERVERS, "other"]:
            self.put("DevServer", NAMESPACE, name, spec={"flavor": "small"})
            await self.servers.reconcile(NAMESPACE, name)
        for name in SERVERS:
            pod = running_pod(f"{name}-x", 0)
            pod["metadata"]["labels"] = {"devservers.io/name": name}
            pod["spec"]["containers"][0]["ports"] = [{"name": "agent", "containerPort": 2224}]
            pod["status"]["podIP"] = "127.0.0.1"
            self.put("Pod", NAMESPACE, f"{name}-x", **pod)
            self.put("DevServer", NAMESPACE, name, spec={"flavor": "small", **change})
        self.before = {name: self.asked_for(name) for name in SERVERS}

    async def reconcile(self, key: Key) -> Result:
        result = await self.servers.reconcile(key.namespace, key.name)
        self.reconciled.append(key.name)
        return result

    def asked_for(self, name: str) -> tuple[int, str]:
        """The replicas of a server's Deployment, and what its pod is begun with."""
        deployment = self.api.objects[("Deployment", NAMESPACE, name)]
        return deployment["spec"]["replicas"], deployment["metadata"]["annotations"]["devservers.io/input-hash"]

    def changed(self) -> int:
        return sum(self.asked_for(name) != before for name, before in self.before.items())


@pytest.mark.parametrize("change", [{"running": False}, {"flavor": "large"}], ids=["stop", "restart"])
def test_silent_agents_of_ending_pods_occupy_no_worker(monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]) -> None:
    """Twelve silent agents and two workers: another server's reconcile comes at once, and all of them end."""
    monkeypatch.setattr("devservers.runtime.agents.out_of_turn.ASKING_SECONDS", 2.0)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.append(writer)
        await asyncio.sleep(3600)

    connected: list[asyncio.StreamWriter] = []

    async def main() -> None:
        listening = await asyncio.start_server(silent, "127.0.0.1", 0)
        cluster = Cluster(listening.sockets[0].getsockname()[1])
        await cluster.begin(change)
        workers = Workers(cluster.queue, cluster.reconcile, Metrics(), 60.0)
        running = [asyncio.create_task(workers.run()) for _ in range(2)]
        for name in [*SERVERS, "other"]:
            cluster.queue.add(Key("DevServer", NAMESPACE, name))
        began = time.monotonic()
        await eventually_async(lambda: "other" in cluster.reconciled, "the other server's reconcile")
        assert time.monotonic() - began < 1.5
        assert cluster.changed() == 0
        await eventually_async(lambda: connected, "the agents to be asked meanwhile", 1.5)
        await eventually_async(lambda: cluster.changed() == len(SERVERS), "the servers to end")
        assert time.monotonic() - began < 5, "within the time of one exchange"
        assert not cluster.exchanger.asking
        for task in running:
            task.cancel()

    asyncio.run(main())
