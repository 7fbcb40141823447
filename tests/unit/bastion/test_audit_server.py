"""The audit process over its real socket: who may report what, and what is written for it."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from bastion.audit.recording import frames, list_recordings
from bastion.audit.server import AuditServer
from bastion.audit.session_tracker import UNKNOWN_CONNECTION
from bastion.paths import Paths
from devservers_core.protocol.audit import encode_request
from tests.support.bastion.accounts import person
from tests.support.bastion.schema import problems
from tests.support.bastion.sockets import ROOT, SocketPeer, pod

pytestmark = pytest.mark.skipif(not ROOT, reason="connects as other users, which only root can")
ANN, BOB, NOBODY = 20000, 20001, 20002
SOURCE = {"src_ip": "192.0.2.1", "src_port": 40022}
OPENED = encode_request("conn_open", {"conn": "c1", "user": "ann", "key_fp": "SHA256:x", **SOURCE})
START = encode_request("session_start", {"kind": "exec", "argv": ["devctl", "list"], **SOURCE})


class FullDisk(io.StringIO):
    """Takes no line."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


class Log:
    """What the audit process has written."""

    def __init__(self, out: io.StringIO) -> None:
        self._out = out

    def lines(self) -> list[dict[str, Any]]:
        """Every line, each of which fits the schema."""
        lines = self._out.getvalue().splitlines(keepends=True)
        assert [problem for line in lines for problem in problems(line)] == []
        return [json.loads(line) for line in lines]

    async def until(self, event: str) -> dict[str, Any]:
        """The first line of an event, once it is there."""
        async with asyncio.timeout(10):
            while True:
                for line in self.lines():
                    if line["event"] == event:
                        return line
                await asyncio.sleep(0.01)


def run(
    check: Callable[[AuditServer, Paths, Log], Awaitable[None]], record: bool = False, out: io.StringIO | None = None
) -> None:
    """Serves for ann and bob while `check` lasts."""

    async def main(paths: Paths) -> None:
        written = io.StringIO() if out is None else out
        server = AuditServer(paths, "bastion-0", record, written)
        async with await server.serve():
            await check(server, paths, Log(written))

    with pod([person("ann", ANN), person("bob", BOB)]) as paths:
        asyncio.run(main(paths))


def test_audit_server_session_is_written_from_start_to_end_with_its_identity() -> None:
    async def check(server: AuditServer, paths: Paths, log: Log) -> None:
        supervisor = await SocketPeer.connect(paths.audit_socket)
        assert await supervisor.ask(OPENED) == {"ok": True}
        session = await SocketPeer.connect(paths.audit_socket, ANN)
        started = await session.ask(START)
        assert (started["ok"], started["record"]) == (True, False)
        for event, fields in (("command_start", {"argv": ["devctl", "list"]}), ("command_end", {"exit": 3})):
            assert (await session.ask(encode_request(event, fields)))["session"] == started["session"]
        await session.close()
        end = await log.until("session_end")
        names = [line["event"] for line in log.lines()]
        assert names == ["conn_open", "session_start", "command_start", "command_end", "session_end"]
        for line in log.lines()[1:]:
            assert (line["user"], line["uid"], line["conn"], line["key_fp"]) == ("ann", ANN, "c1", "SHA256:x")
            assert line["session"] == started["session"]
        assert end["reason"] == "closed"
        await supervisor.close()
        lost = await log.until("conn_close")
        assert (lost["conn"], lost["reason"]) == ("c1", "lost")
        await asyncio.wait_for(server.wait_idle(), 10)

    run(check)


def test_audit_server_without_a_connection_of_the_user_refuses_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bastion.audit.server.WAIT_FOR_SSHD", 0.05)

    async def check(server: AuditServer, paths: Paths, log: Log) -> None:
        supervisor = await SocketPeer.connect(paths.audit_socket)
        await supervisor.ask(OPENED)
        bob = await SocketPeer.connect(paths.audit_socket, BOB)
        assert await bob.ask(START) == {"ok": False, "error": UNKNOWN_CONNECTION}
        assert [line["event"] for line in log.lines()] == ["conn_open"]

    run(check)


def test_audit_server_waits_for_the_supervisors_word_of_a_connection() -> None:
    async def check(server: AuditServer, paths: Paths, log: Log) -> None:
        session = await SocketPeer.connect(paths.audit_socket, ANN)
        answer = asyncio.ensure_future(session.ask(START))
        await asyncio.sleep(0.05)
        assert not answer.done()
        supervisor = await SocketPeer.connect(paths.audit_socket)
        await supervisor.ask(OPENED)
        assert (await answer)["ok"] is True

    run(check)


