"""Reports background tasks that died or stand still.

Invariant: a supervisor that no longer watches says so: none of its tasks ends or stands still in silence.

Without them no key would be withdrawn any more while all looks well, so the kubelet should start it anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine

LOG = logging.getLogger("bastion.supervisor")
STILL_SECONDS = 10.0
"""Since the last beat; a beat is due every half second."""


class Watchdog:
    """The tasks of one process."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._dead: list[str] = []
        self._once: set[str] = set()
        self._beat: float | None = None

    def begin(self, name: str, work: Coroutine[None, None, None]) -> None:
        """Lets `work` go on by itself; `name` is for people."""
        task = self._loop.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._over)

    def beat(self) -> None:
        """To be called again and again, from the first time on."""
        self._beat = self._loop.time()

    def faults(self) -> list[str]:
        """Why this process is to be started anew; empty when all is well."""
        still = self._loop.time() - self._beat if self._beat is not None else 0.0
        return [*self._dead, *([f"nobody was looked at for {still:.0f} s"] if still > STILL_SECONDS else [])]

    def log_once(self, error: OSError) -> None:
        """Logs what may be over the next time, once for each kind."""
        if str(error.errno) not in self._once:
            self._once.add(str(error.errno))
            LOG.error("%s; trying again", error)

    def end(self) -> None:
        """Ends everything."""
        for task in self._tasks:
            task.cancel()

    def _over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._dead.append(f"{task.get_name()} died: {type(error).__name__}: {error}")
            LOG.error("%s", self._dead[-1])
