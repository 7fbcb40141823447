"""Tests the ssh connection of `devctl run`: its command line, and how a failure is explained."""

from __future__ import annotations

import shlex
import signal
from pathlib import Path

import pytest

from devctl.context import Context
from devctl.resources import pods
from devctl.ssh import server_stream
from devctl.ssh.server_stream import ServerConnector, is_final
from devservers_core.errors import FORBIDDEN, NOT_FOUND, CommandError
from tests.support.cli.api_server import ApiServer

SERVER = "/apis/devservers.io/v1/namespaces/dev-ann/devservers/mydev"
HOST_CA = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
UNREACHABLE = "channel 0: open failed: connect failed: Connection refused\nstdio forwarding failed"


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for ssh: it writes its arguments into `arguments`, copies its input and says what `says` holds."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "says").write_text("")
    (folder / "code").write_text("0")
    program = folder / "ssh"
    program.write_text(
        "#!/bin/sh\n"
        f'printf "%s\\0" "$@" > {folder}/arguments\n'
        f"cat; cat {folder}/says >&2; grep SigIgn /proc/$$/status > {folder}/signals\n"
        f"exit $(cat {folder}/code)\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return folder


@pytest.fixture
def direct(api: ApiServer, ssh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ServerConnector:
    monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig(tmp_path)))
    api.put(SERVER, spec={"flavor": "cpu-small", "running": True}, status={"phase": "Running", "podName": "p"})
    return ServerConnector(Context({"user": "ann"}, None), "mydev.devserver")


@pytest.fixture
def bastion(ssh: Path, monkeypatch: pytest.MonkeyPatch) -> ServerConnector:
    monkeypatch.setenv("DEVCTL_BASTION", "bastion.example.org")
    monkeypatch.setenv("DEVCTL_HOST_AUTHORITY", HOST_CA)
    return ServerConnector(Context({"user": "ann"}, None), "mydev")


def arguments(ssh: Path) -> list[str]:
    return (ssh / "arguments").read_text().split("\0")[:-1]


@pytest.mark.parametrize("way", ["direct", "bastion"])
def test_command_reaches_the_server_quoted_and_ssh_ignores_interrupts(
    way: str, ssh: Path, request: pytest.FixtureRequest
) -> None:
    connector: ServerConnector = request.getfixturevalue(way)
    words = ["run", "--env", "A=b c", "--", "sh", "-c", "echo 'x' $HOME"]
    stream = connector.start(words)
    stream.input.write(b"typed")
    stream.input.close()
    assert stream.output.read() == b"typed"
    assert stream.close() == (0, "")
    given = arguments(ssh)
    assert given[:4] == ["-o", "ServerAliveInterval=10", "-o", "ServerAliveCountMax=3"], "ssh takes the first value"
    assert given[-3:-1] == ["-T", "mydev.devserver"]
    assert shlex.split(given[-1]) == words
    assert "StrictHostKeyChecking=yes" in given
    ignored = int((ssh / "signals").read_text().split()[1], 16)
    assert ignored & 1 << (signal.SIGINT - 1)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_messages_of_ssh_are_kept(direct: ServerConnector, ssh: Path) -> None:
    (ssh / "says").write_text("Connection closed\r\n")
    (ssh / "code").write_text("255")
    stream = direct.start(["true"])
    stream.input.close()
    stream.output.read()
    assert stream.close() == (255, "Connection closed")


@pytest.mark.parametrize(
    ("messages", "what", "remedy"),
    [
        ("x\nerror: mydev is stopped\n  try: start it\nmore", "mydev is stopped", "start it"),
        ("Connection closed\nby  peer", "the connection to mydev failed: Connection closed by peer", "devctl restart"),
        ("", "the connection to mydev failed: it was closed", "devctl restart mydev"),
    ],
)
def test_failure_without_a_bastion_is_what_devctl_proxy_says(
    direct: ServerConnector, messages: str, what: str, remedy: str
) -> None:
    failure = direct.failure(messages)
    assert failure.error.what == what
    assert remedy in failure.error.remedy
    assert (failure.final, failure.passed) == (False, False)


