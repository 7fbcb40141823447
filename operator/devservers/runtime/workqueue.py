"""A work queue of keys, modelled on client-go's: deduplicates, delays, backs off.

Invariant: a key is in at most one of ready and delayed, plus possibly in processing. Adding it while it is processed
marks it dirty, and it becomes ready again when done. So fifty events of one object are one or two runs, and no key is
processed twice at once. Each failed key comes back with its own exponential backoff.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

BACKOFF_FIRST = 1.0
"""Seconds before the first retry of a failed key; doubled each time."""

BACKOFF_MAX = 300.0
"""Seconds between retries at most: what a key that can never succeed costs."""


class WorkQueue(Generic[K]):
    """A deduplicating queue for one event loop. Not thread-safe."""

    def __init__(
        self,
        clock: Callable[[], float] | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._clock = clock or asyncio.get_running_loop().time
        self._jitter = jitter
        self._ready: deque[K] = deque()
        self._low: deque[K] = deque()
        self._since: dict[K, float] = {}  # ready keys and when they became ready
        self._delayed: list[tuple[float, int, K]] = []
        self._due: dict[K, float] = {}  # the valid due time; other heap entries are stale
        self._order = itertools.count()
        self._processing: dict[K, float] = {}
        self._dirty: set[K] = set()
        self._failures: dict[K, int] = {}
        self._wake = asyncio.Event()

    def add(self, key: K, *, low: bool = False) -> None:
        """Makes a key ready now. `low` puts it behind all others (resyncs, restarts)."""
        self._due.pop(key, None)
        if key in self._processing:
            self._dirty.add(key)
        elif key not in self._since:
            (self._low if low else self._ready).append(key)
            self._since[key] = self._clock()
            self._wake.set()

    def add_after(self, key: K, seconds: float) -> None:
        """Makes a key ready in that many seconds, unless it is ready or due earlier already."""
        due = self._clock() + max(0.0, seconds)
        if key in self._since or self._due.get(key, due + 1) <= due:
            return
        self._due[key] = due
        heapq.heappush(self._delayed, (due, next(self._order), key))
        self._wake.set()

    def retry(self, key: K) -> float:
        """Makes a failed key ready after its backoff; returns that delay in seconds.

        The delay has up to 25 % jitter.
        """
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = min(BACKOFF_MAX, BACKOFF_FIRST * 2.0 ** min(failures, 20)) * (1 + 0.25 * self._jitter())
        self.add_after(key, delay)
        return delay

    def forget(self, key: K) -> None:
        """Clears the failure count after a success."""
        self._failures.pop(key, None)

    async def get(self) -> K:
        """Waits for a ready key and marks it as being processed. done() must follow."""
        while True:
            self._release_due()
            source = self._ready or self._low
            if source:
                key = source.popleft()
                del self._since[key]
                self._processing[key] = self._clock()
                if self._ready or self._low:
                    self._wake.set()
                return key
            self._wake.clear()
            timeout = max(0.0, self._delayed[0][0] - self._clock()) if self._delayed else None
            try:
                async with asyncio.timeout(timeout):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def done(self, key: K) -> None:
        """Ends processing; a key that was added meanwhile is ready again."""
        self._processing.pop(key, None)
        if key in self._dirty:
            self._dirty.discard(key)
            self.add(key)

    @property
    def depth(self) -> int:
        """Keys that are ready or being processed; delayed ones don't count."""
        return len(self._since) + len(self._processing)

    @property
    def failing(self) -> int:
        """Keys whose last run failed."""
        return len(self._failures)

    def oldest_wait(self) -> float:
        """Seconds the oldest ready key has waited; 0 when none is."""
        return max(0.0, self._clock() - next(iter(self._since.values()))) if self._since else 0.0

    def longest_run(self) -> float:
        """Seconds the longest running key has been processed; 0 when none is."""
        return max((self._clock() - since for since in self._processing.values()), default=0.0)

    def _release_due(self) -> None:
        now = self._clock()
        while self._delayed and self._delayed[0][0] <= now:
            due, _, key = heapq.heappop(self._delayed)
            if self._due.get(key) == due:
                self.add(key)
