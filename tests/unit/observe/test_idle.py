"""Idleness, holds and working hours: what stops a quiet server, and what never does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devservers.api.devserver import DevServer
from devservers.api.lifecycle import FlavorLifecycle, WorkingHours
from devservers.observe.agent import AgentState
from devservers.observe.devserver import Children, observe, previous_status
from devservers.observe.lifetime.agent_plan import agent_plan
from devservers.observe.lifetime.idle import Activity, activity_of
from devservers.observe.lifetime.lifecycle import decide
from devservers.observe.lifetime.working_hours import working_hours_stop
from devservers_core.protocol.agent.report import Report, VolumeUse
from devservers_core.types import Json
from tests.support.operator.observe_objects import (
    T0,
    at,
    flavor,
    ready,
    running_pod,
    server,
    stamp,
    user,
    with_status,
)

H = 3600


def seen(last: float, source: str = "terminal") -> Activity:
    return Activity(at(last), source)


def report(idle: int | None = 0, **fields: object) -> Report:
    return Report(counter=1, idle_seconds=idle, source="cpu", **fields)  # type: ignore[arg-type]


def hold(until: float) -> Json:
    return {"hold": {"until": stamp(until), "reason": "a long run"}}


@pytest.mark.parametrize(
    ("asked", "defaults", "of_flavor", "of_user", "timeout", "limited"),
    [
        ({}, {}, {}, {}, None, False),
        ({"idleTimeout": "1h"}, {}, {}, {}, H, False),
        ({}, {"idleTimeout": "1h"}, {}, {}, H, False),
        ({"idleTimeout": "2h"}, {"idleTimeout": "1h"}, {}, {}, 2 * H, False),
        ({"idleTimeout": "10m"}, {"idleTimeout": "1h"}, {"maxIdleTimeout": "4h"}, {}, 600, False),
        ({"idleTimeout": "9h"}, {"idleTimeout": "1h"}, {"maxIdleTimeout": "4h"}, {}, 4 * H, True),
        ({"idleTimeout": "9h"}, {}, {"maxIdleTimeout": "4h"}, {"maxIdleTimeout": "2h"}, 2 * H, True),
        ({"autoShutdown": False}, {"idleTimeout": "1h"}, {}, {}, None, False),
        ({"autoShutdown": False}, {"idleTimeout": "1h"}, {"maxIdleTimeout": "4h"}, {}, 4 * H, True),
        ({}, {}, {}, {"maxIdleTimeout": "4h"}, 4 * H, False),
        ({"idleTimeout": "9h", "override": {"reason": "x"}}, {}, {"maxIdleTimeout": "4h"}, {}, 9 * H, False),
    ],
)
def test_idle_timeout_in_force(
    asked: Json, defaults: Json, of_flavor: Json, of_user: Json, timeout: int | None, limited: bool
) -> None:
    known, owner, size = server(lifecycle=asked), user(lifecycle=of_user), flavor(lifecycle=of_flavor)
    made = decide(known, owner, at(60), size, FlavorLifecycle.model_validate(defaults), seen(60))
    assert made.idle_timeout.length == (timedelta(seconds=timeout) if timeout else None)
    assert bool(made.idle_timeout.limited) == limited
    assert (made.next_stop is not None) == (timeout is not None)


@pytest.mark.parametrize(
    ("activity", "now", "reason"),
    [
        (seen(0), H - 1, None),
        (seen(0), H, "idle"),
        (seen(60), H, None),
        (seen(10 * H), H, None),
        (Activity(), 9 * H, None),
        (Activity(problem="its agent can't read gpu"), 9 * H, None),
        (Activity(at(0), agent=False), 9 * H, None),
        (None, 9 * H, None),
    ],
)
def test_decide_only_a_known_idleness_stops(activity: Activity | None, now: int, reason: str | None) -> None:
    decision = decide(server(lifecycle={"idleTimeout": "1h"}), user(), at(now), flavor(), activity=activity)
    assert (decision.running, decision.stop_reason) == (reason is None, reason)


@given(
    st.integers(60, 10**6), st.integers(0, 10**6), st.integers(0, 10**6),
    st.none() | st.integers(0, 10**6), st.none() | st.integers(60, 10**6),
)  # fmt: skip
def test_decide_server_active_within_the_timeout_is_never_idle(
    timeout: int, last: int, passed: int, held: int | None, most: int | None
) -> None:
    """Neither a hold nor a limit makes an idle stop come before the timeout in force has passed."""
    asked = {"idleTimeout": f"{timeout}s", **(hold(held) if held is not None else {})}
    owner = user(lifecycle={"maxIdleTimeout": f"{most}s"} if most else {})
    now = at(last + passed)
    decision = decide(server(lifecycle=asked), owner, now, flavor(), activity=seen(last))
    shortest = min(timeout, most or timeout)
    assert decision.running or passed >= shortest
    if held is not None and at(held) + timedelta(seconds=shortest) > now:
        assert decision.running


@given(st.integers(60, 10**5), st.integers(0, 10**5), st.lists(st.integers(0, 10**6), min_size=1))
def test_decide_idle_stop_is_monotonic_in_the_clock(timeout: int, last: int, clock: list[int]) -> None:
    known = server(lifecycle={"idleTimeout": f"{timeout}s"})
    times = sorted(last + step for step in clock)
    running = [decide(known, user(), at(now), flavor(), activity=seen(last)).running for now in times]
    assert running == sorted(running, reverse=True)


def test_decide_after_a_hold_is_hold_ended() -> None:
    known = server(lifecycle={"idleTimeout": "1h", **hold(8 * H)})
    assert decide(known, user(), at(9 * H - 1), flavor(), activity=seen(0)).running
    assert decide(known, user(), at(9 * H), flavor(), activity=seen(0)).stop_reason == "holdEnded"
    assert decide(known, user(), at(9 * H), flavor(), activity=seen(8.5 * H)).running


def test_hold_stops_no_time_limit() -> None:
    known = server(lifecycle={"timeToLive": "1h", **hold(8 * H)})
    assert decide(known, user(), at(H), flavor(), activity=seen(H)).stop_reason == "expired"


def test_hold_lasts_at_most_max_hold_since_it_was_seen() -> None:
    known, size = server(lifecycle={"idleTimeout": "10m", **hold(90 * H)}), flavor(lifecycle={"maxHold": "2h"})
    children = Children(user=user(), flavor=size, pods=(running_pod(),))
    first = observe(known, children, decide(known, user(), at(60), size, activity=seen(60)), at(60)).status
    assert first["hold"] == {
        "until": stamp(60 + 2 * H), "requestedUntil": stamp(90 * H), "reason": "a long run", "since": stamp(60),
    }  # fmt: skip
    limited = next(c for c in first["conditions"] if c["type"] == "TimeLimited")
    assert "the flavor's maxHold of 2h allows no more" in limited["message"]
    known = with_status(known, first)
    decision = decide(known, user(), at(2 * H + 360), size, activity=seen(60))
    known = with_status(known, observe(known, children, decision, at(2 * H + 360)).status)
    assert decide(known, user(), at(60 + 2 * H + 599), size, activity=seen(60)).running
    assert decide(known, user(), at(60 + 2 * H + 600), size, activity=seen(60)).stop_reason == "holdEnded"


@pytest.mark.parametrize(
    ("state", "asked", "now", "known", "problem"),
    [
        (None, 0, 299, False, ""),
        (None, 0, 301, False, "has not answered"),
        (AgentState(at(50), "cpu", at(60), report(10)), 0, 70, True, ""),
        (AgentState(at(50), "cpu", at(60), report(10)), 0, 361, False, "more than 5 minutes old"),
        (AgentState(None, "unknown", at(60), report(None, unreadable=("gpu",))), 0, 70, False, "can't read gpu"),
        (AgentState(at(9999), "cpu", at(60), report(0)), 0, 70, True, ""),
    ],
)
def test_activity_of_reports(state: AgentState | None, asked: int, now: int, known: bool, problem: str) -> None:
    activity = activity_of(state, at(asked), at(now))
    assert (activity.last is not None) == known
    assert problem in activity.problem
    assert bool(activity.problem) == bool(problem)
    assert activity.last is None or activity.last <= at(now)


def test_conditions_say_what_is_unknown() -> None:
    known, children = server(), Children(user=user(), flavor=flavor(), pods=(running_pod(),))
    for activity, kind in ((Activity(problem="x"), "ActivityUnknown"), (Activity(agent=False), "AgentMissing")):
        status = observe(known, children, decide(known, user(), at(60), flavor(), activity=activity), at(60)).status
        assert [c["type"] for c in status["conditions"]] == ["Ready", kind]
    status = observe(known, children, decide(known, user(), at(60), flavor(), activity=seen(60)), at(60)).status
    assert [c["type"] for c in status["conditions"]] == ["Ready"]


def test_condition_of_unknown_activity_stays_five_minutes_while_reports_flap() -> None:
    """An agent that can read its sources in every other report is no write of the status for each of them."""
    known, children = server(), Children(user=user(), flavor=flavor(), pods=(running_pod(),))
    statuses = []
    for minute in range(1, 10):
        now = 60 * minute
        activity = Activity(problem=f"can't read {minute}") if minute % 2 else seen(now)
        decision = decide(known, user(), at(now), flavor(), activity=activity)
        statuses.append(observe(known, children, decision, at(now)).status)
        known = with_status(known, statuses[-1])
    unknown = [[c for c in status["conditions"] if c["type"] == "ActivityUnknown"] for status in statuses]
    assert [bool(conditions) for conditions in unknown] == [True] * 5 + [False] + [True] * 3
    assert all(conditions == unknown[0] for conditions in unknown[:5])
    assert unknown[0][0]["message"] == "It counts as active: can't read 1."
    decision = decide(known, user(), at(1200), flavor(), activity=Activity(problem="can't read 10"))
    (_, last) = observe(known, children, decision, at(1200)).status["conditions"]
    assert last["message"] == "It counts as active: can't read 10.", "after five minutes it says what is so now"


def test_idle_stop_is_announced_recorded_and_undone_by_a_start_only() -> None:
    known = server(lifecycle={"idleTimeout": "1h"})
    children = Children(user=user(), flavor=flavor(), pods=(running_pod(),))

    def look(known: DevServer, now: float, last: float | None) -> Json:
        """The status with a pod that was last active at `last`, or without a pod."""
        activity = seen(last) if last is not None else None
        found = children if last is not None else Children(user=user(), flavor=flavor())
        return observe(known, found, decide(known, user(), at(now), flavor(), activity=activity), at(now)).status

    soon = look(known, 2000, 0)
    assert soon["plannedStop"] == {"at": stamp(H), "reason": "idle", "announcedAt": stamp(2000)}
    known = with_status(known, soon)
    assert "plannedStop" not in look(known, 2010, 2005)
    stopping = look(known, H, 0)
    assert (stopping["phase"], stopping["stopReason"], ready(stopping)["reason"]) == ("Stopping", "idle", "Idle")
    assert ready(stopping)["message"].startswith("Stopped after 1h without activity.")
    stopped = look(with_status(known, stopping), H + 60, None)
    assert (stopped["phase"], stopped["stopReason"]) == ("Stopped", "idle")
    again = look(with_status(known, stopped), 9 * H, None)
    assert again == stopped
    begun = server(stopped, {"devservers.io/started-at": stamp(9 * H)}, lifecycle={"idleTimeout": "1h"})
    assert decide(begun, user(), at(9 * H), flavor()).running
    suspended = decide(with_status(known, stopped), user(suspended=True), at(9 * H), flavor())
    assert suspended.stop_reason == "suspended"


def observed(known: DevServer, now: float, activity: Activity | None, **owner: object) -> DevServer:
    """The server after a reconcile with its pod."""
    children = Children(user=user(**owner), flavor=flavor(), pods=(running_pod(),))
    decision = decide(known, user(**owner), at(now), flavor(), activity=activity)
    return with_status(known, observe(known, children, decision, at(now)).status)


@pytest.mark.parametrize(
    ("before", "after", "owner", "reason"),
    [
        ({}, {"idleTimeout": "30m"}, {}, "idle"),
        ({"idleTimeout": "9h"}, {"idleTimeout": "1h"}, {}, "idle"),
        ({}, {}, {"lifecycle": {"maxIdleTimeout": "1h"}}, "idle"),
        ({}, {}, {"workingHours": {"stopAt": "13:00", "timeZone": "UTC", "days": ["Sat"]}}, "workingHours"),
        ({}, {"timeToLive": "1h"}, {}, "expired"),
        ({"timeToLive": "9h"}, {}, {"lifecycle": {"maxTimeToLive": "1h"}}, "expired"),
        ({"timeToLive": "9h"}, {"timeToLive": "9h", "expirationTime": stamp(60)}, {}, "expired"),
        ({"timeToLive": "9h", "onExpiry": "delete"}, {"timeToLive": "1h", "onExpiry": "delete"}, {}, "expired"),
    ],
)
def test_stop_that_a_change_makes_due_is_announced_five_minutes_before(
    before: Json, after: Json, owner: Json, reason: str
) -> None:
    """A server runs for two hours, an idle one for as long; then a limit is set or lowered."""
    known = observed(server(lifecycle=before), 60, seen(0))
    known = server(previous_status(observed(known, 2 * H, seen(0))), lifecycle=after)
    known = observed(known, 2 * H + 10, seen(0), **owner)
    planned = known.status.planned_stop
    assert known.status.stop_reason is None
    assert planned is not None
    assert (planned.reason, planned.at, planned.announced_at) == (reason, at(2 * H + 310), at(2 * H + 10))
    assert known.status.expires_at == (at(2 * H + 310) if reason == "expired" else known.status.expires_at)
    for now in (2 * H + 60, 2 * H + 309):
        known = observed(known, now, seen(0), **owner)
        assert known.status.planned_stop == planned
    decision = decide(known, user(**owner), at(2 * H + 310), flavor(), activity=seen(0))
    assert (decision.running, decision.stop_reason) == (False, reason)
    assert decision.delete == ("onExpiry" in after)


def test_idleness_that_is_reported_after_silence_is_announced_before_the_stop() -> None:
    """The operator or the network was away for two hours; the stop that was planned before is past."""
    known = observed(server(lifecycle={"idleTimeout": "1h"}), H - 300, seen(0))
    assert known.status.planned_stop is not None
    back = decide(known, user(), at(3 * H), flavor(), activity=seen(0))
    assert back.running
    assert back.next_stop is not None
    assert back.next_stop.at == at(3 * H + 300)


def test_announced_idle_stop_keeps_its_time_over_a_change_of_leader() -> None:
    """A new leader has no report at first: nothing is known, and the announcement stays."""
    known = observed(server(lifecycle={"idleTimeout": "1h"}), H - 300, seen(0))
    planned = known.status.planned_stop
    known = observed(known, H - 60, Activity(checked_at=at(H + 240)))
    assert known.status.planned_stop == planned
    awaited = decide(known, user(), at(H - 60), flavor(), activity=Activity(checked_at=at(H + 240)))
    plan = agent_plan(known, user(), flavor(), awaited, 30, at(H - 60))
    assert (plan.stop_at, plan.stop_reason) == (at(H), "idle")
    assert decide(known, user(), at(H - 1), flavor(), activity=seen(0)).running
    assert decide(known, user(), at(H), flavor(), activity=seen(0)).stop_reason == "idle"
    known = observed(known, H - 30, Activity(problem="its agent can't read gpu"))
    assert known.status.planned_stop is None


@given(
    st.integers(0, 59), st.sampled_from([7 * 60, 20 * 60, H]), st.lists(st.integers(0, 30), min_size=200, max_size=200)
)
def test_idle_stop_in_the_usual_course_comes_within_two_minutes_of_the_timeout(
    phase: int, timeout: int, rounding: list[int]
) -> None:
    """Reports come every half minute, up to half a minute apart in what they say; the notice is over by then."""
    known, stopped = server(lifecycle={"idleTimeout": f"{timeout}s"}), None
    for number, off in enumerate(rounding):
        now = 600 + phase + 30 * number
        known = observed(known, now, seen(min(now, 600 + off)))
        if known.status.stop_reason is not None:
            stopped = now
            break
    assert stopped is not None
    assert 600 + timeout <= stopped <= 600 + timeout + 120


@pytest.mark.parametrize("timeout", [30, 120, 300])
def test_idle_timeout_of_five_minutes_or_less_has_a_minute_of_notice(timeout: int) -> None:
    known, announced, stopped = server(lifecycle={"idleTimeout": f"{timeout}s"}), None, None
    for now in range(2, timeout + 120):
        known = observed(known, now, seen(0))
        planned = known.status.planned_stop
        announced = planned.announced_at if planned is not None else announced
        if known.status.stop_reason is not None:
            stopped = at(now)
            break
    assert announced is not None
    assert stopped is not None
    assert timedelta(seconds=min(timeout - 2, 60)) <= stopped - announced  # the first look is 2 s after the start
    assert at(timeout) <= stopped <= at(timeout + 5)


def test_last_activity_is_written_once_an_hour_while_active() -> None:
    """An exchange a minute for 24 hours of work, observed each time: 24 writes."""
    known, writes = server(lifecycle={"idleTimeout": "1h"}), 0
    children = Children(user=user(), flavor=flavor(), pods=(running_pod(),))
    for minute in range(1, 24 * 60):
        now = at(minute * 60)
        decision = decide(known, user(), now, flavor(), activity=seen(minute * 60 - minute % 7))
        status = observe(known, children, decision, now).status
        if status != previous_status(known):
            writes += 1
            known = with_status(known, status)
    assert 23 <= writes <= 25


def test_volumes_of_the_last_report_are_in_status_and_stay_after_a_stop() -> None:
    known = server(persistentHomeSize="1Gi")
    use = VolumeUse("/home/dev", 4096, 8192)
    activity = activity_of(AgentState(at(50), "cpu", at(60), report(10, volumes=(use,))), at(0), at(60))
    children = Children(user=user(), flavor=flavor(), pods=(running_pod(),))
    status = observe(known, children, decide(known, user(), at(60), flavor(), activity=activity), at(60)).status
    entry = {"path": "/home/dev", "claimName": "mydev-home", "usedBytes": 4096, "sizeBytes": 8192, "at": stamp(60)}
    assert status["volumes"] == [entry]
    stopped = server(status, persistentHomeSize="1Gi", running=False)
    assert observe(stopped, Children(user(), flavor()), decide(stopped, user(), at(90)), at(90)).status["volumes"] == [
        entry
    ]


def test_last_activity_of_an_idle_server_is_written_once_more() -> None:
    known, written = server(lifecycle={"idleTimeout": "9h"}), []
    children = Children(user=user(), flavor=flavor(), pods=(running_pod(),))
    for minute in range(1, 8 * 60):
        now = at(minute * 60)
        decision = decide(known, user(), now, flavor(), activity=seen(min(minute * 60, 1800) + minute % 2))
        status = observe(known, children, decision, now).status
        if status != previous_status(known):
            written.append(minute)
            known = with_status(known, status)
    assert len(written) == 2  # the start, and half of the timeout after the last activity
    assert known.status.last_activity is not None
    assert abs(known.status.last_activity.at - at(1800)) < timedelta(seconds=2)


BERLIN = WorkingHours(stop_at="20:00", time_zone="Europe/Berlin")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("last", "now", "expected"),
    [
        # Monday 2026-11-23; Berlin is an hour ahead of UTC.
        ("2026-11-23T12:00", "2026-11-23T12:10", "2026-11-23T19:00"),
        ("2026-11-23T18:50", "2026-11-23T19:00", "2026-11-23T19:20"),
        ("2026-11-23T22:00", "2026-11-23T22:10", "2026-11-23T22:30"),
        # A whole night of work, and then the next evening.
        ("2026-11-24T03:00", "2026-11-24T03:10", "2026-11-24T19:00"),
        # Friday evening, then Monday.
        ("2026-11-28T12:00", "2026-11-28T12:10", "2026-11-30T19:00"),
        # The last day of summer time was 2026-10-25 (a Sunday), two hours ahead before it.
        ("2026-10-23T12:00", "2026-10-23T12:10", "2026-10-23T18:00"),
        ("2026-10-24T12:00", "2026-10-24T12:10", "2026-10-26T19:00"),
        # It begins on 2027-03-28.
        ("2027-03-26T12:00", "2027-03-26T12:10", "2027-03-26T19:00"),
        ("2027-03-29T12:00", "2027-03-29T12:10", "2027-03-29T18:00"),
    ],
)
def test_working_hours_stop_when_quiet(last: str, now: str, expected: str) -> None:
    stop = working_hours_stop(BERLIN, utc(last), None, utc(now))
    assert stop is not None
    assert (stop.at, stop.reason) == (utc(expected), "workingHours")


def test_working_hours_leave_what_started_later_or_is_unknown() -> None:
    evening = utc("2026-11-23T20:00")
    assert working_hours_stop(BERLIN, evening, utc("2026-11-23T19:30"), evening + timedelta(hours=2)).at == utc(  # type: ignore[union-attr]
        "2026-11-24T19:00"
    )
    assert working_hours_stop(BERLIN, None, None, evening) is None
    nowhere = WorkingHours(stop_at="20:00", time_zone="Mars/Base")
    assert working_hours_stop(nowhere, evening, None, evening) is None


@pytest.mark.parametrize(("idle_timeout", "expected"), [("2m", "19:00"), ("45m", "19:35"), (None, "19:20")])
def test_working_hours_stop_what_was_idle_for_their_own_timeout(idle_timeout: str | None, expected: str) -> None:
    hours = WorkingHours(stop_at="20:00", time_zone="Europe/Berlin", days=("Mon",), idle_timeout=idle_timeout)
    stop = working_hours_stop(hours, utc("2026-11-23T18:50"), None, utc("2026-11-23T18:55"))
    assert stop is not None
    assert stop.at == utc(f"2026-11-23T{expected}")


def test_working_hours_time_that_a_change_of_clocks_skips_is_the_next_that_exists() -> None:
    hours = WorkingHours(stop_at="02:30", time_zone="Europe/Berlin", days=("Sun",))
    stop = working_hours_stop(hours, utc("2027-03-27T12:00"), None, utc("2027-03-27T12:10"))
    assert stop is not None
    assert stop.at == utc("2027-03-28T01:30")


@pytest.mark.parametrize(("of_user", "held", "expected"), [(None, None, 8), ("22:00", None, 10), (None, 12, 12.5)])
def test_decide_working_hours_of_the_user_come_first_and_a_hold_puts_them_off(
    of_user: str | None, held: float | None, expected: float
) -> None:
    """T0 is Saturday noon UTC."""
    days = ["Sat"]
    size = flavor(workingHours={"stopAt": "20:00", "timeZone": "UTC", "days": days})
    owner = user(**({"workingHours": {"stopAt": of_user, "timeZone": "UTC", "days": days}} if of_user else {}))
    known = server(lifecycle=hold(held * H) if held else {})
    assert T0.hour == 12
    decision = decide(known, owner, at(60), size, activity=seen(60))
    assert decision.next_stop is not None
    assert decision.next_stop.at == at(expected * H)
    ended = decide(known, owner, at(expected * H), size, activity=seen(60))
    assert ended.stop_reason == "workingHours"
