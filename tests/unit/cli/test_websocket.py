"""The WebSocket client: frames of RFC 6455 and Kubernetes' channels, over real sockets."""

from __future__ import annotations

import os
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devctl.websocket import BINARY, CHUNK, CLOSE, PING, PONG, Channels, Closed, Decoder, encode, masked


def server_frame(payload: bytes, opcode: int = BINARY, final: bool = True) -> bytes:
    """A frame as a server sends it: not masked."""
    first = (0x80 if final else 0) | opcode
    if len(payload) < 126:
        return struct.pack("!BB", first, len(payload)) + payload
    if len(payload) < 65536:
        return struct.pack("!BBH", first, 126, len(payload)) + payload
    return struct.pack("!BBQ", first, 127, len(payload)) + payload


def test_the_masked_frame_of_the_rfc() -> None:
    # RFC 6455 5.7: a single-frame masked text message "Hello"
    assert encode(1, b"Hello", bytes.fromhex("37fa213d")) == bytes.fromhex("818537fa213d7f9f4d5158")


@given(st.binary(max_size=70_000), st.binary(min_size=4, max_size=4))
def test_masking_twice_gives_the_bytes_back(payload: bytes, mask: bytes) -> None:
    assert masked(masked(payload, mask), mask) == payload


@given(st.lists(st.binary(max_size=300), max_size=8), st.integers(1, 50))
def test_messages_survive_any_cutting_of_the_stream(payloads: list[bytes], step: int) -> None:
    wire = b"".join(encode(BINARY, p, b"abcd") for p in payloads)
    decoder, found = Decoder(), []
    for at in range(0, len(wire), step):
        found += decoder.feed(wire[at : at + step])
    assert found == [(BINARY, p) for p in payloads]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 200_000])
def test_every_way_to_write_a_length_is_read(size: int) -> None:
    payload = os.urandom(size)
    assert Decoder().feed(server_frame(payload)) == [(BINARY, payload)]


def test_a_message_in_parts_with_a_ping_in_between() -> None:
    wire = server_frame(b"one ", final=False) + server_frame(b"?", PING) + server_frame(b"two", 0)
    assert Decoder().feed(wire) == [(PING, b"?"), (BINARY, b"one two")]


@pytest.fixture
def pair() -> tuple[Channels, socket.socket]:
    ours, theirs = socket.socketpair()
    theirs.settimeout(10)
    return Channels(ours, "v5.channel.k8s.io"), theirs


def read_messages(sock: socket.socket, count: int) -> list[tuple[int, bytes]]:
    decoder, found = Decoder(), []
    while len(found) < count:
        found += decoder.feed(sock.recv(65536))
    return found


def test_data_is_handed_over_by_channel(pair: tuple[Channels, socket.socket]) -> None:
    channels, server = pair
    server.sendall(server_frame(b"\x01out") + server_frame(b"\x02err") + server_frame(b"\x03"))
    channels.wait([], 10)
    assert channels.receive() == [(1, b"out"), (2, b"err"), (3, b"")]


def test_much_data_is_cut_into_messages(pair: tuple[Channels, socket.socket]) -> None:
    channels, server = pair
    channels.send(0, b"x" * (CHUNK + 1))
    first, second = read_messages(server, 2)
    assert (len(first[1]), second[1]) == (CHUNK + 1, b"\x00x")


def test_a_slow_reader_makes_the_connection_congested_and_nothing_is_lost(
    pair: tuple[Channels, socket.socket],
) -> None:
    channels, server = pair
    sent = 0
    while not channels.congested:
        channels.send(0, b"y" * CHUNK)
        sent += CHUNK
    got, decoder = 0, Decoder()
    while got < sent:
        got += sum(len(payload) - 1 for _, payload in decoder.feed(server.recv(1 << 20)))
        channels.flush()
    assert got == sent and not channels.congested


def test_a_ping_is_answered(pair: tuple[Channels, socket.socket]) -> None:
    channels, server = pair
    server.sendall(server_frame(b"hello", PING))
    channels.wait([], 10)
    assert channels.receive() == []
    assert read_messages(server, 1) == [(PONG, b"hello")]


def test_what_came_before_the_end_is_handed_over_first(pair: tuple[Channels, socket.socket]) -> None:
    channels, server = pair
    server.sendall(server_frame(b"\x01last") + server_frame(struct.pack("!H", 1000) + b"bye", CLOSE))
    server.close()
    channels.wait([], 10)
    assert channels.receive() == [(1, b"last")]
    with pytest.raises(Closed) as caught:
        channels.receive()
    assert (caught.value.code, caught.value.reason) == (1000, "bye")


def test_a_broken_connection_is_told_apart(pair: tuple[Channels, socket.socket]) -> None:
    channels, server = pair
    server.close()
    channels.wait([], 10)
    with pytest.raises(Closed) as caught:
        channels.receive()
    assert caught.value.code == 1006
