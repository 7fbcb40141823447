"""A terminal for devctl: types keys and waits for text on the screen."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from select import select

from tests.support.node.person import BIN, Person


class Terminal:
    """A pseudo-terminal with a devctl in it."""

    def __init__(self, person: Person, *words: str) -> None:
        self._master, slave = pty.openpty()
        self.resize(24, 100)
        env = person.platform.env | {"TERM": "xterm", "PATH": f"{BIN}:{person.platform.env['PATH']}"}
        self.process = subprocess.Popen(
            [str(BIN / "devctl"), *words], stdin=slave, stdout=slave, stderr=slave, env=env, start_new_session=True
        )
        os.close(slave)
        self.seen = ""

    def resize(self, rows: int, columns: int) -> None:
        """Change the window's size, as dragging its corner does."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._master, text.encode())

    def expect(self, text: str, seconds: float = 60) -> None:
        """Wait until `text` has been shown."""
        deadline = time.monotonic() + seconds
        while text not in self.seen:
            assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {text!r}; seen: {self.seen[-2000:]!r}"
            if select([self._master], [], [], 0.2)[0]:
                try:
                    self.seen += os.read(self._master, 65536).decode(errors="replace")
                except OSError:  # the other end is closed
                    assert text in self.seen, self.seen[-2000:]

    def close(self) -> None:
        """Hang up."""
        os.close(self._master)
        self.process.kill()
        self.process.wait()


@contextmanager
def terminal(person: Person, *words: str) -> Iterator[Terminal]:
    """Runs devctl at a terminal, until the block ends."""
    opened = Terminal(person, *words)
    try:
        yield opened
    finally:
        opened.close()
