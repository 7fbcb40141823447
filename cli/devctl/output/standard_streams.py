"""The process's standard streams: opened if closed, given up when the reader left."""

from __future__ import annotations

import os
import sys

from devservers_core.errors import READER_LEFT


def open_closed_streams() -> None:
    """Open closed standard streams on /dev/null, as cron and `>&-` leave them.

    Left closed, its number would be given to the next file or connection, and output written into that.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is not None:
            continue
        opened = os.open(os.devnull, os.O_RDWR)
        os.set_inheritable(opened, True)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)
        setattr(sys, name, os.fdopen(number, mode))


def reader_left() -> int:
    """Give up stdout and stderr after a broken pipe; return the exit code of SIGPIPE.

    Nothing more can be said to it, not even what waits to be written.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
    return READER_LEFT


def write_all(descriptor: int, data: bytes) -> None:
    """Write all bytes to a file descriptor, blocking or not."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            import select

            select.select([], [descriptor], [])
