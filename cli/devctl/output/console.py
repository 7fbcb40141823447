"""Lines on standard output and standard error, in colour on a terminal.

Invariant: data goes to stdout, messages to stderr. No escape sequence is written when the stream is no terminal,
NO_COLOR is set or TERM is dumb.
"""

from __future__ import annotations

import os
import sys
from typing import TextIO

_COLOURS = {"red": "31", "green": "32", "yellow": "33", "cyan": "36", "bold": "1", "dim": "2"}
PHASE_COLOURS = {
    "Running": "green",
    "Starting": "cyan",
    "Pending": "yellow",
    "Stopping": "yellow",
    "Stopped": "dim",
    "Failed": "red",
    "Terminating": "dim",
}


def use_colour(stream: TextIO) -> bool:
    """Whether escape sequences may go to `stream`."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, colour: str, stream: TextIO | None = None) -> str:
    """Return `text` in a colour if the stream (default: stdout) may have it."""
    if colour not in _COLOURS or not use_colour(stream or sys.stdout):
        return text
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m"


def echo(text: str) -> None:
    """Write a line of data to stdout."""
    sys.stdout.write(text + "\n")


def info(text: str) -> None:
    """Write a message to stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def warn(text: str) -> None:
    """Write a warning to stderr."""
    info(paint("warning:", "yellow", sys.stderr) + " " + printable(text))


def printable(text: str) -> str:
    """Replace control characters: text from the cluster must not control a terminal."""
    return "".join(c if c.isprintable() else " " for c in text)
