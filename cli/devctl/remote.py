"""devctl exec and shell: what goes through the API server instead of SSH.

Invariant: the exit code is the remote command's own; the terminal is given back as it was, whatever happens.
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
from typing import TYPE_CHECKING, Annotated, Any

import typer

from devctl import complete, pods, render
from devctl.errors import from_api
from devctl.relay import write_all
from devservers_core import names
from devservers_core.errors import FAILURE, TRANSPORT, USAGE, ApiError, CommandError

if TYPE_CHECKING:
    from devctl.session import Session
    from devservers_core.client.streams import Channels

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255

LOGIN = "/opt/devservers/bin/devserver-login"
"""The login shell of SSH sessions: the image's shell, in the server's environment (images/ssh)."""
_LOGIN_SHELL = f"""\
[ -z "$2" ] || export TERM="$2"
[ ! -x {LOGIN} ] || exec {LOGIN} --login ${{1:+-c "$1"}}
[ -z "$1" ] || exec sh -lc "$1"
if command -v bash >/dev/null 2>&1; then exec bash -l; else exec sh -l; fi
"""
"""For a line (or none) and a terminal's type (or none). The last two lines are for servers that were started before
their image had that program."""

Name = Annotated[str, typer.Argument(help="The server.", autocompletion=complete.servers)]


def exec_command(
    session: Session,
    name: Name,
    command: Annotated[list[str] | None, typer.Argument(help="The command; better after --.")] = None,
    stdin: Annotated[bool, typer.Option("--stdin", "-i", help="Pass standard input to the command.")] = False,
    tty: Annotated[
        bool, typer.Option("--tty/--no-tty", "-t/-T", help="Give the command a terminal; with -i an interactive one.")
    ] = False,
) -> int:
    """Run a command in a server without SSH. Its exit code is passed on.

    devctl exec NAME -- COMMAND...

    The command reads standard input only with -i, as with kubectl: `devctl exec -i mydev -- tar x < files.tar`,
    `devctl exec -it mydev -- python3`. Ctrl-C ends devctl; without -it the command itself goes on in the server.
    """
    words = [*(command or []), *(session.rest or [])]
    if not words:
        raise CommandError("there is no command to run", f"write `devctl exec {name} -- COMMAND`", USAGE)
    if tty and stdin and not sys.stdin.isatty():
        render.warn("standard input is not a terminal, so the command is given none")
        tty = False
    return run(session, name, words, terminal=tty, stdin=stdin)


def shell_command(session: Session, name: Name) -> int:
    """Open a shell in a server without SSH, or run a command line in one.

    devctl shell NAME [-- COMMAND LINE]
    """
    line = " ".join(session.rest or [])
    term = session.environ.get("TERM", "") if sys.stdin.isatty() else ""
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    try:
        words = ["/bin/sh", "-c", _LOGIN_SHELL, "sh", line, term]
        return run(session, name, words, terminal=terminal, stdin=True)
    except CommandError as failure:
        if "/bin/sh" not in failure.what:
            raise
        # It knows where else a shell could be, and says why not.
        words = [LOGIN, "--login", *(["-c", line] if line else [])]
        return run(session, name, words, terminal=terminal, stdin=True)


def run(session: Session, name: str, command: list[str], *, terminal: bool, stdin: bool) -> int:
    """Run `command` in the server joined to our own streams; its exit code, 255 when the connection broke."""
    server = session.server(name)
    stopped = pods.not_running(server)
    if stopped and not server["spec"].get("running", True):
        raise stopped
    pod = pods.of_server(session, server)
    try:
        return in_container(
            session, (session.namespace, pod, names.MAIN_CONTAINER), command, name, terminal=terminal, stdin=stdin
        )
    except ApiError as error:
        if error.status in (400, 404, 500) and stopped:
            raise stopped from None
        raise from_api(error, f"run a command in {name}") from None


def in_container(
    session: Session, where: tuple[str, str, str], command: list[str], name: str, *, terminal: bool, stdin: bool
) -> int:
    """Run `command` in a container (namespace, pod, container) that people know as `name`; its exit code.

    Our standard input is read only with `stdin`: in a shell's loop the rest of it belongs to the loop.

    Raises ApiError when the API server does not let us.
    """
    from devservers_core.client import streams
    from devservers_core.client.paths import core_path

    namespace, pod, container = where
    query = [("container", container), ("stdout", "true")]
    query += [("stdin", "true")] if stdin else []
    query += [("tty", "true")] if terminal else [("stderr", "true")]
    query += [("command", word) for word in command]
    path = core_path(namespace, "pods", pod) + "/exec"
    channels = streams.connect(session.kube, path, query, streams.EXEC_PROTOCOLS)
    with raw_terminal(terminal and stdin):
        status = pump(channels, terminal, stdin)
    return exit_code(status, name)


@contextmanager
def raw_terminal(wanted: bool) -> Iterator[None]:
    """Our terminal in raw mode, so that every key reaches the other side; as it was afterwards."""
    if not wanted or not sys.stdin.isatty():
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
def resizes(wanted: bool) -> Iterator[int | None]:
    """A file descriptor that turns readable when the window changed its size."""
    if not wanted or not (sys.stdin.isatty() or sys.stdout.isatty()):
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


def pump(channels: Channels, terminal: bool, reading: bool) -> dict[str, Any] | None:
    """Carry stdin (if `reading`), stdout, stderr and window sizes until the other side ends.

    Returns its Status, None when the connection broke.
    """
    from devservers_core.client import streams

    status: dict[str, Any] | None = None
    stdin: int | None = sys.stdin.fileno() if reading else None
    next_ping = time.monotonic() + streams.PING_EVERY
    with resizes(terminal) as resized:
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
    """The remote command's exit code from the Status of the error channel."""
    if status is None:
        render.say(f"the connection to {name} broke")
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
