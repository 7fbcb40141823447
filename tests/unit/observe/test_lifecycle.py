"""Whether a server is to run, by its spec, start, owner and the clock."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devservers.observe.lifecycle import Decision, decide
from devservers_core.types import Json
from tests.support.operator.observe_objects import at, server, stamp, user

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


@given(st.integers(0, 10**5), st.integers(0, 10**5))
def test_decide_requeue_after_is_when_the_decision_changes(started: int, now: int) -> None:
    known = server(None, restarted(started), **TTL)
    before = decide(known, None, at(now))
    wait = before.requeue_after
    assert (wait is not None) == before.running
    if wait is not None:
        assert decide(known, None, at(now) + wait - timedelta(seconds=1)).running
        assert not decide(known, None, at(now) + wait).running
