"""A supervisor that no longer watches says so to the kubelet, and strangers on that port get little of it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

import pytest

from bastion.supervisor.health import MAX_BYTES, MAX_POD_CONNECTIONS, Health
from bastion.supervisor.watchdog import STILL_SECONDS, Watchdog


async def _ask(port: int, text: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(text)
        return await asyncio.wait_for(reader.read(), 10)
    except ConnectionError:  # closed with words of ours unread
        return b""
    finally:
        writer.close()


def _run(check: Coroutine[None, None, None]) -> None:
    asyncio.run(check)


async def _dies() -> None:
    raise KeyError("ann")


def test_watchdog_reports_a_task_that_died(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        found = Watchdog()
        async with await Health(found.faults, list, dict).serve("127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            assert (await _ask(port, b"GET /healthz HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.0 200 ")
            found.begin("the look", _dies())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            why = b"the look died: KeyError: 'ann'\n"
            for path, status in ((b"/healthz", b"500"), (b"/readyz", b"503")):
                answer = await _ask(port, b"GET " + path + b" HTTP/1.0\r\n\r\n")
                assert answer.startswith(b"HTTP/1.0 " + status)
                assert answer.endswith(b"\r\n\r\n" + why)
        assert caplog.messages == ["the look died: KeyError: 'ann'"]
        assert [record.levelname for record in caplog.records] == ["ERROR"]

    _run(main())


class Clock(asyncio.SelectorEventLoop):
    """An event loop whose time a test may set."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


def test_watchdog_reports_a_missing_beat() -> None:
    clock = Clock()

    async def main() -> None:
        found = Watchdog()
        found.beat()
        assert found.faults() == []
        clock.ahead += STILL_SECONDS + 2
        assert found.faults() == [f"nobody was looked at for {STILL_SECONDS + 2:.0f} s"]
        found.beat()
        assert found.faults() == []

    with asyncio.Runner(loop_factory=lambda: clock) as runner:
        runner.run(main())


def test_health_port_limits_requests_of_anybody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bastion.supervisor.health.REQUEST_SECONDS", 3.0)

    async def main() -> None:
        async with await Health(list, list, dict).serve("127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            assert await _ask(port, b"GET /healthz HTTP/1.0\r\n" + b"x: y\r\n" * MAX_BYTES + b"\r\n") == b""
            held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MAX_POD_CONNECTIONS)]
            assert await _ask(port, b"GET /healthz HTTP/1.0\r\n\r\n") == b""
            for reader, writer in held:  # their time ends by itself
                assert await asyncio.wait_for(reader.read(), 10) == b""
                writer.close()
            assert (await _ask(port, b"GET /healthz HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.0 200 ")

    _run(main())
