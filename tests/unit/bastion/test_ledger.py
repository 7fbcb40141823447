"""What is opened on paper is closed on paper, and nobody is believed about who they are."""

from __future__ import annotations

from typing import Any

import pytest

from bastion.audit.ledger import UNTOLD, Ledger, Refused

SOURCE = {"src_ip": "10.0.0.9", "src_port": 4000}
UIDS = {"ann": 20000, "bob": 20001}


@pytest.fixture
def ledger() -> Ledger:
    """A ledger that knows one connection of ann's."""
    found = Ledger("bastion-0", lambda: 100.0)
    assert not found.known(("10.0.0.9", 4000), "ann")
    (opened,) = found.told("conn_open", {"conn": "c1", "user": "ann", "key_fp": "SHA256:x", **SOURCE}, UIDS)
    assert (opened["uid"], opened["replica"]) == (20000, "bastion-0")
    assert found.known(("10.0.0.9", 4000), "ann")
    assert not found.known(("10.0.0.9", 4000), "bob")
    return found


def test_a_session_carries_what_sshd_knows_of_its_connection(ledger: Ledger) -> None:
    session, start = ledger.begin("ann", 20000, {"kind": "exec", "argv": ["list"], **SOURCE})
    assert (start["conn"], start["key_fp"], start["src_ip"], start["argv"]) == ("c1", "SHA256:x", "10.0.0.9", ["list"])
    assert ledger.during(session, "command_end", {"exit": 3})["session"] == start["session"]
    end = ledger.end(session)
    assert end is not None
    assert (end["event"], end["reason"], end["session"]) == ("session_end", "closed", start["session"])
    assert ledger.end(session) is None


def test_what_a_person_says_about_themselves_is_not_taken(ledger: Ledger) -> None:
    said: dict[str, Any] = {
        "user": "bob",
        "uid": 0,
        "session": "s1",
        "conn": "c1",
        "key_fp": "SHA256:y",
        "replica": "x",
    }
    session, start = ledger.begin("ann", 20000, said | SOURCE)
    assert (start["user"], start["uid"], start["replica"]) == ("ann", 20000, "bastion-0")
    assert (start["conn"], start["key_fp"]) == ("c1", "SHA256:x")
    assert ledger.during(session, "command_start", said)["user"] == "ann"


@pytest.mark.parametrize(
    ("user", "said"),
    [
        ("bob", SOURCE),
        ("ann", SOURCE | {"src_port": 4001}),
        ("ann", SOURCE | {"src_port": "4000"}),
        ("ann", SOURCE | {"src_ip": None}),
        ("ann", {}),
    ],
)
def test_without_a_connection_of_theirs_nobody_has_a_session(ledger: Ledger, user: str, said: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        ledger.begin(user, UIDS[user], said)
    assert str(refused.value) == UNTOLD


@pytest.mark.parametrize("event", ["conn_open", "session_start", "session_end", "revoked", "drain", "nonsense", ""])
def test_a_session_may_not_tell_of_other_things(ledger: Ledger, event: str) -> None:
    session, _ = ledger.begin("ann", 20000, SOURCE)
    with pytest.raises(Refused, match="not an event of a session"):
        ledger.during(session, event, {})


@pytest.mark.parametrize("event", ["session_start", "session_end", "command_start", "recording", "x"])
def test_the_supervisor_may_not_tell_of_sessions(ledger: Ledger, event: str) -> None:
    with pytest.raises(Refused, match="not an event of the supervisor"):
        ledger.told(event, {}, UIDS)


def test_a_session_ends_for_the_reason_its_connection_does(ledger: Ledger) -> None:
    session, _ = ledger.begin("ann", 20000, SOURCE)
    ledger.told("revoked", {"conn": "c1", "reason": "the key was removed"}, UIDS)
    end = ledger.end(session)
    assert end is not None
    assert end["reason"] == "revoked"
    with pytest.raises(Refused, match="the key was removed"):
        ledger.begin("ann", 20000, SOURCE)
    (closed,) = ledger.told("conn_close", {"conn": "c1"}, UIDS)
    assert closed["reason"] == "revoked"
    assert not ledger.known(("10.0.0.9", 4000), "ann")


def test_a_connection_over_the_limit_may_have_no_session() -> None:
    ledger = Ledger("r", lambda: 0.0)
    ledger.told("conn_open", {"conn": "c2", "user": "ann", "refused": "too many", **SOURCE}, UIDS)
    with pytest.raises(Refused, match="too many"):
        ledger.begin("ann", 20000, SOURCE)


def test_when_the_supervisor_is_lost_so_is_what_it_held(ledger: Ledger) -> None:
    session, _ = ledger.begin("ann", 20000, SOURCE)
    assert [(each["event"], each["conn"], each["reason"]) for each in ledger.lost()] == [("conn_close", "c1", "lost")]
    assert ledger.lost() == []
    end = ledger.end(session)
    assert end is not None
    assert end["reason"] == "lost"
