"""`devctl logs`: the output of a server's command.

Invariant: --follow follows the server, not one pod: the output of its next container or its next pod comes after it,
until the server is stopped or deleted. Only the command's own lines go to stdout; what the server's first process says
about it goes to stderr.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from devctl import completion
from devctl.options import Replica
from devctl.output import console
from devctl.output.errors import from_api
from devctl.resources import pods
from devctl.resources.replicas import check_replica
from devctl.resources.runs.reference import parse_run
from devctl.ssh import connect
from devctl.ssh.run_stream import DEVSERVER
from devservers_core import names
from devservers_core.errors import NOT_FOUND, USAGE, ApiError, CommandError, UnreachableError

if TYPE_CHECKING:
    from devctl.context import Context
    from devservers_core.types import Json


POLL_SECONDS = 1.0
"""Seconds between two looks for the next container."""
PLATFORM_LINE = re.compile(rb"(\d{4}-\S+Z )?devserver-(agent|init): ")
"""The start of a line that the server's first process wrote, with and without a time.

It is devserver-init in a server that was started by a version before the agent.
"""
SETTLE_SECONDS = 10.0
"""Seconds after the end of its output in which a container that ended may still be called running."""


def logs_command(
    context: Context,
    name: Annotated[str, typer.Argument(help="The server.", autocompletion=completion.servers)],
    run: Annotated[str | None, typer.Argument(help="A run, of which everything so far is shown.")] = None,
    rank: Annotated[int | None, typer.Option(help="Of this rank of the run alone.", min=0)] = None,
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Go on with new lines until it is stopped, or Ctrl-C.")
    ] = False,
    tail: Annotated[int | None, typer.Option(help="Only the last lines.", min=0)] = None,
    previous: Annotated[bool, typer.Option("-p", "--previous", help="Of the container before this one.")] = False,
    timestamps: Annotated[bool, typer.Option("--timestamps", help="The time before each line.")] = False,
    container: Annotated[str, typer.Option(help="Another container of the pod.")] = names.MAIN_CONTAINER,
    replica: Replica = 0,
    ssh: Annotated[bool, typer.Option("--ssh", help="What its SSH server logged: logins, refused keys.")] = False,
) -> int:
    """Show what a server's command printed, or what a run did.

    The output of a run has the rank before each line. `devctl attach` follows one.
    """
    if run is not None or rank is not None:
        plain = tail is None and container == names.MAIN_CONTAINER and not (follow or previous or timestamps or ssh)
        return _run_logs(context, name, run, rank, plain=plain)
    server = context.server(name)
    check_replica(server, replica)
    if ssh:
        if follow or previous or timestamps or container != names.MAIN_CONTAINER:
            raise CommandError("--ssh goes with --tail only", "leave the other options out", USAGE)
        from devctl.resources.container_state import ssh_log

        lines = ssh_log(context, server, replica).splitlines(keepends=True)
        _writer(sys.stdout)(b"".join(lines if tail is None else lines[max(len(lines) - tail, 0) :]))
        return 0
    query = {"container": container}
    query |= {"follow": "true"} if follow else {}
    query |= {"timestamps": "true"} if timestamps else {}
    begin = {"tailLines": str(tail)} if tail is not None else {}
    begin |= {"previous": "true"} if previous else {}
    # A container before this one is over, and nothing comes after an init container but its pod's end.
    current = pods.container(context, server, container, replica) if follow and not previous else None
    pod = current.pod if current and current.id else pods.of_server(context, server, replica)
    try:
        last = _print_output(context, pod, query | begin)
    except ApiError as error:
        raise _explain(error, server) from None
    if current:
        _follow(context, name, query, pods.Container(pod, current.id), last, replica)
    return 0


def _run_logs(context: Context, name: str, run: str | None, rank: int | None, *, plain: bool) -> int:
    """Show the output of a run; `plain` says that no option of the server's own output was given."""
    if run is None:
        raise CommandError("--rank is about a run", f"write `devctl logs {name} RUN --rank {rank}`", USAGE)
    server, run = parse_run(name, run)
    if not plain:
        raise CommandError("the output of a run takes --rank only", f"`devctl attach {server} {run}` follows it", USAGE)
    of_rank = [] if rank is None else ["--rank", str(rank)]
    return connect.connect(context, server, [DEVSERVER, "logs", run, "--ranks", *of_rank])


