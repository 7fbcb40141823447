r"""Reads sshd's log from a pipe in packet mode, one record a write.

Invariant: one write of sshd's is one record, whatever stands in it.

On standard error sshd leaves line ends in a stranger's text as they are (log.c, strnvis with VIS_SAFE): a name like
"x\\r\\nAccepted publickey for bob ..." would be a line of its own. A pipe in packet mode keeps each write by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re

ROOM = 1 << 20
"""Bytes of the pipe, a page a record: 256 of them while the supervisor is at something else."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def pipe() -> tuple[int, int]:
    """A pipe in packet mode (pipe(2), O_DIRECT): the end to read, the end to write. Raises OSError."""
    ends = os.pipe2(os.O_CLOEXEC | os.O_DIRECT)
    with contextlib.suppress(PermissionError):  # over the machine's limits: sshd then waits for us sooner
        fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, ROOM)
    return ends


def plain(packet: bytes) -> str:
    """A record as one line: its own end is taken off, control characters in it are written as octal numbers."""
    text = packet.decode(errors="replace").removesuffix("\n").removesuffix("\r")
    return _CONTROL.sub(lambda found: f"\\{ord(found[0]):03o}", text)


class Packets(asyncio.Protocol):
    """The records that come out of a pipe."""

    def __init__(self) -> None:
        self._found: asyncio.Queue[bytes | None] = asyncio.Queue()

    def data_received(self, data: bytes) -> None:
        """One packet: a read gives no more than that (pipe(2))."""
        self._found.put_nowait(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody has the other end any more."""
        self._found.put_nowait(None)

    async def next(self) -> str | None:
        """The next record as a line, None at the end."""
        packet = await self._found.get()
        return None if packet is None else plain(packet)
