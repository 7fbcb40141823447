"""What the supervisor says reaches the audit process whole and in order, also when more is said than can be sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from bastion.supervisor.audit_client import BATCH, AuditClient
from tests.support.wait import eventually_async

MOST = 50


def _ear(heard: list[str], go: asyncio.Event) -> Callable[..., Awaitable[None]]:
    """The other end of the socket: it answers once it may."""

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            await go.wait()
            heard.append(json.loads(line)["event"])
            writer.write(b'{"ok": true}\n')
        writer.close()

    return peer


def _said(number: int, event: str = "forward_denied") -> list[tuple[str, dict[str, Any]]]:
    return [(event, {"conn": f"c{number}"})]


def test_audit_client_flooded_with_one_users_events_keeps_all_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        heard: list[str] = []
        go = asyncio.Event()
        async with await asyncio.start_unix_server(_ear(heard, go), tmp_path / "audit.sock"):
            link = AuditClient(tmp_path / "audit.sock", list, MOST)
            running = asyncio.ensure_future(link.run())
            await eventually_async(lambda: link.down_since is None, "a connection")
            link.report(_said(0, "conn_open"))
            await asyncio.sleep(0)  # it is on its way by now, and not answered
            for number in range(3 * MOST):
                link.report(_said(number))
            assert link.down_since is not None
            link.report(_said(1, "conn_close"))
            go.set()
            await link.flush(10)
            await eventually_async(lambda: link.down_since is None, "it counts as there again")
            assert heard == ["conn_open", *["forward_denied"] * (MOST - 1), "conn_close"]
            assert caplog.messages == [
                f"{MOST} events wait for the audit process; the next ones are left out",
                f"{2 * MOST + 1} events were left out of the audit log",
            ]
            running.cancel()

    asyncio.run(main())


def test_audit_client_sends_a_batch_before_its_first_answer(tmp_path: Path) -> None:
    async def main() -> None:
        heard: list[str] = []
        waiting: list[bytes] = []

        async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while len(waiting) < BATCH:
                waiting.append(await reader.readline())
            writer.write(b'{"ok": true}\n' * BATCH)
            await _ear(heard, go)(reader, writer)

        go = asyncio.Event()
        go.set()
        async with await asyncio.start_unix_server(peer, tmp_path / "audit.sock"):
            link = AuditClient(tmp_path / "audit.sock", list)
            for number in range(BATCH + 1):
                link.report(_said(number))
            running = asyncio.ensure_future(link.run())
            await eventually_async(lambda: heard, "the one after the batch")
            assert [json.loads(line)["fields"]["conn"] for line in waiting] == [f"c{n}" for n in range(BATCH)]
            running.cancel()

    asyncio.run(main())


def test_audit_client_after_a_reconnect_sends_unanswered_events_again(tmp_path: Path) -> None:
    async def main() -> None:
        heard: list[str] = []
        lost: list[bytes] = []

        async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if not lost:
                lost.append(await reader.readline())
                writer.write(b'{"ok": true}\n')
                await writer.drain()
                writer.close()
                return
            await _ear(heard, go)(reader, writer)

        go = asyncio.Event()
        go.set()
        async with await asyncio.start_unix_server(peer, tmp_path / "audit.sock"):
            link = AuditClient(tmp_path / "audit.sock", list)
            for event in ("conn_open", "forward_open", "conn_close"):
                link.report(_said(1, event))
            running = asyncio.ensure_future(link.run())
            await link.flush(10)
            assert json.loads(lost[0])["event"] == "conn_open"
            assert heard == ["forward_open", "conn_close"]
            running.cancel()

    asyncio.run(main())