def _print_output(context: Context, pod: str, query: dict[str, str]) -> float:
    """Print a container's output until it ends or the connection breaks.

    Returns when its last line arrived (monotonic clock).
    """
    from devservers_core.client.paths import core_path

    command, platform = _writer(sys.stdout), _writer(sys.stderr)
    last = time.monotonic()
    try:
        for line in context.kube.lines(core_path(context.namespace, "pods", pod) + "/log", query, None):
            last = time.monotonic()
            (platform if PLATFORM_LINE.match(line) else command)(line)
    except UnreachableError:
        if "follow" not in query:
            raise
    return last


def _writer(stream: TextIO) -> Callable[[bytes], None]:
    """Return a function that writes a server's output to `stream`.

    A file or a pipe gets every byte; a terminal gets no control sequences, because the server may be another user's.
    """
    sanitizer = None
    if stream.isatty():
        from devservers_core.sanitizer import TerminalSanitizer

        sanitizer = TerminalSanitizer()

    def write(data: bytes) -> None:
        stream.buffer.write(sanitizer.sanitize(data.decode(errors="replace")).encode() if sanitizer else data)
        stream.buffer.flush()

    return write


def _follow(
    context: Context, name: str, query: dict[str, str], current: pods.Container, last: float | None, replica: int
) -> None:
    """Print the output of the containers that follow `current`.

    `last` is when the last line of `current` arrived; None if none was printed.
    """
    while True:
        following = _next_container(context, name, query["container"], current, replica)
        if following is None:
            return
        begin = {}
        if following.pod != current.pod:
            console.info(f"the pod of {name} was replaced; this is the output of the new one")
        elif following != current:
            console.info(f"{name} was started again in its pod; this is the output since then")
        elif last is not None:
            # The connection broke. A line of the last second may come twice, which is better than not at all.
            begin = {"sinceSeconds": str(int(time.monotonic() - last) + 1)}
        current = following
        try:
            last = _print_output(context, following.pod, query | begin)
        except ApiError as error:
            if error.status not in (400, 404):  # not there yet, or gone already
                raise from_api(error, f"read the logs of {name}") from None
            last = None


def _next_container(
    context: Context, name: str, container: str, current: pods.Container, replica: int
) -> pods.Container | None:
    """Wait for the container whose output comes next; None when the server is stopped or deleted.

    It is `current` itself if that still runs: then only the connection ended.
    """
    ended = time.monotonic()
    reported = False
    while True:
        try:
            server = context.server(name)
            stopped = pods.stopped(server)
            if stopped:
                console.info(f"{stopped.what}; {stopped.remedy}")
                return None
            candidate = pods.container(context, server, container, replica)
            if (
                candidate
                and candidate.id
                and (candidate != current or (candidate.running and time.monotonic() - ended > SETTLE_SECONDS))
            ):
                return candidate
        except UnreachableError as error:
            if not reported:
                console.info(f"the cluster does not answer ({error}); trying again")
            reported = True
        except CommandError as failure:
            if failure.code != NOT_FOUND:
                raise
            console.info(f"{name} was deleted")
            return None
        time.sleep(POLL_SECONDS)


def _explain(error: ApiError, server: Json) -> CommandError:
    name = server["metadata"]["name"]
    if error.status == 400 and "previous terminated container" in error.message:
        return CommandError(f"{name} has no container before this one", "leave --previous out", NOT_FOUND)
    if error.status == 400 and "waiting to start" in error.message:
        stopped = pods.not_running(server)
        return stopped or CommandError(f"{name} has not started yet", f"`devctl describe {name}` shows how far it is")
    return from_api(error, f"read the logs of {name}")
