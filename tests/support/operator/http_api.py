"""An HTTP server in the test's event loop that speaks the API server's JSON."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl, urlsplit

from kubernetes.aio.client.configuration import Configuration

from devservers_core.types import Json


@dataclass(frozen=True)
class Request:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    body: Json | None = None


Answer = tuple[int, object] | None
"""A status with a body (a string goes out as it is, anything else as JSON); None closes the connection unanswered."""


class HttpApi:
    """Answers each request with what `respond` returns and keeps connections open, as an API server does."""

    def __init__(self, respond: Callable[[Request], Answer]) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self._respond = respond
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def configuration(self) -> Configuration:
        configuration = Configuration()
        configuration.host = self.url
        return configuration

    def methods(self) -> list[str]:
        return [request.method for request in self.requests]

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        with contextlib.suppress(ConnectionError):
            async for request in _requests(reader):
                self.requests.append(request)
                answer = self._respond(request)
                if answer is None:
                    break
                status, body = answer
                data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
                head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
                writer.write(head.encode() + data)
                await writer.drain()
        writer.close()


async def _requests(reader: asyncio.StreamReader) -> AsyncIterator[Request]:
    while line := (await reader.readline()).decode().strip():
        method, target, _ = line.split(" ")
        headers: dict[str, str] = {}
        while header := (await reader.readline()).decode().strip():
            name, _, value = header.partition(":")
            headers[name.lower()] = value.strip()
        data = await reader.readexactly(int(headers.get("content-length", "0")))
        url = urlsplit(target)
        yield Request(method, url.path, dict(parse_qsl(url.query)), headers, json.loads(data) if data else None)
