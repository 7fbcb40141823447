"""Runs one command line of devctl and ends with a documented exit code.

Invariant: no exception becomes a traceback unless --debug was given.
"""

from __future__ import annotations

import os
import sys

from devctl.command_line import expand_help, quick
from devctl.command_table import overview
from devctl.output.standard_streams import open_closed_streams, reader_left
from devctl.typer_commands import run
from devservers_core.errors import FAILURE, INTERRUPTED, USAGE, ApiError, CommandError, UnreachableError


def main() -> None:
    """Run what devctl.__main__ leaves, and exit with the documented codes."""
    open_closed_streams()
    args = expand_help(sys.argv[1:])
    if args in ([], ["--help"], ["-h"]) and "_DEVCTL_COMPLETE" not in os.environ:
        try:
            print(overview(), flush=True)
        except BrokenPipeError:
            sys.exit(reader_left())
        sys.exit(0 if args else USAGE)
    debug = "--debug" in (args[: args.index("--")] if "--" in args else args)
    try:
        try:
            code = start(args)
            sys.stdout.flush()
        except BrokenPipeError:
            raise
        except KeyboardInterrupt:
            if debug:
                raise
            sys.stderr.write("\n")
            code = INTERRUPTED
        except Exception as error:
            if debug:
                raise
            code = report(error)
    except BrokenPipeError:
        code = reader_left()
    sys.exit(code)


def report(error: Exception) -> int:
    """Say in two lines what is wrong and what to do; the exit code."""
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


def start(args: list[str]) -> int:
    """Run one command line, the one that every ssh connection waits for on a short path."""
    broker = os.environ.get("DEVCTL_BROKER")
    if broker and args == ["credential"]:  # kubectl's log-in program; not for people
        from devctl.broker_client import exec_credential

        print(exec_credential(broker))
        return 0
    if not broker:
        from devctl.ssh import remote_command

        remote_command.run_on_bastion(args)
    if args[:1] in (["proxy"], ["ssh"]):
        found = quick(args)
        if found and (args[0] == "ssh" or not found[2]):
            from devctl.context import Context
            from devctl.ssh import connect

            flags, name, rest = found
            context = Context(flags, None)
            return connect.connect(context, name, rest) if args[0] == "ssh" else connect.proxy(context, name)
    return run(args)
