"""`devctl code`: the link with which an editor on this machine opens a server.

Invariant: the link names NAME.devserver, which `devctl ssh-config --install` adds to ssh's configuration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from devctl import completion, validation
from devctl.config import HOST_SUFFIX
from devctl.output import console
from devctl.output.errors import no_server
from devctl.ssh import config
from devctl.ssh.bastion import endpoint, transport
from devctl.ssh.editor_links import EDITORS, editor_link
from devservers_core import names
from devservers_core.errors import USAGE, CommandError

if TYPE_CHECKING:
    from devctl.context import Context


def code_command(
    context: Context,
    name: Annotated[str, typer.Argument(help="The server.", autocompletion=completion.servers)],
    editor: Annotated[
        str, typer.Option(metavar="NAME", help=", ".join(EDITORS), autocompletion=completion.editors)
    ] = "vscode",
    folder: Annotated[str, typer.Option(metavar="PATH", help="Folder to open.")] = names.HOME_PATH,
    open_it: Annotated[bool, typer.Option("--open", help="Open it here as well.")] = False,
) -> None:
    """Print the link that opens a server in an editor; with --open open it.

    Once before: devctl ssh-config --install.
    """
    name = validation.server_name(name.removesuffix(HOST_SUFFIX))
    url = editor_link(name, editor, folder)
    _check_server(context, name)
    config.refresh_entries(context, name)
    if open_it:
        if context.broker:
            raise CommandError(
                "the bastion has no screen to open an editor on", "open the link on your own machine", USAGE
            )
        import webbrowser

        if not webbrowser.open(url):
            console.warn("nothing on this machine opens links; open it by hand")
    console.echo(url)


def _check_server(context: Context, name: str) -> None:
    """Raise CommandError unless the server exists and has SSH."""
    bastion = endpoint.configured(context.config)
    if bastion:
        servers = transport.list_servers(bastion)
        if name not in servers:
            raise no_server(name, servers, f"on {bastion.host}")
    elif not context.server(name)["spec"].get("enableSSH", True):
        raise CommandError(
            f"{name} has no SSH, which an editor needs", f"`devctl shell {name}` opens a shell without it"
        )
