"""devctl ssh, ssh-config and proxy: the system's own ssh, over the API server, with the host key pinned.

Invariant: `StrictHostKeyChecking yes` always. The key comes from status.sshHostKey over the authenticated
API connection and is written by `proxy` before the first byte of SSH is passed on, so ssh never asks and
never trusts what the network says; a home that was purged and made anew needs no manual repair either.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from devctl import complete, names, pods, render, values
from devctl.config import state_folder
from devctl.errors import TRANSPORT, USAGE, ApiError, Failure, from_api

if TYPE_CHECKING:
    from devctl.kube import Json
    from devctl.session import Session

DATA, ERROR = 0, 1
QUIET = 10.0  # seconds the server may still be silent after our input ended
BEGIN, END = "# >>> devctl >>>", "# <<< devctl <<<"


def alias(session: Session, name: str) -> str:
    """What ssh calls a server's host key: one name per cluster, namespace and server."""
    import hashlib

    cluster = hashlib.sha256(session.target.server.encode()).hexdigest()[:8]
    return f"{name}.{session.namespace}.{cluster}"


def known_hosts(session: Session, name: str) -> Path:
    """The file that holds exactly this server's host key."""
    return state_folder(session.environ) / "known_hosts" / alias(session, name)


def pin(session: Session, server: Json) -> Path:
    """Write the server's host key where ssh looks for it; raises Failure when there is none yet."""
    name = server["metadata"]["name"]
    key = str((server.get("status") or {}).get("sshHostKey") or "")
    words = key.split()
    if len(words) < 2 or not key.isprintable():
        raise Failure(f"{name} has no SSH host key yet", f"`devctl describe {name}` shows how far it is", TRANSPORT)
    path, line = known_hosts(session, name), f"{alias(session, name)} {words[0]} {words[1]}\n"
    try:
        if path.is_file() and path.read_text() == line:
            return path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text(line)
        temporary.replace(path)
    except OSError as error:
        raise Failure(f"the host key cannot be written: {error}", f"make {path.parent} writable", TRANSPORT) from None
    return path


def reachable(session: Session, name: str) -> Json:
    """The server, if it can take an SSH connection now; raises Failure with code 255 otherwise."""
    name = name.removesuffix(names.HOST_SUFFIX)
    server = session.server(name)
    if not server["spec"].get("enableSSH", True):
        raise Failure(f"{name} has no SSH", f"`devctl shell {name}` opens a shell without it", TRANSPORT)
    failure = pods.not_running(server)
    if failure:
        failure.code = TRANSPORT
        raise failure
    return server


def program() -> str:
    """How another program calls this devctl."""
    started = Path(sys.argv[0])
    if started.name == "devctl" and started.exists():
        return shlex.quote(str(started.resolve()))
    found = shutil.which("devctl")
    return shlex.quote(found) if found else f"{shlex.quote(sys.executable)} -m devctl.app"


def options(session: Session, name: str) -> dict[str, str]:
    """The ssh options that make a connection to server `name` work, in ssh_config's words."""
    flags = "".join(f" {shlex.quote(flag)}" for flag in session.connection_flags())
    command = f"{program()} proxy{flags} {name}".replace("%", "%%")
    found = {
        "User": names.LOGIN,
        "HostKeyAlias": alias(session, name),
        "UserKnownHostsFile": _quoted(str(known_hosts(session, name)).replace("%", "%%")),
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "CheckHostIP": "no",
        "UpdateHostKeys": "no",
        "ServerAliveInterval": "30",
        "ServerAliveCountMax": "4",
        "ProxyCommand": command,
    }
    identity = session.config.get("identityFile")
    if identity:
        found |= {"IdentityFile": _quoted(identity.replace("%", "%%")), "IdentitiesOnly": "yes"}
    return found


def _quoted(path: str) -> str:
    return f'"{path}"' if " " in path else path


def ssh_command(
    session: Session,
    name: Annotated[str, typer.Argument(help="The server.", autocompletion=complete.servers)],
    rest: Annotated[
        list[str] | None, typer.Argument(help="More for ssh: its options (-L, -A, ...) and the command to run.")
    ] = None,
) -> int:
    """Open an SSH session in a server, or run a command there.

    devctl ssh NAME [SSH OPTIONS] [COMMAND...]

    Everything after NAME goes to the system's ssh as it stands: `devctl ssh mydev -L 8888:localhost:8888`,
    `devctl ssh mydev nvidia-smi`. The exit code is the command's; 255 when there was no connection.
    """
    binary = shutil.which("ssh", path=session.environ.get("PATH"))
    if not binary:
        raise Failure(
            "there is no ssh program on this machine",
            f"install OpenSSH's client, or use `devctl shell {name}`",
            TRANSPORT,
        )
    server = reachable(session, name)
    name = server["metadata"]["name"]
    pin(session, server)
    words = [binary]
    for key, value in options(session, name).items():
        words += ["-o", f"{key}={value}"]
    words += [name + names.HOST_SUFFIX, *(rest or [])]
    sys.stdout.flush()
    sys.stderr.flush()
    session.kube.close()
    os.execv(binary, words)


