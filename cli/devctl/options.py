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
Replica = Annotated[
    int, typer.Option("--replica", metavar="N", help="Which replica of a distributed server, from 0 on.", min=0)
]
Wait = Annotated[
    str | None, typer.Option(metavar="[DURATION]", help="Wait until it is ready, 10m if no duration is given.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Until = Annotated[
    str | None,
    typer.Option("--until", metavar="TIME", help="Until a time of day, like 18:00, or an RFC 3339 time."),
]
TimeLimitOption = Annotated[
    str | None,
    typer.Option(
        "--time",
        "--ttl",
        metavar="DURATION",
        help="Stop it so long after its last start, like 2h30m or 1d, or at a time: 'until 18:00'.",
    ),
]
IdleTimeout = Annotated[
    str | None,
    typer.Option(
        "--idle-timeout",
        metavar="DURATION",
        help="Stop it when nothing happened in it for so long; `none` for never.",
    ),
]
Grace = Annotated[
    str | None,
    typer.Option("--grace", metavar="DURATION", help="How long its programs have to end when it stops; 10m at most."),
]
SecretVariables = Annotated[
    list[str] | None,
    typer.Option("--secret", metavar="VAR=NAME[/KEY]", help="Variable VAR from a secret of yours. Repeatable."),
]
SecretFiles = Annotated[
    list[str] | None,
    typer.Option("--secret-file", metavar="FILE=NAME[/KEY]", help="File in /etc/devservers/secrets. Repeatable."),
]
UnsetSecrets = Annotated[
    list[str] | None,
    typer.Option("--unset-secret", metavar="VAR|FILE", help="Remove a secret's variable or file. Repeatable."),
]
