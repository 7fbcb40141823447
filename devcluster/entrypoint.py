"""Runs the commands of a typer application: errors as two lines, tracebacks only with --debug."""

from __future__ import annotations

import sys

import typer

from devservers_core.errors import INTERRUPTED

DEBUG = "--debug"


def run(app: typer.Typer, known: tuple[type[Exception], ...]) -> int:
    """Run the command of ``sys.argv``; returns the exit code.

    ``known`` are errors that a person can cause or cure: their text is all that is printed.
    """
    try:
        code = app([word for word in sys.argv[1:] if word != DEBUG], standalone_mode=False)
    except known as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except Exception as error:
        if DEBUG in sys.argv:
            raise
        print(f"\nfailed unexpectedly: {type(error).__name__}: {error}", file=sys.stderr)
        print("  run it again with DEBUG=1 and report what it prints", file=sys.stderr)
        return 1
    if code == INTERRUPTED:  # typer's own answer to Ctrl-C
        print("\nstopped; the same command goes on where this one was", file=sys.stderr)
    return code if isinstance(code, int) else 0
