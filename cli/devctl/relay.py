"""From a stream to a server's SSH port over the API server, with the host key pinned first.

Invariant: the host key comes from status.sshHostKey over the authenticated API connection and is on disk
before the first byte of SSH is passed on, so ssh never asks and never trusts what the network says. Typer
is not imported here.
"""

from __future__ import annotations

import os
import select
import time
from pathlib import Path
from typing import TYPE_CHECKING

from devctl import names, pods
from devctl.config import state_folder
from devctl.errors import TRANSPORT, ApiError, Failure, from_api

if TYPE_CHECKING:
    from devctl.kube import Json
    from devctl.session import Session

DATA, ERROR = 0, 1
QUIET = 10.0  # seconds the server may still be silent after our input ended


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


def proxy(session: Session, name: str, port: int = names.SSH_PORT) -> int:
    """`devctl proxy`: stdin and stdout joined to a port of the server; the exit code."""
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


def quick(args: list[str]) -> tuple[Session, str] | None:
    """Read `proxy [--flag VALUE]... NAME`, the form ssh_config holds, without typer; None for any other form.

    Every ssh, scp and editor connection waits for this start, and typer with pydantic is half of it.
    """
    from devctl.session import Session

    if len(args) < 2 or args[0] != "proxy" or len(args) % 2:
        return None
    flags: dict[str, str | None] = {}
    for flag, value in zip(args[1:-1:2], args[2:-1:2], strict=True):
        if flag not in ("--user", "--context", "--kubeconfig", "--namespace") or value.startswith("-"):
            return None
        flags[flag[2:]] = value
    return None if args[-1].startswith("-") else (Session(flags, None), args[-1])


def relay(channels: object, name: str, source: int, sink: int) -> int:
    """Carry bytes between two file descriptors and the data channel until either side ends; the exit code.

    The channel protocol has no half-close: when our input ends, the rest of the answer is still delivered,
    until the server closes or says nothing for QUIET seconds.
    """
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


def write_all(descriptor: int, data: bytes) -> None:
    """Write everything to a file descriptor, blocking or not."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            select.select([], [descriptor], [])
