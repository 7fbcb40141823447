"""Arguments and options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from devctl import completion

Output = Annotated[
    str | None,
    typer.Option(
        "-o",
        "--output",
        metavar="FORMAT",
        help="table, wide, json, yaml or name.",
        autocompletion=completion.outputs,
    ),
]
DocumentOutput = Annotated[
    str | None,
    typer.Option("-o", "--output", metavar="FORMAT", help="table, json or yaml.", autocompletion=completion.outputs),
]
ServerName = Annotated[str, typer.Argument(help="The server.", autocompletion=completion.servers)]
Wait = Annotated[
    str | None, typer.Option(metavar="[DURATION]", help="Wait until it is ready, 10m if no duration is given.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
