"""Tests `devctl cp` and `devctl port-forward`: the command lines of scp and ssh, and what is refused before."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from devctl.ssh import copy, forward, process
from devservers_core.errors import CommandError
from tests.support.cli.api_server import ApiServer
from tests.support.cli.run import Run

SERVER = "/apis/devservers.io/v1/namespaces/dev-ann/devservers/mydev"
HOST_CA = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"


def put_server(api: ApiServer, *, running: bool = True, **spec: Any) -> None:
    phase = "Running" if running else "Stopped"
    api.put(SERVER, spec={"flavor": "cpu-small", "running": running, **spec}, status={"phase": phase, "podName": "p"})


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The command lines that would be started in place of devctl, or as its child."""
    lines: list[list[str]] = []

    def exec_(command: list[str]) -> int:
        lines.append(command)
        return 0

    class Child(subprocess.Popen[bytes]):
        def __init__(self, command: list[str]) -> None:
            lines.append(command)

        def __del__(self, *_: object) -> None:
            """There is no process to wait for."""

    monkeypatch.setattr(process, "exec_", exec_)
    monkeypatch.setattr(process, "wait_child", lambda _: 0)
    monkeypatch.setattr(copy.subprocess, "Popen", Child)  # type: ignore[attr-defined]
    return lines


def options(command: list[str]) -> dict[str, str]:
    return dict(word.split("=", 1) for at, word in enumerate(command) if command[at - 1] == "-o")


@pytest.mark.parametrize(
    ("text", "argument"),
    [
        ("mydev:data/x", "mydev.devserver:data/x"),
        ("mydev.devserver:", "mydev.devserver:"),
        ("mydev:/tmp/a:b", "mydev.devserver:/tmp/a:b"),
        ("results.csv", "results.csv"),
        ("./mydev:x", "./mydev:x"),
        ("/tmp/mydev:x", "/tmp/mydev:x"),
        ("Not_a_server:x", "./Not_a_server:x"),
        ("-rf", "-rf"),
    ],
)
def test_parse_place_colon_after_a_servers_name_is_a_host(text: str, argument: str) -> None:
    assert copy.parse_place(text).argument == argument


@pytest.mark.parametrize(
    ("words", "last"),
    [
        (["a", "b", "mydev:in"], ["--", "a", "b", "mydev.devserver:in"]),
        (["-r", "mydev:runs/7", "runs"], ["-r", "--", "mydev.devserver:runs/7", "runs"]),
        (["mydev:x", "."], ["--", "mydev.devserver:x", "."]),
        (["--", "-rf", "mydev:"], ["--", "-rf", "mydev.devserver:"]),
    ],
)
def test_cp_starts_scp_with_the_options_of_ssh(
    api: ApiServer, devctl: Run, started: list[list[str]], words: list[str], last: list[str]
) -> None:
    put_server(api)
    devctl("cp", *words)
    ((program, *command),) = started
    assert program.endswith("/scp")
    assert command[-len(last) :] == last
    assert options(command)["StrictHostKeyChecking"] == "yes"
    assert "proxy" in options(command)["ProxyCommand"]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["a"], 2, "a copy needs a source and a target"),
        (["a", "b"], 2, "no side is on a server"),
        (["mydev:a", "mydev:b"], 2, "both sides are on a server"),
        (["mydev:a", "other:b", "."], 2, "the sources are not all on one server"),
        (["mydev:a", "b", "."], 2, "the sources are not all on one server"),
        (["absent:a", "."], 3, "there is no server absent"),
        (["stopped:a", "."], 255, "`devctl start stopped --wait` starts it"),
    ],
)
def test_cp_what_cannot_be_is_refused(
    api: ApiServer, devctl: Run, started: list[list[str]], words: list[str], code: int, says: str
) -> None:
    put_server(api)
    api.put(SERVER.replace("mydev", "stopped"), spec={"running": False}, status={"phase": "Stopped"})
    assert says in devctl("cp", *words, code=code).stderr
    assert started == []


def test_cp_through_a_bastion_goes_its_way(
    run: Run, started: list[list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def transported(_: object, command: Callable[[str], list[str]], server: str) -> int:
        started.append(command("messages.log"))
        return 0

    monkeypatch.setattr("devctl.ssh.bastion.transport.run", transported)
    done = run("cp", "a", "mydev:", DEVCTL_BASTION="bastion.example", DEVCTL_HOST_AUTHORITY=HOST_CA)
    assert done.returncode == 0, done.stderr
    ((program, *command),) = started
    assert program.endswith("/scp")
    assert "-E" not in command  # scp has no such option; the ssh in ProxyCommand has
    assert "-E messages.log" in options(command)["ProxyCommand"]
    assert command[-3:] == ["--", "a", "mydev.devserver:"]


@pytest.mark.parametrize(
    ("text", "expected"), [("8888", (8888, 8888)), ("9999:8888", (9999, 8888)), ("1:65535", (1, 65535))]
)
def test_parse_ports_is_one_port_or_two(text: str, expected: tuple[int, int]) -> None:
    assert forward.parse_ports(text) == expected


@pytest.mark.parametrize("text", ["", "0", "65536", "http", "1:2:3", "8888:", ":8888", "-1", "٨٨", "0:80", "80:0"])
def test_parse_ports_other_text_is_refused(text: str) -> None:
    with pytest.raises(CommandError, match="is not a port") as caught:
        forward.parse_ports(text)
    assert caught.value.code == 6


def test_port_forward_listens_on_loopback_only(api: ApiServer, devctl: Run, started: list[list[str]]) -> None:
    put_server(api)
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        one, other = first.getsockname()[1], second.getsockname()[1]
    done = devctl("port-forward", "mydev", f"{one}:8888", str(other))
    (command,) = started
    assert command[-7:] == [
        "-N", "-o", "ExitOnForwardFailure=yes",
        "-L", f"127.0.0.1:{one}:localhost:8888", "-L", f"127.0.0.1:{other}:localhost:{other}",
    ]  # fmt: skip
    assert f"127.0.0.1:{one} leads to port 8888 of mydev; Ctrl-C ends it" in done.stderr


def test_port_forward_taken_port_is_refused_with_another(api: ApiServer, devctl: Run, started: list[list[str]]) -> None:
    put_server(api)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = devctl("port-forward", "mydev", f"{port}:8888", code=1)
    assert f"port {port} of this machine is in use" in done.stderr
    assert ":8888`" in done.stderr
    assert started == []


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["mydev"], 2, "Missing argument"),
        (["mydev", "http"], 6, "'http' is not a port"),
        (["mydev", "8123:1", "8123:2"], 2, "two forwards have the same port"),
        (["absent", "8123"], 3, "there is no server absent"),
    ],
)
def test_port_forward_what_cannot_be_is_refused(
    api: ApiServer, devctl: Run, started: list[list[str]], words: list[str], code: int, says: str
) -> None:
    put_server(api)
    assert says in devctl("port-forward", *words, code=code).stderr
    assert started == []


@pytest.mark.parametrize("words", [("cp", "a", "mydev:"), ("port-forward", "mydev", "8888")])
def test_on_the_bastion_itself_it_is_refused(run: Run, started: list[list[str]], words: tuple[str, ...]) -> None:
    done = run(*words, DEVCTL_BROKER="/nonexistent")
    assert done.returncode == 2
    assert "on your own machine" in done.stderr
    assert started == []
