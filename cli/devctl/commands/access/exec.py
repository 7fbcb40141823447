"""`devctl exec` and `devctl shell`: run commands through the API server, without SSH."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from devctl.options import Replica, ServerName
from devctl.output import console
from devctl.output.errors import from_api
from devctl.resources import pods
from devctl.resources.exec_all import run_in_containers
from devctl.resources.exec_stream import run_in_container
from devctl.resources.replicas import check_replica, replicas_of
from devservers_core import names
from devservers_core.errors import USAGE, ApiError, CommandError

if TYPE_CHECKING:
    from devctl.context import Context
    from devservers_core.types import Json


LOGIN_SHELL = "/opt/devservers/bin/devserver-login"
"""The login shell of SSH sessions: the image's shell, in the server's environment (images/agent)."""
_LOGIN_SCRIPT = f"""\
[ -z "$2" ] || export TERM="$2"
[ ! -x {LOGIN_SHELL} ] || exec {LOGIN_SHELL} --login ${{1:+-c "$1"}}
[ -z "$1" ] || exec sh -lc "$1"
if command -v bash >/dev/null 2>&1; then exec bash -l; else exec sh -l; fi
"""
"""A shell script with two arguments: a command line or "", and a terminal type or "".

The last two lines are for servers that were started before their image had LOGIN_SHELL."""


def exec_command(
    context: Context,
    name: ServerName,
    command: Annotated[list[str] | None, typer.Argument(help="The command; better after --.")] = None,
    stdin: Annotated[bool, typer.Option("--stdin", "-i", help="Pass standard input to the command.")] = False,
    tty: Annotated[
        bool, typer.Option("--tty/--no-tty", "-t/-T", help="Give the command a terminal; with -i an interactive one.")
    ] = False,
    replica: Replica = 0,
    every: Annotated[
        bool, typer.Option("--all", help="On every replica at once, its number before each line of output.")
    ] = False,
) -> int:
    """Run a command in a server without SSH. Its exit code is passed on.

    devctl exec NAME [--replica N | --all] -- COMMAND...

    With --all the exit code is that of the first replica, by number, whose command failed.

    The command reads standard input only with -i, as with kubectl: `devctl exec -i mydev -- tar x < files.tar`,
    `devctl exec -it mydev -- python3`. Ctrl-C ends devctl; without -it the command itself goes on in the server.
    """
    arguments = [*(command or []), *(context.rest or [])]
    if not arguments:
        raise CommandError("there is no command to run", f"write `devctl exec {name} -- COMMAND`", USAGE)
    if tty and stdin and not sys.stdin.isatty():
        console.warn("standard input is not a terminal, so the command is given none")
        tty = False
    if not every:
        return run_in_server(context, name, arguments, terminal=tty, stdin=stdin, replica=replica)
    if tty or stdin or replica:
        raise CommandError("--all goes with a command alone", "leave -i, -t and --replica out", USAGE)
    return _run_in_all(context, name, arguments)


def shell_command(context: Context, name: ServerName) -> int:
    """Open a shell in a server without SSH, or run a command line in one.

    devctl shell NAME [-- COMMAND LINE]
    """
    line = " ".join(context.rest or [])
    term = context.environ.get("TERM", "") if sys.stdin.isatty() else ""
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    try:
        arguments = ["/bin/sh", "-c", _LOGIN_SCRIPT, "sh", line, term]
        return run_in_server(context, name, arguments, terminal=terminal, stdin=True)
    except CommandError as failure:
        if "/bin/sh" not in failure.what:
            raise
        # It knows where else a shell could be, and says why not.
        arguments = [LOGIN_SHELL, "--login", *(["-c", line] if line else [])]
        return run_in_server(context, name, arguments, terminal=terminal, stdin=True)


def run_in_server(
    context: Context, name: str, command: list[str], *, terminal: bool, stdin: bool, replica: int = 0
) -> int:
    """Run `command` in a server, or in a replica of it, with this process's streams; return its exit code.

    The code is 255 when the connection broke.
    """
    server, stopped = _running_server(context, name)
    check_replica(server, replica)
    pod = pods.of_server(context, server, replica)
    try:
        return run_in_container(
            context, (context.namespace, pod, names.MAIN_CONTAINER), command, name, terminal=terminal, stdin=stdin
        )
    except ApiError as error:
        if error.status in (400, 404, 500) and stopped:
            raise stopped from None
        raise from_api(error, f"run a command in {name}") from None


def _running_server(context: Context, name: str) -> tuple[Json, CommandError | None]:
    """A server, and why it can't be reached now. Raises CommandError when it is stopped."""
    server = context.server(name)
    stopped = pods.not_running(server)
    if stopped and not server["spec"].get("running", True):
        raise stopped
    return server, stopped


def _run_in_all(context: Context, name: str, command: list[str]) -> int:
    """Run `command` on every replica at once; return the first exit code that is not 0. Raises CommandError."""
    server, stopped = _running_server(context, name)
    if stopped:
        raise stopped
    replicas = replicas_of(server) or 1
    targets = [
        (str(number), (context.namespace, pods.of_server(context, server, number), names.MAIN_CONTAINER))
        for number in range(replicas)
    ]
    try:
        codes = run_in_containers(context, targets, command)
    except ApiError as error:
        raise from_api(error, f"run a command in {name}") from None
    return next((code for code in codes if code), 0)
