"""Ends processes without a connection, and those over a limit.

Invariant: no process of a person's stays that belongs to no connection on record.

A process that is not in the table escapes all limits and revocations. Such processes are those whose connection is
gone, and those of a login that sshd's log did not show: another OpenSSH may write its lines in another form.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Mapping

from bastion.supervisor import processes
from bastion.supervisor.connections import Connections, LiveConnection
from bastion.supervisor.settings import SupervisorSettings
from devservers_core.names import FIRST_UID

LOG = logging.getLogger("bastion.supervisor")
Below = Mapping[int, list[processes.Process]]
"""The processes of each connection, by its pid."""


class ProcessSweeper:
    """Looks through all processes of the container."""

    def __init__(self, table: Connections, settings: SupervisorSettings) -> None:
        self._table = table
        self._settings = settings
        self._strays: set[int] = set()
        """Of the last sweep."""
        self._heavy: set[str] = set()
        """People above the limit at the last look at memory."""

    def sweep(self, draining: bool) -> list[tuple[LiveConnection, str]]:
        """Ends processes without a connection; gives the connections that must end too, and why."""
        everyone = processes.list_processes()
        lost = processes.orphans(everyone, set(self._table.live), os.getpid())
        if lost and not draining:
            LOG.warning("ending %d processes without a connection", len(lost))
        processes.send_signal(lost, signal.SIGKILL)
        self._end_strays(everyone)
        return self._too_many(self._below(everyone))

    def check_memory(self) -> list[tuple[LiveConnection, str]]:
        """Ends the largest command of who takes too much memory.

        Returns the connections that are to end too, and why.

        At once, not politely: what a command takes within the seconds of a polite end is everybody's. Who is above the
        limit at one look only, but not twice above it, stays: twenty prompts that greet at once are, for a moment.
        """
        if not self._table.live:
            return []
        below = self._below(processes.list_processes())
        large = self._too_large(below)
        heavy = {live.user for live, _ in large}
        twice = {live.user for live, _ in self._too_large(below, 2)}
        offenders = [each for each in large if each[0].user in self._heavy | twice]
        self._heavy = heavy
        for live, _ in offenders:
            commands = [process for process in below[live.pid] if process.uid >= FIRST_UID]
            if commands:
                largest = max(commands, key=lambda process: process.memory)
                processes.send_signal(
                    processes.with_descendants({p.pid: p for p in commands}, {largest.pid}), signal.SIGKILL
                )
        return offenders

    def _below(self, everyone: dict[int, processes.Process]) -> Below:
        return {live.pid: processes.with_descendants(everyone, {live.pid}) for live in self._table.live.values()}

    def _end_strays(self, everyone: dict[int, processes.Process]) -> None:
        """Those seen twice: the log may come after the process."""
        strays = processes.strays(everyone, set(self._table.live))
        if unknown := strays & self._strays:
            LOG.error("ending %d processes of logins that sshd's log did not tell of", len(unknown))
            processes.send_signal([everyone[pid] for pid in unknown], signal.SIGKILL)
        self._strays = strays

    def _too_many(self, below: Below) -> list[tuple[LiveConnection, str]]:
        offenders = []
        counts: dict[str, int] = {}
        for live in sorted(self._table.live.values(), key=lambda live: live.since):
            counts[live.user] = counts.get(live.user, 0) + len(below[live.pid])
            if counts[live.user] > self._settings.max_processes and not live.ending:
                most = self._settings.max_processes
                offenders.append((live, f"you have more than {most} processes here, which is the limit"))
        return offenders

    def _too_large(self, below: Below, times: int = 1) -> list[tuple[LiveConnection, str]]:
        """Of each person who takes too much memory the connections that take most, until the rest is within it."""
        sizes: dict[str, list[tuple[int, LiveConnection]]] = {}
        for live in self._table.live.values():
            if not live.ending:
                size = sum(process.memory for process in below[live.pid])
                sizes.setdefault(live.user, []).append((size, live))
        most = self._settings.max_memory
        why = f"your commands take more than {most >> 20} MiB of memory here, which is the limit"
        offenders = []
        for own in sizes.values():
            rest = sum(size for size, _ in own)
            if rest <= most * times:
                continue
            for size, live in sorted(own, key=lambda each: each[0], reverse=True):
                if rest <= most:
                    break
                offenders.append((live, why))
                rest -= size
        return offenders
