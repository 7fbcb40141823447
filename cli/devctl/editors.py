"""devctl code: the link with which an editor on this machine opens a server.

Invariant: the link names NAME.devserver, which `devctl ssh-config --install` teaches to ssh; nothing else is opened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer

from devctl import complete, jump, render, sshconfig, values
from devctl.defaults import HOST_SUFFIX
from devctl.errors import no_server
from devservers_core import names
from devservers_core.errors import USAGE, CommandError

if TYPE_CHECKING:
    from devctl.session import Session

REMOTE_SSH = {"vscode": "vscode", "insiders": "vscode-insiders", "cursor": "cursor", "windsurf": "windsurf"}
"""Editors of VS Code's family, and the scheme of their links."""
JETBRAINS = "jetbrains"
EDITORS = (*REMOTE_SSH, JETBRAINS)


def code_command(
    session: Session,
    name: Annotated[str, typer.Argument(help="The server.", autocompletion=complete.servers)],
    editor: Annotated[
        str, typer.Option(metavar="NAME", help=", ".join(EDITORS), autocompletion=complete.editors)
    ] = "vscode",
    folder: Annotated[str, typer.Option(metavar="PATH", help="Folder to open.")] = names.HOME_PATH,
    open_it: Annotated[bool, typer.Option("--open", help="Open it here as well.")] = False,
) -> None:
    """Print the link that opens a server in an editor; with --open open it.

    Once before: devctl ssh-config --install.
    """
    name = values.server_name(name.removesuffix(HOST_SUFFIX))
    found = link(name, editor, folder)
    _must_exist(session, name)
    sshconfig.refresh(session, name)
    if open_it:
        if session.broker:
            raise CommandError(
                "the bastion has no screen to open an editor on", "open the link on your own machine", USAGE
            )
        import webbrowser

        if not webbrowser.open(found):
            render.warn("nothing on this machine opens links; open it by hand")
    render.out(found)


def _must_exist(session: Session, name: str) -> None:
    """Ask whether there is such a server, and whether it has SSH; raises CommandError."""
    bastion = jump.configured(session.config)
    if bastion:
        known = jump.listed(bastion)
        if name not in known:
            raise no_server(name, known, f"on {bastion.host}")
    elif not session.server(name)["spec"].get("enableSSH", True):
        raise CommandError(
            f"{name} has no SSH, which an editor needs", f"`devctl shell {name}` opens a shell without it"
        )


def link(name: str, editor: str, folder: str) -> str:
    """The link for one of EDITORS; raises CommandError for another, or a folder that is no absolute path."""
    if not folder.startswith("/"):
        raise CommandError(f"--folder {folder} is not an absolute path", f"write it like {names.HOME_PATH}", USAGE)
    host, path = name + HOST_SUFFIX, quote(folder)
    if editor in REMOTE_SSH:
        return f"{REMOTE_SSH[editor]}://vscode-remote/ssh-remote+{host}{path}"
    if editor == JETBRAINS:
        return (
            f"jetbrains-gateway://connect#type=ssh&host={host}&port={names.SSH_PORT}&user={names.LOGIN}"
            f"&projectPath={quote(folder, safe='')}&deploy=true"
        )
    raise CommandError(f"editor {editor!r} is unknown", "use one of " + ", ".join(EDITORS), USAGE)
