"""Channels of exec and port-forward over a WebSocket.

Invariant: one thread, one socket, never blocked: what cannot be sent yet waits in a buffer, and what arrives
is handed over as (channel, bytes). The protocol itself (RFC 6455) is the websockets package's, of which only the
part without input and output is used: reading and writing one TLS socket from two threads, as its ready-made
clients do, is not safe, and loading less of it is felt in every ssh, scp and editor connection.

Both endpoints speak Kubernetes' channel protocol: the first byte of each binary message is the channel.
"""

from __future__ import annotations

import select
import ssl
from collections import deque
from typing import TYPE_CHECKING

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side, State
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from devservers_core.client.api import refusal
from devservers_core.errors import UnreachableError

if TYPE_CHECKING:
    import socket

    from devservers_core.client.api import ApiClient

EXEC_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
PORT_FORWARD_PROTOCOLS = ("v4.channel.k8s.io",)

CHUNK = 32 * 1024  # bytes per message, what the kubelet itself copies in one go
HIGH_WATER = 1024 * 1024  # bytes waiting to be sent above which callers should stop reading their input
PING_EVERY = 30.0  # seconds; keeps load balancers between here and the API server from cutting a quiet session


class StreamClosedError(Exception):
    """The other side ended the connection.

    `code` is the close code, 1006 when the connection broke.
    """

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"closed ({code}) {reason}".strip())
        self.code = code
        self.reason = reason


class Channels:
    """An open connection. `protocol` is the one the server chose."""

    def __init__(self, sock: socket.socket, protocol: str, wire: Protocol | None = None) -> None:
        self.protocol = protocol
        self._socket = sock
        self._wire = wire or Protocol(Side.CLIENT, state=State.OPEN, max_size=None)
        self._part = bytearray()
        self._arrived: deque[tuple[int, bytes]] = deque()
        self._outgoing = bytearray()
        self._closed: StreamClosedError | None = None
        sock.setblocking(False)
        self._take(b"")  # what came together with the answer to the upgrade

    def fileno(self) -> int:
        """For select and poll."""
        return self._socket.fileno()

    @property
    def wants_write(self) -> bool:
        """Whether bytes wait to be sent."""
        return bool(self._outgoing)

    @property
    def congested(self) -> bool:
        """Whether so much waits to be sent that the caller should stop reading its input."""
        return len(self._outgoing) > HIGH_WATER

    def send(self, channel: int, data: bytes) -> None:
        """Queue `data` for a channel and send what the socket takes now."""
        for start in range(0, max(len(data), 1), CHUNK):
            if self._is_open:
                self._wire.send_binary(bytes([channel]) + data[start : start + CHUNK])
        self.flush()

    def ping(self) -> None:
        """Show any middlebox that the connection lives."""
        if self._is_open:
            self._wire.send_ping(b"")
        self.flush()

    def flush(self) -> None:
        """Send what the socket takes without blocking."""
        for data in self._wire.data_to_send():
            self._outgoing += data
        while self._outgoing:
            try:
                sent = self._socket.send(self._outgoing[: 4 * CHUNK])
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            except OSError as error:
                self._closed = self._closed or StreamClosedError(1006, error.strerror or "")
                self._outgoing.clear()
                return
            del self._outgoing[:sent]

    def receive(self) -> list[tuple[int, bytes]]:
        """What arrived, as (channel, data); never blocks. Raises StreamClosedError once all of it was handed over."""
        while self._closed is None:
            try:
                data = self._socket.recv(4 * CHUNK)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                break
            except OSError as error:
                self._closed = StreamClosedError(1006, error.strerror or "")
                break
            if not data:
                self._closed = StreamClosedError(1006)
                break
            self._take(data)
            if len(self._arrived) > 64:
                break
        messages = list(self._arrived)
        self._arrived.clear()
        if not messages and self._closed:
            raise self._closed
        return messages

    @property
    def pending(self) -> bool:
        """Whether receive() has something without the socket turning readable: TLS or we hold it already."""
        if self._arrived or self._closed:
            return True
        return isinstance(self._socket, ssl.SSLSocket) and self._socket.pending() > 0

    def wait(self, readers: list[int], timeout: float | None) -> list[int]:
        """Sleep until the connection or one of the file descriptors `readers` has something; those ready."""
        if self.pending:
            timeout = 0
        writers = [self.fileno()] if self.wants_write else []
        ready, writable, _ = select.select([self.fileno(), *readers], writers, [], timeout)
        if writable:
            self.flush()
        return ready

    def close(self) -> None:
        """Say goodbye (best effort) and close."""
        if self._closed is None and self._is_open:
            self._wire.send_close(1000)
            self.flush()
        self._socket.close()

    def _take(self, data: bytes) -> None:
        if data:
            self._wire.receive_data(data)
        for event in self._wire.events_received():
            if isinstance(event, Frame) and event.opcode in (Opcode.BINARY, Opcode.TEXT, Opcode.CONT):
                self._part += event.data
                if event.fin:
                    if self._part:
                        self._arrived.append((self._part[0], bytes(self._part[1:])))
                    self._part = bytearray()
        self.flush()  # answers to pings, and to a close
        if not self._is_open:
            received = self._wire.close_rcvd
            broken = str(self._wire.parser_exc or "")
            self._closed = (
                StreamClosedError(received.code, received.reason) if received else StreamClosedError(1006, broken)
            )

    @property
    def _is_open(self) -> bool:
        """Whether neither side has said goodbye."""
        return self._wire.state is State.OPEN


def connect(
    client: ApiClient,
    path: str,
    query: list[tuple[str, str]],
    protocols: tuple[str, ...],
    timeout: float | None = None,
) -> Channels:
    """Open a WebSocket to `path`.

    Raises ApiError when the API server refuses, UnreachableError when it is away.
    """
    sock, host, headers = client.open_socket(client.timeout if timeout is None else timeout)
    try:
        scheme = "wss" if isinstance(sock, ssl.SSLSocket) else "ws"
        uri = parse_uri(f"{scheme}://{host}{client.path(path, query)}")
        wire = ClientProtocol(uri, subprotocols=[Subprotocol(name) for name in protocols], max_size=None)
        request = wire.connect()
        for name, value in [*headers, ("User-Agent", client.user_agent)]:
            request.headers[name] = value
        wire.send_request(request)
        sock.sendall(b"".join(wire.data_to_send()))
        while wire.state is State.CONNECTING and wire.handshake_exc is None:
            data = sock.recv(16 * 1024)
            if data:
                wire.receive_data(data)
            else:
                wire.receive_eof()
        if wire.handshake_exc is not None:
            raise wire.handshake_exc
    except InvalidStatus as error:
        sock.close()
        answer = error.response
        raise refusal(
            answer.status_code, f"{answer.status_code} {answer.reason_phrase}", bytes(answer.body or b"")
        ) from None
    except (OSError, InvalidHandshake, EOFError) as error:
        sock.close()
        raise UnreachableError(f"{client.target.server}: {error}") from None
    return Channels(sock, wire.subprotocol or protocols[-1], wire)
