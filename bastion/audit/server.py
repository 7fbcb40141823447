"""Serves the audit socket: takes events of sessions and writes audit lines.

Invariant: an answer of ok means that the line was written; whoever gets no answer must not go on. A session ends when
its socket closes, which the kernel does for it even after kill -9.

Requests and answers: devservers_core.protocol.audit.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

from bastion.accounts.access import Access
from bastion.audit.command_slots import BUSY, CommandSlots
from bastion.audit.event import line
from bastion.audit.peers import Peers, listen, peer_uid
from bastion.audit.recording import Recording
from bastion.audit.recording_store import RecordingStore
from bastion.audit.session_tracker import EventRefusedError, Session, SessionTracker
from bastion.paths import Paths
from devservers_core.names import FIRST_UID
from devservers_core.protocol import ProtocolError
from devservers_core.protocol import audit as protocol
from devservers_core.types import Json

BEGIN_SECONDS = 15.0
"""From connecting to session_start."""
WAIT_FOR_SSHD = 8.0
"""Seconds to wait until sshd's log shows the connection that a session names: log and session race each other, and
after a start of this process so does the supervisor. Less than sessions wait for an answer (audit_client.py).
"""
STOPPED = "the audit log cannot be written"


class AuditServer:
    """One audit process."""

    def __init__(self, paths: Paths, replica: str, record: bool = False, out: TextIO = sys.stdout) -> None:
        self._paths = paths
        self._record = record
        self._store = RecordingStore(paths.recordings)
        self._out = out
        self._access = Access(paths)
        self._tracker = SessionTracker(replica, asyncio.get_running_loop().time)
        self._peers = Peers()
        self.commands = CommandSlots()
        self._awaited: dict[tuple[str, int], asyncio.Event] = {}
        """Connections that a session has named and sshd's log has not shown."""
        self._idle = asyncio.Event()
        self._idle.set()
        self.failed = asyncio.Event()
        """Set when a line could not be written; nothing is accepted any more."""

    async def serve(self) -> asyncio.Server:
        """Listens; any process of the pod may connect, and the kernel says who it is."""
        return await listen(self._paths.audit_socket, self._peer)

    async def _peer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        uid = peer_uid(writer.get_extra_info("socket"))
        peer = _Supervisor(self, uid) if uid == 0 else _Person(self, uid)
        try:
            with self._peers.admit(uid) as room:
                if room:
                    self._idle.clear()
                    await self._talk(peer, reader, writer)
        except (OSError, ValueError, TimeoutError):
            pass  # a peer that is gone, that begins nothing, or whose line is too long
        finally:
            peer.disconnected()
            writer.close()
            if self._peers.is_empty():
                self._idle.set()

    async def _talk(self, peer: _Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        end = asyncio.get_running_loop().time() + BEGIN_SECONDS
        while True:
            async with asyncio.timeout_at(None if peer.may_be_silent else end):
                request = await reader.readline()
            if not request:
                return
            answer = await self._answer(peer, request)
            if answer is not None:
                writer.write(protocol.encode_answer(answer))
                await writer.drain()
            # What is here already is read without waiting: others, the supervisor first, want their turn.
            await asyncio.sleep(0)

    async def _answer(self, peer: _Peer, request: bytes) -> dict[str, Any] | None:
        try:
            return await peer.handle(*protocol.parse_request(request))
        except (ProtocolError, EventRefusedError) as refusal:
            return protocol.refused(str(refusal))

    async def wait_for_connection(self, user: str, fields: Mapping[str, Any]) -> None:
        """Waits until sshd's log shows the connection that `fields` name, at most WAIT_FOR_SSHD."""
        address, port = str(fields.get("src_ip")), fields.get("src_port")
        if not isinstance(port, int) or self._tracker.knows((address, port), user):
            return
        arrived = self._awaited.setdefault((address, port), asyncio.Event())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(arrived.wait(), WAIT_FOR_SSHD)
        if self._awaited.get((address, port)) is arrived:
            del self._awaited[address, port]

    def connection_opened(self, fields: Mapping[str, Any]) -> None:
        """Wakes sessions that wait until sshd's log shows this connection."""
        if awaited := self._awaited.pop((str(fields.get("src_ip")), int(fields.get("src_port") or 0)), None):
            awaited.set()

    async def wait_idle(self) -> None:
        """Until nobody is connected."""
        await self._idle.wait()

    def write(self, fields: Json) -> None:
        """One line out. Raises EventRefusedError when it can't be written, now and from then on."""
        if self.failed.is_set():
            raise EventRefusedError(STOPPED)
        try:
            self._out.write(line(fields, datetime.now(UTC)) + "\n")
            self._out.flush()
        except (OSError, ValueError):
            self.failed.set()
            raise EventRefusedError(STOPPED) from None

    @property
    def tracker(self) -> SessionTracker:
        """What is open."""
        return self._tracker

    @property
    def access(self) -> Access:
        """Who there is."""
        return self._access

    def recording(self, session: Session, fields: Mapping[str, Any]) -> Recording | None:
        """A recording for a session with a terminal, when the stack asks for them. Raises EventRefusedError."""
        if not self._record or "columns" not in fields:
            return None
        size = tuple(v if isinstance(v := fields.get(n), int) and 0 < v < 10000 else d for n, d in _SIZE)
        try:
            return Recording(
                self._paths.recordings, session.user, session.session, (size[0], size[1]), store=self._store
            )
        except OSError as error:
            raise EventRefusedError(
                f"the session cannot be recorded ({error.strerror}); tell an administrator"
            ) from None


_SIZE = (("columns", 80), ("rows", 24))


class _Peer:
    """Whoever is at the other end of one socket."""

    def __init__(self, server: AuditServer, uid: int) -> None:
        self.server = server
        self.uid = uid

    @property
    def may_be_silent(self) -> bool:
        """Whether it may be silent now."""
        return True

    async def handle(self, event: str, fields: dict[str, Any]) -> dict[str, Any] | None:
        """The answer. Raises EventRefusedError."""
        raise NotImplementedError

    def disconnected(self) -> None:
        """The socket is closed."""


class _Supervisor(_Peer):
    async def handle(self, event: str, fields: dict[str, Any]) -> dict[str, Any]:
        for each in self.server.tracker.supervisor_event(event, fields, self.server.access.uids()):
            self.server.write(each)
        if event == "conn_open":
            self.server.connection_opened(fields)
        return protocol.accepted()

    def disconnected(self) -> None:
        for each in self.server.tracker.supervisor_lost():
            _write_if_possible(self.server, each)


class _Person(_Peer):
    def __init__(self, server: AuditServer, uid: int) -> None:
        super().__init__(server, uid)
        self.session: Session | None = None
        self.running = False
        """Whether a command of this session is on record as begun and not as ended."""
        self.recording: Recording | None = None

    @property
    def may_be_silent(self) -> bool:
        return self.session is not None

    async def handle(self, event: str, fields: dict[str, Any]) -> dict[str, Any] | None:
        if event in protocol.UNANSWERED:
            self._show(event, fields)
            return None
        if event != "session_start":
            if self.session is None:
                raise EventRefusedError("no session was started on this socket")
            if event == "command_start" and not self.running:
                if not await self.server.commands.begin(self.uid):
                    denied = {"kind": "denied", "argv": fields.get("argv"), "reason": BUSY}
                    self.server.write(self.server.tracker.session_event(self.session, "denied", denied))
                    return protocol.refused(BUSY, busy=True)
                self.running = True
            self.server.write(self.server.tracker.session_event(self.session, event, fields))
            if event == "command_end":
                self._end_command()
            return protocol.accepted(self.session.session)
        if self.session is not None:
            raise EventRefusedError("a session was started on this socket already")
        user = self.server.access.user_of(self.uid) if self.uid >= FIRST_UID else None
        if user is None:
            raise EventRefusedError(f"uid {self.uid} is nobody's account")
        await self.server.wait_for_connection(user, fields)
        session, start = self.server.tracker.begin_session(user, self.uid, fields)
        self.session = session  # before the line: whatever fails now, it is ended
        self.recording = self.server.recording(session, fields)
        self.server.write(start)
        return protocol.accepted(session.session, self.recording is not None)

    def _show(self, event: str, fields: dict[str, Any]) -> None:
        if self.recording is None:
            return
        if event == "output" and isinstance(fields.get("data"), str):
            self.recording.output(fields["data"])
        elif event == "resize" and all(isinstance(fields.get(name), int) for name, _ in _SIZE):
            self.recording.resize(fields["columns"], fields["rows"])

    def _end_command(self) -> None:
        if self.running:
            self.running = False
            self.server.commands.end(self.uid)

    def disconnected(self) -> None:
        self._end_command()
        if self.recording is not None:
            self.recording.close()
        if self.session is not None and (end := self.server.tracker.end_session(self.session)) is not None:
            _write_if_possible(self.server, end)


def _write_if_possible(server: AuditServer, fields: Json) -> None:
    with contextlib.suppress(EventRefusedError):  # server.failed says so
        server.write(fields)
