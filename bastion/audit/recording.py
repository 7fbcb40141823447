"""Recordings of what a session's terminal showed, as asciicast v2.

Invariant: a recording is a valid asciicast v2 file after every write (https://docs.asciinema.org/manual/asciicast/v2/:
a header line, then one event a line), and neither a flood nor a long night fills the volume: what goes beyond the
window's size is counted and said, not stored.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bastion.audit.recording_store import BLOCK, SUFFIX, RecordingStore
from bastion.paths import Paths
from devservers_core.sanitizer import TerminalSanitizer

WINDOW_SECONDS = 10.0
WINDOW_BYTES = 256 * 1024
MAX_BYTES = 64 * 2**20
"""Of one recording."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)


class RecordingNotFoundError(ValueError):
    """There is no such recording, or it can't be read; the text names it."""


class Recording:
    """One session being recorded."""

    def __init__(
        self,
        folder: Path,
        user: str,
        session: str,
        size: tuple[int, int],
        clock: Callable[[], float] = time.time,
        store: RecordingStore | None = None,
    ) -> None:
        """Makes FOLDER/USER/SESSION.cast; `size` is columns and rows. Raises OSError."""
        self._store = store or RecordingStore(folder)
        self._user = user
        self._taken = 0
        if not self._take(BLOCK):
            raise OSError(errno.ENOSPC, "the recordings under way fill their room")
        self._clock = clock
        self._begin = clock()
        self._window = 0.0
        self._in_window = self._total = self._dropped = 0
        place = folder / user
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = place / f"{session}{SUFFIX}"
        self._file = self.path.open("x", encoding="utf-8")
        os.fchmod(self._file.fileno(), 0o600)
        header = {"version": 2, "width": size[0], "height": size[1], "timestamp": int(self._begin)}
        self._write(header | {"title": f"{user} {session}"})

    def output(self, data: str) -> None:
        """What the terminal showed."""
        at = self._clock() - self._begin
        if at - self._window >= WINDOW_SECONDS:
            self._tell_dropped(at)
            self._window, self._in_window = at, 0
        if not self._kept(at, "o", data):
            self._dropped += len(data.encode(errors="replace"))

    def resize(self, columns: int, rows: int) -> None:
        """The terminal has another size now."""
        self._kept(self._clock() - self._begin, "r", f"{columns}x{rows}")

    def close(self) -> None:
        """The session is over."""
        self._tell_dropped(self._clock() - self._begin)
        self._file.close()
        self._store.mark_finished(self.path, self._taken)

    def _kept(self, at: float, kind: str, data: str) -> bool:
        """Writes an event if there is room for what it is as text."""
        size = len(json.dumps([round(at, 6), kind, data])) + 1
        if self._in_window + size > WINDOW_BYTES or self._total + size > MAX_BYTES or not self._take(size):
            return False
        self._in_window += size
        self._total += size
        self._event(at, kind, data)
        return True

    def _take(self, size: int) -> bool:
        taken = self._store.reserve(self._user, size)
        self._taken += size if taken else 0
        return taken

    def _tell_dropped(self, at: float) -> None:
        if self._dropped:
            self._event(at, "m", f"{self._dropped} bytes not recorded")
            self._dropped = 0

    def _event(self, at: float, kind: str, data: str) -> None:
        self._write([round(at, 6), kind, data])

    def _write(self, value: object) -> None:
        self._file.write(json.dumps(value, ensure_ascii=True) + "\n")
        self._file.flush()


@dataclass(frozen=True)
class RecordingInfo:
    """A stored recording: user, session, begin (seconds since 1970), length, size."""

    user: str
    session: str
    began: float
    seconds: float
    bytes: int


def list_recordings(folder: Path, user: str | None = None) -> list[RecordingInfo]:
    """All recordings, oldest first; of one person if given. Files that are no recording are passed over."""
    recordings = []
    for path in folder.glob(f"*/*{SUFFIX}"):
        if user is not None and path.parent.name != user:
            continue
        try:
            header, seconds = _header(path), _last(path)
            recordings.append(
                RecordingInfo(path.parent.name, path.stem, float(header["timestamp"]), seconds, path.stat().st_size)
            )
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return sorted(recordings, key=lambda each: each.began)


def frames(folder: Path, session: str, longest_pause: float = 2.0) -> Iterator[tuple[float, str]]:
    """Of a recording: (seconds to wait, text to show) in order. Raises RecordingNotFoundError."""
    if not _NAME.fullmatch(session):
        raise RecordingNotFoundError(f"{session!r} is not a session")
    paths = list(folder.glob(f"*/{session}{SUFFIX}"))
    if not paths:
        raise RecordingNotFoundError(f"there is no recording of session {session}")
    last = 0.0
    with paths[0].open(encoding="utf-8") as file:
        file.readline()
        for line in file:
            try:
                at, kind, data = json.loads(line)
            except ValueError:
                return  # the line that is just being written
            if kind in ("o", "m"):
                yield min(max(at - last, 0.0), longest_pause), data if kind == "o" else f"\r\n[{data}]\r\n"
                last = at


def _header(path: Path) -> Mapping[str, Any]:
    with path.open(encoding="utf-8") as file:
        header = json.loads(file.readline())
    if not isinstance(header, dict) or header.get("version") != 2:
        raise ValueError("not asciicast v2")
    return header


def _last(path: Path) -> float:
    """The time of the last whole event, read from the end."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 2 * WINDOW_BYTES))
        for line in reversed(file.read().splitlines()):
            try:
                event = json.loads(line)
            except ValueError:
                continue
            return float(event[0]) if isinstance(event, list) else 0.0
    return 0.0


def main(arguments: list[str] | None = None) -> int:
    """`list [--user NAME]` prints one JSON object a line; `play SESSION` shows it again."""
    parser = argparse.ArgumentParser(prog="bastion.audit.recording")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list").add_argument("--user")
    play = commands.add_parser("play")
    play.add_argument("session")
    play.add_argument("--speed", type=float, default=1.0)
    options = parser.parse_args(arguments)
    folder = Paths.of().recordings
    if options.command == "list":
        for each in list_recordings(folder, options.user):
            print(json.dumps(vars(each)))
        return 0
    try:
        plain = TerminalSanitizer()
        for pause, text in frames(folder, options.session):
            time.sleep(pause / max(options.speed, 0.01))
            sys.stdout.write(plain.sanitize(text))
            sys.stdout.flush()
    except RecordingNotFoundError as error:
        print(f"{error}; `list` shows those there are", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
