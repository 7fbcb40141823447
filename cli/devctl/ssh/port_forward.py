"""Forwards a port of a server through the API server.

Invariant: a server that is starting is waited for, a stopped one is refused and never started, so that an editor that
connects again by itself uses no GPU. For SSH the host key is pinned before the first byte is passed on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from devctl.output.errors import from_api
from devctl.resources import pods
from devctl.resources.replicas import check_replica
from devctl.ssh import known_hosts
from devservers_core import names
from devservers_core.client import streams
from devservers_core.client.paths import core_path
from devservers_core.errors import TRANSPORT, ApiError, CommandError

if TYPE_CHECKING:
    from devctl.context import Context
    from devservers_core.types import Json


T = TypeVar("T")
DATA, ERROR = 0, 1
STARTING_SECONDS = 600.0
"""Seconds a starting server is waited for, as with `--wait`."""
BANNER_SECONDS = 10.0
"""Seconds in which a server that took the connection must speak (SSH: the server begins)."""
RETRY_SECONDS, MAX_RETRY_SECONDS = 0.05, 2.0
"""Seconds between attempts, at first and after a while."""
FAST_RETRY_SECONDS = 5.0
"""Seconds in which most servers come up."""
QUIET_SECONDS = 1.0
"""Seconds of waiting before a message about it."""


class Tunnel:
    """A byte stream to one port of a server."""

    def __init__(self, channels: streams.Channels, name: str) -> None:
        self.channels = channels
        self.name = name
        self._begun: set[int] = set()

    def receive(self) -> bytes:
        """Return the bytes that arrived, perhaps none.

        Raises CommandError with what the node says, StreamClosedError at the end.
        """
        received = bytearray()
        for channel, data in self.channels.receive():
            if channel not in self._begun:
                self._begun.add(channel)
                data = data[2:]  # the first message of each channel is the port, two bytes
            if channel == ERROR and data:
                raise connection_failure(self.name, data.decode("utf-8", "replace"))
            if channel == DATA:
                received += data
        return bytes(received)

    def first(self, seconds: float) -> bytes:
        """Return the first bytes of a server that speaks first.

        Raises CommandError when none come within `seconds`.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.channels.wait([], deadline - time.monotonic())
            try:
                data = self.receive()
            except streams.StreamClosedError as closed:
                raise connection_failure(self.name, str(closed)) from None
            if data:
                return data
        raise connection_failure(self.name, f"no word within {seconds:.0f} s")


def open_tunnel(context: Context, name: str, port: int, replica: int = 0) -> tuple[Tunnel, bytes]:
    """Connect to `port` of a server, or of a replica; for SSH, wait for and return its first bytes.

    Raises CommandError: the server is stopped, has no SSH, or did not come up in time.
    """
    if port != names.SSH_POD_PORT:
        server = context.server(name)
        check_replica(server, replica)
        return _open(context, server, pods.of_server(context, server, replica), port), b""
    return retry_until_ready(context, name, lambda context, server: _open_ssh(context, server, replica))


def retry_until_ready(context: Context, name: str, attempt: Callable[[Context, Json], T], settling: float = 0.0) -> T:
    """Call `attempt` with a server that has SSH, again and again while the server starts.

    With `settling` one that is up is tried again as well, for so many seconds. Says first why a server ended lately.
    Raises CommandError: the server is stopped, has no SSH, or did not come up in time.
    """
    from devctl.output import console
    from devctl.resources.lifecycle.ended import ended_lately

    started = time.monotonic()
    pause = RETRY_SECONDS
    reported = None
    first = True
    while True:
        server = pods.with_ssh(context, name)
        if first and (text := ended_lately(server)):
            console.warn(text)
        first = False
        try:
            return attempt(context, server)
        except CommandError as failure:
            failure.code = TRANSPORT
            if time.monotonic() - started > (STARTING_SECONDS if pods.coming_up(server) else settling):
                raise
        if time.monotonic() - started > QUIET_SECONDS:
            reported = _report_waiting(server, reported)
        time.sleep(pause)
        if time.monotonic() - started > FAST_RETRY_SECONDS:
            pause = min(pause * 1.5, MAX_RETRY_SECONDS)


def _open_ssh(context: Context, server: Json, replica: int) -> tuple[Tunnel, bytes]:
    """Open a connection on which SSH has answered."""
    tunnel = _open(context, server, pods.listening(context, server, replica), names.SSH_POD_PORT)
    try:
        greeting = tunnel.first(BANNER_SECONDS)
        known_hosts.pin(context, server)
    except CommandError:
        tunnel.channels.close()
        raise
    return tunnel, greeting


def _open(context: Context, server: Json, pod: str, port: int) -> Tunnel:
    name, path = server["metadata"]["name"], core_path(context.namespace, "pods", pod) + "/portforward"
    try:
        channels = streams.connect(context.kube, path, [("ports", str(port))], streams.PORT_FORWARD_PROTOCOLS)
    except ApiError as error:
        failure = from_api(error, f"connect to {name}")
        failure.code = TRANSPORT
        raise failure from None
    return Tunnel(channels, name)


def _report_waiting(server: Json, reported: str | None) -> str:
    """Print what is waited for, once for each reason."""
    from devctl.output import console
    from devctl.resources.server_state import not_ready_reason

    text = f"waiting for {server['metadata']['name']}: {not_ready_reason(server) or 'it is starting'}"
    if text != reported:
        console.info(text)
    return text


def connection_failure(name: str, text: str) -> CommandError:
    """The error of a forwarded port, from the node's message."""
    if "connection refused" in text:
        what = f"nothing in {name} listens on that port yet"
    else:
        what = f"the connection to {name} failed: {text}"
    return CommandError(what, f"try again in a moment; `devctl describe {name}` shows the state", TRANSPORT)
