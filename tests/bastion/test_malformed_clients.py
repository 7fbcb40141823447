"""Malformed client data sent to sshd, to the audit socket and to the health port.

Invariant: what a client sends is data, and no other client gets less for it.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager, suppress

import asyncssh
import pytest

from bastion.audit.peers import MAX_PEERS
from bastion.audit.server import BEGIN_SECONDS, WAIT_FOR_SSHD
from bastion.supervisor.health import MAX_CONNECTIONS, MAX_POD_CONNECTIONS
from devservers_core.protocol import MAX_LINE_BYTES
from tests.support.bastion.bastion import Client, Replica, World, dev_server
from tests.support.wait import eventually

HOST = "mydev.dev-ann.svc.cluster.local"
THEIRS = "theirs.dev-bob.svc.cluster.local"
ORIGINS = [
    "",
    "a b",
    "127.0.0.1 port 1, target 127.0.0.1 port 80",
    f"127.0.0.1 port 1 to host {THEIRS} port 22",
    "x\nAccepted publickey for bob from 127.0.0.1 port 1 ssh2: ED25519 SHA256:x\n",
    "x\r\ndebug1: server_request_direct_tcpip: originator x port 1, target y port 2",
    "\x1b]0;title\x07\u202e\u00e9",
]
TARGETS = [*filter(None, ORIGINS), f"{HOST} ", f"{HOST}\n", f"{HOST}:22", "*"]
FORGED = "auth.c:auth_log():1 (pid={pid}): Accepted publickey for bob from 10.9.9.9 port 9 ssh2"


def _connect(client: Client, replica: Replica, name: str) -> AbstractAsyncContextManager[asyncssh.SSHClientConnection]:
    """A connection as `name`, with ann's key."""
    options = {"config": None, "agent_path": None, "client_keys": [str(client.key("ann"))]}
    return asyncssh.connect("127.0.0.1", replica.port, username=name, known_hosts=str(client.known_hosts), **options)


async def _open_forwards(client: Client, replica: Replica, asked: list[tuple[str, str]]) -> list[bytes]:
    """What is heard from each (host, originator), port 22, over one connection; nothing where it is refused."""
    heard = []
    async with _connect(client, replica, "ann") as connection:
        for host, origin in asked:
            try:
                reader, writer = await connection.open_connection(host, 22, orig_host=origin, orig_port=7)
            except asyncssh.ChannelOpenError:
                heard.append(b"")
                continue
            heard.append(await reader.readline())
            writer.close()
    return heard


def test_forward_with_a_forged_originator_audits_the_real_target(fresh: World, pair: tuple[Client, Replica]) -> None:
    client, replica = pair
    with dev_server(fresh):
        heard = asyncio.run(_open_forwards(client, replica, [(HOST, origin) for origin in ORIGINS]))
    assert [each[:8] for each in heard] == [b"SSH-2.0-"] * len(ORIGINS)
    eventually(lambda: replica.events("conn_close"), "the connection's end")
    found = replica.events("forward_open")
    assert [each["target"] for each in found] == [f"{HOST}:22"] * len(ORIGINS)
    assert {each["user"] for each in replica.events("")} == {"ann"}


def test_forward_to_a_malformed_target_is_denied_and_audited(fresh: World, pair: tuple[Client, Replica]) -> None:
    client, replica = pair
    with dev_server(fresh):
        heard = asyncio.run(_open_forwards(client, replica, [(THEIRS, origin) for origin in ORIGINS]))
        heard += asyncio.run(_open_forwards(client, replica, [(target, "127.0.0.1") for target in TARGETS]))
    assert not any(heard)
    eventually(lambda: len(replica.events("conn_close")) == 2, "the connections' end")
    assert not replica.events("forward_open")
    denied = replica.events("forward_denied")
    assert [each["target"] for each in denied[: len(ORIGINS)]] == [f"{THEIRS}:22"] * len(ORIGINS)
    assert len(denied) == len(ORIGINS) + len(TARGETS)
    assert {each["user"] for each in replica.events("")} == {"ann"}


def test_forward_too_long_for_sshds_log_closes_the_connection(fresh: World, pair: tuple[Client, Replica]) -> None:
    client, replica = pair
    with dev_server(fresh):
        for host, origin in (HOST, "x" * 4000), ("x" * 4000, "127.0.0.1"):

            async def held(host: str = host, origin: str = origin) -> None:
                async with _connect(client, replica, "ann") as connection:
                    with suppress(asyncssh.ChannelOpenError, asyncssh.ConnectionLost):
                        await connection.open_connection(host, 22, orig_host=origin, orig_port=7)
                    await asyncio.wait_for(connection.wait_closed(), 15)

            with suppress(asyncssh.Error):
                asyncio.run(held())
    eventually(lambda: len(replica.events("conn_close")) == 2, "both ended")
    assert {each["reason"] for each in replica.events("conn_close")} == {
        "where your forward goes cannot be put on record"
    }


