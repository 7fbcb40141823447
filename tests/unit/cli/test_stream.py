"""Tests byte streams over WebSockets, with real sockets and pipes."""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
from typing import Any

import pytest

from devctl.resources import exec_stream
from devctl.ssh import stream
from devctl.ssh.port_forward import Tunnel
from devservers_core.client.streams import Channels
from devservers_core.errors import TRANSPORT, CommandError
from tests.support.cli.peer import Peer


class Wire:
    """proxy's relay in a thread, between two pipes and the test as the API server."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        theirs.settimeout(20)
        self.server = Peer(theirs)
        source, self.stdin = os.pipe()
        self.stdout, sink = os.pipe()
        self.result: list[int | Exception] = []
        channels = Channels(ours, "v4.channel.k8s.io")

        def work() -> None:
            try:
                self.result.append(stream.stream(Tunnel(channels, "mydev"), source, sink))
            except Exception as error:
                self.result.append(error)

        self._thread = threading.Thread(target=work)
        self._thread.start()
        port = struct.pack("<H", 2222)
        self.server.send(b"\x00" + port, b"\x01" + port)

    def end(self) -> int | Exception:
        self._thread.join(20)
        assert not self._thread.is_alive()
        return self.result[0]


def test_stream_copies_bytes_both_ways_without_the_port_message() -> None:
    wire = Wire()
    every = bytes(range(256))
    os.write(wire.stdin, every)
    assert wire.server.message() == b"\x00" + every
    wire.server.send(b"\x00" + every)
    assert os.read(wire.stdout, 1000) == every
    wire.server.sock.close()
    assert wire.end() == 0


def test_stream_input_ended_still_delivers_the_answer() -> None:
    wire = Wire()
    os.write(wire.stdin, b"question")
    os.close(wire.stdin)
    assert wire.server.message() == b"\x00question"
    wire.server.send(b"\x00answer")
    assert os.read(wire.stdout, 1000) == b"answer"
    wire.server.send(b"\x00more")
    wire.server.wire.send_close(1000)
    wire.server.flush()
    assert wire.end() == 0
    assert os.read(wire.stdout, 1000) == b"more"


def test_stream_input_ended_and_server_silent_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devctl.ssh.stream.HALF_CLOSED_SECONDS", 0.2)
    wire = Wire()
    os.close(wire.stdin)
    assert wire.end() == 0


def test_stream_reader_that_left_ends_it() -> None:
    wire = Wire()
    os.close(wire.stdout)
    wire.server.send(b"\x00x")
    assert wire.end() == 0


def test_stream_closed_port_is_explained() -> None:
    wire = Wire()
    wire.server.send(b"\x01error forwarding port 2222: connection refused")
    failure = wire.end()
    assert isinstance(failure, CommandError)
    assert failure.code == TRANSPORT
    assert "nothing in mydev listens" in failure.what
    assert "devctl describe mydev" in failure.remedy


def status(**fields: Any) -> dict[str, Any]:
    # what a kubelet of Kubernetes 1.34 sends on the error channel
    return dict(json.loads(json.dumps({"metadata": {}, **fields})))


def test_exit_code_of_status_is_the_commands() -> None:
    assert exec_stream.exit_code(status(status="Success"), "mydev") == 0
    failed = status(
        status="Failure",
        reason="NonZeroExitCode",
        message="command terminated with exit code 7",
        details={"causes": [{"reason": "ExitCode", "message": "7"}]},
    )
    assert exec_stream.exit_code(failed, "mydev") == 7
    assert exec_stream.exit_code(None, "mydev") == TRANSPORT


def test_exit_code_missing_command_is_named() -> None:
    message = 'failed to exec in container: exec: "nosuch": executable file not found in $PATH: unknown'
    with pytest.raises(CommandError) as caught:
        exec_stream.exit_code(status(status="Failure", reason="InternalError", message=message), "mydev")
    assert (caught.value.code, caught.value.what) == (127, "there is no command nosuch in mydev")


def test_tunnel_first_returns_the_servers_greeting() -> None:
    ours, theirs = socket.socketpair()
    tunnel, server = Tunnel(Channels(ours, "v4.channel.k8s.io"), "mydev"), Peer(theirs)
    server.send(b"\x00\xae\x08", b"\x01\xae\x08", b"\x00SSH-2.0-")
    assert tunnel.first(5) == b"SSH-2.0-"


@pytest.mark.parametrize("end", ["silent", "closed", "refused"])
def test_tunnel_first_silent_server_is_an_error(end: str) -> None:
    ours, theirs = socket.socketpair()
    tunnel, server = Tunnel(Channels(ours, "v4.channel.k8s.io"), "mydev"), Peer(theirs)
    if end == "closed":
        theirs.close()
    if end == "refused":
        server.send(b"\x01\xae\x08", b"\x01connection refused")
    with pytest.raises(CommandError) as caught:
        tunnel.first(0.2)
    assert caught.value.code == TRANSPORT
