"""Exchanges that a reconcile asks for right before a stop, each as a task of its own.

Invariant: a request never waits and never raises. It ends within ASKING_SECONDS, and then its server's key is queued,
so that the reconcile that asked comes back.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from weakref import WeakValueDictionary

from devservers.observe.agent import RETRY, AgentState, Outcome
from devservers.reconcile.interfaces import ASKING_SECONDS
from devservers.runtime.agents.exchange_client import ExchangeError
from devservers.runtime.agents.schedule import Agent
from devservers_core.errors import ApiError

log = logging.getLogger("devservers.agents")

MAX_REQUESTS = 8
"""Exchanges out of turn at the same time."""
MAX_OF_NAMESPACE = 2
"""Those of one person's servers, so that agents of one person that don't answer leave room for the others."""


@dataclass(slots=True)
class Request:
    """One exchange out of turn."""

    final: bool
    outcome: Outcome | None = None
    """None while it is under way."""
    ended: float = 0.0

    def holds(self) -> bool:
        """Whether it is under way, or ended a short while ago."""
        return self.outcome is None or time.monotonic() - self.ended < RETRY.total_seconds()


class OutOfTurn:
    """The requests of all agents, one of each."""

    def __init__(self, done: Callable[[Agent], None]) -> None:
        """Takes `done`, which is called after each request that made an exchange."""
        self._done = done
        self._requests: dict[Agent, Request] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(MAX_REQUESTS)
        self._of_namespace: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @property
    def under_way(self) -> int:
        """How many requests have not ended."""
        return len(self._tasks)

    def get(self, agent: Agent) -> Request | None:
        """The last request to an agent that was not forgotten."""
        return self._requests.get(agent)

    def forget(self, agent: Agent) -> None:
        """The last request counts no more; one that is under way goes on."""
        self._requests.pop(agent, None)

    def drop_old(self, kept: Callable[[Agent], bool]) -> None:
        """Forgets the requests that hold no more, but for those of `kept` agents."""
        for agent, request in list(self._requests.items()):
            if not request.holds() and not kept(agent):
                del self._requests[agent]

    def ask(self, agent: Agent, exchange: Callable[[], Awaitable[AgentState]] | None, *, final: bool) -> Outcome | None:
        """Begins a request and returns its outcome: None while it is under way, at once without an `exchange`."""
        request = self._requests[agent] = Request(final)
        if exchange is None:
            request.outcome, request.ended = Outcome(None), time.monotonic()
            return request.outcome
        task = asyncio.create_task(self._run(agent, request, exchange))
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return None

    def cancel(self) -> None:
        """Ends every request."""
        for task in self._tasks:
            task.cancel()

    async def _run(self, agent: Agent, request: Request, exchange: Callable[[], Awaitable[AgentState]]) -> None:
        state = None
        own = self._of_namespace.setdefault(agent.namespace, asyncio.Semaphore(MAX_OF_NAMESPACE))
        try:
            async with asyncio.timeout(ASKING_SECONDS), own, self._slots:
                state = await exchange()
        except (ExchangeError, ApiError, TimeoutError) as error:
            log.info("no report out of turn key=%s/%s error=%r", agent.namespace, agent.name, error)
        finally:
            request.outcome, request.ended = Outcome(state), time.monotonic()
            self._done(agent)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("an exchange failed error=%r", error)
