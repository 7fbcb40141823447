"""The workers: coroutines that take keys from the queue and reconcile them.

Invariant: every key that is taken is given back (done), and is queued again when it failed or asked for it. No failure
ends a worker.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable

from devservers.reconcile.interfaces import Key, Result
from devservers.runtime.metrics import Metrics
from devservers.runtime.workqueue import WorkQueue
from devservers_core.errors import ApiError

log = logging.getLogger("devservers.worker")


class Workers:
    """Reconciles keys from the queue with a number of coroutines."""

    def __init__(
        self,
        queue: WorkQueue[Key],
        reconcile: Callable[[Key], Awaitable[Result]],
        metrics: Metrics,
        timeout: float,
    ) -> None:
        """Takes `timeout`, the seconds that one reconcile may take."""
        self._queue, self._reconcile, self._metrics, self._timeout = queue, reconcile, metrics, timeout
        self._first_keys: set[Key] = set()
        self._since = 0.0
        self.synced = asyncio.Event()
        """Set once every key of the first list has been reconciled successfully."""

    def expect(self, keys: Iterable[Key], since: float) -> None:
        """Sets which keys make up the first pass, and when (monotonic) it began."""
        self._first_keys, self._since = set(keys), since
        self._check_synced()

    async def run(self) -> None:
        """Runs one worker until cancelled."""
        while True:
            await self._process(await self._queue.get())

    async def drain(self, seconds: float, quiet: float = 0.3, busy: Callable[[], bool] = lambda: False) -> None:
        """Waits until the queue has been idle for `quiet` seconds, at most `seconds`.

        `busy` says that something else is under way which will add keys.
        """
        deadline = time.monotonic() + seconds
        still_since = time.monotonic()
        while time.monotonic() < deadline:
            if self._queue.depth or busy():
                still_since = time.monotonic()
            elif time.monotonic() - still_since >= quiet:
                return
            await asyncio.sleep(0.02)
        log.warning("stopped with keys left count=%d", self._queue.depth)

    async def _process(self, key: Key) -> None:
        started = time.perf_counter()
        outcome = "ok"
        try:
            async with asyncio.timeout(self._timeout):
                result = await self._reconcile(key)
        except Exception as error:
            outcome = "error"
            delay = self._queue.retry(key)
            # A refusal of the API server is expected now and then; anything else is a bug, logged with its place.
            log.warning(
                "reconcile failed key=%s retry=%.1fs error=%s",
                key,
                delay,
                error if str(error) else repr(error),
                exc_info=None if isinstance(error, ApiError) else error,
            )
        else:
            self._queue.forget(key)
            if result.requeue_after is not None:
                self._queue.add_after(key, result.requeue_after)
            if key in self._first_keys:
                self._first_keys.discard(key)
                self._check_synced()
        finally:
            self._queue.done(key)
            self._metrics.reconciles.labels(key.kind, outcome).inc()
            self._metrics.reconcile_seconds.labels(key.kind).observe(time.perf_counter() - started)

    def _check_synced(self) -> None:
        if self._first_keys or self.synced.is_set():
            return
        self.synced.set()
        seconds = time.monotonic() - self._since
        self._metrics.initial.set(seconds)
        log.info("all objects reconciled seconds=%.2f", seconds)
