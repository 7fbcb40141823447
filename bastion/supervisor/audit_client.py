"""Sends the supervisor's events to the audit process, and reconnects.

Invariant: events reach the audit process in order, each until it is answered.

While the audit process is away events wait here; after a reconnect it is first sent every open connection, because it
may have been restarted. When more events wait than there is room for, the audit counts as away, so nobody new is let
in, and only events that one person can cause without end are dropped, counted and logged.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from devservers_core.protocol import audit as protocol

LOG = logging.getLogger("bastion.supervisor")
Event = tuple[str, dict[str, Any]]
ANSWER_SECONDS = 5.0
"""Until it counts as away. With a hundred people at once and much other work an answer has taken more than two."""
RETRY_SECONDS = 0.2
MAX_WAITING = 20000
BATCH = 100
"""Events that are sent before the first of their answers is waited for."""
ENDLESS = frozenset({"auth_fail", "forward_open", "forward_denied"})
"""Events of which anybody can make as many as they like; all others are few for each login."""


class AuditClient:
    """One connection to the audit process, made again when it breaks."""

    def __init__(
        self,
        path: Path,
        opened: Callable[[], Iterable[Event]],
        most: int = MAX_WAITING,
    ) -> None:
        """`opened` gives a conn_open for every connection there is.

        `most` is how many events may wait.
        """
        self._path = path
        self._opened = opened
        self._most = most
        self._left_out = 0
        self._waiting: deque[Event] = deque()
        self._news = asyncio.Event()
        self._idle = asyncio.Event()
        self.down_since: float | None = asyncio.get_running_loop().time()
        """loop.time() since when nothing can be reported, None while it can."""

    def report(self, events: Iterable[Event]) -> None:
        """Report events, now or as soon as that is possible."""
        for event in events:
            if len(self._waiting) < self._most or event[0] not in ENDLESS:
                self._waiting.append(event)
                continue
            if not self._left_out:
                LOG.error("%d events wait for the audit process; the next ones are left out", self._most)
            self._left_out += 1
            if self.down_since is None:
                self.down_since = asyncio.get_running_loop().time()
        if self._waiting:
            self._idle.clear()
            self._news.set()

    async def flush(self, seconds: float) -> None:
        """Until everything was reported, or `seconds` have passed."""
        try:
            await asyncio.wait_for(self._idle.wait(), seconds)
        except TimeoutError:
            LOG.error("%d events were not reported", len(self._waiting))

    async def run(self) -> None:
        """Works until it is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                await self._talk()
            except (OSError, ValueError, TimeoutError, EOFError) as error:
                if self.down_since is None:
                    LOG.error("the audit process is away: %s", str(error) or type(error).__name__)
                    self.down_since = loop.time()
            await asyncio.sleep(RETRY_SECONDS)

    async def _talk(self) -> None:
        reader, writer = await asyncio.open_unix_connection(self._path)
        try:
            known = list(self._opened())
            # A conn_open that waits here would be said twice, for the same connection.
            said = {fields["conn"] for _, fields in known}
            waiting = [e for e in self._waiting if not (e[0] == "conn_open" and e[1].get("conn") in said)]
            self._waiting = deque([*known, *waiting])
            while True:
                while self._waiting:
                    await self._send(list(itertools.islice(self._waiting, BATCH)), reader, writer)
                if self._left_out:
                    LOG.error("%d events were left out of the audit log", self._left_out)
                    self._left_out = 0
                self.down_since = None
                self._idle.set()
                self._news.clear()
                await self._wait(reader)
        finally:
            writer.close()

    async def _send(self, batch: list[Event], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The first of those that wait; each of them waits until its own answer is here."""
        writer.write(b"".join(protocol.encode_request(event, fields) for event, fields in batch))
        await asyncio.wait_for(writer.drain(), ANSWER_SECONDS)
        for _ in batch:
            answer = await asyncio.wait_for(reader.readline(), ANSWER_SECONDS)
            if not protocol.is_accepted(answer):
                raise ValueError(protocol.error_of(answer) if answer else "it closed the connection")
            # Nobody else takes from the front, and what comes in meanwhile goes to the end.
            self._waiting.popleft()

    async def _wait(self, reader: asyncio.StreamReader) -> None:
        """Until there is news, or the other end closes: nothing else comes from there unasked."""
        news, closed = asyncio.ensure_future(self._news.wait()), asyncio.ensure_future(reader.read(1))
        try:
            done, _ = await asyncio.wait({news, closed}, return_when=asyncio.FIRST_COMPLETED)
            if closed in done:
                raise EOFError("it closed the connection")
        finally:
            for each in (news, closed):
                each.cancel()
            await asyncio.gather(news, closed, return_exceptions=True)
