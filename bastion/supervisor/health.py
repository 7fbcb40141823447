"""Answers probes on a port of its own, so that none of them ever looks to sshd like somebody who gave up.

Invariant: /healthz is about this process and stays 200 while it drains; /readyz is about new logins.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping


class Health:
    """A small HTTP/1.0 server for three paths."""

    def __init__(self, problems: Callable[[], list[str]], figures: Callable[[], Mapping[str, float]]) -> None:
        """`problems` says why nobody new should come, empty when they may; `figures` are the metrics."""
        self._problems = problems
        self._figures = figures

    async def serve(self, host: str, port: int) -> asyncio.Server:
        """Listens."""
        return await asyncio.start_server(self._answer, host, port, limit=8192)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            words = (await asyncio.wait_for(reader.readline(), 5)).split()
            while (await asyncio.wait_for(reader.readline(), 5)).strip():
                pass
            status, text = self._page(words[1].decode("ascii", "replace") if len(words) > 1 else "")
            head = (
                f"HTTP/1.0 {status}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {len(text)}\r\n\r\n"
            )
            writer.write(head.encode() + text.encode())
            await writer.drain()
        except (OSError, ValueError, TimeoutError):
            pass
        finally:
            writer.close()

    def _page(self, path: str) -> tuple[str, str]:
        if path == "/healthz":
            return "200 OK", "ok\n"
        if path == "/readyz":
            problems = self._problems()
            return ("503 Service Unavailable", "; ".join(problems) + "\n") if problems else ("200 OK", "ok\n")
        if path == "/metrics":
            return "200 OK", "".join(
                f"# TYPE bastion_{name} gauge\nbastion_{name} {value:g}\n" for name, value in self._figures().items()
            )
        return "404 Not Found", "not found\n"
