"""`devctl proxy`: standard input and output joined to a port of a server, for ssh's ProxyCommand.

Invariant: what a person or their editor waits for at every connection: typer is not imported here, and nothing of the
platform is asked for that the connection does not need.
"""

from __future__ import annotations

import os
import select
import time
from typing import TYPE_CHECKING

from devservers_core import names

if TYPE_CHECKING:
    from devctl.dial import Tunnel
    from devctl.session import Session

QUIET = 10.0  # seconds the server may still be silent after our input ended
COMMON = ("--user", "--context", "--kubeconfig", "--namespace")


def proxy(session: Session, name: str, port: int = names.SSH_POD_PORT) -> int:
    """Join stdin and stdout to a port of the server; the exit code."""
    if session.broker and port == names.SSH_POD_PORT:
        from devctl import hop

        return hop.join(session, name)
    from devctl.dial import dial

    tunnel, greeting = dial(session, name, port)
    session.kube.close()
    return relay(tunnel, 0, 1, greeting)


def quick(args: list[str]) -> tuple[Session, str, list[str]] | None:
    """Read `COMMAND [--flag VALUE]... NAME [REST...]` without typer: session, name, rest; None for any other form.

    It is how ssh_config calls `proxy`, and how most people call `ssh`; each of them waits for this start.
    """
    from devctl.session import Session

    flags: dict[str, str | None] = {}
    at = 1
    while at + 1 < len(args) and args[at] in COMMON and not args[at + 1].startswith("-"):
        flags[args[at][2:]] = args[at + 1]
        at += 2
    if at >= len(args) or args[at].startswith("-"):
        return None
    return Session(flags, None), args[at], args[at + 1 :]


def relay(tunnel: Tunnel, source: int, sink: int, greeting: bytes = b"") -> int:
    """Carry bytes between two file descriptors and a tunnel until either side ends; the exit code.

    `greeting` has arrived already. The channel protocol has no half-close: when our input ends, the rest of the
    answer is still delivered, until the server closes or says nothing for QUIET seconds.
    """
    from devctl.dial import DATA, unanswered
    from devservers_core.client.streams import CHUNK, PING_EVERY, StreamClosedError

    channels = tunnel.channels
    reading = True
    last = time.monotonic()
    next_ping = last + PING_EVERY
    gone = select.poll()
    gone.register(sink, 0)  # only errors: the reader of our output went away
    try:
        write_all(sink, greeting)
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
            data = tunnel.receive()
            if data:
                write_all(sink, data)
                last = time.monotonic()
    except StreamClosedError as closed:
        if closed.code not in (1000, 1005, 1006):
            raise unanswered(tunnel.name, str(closed)) from None
        return 0
    except BrokenPipeError:
        return 0
    finally:
        channels.close()


def write_all(descriptor: int, data: bytes) -> None:
    """Write everything to a file descriptor, blocking or not."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            select.select([], [descriptor], [])
