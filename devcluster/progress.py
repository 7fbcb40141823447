"""Reports progress on stderr: one line a step, updated on a terminal."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

LOG_EVERY = 25.0
"""Seconds between two lines about one step where lines can't be rewritten: on a busy machine too, 30 at most."""


def duration(seconds: float) -> str:
    """Seconds as a person reads them: ``0.4s``, ``12s``, ``3m05s``."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


class Progress:
    """Prints steps as they begin, go on and end, with the time each took and the time since the start."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._began = time.monotonic()

    def say(self, text: str) -> None:
        """One line for the person."""
        self._stream.write(text + "\n")
        self._stream.flush()

    def total(self) -> str:
        """The time since the start."""
        return duration(time.monotonic() - self._began)

    @contextmanager
    def step(self, what: str, where: str = "", *, prints: bool = False) -> Iterator[None]:
        """Show ``what`` while the block runs; ``where`` places it among its peers (``tool 2 of 6``).

        With ``prints`` the block writes to the terminal itself, so no line of ours is written over.
        """
        begin = time.monotonic()
        live = self._live and not prints
        done = threading.Event()
        label = f"{what} ({where})" if where else what

        def line(mark: str, end: str) -> None:
            now = time.monotonic()
            total = f", {duration(now - self._began)} in all" if now - self._began > now - begin + 1 else ""
            self._stream.write(f"{mark} {label}  {duration(now - begin)}{total}{end}")
            self._stream.flush()

        def tick() -> None:
            while not done.wait(1.0 if live else LOG_EVERY):
                # What prints itself may be in the middle of a line: Pulumi's dots, one a second, are.
                line("\r\x1b[K  …" if live else "\n  …" if prints else "  …", "" if live else "\n")

        thread = threading.Thread(target=tick, daemon=True)
        thread.start()
        mark = "  ✗"
        try:
            yield
            mark = "  ✓"
        finally:
            done.set()
            thread.join()
            line(("\r\x1b[K" if live else "") + mark, "\n")
