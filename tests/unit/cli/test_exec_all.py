"""Tests `devctl exec --all`: output of several containers, exit codes, Ctrl-C."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.protocol import Protocol, Side, State

from devctl.resources.exec_all import run_in_containers
from devservers_core.client.streams import Channels
from devservers_core.errors import TRANSPORT

TARGETS = [(str(number), ("dev-ann", f"train-{number}", "devserver")) for number in range(2)]


class Containers:
    """Containers that answer an exec as a test says; by itself nobody answers."""

    def __init__(self) -> None:
        self.sockets: list[socket.socket] = []
        self.answers: list[list[bytes]] = []
        """Messages to each one, by number."""
        self.connecting = threading.Event()
        """What a connection waits for."""
        self.connecting.set()

    def connect(self, client: Any, path: str, query: list[tuple[str, str]], protocols: tuple[str, ...]) -> Channels:
        """In place of streams.connect."""
        self.connecting.wait(20)
        ours, theirs = socket.socketpair()
        self.sockets.append(theirs)
        number = int(path.split("/")[-2].rpartition("-")[2])
        if self.answers:
            wire = Protocol(Side.SERVER, state=State.OPEN)
            for message in self.answers[number]:
                wire.send_binary(message)
            wire.send_close(1000)
            theirs.sendall(b"".join(wire.data_to_send()))
        return Channels(ours, protocols[0])


class Context:
    kube = None


@pytest.fixture
def containers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Containers]:
    found = Containers()
    monkeypatch.setattr("devservers_core.client.streams.connect", found.connect)
    yield found
    found.connecting.set()
    for each in found.sockets:
        each.close()


def run() -> list[int]:
    return run_in_containers(Context(), TARGETS, ["true"])  # type: ignore[arg-type]


def threads_of_replicas() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("replica ")]


def interrupt_soon() -> None:
    main = threading.main_thread().ident
    assert main is not None
    threading.Timer(0.3, signal.pthread_kill, (main, signal.SIGINT)).start()


def test_exec_all_labels_lines_and_returns_all_exit_codes(
    containers: Containers, capfd: pytest.CaptureFixture[str]
) -> None:
    causes = [{"reason": "ExitCode", "message": "7"}]
    status = {"status": "Failure", "reason": "NonZeroExitCode", "details": {"causes": causes}}
    failed = json.dumps(status).encode()
    containers.answers = [[b"\x01a\nb", b'\x03{"status": "Success"}'], [b"\x02c\n", b"\x03" + failed]]
    assert run() == [0, 7]
    out, err = capfd.readouterr()
    assert (out, err) == ("[0] a\n[0] b\n", "[1] c\n")


def test_exec_all_of_a_connection_that_broke_has_the_code_of_transport(containers: Containers) -> None:
    containers.answers = [[b'\x03{"status": "Success"}'], []]
    assert run() == [0, TRANSPORT]


@pytest.mark.timeout(10)
def test_ctrl_c_ends_exec_in_all_at_once_and_closes_the_connections(containers: Containers) -> None:
    """The commands go on and print nothing."""
    began = time.monotonic()
    interrupt_soon()
    with pytest.raises(KeyboardInterrupt):
        run()
    assert time.monotonic() - began < 2
    for each in containers.sockets:
        each.settimeout(1)
        assert each.recv(100)[:1] == b"\x88"  # a WebSocket's close
        assert each.recv(100) == b""
    for thread in threads_of_replicas():
        thread.join(1)
    assert not threads_of_replicas()


@pytest.mark.timeout(10)
def test_ctrl_c_ends_exec_in_all_while_it_connects(containers: Containers) -> None:
    containers.connecting.clear()
    began = time.monotonic()
    interrupt_soon()
    with pytest.raises(KeyboardInterrupt):
        run()
    assert time.monotonic() - began < 2
    assert [thread.daemon for thread in threads_of_replicas()] == [True, True]
