"""sshd's log lines of 9.2 and 10.0, and those that strangers would like to be taken for them."""

# ruff: noqa: E501  log lines are as long as sshd makes them
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bastion.supervisor.connections import MAX_DENIALS, REFUSED_SECONDS, Connections
from bastion.supervisor.sshd_log import Accepted, Child, Dropped, Ended, Forward, Opened, Record, Software, Tried, parse

FP = "SHA256:q9USBPPD9yRVjmaA9iK99ZCAP6R8WZXA4PN1XbLL3Eo"
HERE = ("127.0.0.1", 46630)


@pytest.mark.parametrize(
    ("line", "record"),
    [
        ('Connection from 127.0.0.1 port 46630 on 127.0.0.1 port 2299 rdomain ""', Opened(HERE)),
        ("Connection from fd00::1 port 7 on fd00::2 port 22", Opened(("fd00::1", 7))),
        (f"auth.c:auth_log():298 (pid=8): Accepted publickey for ann from 127.0.0.1 port 46630 ssh2: ED25519 {FP}",
         Accepted(HERE, 8, "ann", FP)),
        (f"auth.c:auth_log():324 (pid=8): Accepted publickey for ann from 127.0.0.1 port 46630 ssh2: RSA-CERT {FP} ID x "
         "(serial 1) CA ED25519 SHA256:zzz", Accepted(HERE, 8, "ann", FP)),
        ("sshd.c:privsep_postauth():577 (pid=8): User child is on pid 10", Child(8, 10)),
        ("sshd-session.c:privsep_postauth():453 (bin=sshd-session, pid=8): User child is on pid 10", Child(8, 10)),
        (f"auth.c:auth_log():298 (pid=9): Failed publickey for ann from 127.0.0.1 port 46630 ssh2: ED25519 {FP} [preauth]",
         Tried(HERE, "ann", "the key is not one of theirs", FP)),
        ("Invalid user ann from 1.1.1.1 port 22 from 127.0.0.1 port 46630",
         Tried(HERE, "ann from 1.1.1.1 port 22", "there is no such user")),
        ("User root from 127.0.0.1 not allowed because none of user's groups are listed in AllowGroups",
         Tried(None, "root", "this account may not log in")),
        ("Connection closed by invalid user x 1.1.1.1 port 22 127.0.0.1 port 46630 [preauth]", Ended(HERE, "gone")),
        ("Connection closed by authenticating user ann 127.0.0.1 port 46630 [preauth]", Ended(HERE, "gone")),
        ("Connection reset by 127.0.0.1 port 46630 [preauth]", Ended(HERE, "gone")),
        ("Disconnected from user ann 127.0.0.1 port 46630", Ended(HERE, "gone")),
        ("Timeout before authentication for 127.0.0.1 port 46630", Ended(HERE, "too slow")),
        ("drop connection #10 from [127.0.0.1]:46630 on [127.0.0.1]:22 past MaxStartups", Dropped(HERE, "past MaxStartups")),
        ("drop connection #0 from [127.0.0.1]:46630 on [127.0.0.1]:22 penalty: failed authentication",
         Dropped(HERE, "penalty: failed authentication")),
        ("debug1: kex.c:kex_exchange_identification():1456 (pid=8): Remote protocol version 2.0, remote software version "
         "OpenSSH_9.2p1 Debian-2", Software(8, "OpenSSH_9.2p1 Debian-2")),
        ("debug1: serverloop.c:server_request_direct_tcpip():453 (pid=10): originator 127.0.0.1 port 65535, target a.b port 22",
         Forward(10, "a.b:22", denied=False)),
        ("channels.c:channel_connect_to_port():4769 (pid=10): Received request from 127.0.0.1 port 46630 to connect to host "
         "169.254.169.254 port 80, but the request was denied.", Forward(10, "169.254.169.254:80", denied=True)),
        ("serverloop.c:server_request_direct_tcpip():463 (pid=10): refused local port forward: originator 127.0.0.1 port 1, "
         "target a.b port 22", Forward(10, "a.b:22", denied=True)),
        ("debug1: serverloop.c:server_request_direct_tcpip():453 (pid=10): originator a port 1, target x port 9 port 1, target "
         "a.b port 22", Forward(10, "a.b:22", denied=False)),
        ("debug1: serverloop.c:server_request_direct_tcpip():453 (pid=10): originator a b port 1, target a.b port 22",
         Forward(10, "a.b:22", denied=False)),
        ("debug1: serverloop.c:server_request_direct_tcpip():453 (pid=10): originator " + "a" * 940,
         Forward(10, "?", denied=False)),
        # Cut behind what its writer wants to be read.
        ("debug1: serverloop.c:server_request_direct_tcpip():453 (pid=10): originator " + "a" * 900 + " port 1, target b port 22",
         Forward(10, "?", denied=False)),
        ("serverloop.c:server_input_global_request():899 (pid=10): rtype tcpip-forward want_reply 1",
         Forward(10, "tcpip-forward", denied=True, unasked=True)),
        ("Server listening on 0.0.0.0 port 2222.", None),
        ("Accepted publickey for ann from 127.0.0.1 port 46630 ssh2", None),
        ("", None),
    ],
)  # fmt: skip
def test_parse_of_a_line_gives_its_record(line: str, record: Record | None) -> None:
    assert parse(line) == record


