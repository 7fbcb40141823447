"""Invariant: no process of a person's stays that belongs to no connection on record.

Who is on no record is past every limit and every revocation too. Such processes are those whose connection is gone,
and those of a login that sshd's log did not tell of: another OpenSSH may write its lines in another form.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from bastion.supervisor import processes
from bastion.supervisor.connections import Connections, Live


class Sweeper:
    """Looks through all processes of the container."""

    def __init__(self, table: Connections, most: int, log: Callable[[str], None]) -> None:
        """`most` is how many processes a person may have here."""
        self._table = table
        self._most = most
        self._log = log
        self._strays: set[int] = set()
        """Of the last sweep."""

    def sweep(self, draining: bool) -> list[tuple[Live, str]]:
        """Ends who is on no record; the connections that are to end too, and why."""
        everyone = processes.processes()
        lost = processes.orphans(everyone, set(self._table.live), os.getpid())
        if lost and not draining:
            self._log(f"ending {len(lost)} processes without a connection")
        processes.end(lost, signal.SIGKILL)
        self._end_strays(everyone)
        return self._too_many(everyone)

    def _end_strays(self, everyone: dict[int, processes.Process]) -> None:
        """Those seen twice: the log may come after the process."""
        strays = processes.strays(everyone, set(self._table.live))
        if unknown := strays & self._strays:
            self._log(f"ALERT ending {len(unknown)} processes of logins that sshd's log did not tell of")
            processes.end([everyone[pid] for pid in unknown], signal.SIGKILL)
        self._strays = strays

    def _too_many(self, everyone: dict[int, processes.Process]) -> list[tuple[Live, str]]:
        found = []
        counts: dict[str, int] = {}
        for live in sorted(self._table.live.values(), key=lambda live: live.since):
            counts[live.user] = counts.get(live.user, 0) + len(processes.below(everyone, {live.pid}))
            if counts[live.user] > self._most and not live.ending:
                found.append((live, f"you have more than {self._most} processes here, which is the limit"))
        return found
