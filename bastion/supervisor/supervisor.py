"""PID 1 of the sshd container: runs sshd, ends sessions, drains.

Invariant: a session lives exactly as long as its person may be here: not cut by a restart of sshd, not a second
longer than its key, and never past the end of a drain.

One thread, one loop; everything that decides is in the modules beside this one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Iterable
from datetime import UTC, datetime

from bastion.accounts.access import Access
from bastion.accounts.store import read_state
from bastion.paths import Paths
from bastion.supervisor import processes, sshd_log
from bastion.supervisor.audit_client import AuditClient
from bastion.supervisor.connections import Connections, LiveConnection
from bastion.supervisor.health import Health
from bastion.supervisor.listener import Listener
from bastion.supervisor.packets import Packets
from bastion.supervisor.settings import SupervisorSettings
from bastion.supervisor.sweeper import ProcessSweeper
from bastion.supervisor.watchdog import Watchdog

LOG = logging.getLogger("bastion.supervisor")
SSHD_LOG = logging.getLogger("bastion.sshd")
"""What sshd itself says."""
TICK_SECONDS = 0.5
SWEEP_SECONDS = 5.0
"""Seconds between two looks for processes without a connection; sshd's log may come later than a process."""
MEMORY_CHECK_SECONDS = 1.0
"""Seconds between two looks at memory: a command can take a hundred MiB in a second."""
KILL_AFTER_SECONDS = 2.0
"""Seconds from the polite end of a connection to the one that can't be refused."""
REFUSAL_SECONDS = 3.0
"""Seconds that a session over a limit has to say so to its person before its connection is ended."""
AUDIT_AWAY_SECONDS = 2.0
"""Seconds without the audit process after which a new connection is not kept: what can't be recorded isn't allowed."""
LOGIN_GRACE_SECONDS = 65.0
"""Seconds after which sshd has surely ended whoever did not log in (LoginGraceTime 60)."""


