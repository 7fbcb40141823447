"""Unix sockets with peers identified by the kernel and limited per user.

Invariant: the kernel says who is at the other end of a socket, and nobody has so many that others get none.
"""

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

MAX_PEERS = 64
"""Connections of one person to one socket; a session has one, and a person may have 64 processes here.
command_slots.py limits the commands that run at once."""


class Peers:
    """Who is connected to one socket."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    @contextlib.contextmanager
    def admit(self, uid: int) -> Iterator[bool]:
        """Counts a peer as long as the block lasts; whether there is room for it."""
        room = uid < FIRST_UID or self._counts[uid] < MAX_PEERS
        self._counts[uid] += room
        try:
            yield room
        finally:
            self._counts[uid] -= room
            if not self._counts[uid]:
                del self._counts[uid]

    def is_empty(self) -> bool:
        """Whether no one is connected."""
        return not self._counts


async def listen(
    path: Path, peer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
) -> asyncio.Server:
    """Serves a socket; any process of the pod may connect, and the kernel says who it is."""
    sock = _bind(path)
    return await asyncio.start_unix_server(peer, sock=sock, limit=MAX_LINE_BYTES, backlog=512)


def _bind(path: Path) -> socket.socket:
    """A socket at a path that every process of the pod may connect to."""
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.bind(str(path))
        path.chmod(0o666)
    except OSError:
        sock.close()
        raise
    return sock


def peer_uid(sock: socket.socket) -> int:
    """The uid of the process that connected, from the kernel (unix(7), SO_PEERCRED)."""
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])