@given(st.text())
def test_parse_of_a_hostile_user_name_gives_no_login(name: str) -> None:
    escaped = name.replace("\n", "\\n").replace("\r", "\\r")
    found = parse(f"Invalid user {escaped} from 127.0.0.1 port 46630")
    assert not isinstance(found, Accepted | Child)
    if isinstance(found, Tried | Ended | Opened):
        assert found.source == HERE


def _table() -> Connections:
    return Connections(limit=2)


def test_connection_is_opened_and_closed_once() -> None:
    table = _table()
    assert table.feed(Opened(HERE), 0) == []
    table.feed(Software(8, "OpenSSH_9.2p1"), 0)
    ((name, fields),) = table.feed(Accepted(HERE, 8, "ann", FP), 1)
    assert (name, fields["user"], fields["client_version"], fields["src_port"]) == (
        "conn_open",
        "ann",
        "OpenSSH_9.2p1",
        46630,
    )
    table.feed(Child(8, 10), 1)
    assert table.feed(Ended(HERE, "gone"), 2) == []
    assert table.process_ended(8, 3) == [("conn_close", {"conn": fields["conn"], "duration_ms": 2000})]
    assert table.process_ended(8, 3) == []


def test_forward_counts_as_open_unless_sshd_refuses_it() -> None:
    table = _table()
    table.feed(Accepted(HERE, 8, "ann", FP), 0)
    table.feed(Child(8, 10), 0)
    assert table.feed(Forward(10, "a:22", denied=False), 0) == []
    assert [name for name, _ in table.feed(Forward(10, "a:22", denied=True), 0)] == ["forward_denied"]
    table.feed(Forward(10, "b:22", denied=False), 5)
    assert table.settle_forwards(5 + REFUSED_SECONDS - 0.1) == [], (
        "its refusal may be on its way: sshd says what was asked, and then no"
    )
    assert [(name, fields["target"]) for name, fields in table.settle_forwards(5 + REFUSED_SECONDS)] == [
        ("forward_open", "b:22")
    ]
    assert table.settle_forwards(9) == []


def test_forward_asked_before_its_process_is_known_is_recorded() -> None:
    """Seen under load: two processes of sshd write to one log, and the later record was read first."""
    table = Connections(10)
    table.feed(Accepted(HERE, 8, "ann", FP), 0)
    assert table.feed(Forward(10, "a:22", denied=False), 0) == []
    assert table.feed(Forward(10, "a:22", denied=True), 0) == []
    (event,) = table.feed(Child(8, 10), 0.1)
    assert event[0] == "forward_denied"
    assert event[1]["target"] == "a:22"
    assert table.feed(Child(8, 10), 0.2) == []


