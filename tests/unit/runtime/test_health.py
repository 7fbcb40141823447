"""The operator's probes and metrics over HTTP."""

from __future__ import annotations

import asyncio
import socket

import aiohttp
import pytest

from devservers.runtime.health import HealthServer


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


async def get(port: int, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as client, client.get(f"http://127.0.0.1:{port}{path}") as answer:
        return answer.status, await answer.text()


def test_probes_answer_503_with_problems_and_200_without() -> None:
    problems: list[str] = []

    async def check() -> None:
        health, metrics = free_port(), free_port()
        server = HealthServer("127.0.0.1", health, metrics, lambda: problems, lambda: b"up 1\n")
        await server.start()
        try:
            for path in ("/healthz", "/readyz"):
                problems[:] = []
                assert await get(health, path) == (200, "ok")
                problems[:] = ["no word of the API server for 90 s", "a key is stuck"]
                assert await get(health, path) == (503, "no word of the API server for 90 s; a key is stuck")
            assert await get(metrics, "/metrics") == (200, "up 1\n"), "whatever the health is"
            assert (await get(health, "/metrics"))[0] == (await get(metrics, "/healthz"))[0] == 404
        finally:
            await server.stop()
        with pytest.raises(aiohttp.ClientConnectorError):
            await get(health, "/healthz")

    asyncio.run(asyncio.wait_for(check(), 20))


def test_port_0_leaves_an_endpoint_out() -> None:
    async def check() -> None:
        metrics = free_port()
        server = HealthServer("127.0.0.1", 0, metrics, list, lambda: b"")
        await server.start()
        try:
            assert (await get(metrics, "/metrics"))[0] == 200
        finally:
            await server.stop()

    asyncio.run(asyncio.wait_for(check(), 20))
