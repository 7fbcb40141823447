"""Invariant: who is at the other end of a socket the kernel says, and nobody holds so many that others have none."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from devservers_core.names import FIRST_UID
from devservers_core.protocol import MAX_LINE_BYTES

MOST_PEERS = 64
"""Connections of one person to one socket; a session has one, and a person may have 64 processes here."""


class Peers:
    """Who is connected to one socket."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    @contextlib.contextmanager
    def one(self, uid: int) -> Iterator[bool]:
        """Counts a peer as long as the block lasts; whether there is room for it."""
        room = uid < FIRST_UID or self._counts[uid] < MOST_PEERS
        self._counts[uid] += room
        try:
            yield room
        finally:
            self._counts[uid] -= room
            if not self._counts[uid]:
                del self._counts[uid]

    def nobody(self) -> bool:
        """Whether no one is connected."""
        return not self._counts


async def listen(
    path: Path, peer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
) -> asyncio.Server:
    """Serves a socket; any process of the pod may connect, who it is the kernel says."""
    path.unlink(missing_ok=True)
    server = await asyncio.start_unix_server(peer, path, limit=MAX_LINE_BYTES, backlog=512)
    path.chmod(0o666)
    return server


def peer_uid(sock: socket.socket) -> int:
    """The uid of the process that connected, from the kernel (unix(7), SO_PEERCRED)."""
    found = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", found)[1])
