"""devctl ssh and proxy: the commands.

Invariant: what they do is openssh's and relay's; here they only have their words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from devctl import complete, openssh, relay
from devservers_core import names

if TYPE_CHECKING:
    from devctl.session import Session


def ssh_command(
    session: Session,
    name: Annotated[str, typer.Argument(help="The server.", autocompletion=complete.servers)],
    rest: Annotated[
        list[str] | None, typer.Argument(help="More for ssh: its options (-L, -A, ...) and the command to run.")
    ] = None,
) -> int:
    """Open an SSH session in a server, or run a command there.

    devctl ssh NAME [--replica N] [SSH OPTIONS] [COMMAND...]

    Everything after NAME goes to the system's ssh as it stands: `devctl ssh mydev -L 8888:localhost:8888`,
    `devctl ssh mydev nvidia-smi`. The exit code is the command's; 255 when there was no connection.
    A server that is starting is waited for. A stopped one is not started.
    """
    return openssh.connect(session, name, rest or [])


def proxy_command(
    session: Session,
    name: Annotated[str, typer.Argument(help="The server.", autocompletion=complete.servers)],
    port: Annotated[int, typer.Option(help="Port in the server.", min=1, max=65535)] = names.SSH_POD_PORT,
) -> int:
    """Join stdin and stdout to a server's SSH port. For ssh's ProxyCommand."""
    return relay.proxy(session, name, port)
