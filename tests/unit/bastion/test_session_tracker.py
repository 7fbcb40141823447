"""What is opened on record is closed on record, and nobody is believed about who they are."""

from __future__ import annotations

from typing import Any

import pytest

from bastion.audit.session_tracker import UNKNOWN_CONNECTION, EventRefusedError, SessionTracker

SOURCE = {"src_ip": "10.0.0.9", "src_port": 4000}
UIDS = {"ann": 20000, "bob": 20001}


@pytest.fixture
def tracker() -> SessionTracker:
    """A tracker that knows one connection of ann's."""
    found = SessionTracker("bastion-0", lambda: 100.0)
    assert not found.knows(("10.0.0.9", 4000), "ann")
    (opened,) = found.supervisor_event("conn_open", {"conn": "c1", "user": "ann", "key_fp": "SHA256:x", **SOURCE}, UIDS)
    assert (opened["uid"], opened["replica"]) == (20000, "bastion-0")
    assert found.knows(("10.0.0.9", 4000), "ann")
    assert not found.knows(("10.0.0.9", 4000), "bob")
    return found


def test_session_carries_what_sshd_knows_of_its_connection(tracker: SessionTracker) -> None:
    session, start = tracker.begin_session("ann", 20000, {"kind": "exec", "argv": ["list"], **SOURCE})
    assert (start["conn"], start["key_fp"], start["src_ip"], start["argv"]) == ("c1", "SHA256:x", "10.0.0.9", ["list"])
    assert tracker.session_event(session, "command_end", {"exit": 3})["session"] == start["session"]
    end = tracker.end_session(session)
    assert end is not None
    assert (end["event"], end["reason"], end["session"]) == ("session_end", "closed", start["session"])
    assert tracker.end_session(session) is None


def test_session_claims_about_identity_are_ignored(tracker: SessionTracker) -> None:
    fields: dict[str, Any] = {
        "user": "bob",
        "uid": 0,
        "session": "s1",
        "conn": "c1",
        "key_fp": "SHA256:y",
        "replica": "x",
    }
    session, start = tracker.begin_session("ann", 20000, fields | SOURCE)
    assert (start["user"], start["uid"], start["replica"]) == ("ann", 20000, "bastion-0")
    assert (start["conn"], start["key_fp"]) == ("c1", "SHA256:x")
    assert tracker.session_event(session, "command_start", fields)["user"] == "ann"


@pytest.mark.parametrize(
    ("user", "fields"),
    [
        ("bob", SOURCE),
        ("ann", SOURCE | {"src_port": 4001}),
        ("ann", SOURCE | {"src_port": "4000"}),
        ("ann", SOURCE | {"src_ip": None}),
        ("ann", {}),
    ],
)
def test_session_without_a_connection_of_the_user_is_refused(
    tracker: SessionTracker, user: str, fields: dict[str, Any]
) -> None:
    with pytest.raises(EventRefusedError) as refused:
        tracker.begin_session(user, UIDS[user], fields)
    assert str(refused.value) == UNKNOWN_CONNECTION


@pytest.mark.parametrize("event", ["conn_open", "session_start", "session_end", "revoked", "drain", "nonsense", ""])
def test_session_event_of_another_kind_is_refused(tracker: SessionTracker, event: str) -> None:
    session, _ = tracker.begin_session("ann", 20000, SOURCE)
    with pytest.raises(EventRefusedError, match="not an event of a session"):
        tracker.session_event(session, event, {})


@pytest.mark.parametrize("event", ["session_start", "session_end", "command_start", "recording", "x"])
def test_supervisor_event_of_a_session_is_refused(tracker: SessionTracker, event: str) -> None:
    with pytest.raises(EventRefusedError, match="not an event of the supervisor"):
        tracker.supervisor_event(event, {}, UIDS)


def test_session_ends_for_the_reason_of_its_connection(tracker: SessionTracker) -> None:
    session, _ = tracker.begin_session("ann", 20000, SOURCE)
    tracker.supervisor_event("revoked", {"conn": "c1", "reason": "the key was removed"}, UIDS)
    end = tracker.end_session(session)
    assert end is not None
    assert end["reason"] == "revoked"
    with pytest.raises(EventRefusedError, match="the key was removed"):
        tracker.begin_session("ann", 20000, SOURCE)
    (closed,) = tracker.supervisor_event("conn_close", {"conn": "c1"}, UIDS)
    assert closed["reason"] == "revoked"
    assert not tracker.knows(("10.0.0.9", 4000), "ann")


def test_session_on_a_refused_connection_is_refused() -> None:
    tracker = SessionTracker("r", lambda: 0.0)
    tracker.supervisor_event("conn_open", {"conn": "c2", "user": "ann", "refused": "too many", **SOURCE}, UIDS)
    with pytest.raises(EventRefusedError, match="too many"):
        tracker.begin_session("ann", 20000, SOURCE)


def test_supervisor_lost_closes_its_connections(tracker: SessionTracker) -> None:
    session, _ = tracker.begin_session("ann", 20000, SOURCE)
    assert [(each["event"], each["conn"], each["reason"]) for each in tracker.supervisor_lost()] == [
        ("conn_close", "c1", "lost")
    ]
    assert tracker.supervisor_lost() == []
    end = tracker.end_session(session)
    assert end is not None
    assert end["reason"] == "lost"
