"""Ends, extensions and ceilings, and the announcement of a stop."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devservers.api.devserver_status import PlannedStop
from devservers.api.lifecycle import FlavorLifecycle
from devservers.observe.devserver import Children, observe
from devservers.observe.lifetime.agent_plan import agent_plan
from devservers.observe.lifetime.idle import Activity
from devservers.observe.lifetime.lifecycle import decide
from devservers.observe.lifetime.planned_stop import Stop, announce
from devservers.observe.lifetime.time_limits import time_limits
from devservers_core.types import Json
from tests.support.operator.observe_objects import at, flavor, ready, running_pod, server, stamp, user, with_status

H = 3600


@pytest.mark.parametrize(
    ("asked", "of_flavor", "of_user", "end", "cause", "limited"),
    [
        ({"timeToLive": "1h"}, {}, {}, H, "timeToLive", False),
        ({"timeToLive": "1h", "extendUntil": stamp(2 * H)}, {}, {}, 2 * H, "extendUntil", False),
        ({"timeToLive": "3h", "extendUntil": stamp(2 * H)}, {}, {}, 3 * H, "timeToLive", False),
        ({"extendUntil": stamp(2 * H)}, {}, {}, None, "", False),
        ({"timeToLive": "9h"}, {"maxTimeToLive": "8h"}, {}, 8 * H, "maxTimeToLive", True),
        ({"timeToLive": "9h"}, {"maxTimeToLive": "8h"}, {"maxTimeToLive": "2h"}, 2 * H, "maxTimeToLive", True),
        ({}, {}, {"maxTimeToLive": "2h"}, 2 * H, "maxTimeToLive", True),
        ({"timeToLive": "2h"}, {"maxTimeToLive": "2h"}, {}, 2 * H, "timeToLive", False),
        (
            {"timeToLive": "1h", "extendUntil": stamp(9 * H)},
            {"maxExtension": "2h"}, {"maxTimeToLive": "8h"}, 3 * H, "maxExtension", True,
        ),
        (
            {"expirationTime": stamp(5 * H), "timeToLive": "9h"},
            {"maxExtension": "1h"}, {}, 5 * H, "expirationTime", False,
        ),
        ({"timeToLive": "9h", "override": {"reason": "x"}}, {"maxTimeToLive": "8h"}, {}, 9 * H, "timeToLive", False),
        ({"timeToLive": "99999d"}, {"maxTimeToLive": "99999d999999h99999999m"}, {}, 99999 * 86400, "timeToLive", False),
    ],
)  # fmt: skip
def test_time_limits_the_smallest_limit_counts(
    asked: Json, of_flavor: Json, of_user: Json, end: int | None, cause: str, limited: bool
) -> None:
    limits = time_limits(server(lifecycle=asked), user(lifecycle=of_user), flavor(lifecycle=of_flavor))
    assert (limits.end, limits.cause, limits.limited) == (at(end) if end else None, cause, limited)


def test_time_limits_default_of_the_flavor_holds_where_the_server_has_none() -> None:
    defaults = FlavorLifecycle(time_to_live="2h")
    assert time_limits(server(), user(), flavor(), defaults).end == at(2 * H)
    assert time_limits(server(lifecycle={"timeToLive": "3h"}), user(), flavor(), defaults).end == at(3 * H)
    # The flavor's own default of today is another one: it counts from the next start.
    assert time_limits(server(), user(), flavor(lifecycle={"timeToLive": "1h"}), FlavorLifecycle()).end is None


durations = st.integers(60, 10**6)


@given(durations, durations, st.none() | durations, st.none() | durations)
def test_time_limits_extending_never_shortens_and_never_passes_the_limits(
    ttl: int, until: int, most: int | None, extension: int | None
) -> None:
    policy = {
        **({"maxTimeToLive": f"{most}s"} if most else {}),
        **({"maxExtension": f"{extension}s"} if extension else {}),
    }
    base = time_limits(server(lifecycle={"timeToLive": f"{ttl}s"}), user(lifecycle=policy)).end
    longer = {"timeToLive": f"{ttl}s", "extendUntil": stamp(until)}
    extended = time_limits(server(lifecycle=longer), user(lifecycle=policy)).end
    assert base is not None
    assert extended is not None
    assert base <= extended <= max(base, at(until))
    assert most is None or extended <= at(most)
    assert extension is None or extended <= at(ttl + extension)


@given(durations, st.none() | durations, st.none() | durations, st.lists(st.integers(0, 10**6)))
def test_decide_is_monotonic_in_the_clock(ttl: int, until: int | None, most: int | None, clock: list[int]) -> None:
    """A server that its time limits have stopped never runs again as time goes on."""
    asked = {"timeToLive": f"{ttl}s", **({"extendUntil": stamp(until)} if until else {})}
    known, owner = server(lifecycle=asked), user(lifecycle={"maxTimeToLive": f"{most}s"} if most else {})
    running = [decide(known, owner, at(now)).running for now in sorted(clock)]
    assert running == sorted(running, reverse=True)


@pytest.mark.parametrize(
    ("left", "after", "announced"),
    [
        (31 * 60, None, False), (30 * 60, None, True), (29 * 60, 30 * 60, False), (15 * 60, 30 * 60, True),
        (14 * 60, 10 * 60, False), (5 * 60, 10 * 60, True), (61, 5 * 60, False),
        (60, 5 * 60, True), (31, 30, False), (30, 30, True), (0, None, False),
    ],
)  # fmt: skip
def test_announce_notices_that_fit_into_the_limit(left: int, after: int | None, announced: bool) -> None:
    stop = Stop(at(left), "expired", "x", timedelta(seconds=after) if after else None)
    assert (announce(stop, None, at(0)).planned is not None) == announced


def test_announce_each_notice_once_and_wakes_for_the_next() -> None:
    stop, previous, announced = Stop(at(H), "expired", "x"), None, []
    now = 0.0
    while True:
        announcement = announce(stop, previous, at(now))
        if announcement.planned is not None:
            previous = PlannedStop.model_validate(announcement.planned)
            announced.append(announcement.planned["announcedAt"])
        if announcement.requeue_after is None:
            break
        now += announcement.requeue_after.total_seconds()
    assert list(dict.fromkeys(announced)) == [stamp(H - 1800), stamp(H - 900), stamp(H - 300)]
    assert now == H


def test_announce_stop_that_moves_a_little_keeps_its_time() -> None:
    first = announce(Stop(at(1000), "idle", "x"), None, at(0)).planned
    assert first is not None
    again = announce(Stop(at(1040), "idle", "x"), PlannedStop.model_validate(first), at(30)).planned
    assert again == first
    moved = announce(Stop(at(1200), "idle", "x"), PlannedStop.model_validate(first), at(30)).planned
    assert moved == {**first, "at": stamp(1200), "announcedAt": stamp(30)}


def test_planned_stop_is_in_status_and_event_and_extending_clears_it() -> None:
    known = server(lifecycle={"timeToLive": "1h"})
    children = Children(user=user(), flavor=flavor(), pods=(running_pod(),))
    quiet = observe(known, children, decide(known, user(), at(60)), at(60))
    assert "plannedStop" not in quiet.status
    assert quiet.requeue_after == timedelta(seconds=1740)
    known = with_status(known, quiet.status)
    soon = observe(known, children, decide(known, user(), at(2700)), at(2700))
    assert soon.status["plannedStop"] == {"at": stamp(H), "reason": "expired", "announcedAt": stamp(2700)}
    assert [(event.type, event.reason) for event in soon.events] == [("Warning", "StopPlanned")]
    assert (
        "mydev stops in 15 minutes, at 2026-11-21T13:00:00Z, because of its time to live of 1h"
        in soon.events[0].message
    )
    extended = server(soon.status, lifecycle={"timeToLive": "1h", "extendUntil": stamp(3 * H)})
    later = observe(extended, children, decide(extended, user(), at(2701)), at(2701))
    assert "plannedStop" not in later.status
    assert later.status["expiresAt"] == stamp(3 * H)


def test_time_limited_names_the_limit() -> None:
    known, size = server(lifecycle={"timeToLive": "9h"}), flavor(lifecycle={"maxTimeToLive": "8h"})
    children = Children(user=user(), flavor=size, pods=(running_pod(),))
    status = observe(known, children, decide(known, user(), at(60), size), at(60)).status
    condition = next(c for c in status["conditions"] if c["type"] == "TimeLimited")
    assert condition["status"] == "True"
    assert "the flavor's maxTimeToLive of 8h allows no later end" in condition["message"]
    known = with_status(known, status)
    stopped = observe(known, children, decide(known, user(), at(8 * H), size), at(8 * H)).status
    assert ready(stopped)["message"].startswith("Stopped after the flavor's maxTimeToLive of 8h.")
    assert stopped["lastStop"]["reason"] == "expired"


ODD_TIMES = [
    "9999-12-31T23:59:59-01:00",
    "9999-12-31T23:59:59Z",
    "0001-01-01T00:00:00+14:00",
    "2026-12-01T00:00:00+24:00",
]
LONGEST = "99999d999999h99999999m999999999s"


@pytest.mark.parametrize("limits", [{}, {"maxHold": "1h", "maxExtension": "1h", "maxIdleTimeout": LONGEST}])
@pytest.mark.parametrize("field", ["hold", "extendUntil", "expirationTime", "started-at", "restarted-at"])
@pytest.mark.parametrize("text", ODD_TIMES)
def test_decide_and_observe_with_an_odd_time_go_on(text: str, field: str, limits: Json) -> None:
    """An exception in the decision would keep a server from ever being stopped."""
    lifecycle: Json = {"timeToLive": LONGEST, "idleTimeout": LONGEST, "hold": {"until": stamp(H), "reason": "x"}}
    annotations = {}
    if field.endswith("-at"):
        annotations[f"devservers.io/{field}"] = text
    else:
        lifecycle[field] = {"until": text, "reason": "x"} if field == "hold" else text
    odd = server(lifecycle=lifecycle, annotations=annotations)
    activity = Activity(last=at(0), source="cpu", answered_at=at(0))
    decision = decide(odd, user(lifecycle=limits), at(60), flavor(), activity=activity)
    observed = observe(odd, Children(user=user(), flavor=flavor(), pods=(running_pod("p", 0),)), decision, at(60))
    assert observed.status["phase"] in ("Running", "Stopping")
    agent_plan(odd, user(lifecycle=limits), flavor(), decision, 120, at(60))
