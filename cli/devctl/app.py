"""Runs one command line of devctl and ends with a documented exit code.

Invariant: no exception becomes a traceback unless --debug was given.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from devctl import command_line
from devctl.command_line import CommandLine
from devctl.command_table import overview
from devctl.output.standard_streams import open_closed_streams, reader_left
from devservers_core.errors import FAILURE, INTERRUPTED, USAGE, ApiError, CommandError, UnreachableError


def main(arguments: Sequence[str]) -> None:
    """Run the command line with these arguments, and exit with the documented codes."""
    open_closed_streams()
    line = command_line.parse(arguments)
    if line.asks_overview and "_DEVCTL_COMPLETE" not in os.environ:
        try:
            print(overview(), flush=True)
        except BrokenPipeError:
            sys.exit(reader_left())
        sys.exit(0 if line.arguments else USAGE)
    try:
        try:
            code = start(line)
            sys.stdout.flush()
        except BrokenPipeError:
            raise
        except KeyboardInterrupt:
            if line.debug:
                raise
            sys.stderr.write("\n")
            code = INTERRUPTED
        except Exception as error:
            if line.debug:
                raise
            code = report(error)
    except BrokenPipeError:
        code = reader_left()
    sys.exit(code)


def report(error: Exception) -> int:
    """Print an error in two lines, what is wrong and what to do; return its exit code."""
    from devctl.output import console
    from devctl.output.errors import explain

    if isinstance(error, CommandError | ApiError | UnreachableError):
        failure = explain(error)
    else:
        failure = CommandError(
            f"devctl failed unexpectedly: {type(error).__name__}: {error}",
            "run it again with --debug and report what it prints",
            FAILURE,
        )
    console.info(console.paint("error:", "red", sys.stderr) + " " + console.printable(failure.what))
    console.info(console.paint("  try:", "cyan", sys.stderr) + " " + console.printable(failure.remedy))
    return failure.code


def start(line: CommandLine) -> int:
    """Run one command line: on the bastion, as a connection without typer, or with typer."""
    broker = os.environ.get("DEVCTL_BROKER")
    if broker and line.arguments == ("credential",):  # kubectl's log-in program; not for people
        from devctl.broker_client import exec_credential

        print(exec_credential(broker))
        return 0
    if not broker:
        from devctl.ssh.bastion import remote_command

        remote_command.run_on_bastion(line)
    if line.connection:
        from devctl.context import Context
        from devctl.ssh import connect

        server, rest = line.connection.server, line.connection.rest
        context = Context(line.connection.flags, None)
        if line.name == "proxy":
            return connect.proxy(context, server)
        from devctl.resources.lifecycle.planned import StopNotice

        context.on_server = StopNotice()
        return connect.connect(context, server, list(rest))
    from devctl.typer_commands import run

    return run(line)
