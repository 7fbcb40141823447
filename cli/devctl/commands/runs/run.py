"""`devctl run`: send a folder to a server and run a script or a command in it."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from devctl.options import ServerName
from devctl.resources.runs import transfer
from devctl.resources.runs.folder import Folder, read_folder, working_folder
from devctl.resources.runs.reference import check_run_name
from devctl.ssh.run_stream import RunStream
from devctl.ssh.server_stream import ServerConnector
from devservers_core.errors import NOT_FOUND, USAGE, CommandError

if TYPE_CHECKING:
    from devctl.context import Context

_MAX_PROCESSES = 128


def run_command(
    context: Context,
    name: ServerName,
    script: Annotated[str | None, typer.Argument(metavar="[SCRIPT ARGS...]", help="A file of the folder.")] = None,
    no_torchrun: Annotated[
        bool, typer.Option("--no-torchrun", help="Start the script by python3, not by torchrun.")
    ] = False,
    nproc_per_node: Annotated[
        int | None, typer.Option(help="Processes of torchrun; one a GPU by default.", min=1, max=_MAX_PROCESSES)
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Print the name of the run and return at once.")] = False,
    run: Annotated[str | None, typer.Option("--name", metavar="RUN", help="The name of the run.")] = None,
    share: Annotated[bool, typer.Option("--share", help="Run beside other runs on the server's GPUs.")] = False,
    directory: Annotated[
        str | None, typer.Option("--dir", metavar="FOLDER", help="The folder to send; the current one by default.")
    ] = None,
    env: Annotated[
        list[str] | None, typer.Option("--env", metavar="NAME=VALUE", help="A variable of the run. Repeatable.")
    ] = None,
) -> int:
    """Send the working folder to a server and run a script or a command in it.

    devctl run NAME [OPTIONS] SCRIPT [ARGS...], or devctl run NAME [OPTIONS] -- COMMAND [ARGS...]

    A script is started by torchrun in one process a GPU, a command as it stands. The output has the rank before each
    line, and the exit code is passed on. Ctrl-C asks the run to end, a second one kills it. The end of the connection
    ends no run: devctl connects again, and `devctl attach` follows a run from anywhere.

    What .gitignore and .devctlignore name is not sent.
    """
    if run is not None:
        check_run_name(run)
    for variable in env or []:
        if not variable.partition("=")[0] or "=" not in variable:
            raise CommandError(f"{variable!r} is no variable", "write --env NAME=VALUE", USAGE)
    command = _command(name, script, context.rest or [], no_torchrun=no_torchrun, processes=nproc_per_node)
    connector = ServerConnector(context, name)
    folder = read_folder(working_folder(directory))
    if script is not None:
        _check_script(folder, script)
    files = transfer.entries(folder)
    options = ["--mirror", transfer.mirror_name(folder.root), *(word for each in env or [] for word in ("--env", each))]
    options += ["--name", run] if run else []
    options += ["--share"] if share else []
    options += ["--detach"] if detach else []
    return RunStream(connector).start([*options, *command], files, detach=detach)


def _command(name: str, script: str | None, rest: list[str], *, no_torchrun: bool, processes: int | None) -> list[str]:
    """The end of the agent's command line: torchrun or not, and what to start."""
    if script is None:
        if not rest:
            raise CommandError(
                "there is nothing to run",
                f"write `devctl run {name} train.py`, or `devctl run {name} -- COMMAND`",
                USAGE,
            )
        if processes is not None:
            raise CommandError(
                "--nproc-per-node is for a script that torchrun starts",
                f"leave it out, or write `devctl run {name} --nproc-per-node {processes} {shlex.quote(rest[0])}`",
                USAGE,
            )
        return ["--", *rest]
    if no_torchrun:
        if processes is not None:
            raise CommandError("--no-torchrun and --nproc-per-node exclude each other", "leave one of them out", USAGE)
        return ["--", "python3", script, *rest]
    return ["--torchrun", str(processes or "auto"), "--", script, *rest]


def _check_script(folder: Folder, script: str) -> None:
    """Raise CommandError for a script that the run would not have."""
    if os.path.normpath(script) in folder.files:
        return
    if (folder.root / script).is_file():
        raise CommandError(
            f"{script} is not among the files that are sent from {folder.root.resolve()}",
            "take it out of .gitignore or .devctlignore, or name a folder that has it with --dir",
            NOT_FOUND,
        )
    raise CommandError(
        f"there is no script {script} in {folder.root.resolve()}",
        "name it as from that folder, or name another folder with --dir; a program of the server comes after --",
        NOT_FOUND,
    )
