"""Decides which agents are due for an exchange.

Invariant: pure over the clock it is given. Agents are spread evenly over their interval, by their pod's uid, so that
no second has many more exchanges than another.
"""

from __future__ import annotations

import heapq
import zlib
from collections.abc import Collection
from typing import NamedTuple

INTERVAL = 60.0
"""Seconds between two exchanges."""
SHORT_INTERVAL = 30.0
"""Seconds between two exchanges when a stop is near."""
MAX_BACKOFF = 300.0
"""Seconds between two exchanges with an agent that has not answered several times in a row."""


class Agent(NamedTuple):
    """The agent of one pod of one server."""

    namespace: str
    name: str
    pod_uid: str


class Schedule:
    """The times of the next exchanges. Times are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._due: dict[Agent, float] = {}
        self._heap: list[tuple[float, Agent]] = []
        self._running: dict[Agent, bool] = {}
        """The agents with an exchange in progress, and whether another one is wanted after it."""
        self._spread = False
        """Whether the first agents were spread."""
        self._fresh: set[Agent] = set()
        """Agents that came later and had no exchange yet."""

    def __len__(self) -> int:
        return len(self._due)

    def update(self, agents: Collection[Agent], now: float) -> list[Agent]:
        """Takes over which agents exist; returns those that are gone.

        The first ones, those of a new leader, are spread over an interval. One that comes later is asked at once, so
        that its server knows the plan from its start on, and is spread from its second exchange on.
        """
        for agent in agents:
            if agent not in self._due:
                if self._spread:
                    self._fresh.add(agent)
                self._set(agent, now if self._spread else now + _share(agent) * INTERVAL)
        self._spread = True
        gone = [agent for agent in self._due if agent not in agents]
        for agent in gone:
            del self._due[agent]
            self._running.pop(agent, None)
            self._fresh.discard(agent)
        return gone

    def due(self, now: float) -> list[Agent]:
        """The agents whose time has come; each comes again only after `done`."""
        agents = []
        while self._heap and self._heap[0][0] <= now:
            at, agent = heapq.heappop(self._heap)
            if self._due.get(agent) == at and agent not in self._running:
                self._running[agent] = False
                agents.append(agent)
        return agents

    def done(self, agent: Agent, now: float, *, short: bool, failures: int = 0) -> None:
        """Plans the next exchange after one; `failures` counts those in a row that failed."""
        again = self._running.pop(agent, False)
        planned = self._due.get(agent)
        if planned is None:
            return
        interval = SHORT_INTERVAL if short else INTERVAL
        # From the planned time, not from the end of this exchange: the spread stays as it was.
        following = (
            max(planned + interval, now) if failures < 2 else now + min(MAX_BACKOFF, interval * 2 ** min(failures, 8))
        )
        if agent in self._fresh:
            self._fresh.discard(agent)
            following = now + _share(agent) * interval
        self._set(agent, now if again else following)

    def hurry(self, agent: Agent, now: float) -> None:
        """Makes an agent due at once, after the exchange that is in progress if there is one."""
        if agent in self._running:
            self._running[agent] = True
        elif agent in self._due:
            self._set(agent, now)

    def _set(self, agent: Agent, at: float) -> None:
        self._due[agent] = at
        heapq.heappush(self._heap, (at, agent))


def _share(agent: Agent) -> float:
    """A number from 0 to 1 that stays the same for a pod."""
    return zlib.crc32(agent.pod_uid.encode()) / 2**32
