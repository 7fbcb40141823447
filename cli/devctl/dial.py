"""A connection to a port of a server, over the API server, made as soon as the server answers.

Invariant: a server that is starting is waited for, a stopped one is refused and never started, so that an editor
that reconnects by itself costs nobody a GPU. For SSH the host key is pinned before the first byte is handed on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from devctl import knownhosts, pods
from devctl.errors import from_api
from devservers_core import names
from devservers_core.client import streams
from devservers_core.client.paths import core_path
from devservers_core.errors import TRANSPORT, ApiError, CommandError

if TYPE_CHECKING:
    from devctl.session import Session
    from devservers_core.types import Json

T = TypeVar("T")

DATA, ERROR = 0, 1
PATIENCE = 600.0  # seconds a starting server is waited for, as with `--wait`
BANNER = 10.0  # seconds in which a server that took the connection must speak (SSH: the server begins)
PAUSE, LONGEST_PAUSE = 0.05, 2.0  # seconds between attempts, at first and after a while
EAGER = 5.0  # seconds in which most servers come up
QUIET_BEFORE = 1.0  # seconds of waiting before anything is said about it


class Tunnel:
    """Bytes to and from one port of a server."""

    def __init__(self, channels: streams.Channels, name: str) -> None:
        self.channels = channels
        self.name = name
        self._begun: set[int] = set()

    def receive(self) -> bytes:
        """What arrived, perhaps nothing.

        Raises CommandError with what the node says, StreamClosedError at the end.
        """
        found = bytearray()
        for channel, data in self.channels.receive():
            if channel not in self._begun:
                self._begun.add(channel)
                data = data[2:]  # the first message of each channel is the port, two bytes
            if channel == ERROR and data:
                raise unanswered(self.name, data.decode("utf-8", "replace"))
            if channel == DATA:
                found += data
        return bytes(found)

    def first(self, seconds: float) -> bytes:
        """The first bytes of a server that speaks first. Raises CommandError when none come within `seconds`."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.channels.wait([], deadline - time.monotonic())
            try:
                data = self.receive()
            except streams.StreamClosedError as closed:
                raise unanswered(self.name, str(closed)) from None
            if data:
                return data
        raise unanswered(self.name, f"no word within {seconds:.0f} s")


def dial(session: Session, name: str, port: int) -> tuple[Tunnel, bytes]:
    """Connect to `port` of a server; for SSH wait until it answers, and return its first bytes too.

    Raises CommandError: the server is stopped, has no SSH, or did not come up in time.
    """
    if port != names.SSH_POD_PORT:
        server = session.server(name)
        return _open(session, server, pods.of_server(session, server), port), b""
    return patiently(session, name, _greeted)


def patiently(session: Session, name: str, attempt: Callable[[Session, Json], T], settling: float = 0.0) -> T:
    """What `attempt` gives for a server with SSH, tried again while the server is on its way; it raises CommandError.

    With `settling` one that is up is tried again as well, for so many seconds. Raises CommandError: the server is
    stopped, has no SSH, or did not come up in time.
    """
    begun = time.monotonic()
    pause = PAUSE
    told = None
    while True:
        server = pods.with_ssh(session, name)
        try:
            return attempt(session, server)
        except CommandError as failure:
            failure.code = TRANSPORT
            if time.monotonic() - begun > (PATIENCE if pods.coming_up(server) else settling):
                raise
        if time.monotonic() - begun > QUIET_BEFORE:
            told = _tell(server, told)
        time.sleep(pause)
        if time.monotonic() - begun > EAGER:
            pause = min(pause * 1.5, LONGEST_PAUSE)


def _greeted(session: Session, server: Json) -> tuple[Tunnel, bytes]:
    """A connection on which SSH has spoken."""
    tunnel = _open(session, server, pods.listening(session, server), names.SSH_POD_PORT)
    try:
        greeting = tunnel.first(BANNER)
        knownhosts.pin(session, server)
    except CommandError:
        tunnel.channels.close()
        raise
    return tunnel, greeting


def _open(session: Session, server: Json, pod: str, port: int) -> Tunnel:
    name, path = server["metadata"]["name"], core_path(session.namespace, "pods", pod) + "/portforward"
    try:
        channels = streams.connect(session.kube, path, [("ports", str(port))], streams.PORT_FORWARD_PROTOCOLS)
    except ApiError as error:
        failure = from_api(error, f"connect to {name}")
        failure.code = TRANSPORT
        raise failure from None
    return Tunnel(channels, name)


def _tell(server: Json, told: str | None) -> str:
    """Say once what is waited for, and again when the reason changes."""
    from devctl import render
    from devctl.wait import why

    text = f"waiting for {server['metadata']['name']}: {why(server) or 'it is starting'}"
    if text != told:
        render.say(text)
    return text


def unanswered(name: str, text: str) -> CommandError:
    """The failure of a forwarded port, out of what the node says about it."""
    if "connection refused" in text:
        what = f"nothing in {name} listens on that port yet"
    else:
        what = f"the connection to {name} failed: {text}"
    return CommandError(what, f"try again in a moment; `devctl describe {name}` shows the state", TRANSPORT)
