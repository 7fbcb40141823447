"""`devctl runs`: list the runs of a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devctl.options import Output, ServerName
from devctl.ssh import connect
from devctl.ssh.run_stream import DEVSERVER

if TYPE_CHECKING:
    from devctl.context import Context


_OF_AGENT = {"json": ["-o", "json"], "yaml": ["-o", "json"], "name": ["-o", "name"]}
"""The agent's options for a format; JSON is YAML."""


def runs_command(context: Context, name: ServerName, output: Output = None) -> int:
    """List the runs of a server, the newest first: state, start, duration and command.

    They are kept in its home, so the server has to run.
    """
    return connect.connect(context, name, [DEVSERVER, "runs", *_OF_AGENT.get(context.output(output), [])])
