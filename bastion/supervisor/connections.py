"""The table of SSH connections, kept from the records of sshd's log.

Invariant: every connection that sshd let in is in the table until its process is gone, and has exactly one
conn_open and one conn_close; one that never logged in has one auth_fail instead.

Pure but for the numbers it gives out: records of sshd's log, in; events for the audit, out.
"""

from __future__ import annotations

import itertools
import secrets
from collections import OrderedDict
from dataclasses import dataclass

from bastion.supervisor.sshd_log import (
    NAMELESS,
    Accepted,
    Child,
    Dropped,
    Ended,
    Forward,
    Opened,
    Record,
    Software,
    Source,
    Tried,
)
from devservers_core.types import Json

REFUSED_SECONDS = 2.0
"""How long sshd may take to refuse a forward: it logs the request, and the refusal right after it in a second record.

Without a refusal in this time the audit line says `forward_open`. With 0.25 s, sshd on a machine with 17 runnable
processes took longer, and a refused forward was on record as open."""
MAX_DENIALS = 100
"""Forwards of one connection that are refused one by one; the next ones end it."""
Event = tuple[str, Json]
EARLY_SECONDS = 5.0
"""How long what a process asked for is kept until sshd has said whose process it is: the two records come from two
processes, so under load the later one may be read first."""
MAX_EARLY_PROCESSES = 200
"""Such processes remembered at once."""
MAX_ATTEMPTS = 2000
"""Connections that have not logged in, remembered at once; sshd holds 600 and refuses the rest."""


@dataclass
class LiveConnection:
    """A connection that is in."""

    conn: str
    pid: int
    user: str
    key_fp: str | None
    source: Source
    since: float
    child: int | None = None
    ending: str | None = None
    """Why it is being ended, once that is so."""
    forwards: int = 0
    denials: int = 0
    unwanted: str | None = None
    """Why it is to be ended, from what it asked for."""


@dataclass
class _Attempt:
    since: float
    user: str = ""
    why: str = "left without trying to log in"
    key_fp: str | None = None


