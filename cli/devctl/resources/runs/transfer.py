"""Sends a folder's files to a server: a list of all, then the content of those that it asks for."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from devctl.resources.runs.folder import Folder
from devservers_core.errors import CommandError

_CHUNK = 2**20


@dataclass(frozen=True)
class Entry:
    """A file as the list describes it."""

    path: Path
    size: int
    text: bytes
    target: bytes | None
    """Where a symbolic link leads to; None for a file."""


def mirror_name(root: Path) -> str:
    """The name of a folder's copy in the home: this machine's folder has one, whatever its name."""
    place = f"{socket.gethostname()}:{root.resolve()}"
    plain = re.sub(r"[^a-z0-9_.-]+", "-", root.resolve().name.lower()).strip("-._")[:40]
    return f"{plain or 'folder'}-{hashlib.sha256(os.fsencode(place)).hexdigest()[:10]}"


def entries(folder: Folder) -> list[Entry]:
    """Describe the files of a folder. Raises CommandError for one that can't be read."""
    return [_entry(folder.root, path) for path in folder.files]


def manifest(described: Sequence[Entry]) -> bytes:
    """The list of files as the agent reads it."""
    return b"".join(entry.text + b"\0" for entry in described) + b"\0"


def content(described: Sequence[Entry], need: Sequence[int]) -> Iterator[bytes]:
    """The content of the files asked for, in order. Raises CommandError when one changed meanwhile."""
    for at in need:
        entry = described[at]
        if entry.target is not None:
            yield entry.target
            continue
        left = entry.size
        try:
            with entry.path.open("rb", buffering=0) as file:
                while left and (chunk := file.read(min(left, _CHUNK))):
                    left -= len(chunk)
                    yield chunk
        except OSError as error:
            raise _unreadable(entry.path, error) from None
        if left:
            raise CommandError(f"{entry.path} became shorter while it was sent", "run it again")


def send(described: Sequence[Entry], need: Sequence[int], out: IO[bytes]) -> int:
    """Write the content of the files asked for; return how many bytes that were."""
    sent = 0
    gathered = bytearray()
    for chunk in content(described, need):
        sent += len(chunk)
        gathered += chunk
        if len(gathered) >= _CHUNK:
            out.write(gathered)
            gathered.clear()
    out.write(gathered)
    out.flush()
    return sent


def _entry(root: Path, path: str) -> Entry:
    place = root / path
    try:
        status = place.lstat()
        # As it stands: a Path would leave out `./` and a slash at the end.
        target = os.fsencode(os.readlink(place)) if stat.S_ISLNK(status.st_mode) else None  # noqa: PTH115
    except OSError as error:
        raise _unreadable(place, error) from None
    size = status.st_size if target is None else len(target)
    kind, mode = ("f", stat.S_IMODE(status.st_mode) & 0o777) if target is None else ("l", 0o777)
    text = f"{kind} {mode:o} {size} {status.st_mtime_ns} ".encode() + os.fsencode(path)
    return Entry(place, size, text, target)


def _unreadable(path: Path, error: OSError) -> CommandError:
    return CommandError(f"{path} can't be read: {error.strerror}", "leave it out by a line in .devctlignore")