def test_forward_of_an_earlier_process_of_the_same_pid_is_ignored() -> None:
    table = Connections(10)
    table.feed(Forward(10, "a:22", denied=True), 0)
    table.feed(Accepted(HERE, 8, "ann", FP), 9)
    assert table.feed(Child(8, 10), 9) == []
    table.feed(Forward(12, "b:22", denied=True), 0)
    table.feed(Forward(12, "c:22", denied=True), 9)
    assert [fields["target"] for _, fields in table.feed(Child(8, 12), 9)] == ["c:22"]


def test_refused_forward_leaves_other_forwards() -> None:
    table = _table()
    table.feed(Accepted(HERE, 8, "ann", FP), 0)
    table.feed(Forward(8, "a:22", denied=False), 0)
    events = table.feed(Forward(8, "x11", denied=True, unasked=True), 0)
    assert [(name, fields["target"]) for name, fields in events] == [
        ("forward_open", "a:22"),
        ("forward_denied", "x11"),
    ]
    table.feed(Forward(8, "b:22", denied=False), 0)
    events = table.feed(Forward(8, "?", denied=False), 0) + table.feed(Forward(8, "c:80", denied=True), 0)
    assert [(name, fields["target"]) for name, fields in events] == [
        ("forward_open", "b:22"),
        ("forward_denied", "c:80"),
    ]
    assert table.settle_forwards(9) == []


def test_forward_without_a_target_is_recorded_and_ends_the_connection() -> None:
    table = _table()
    table.feed(Accepted(HERE, 8, "ann", FP), 0)
    table.feed(Forward(8, "?", denied=False), 0)
    assert [(name, fields["target"]) for name, fields in table.settle_forwards(REFUSED_SECONDS)] == [
        ("forward_open", "?")
    ]
    assert table.live[8].unwanted == "where your forward goes cannot be put on record"


def test_connection_with_too_many_refused_forwards_ends() -> None:
    table = _table()
    table.feed(Accepted(HERE, 8, "ann", FP), 0)
    said = [table.feed(Forward(8, f"a:{port}", denied=True), 0) for port in range(MAX_DENIALS)]
    assert all(len(events) == 1 for events in said)
    assert table.live[8].unwanted is None
    assert table.feed(Forward(8, "a:1", denied=True), 0) == []
    assert table.live[8].unwanted == f"more than {MAX_DENIALS} forwards were refused on this connection"


def test_attempt_with_many_tries_is_one_auth_fail() -> None:
    table = _table()
    table.feed(Opened(HERE), 0)
    for key in ("SHA256:a", "SHA256:b"):
        assert table.feed(Tried(HERE, "ann", "the key is not one of theirs", key), 0) == []
    ((name, fields),) = table.feed(Ended(HERE, "gone"), 1)
    assert (name, fields["user"], fields["key_fp"]) == ("auth_fail", "ann", "SHA256:b")
    assert table.feed(Ended(HERE, "gone"), 1) == []


def test_attempt_without_an_end_is_an_auth_fail_after_the_grace_time() -> None:
    table = _table()
    table.feed(Opened(HERE), 0)
    assert table.expire_attempts(60, 65) == []
    assert [name for name, _ in table.expire_attempts(66, 65)] == ["auth_fail"]


def test_connection_beyond_the_limit_is_refused_with_a_reason() -> None:
    table = _table()
    for pid in (1, 2):
        assert "refused" not in table.feed(Accepted(("10.0.0.1", pid), pid, "ann", FP), 0)[0][1]
    refused = table.feed(Accepted(("10.0.0.1", 3), 3, "ann", FP), 0)[0][1]["refused"]
    assert refused == "you have 2 connections, which is the limit; close one and log in again"
    assert "refused" not in table.feed(Accepted(("10.0.0.1", 4), 4, "bob", FP), 0)[0][1]
