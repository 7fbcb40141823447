"""`devctl ssh` and `devctl proxy`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from devctl import completion
from devctl.options import Replica
from devctl.ssh import connect
from devservers_core import names

if TYPE_CHECKING:
    from devctl.context import Context


def ssh_command(
    context: Context,
    name: Annotated[str, typer.Argument(help="The server.", autocompletion=completion.servers)],
    rest: Annotated[
        list[str] | None, typer.Argument(help="More for ssh: its options (-L, -A, ...) and the command to run.")
    ] = None,
) -> int:
    """Open an SSH session in a server, or run a command there.

    devctl ssh NAME [--replica N] [SSH OPTIONS] [COMMAND...]

    Everything after NAME goes to the system's ssh as it stands: `devctl ssh mydev -L 8888:localhost:8888`,
    `devctl ssh mydev nvidia-smi`. The exit code is the command's; 255 when there was no connection.
    A server that is starting is waited for. A stopped one is not started. Of a distributed server it is replica 0,
    or the one that --replica says.
    """
    return connect.connect(context, name, rest or [])


def proxy_command(
    context: Context,
    name: Annotated[str, typer.Argument(help="The server.", autocompletion=completion.servers)],
    port: Annotated[int, typer.Option(help="Port in the server.", min=1, max=65535)] = names.SSH_POD_PORT,
    replica: Replica = 0,
) -> int:
    """Join stdin and stdout to a server's SSH port. For ssh's ProxyCommand."""
    return connect.proxy(context, name, port, replica)
