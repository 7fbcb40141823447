"""Answers health probes and metrics on a port of its own.

No probe ever looks to sshd like somebody who gave up.

Invariant: /healthz is about this process and stays 200 while it drains; /readyz is about new logins. Whoever can reach
the port gets little room and little time on it.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter
from collections.abc import Callable, Mapping

MAX_CONNECTIONS = 64
MAX_POD_CONNECTIONS = 8
"""Of those by the pod's own processes, people's among them: probes come from elsewhere."""
MAX_BYTES = 8192
"""Of a request."""
REQUEST_SECONDS = 5.0
"""For a request and its answer."""


class Health:
    """A small HTTP/1.0 server for three paths."""

    def __init__(
        self,
        faults: Callable[[], list[str]],
        problems: Callable[[], list[str]],
        figures: Callable[[], Mapping[str, float]],
    ) -> None:
        """Serves what the functions say at the time of a request.

        `faults` says why this process is to be started anew, `problems` why nobody new should come, both empty
        when all is well; `figures` are the metrics.
        """
        self._faults = faults
        self._problems = problems
        self._figures = figures
        self._connections: Counter[bool] = Counter()

    async def serve(self, host: str, port: int) -> asyncio.Server:
        """Listens."""
        return await asyncio.start_server(self._peer, host, port, limit=MAX_BYTES)

    async def _peer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        own = _from_the_pod(writer)
        if self._connections[own] >= (MAX_POD_CONNECTIONS if own else MAX_CONNECTIONS):
            writer.transport.abort()
            return
        self._connections[own] += 1
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                await self._answer(reader, writer)
            writer.close()
        except (OSError, ValueError, TimeoutError, EOFError, asyncio.LimitOverrunError):
            writer.transport.abort()
        finally:
            self._connections[own] -= 1

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        words = (await reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")[0].split()
        status, text = self._page(words[1].decode("ascii", "replace") if len(words) > 1 else "")
        head = f"HTTP/1.0 {status}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {len(text)}\r\n\r\n"
        writer.write(head.encode() + text.encode("ascii", "replace"))
        await writer.drain()

    def _page(self, path: str) -> tuple[str, str]:
        if path == "/healthz":
            faults = self._faults()
            return ("500 Internal Server Error", "; ".join(faults) + "\n") if faults else ("200 OK", "ok\n")
        if path == "/readyz":
            problems = [*self._faults(), *self._problems()]
            return ("503 Service Unavailable", "; ".join(problems) + "\n") if problems else ("200 OK", "ok\n")
        if path == "/metrics":
            return "200 OK", "".join(
                f"# TYPE bastion_{name} gauge\nbastion_{name} {value:g}\n" for name, value in self._figures().items()
            )
        return "404 Not Found", "not found\n"


def _from_the_pod(writer: asyncio.StreamWriter) -> bool:
    """Whether the other end is in the pod as well."""
    theirs, ours = (ipaddress.ip_address(writer.get_extra_info(each)[0]) for each in ("peername", "sockname"))
    return theirs == ours or theirs.is_loopback
