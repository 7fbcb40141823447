"""Port forwarding through the bastion: allowed targets, refusals and audit events."""

from __future__ import annotations

import re
import socket
import subprocess
from pathlib import Path

import pytest

from bastion.supervisor.connections import MAX_DENIALS
from tests.support.bastion.bastion import SERVER_ADDRESS, Client, Replica, World, dev_server, read_until
from tests.support.cluster.harness import free_ports
from tests.support.wait import eventually

OWN = "mydev.dev-ann.svc.cluster.local:22"


def test_jump_to_the_users_own_server_opens_and_is_audited(fresh: World, pair: tuple[Client, Replica]) -> None:
    client, replica = pair
    with dev_server(fresh):
        proxy = " ".join([*client.options("ssh", "ann"), "-p", str(replica.port), "-W", "%h:%p", "ann@127.0.0.1"])
        inner = [*client.options("ssh", "ann"), f"-oProxyCommand={proxy}", "root@" + OWN.partition(":")[0]]
        done = subprocess.run([*inner, "echo hello; exit 3"], capture_output=True, text=True, timeout=30, check=False)
        assert (done.returncode, done.stdout) == (3, "hello\n")
        # A server that speaks first and a client that only listens.
        said = client.run(replica, "ann", options=["-W", OWN])
        assert said.stdout.startswith("SSH-2.0-")
    eventually(lambda: len(replica.events("conn_close")) == 2, "closed")
    opened = replica.events("forward_open")
    assert {(each["user"], each["target"], each["kind"]) for each in opened} == {("ann", OWN, "jump")}
    assert len(opened) == 2
    assert not replica.events("session_start")


@pytest.mark.parametrize(
    ("who", "target"),
    [
        ("ann", "theirs.dev-bob.svc.cluster.local:22"),
        ("ann", "mydev.dev-ann.svc.cluster.local:2222"),
        ("ann", "mydev.dev-ann.svc.cluster.local.:22"),
        ("ann", "MYDEV.dev-ann.svc.cluster.local:22"),
        ("ann", "ADDRESS:22"),
        ("ann", "kubernetes.default.svc.cluster.local:443"),
        ("ann", "169.254.169.254:80"),
        ("ann", "[fd00:ec2::254]:80"),
        ("ann", "127.0.0.1:8081"),
        ("bob", OWN),
        ("carol", OWN),
    ],
)
def test_forward_to_any_other_target_is_denied_and_audited(pair: tuple[Client, Replica], who: str, target: str) -> None:
    client, replica = pair
    target = target.replace("ADDRESS", SERVER_ADDRESS)  # the address of mydev, which differs between test processes
    done = client.run(replica, who, options=["-W", target])
    assert (done.returncode, done.stdout) == (255, "")
    denied = eventually(lambda: replica.events("forward_denied", user=who), "a denial", report=lambda: replica.log)
    assert [each["target"] for each in denied] == [target.replace("[", "").replace("]", "")]
    assert not replica.events("forward_open")


def test_dynamic_forward_reaches_own_servers_only(fresh: World, pair: tuple[Client, Replica]) -> None:
    client, replica = pair
    (port,) = free_ports(1)
    command = client.ssh(replica, "ann", "echo ready; cat")
    command[1:1] = ["-D", f"127.0.0.1:{port}"]
    with (
        dev_server(fresh),
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as session,
    ):
        read_until(session, "ready")
        assert _through_socks(port, "mydev.dev-ann.svc.cluster.local", 22).startswith(b"SSH-2.0-")
        assert _through_socks(port, "169.254.169.254", 80) == b""
        session.communicate("", timeout=10)
    eventually(lambda: replica.events("forward_denied"), "the denial on record")
    assert [each["target"] for each in replica.events("forward_denied")] == ["169.254.169.254:80"]


