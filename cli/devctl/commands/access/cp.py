"""`devctl cp`: copy files between this machine and a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from devctl.ssh import copy
from devservers_core.errors import USAGE, CommandError

if TYPE_CHECKING:
    from devctl.context import Context


def cp_command(
    context: Context,
    places: Annotated[
        list[str] | None, typer.Argument(metavar="SRC... DST", help="Files; NAME:PATH is on a server, NAME: its home.")
    ] = None,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Copy folders with all that is in them.")
    ] = False,
) -> int:
    """Copy files between this machine and a server, with scp.

    For example:

    devctl cp results.csv mydev:

    devctl cp -r mydev:runs/7 ./runs

    A path without a slash in front is below the server's home. A server that is starting is waited for.
    """
    given = [*(places or []), *(context.rest or [])]
    if len(given) < 2:
        raise CommandError("a copy needs a source and a target", "write `devctl cp SRC DST`", USAGE)
    *sources, target = [copy.parse_place(text) for text in given]
    return copy.copy(context, sources, target, recursive=recursive)
