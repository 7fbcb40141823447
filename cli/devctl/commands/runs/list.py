"""`devctl runs`: list the runs of a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devctl.config import HOST_SUFFIX
from devctl.options import Output, ServerName
from devctl.output import console
from devctl.resources import pods
from devctl.resources.runs.kept import kept_runs, print_runs
from devctl.ssh import connect
from devctl.ssh.run_stream import DEVSERVER

if TYPE_CHECKING:
    from devctl.context import Context


_OF_AGENT = {"json": ["-o", "json"], "yaml": ["-o", "json"], "name": ["-o", "name"]}
"""The agent's options for a format; JSON is YAML."""


def runs_command(context: Context, name: ServerName, output: Output = None) -> int:
    """List the runs of a server, the newest first: state, start, duration and command.

    They are kept in its home. Of a server that is stopped the last ten are listed, as they were at its end.
    """
    output, name = context.output(output), name.removesuffix(HOST_SUFFIX)
    server = context.server(name)
    stopped = pods.stopped(server)
    if stopped and (runs := kept_runs(context, server)):
        console.info(f"{stopped.what}; these are its last runs")
        print_runs(runs, output)
        return 0
    return connect.connect(context, name, [DEVSERVER, "runs", *_OF_AGENT.get(output, [])])