def proxy_command(
    session: Session,
    name: Annotated[str, typer.Argument(help="The server.", autocompletion=complete.servers)],
    port: Annotated[int, typer.Option(help="Port in the server.", min=1, max=65535)] = names.SSH_PORT,
) -> int:
    """Join stdin and stdout to a server's SSH port. For ssh's ProxyCommand."""
    from devctl import websocket
    from devctl.kube import core_path

    server = reachable(session, name) if port == names.SSH_PORT else session.server(name)
    name = server["metadata"]["name"]
    if port == names.SSH_PORT:
        pin(session, server)
    path = core_path(session.namespace, "pods", pods.of_server(session, server)) + "/portforward"
    try:
        channels = websocket.connect(session.kube, path, [("ports", str(port))], websocket.PORT_FORWARD_PROTOCOLS)
    except ApiError as error:
        failure = from_api(error, f"connect to {name}")
        failure.code = TRANSPORT
        raise failure from None
    session.kube.close()
    return relay(channels, name, 0, 1)


def relay(channels: object, name: str, source: int, sink: int) -> int:
    """Carry bytes between two file descriptors and the data channel until either side ends; the exit code.

    The channel protocol has no half-close: when our input ends, the rest of the answer is still delivered,
    until the server closes or says nothing for QUIET seconds.
    """
    import select

    from devctl.remote import write_all
    from devctl.websocket import CHUNK, PING_EVERY, Channels, Closed

    assert isinstance(channels, Channels)
    seen: set[int] = set()
    reading = True
    last = time.monotonic()
    next_ping = last + PING_EVERY
    gone = select.poll()
    gone.register(sink, 0)  # only errors: the reader of our output went away
    try:
        while True:
            now = time.monotonic()
            if not reading and now - last >= QUIET:
                return 0
            if now >= next_ping:
                channels.ping()
                next_ping = now + PING_EVERY
            wake = next_ping if reading else min(next_ping, last + QUIET, now + 1)
            ready = channels.wait([source] if reading and not channels.congested else [], max(wake - now, 0))
            if source in ready:
                data = os.read(source, CHUNK)
                if data:
                    channels.send(DATA, data)
                else:
                    reading, last = False, time.monotonic()
            if not reading and gone.poll(0):
                return 0
            for channel, data in channels.receive():
                if channel not in seen:
                    seen.add(channel)
                    data = data[2:]  # the first message of each channel is the port, two bytes
                if channel == ERROR and data:
                    raise unanswered(name, data.decode("utf-8", "replace"))
                if channel == DATA and data:
                    write_all(sink, data)
                    last = time.monotonic()
    except Closed as closed:
        if closed.code not in (1000, 1005, 1006):
            raise unanswered(name, str(closed)) from None
        return 0
    except BrokenPipeError:
        return 0
    finally:
        channels.close()


def unanswered(name: str, text: str) -> Failure:
    """The failure of a forwarded port, out of what the node says about it."""
    if "connection refused" in text:
        what = f"nothing in {name} listens on that port yet"
    else:
        what = f"the connection to {name} failed: {text}"
    return Failure(what, f"try again in a moment; `devctl describe {name}` shows the state", TRANSPORT)


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
    if install and uninstall:
        raise Failure("--install and --uninstall contradict each other", "give one of them", USAGE)
    home = Path(session.environ.get("HOME") or "~").expanduser()
    ours, theirs = session.config.path.with_name("ssh_config"), home / ".ssh" / "config"
    include = f"{BEGIN}\nInclude {_quoted(str(ours))}\n{END}\n"
    try:
        if uninstall:
            _replace(theirs, without(_read(theirs)))
            ours.unlink(missing_ok=True)
            render.say(f"removed from {theirs}")
            return
        text = entries(session)
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


def entries(session: Session) -> str:
    """One Host entry per server that has SSH, with everything ssh needs."""
    lines = [f"# Made by `devctl ssh-config` for {session.namespace}; changes here are overwritten."]
    servers = [s for s in session.servers() if s["spec"].get("enableSSH", True)]
    for server in servers:
        name = values.server_name(server["metadata"]["name"])
        lines.append(f"Host {name}{names.HOST_SUFFIX}")
        lines += [f"    {key} {value}" for key, value in options(session, name).items()]
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