def test_connection_over_the_denial_limit_is_closed(fresh: World, pair: tuple[Client, Replica]) -> None:
    client, replica = pair
    (port,) = free_ports(1)
    command = client.ssh(replica, "ann", "echo ready; cat")
    command[1:1] = ["-D", f"127.0.0.1:{port}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as session:
        read_until(session, "ready")
        for _ in range(MAX_DENIALS + 1):
            assert _through_socks(port, "169.254.169.254", 80) == b""
        assert session.wait(timeout=15) == 255
    (closed,) = eventually(lambda: replica.events("conn_close"), "the connection's end")
    assert closed["reason"] == f"more than {MAX_DENIALS} forwards were refused on this connection"
    assert [each["reason"] for each in replica.events("denied")] == [closed["reason"]]
    assert len(replica.events("forward_denied")) == MAX_DENIALS
    assert client.run(replica, "ann", "echo in").stdout == "in\n"


@pytest.mark.parametrize(
    ("options", "target"),
    [
        (["-R", "0:127.0.0.1:22"], "tcpip-forward"),
        (["-R", "0"], "tcpip-forward"),
        (["-R", "/tmp/bastion-test.sock:127.0.0.1:22"], "streamlocal-forward"),
        (["-X"], "x11"),
        (["-w", "any"], "tunnel"),
    ],
)
def test_remote_x11_and_tunnel_forwards_are_denied_and_audited(
    pair: tuple[Client, Replica], options: list[str], target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, replica = pair
    monkeypatch.setenv("DISPLAY", "127.0.0.1:7")
    done = client.run(replica, "ann", "echo ${DISPLAY:-none}", options=options)
    assert done.stdout in ("none\n", "")
    denied = eventually(lambda: replica.events("forward_denied"), "a denial", report=lambda: replica.log)
    assert {each["target"] for each in denied} == {target}
    assert not Path("/tmp/bastion-test.sock").exists()


def test_forward_to_a_unix_socket_is_denied_and_audited(pair: tuple[Client, Replica], tmp_path: Path) -> None:
    client, replica = pair
    (port,) = free_ports(1)
    command = client.ssh(replica, "ann", "echo ready; cat")
    command[1:1] = ["-L", f"127.0.0.1:{port}:{replica.paths.audit_socket}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as session:
        read_until(session, "ready")
        with socket.create_connection(("127.0.0.1", port), 5) as tried:
            assert tried.recv(100) == b""
        session.communicate("", timeout=10)
    denied = eventually(lambda: replica.events("forward_denied"), "a denial", report=lambda: replica.log)
    assert denied[0]["target"] == f"unix:{replica.paths.audit_socket}"


def test_agent_forwarding_works_only_with_the_flag(
    pair: tuple[Client, Replica], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, replica = pair
    started = subprocess.run(["ssh-agent", "-s"], capture_output=True, text=True, check=True).stdout
    variables = dict(re.findall(r"(SSH_\w+)=([^;]+);", started))
    monkeypatch.setenv("SSH_AUTH_SOCK", variables["SSH_AUTH_SOCK"])
    monkeypatch.setenv("SSH_AGENT_PID", variables["SSH_AGENT_PID"])
    try:
        subprocess.run(["ssh-add", "-q", str(client.key("ann"))], check=True)
        shown = "for n in 1 2 3 4 5; do ssh-add -l & done; wait"
        done = client.run(replica, "ann", shown, options=["-A"])
        assert done.stdout.count("SHA256:") == 5, f"{done.stderr}\n{replica.log}"
        assert client.run(replica, "ann", "echo ${SSH_AUTH_SOCK:-none}").stdout == "none\n"
    finally:
        subprocess.run(["ssh-agent", "-k"], capture_output=True, check=True)


def _through_socks(port: int, host: str, to: int) -> bytes:
    """The first bytes a server says through a SOCKS 5 proxy (RFC 1928), none when it is not let through."""
    with socket.create_connection(("127.0.0.1", port), 10) as tried:
        tried.sendall(b"\x05\x01\x00")
        tried.recv(2)
        tried.sendall(b"\x05\x01\x00\x03" + bytes([len(host)]) + host.encode() + to.to_bytes(2, "big"))
        tried.settimeout(10)
        answer = tried.recv(10)
        return tried.recv(64) if answer[1:2] == b"\0" else b""
