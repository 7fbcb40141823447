"""Links with which editors open a server over SSH."""

from __future__ import annotations

from urllib.parse import quote

from devctl.config import HOST_SUFFIX
from devservers_core import names
from devservers_core.errors import USAGE, CommandError

REMOTE_SSH = {"vscode": "vscode", "insiders": "vscode-insiders", "cursor": "cursor", "windsurf": "windsurf"}
"""Editors of VS Code's family, and the scheme of their links."""
JETBRAINS = "jetbrains"
EDITORS = (*REMOTE_SSH, JETBRAINS)


def editor_link(name: str, editor: str, folder: str) -> str:
    """The link for one of EDITORS.

    Raises CommandError for another editor, or for a folder that is no absolute path.
    """
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
