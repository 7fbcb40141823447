"""`devctl cancel`: end a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from devctl.options import ServerName
from devctl.resources.runs.reference import parse_run
from devctl.ssh import connect
from devctl.ssh.run_stream import DEVSERVER

if TYPE_CHECKING:
    from devctl.context import Context


def cancel_command(
    context: Context,
    name: ServerName,
    run: Annotated[str | None, typer.Argument(help="The run; NAME/RUN is the same.")] = None,
    kill: Annotated[bool, typer.Option("--kill", help="End it at once.")] = False,
) -> int:
    """Ask a run to end, as Ctrl-C does in its terminal."""
    server, run = parse_run(name, run)
    return connect.connect(context, server, [DEVSERVER, "cancel", run, *(["--kill"] if kill else [])])
