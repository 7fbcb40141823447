"""The bastion's own servers on Unix sockets, and peers with a person's uid."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bastion.accounts.render import render
from bastion.accounts.store import Store
from bastion.paths import Paths

ROOT = os.geteuid() == 0
"""Only root can connect as somebody else."""


@contextmanager
def pod(users: Iterable[dict[str, Any]]) -> Iterator[Paths]:
    """A pod's folders with these accounts, which every uid may look into."""
    folder = Path(tempfile.mkdtemp(prefix="devservers-sockets-"))
    try:
        folder.chmod(0o755)
        paths = Paths(folder)
        for each in (paths.accounts, paths.audit_socket.parent, paths.broker_socket.parent):
            each.mkdir(parents=True)
        Store(paths).put(render(users, [], "/session"))
        yield paths
    finally:
        shutil.rmtree(folder)


class SocketPeer:
    """A process that speaks to one of the sockets."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, path: Path, uid: int | None = None) -> SocketPeer:
        """Connects; as `uid` where that is given, for which only root may ask."""
        sock = socket.socket(socket.AF_UNIX)
        before = os.geteuid()
        try:
            if uid is not None:
                os.seteuid(uid)  # the kernel remembers who connects
            sock.connect(str(path))
        finally:
            os.seteuid(before)
        return cls(*await asyncio.open_unix_connection(sock=sock))

    async def send(self, line: bytes) -> None:
        """One line."""
        self._writer.write(line if line.endswith(b"\n") else line + b"\n")
        await self._writer.drain()

    async def ask(self, line: bytes) -> dict[str, Any]:
        """The answer to a line; {} when the server hangs up."""
        await self.send(line)
        return dict(json.loads(await asyncio.wait_for(self._reader.readline(), 10) or b"{}"))

    async def close(self) -> None:
        """Hangs up."""
        self._writer.close()
        await self._writer.wait_closed()
