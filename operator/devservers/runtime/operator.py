"""One operator process from start to stop: lead, list, reconcile, drain, release.

Invariant: nothing is reconciled before this process leads and its cache is full, and the process ends when it leads no
longer. On a clean stop queued keys are reconciled first, with watches still running, so that the namespace of a user
who was deleted just before is cleaned up.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import kopf

from devservers.build.devserver import BuildSettings
from devservers.build.egress import Egress
from devservers.build.user import Limits
from devservers.reconcile.agent_signing_key import SigningKey
from devservers.reconcile.applier import Applier
from devservers.reconcile.devserver import ServerReconciler
from devservers.reconcile.interfaces import Agents, Key, Result, utcnow
from devservers.reconcile.mapper import SERVER
from devservers.reconcile.queueing import Queueing
from devservers.reconcile.registry_logins import PlatformLogins
from devservers.reconcile.ssh.bastion_host_key import BastionHostKey
from devservers.reconcile.ssh.certificate_authority import HostCa, UserCa
from devservers.reconcile.uids import UidAllocator
from devservers.reconcile.user import UserReconciler
from devservers.runtime.agents.exchange_client import ExchangeClient
from devservers.runtime.agents.exchanger import Exchanger
from devservers.runtime.cache import Cache
from devservers.runtime.connection import load_configuration
from devservers.runtime.health import HealthServer
from devservers.runtime.kinds import QUEUEING, WATCHED
from devservers.runtime.kopf_source import KopfSource
from devservers.runtime.kube_client import KubeClient
from devservers.runtime.lease import Lease
from devservers.runtime.metrics import Metrics
from devservers.runtime.resync import Resync
from devservers.runtime.secret_watches import SecretWatches
from devservers.runtime.settings import Settings
from devservers.runtime.workers import Workers
from devservers.runtime.workqueue import WorkQueue
from devservers_core.errors import ApiError
from devservers_core.names import OPERATOR

log = logging.getLogger("devservers")

T = TypeVar("T")

STUCK_SECONDS = 300.0
"""A key waiting or running longer than this makes the process unhealthy."""
KUEUE_SECONDS = 5.0
"""Between two looks whether Kueue has come, where queueing is on and the cluster has none."""


class Operator:
    """The parts of one process, put together. Use it once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._metrics = Metrics()
        self._cache = Cache()
        self._stopping = asyncio.Event()
        self._queue: WorkQueue[Key] = WorkQueue()
        self._resync: Resync | None = None
        self._lease: Lease | None = None
        self._queueing = Queueing(enabled=settings.queueing)
        self._started = time.monotonic()

    async def run(self) -> int:
        """Works until SIGTERM or SIGINT (returns 0) or until a part of it fails (returns 1)."""
        self._on_signals()
        log.info("operator starts identity=%s", self._settings.identity)
        configuration = await load_configuration(self._settings.kube_context)
        lease_client = KubeClient(configuration, timeout=10.0)
        self._lease = Lease(
            lease_client,
            namespace=self._settings.namespace,
            name=OPERATOR,
            identity=self._settings.identity,
            seconds=self._settings.lease_seconds,
        )
        kube = KubeClient(configuration, guard=self._lease.guard, written=self._count_write)
        health = HealthServer(
            self._settings.listen,
            self._settings.health_port,
            self._settings.metrics_port,
            self.problems,
            self.render,
        )
        await health.start()
        try:
            if await self._or_stop(self._lease.acquire()) is not True:
                return 0
            async with _background(self._lease.keep()) as keeping:
                code = await self._lead(kube, keeping)
            await self._lease.release()
            return code
        finally:
            self._metrics.leader.set(0)
            await health.stop()
            await kube.close()
            await lease_client.close()

    async def _lead(self, kube: KubeClient, keeping: asyncio.Task[None]) -> int:
        since = time.monotonic()
        self._metrics.leader.set(1)
        kinds = [*WATCHED, *(QUEUEING if self._queueing.enabled else ())]
        self._resync = Resync(kube, self._cache, self._queue, self._metrics, self._settings.resync_seconds, kinds)
        signing_key = SigningKey(kube, self._settings.namespace)
        agents = Exchanger(self._cache, signing_key, ExchangeClient(), self._queue.add, counted=self._count_exchange)
        watching_client = KubeClient(kube.configuration, connections=0)
        secrets = SecretWatches(watching_client, self._cache, self._queue.add)
        reconciler = self._reconciler(kube, agents, signing_key, secrets)
        workers = Workers(self._queue, reconciler, self._metrics, self._settings.reconcile_timeout)
        first = await self._or_stop(self._resync.list_all())
        if first is None:
            return 0
        self._queueing.served = self._queueing.enabled and len(self._resync.kinds) == len(kinds)
        source = KopfSource(self._cache, self._queue, kube.configuration, self._resync.kinds)
        log.info("first list done keys=%d seconds=%.2f", len(first), time.monotonic() - since)
        gc.collect()
        gc.freeze()  # modules and the first list are never garbage: keep the collector away from them
        workers.expect(first, since)
        for key in first:
            self._queue.add(key, low=True)
        stop_kopf = asyncio.Event()
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(watching_client.close)
            parts = [keeping]
            for _ in range(self._settings.workers):
                parts.append(await stack.enter_async_context(_background(workers.run())))
            parts.append(await stack.enter_async_context(_background(self._resync.run(20.0))))
            parts.append(await stack.enter_async_context(_background(agents.run())))
            parts.append(await stack.enter_async_context(_background(secrets.run())))
            if hosts := self._settings.bastion_hosts:
                keys = BastionHostKey(kube, HostCa(kube, self._settings.namespace), hosts.split(","), utcnow)
                parts.append(await stack.enter_async_context(_background(keys.run(self._settings.resync_seconds))))
            ignored = asyncio.all_tasks()
            tasks = await kopf.spawn_tasks(
                registry=source.registry(),
                settings=source.settings(),
                standalone=True,
                clusterwide=True,
                stop_flag=stop_kopf,
                # For peering, which is off. Without it kopf asks for the account's name, and the image has none.
                identity="devservers",  # type: ignore[arg-type]
            )
            # kopf has set its own signal handlers, which would stop the watches before the queue is drained.
            self._on_signals()
            watching = asyncio.create_task(kopf.run_tasks(tasks, ignored=ignored), name="kopf")
            stopping = asyncio.create_task(self._stopping.wait(), name="stopping")
            if self._queueing.enabled and not self._queueing.served:
                log.warning("queueing is on and Kueue isn't installed: servers start without waiting for quota")
                await stack.enter_async_context(_background(self._stop_when_kueue_comes(kube)))
            await asyncio.wait([watching, stopping, *parts], return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            failed = [task for task in (watching, *parts) if task.done()]
            if not failed:
                await workers.drain(self._settings.drain_seconds, busy=lambda: agents.asking)
            stop_kopf.set()
            await asyncio.wait([watching], timeout=10.0)
        for task in failed:
            error = None if task.cancelled() else task.exception()
            log.error("a part of the operator ended name=%s error=%r", task.get_name(), error)
        return 1 if failed else 0

    async def _stop_when_kueue_comes(self, kube: KubeClient) -> None:
        """Stops this process once the cluster has Kueue; the next process watches it from the start."""
        while True:
            await asyncio.sleep(KUEUE_SECONDS)
            try:
                for kind in QUEUEING:
                    await kube.list_at(kind.kind, selector=kind.selector)
            except ApiError:
                continue
            log.info("Kueue is installed now: the operator restarts to watch it")
            self._stopping.set()
            return

    def _reconciler(
        self, kube: KubeClient, agents: Agents, signing_key: SigningKey, secrets: SecretWatches
    ) -> Callable[[Key], Awaitable[Result]]:
        settings = self._settings
        applier = Applier(self._cache, kube)
        ca, host_ca = UserCa(kube, settings.namespace), HostCa(kube, settings.namespace)
        servers = ServerReconciler(
            self._cache,
            kube,
            applier,
            ca,
            host_ca,
            BuildSettings(
                settings.default_image,
                settings.agent_image,
                settings.storage_class,
                settings.pull_secret_names,
                settings.queueing,
            ),
            queueing=self._queueing,
            agents=agents,
            signing_key=signing_key,
        )
        egress = Egress.of(settings.closed_networks, settings.opened_networks, settings.name_servers)
        limits = Limits(
            storage=settings.quota_storage,
            claim=settings.quota_claim,
            servers=settings.quota_servers,
            snapshots=settings.quota_snapshots,
            home_class=settings.storage_class,
            shared_class=settings.shared_class,
            shared=settings.quota_shared,
            registries=settings.image_sources,
            time_zone=settings.time_zone,
        )
        uids = UidAllocator(kube, settings.namespace)
        users = UserReconciler(
            self._cache,
            kube,
            applier,
            uids,
            queueing=self._queueing,
            egress=egress,
            limits=limits,
            platform_logins=PlatformLogins(kube, settings.namespace, settings.pull_secret_names),
            secret_entries=secrets,
        )

        async def reconcile(key: Key) -> Result:
            if key.kind == SERVER:
                return await servers.reconcile(key.namespace, key.name)
            return await users.reconcile(key.name)

        return reconcile

    async def _or_stop(self, work: Coroutine[Any, Any, T]) -> T | None:
        """The result of work, or None if the process is asked to stop first."""
        async with _background(work) as task, _background(self._stopping.wait()) as stopping:
            await asyncio.wait([task, stopping], return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None

    def _on_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)

    def _count_exchange(self, outcome: str) -> None:
        self._metrics.exchanges.labels(outcome).inc()

    def _count_write(self, kind: str, verb: str) -> None:
        self._metrics.writes.labels(kind, verb).inc()

    def problems(self) -> list[str]:
        """What is wrong with this process, as short texts; empty when it is healthy."""
        now = time.monotonic()
        settings, lease = self._settings, self._lease
        problems = []
        if lease is not None and now - max(lease.contacted, self._started) > 4 * settings.lease_seconds:
            # Only a standby gets here: a leader ends its process after two thirds of lease_seconds (lease.py).
            problems.append("the API server has not answered for a while")
        if self._queue.oldest_wait() > STUCK_SECONDS or self._queue.longest_run() > STUCK_SECONDS:
            problems.append("a key is stuck")
        if self._resync is not None:
            if now - self._resync.finished > 3 * settings.resync_seconds:
                problems.append("no resync has finished for a while")
            if self._resync.consecutive_misses >= 2:
                problems.append("watches miss events")
        return problems

    def render(self) -> bytes:
        """The metrics as text, with the gauges read now."""
        self._metrics.depth.set(self._queue.depth)
        self._metrics.failing.set(self._queue.failing)
        self._metrics.oldest.set(self._queue.oldest_wait())
        for kind in (SERVER, "DevServerUser", "DevServerFlavor", "Pod"):
            self._metrics.cached.labels(kind).set(self._cache.count(kind))
        return self._metrics.render()


@contextlib.asynccontextmanager
async def _background(work: Coroutine[Any, Any, T]) -> AsyncIterator[asyncio.Task[T]]:
    """Runs work beside the block and cancels it at the end."""
    task = asyncio.create_task(work, name=getattr(work, "__qualname__", "work"))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])