def test_audit_server_uid_without_an_account_is_refused() -> None:
    async def check(server: AuditServer, paths: Paths, log: Log) -> None:
        for uid in (NOBODY, 33):
            stranger = await SocketPeer.connect(paths.audit_socket, uid)
            assert await stranger.ask(START) == {"ok": False, "error": f"uid {uid} is nobody's account"}
        assert log.lines() == []

    run(check)


def test_audit_server_session_may_not_report_for_the_supervisor_and_the_reverse() -> None:
    async def check(server: AuditServer, paths: Paths, log: Log) -> None:
        supervisor = await SocketPeer.connect(paths.audit_socket)
        assert "not an event of the supervisor" in (await supervisor.ask(START))["error"]
        await supervisor.ask(OPENED)
        session = await SocketPeer.connect(paths.audit_socket, ANN)
        assert "no session was started" in (await session.ask(OPENED))["error"]
        await session.ask(START)
        assert "not an event of a session" in (await session.ask(OPENED))["error"]
        assert "started on this socket already" in (await session.ask(START))["error"]
        assert [line["event"] for line in log.lines()] == ["conn_open", "session_start"]

    run(check)


def test_audit_server_malformed_request_is_refused_and_the_next_one_taken() -> None:
    async def check(server: AuditServer, paths: Paths, log: Log) -> None:
        supervisor = await SocketPeer.connect(paths.audit_socket)
        for line in (
            b"{",
            b"[]",
            b'{"event": 7}',
            b'{"event": "drain", "fields": {"reason": 7}}',
            b'{"v": 2, "event": "drain"}',
        ):
            answer = await supervisor.ask(line)
            assert answer["ok"] is False
            assert answer["error"]
        assert log.lines() == []
        assert await supervisor.ask(OPENED) == {"ok": True}

    run(check)


def test_audit_server_that_cannot_write_refuses_everything() -> None:
    async def check(server: AuditServer, paths: Paths, log: Log) -> None:
        supervisor = await SocketPeer.connect(paths.audit_socket)
        for _ in range(2):
            assert await supervisor.ask(OPENED) == {"ok": False, "error": "the audit log cannot be written"}
        assert server.failed.is_set()

    run(check, out=FullDisk())


def test_audit_server_fifth_command_of_a_user_is_refused_until_one_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bastion.audit.command_slots.WAIT_FOR_COMMAND", 0.1)

    async def check(server: AuditServer, paths: Paths, log: Log) -> None:
        supervisor = await SocketPeer.connect(paths.audit_socket)
        await supervisor.ask(OPENED)
        sessions = [await SocketPeer.connect(paths.audit_socket, ANN) for _ in range(5)]
        for session in sessions:
            await session.ask(START)
        begin = encode_request("command_start", {"argv": ["devctl", "list"]})
        for session in sessions[:4]:
            assert (await session.ask(begin))["ok"] is True
        refused = await sessions[4].ask(begin)
        assert (refused["ok"], refused["busy"]) == (False, True)
        assert (await log.until("denied"))["reason"] == refused["error"]
        assert (await sessions[0].ask(encode_request("command_end", {"exit": 0})))["ok"] is True
        assert (await sessions[4].ask(begin))["ok"] is True
        await sessions[1].close()  # a session that is gone runs nothing
        assert (await sessions[0].ask(begin))["ok"] is True

    run(check)


def test_audit_server_that_records_keeps_what_the_terminal_shows() -> None:
    async def check(server: AuditServer, paths: Paths, log: Log) -> None:
        supervisor = await SocketPeer.connect(paths.audit_socket)
        await supervisor.ask(OPENED)
        session = await SocketPeer.connect(paths.audit_socket, ANN)
        start = {"kind": "shell", "argv": [], "columns": 100, "rows": 30, **SOURCE}
        started = await session.ask(encode_request("session_start", start))
        assert started["record"] is True
        await session.send(encode_request("output", {"data": "hello\r\n"}))
        await session.send(encode_request("resize", {"columns": 80, "rows": 24}))
        await session.close()
        await log.until("session_end")
        (recorded,) = list_recordings(paths.recordings, "ann")
        assert recorded.session == started["session"]
        assert [text for _, text in frames(paths.recordings, recorded.session)] == ["hello\r\n"]

    run(check, record=True)
