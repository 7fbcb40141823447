"""WebSocket (RFC 6455, client side) to the API server's exec and port-forward endpoints.

Invariant: one thread, one socket, never blocked: what cannot be sent yet waits in a buffer, and what arrives
is handed over as (channel, bytes). Written here rather than taken from websocket-client because reading and
writing one TLS socket from two threads is not safe, and because 100 ms of import would be part of every
`devctl proxy`, hence of every ssh, scp and editor connection.

Both endpoints speak Kubernetes' channel protocol: the first byte of each binary message is the channel.
"""

from __future__ import annotations

import base64
import os
import select
import ssl
import struct
from collections import deque
from typing import TYPE_CHECKING

from devctl.errors import Unreachable
from devctl.kube import refusal

if TYPE_CHECKING:
    import socket

    from devctl.kube import Kube

EXEC_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
PORT_FORWARD_PROTOCOLS = ("v4.channel.k8s.io",)

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
CHUNK = 32 * 1024  # bytes per message, what the kubelet itself copies in one go
HIGH_WATER = 1024 * 1024  # bytes waiting to be sent above which callers should stop reading their input
PING_EVERY = 30.0  # seconds; keeps load balancers between here and the API server from cutting a quiet session


class Closed(Exception):
    """The other side ended the connection; `code` is the close code, 1006 when the connection broke."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"closed ({code}) {reason}".strip())
        self.code = code
        self.reason = reason


def encode(opcode: int, payload: bytes, mask: bytes) -> bytes:
    """One final client frame, masked with the 4 bytes `mask` as RFC 6455 5.3 asks of clients."""
    length = len(payload)
    if length < 126:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | length)
    elif length < 65536:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, length)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, length)
    return head + mask + masked(payload, mask)


def masked(payload: bytes, mask: bytes) -> bytes:
    """`payload` XOR the repeated `mask`; as one big number, which is 50 times faster than byte by byte."""
    length = len(payload)
    if not length:
        return b""
    pattern = (mask * (length // 4 + 1))[:length]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(pattern, "big")).to_bytes(length, "big")


class Decoder:
    """Bytes of the wire in, whole messages out."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._parts: list[bytes] = []
        self._opcode = BINARY

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The messages that `data` completes, as (opcode, payload)."""
        self._buffer += data
        found: list[tuple[int, bytes]] = []
        while (frame := self._frame()) is not None:
            final, opcode, payload = frame
            if opcode >= CLOSE:  # control frames may come between the parts of a message
                found.append((opcode, payload))
                continue
            if opcode != CONTINUATION:
                self._opcode, self._parts = opcode, []
            self._parts.append(payload)
            if final:
                found.append((self._opcode, b"".join(self._parts)))
                self._parts = []
        return found

    def _frame(self) -> tuple[bool, int, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        first, second = buffer[0], buffer[1]
        length, at = second & 0x7F, 2
        if length == 126:
            if len(buffer) < 4:
                return None
            length, at = struct.unpack_from("!H", buffer, 2)[0], 4
        elif length == 127:
            if len(buffer) < 10:
                return None
            length, at = struct.unpack_from("!Q", buffer, 2)[0], 10
        mask = b""
        if second & 0x80:  # servers do not mask; tolerated all the same
            mask, at = bytes(buffer[at : at + 4]), at + 4
        if len(buffer) < at + length:
            return None
        payload = bytes(buffer[at : at + length])
        del buffer[: at + length]
        return bool(first & 0x80), first & 0x0F, masked(payload, mask) if mask else payload


class Channels:
    """An open connection. `protocol` is the one the server chose."""

    def __init__(self, sock: socket.socket, protocol: str, rest: bytes = b"") -> None:
        self.protocol = protocol
        self._socket = sock
        self._decoder = Decoder()
        self._arrived: deque[tuple[int, bytes]] = deque()
        self._outgoing = bytearray()
        self._closed: Closed | None = None
        sock.setblocking(False)
        if rest:
            self._take(rest)

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
            self._queue(BINARY, bytes([channel]) + data[start : start + CHUNK])
        self.flush()

    def ping(self) -> None:
        """Show any middlebox that the connection lives."""
        self._queue(PING, b"")
        self.flush()

    def flush(self) -> None:
        """Send what the socket takes without blocking."""
        while self._outgoing:
            try:
                sent = self._socket.send(self._outgoing[: 4 * CHUNK])
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            except OSError as error:
                self._closed = self._closed or Closed(1006, error.strerror or "")
                self._outgoing.clear()
                return
            del self._outgoing[:sent]

    def receive(self) -> list[tuple[int, bytes]]:
        """What arrived, as (channel, data); never blocks. Raises Closed once all of it was handed over."""
        while self._closed is None:
            try:
                data = self._socket.recv(4 * CHUNK)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                break
            except OSError as error:
                self._closed = Closed(1006, error.strerror or "")
                break
            if not data:
                self._closed = Closed(1006)
                break
            self._take(data)
            if len(self._arrived) > 64:
                break
        found = list(self._arrived)
        self._arrived.clear()
        if not found and self._closed:
            raise self._closed
        return found

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
        if self._closed is None:
            self._queue(CLOSE, struct.pack("!H", 1000))
            self.flush()
        self._socket.close()

    def _queue(self, opcode: int, payload: bytes) -> None:
        self._outgoing += encode(opcode, payload, os.urandom(4))

    def _take(self, data: bytes) -> None:
        for opcode, payload in self._decoder.feed(data):
            if opcode == PING:
                self._queue(PONG, payload)
                self.flush()
            elif opcode == CLOSE:
                code = struct.unpack("!H", payload[:2])[0] if len(payload) >= 2 else 1005
                self._closed = Closed(code, payload[2:].decode("utf-8", "replace"))
            elif opcode in (BINARY, TEXT) and payload:
                self._arrived.append((payload[0], payload[1:]))


def connect(kube: Kube, path: str, query: list[tuple[str, str]], protocols: tuple[str, ...]) -> Channels:
    """Open a WebSocket to `path`; raises ApiError when the API server refuses, Unreachable when it is away."""
    sock, host, headers = kube.open_socket()
    lines = [
        f"GET {kube.path(path, query)} HTTP/1.1",
        f"Host: {host}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
        f"Sec-WebSocket-Protocol: {', '.join(protocols)}",
        "User-Agent: devctl",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    try:
        sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        head, rest = _read_head(sock)
        status_line, *fields = head.decode("latin-1").split("\r\n")
        status = int(status_line.split()[1])
        answer = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in fields)}
        if status != 101:
            body = _read_body(sock, rest, answer)
            sock.close()
            raise refusal(status, status_line.partition(" ")[2], body)
    except (OSError, ValueError, IndexError) as error:
        sock.close()
        raise Unreachable(f"{kube.target.server}: {error}") from None
    return Channels(sock, answer.get("sec-websocket-protocol", protocols[-1]), rest)


def _read_head(sock: socket.socket) -> tuple[bytes, bytes]:
    buffer = b""
    while b"\r\n\r\n" not in buffer:
        data = sock.recv(16 * 1024)
        if not data or len(buffer) > 256 * 1024:
            raise ValueError("no answer to the upgrade")
        buffer += data
    head, _, rest = buffer.partition(b"\r\n\r\n")
    return head, rest


def _read_body(sock: socket.socket, rest: bytes, answer: dict[str, str]) -> bytes:
    wanted = int(answer.get("content-length", -1))
    if "chunked" in answer.get("transfer-encoding", ""):
        while not rest.endswith(b"0\r\n\r\n"):
            data = sock.recv(16 * 1024)
            if not data:
                break
            rest += data
        body = b""
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            count = int(size or b"0", 16)
            if not count:
                break
            body, rest = body + rest[:count], rest[count + 2 :]
        return body
    while wanted < 0 or len(rest) < wanted:
        data = sock.recv(16 * 1024)
        if not data:
            break
        rest += data
    return rest
