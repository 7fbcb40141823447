"""Forwards ports of this machine to ports of a server, over SSH.

Invariant: the listener is on loopback: nobody else in the network reaches it.
"""

from __future__ import annotations

import errno
import re
import socket
from typing import NamedTuple

from devctl import validation
from devservers_core.errors import CommandError

LOOPBACK = "127.0.0.1"
_PORTS = re.compile(r"([0-9]{1,5})(?::([0-9]{1,5}))?", re.ASCII)
_PRIVILEGED = 1024


class Forward(NamedTuple):
    """A port of this machine and the port of the server that it leads to."""

    local: int
    remote: int


def parse_ports(text: str) -> Forward:
    """Parse PORT or LOCAL:REMOTE. Raises CommandError (refused)."""
    match = _PORTS.fullmatch(text)
    local = int(match[1]) if match else 0
    remote = int(match[2] or match[1]) if match else 0
    if not (0 < local < 65536 and 0 < remote < 65536):
        raise validation.refusal(
            f"{text[:40]!r} is not a port", "write 8888, or LOCAL:REMOTE like 9999:8888; ports are 1 to 65535"
        )
    return Forward(local, remote)


def check_free(name: str, forward: Forward) -> None:
    """Raise CommandError when the port of this machine can't be listened on."""
    try:
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((LOOPBACK, forward.local))
    except OSError as error:
        why = "is in use" if error.errno == errno.EADDRINUSE else f"can't be opened: {error.strerror}"
        other = (
            forward.local + 1 if forward.local >= _PRIVILEGED and forward.local < 65535 else 8000 + forward.local % 1000
        )
        raise CommandError(
            f"port {forward.local} of this machine {why}",
            f"take another: `devctl port-forward {name} {other}:{forward.remote}`",
        ) from None


def ssh_arguments(forwards: list[Forward]) -> list[str]:
    """What `devctl ssh NAME` takes for these ports and no session."""
    arguments = ["-N", "-o", "ExitOnForwardFailure=yes"]
    for forward in forwards:
        arguments += ["-L", f"{LOOPBACK}:{forward.local}:localhost:{forward.remote}"]
    return arguments
