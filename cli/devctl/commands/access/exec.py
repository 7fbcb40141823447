"""`devctl exec` and `devctl shell`: run commands through the API server, without SSH."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from devctl.options import ServerName
from devctl.output import console
from devctl.output.errors import from_api
from devctl.resources import pods
from devctl.resources.exec_stream import run_in_container
from devservers_core import names
from devservers_core.errors import USAGE, ApiError, CommandError

if TYPE_CHECKING:
    from devctl.context import Context


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
) -> int:
    """Run a command in a server without SSH. Its exit code is passed on.

    devctl exec NAME -- COMMAND...

    The command reads standard input only with -i, as with kubectl: `devctl exec -i mydev -- tar x < files.tar`,
    `devctl exec -it mydev -- python3`. Ctrl-C ends devctl; without -it the command itself goes on in the server.
    """
    arguments = [*(command or []), *(context.rest or [])]
    if not arguments:
        raise CommandError("there is no command to run", f"write `devctl exec {name} -- COMMAND`", USAGE)
    if tty and stdin and not sys.stdin.isatty():
        console.warn("standard input is not a terminal, so the command is given none")
        tty = False
    return run_in_server(context, name, arguments, terminal=tty, stdin=stdin)


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


def run_in_server(context: Context, name: str, command: list[str], *, terminal: bool, stdin: bool) -> int:
    """Run `command` in a server with this process's streams; return its exit code.

    The code is 255 when the connection broke.
    """
    server = context.server(name)
    stopped = pods.not_running(server)
    if stopped and not server["spec"].get("running", True):
        raise stopped
    pod = pods.of_server(context, server)
    try:
        return run_in_container(
            context, (context.namespace, pod, names.MAIN_CONTAINER), command, name, terminal=terminal, stdin=stdin
        )
    except ApiError as error:
        if error.status in (400, 404, 500) and stopped:
            raise stopped from None
        raise from_api(error, f"run a command in {name}") from None