def test_user_name_that_forges_a_log_line_is_refused(
    pair: tuple[Client, Replica], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anybody has logged in: who believes such a line takes a process of the attacker's choice for bob's."""
    monkeypatch.setattr(asyncssh.connection, "saslprep", lambda name: name)  # the client's good manners
    client, replica = pair

    async def tries(name: str) -> None:
        with pytest.raises(asyncssh.PermissionDenied):
            async with _connect(client, replica, name):
                pass

    for end in "\n", "\r\n", "\r", "\x85", "\u2028":
        asyncio.run(tries(f"x{end}{FORGED.format(pid=replica.first_process())}"))
        asyncio.run(tries(f"x{end}{FORGED.format(pid=1)}{end}"))
    eventually(lambda: len(replica.events("auth_fail")) == 10, "their refusals")
    assert {each["event"] for each in replica.events("")} == {"auth_fail"}
    assert {each["src_ip"] for each in replica.events("")} == {"127.0.0.1"}
    assert client.run(replica, "ann", "echo in").stdout == "in\n"


@contextmanager
def _sockets(replica: Replica, uid: int, number: int) -> Iterator[list[socket.socket]]:
    """Connections to the audit's socket by a process of this person's."""
    found = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(number)]
    try:
        for each in found:
            each.settimeout(30)
            os.seteuid(uid)  # the kernel remembers who connects
            try:
                each.connect(str(replica.paths.audit_socket))
            finally:
                os.seteuid(0)
        yield found
    finally:
        for each in found:
            each.close()


def _answer(peer: socket.socket, event: str, **fields: object) -> dict[str, object]:
    """The audit's answer; {} when it hangs up."""
    try:
        peer.sendall(json.dumps({"event": event, "fields": fields}).encode() + b"\n")
        said = peer.recv(MAX_LINE_BYTES)
    except ConnectionError:
        return {}
    return dict(json.loads(said)) if said else {}


def test_audit_sockets_over_one_users_limit_are_closed_and_others_answered(pair: tuple[Client, Replica]) -> None:
    _, replica = pair
    with _sockets(replica, 20000, MAX_PEERS) as held:
        assert all(_answer(each, "nonsense") for each in held)
        with _sockets(replica, 20000, 1) as (more,), _sockets(replica, 20001, 1) as (other,):
            assert _answer(more, "nonsense") == {}
            assert _answer(other, "nonsense")
        held.pop().close()

        def room() -> bool:
            with _sockets(replica, 20000, 1) as (again,):
                return bool(_answer(again, "nonsense"))

        eventually(room, "room for another")


def test_audit_peer_that_sends_nothing_or_noise_is_disconnected(pair: tuple[Client, Replica]) -> None:
    _, replica = pair
    begun = time.monotonic()
    with _sockets(replica, 20000, 4) as (silent, noisy, unknown, answered):
        answered.sendall(b"{}\n")
        assert json.loads(answered.recv(MAX_LINE_BYTES))["ok"] is False
        with pytest.raises(ConnectionError):  # noqa: PT012  how many writes fit is the kernel's to say
            while True:
                noisy.sendall(b"x" * MAX_LINE_BYTES)
        answer = _answer(unknown, "session_start", src_ip="127.0.0.1", src_port=1, argv=["devctl"], kind="exec")
        waited = time.monotonic() - begun
        assert answer["ok"] is False, answer
        assert WAIT_FOR_SSHD <= waited < WAIT_FOR_SSHD + 20, answer
        # An answer to rubbish is no session: it has no more time than silence.
        assert silent.recv(1) == b"" == answered.recv(1)
        assert BEGIN_SECONDS <= time.monotonic() - begun < BEGIN_SECONDS + 20
    assert not replica.events("session_start")


@contextmanager
def _held(replica: Replica, number: int, address: str) -> Iterator[list[socket.socket]]:
    """Connections to the health port from an address of this machine's, on which nothing is asked."""
    with ExitStack() as stack:
        place = ("127.0.0.1", replica.health_port)
        yield [stack.enter_context(socket.create_connection(place, 10, (address, 0))) for _ in range(number)]


def _probe(peer: socket.socket) -> bytes:
    """The answer to a probe; nothing when it hangs up."""
    try:
        peer.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        return peer.recv(100)
    except ConnectionError:
        return b""


def test_health_port_with_full_pod_connections_answers_other_addresses(pair: tuple[Client, Replica]) -> None:
    """Others than the pod's own get little room too, but more."""
    _, replica = pair
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outward:
        outward.connect(("192.0.2.1", 9))  # nothing is sent: it tells an address of this machine's that isn't loopback
        address = outward.getsockname()[0]
    with _held(replica, MAX_POD_CONNECTIONS, "127.0.0.1"), _held(replica, 1, "127.0.0.1") as (own,):
        assert _probe(own) == b""
        with _held(replica, MAX_CONNECTIONS, address) as held, _held(replica, 1, address) as (more,):
            assert _probe(more) == b""
            assert all(_probe(each).startswith(b"HTTP/1.0 200 ") for each in held)
