"""Tracks open sessions and connections, and makes their audit events.

Invariant: every session and connection that was opened is closed, and its identity comes from the kernel or from
sshd, never from the peer that reports it.

Pure: requests of peers in, events to write out. A peer with uid 0 is the supervisor, which reads sshd's log and may
name connections. Any other peer is a person's session program: what it was asked to do is taken from it, user and uid
are stamped, and without a connection that sshd opened for the same user it has no session.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from devservers_core.protocol.audit import SESSION_EVENTS, SESSION_FIELDS, SUPERVISOR_EVENTS
from devservers_core.types import Json

UNKNOWN_CONNECTION = "sshd has not told of this connection; try again"


class EventRefusedError(ValueError):
    """An event is not written; the text says why in one line."""


@dataclass
class Connection:
    """An SSH connection as sshd reported it."""

    conn: str
    source: tuple[str, int]
    user: str
    key_fp: str | None
    refused: str | None = None
    """Why no session may start on it."""
    reason: str | None = None
    """Why what is on it is going to end."""
    sessions: list[Session] = field(default_factory=list)


@dataclass
class Session:
    """A session that a person's program began; `open` until its socket closes."""

    session: str
    user: str
    uid: int
    began: float
    conn: Connection
    base: Json
    open: bool = True


class SessionTracker:
    """Everything that is open now."""

    def __init__(self, replica: str, clock: Callable[[], float]) -> None:
        """`clock` gives seconds that only grow."""
        self._replica = replica
        self._clock = clock
        self._run = secrets.token_hex(3)
        self._numbers = itertools.count(1)
        self._connections: dict[str, Connection] = {}
        self._sources: dict[tuple[str, int], Connection] = {}

    def knows(self, source: tuple[str, int], user: str) -> bool:
        """Whether the supervisor has reported this connection of the user."""
        return source in self._sources and self._sources[source].user == user

    def begin_session(self, user: str, uid: int, fields: Mapping[str, Any]) -> tuple[Session, Json]:
        """A session and its session_start. Raises EventRefusedError when the connection may have none."""
        source = (str(fields.get("src_ip")), fields.get("src_port"))
        conn = self._sources.get(source) if isinstance(source[1], int) else None  # type: ignore[arg-type]
        if conn is None or conn.user != user:
            raise EventRefusedError(UNKNOWN_CONNECTION)
        if conn.refused:
            raise EventRefusedError(conn.refused)
        base: Json = {"session": self._id("s"), "user": user, "uid": uid, "kind": fields.get("kind")}
        base |= {"conn": conn.conn, "src_ip": conn.source[0], "src_port": conn.source[1], "key_fp": conn.key_fp}
        session = Session(base["session"], user, uid, self._clock(), conn, base)
        conn.sessions.append(session)
        return session, self._stamp("session_start", base | _session_fields(fields))

    def session_event(self, session: Session, event: str, fields: Mapping[str, Any]) -> Json:
        """An event of a session under way. Raises EventRefusedError for one that it may not tell."""
        if event not in SESSION_EVENTS or event == "session_start":
            raise EventRefusedError(f"{event!r} is not an event of a session")
        return self._stamp(event, session.base | _session_fields(fields))

    def end_session(self, session: Session) -> Json | None:
        """The session_end, once, however often it is asked for."""
        if not session.open:
            return None
        session.open = False
        if session in session.conn.sessions:
            session.conn.sessions.remove(session)
        reason = session.conn.reason or "closed"
        passed = int((self._clock() - session.began) * 1000)
        return self._stamp("session_end", session.base | {"duration_ms": passed, "reason": reason})

    def supervisor_event(self, event: str, report: Mapping[str, Any], uids: Mapping[str, int]) -> list[Json]:
        """What the supervisor tells. Raises EventRefusedError for an event that isn't its own."""
        if event not in SUPERVISOR_EVENTS:
            raise EventRefusedError(f"{event!r} is not an event of the supervisor")
        fields = {name: value for name, value in report.items() if name != "refused"}
        name = str(report.get("conn", ""))
        if event == "conn_open":
            source = (str(report.get("src_ip")), int(report.get("src_port") or 0))
            opened = Connection(name, source, str(report.get("user")), report.get("key_fp"), report.get("refused"))
            self._connections[name] = self._sources[source] = opened
        conn = self._connections.get(name)
        if conn is not None:
            fields = {"user": conn.user, "key_fp": conn.key_fp, **fields}
            fields |= {"src_ip": conn.source[0], "src_port": conn.source[1], "uid": uids.get(conn.user)}
        if conn is not None and event in ("revoked", "denied"):
            conn.reason = "revoked" if event == "revoked" else str(report.get("reason"))
            conn.refused = conn.refused or str(report.get("reason") or conn.reason)
        if event == "drain":
            for each in self._connections.values():
                each.reason = each.reason or "drain"
        if event == "conn_close" and conn is not None:
            self._forget(conn)
            fields.setdefault("reason", conn.reason or "closed")
        return [self._stamp(event, fields)]

    def supervisor_lost(self) -> list[Json]:
        """The supervisor is gone, and everything that it held with it."""
        closed = []
        for conn in list(self._connections.values()):
            self._forget(conn)
            conn.reason = conn.reason or "lost"
            closed.append(
                self._stamp(
                    "conn_close",
                    {"conn": conn.conn, "user": conn.user, "src_ip": conn.source[0], "src_port": conn.source[1],
                     "reason": conn.reason},
                )
            )  # fmt: skip
        return closed

    def _forget(self, conn: Connection) -> None:
        self._connections.pop(conn.conn, None)
        if self._sources.get(conn.source) is conn:
            del self._sources[conn.source]

    def _id(self, kind: str) -> str:
        return f"{self._replica}-{self._run}-{kind}{next(self._numbers)}"

    def _stamp(self, event: str, fields: Mapping[str, Any]) -> Json:
        return {**fields, "event": event, "replica": self._replica}


def _session_fields(fields: Mapping[str, Any]) -> Json:
    return {name: fields[name] for name in SESSION_FIELDS if name in fields}
