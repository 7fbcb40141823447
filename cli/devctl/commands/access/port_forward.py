"""`devctl port-forward`: reach a port of a server from this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from devctl.config import HOST_SUFFIX
from devctl.options import ServerName
from devctl.output import console
from devctl.ssh import connect, forward
from devservers_core.errors import USAGE, CommandError

if TYPE_CHECKING:
    from devctl.context import Context


def port_forward_command(
    context: Context,
    name: ServerName,
    ports: Annotated[
        list[str], typer.Argument(metavar="[LOCAL:]REMOTE...", help="A port, or one of this machine and the server's.")
    ],
) -> int:
    """Forward ports of this machine to a server, over SSH, until Ctrl-C.

    For example:

    devctl port-forward mydev 8888

    devctl port-forward mydev 9999:8888 6006

    The listener is on 127.0.0.1, so only this machine reaches it. What listens on the server's own loopback is reached
    too. A server that is starting is waited for.
    """
    if context.broker:
        raise CommandError(
            "ports can't be forwarded from the bastion itself", "run `devctl port-forward` on your own machine", USAGE
        )
    name = name.removesuffix(HOST_SUFFIX)
    forwards = [forward.parse_ports(text) for text in ports]
    if len({mapping.local for mapping in forwards}) < len(forwards):
        raise CommandError("two forwards have the same port of this machine", "give each its own: LOCAL:REMOTE", USAGE)
    for mapping in forwards:
        forward.check_free(name, mapping)
    for mapping in forwards:
        console.info(f"{forward.LOOPBACK}:{mapping.local} leads to port {mapping.remote} of {name}; Ctrl-C ends it")
    return connect.connect(context, name, forward.ssh_arguments(forwards))