def test_server_that_the_bastion_can_not_reach_is_explained_there(bastion: ServerConnector, ssh: Path) -> None:
    (ssh / "says").write_text("error: there is no server mydev\n  try: `devctl list` shows your servers\n")
    (ssh / "code").write_text(str(NOT_FOUND))
    error, final, passed = bastion.failure(UNREACHABLE)
    assert (error.what, error.code, final, passed) == ("there is no server mydev", NOT_FOUND, True, False)
    assert arguments(ssh)[-1] == "devctl ssh mydev true"


@pytest.mark.parametrize(
    ("what", "code", "final"),
    [
        ("mydev is stopped (idle)", 255, True),
        ("mydev is stopping", 255, True),
        ("mydev is being deleted", 255, True),
        ("mydev has no SSH", 255, True),
        ("the account ann is suspended", FORBIDDEN, True),
        ("mydev is not running yet: no node has room", 255, False),
        ("could not read mydev: etcd leader changed", 1, False),
    ],
)
def test_failure_is_final_only_for_a_server_that_is_stopped_or_gone_or_refuses(
    bastion: ServerConnector, ssh: Path, what: str, code: int, final: bool
) -> None:
    (ssh / "says").write_text(f"error: {what}\n  try: this\n")
    (ssh / "code").write_text(str(code))
    failure = bastion.failure(UNREACHABLE)
    assert failure.error.what == what
    assert (failure.final, failure.passed) == (final, False)


@pytest.mark.parametrize(
    ("metadata", "running", "phase"),
    [({}, False, "Stopped"), ({}, True, "Stopping"), ({"deletionTimestamp": "2026-11-30T12:00:00Z"}, True, "Running")],
)
def test_final_failures_are_those_that_devctl_words_for_a_stopped_server(
    metadata: dict[str, str], running: bool, phase: str
) -> None:
    server = {"metadata": {"name": "mydev"} | metadata, "spec": {"running": running}, "status": {"phase": phase}}
    failure = pods.stopped(server)
    assert failure is not None
    assert is_final(failure)


def test_bastion_that_refuses_the_person_is_not_tried_again(bastion: ServerConnector) -> None:
    assert bastion.failure("ann@bastion.example.org: Permission denied (publickey).").final


def test_diagnosis_that_does_not_end_is_given_up(
    bastion: ServerConnector, ssh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_stream, "DIAGNOSIS_SECONDS", 0.2)
    (ssh / "ssh").write_text("#!/bin/sh\nexec sleep 20\n")
    failure = bastion.failure(UNREACHABLE)
    assert "did not reach mydev" in failure.error.what
    assert (failure.final, failure.passed) == (False, False)


def test_server_that_the_bastion_reaches_meanwhile_may_be_tried_again(bastion: ServerConnector, ssh: Path) -> None:
    error, final, passed = bastion.failure(UNREACHABLE)
    assert (final, passed) == (False, True)
    assert "the connection to mydev failed" in error.what


def test_bastion_that_is_not_reached_is_tried_again(bastion: ServerConnector, ssh: Path) -> None:
    error, final, passed = bastion.failure("ssh: connect to host bastion.example.org port 22: Connection timed out")
    assert "cannot reach the bastion" in error.what
    assert (final, passed) == (False, False)
    assert not (ssh / "arguments").exists()


def test_stopped_server_is_refused_before_ssh_starts(direct: ServerConnector, api: ApiServer, ssh: Path) -> None:
    api.put(SERVER, spec={"flavor": "cpu-small", "running": False}, status={"phase": "Stopped"})
    with pytest.raises(CommandError, match="mydev is stopped"):
        direct.start(["true"])
    assert not (ssh / "arguments").exists()
