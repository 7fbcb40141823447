"""Removes the locks that killed engines left in a file backend."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from pathlib import Path


def drop_dead_locks(backend: Path) -> None:
    """Remove the locks of engines of this machine that no longer run: one that was killed leaves its own behind."""
    for file in (backend / ".pulumi" / "locks").rglob("*.json"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            lock = json.loads(file.read_text())
            if lock["hostname"] == socket.gethostname() and not _runs(int(lock["pid"])):
                file.unlink()


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
