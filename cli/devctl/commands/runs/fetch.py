"""`devctl fetch`: copy results of a run to this machine."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated

import typer

from devctl.options import ServerName
from devctl.resources.runs.reference import parse_run
from devctl.ssh import copy
from devservers_core.errors import USAGE, CommandError

if TYPE_CHECKING:
    from devctl.context import Context


def fetch_command(
    context: Context,
    name: ServerName,
    run: Annotated[str, typer.Argument(help="The run.")],
    path: Annotated[str, typer.Argument(help="A file or folder, as from the folder of the run.")],
    destination: Annotated[str, typer.Argument(metavar="[DEST]", help="Where to; this folder by default.")] = ".",
) -> int:
    """Copy a file or a folder that a run of `devctl run` has written to this machine, with scp.

    devctl fetch mydev run-20261130-193000 results

    The folder of a run is ~/runs/RUN in the server.
    """
    server, run = parse_run(name, run)
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise CommandError(
            f"{path} is not within the folder of the run", f"`devctl cp {server}:{path} .` copies any file", USAGE
        )
    return copy.copy(context, [copy.Place(server, f"runs/{run}/{path}")], copy.Place(None, destination), recursive=True)
