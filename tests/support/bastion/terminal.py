"""A terminal for a program: types keys and waits for text on the screen."""

from __future__ import annotations

import os
import pty
import select
import signal
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager

LONGEST = 30.0


class Screen:
    """A person at a terminal: what they see, and what they type."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self.seen = ""

    def until(self, text: str, seconds: float = LONGEST) -> str:
        """What was shown since the last call, up to and with `text`; AssertionError with all of it otherwise."""
        deadline = time.monotonic() + seconds
        while text not in self.seen:
            ready, _, _ = select.select([self._handle], [], [], max(deadline - time.monotonic(), 0))
            assert ready, f"not within {seconds:g} s: {text!r}; shown: {self.seen!r}"
            try:
                data = os.read(self._handle, 65536)
            except OSError:
                data = b""
            assert data, f"it ended without {text!r}: {self.seen!r}"
            self.seen += data.decode(errors="replace")
        shown, _, self.seen = self.seen.partition(text)
        return shown + text

    def type(self, text: str) -> None:
        """Keys."""
        os.write(self._handle, text.encode())

    def resize(self, rows: int, columns: int) -> None:
        """The window has another size; the kernel tells ssh."""
        termios.tcsetwinsize(self._handle, (rows, columns))

    def interrupt(self) -> None:
        """Ctrl-C until there is a prompt: one that comes between two looks of Python's readline waits for a key."""
        for attempt in range(10):
            self.type("\x03")
            try:
                self.until("devctl> ", 2)
                return
            except AssertionError:
                assert attempt < 9

    def rest(self) -> str:
        """Everything until the end."""
        while True:
            try:
                data = os.read(self._handle, 65536)
            except OSError:
                data = b""
            if not data:
                return self.seen
            self.seen += data.decode(errors="replace")


@contextmanager
def at_a_terminal(command: list[str]) -> Iterator[tuple[Screen, int]]:
    """Runs a program on a new terminal; the screen and its pid."""
    pid, handle = pty.fork()
    if not pid:
        try:
            os.execvp(command[0], command)
        finally:
            os._exit(127)
    try:
        yield Screen(handle), pid
    finally:
        os.close(handle)
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass


def ended(pid: int) -> int:
    """The exit code."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
