"""The first list of all watched kinds, and the periodic resync of the cache.

Invariant: a resync drops objects that were deleted while a watch was broken, so the cache is wrong for one interval at
most. It counts the events that watches missed, which is how a dead watch shows.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Sequence

from devservers.reconcile.interfaces import Key
from devservers.reconcile.mapper import map_to_keys, root_keys
from devservers.runtime.cache import Cache
from devservers.runtime.kinds import WATCHED, Kind
from devservers.runtime.kube_client import KubeClient
from devservers.runtime.metrics import Metrics
from devservers.runtime.workqueue import WorkQueue
from devservers_core.errors import ApiError
from devservers_core.types import Json

log = logging.getLogger("devservers.resync")

SETTLE_SECONDS = 5.0
"""How long an event may be behind a list before it counts as missed."""


class Resync:
    """Lists all watched kinds into the cache and queues the keys of what changed."""

    def __init__(
        self,
        kube: KubeClient,
        cache: Cache,
        queue: WorkQueue[Key],
        metrics: Metrics,
        seconds: float,
        kinds: Sequence[Kind] = WATCHED,
    ) -> None:
        self.kinds = kinds
        """What is listed; the kinds of queueing are gone from it after the first list if the cluster lacks one."""
        self._kube, self._cache, self._queue, self._metrics = kube, cache, queue, metrics
        self._seconds = seconds
        self.finished = time.monotonic()
        """When the last resync (or the first list) was through, by the monotonic clock."""
        self.consecutive_misses = 0
        """Resyncs in a row that found events missed: 2 or more means that a watch is dead."""

    async def list_all(self) -> list[Key]:
        """Fills the cache and returns every key.

        It waits for kinds that aren't served yet, except for Kueue's.
        """
        served = await asyncio.gather(*(self._list_kind(kind) for kind in self.kinds))
        if not all(served):
            self.kinds = [kind for kind in self.kinds if not kind.queueing]
        self.finished = time.monotonic()
        return list(dict.fromkeys(root_keys(self._cache)))

    async def run(self, first_after: float) -> None:
        """Resyncs until cancelled.

        The first one comes early: a deletion between our first list and kopf's has no event.
        """
        delay = first_after
        while True:
            await asyncio.sleep(delay)
            delay = self._seconds * (0.9 + 0.2 * random.random())
            try:
                await self.run_once()
            except ApiError as error:
                log.warning("resync failed error=%s", error)
                delay = min(delay, 30.0)

    async def run_once(self) -> None:
        """Compares every kind once, then queues every root key, spread over half of the interval."""
        missed = 0
        for kind in self.kinds:
            objects, version = await self._kube.list_at(kind.kind, selector=kind.selector)
            if any(self._is_newer(kind.kind, obj) for obj in objects):
                await asyncio.sleep(SETTLE_SECONDS)  # the watch may only be a moment behind
            missed += self._take(kind, objects, version)
        self.consecutive_misses = self.consecutive_misses + 1 if missed else 0
        self.finished = time.monotonic()
        for key in root_keys(self._cache):
            self._queue.add_after(key, random.random() * self._seconds / 2)

    def _is_newer(self, kind: str, obj: Json) -> bool:
        metadata = obj["metadata"]
        cached = self._cache.get(kind, metadata.get("namespace", ""), metadata["name"])
        return cached is None or cached["metadata"].get("resourceVersion") != metadata["resourceVersion"]

    def _take(self, kind: Kind, objects: list[Json], version: int) -> int:
        missed_objects, stale = self._cache.replace(kind.kind, objects, version)
        for obj in (*missed_objects, *stale):
            for key in map_to_keys(self._cache, kind.kind, obj):
                self._queue.add(key)
        if missed_objects:
            self._metrics.missed_events.labels(kind.kind).inc(len(missed_objects))
            log.warning("watch missed events kind=%s count=%d", kind.kind, len(missed_objects))
        if stale:
            log.info("dropped deleted objects kind=%s count=%d", kind.kind, len(stale))
        return len(missed_objects)

    async def _list_kind(self, kind: Kind) -> bool:
        """Lists one kind into the cache; False when the cluster lacks it and may."""
        waiting = False
        while True:
            try:
                objects, version = await self._kube.list_at(kind.kind, selector=kind.selector)
            except ApiError as error:
                if kind.queueing and error.not_found:
                    return False
                if not waiting:
                    log.warning("waiting for %s error=%s", kind.plural, error)
                waiting = True
                await asyncio.sleep(1.0)
            else:
                self._cache.replace(kind.kind, objects, version)
                return True
