"""Kubernetes' channels over a WebSocket, against the websockets package's server, over real sockets."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from websockets.frames import Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from devservers_core.client.api import ApiClient
from devservers_core.client.kubeconfig import Target
from devservers_core.client.streams import CHUNK, Channels, StreamClosedError, connect
from devservers_core.errors import ApiError, UnreachableError
from tests.support.cli.peer import Peer


@pytest.fixture
def pair() -> tuple[Channels, Peer]:
    ours, theirs = socket.socketpair()
    theirs.settimeout(10)
    return Channels(ours, "v5.channel.k8s.io"), Peer(theirs)


@pytest.mark.parametrize("size", [0, 1, 124, 125, 126, 65534, 65535, 200_000])
def test_stream_messages_of_every_size_arrive_whole(pair: tuple[Channels, Peer], size: int) -> None:
    channels, server = pair
    payload = os.urandom(size)
    sender = threading.Thread(target=server.send, args=(b"\x01" + payload,))
    sender.start()
    found: list[tuple[int, bytes]] = []
    while not found:
        channels.wait([], 10)
        found = channels.receive()
    sender.join(10)
    assert found == [(1, payload)]


def test_stream_message_in_fragments_with_a_ping_between_arrives_whole(pair: tuple[Channels, Peer]) -> None:
    channels, server = pair
    server.wire.send_binary(b"\x02one ", fin=False)
    server.wire.send_ping(b"?")
    server.wire.send_continuation(b"two", fin=True)
    server.flush()
    channels.wait([], 10)
    assert channels.receive() == [(2, b"one two")]
    assert server.frame() == (Opcode.PONG, b"?")


def test_stream_data_is_handed_over_by_channel(pair: tuple[Channels, Peer]) -> None:
    channels, server = pair
    server.send(b"\x01out", b"\x02err", b"\x03")
    channels.wait([], 10)
    assert channels.receive() == [(1, b"out"), (2, b"err"), (3, b"")]


def test_stream_cuts_much_data_into_messages(pair: tuple[Channels, Peer]) -> None:
    channels, server = pair
    channels.send(0, b"x" * (CHUNK + 1))
    assert (len(server.message()), server.message()) == (CHUNK + 1, b"\x00x")


def test_stream_with_a_slow_reader_is_congested_and_loses_nothing(pair: tuple[Channels, Peer]) -> None:
    channels, server = pair
    sent = 0
    while not channels.congested:
        channels.send(0, b"y" * CHUNK)
        sent += CHUNK
    got = 0
    while got < sent:
        got += len(server.message()) - 1
        channels.flush()
    assert got == sent
    assert not channels.congested


def test_stream_hands_over_all_data_before_its_end(pair: tuple[Channels, Peer]) -> None:
    channels, server = pair
    server.send(b"\x01last")
    server.wire.send_close(1000, "bye")
    server.flush()
    server.sock.close()
    channels.wait([], 10)
    assert channels.receive() == [(1, b"last")]
    with pytest.raises(StreamClosedError) as caught:
        channels.receive()
    assert (caught.value.code, caught.value.reason) == (1000, "bye")


@pytest.mark.parametrize("garbage", [b"", b"\xff\xff\xff\xff not a frame"])
def test_stream_that_breaks_is_told_apart_from_one_that_ends(pair: tuple[Channels, Peer], garbage: bytes) -> None:
    channels, server = pair
    server.sock.sendall(garbage)
    server.sock.close()
    channels.wait([], 10)
    with pytest.raises(StreamClosedError) as caught:
        channels.receive()
    assert caught.value.code == 1006


class _Api:
    """A server of one connection; keeps the request and answers it."""

    def __init__(self, listener: socket.socket) -> None:
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}/prefix"
        self.request: Request | None = None
        self.body: bytes | None = None
        self._listener = listener
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        sock, _ = self._listener.accept()
        wire = ServerProtocol(subprotocols=["v4.channel.k8s.io"], max_size=None)  # type: ignore[list-item]
        with sock:
            while self.request is None:
                wire.receive_data(sock.recv(1 << 16))
                for event in wire.events_received():
                    assert isinstance(event, Request)
                    self.request = event
            if self.body is None:
                wire.send_response(wire.accept(self.request))
                wire.send_binary(b"\x01early")  # in the same packet as the answer
                sock.sendall(b"".join(wire.data_to_send()))
                sock.recv(1)
            else:
                sock.sendall(self.body)

    def join(self) -> None:
        self._thread.join(10)
        assert not self._thread.is_alive()


@contextmanager
def api(body: bytes | None = None) -> Iterator[tuple[_Api, ApiClient]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        served = _Api(listener)
        served.body = body
        yield served, ApiClient(Target(served.url, "c", "test", None, user={"token": "t0k3n"}), {})
        served.join()


def test_upgrade_carries_path_query_and_identity_and_loses_no_early_data() -> None:
    with api() as (served, kube):
        channels = connect(kube, "/api/v1/x", [("command", "a b"), ("command", "ä&c")], ("v4.channel.k8s.io",))
        channels.wait([], 10)
        assert channels.receive() == [(1, b"early")]
        channels.close()
    assert served.request is not None
    assert served.request.path == "/prefix/api/v1/x?command=a+b&command=%C3%A4%26c"
    assert served.request.headers["Authorization"] == "Bearer t0k3n"
    assert channels.protocol == "v4.channel.k8s.io"


def test_upgrade_refused_raises_the_api_servers_status() -> None:
    body = b'{"kind": "Status", "reason": "Forbidden", "message": "not you"}'
    head = f"HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with api(head.encode() + body) as (_, kube), pytest.raises(ApiError) as caught:
        connect(kube, "/api/v1/x", [], ("v4.channel.k8s.io",))
    assert (caught.value.status, caught.value.message) == (403, "not you")


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 101 Switching Protocols\r\n\r\n"])
def test_upgrade_by_no_websocket_server_is_unreachable(answer: bytes) -> None:
    with api(answer) as (_, kube), pytest.raises(UnreachableError):
        connect(kube, "/api/v1/x", [], ("v4.channel.k8s.io",))
