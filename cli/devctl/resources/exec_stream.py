"""Runs a command in a container through the API server's exec endpoint.

Invariant: the exit code is the remote command's own; the local terminal's settings are always restored.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from devctl.output import console
from devctl.output.standard_streams import write_all
from devservers_core.errors import FAILURE, TRANSPORT, CommandError, UnreachableError

if TYPE_CHECKING:
    from devctl.context import Context
    from devservers_core.client.streams import Channels


STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255


def run_in_container(
    context: Context, target: tuple[str, str, str], command: list[str], name: str, *, terminal: bool, stdin: bool
) -> int:
    """Run `command` in a container and return its exit code.

    `target` is (namespace, pod, container); `name` is what users call it.

    Standard input is read only with `stdin`: in a shell's loop the rest of it belongs to the loop.

    Raises ApiError when the API server refuses.
    """
    channels = connect(context, target, command, terminal=terminal, stdin=stdin)
    with raw_terminal(terminal and stdin):
        status = copy_streams(channels, terminal, stdin)
    return exit_code(status, name)


def connect(
    context: Context,
    target: tuple[str, str, str],
    command: list[str],
    *,
    terminal: bool = False,
    stdin: bool = False,
    seconds: float | None = None,
) -> Channels:
    """Start `command` in a container, `target` (namespace, pod, container), and return its streams.

    `seconds` limit the connection attempt. Raises ApiError, UnreachableError.
    """
    from devservers_core.client import streams
    from devservers_core.client.paths import core_path

    namespace, pod, container = target
    query = [("container", container), ("stdout", "true")]
    query += [("stdin", "true")] if stdin else []
    query += [("tty", "true")] if terminal else [("stderr", "true")]
    query += [("command", word) for word in command]
    path = core_path(namespace, "pods", pod) + "/exec"
    return streams.connect(
        context.kube, path, query, streams.EXEC_PROTOCOLS, *([seconds] if seconds is not None else [])
    )


def read_output(
    context: Context, target: tuple[str, str, str], command: list[str], name: str, *, seconds: float, limit: int
) -> bytes:
    """Run `command` in a container without input and return its stdout.

    `target` is (namespace, pod, container); `name` is what users call it.

    Raises UnreachableError when it takes longer than `seconds` or prints more than `limit` bytes, and when the
    connection breaks; CommandError when the command fails; ApiError.
    """
    from devservers_core.client import streams

    deadline = time.monotonic() + seconds
    channels = connect(context, target, command, seconds=seconds)
    printed, status = bytearray(), None
    try:
        while time.monotonic() < deadline and len(printed) < limit:
            channels.wait([], deadline - time.monotonic())
            for channel, data in channels.receive():
                if channel == STDOUT:
                    printed += data
                elif channel == ERROR and data:
                    status = json.loads(data)
        raise UnreachableError(f"{name} did not finish its answer within {seconds:.0f} s and {limit} bytes")
    except streams.StreamClosedError:
        if status is None:
            raise UnreachableError(f"the connection to {name} broke") from None
        exit_code(status, name)
        return bytes(printed)
    finally:
        channels.close()


@contextmanager
def raw_terminal(enabled: bool) -> Iterator[None]:
    """Put the local terminal into raw mode, so that every key reaches the other side."""
    if not enabled or not sys.stdin.isatty():
        yield
        return
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setraw(descriptor)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _size() -> bytes:
    columns, rows = os.get_terminal_size(sys.stdout.fileno() if sys.stdout.isatty() else sys.stdin.fileno())
    return json.dumps({"Width": columns, "Height": rows}).encode()


@contextmanager
def resize_events(enabled: bool) -> Iterator[int | None]:
    """Yield a file descriptor that turns readable when the window's size changes."""
    if not enabled or not (sys.stdin.isatty() or sys.stdout.isatty()):
        yield None
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = signal.signal(signal.SIGWINCH, lambda *_: os.write(writer, b"w"))
    os.write(writer, b"w")  # the first size
    try:
        yield reader
    finally:
        signal.signal(signal.SIGWINCH, before)
        os.close(reader)
        os.close(writer)


def copy_streams(channels: Channels, terminal: bool, reading: bool) -> dict[str, Any] | None:
    """Copy stdin (if `reading`), stdout, stderr and window sizes until the other side ends.

    Returns its Status, None when the connection broke.
    """
    from devservers_core.client import streams

    status: dict[str, Any] | None = None
    stdin: int | None = sys.stdin.fileno() if reading else None
    next_ping = time.monotonic() + streams.PING_EVERY
    with resize_events(terminal) as resized:
        try:
            while True:
                readers = [] if channels.congested or stdin is None else [stdin]
                readers += [resized] if resized is not None else []
                ready = channels.wait(readers, max(next_ping - time.monotonic(), 0))
                if time.monotonic() >= next_ping:
                    channels.ping()
                    next_ping = time.monotonic() + streams.PING_EVERY
                if resized is not None and resized in ready:
                    os.read(resized, 1024)
                    channels.send(RESIZE, _size())
                if stdin is not None and stdin in ready:
                    data = os.read(stdin, streams.CHUNK)
                    if data:
                        channels.send(STDIN, data)
                    else:
                        stdin = None
                        if channels.protocol.startswith("v5."):
                            channels.send(CLOSE, bytes([STDIN]))
                for channel, data in channels.receive():
                    if channel == STDOUT:
                        write_all(1, data)
                    elif channel == STDERR:
                        write_all(2, data)
                    elif channel == ERROR and data:
                        status = json.loads(data)
        except streams.StreamClosedError:
            return status
        finally:
            channels.close()


def exit_code(status: dict[str, Any] | None, name: str) -> int:
    """The remote command's exit code from the Status on the error channel."""
    if status is None:
        console.info(f"the connection to {name} broke")
        return TRANSPORT
    if status.get("status") == "Success":
        return 0
    for cause in (status.get("details") or {}).get("causes") or []:
        if cause.get("reason") == "ExitCode":
            return int(cause.get("message", FAILURE))
    message = str(status.get("message", "the command could not be run"))
    if "not found" in message or "no such file" in message:
        missing = re.search(r'exec: "([^"]*)"', message)
        what = f"there is no command {missing[1]} in {name}" if missing else message
        raise CommandError(what, "check its spelling, or give its whole path", 127)
    raise CommandError(message, f"`devctl describe {name}` shows the server's state", TRANSPORT)
