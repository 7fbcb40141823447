"""Reads processes from /proc.

Invariant: the fields of a process come from one reading of its /proc/PID/stat, so they belong together.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """A process as the kernel shows it (proc(5))."""

    pid: int
    name: str
    """The program's, of which the kernel keeps 15 bytes."""
    parent: int
    started: str
    """In clock ticks since boot. A process id is used again after a while: the two together tell whose it is."""
    ended: bool
    """Whether only its entry is left, for its parent to read (a zombie)."""


def read(pid: int) -> Process | None:
    """The process with that id, None when there is none."""
    try:
        head, _, rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
    except OSError:
        return None
    fields = rest.split()
    return Process(pid, head.partition("(")[2], int(fields[1]), fields[19], fields[0] in "ZX")


def everything() -> list[Process]:
    """All processes of the machine."""
    processes = (read(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [process for process in processes if process is not None]


def child(pid: int) -> Process | None:
    """The first process that one has started, or None."""
    with contextlib.suppress(OSError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return read(int(children[0])) if children else None
    return None
