"""devctl ssh, ssh-config and proxy: the commands, and the entries in a person's own ssh_config.

Invariant: of ~/.ssh/config only our marked block is ever changed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from devctl import complete, jump, names, openssh, relay, render, values
from devctl.errors import USAGE, Failure

if TYPE_CHECKING:
    from devctl.session import Session

BEGIN, END = "# >>> devctl >>>", "# <<< devctl <<<"


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
    A server that is starting is waited for; a stopped one is not started.
    """
    return openssh.connect(session, name, rest or [])


def proxy_command(
    session: Session,
    name: Annotated[str, typer.Argument(help="The server.", autocompletion=complete.servers)],
    port: Annotated[int, typer.Option(help="Port in the server.", min=1, max=65535)] = names.SSH_PORT,
) -> int:
    """Join stdin and stdout to a server's SSH port. For ssh's ProxyCommand."""
    return relay.proxy(session, name, port)


def ssh_config_command(
    session: Session,
    install: Annotated[
        bool, typer.Option("--install", help="Write the entries to a file of ours and include it in ~/.ssh/config.")
    ] = False,
    uninstall: Annotated[bool, typer.Option("--uninstall", help="Undo --install.")] = False,
) -> None:
    """Print, or install, SSH entries, so that ssh, scp, sftp and editors reach NAME.devserver.

    With --install run it again after making a server: editors then offer it by name.
    """
    if session.broker and (install or uninstall):
        raise Failure(
            "the bastion has no file of yours to write",
            "`devctl ssh-config` prints what your machine needs",
            USAGE,
        )
    if install and uninstall:
        raise Failure("--install and --uninstall contradict each other", "give one of them", USAGE)
    home = Path(session.environ.get("HOME") or "~").expanduser()
    ours, theirs = session.config.path.with_name("ssh_config"), home / ".ssh" / "config"
    include = f"{BEGIN}\nInclude {openssh.quoted(str(ours))}\n{END}\n"
    try:
        if uninstall:
            _replace(theirs, without(_read(theirs)))
            ours.unlink(missing_ok=True)
            render.say(f"removed from {theirs}")
            return
        bastion = jump.configured(session.config)
        if session.broker:
            _from_the_bastion(session)
            return
        text = bastion.entries(jump.listed(bastion)) if bastion else entries(session)
        if not install:
            sys.stdout.write(text)
            return
        ours.parent.mkdir(parents=True, exist_ok=True)
        _replace(ours, text)
        theirs.parent.mkdir(mode=0o700, exist_ok=True)
        # First in the file: an Include below a Host line would belong to that Host only.
        before = _read(theirs)
        if not before.startswith(include):
            _replace(theirs, include + without(before))
    except OSError as error:
        raise Failure(f"{error.filename}: {error.strerror}", "make it writable, or use the printed text") from None
    render.say(f"wrote {ours}, included in {theirs}")
    render.say(f"ssh, scp, sftp and editors now reach every server as NAME{names.HOST_SUFFIX}")


def _from_the_bastion(session: Session) -> None:
    """For a machine without devctl: what to put where, asked for by `ssh USER@bastion devctl ssh-config`."""
    from devctl import keys

    keys.notice(session)
    bastion = jump.here(session)
    servers = [s["metadata"]["name"] for s in session.servers() if s["spec"].get("enableSSH", True)]
    render.out(f"# 1. This line into {jump.PORTABLE_KNOWN_HOSTS}, which is nobody else's file:")
    render.out(f"#    {bastion.authority_line()}".rstrip())
    render.out("# 2. What follows into ~/.ssh/devserver_config, and `Include devserver_config` first in ~/.ssh/config.")
    sys.stdout.write(bastion.entries(servers))


def entries(session: Session) -> str:
    """One Host entry per server that has SSH, with everything ssh needs."""
    lines = [f"# Made by `devctl ssh-config` for {session.namespace}; changes here are overwritten."]
    servers = [s for s in session.servers() if s["spec"].get("enableSSH", True)]
    for server in servers:
        name = values.server_name(server["metadata"]["name"])
        lines.append(f"Host {name}{names.HOST_SUFFIX}")
        lines += [f"    {key} {value}" for key, value in openssh.options(session, name).items()]
        lines.append("")
    if not servers:
        lines.append("# No servers yet: `devctl create NAME` makes one.")
    return "\n".join(lines).rstrip() + "\n"


def without(text: str) -> str:
    """An ssh_config without our block."""
    if BEGIN not in text or END not in text:
        return text
    head, _, rest = text.partition(BEGIN)
    return head + rest.partition(END)[2].removeprefix("\n")


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _replace(path: Path, text: str) -> None:
    """Write a file at once, mode 0600, keeping a symbolic link a link."""
    if not text and not path.exists():
        return
    path = path.resolve()
    temporary = path.with_name(f".{path.name}.devctl")
    temporary.touch(mode=0o600)
    temporary.write_text(text)
    temporary.replace(path)
