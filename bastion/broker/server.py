"""The broker's socket: short-lived credentials for the person whose process asks.

Invariant: who asks is what the kernel says (SO_PEERCRED) and what the accounts in force make of it; nothing in a
request can name another. Nothing is logged but who asked for what, and when; nothing is written to a disk.

Requests and answers: devservers_core.protocol.broker.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from bastion.accounts.access import Access
from bastion.audit.peers import Peers, listen, peer_uid
from bastion.broker.token_service import TokenService
from bastion.paths import Paths
from devservers_core.errors import FORBIDDEN, USAGE
from devservers_core.names import FIRST_UID
from devservers_core.protocol import ProtocolError
from devservers_core.protocol import broker as protocol
from devservers_core.protocol.broker import Refusal
from devservers_core.types import Json

LOG = logging.getLogger("bastion.broker")
BURST, PER_SECOND = 60.0, 2.0
"""Requests that one person may make at once, and how fast they may go on."""
THREADS = 16
IDLE_SECONDS = 60.0
"""Seconds in which a peer that is connected must ask something."""


class BrokerServer:
    """One broker."""

    def __init__(self, paths: Paths, service: TokenService) -> None:
        self._paths = paths
        self._service = service
        self._access = Access(paths)
        self._pool = ThreadPoolExecutor(THREADS, "broker")
        self._peers = Peers()
        self._budgets: dict[int, tuple[float, float]] = {}

    async def serve(self) -> asyncio.Server:
        """Listens; any process of the pod may connect, who it is the kernel says."""
        return await listen(self._paths.broker_socket, self._peer)

    async def _peer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        uid = peer_uid(writer.get_extra_info("socket"))
        try:
            with self._peers.admit(uid) as room:
                while room and (request := await asyncio.wait_for(reader.readline(), IDLE_SECONDS)):
                    answer = await self._answer(uid, request)
                    writer.write(protocol.encode(answer))
                    await writer.drain()
        except (OSError, ValueError, TimeoutError):
            pass  # a peer that is gone, silent, or whose line is too long
        finally:
            writer.close()

    async def _answer(self, uid: int, line: bytes) -> Json:
        user = self._access.user_of(uid) if uid >= FIRST_UID else None
        if user is None:
            LOG.warning("refused uid %d", uid)
            return Refusal(f"uid {uid} is nobody's account", "log in again", FORBIDDEN).message()
        if self._access.locked_out(user, datetime.now(UTC)):
            LOG.warning("refused %s: no key in force", user)
            return Refusal("no key of yours is in force", "ask an administrator", FORBIDDEN).message()
        if not self._affords(uid):
            LOG.warning("refused %s: too many requests", user)
            return Refusal("you ask for credentials too often", "wait some seconds").message()
        try:
            request = protocol.parse_request(line)
        except ProtocolError as error:
            LOG.info("%s ? no", user)
            return Refusal(str(error), "report this", USAGE).message()
        answer = await asyncio.get_running_loop().run_in_executor(self._pool, self._service.answer, user, request)
        LOG.info("%s %s %s", user, request.WANT, "no" if "error" in answer else "yes")
        return answer

    def _affords(self, uid: int) -> bool:
        """Takes one request from what the person has left."""
        now = asyncio.get_running_loop().time()
        left, at = self._budgets.get(uid, (BURST, now))
        left = min(BURST, left + (now - at) * PER_SECOND)
        self._budgets[uid] = (max(left - 1, 0.0), now)
        return left >= 1