class Supervisor:
    """PID 1 of the sshd container."""

    def __init__(self, paths: Paths, listener: Listener, settings: SupervisorSettings) -> None:
        self._paths = paths
        self._listener = listener
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._access = Access(paths)
        self._table = Connections(settings.max_connections)
        self._sweeper = ProcessSweeper(self._table, settings)
        self._audit = AuditClient(paths.audit_socket, self._opened)
        self._ends: dict[int, float] = {}
        """When the connection of a pid is to be ended, or was signalled to."""
        self._polite: set[int] = set()
        self._draining = asyncio.Event()
        self._warned = False
        self._watchdog = Watchdog()
        self._unfollowed: set[int] = set()
        """Connections of whose end the kernel tells us nothing."""
        self._swept = self._memory_checked = 0.0

    async def run(self) -> int:
        """Works until a drain is over."""
        self._loop.add_signal_handler(signal.SIGTERM, self._draining.set)
        self._loop.add_signal_handler(signal.SIGINT, self._draining.set)
        self._loop.add_signal_handler(signal.SIGCHLD, self._reap)
        self._watchdog.begin("the link to the audit process", self._audit.run())
        await self._start_sshd()
        self._watchdog.begin("the look at connections", self._tick())
        health = Health(self._watchdog.faults, self.problems, self._figures)
        async with await health.serve(self._settings.health_host, self._settings.health_port):
            await self._draining.wait()
            await self._drain()
        self._watchdog.end()
        return 0

    def problems(self) -> list[str]:
        """Why nobody new should come here."""
        messages = []
        if self._draining.is_set():
            messages.append("draining")
        if not self._listener.listening:
            messages.append("sshd is not listening")
        if read_state(self._paths) is None:
            messages.append("no accounts yet: keysync has not reached the cluster")
        if self._audit.down_since is not None:
            messages.append("the audit process is away")
        return messages

    def _opened(self) -> list[tuple[str, dict[str, object]]]:
        return [("conn_open", self._table.open_fields(live)) for live in self._table.live.values()]

    def _figures(self) -> dict[str, float]:
        state = read_state(self._paths)
        age = (datetime.now(UTC) - state.synced_at).total_seconds() if state else -1
        return {
            "connections": len(self._table.live),
            "accounts": state.accounts if state else 0,
            "accounts_generation": state.generation if state else 0,
            "accounts_age_seconds": age,
            "accounts_stale": bool(state and state.stale(datetime.now(UTC))),
            "accounts_refused": bool(state and state.refused),
            "audit_away": self._audit.down_since is not None,
            "draining": self._draining.is_set(),
        }

    async def _start_sshd(self) -> None:
        _, packets = await self._loop.connect_read_pipe(Packets, self._listener.start())
        self._watchdog.begin("the reader of sshd's log", self._read(packets))

    async def _read(self, packets: Packets) -> None:
        while (text := await packets.next()) is not None:
            if not text.startswith("debug1: "):  # those are for the parser
                SSHD_LOG.info("%s", text)
            if text.startswith("Server listening on"):
                self._listener.listening = True
            record = sshd_log.parse(text)
            if record is None:
                continue
            self._audit.report(self._table.feed(record, self._loop.time()))
            if isinstance(record, sshd_log.Accepted):
                self._follow(record.pid)

    def _follow(self, pid: int) -> None:
        """Watches for the end of a connection's process, whatever ends it."""
        live = self._table.live[pid]
        if live.ending:
            LOG.warning("refused %s from %s: %s", live.user, live.source[0], live.ending)
            self._ends[pid] = self._loop.time() + REFUSAL_SECONDS
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            self._gone(pid)
            return
        except OSError as error:  # no descriptor left: nobody stays whose end would not be seen
            self._watchdog.log_once(error)
            self._unfollowed.add(pid)
            live.unwanted = "the bastion has no room for another connection; try again"
            return
        self._loop.add_reader(handle, self._gone, pid, handle)

    def _gone(self, pid: int, handle: int | None = None) -> None:
        if handle is not None:
            self._loop.remove_reader(handle)
            os.close(handle)
        self._ends.pop(pid, None)
        self._polite.discard(pid)
        self._unfollowed.discard(pid)
        # What it said last may still be in the pipe.
        self._loop.call_later(0.05, lambda: self._audit.report(self._table.process_ended(pid, self._loop.time())))

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return
                if self._listener.exited(pid) and not self._draining.is_set():
                    code = os.waitstatus_to_exitcode(status)
                    LOG.error("sshd ended with %d, starting it again; sessions go on", code)
                    self._watchdog.begin("the restart of sshd", self._restart())

    async def _restart(self) -> None:
        while self._listener.pid is None:
            await asyncio.sleep(1)
            if self._draining.is_set():
                return
            try:
                await self._start_sshd()
            except OSError as error:
                LOG.error("sshd cannot be started: %s; trying again", error)
                self._listener.stop()  # it may run without a log; when it has ended all this begins anew

    async def _tick(self) -> None:
        while True:
            self._watchdog.beat()
            await asyncio.sleep(TICK_SECONDS)
            try:
                self._check(self._loop.time())
            except OSError as error:
                self._watchdog.log_once(error)

    def _check(self, now: float) -> None:
        self._audit.report(self._table.settle_forwards(now))
        self._audit.report(self._table.expire_attempts(now, LOGIN_GRACE_SECONDS))
        for live in list(self._table.live.values()):
            self._check_access(live, now)
        self._end_due(now)
        self._warn_of_audit()
        if now - self._memory_checked >= MEMORY_CHECK_SECONDS:
            self._memory_checked = now
            self._end_all(self._sweeper.check_memory(), now)
        if now - self._swept > SWEEP_SECONDS:
            self._swept = now
            self._end_all(self._sweeper.sweep(self._draining.is_set()), now)
            self._renew()

    def _end_all(self, connections: list[tuple[LiveConnection, str]], now: float) -> None:
        for live, why in connections:
            self._end(live, "denied", why, now)

    def _check_access(self, live: LiveConnection, now: float) -> None:
        """Ends a connection whose user lost access, or that could not be recorded."""
        if live.ending:
            return
        away = self._audit.down_since
        problem = self._access.refusal(live.user, live.key_fp, datetime.now(UTC))
        if problem:
            self._end(live, "revoked", problem, now)
        elif live.unwanted:
            self._end(live, "denied", live.unwanted, now)
        elif away is not None and live.since >= away and now - live.since > AUDIT_AWAY_SECONDS:
            self._end(live, "denied", "the audit log is away, so nobody new is let in; try again in a minute", now)

    def _end(self, live: LiveConnection, event: str, why: str, now: float) -> None:
        live.ending = "revoked" if event == "revoked" else why
        LOG.warning("ending %s from %s: %s", live.user, live.source[0], why)
        self._audit.report([(event, {"conn": live.conn, "reason": why})])
        self._notify([live], f"{why}. This session ends now.")
        # Not at once: the reason is on record before the session's end is, and a person may read the line.
        self._ends[live.pid] = now + TICK_SECONDS

    def _end_due(self, now: float) -> None:
        for pid, at in list(self._ends.items()):
            if pid not in self._table.live or now < at:
                continue
            descendants = processes.with_descendants(processes.list_processes(), {pid})
            if not descendants and pid in self._unfollowed:
                self._gone(pid)
                continue
            if pid not in self._polite:
                self._polite.add(pid)
                self._ends[pid] = now + KILL_AFTER_SECONDS
                # sshd's half that works as the person goes first: it closes terminals and sockets of sessions.
                processes.send_signal(descendants, signal.SIGTERM)
                processes.send_signal(descendants, signal.SIGHUP)
            else:
                processes.send_signal(descendants, signal.SIGKILL)

    def _renew(self) -> None:
        """Takes a renewed host certificate into use."""
        with contextlib.suppress(OSError):
            if not self._draining.is_set() and self._listener.configure():
                LOG.info("the host key's files are new; sshd reads them again")
                self._listener.reload()

    def _warn_of_audit(self) -> None:
        away = self._audit.down_since is not None and self._loop.time() - self._audit.down_since > AUDIT_AWAY_SECONDS
        if away and not self._warned:
            self._notify(
                self._table.live.values(), "The audit log is away: this session goes on, new ones are refused."
            )
        self._warned = away

    def _notify(self, lives: Iterable[LiveConnection], text: str) -> int:
        roots = {live.pid for live in lives}
        with contextlib.suppress(OSError):  # a courtesy: what is announced happens anyway
            return (
                processes.write_to_terminals(processes.with_descendants(processes.list_processes(), roots), text)
                if roots
                else 0
            )
        return 0

    async def _drain(self) -> None:
        settings = self._settings
        LOG.info("draining: %d connections, at most %g s", len(self._table.live), settings.drain_seconds)
        self._audit.report([("drain", {"reason": f"begins, at most {settings.drain_seconds:g} s"})])
        deadline = self._loop.time() + settings.drain_seconds
        await asyncio.sleep(min(settings.deregister_seconds, settings.drain_seconds))
        self._listener.stop()
        end = datetime.fromtimestamp(datetime.now(UTC).timestamp() + deadline - self._loop.time(), UTC)
        self._notify(
            self._table.live.values(),
            f"This bastion restarts. Your session goes on until {end:%H:%M} UTC at most; new logins reach another.",
        )
        # A connection that is no longer checked must not stay. The watchdog's faults come with time: no event tells.
        while self._table.live and self._loop.time() < deadline and not self._watchdog.faults():  # noqa: ASYNC110
            await asyncio.sleep(TICK_SECONDS)
        for live in list(self._table.live.values()):
            live.ending = live.ending or "drain"
            self._notify([live], "This bastion's time is over. This session ends now.")
            self._ends[live.pid] = self._loop.time()
        until = self._loop.time() + 3 * KILL_AFTER_SECONDS
        while self._table.live and self._loop.time() < until:  # noqa: ASYNC110 - at most six seconds
            await asyncio.sleep(TICK_SECONDS)
        self._audit.report([("drain", {"reason": "over"})])
        await self._audit.flush(5)
        LOG.info("drained")
