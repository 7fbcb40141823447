"""`devctl attach`: follow the output of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from devctl.options import ServerName
from devctl.resources.runs.reference import parse_run
from devctl.ssh.run_stream import RunStream
from devctl.ssh.server_stream import ServerConnector

if TYPE_CHECKING:
    from devctl.context import Context


def attach_command(
    context: Context,
    name: ServerName,
    run: Annotated[str | None, typer.Argument(help="The run; NAME/RUN is the same.")] = None,
) -> int:
    """Follow the output of a run from its beginning to its end. Its exit code is passed on.

    Ctrl-C asks the run to end, a second one kills it. Close the terminal, or end devctl by a signal, to let it go on.
    """
    server, run = parse_run(name, run)
    return RunStream(ServerConnector(context, server), run).attach()