class Connections:
    """Everything that sshd holds now."""

    def __init__(self, limit: int) -> None:
        """`limit` is how many connections a person may have at once."""
        self._limit = limit
        self._run = secrets.token_hex(3)
        self._numbers = itertools.count(1)
        self._attempts: OrderedDict[Source, _Attempt] = OrderedDict()
        self._software: OrderedDict[int, str] = OrderedDict()
        self._asked: dict[int, tuple[str, float]] = {}
        """Where each connection's last forward goes, and when it was asked for, while sshd may still say no."""
        self._early: OrderedDict[int, tuple[float, list[Forward]]] = OrderedDict()
        """What processes of nobody yet asked for, and when they began to."""
        self.live: dict[int, LiveConnection] = {}
        """By the pid of the process that stands for it."""

    def feed(self, record: Record, now: float) -> list[Event]:
        """The events that follow from a record; `now` in seconds that only grow."""
        match record:
            case Opened(source):
                self._attempts[source] = _Attempt(now)
                if len(self._attempts) > MAX_ATTEMPTS:
                    gone, attempt = self._attempts.popitem(last=False)
                    return [self._failed(gone, attempt)]
            case Software(pid, version):
                self._software[pid] = version
                if len(self._software) > MAX_ATTEMPTS:
                    self._software.popitem(last=False)
            case Tried():
                self._tried(record)
            case Accepted():
                return [self._accept(record, now)]
            case Child(parent, pid):
                if parent in self.live:
                    self.live[parent].child = pid
                    return self._catch_up(pid, now)
            case Forward():
                return self._forward(record, now)
            case Ended(source, why):
                if left := self._attempts.pop(source, None):
                    if why != "gone":
                        left.why = why
                    return [self._failed(source, left)]
            case Dropped(source, why):
                return [("auth_fail", _from(source) | {"reason": f"refused: {why}"})]
        return []

    def process_ended(self, pid: int, now: float) -> list[Event]:
        """The process of a connection has ended."""
        live = self.live.pop(pid, None)
        if live is None:
            return []
        events = self._settle(live)
        passed = int((now - live.since) * 1000)
        reason = {"reason": live.ending} if live.ending else {}
        return [*events, ("conn_close", {"conn": live.conn, "duration_ms": passed, **reason})]

    def expire_attempts(self, now: float, grace: float) -> list[Event]:
        """Strangers of whom sshd said no more although their time is over."""
        late = [source for source, attempt in self._attempts.items() if now - attempt.since > grace]
        return [self._failed(source, self._attempts.pop(source)) for source in late]

    def settle_forwards(self, now: float) -> list[Event]:
        """Forwards that were asked for and have not been refused since, which means that they were made."""
        late = {pid for pid, (_, asked) in self._asked.items() if now - asked >= REFUSED_SECONDS}
        return [event for pid, live in self.live.items() if pid in late for event in self._settle(live)]

    def connections_of(self, user: str) -> list[LiveConnection]:
        """A person's connections, oldest first."""
        return sorted((live for live in self.live.values() if live.user == user), key=lambda live: live.since)

    def open_fields(self, live: LiveConnection) -> Json:
        """The fields of conn_open, also for an audit process that was restarted."""
        return {
            "conn": live.conn,
            "user": live.user,
            "key_fp": live.key_fp,
            **_from(live.source),
            "client_version": self._software.get(live.pid),
            **({"refused": live.ending} if live.ending else {}),
        }

    def _accept(self, record: Accepted, now: float) -> Event:
        self._attempts.pop(record.source, None)
        conn = f"{self._run}-c{next(self._numbers)}"
        live = LiveConnection(conn, record.pid, record.user, record.key_fp, record.source, now)
        if len(self.connections_of(record.user)) >= self._limit:
            live.ending = f"you have {self._limit} connections, which is the limit; close one and log in again"
        self.live[record.pid] = live
        return "conn_open", self.open_fields(live)

    def _tried(self, record: Tried) -> None:
        source = record.source
        if source is None:  # the line names no port: the latest who has not said who they are
            source = next((s for s, attempt in reversed(self._attempts.items()) if not attempt.user), None)
        if source is not None and source in self._attempts:
            attempt = self._attempts[source]
            attempt.user, attempt.why = record.user, record.why
            attempt.key_fp = record.key_fp or attempt.key_fp

    def _forward(self, record: Forward, now: float) -> list[Event]:
        pid = record.pid
        live = self.live.get(pid) or next((each for each in self.live.values() if each.child == pid), None)
        if live is None:
            self._keep(record, now)
            return []
        if record.denied and not record.unasked:
            self._asked.pop(live.pid, None)
            return self._denied(live, record.target)
        # sshd logs the request before a refusal; without a refusal before its next line it was granted.
        events = self._settle(live)
        if record.denied:
            return [*events, *self._denied(live, record.target)]
        self._asked[live.pid] = record.target, now
        if record.target == NAMELESS:
            live.unwanted = live.unwanted or "where your forward goes cannot be put on record"
        return events

    def _keep(self, record: Forward, now: float) -> None:
        since, kept = self._early.setdefault(record.pid, (now, []))
        if now - since > EARLY_SECONDS:  # of an earlier process with this number
            kept.clear()
            self._early[record.pid] = now, kept
        if len(kept) <= MAX_DENIALS:
            kept.append(record)
        if len(self._early) > MAX_EARLY_PROCESSES:
            self._early.popitem(last=False)

    def _catch_up(self, pid: int, now: float) -> list[Event]:
        since, kept = self._early.pop(pid, (now, []))
        if now - since > EARLY_SECONDS:
            return []
        return [event for record in kept for event in self._forward(record, now)]

    def _denied(self, live: LiveConnection, target: str) -> list[Event]:
        live.denials += 1
        if live.denials > MAX_DENIALS:
            # It ends, and how often it asked until then is nothing that anybody needs a line each for.
            live.unwanted = live.unwanted or f"more than {MAX_DENIALS} forwards were refused on this connection"
            return []
        return [("forward_denied", {"conn": live.conn, "kind": "denied", "target": target})]

    def _settle(self, live: LiveConnection) -> list[Event]:
        if live.pid not in self._asked:
            return []
        target, _ = self._asked.pop(live.pid)
        live.forwards += 1
        return [("forward_open", {"conn": live.conn, "kind": "jump", "target": target})]

    def _failed(self, source: Source, attempt: _Attempt) -> Event:
        fields = {"user": attempt.user, "key_fp": attempt.key_fp, "reason": attempt.why}
        return "auth_fail", _from(source) | {name: value for name, value in fields.items() if value}


def _from(source: Source) -> Json:
    return {"src_ip": source[0], "src_port": source[1]}
