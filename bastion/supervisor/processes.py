"""Lists and ends processes of the container, and writes to terminals.

Invariant: a process is ended only when it belongs to a connection that is to end, or to none at all.

The supervisor may have neither KILL nor DAC_OVERRIDE: to signal a person's process or to write on their terminal it
becomes that person for the moment (seteuid(2) needs SETUID only, and kill(2) compares uids). One thread only.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from devservers_core.names import FIRST_UID


@dataclass(frozen=True)
class Process:
    """A process as /proc shows it."""

    pid: int
    parent: int
    uid: int
    terminal: int
    """The device number of its terminal, 0 without one."""
    memory: int
    """Bytes that are its own (RssAnon); pages it shares with its parent since fork count for both."""


def list_processes() -> dict[int, Process]:
    """Every process that is not a zombie, by pid. Raises OSError, rather than to leave one out that is there."""
    by_pid = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError, ValueError, IndexError):
            # The command's name may hold anything, so the fields are counted from the last bracket.
            fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
            if fields[0] not in "ZX":
                # Not the owner of the folder: that is root for sshd, which forbids tracing.
                status = (entry / "status").read_text(errors="replace")
                uid = int(status.partition("\nUid:")[2].split(maxsplit=1)[0])
                # One that is just ending has none any more.
                memory = int((status.partition("\nRssAnon:")[2].split(maxsplit=1) or ["0"])[0]) * 1024
                by_pid[int(entry.name)] = Process(int(entry.name), int(fields[1]), uid, int(fields[4]), memory)
    return by_pid


def with_descendants(everyone: dict[int, Process], roots: set[int]) -> list[Process]:
    """The roots and all that descend from them, parents first."""
    selected: list[Process] = []
    pids = set(roots)
    for pid in sorted(roots & everyone.keys()):
        selected.append(everyone[pid])
    grown = True
    while grown:
        grown = False
        for process in everyone.values():
            if process.parent in pids and process.pid not in pids:
                pids.add(process.pid)
                selected.append(process)
                grown = True
    return selected


def orphans(everyone: dict[int, Process], roots: set[int], myself: int) -> list[Process]:
    """People's processes whose connection is gone: they fell to the supervisor, and nobody waits for them."""
    kept = {process.pid for process in with_descendants(everyone, roots)}
    fallen = [p for p in everyone.values() if p.parent == myself and p.uid >= FIRST_UID and p.pid not in kept]
    return with_descendants(everyone, {process.pid for process in fallen})


def strays(everyone: dict[int, Process], roots: set[int]) -> set[int]:
    """People's processes that belong to no connection we know of."""
    kept = {process.pid for process in with_descendants(everyone, roots)}
    return {process.pid for process in everyone.values() if process.uid >= FIRST_UID and process.pid not in kept}


def send_signal(processes: list[Process], number: signal.Signals) -> None:
    """Send a signal to each. One that is gone already is fine."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError, PermissionError), _as_user(process.uid):
            os.kill(process.pid, number)


def write_to_terminals(processes: list[Process], text: str) -> int:
    """A line on each terminal that these processes have; on how many it was written."""
    written = 0
    for device, uid in {process.terminal: process.uid for process in processes if process.terminal}.items():
        path = Path(f"/dev/pts/{_number(device)}")
        with contextlib.suppress(OSError), _as_user(uid):
            # A terminal that is stopped, or not one at all, must not stop the supervisor.
            file = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
            try:
                if os.isatty(file):
                    os.write(file, f"\r\n*** {text}\r\n".encode())
                    written += 1
            finally:
                os.close(file)
    return written


def _number(device: int) -> int:
    """The N of /dev/pts/N: major numbers 136 and up, 256 of them each (Linux, devices.txt)."""
    return (os.major(device) - 136) * 256 + os.minor(device) if os.major(device) >= 136 else -1


@contextlib.contextmanager
def _as_user(uid: int) -> Iterator[None]:
    if uid == 0 or os.geteuid() != 0:
        yield
        return
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
