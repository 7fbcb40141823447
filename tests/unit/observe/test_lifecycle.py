"""Whether a server is to run, by its spec, start, owner and the clock."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devservers.observe.devserver import Children, observe, previous_status
from devservers.observe.lifetime.idle import Activity
from devservers.observe.lifetime.lifecycle import Decision, decide
from devservers.observe.lifetime.starts import last_start
from devservers_core.types import Json
from tests.support.operator.observe_objects import at, flavor, ready, running_pod, server, stamp, user, with_status

TTL = {"lifecycle": {"timeToLive": "1h"}}


def restarted(seconds: float) -> dict[str, str]:
    return {"devservers.io/started-at": stamp(seconds)}


@pytest.mark.parametrize(
    ("spec", "annotations", "suspended", "now", "expected"),
    [
        ({}, {}, False, 10**6, Decision(True)),
        (TTL, {}, False, 600, Decision(True, expires_at=at(3600), requeue_after=timedelta(minutes=50))),
        (TTL, {}, False, 3600, Decision(False, stop_reason="expired", expires_at=at(3600))),
        (TTL, restarted(3000), False, 3600, Decision(True, expires_at=at(6600), requeue_after=timedelta(minutes=50))),
        (TTL, restarted(-3000), False, 3600, Decision(False, stop_reason="expired", expires_at=at(3600))),
        (
            TTL,
            {"devservers.io/started-at": "soon"},
            False,
            3600,
            Decision(False, stop_reason="expired", expires_at=at(3600)),
        ),
        (
            {"lifecycle": {"timeToLive": "1h", "expirationTime": stamp(60)}},
            {},
            False,
            61,
            Decision(False, stop_reason="expired", expires_at=at(60)),
        ),
        (
            {"lifecycle": {"timeToLive": "1h", "onExpiry": "delete"}},
            {},
            False,
            3601,
            Decision(False, delete=True, stop_reason="expired", expires_at=at(3600)),
        ),
        ({"running": False, **TTL}, {}, False, 60, Decision(False, stop_reason="user")),
        (
            {"running": False, "lifecycle": {"timeToLive": "1h", "onExpiry": "delete"}},
            {},
            False,
            0,
            Decision(False, stop_reason="user", expires_at=at(3600), requeue_after=timedelta(hours=1)),
        ),
        (TTL, {}, True, 3601, Decision(False, stop_reason="suspended")),
        ({"running": False}, {}, True, 0, Decision(False, stop_reason="suspended")),
        (
            {"lifecycle": {"timeToLive": "99999d"}},
            {},
            False,
            0,
            Decision(True, expires_at=at(99999 * 86400), requeue_after=timedelta(days=99999)),
        ),
        ({"lifecycle": {"timeToLive": "99999d999999h99999999m999999999s"}}, {}, False, 0, None),
    ],
)
def test_decide_by_spec_start_owner_and_clock(
    spec: Json, annotations: dict[str, str], suspended: bool, now: float, expected: Decision | None
) -> None:
    found = decide(server(None, annotations, **spec), user(suspended=suspended), at(now))
    assert expected is None or found == expected


def expired(annotations: dict[str, str] | None = None, *, starts: bool = True) -> Json:
    """The status of a server with those annotations that expired after an hour."""
    known = server(None, annotations, **TTL)
    children = Children(user=user(), flavor=flavor(), pods=(running_pod(),))
    for now in (60, 61, 3800) if annotations else (60, 3600):
        known = with_status(known, observe(known, children, decide(known, user(), at(now)), at(now)).status)
    status = previous_status(known)
    assert status["stopReason"] == "expired"
    if not starts:  # as an earlier version wrote it
        del status["lastStop"]["starts"]
    return status


@pytest.mark.parametrize("starts", [True, False])
@pytest.mark.parametrize("changed", [{"timeToLive": "8h"}, {}, {"timeToLive": "1h", "override": {"reason": "demo"}}])
def test_decide_expired_server_stays_stopped_until_a_start(changed: Json, starts: bool) -> None:
    status = expired(starts=starts)
    longer = server(status, lifecycle=changed)
    found = decide(longer, user(), at(7200))
    assert (found.running, found.stop_reason) == (False, "expired")
    children = Children(user=user(), flavor=flavor())
    assert ready(observe(longer, children, found, at(7200)).status)["message"] == status["lastStop"]["message"]
    assert decide(server(status, restarted(7200), lifecycle=changed), user(), at(7200)).running


@pytest.mark.parametrize(
    ("before", "after", "running"),
    [
        (None, 3400, True),  # a laptop that is behind
        (None, 10**6, True),  # a laptop that is ahead
        (10**6, 10**6, False),  # the start that the stop came after
        (None, None, False),
    ],
)
def test_decide_start_by_a_wrong_clock_undoes_a_stop_once(
    before: float | None, after: float | None, running: bool
) -> None:
    status = expired(restarted(before) if before else {})
    started = server(status, restarted(after) if after else {}, lifecycle={"timeToLive": "2h"})
    assert decide(started, user(), at(3900)).running == running


def test_decide_start_ahead_of_the_clock_counts_from_when_it_was_seen() -> None:
    """Neither a limit nor idleness waits for a time of the future that somebody wrote."""
    known = server(None, restarted(10**6), lifecycle={"timeToLive": "1h", "idleTimeout": "1h"})
    children = Children(user=user(), flavor=flavor(), pods=(running_pod(first=100),))
    known = with_status(known, observe(known, children, decide(known, user(), at(160)), at(160)).status)
    seen = known.status.timeline[0].at
    assert seen <= at(160)
    limits = decide(known, user(), at(1000), activity=Activity(at(0), "cpu"))
    assert limits.expires_at == seen + timedelta(hours=1)
    assert limits.next_stop is not None
    assert limits.next_stop.at == seen + timedelta(hours=1)


def test_last_start_is_never_before_the_creation() -> None:
    assert last_start(server(None, restarted(-3000)), at(60)) == at(0)
    assert last_start(server(None, {"devservers.io/restarted-at": stamp(50)}), at(60)) == at(50)


@given(st.integers(0, 10**5), st.integers(0, 10**5))
def test_decide_requeue_after_is_when_the_decision_changes(started: int, now: int) -> None:
    known, now = server(None, restarted(started), **TTL), started + now
    before = decide(known, None, at(now))
    wait = before.requeue_after
    assert (wait is not None) == before.running
    if wait is not None:
        assert decide(known, None, at(now) + wait - timedelta(seconds=1)).running
        assert not decide(known, None, at(now) + wait).running
